"""The audio line of an SDP: RFC 4566, offer and answer: RFC 3264. Pure. We know G.711 and telephone events."""

from dataclasses import dataclass
from ipaddress import IPv4Address

CODECS = {"PCMU": 0, "PCMA": 8}
KEYS = 101  # our payload type of RFC 4733 events
_TURNED = {"sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive", "sendrecv": "sendrecv"}


@dataclass(frozen=True, slots=True)
class Audio:
    """Where a far end hears, and what it understands."""

    host: str
    port: int
    codecs: tuple[str, ...]  # of ours, in its order
    keys: int | None  # its payload type of events
    direction: str = "sendrecv"

    @property
    def codec(self) -> str:
        """The one to use; "" when there is none."""
        return self.codecs[0] if self.codecs else ""


def read(body: bytes) -> Audio | None:
    """The first audio stream; None without one, or where it cannot be read."""
    try:
        return _read(body)
    except (ValueError, IndexError):
        return None


def _read(body: bytes) -> Audio | None:
    host, own, port, types, names, direction = "", "", 0, [], {"0": "PCMU", "8": "PCMA"}, "sendrecv"
    inside = False
    for line in body.decode("utf-8", "replace").splitlines():
        if line.startswith("m="):
            if inside:
                break
            inside = line.startswith("m=audio ")
            if inside:
                parts = line.split()
                port, types = int(parts[1].partition("/")[0]), parts[3:]
        elif line.startswith("c=IN IP4 "):
            host, own = (host, line.split()[2]) if inside else (line.split()[2], own)
        elif line.startswith("a=rtpmap:") and inside:
            number, _, name = line[9:].partition(" ")
            names[number] = name.strip()
        elif line[2:].strip() in _TURNED and line.startswith("a="):
            direction = line[2:].strip()
    if not inside and not types:
        return None
    keys = [int(number) for number in types if names.get(number, "").lower().startswith("telephone-event/8000")]
    if not 0 <= port <= 65_535 or any(key > 127 for key in keys):
        raise ValueError("no port, or no payload type")
    known = [names.get(number, "").partition("/")[0].upper() for number in types]
    codecs = tuple(name for name in known if name in CODECS)
    return Audio(str(IPv4Address(own or host)), port, codecs, keys[0] if keys else None, direction)


def write(
    host: str,
    port: int,
    *,
    codecs: tuple[str, ...] = tuple(CODECS),
    keys: int | None = KEYS,
    direction: str = "sendrecv",
    version: int = 1,
) -> bytes:
    """An offer, or an answer with one codec."""
    types = [CODECS[name] for name in codecs] + ([keys] if keys is not None else [])
    lines = ["v=0", f"o=- 1 {version} IN IP4 {host}", "s=-", f"c=IN IP4 {host}", "t=0 0"]
    lines += [f"m=audio {port} RTP/AVP {' '.join(map(str, types))}"]
    lines += [f"a=rtpmap:{CODECS[name]} {name}/8000" for name in codecs]
    lines += [f"a=rtpmap:{keys} telephone-event/8000", f"a=fmtp:{keys} 0-16"] if keys is not None else []
    return "\r\n".join([*lines, "a=ptime:20", f"a={direction}", ""]).encode()


def turned(direction: str) -> str:
    """The answer to an offer of this direction."""
    return _TURNED[direction]
