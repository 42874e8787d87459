"""Between nodes: what their supervisors say to each other, and how workers are named so that the owner of a call names
its node. Pure; the messages travel over Redis (`bus_redis`)."""

import re
import secrets
import socket
from typing import Protocol, TypeAlias

import msgspec

from trunkline.bus_wire import Event, Reply
from trunkline.errors import ProtocolError

MOST_BYTES = 16 << 20  # of one message
_WORKER = re.compile(r"(?P<node>.+)-w\d+-[0-9a-f]{6}")


def node_name() -> str:
    """Unlike that of any other supervisor, and of those before on this machine."""
    return f"{socket.gethostname()[:40]}-{secrets.token_hex(2)}"


def worker_name(node: str, post: int) -> str:
    """Unlike that of any other worker; names its node. It is the `owner` of the calls that the worker carries."""
    return f"{node}-w{post}-{secrets.token_hex(3)}"


def node_of(worker: str) -> str:
    """The node of a worker; "" for a name that is none."""
    found = _WORKER.fullmatch(worker)
    return found["node"] if found else ""


class FarAsk(msgspec.Struct, frozen=True, tag=True):
    """A question of a worker of `node` to the worker `to`."""

    node: str
    id: int
    to: str
    body: bytes


class FarReply(msgspec.Struct, frozen=True, tag=True):
    """The answer; as `Reply`."""

    id: int
    body: bytes = b""
    gone: bool = False


class FarEvent(msgspec.Struct, frozen=True, tag=True):
    """A call's event for spectators at other nodes than `node`."""

    node: str
    event: Event


class FarWatch(msgspec.Struct, frozen=True, tag=True):
    """Somebody watches (or nobody any more) at `node`."""

    node: str
    on: bool


FarMessage: TypeAlias = FarAsk | FarReply | FarEvent | FarWatch
encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[FarMessage] = msgspec.msgpack.Decoder(FarMessage)


def decode(data: bytes) -> FarMessage:
    """Raises ProtocolError."""
    if len(data) > MOST_BYTES:
        raise ProtocolError(f"bus: a message of {len(data)} bytes; at most {MOST_BYTES} are allowed")
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as wrong:
        raise ProtocolError(f"bus: {wrong}") from wrong


class Home(Protocol):
    """A node, as other nodes may touch it."""

    async def asked(self, to: str, body: bytes) -> Reply:
        """A question to one of its workers; bounded in time."""
        ...

    def told(self, event: Event) -> None:
        """A far call's event, for spectators here."""
        ...

    def far_watching(self, on: bool) -> None:
        """Whether spectators are at other nodes."""
        ...

    @property
    def watched(self) -> bool:
        """Whether spectators are here."""
        ...

    @property
    def crew(self) -> frozenset[str]:
        """Its workers."""
        ...

    @property
    def lines(self) -> frozenset[tuple[str, str]]:
        """(carrier, its call) of the streams that are live here and of which there may be one."""
        ...

    async def bury(self, worker: str) -> bool:
        """Close the calls of a dead node's worker."""
        ...
