"""What supervisor and workers tell each other: length-prefixed msgpack over an inherited pair of unix sockets.

Only the supervisor and the child that inherited the other end can write to a pair: no name in the file system, nobody
to authenticate. Bodies of questions are opaque to the supervisor unless they are for it. The end of the stream is the
other's death.
"""

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import TypeAlias

import msgspec

from trunkline.config import Settings
from trunkline.errors import ProtocolError
from trunkline.metrics_sum import Family

MOST_FRAME = 16 << 20  # bytes of one message
MOST_WAITING = 4 << 20  # bytes that may wait for a slow reader before spectators' events are dropped
MOST_ASKED = 1000  # questions without an answer, per link
_HEAD = struct.Struct(">I")


class _Message(msgspec.Struct, frozen=True, tag=True):
    pass


class Setup(_Message, frozen=True):
    """First word to a worker: who it is and what it inherits. Numbers are descriptors."""

    name: str
    settings: Settings
    listeners: tuple[int, ...]
    metrics_listeners: tuple[int, ...]
    board: int
    row: int
    post: int = 1  # from 1
    workers: int = 1  # how many share the machine's recognisers
    audiosocket_listeners: tuple[int, ...] = ()
    sip_socket: str = ""  # path of the gateway's


class GatewaySetup(_Message, frozen=True):
    """First word to the SIP gateway."""

    settings: Settings
    socket: str  # path of the one it listens on, for the workers
    journal: str  # path


class Listening(_Message, frozen=True):
    """The gateway takes calls: "udp 127.0.0.1:5060"."""

    addresses: tuple[str, ...]


class Ready(_Message, frozen=True):
    """A worker takes calls."""

    agent: str  # for people
    open_here: bool  # the API asks programs on this machine for no key


class Failed(_Message, frozen=True):
    """A worker cannot start, and why; `code` is the exit code."""

    why: str
    code: int


class Drain(_Message, frozen=True):
    """Finish within `limit_s`, then cut and exit. `aside`: others take the connections from now on."""

    limit_s: float
    aside: bool = False


class Ask(_Message, frozen=True):
    """A question to the worker `to`; "": to the supervisor, "*": to every other worker, of whom one may know."""

    id: int
    to: str
    body: bytes


class Reply(_Message, frozen=True):
    """The answer; `gone`: nobody of that name lives here, or nobody knows; `why`, where that is known."""

    id: int
    body: bytes = b""
    gone: bool = False
    why: str = ""


class Event(_Message, frozen=True):
    """A call's event for spectators at other workers; `data` is its JSON."""

    tenant: str
    call_id: str
    kind: str
    data: bytes


class Watchers(_Message, frozen=True):
    """Workers where somebody watches; others send their events."""

    names: tuple[str, ...]


class Farewell(_Message, frozen=True):
    """A worker's last figures."""

    figures: list[Family]


Message: TypeAlias = (
    Setup | GatewaySetup | Listening | Ready | Failed | Drain | Ask | Reply | Event | Watchers | Farewell
)  # fmt: skip


class FiguresWanted(_Message, frozen=True):
    """The worker's figures: answered by `Figures`."""


class NodeFigures(_Message, frozen=True):
    """The supervisor's figures and those of all but the asker: answered by `Figures`."""

    own: list[Family]  # the asker's


class Watch(_Message, frozen=True):
    """Somebody watches (or nobody any more) at the asker: answered when the others were told."""

    on: bool


class Line(_Message, frozen=True):
    """The only live stream of a carrier's call is here (or no more): answered by `Yes`, not done when another is."""

    carrier: str
    call: str
    on: bool


class Bury(_Message, frozen=True):
    """Close the calls of a worker that is dead: answered by `Yes`."""

    worker: str


class Figures(_Message, frozen=True):
    """Figures as values."""

    families: list[Family]


class Yes(_Message, frozen=True):
    """Done, or not."""

    done: bool


ToSupervisor: TypeAlias = NodeFigures | Watch | Line
encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


class Frames:
    """Bytes to messages. Pure."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole with `data`. Raises ProtocolError."""
        self._held += data
        while len(self._held) >= _HEAD.size:
            (size,) = _HEAD.unpack_from(self._held)
            if size > MOST_FRAME:
                raise ProtocolError(f"bus: a message of {size} bytes; at most {MOST_FRAME} are allowed")
            if len(self._held) < _HEAD.size + size:
                return
            body = bytes(self._held[_HEAD.size : _HEAD.size + size])
            del self._held[: _HEAD.size + size]
            try:
                yield _decoder.decode(body)
            except msgspec.DecodeError as wrong:
                raise ProtocolError(f"bus: {wrong}") from wrong


def framed(message: Message) -> bytes:
    """A message as it goes on the wire. Raises ProtocolError for one that is too large."""
    body = encode(message)
    if len(body) > MOST_FRAME:
        raise ProtocolError(f"bus: a message of {len(body)} bytes; at most {MOST_FRAME} are allowed")
    return _HEAD.pack(len(body)) + body


class Link:
    """One end of a pair. `send` never waits: what must not be lost is small and bounded by its askers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._frames = Frames()
        self._waiting: list[Message] = []
        self._last_id = 0
        self._asked: dict[int, asyncio.Future[Reply]] = {}
        self.lost = 0  # spectators' events that a slow reader did not get

    @classmethod
    async def over(cls, end: socket.socket) -> "Link":
        """The link over one end of a pair; the socket is the link's from now on."""
        end.setblocking(False)
        return cls(*await asyncio.open_unix_connection(sock=end))

    def send(self, message: Message) -> None:
        """Hand over; silently nothing when the other end is gone (its end is noticed by reading)."""
        if not self._writer.is_closing():
            self._writer.write(framed(message))

    def offer(self, message: Event) -> bool:
        """The same for what may be lost: False, counted, when too much waits already."""
        if self._writer.transport.get_write_buffer_size() > MOST_WAITING:
            self.lost += 1
            return False
        self.send(message)
        return True

    async def receive(self) -> Message | None:
        """The next message that is not an answer to `ask`; None at the other's end. Raises ProtocolError for nonsense.

        Answers to questions that were passed on have negative numbers and are the caller's."""
        while True:
            while self._waiting:
                message = self._waiting.pop(0)
                if not (isinstance(message, Reply) and message.id > 0):
                    return message
                self._settle(message)
            if not await self._more():
                self._settle_all()
                return None

    async def _more(self) -> bool:
        try:
            data = await self._reader.read(1 << 16)
        except OSError:
            return False
        self._waiting.extend(self._frames.feed(data))
        return bool(data)

    async def ask(self, to: str, body: bytes, timeout_s: float) -> Reply | None:
        """Ask and wait for the answer; None when it does not come in time or too much was asked already.

        Somebody must be in `receive` meanwhile."""
        if len(self._asked) >= MOST_ASKED or self._writer.is_closing():
            return None
        self._last_id += 1
        number = self._last_id
        self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self.send(Ask(number, to, body))
            async with asyncio.timeout(timeout_s):
                return await self._asked[number]
        except TimeoutError:
            return None
        finally:
            del self._asked[number]

    def _settle(self, reply: Reply) -> None:
        waiting = self._asked.get(reply.id)
        if waiting is not None and not waiting.done():
            waiting.set_result(reply)

    def _settle_all(self) -> None:
        for number in self._asked:
            self._settle(Reply(number, gone=True))

    async def flushed(self, within_s: float = 1.0) -> None:
        """What was sent has left, or the time is over."""
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(within_s):
                await self._writer.drain()

    async def close(self) -> None:
        """Hang up."""
        self._settle_all()
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()
