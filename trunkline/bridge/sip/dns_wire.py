"""Questions to a name server and its answers, as far as SIP needs them: SRV, A, AAAA. Pure. RFC 1035, 2782, 3596."""

import ipaddress
import struct
from dataclasses import dataclass
from typing import Final, TypeAlias

from trunkline.errors import ProtocolError

A: Final = 1
AAAA: Final = 28
SRV: Final = 33
_INTERNET: Final = 1
_WANTS_RECURSION: Final = 0x0100
_IS_ANSWER: Final = 0x8000
_HEAD: Final = struct.Struct(">HHHHHH")  # identifier, flags, and how many: questions, answers, authorities, more
_FIXED: Final = struct.Struct(">HHIH")  # of a record: type, class, seconds to live, length
_SRV: Final = struct.Struct(">HHH")  # priority, weight, port
_MOST_RECORDS: Final = 64
_LONGEST_NAME: Final = 253
_MOST_JUMPS: Final = 32  # of a compressed name


@dataclass(frozen=True, slots=True)
class Srv:
    """A server of a service: the lowest priority first, within one the share that its weight gives."""

    priority: int
    weight: int
    port: int
    host: str


@dataclass(frozen=True, slots=True)
class Record:
    """An answer; `value` is an address for A and AAAA."""

    name: str
    kind: int
    value: Srv | str


_Read: TypeAlias = tuple[str, int]


def query(identifier: int, name: str, kind: int) -> bytes:
    """identifier: 16 bits that the answer repeats. Raises ProtocolError for what is no name."""
    labels = [label.encode("utf-8") for label in name.rstrip(".").split(".")]
    if not name.isascii() or any(not 0 < len(label) < 64 for label in labels) or len(name) > _LONGEST_NAME:
        raise ProtocolError(f"no name of a host: {name!r}", peer="dns")
    packed = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return _HEAD.pack(identifier, _WANTS_RECURSION, 1, 0, 0, 0) + packed + struct.pack(">HH", kind, _INTERNET)


def answers(data: bytes, identifier: int) -> list[Record] | None:
    """What a datagram says; None when it is no answer to that question. Raises ProtocolError for a broken one."""
    try:
        ident, flags, questions, count, authorities, more = _HEAD.unpack_from(data)
        if ident != identifier or not flags & _IS_ANSWER:
            return None
        at = _HEAD.size
        for _ in range(questions):
            at = _name(data, at)[1] + 4
        return _records(data, at, min(count + authorities + more, _MOST_RECORDS))
    except (struct.error, IndexError, UnicodeError, ValueError) as error:
        raise ProtocolError(f"a broken answer: {error}", peer="dns", data=data[:50]) from error


def _records(data: bytes, at: int, count: int) -> list[Record]:
    found: list[Record] = []
    for _ in range(count):
        name, at = _name(data, at)
        kind, space, _seconds, size = _FIXED.unpack_from(data, at)
        at += _FIXED.size
        if at + size > len(data):
            raise ValueError("a record is cut off")
        if space == _INTERNET and (value := _value(data, at, size, kind)) is not None:
            found.append(Record(name, kind, value))
        at += size
    return found


def _value(data: bytes, at: int, size: int, kind: int) -> Srv | str | None:
    if kind == SRV:
        priority, weight, port = _SRV.unpack_from(data, at)
        return Srv(priority, weight, port, _name(data, at + _SRV.size)[0])
    if (kind, size) in ((A, 4), (AAAA, 16)):
        return str(ipaddress.ip_address(data[at : at + size]))
    return None


def _name(data: bytes, at: int) -> _Read:
    """A name, lower case, and where it ends; it may go on elsewhere (RFC 1035 4.1.4)."""
    labels: list[str] = []
    ends, jumps = -1, 0
    while size := data[at]:
        if size >= 0xC0:
            ends = ends if ends >= 0 else at + 2
            at = (size & 0x3F) << 8 | data[at + 1]
            jumps += 1
            if jumps > _MOST_JUMPS:
                raise ValueError("a name that never ends")
            continue
        if size >= 0x40 or len(labels) > 127:
            raise ValueError("a label that is none")
        label = data[at + 1 : at + 1 + size]
        if len(label) < size:
            raise ValueError("a name is cut off")
        labels.append(label.decode("ascii").lower())
        at += 1 + size
    return ".".join(labels), ends if ends >= 0 else at + 1
