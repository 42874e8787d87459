"""A carrier's websocket on its transport: bytes come by callback, messages go straight to the listener.

No reader task, no queue and no future per message, no writer to be woken: two hundred messages a second and call leave
no room for those. What keeps one call from starving the others: a listener that has enough for now, every `TURN`
messages and every `SLICE` bytes make the socket hold the rest, stop reading, and give way to the loop once.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Protocol

from trunkline.bridge.dialect import Message
from trunkline.bridge.leg import Oddity
from trunkline.bridge.wire_socket import NOBODY, Listener
from trunkline.websocket_frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    WHOLE_TEXT,
    FrameError,
    FrameReader,
    close_of,
    close_payload,
    server_frame,
)
from trunkline.websocket_frames import Message as Frame

TURN = 64  # messages told without giving way
SLICE = 1 << 16  # bytes read without giving way
HIGH = 1 << 14  # bytes in the transport's buffer beyond which messages wait with us, where a flush can call them back

FRAME_ODDITIES = {1002: "bad_frame", 1007: "bad_text", 1009: "too_large"}  # by the close code that answers them
_ON = (False, b"")  # to aiohttp: no end, nothing left over


class Flow(Protocol):
    """The transport's protocol as aiohttp has it: flow control both ways."""

    @property
    def writing_paused(self) -> bool:
        """The transport's buffer is above its high-water mark, and not yet below the low one."""
        ...

    def pause_reading(self) -> None:
        """Take no more from the kernel."""
        ...

    def resume_reading(self) -> None:
        """Go on; harmless when closed."""
        ...


class FrameSocket:
    """`Socket` of a server, and the parser that aiohttp feeds with everything behind the handshake."""

    def __init__(
        self,
        transport: asyncio.Transport,
        flow: Flow,
        *,
        begin: Callable[["FrameSocket"], None],
        drain: Callable[[], Awaitable[None]],
        most_bytes: int,
    ) -> None:
        """begin: called once somebody listens, has the transport's bytes fed to us; most_bytes: of one message."""
        transport.set_write_buffer_limits(high=HIGH)
        self._transport = transport
        self._give = transport.write
        self._flow = flow
        self._begin: Callable[[FrameSocket], None] | None = begin
        self._drain = drain
        self._loop = asyncio.get_running_loop()
        self._frames = FrameReader(masked=True, most_bytes=most_bytes)
        self._listener: Listener | None = None
        self._holding = False  # reading is paused; what came already waits in the next four
        self._found: Iterator[Frame] = iter(())
        self._error: FrameError | None = None
        self._bytes = b""
        self._eof = False
        self._said_goodbye = False
        self._over = asyncio.Event()
        self.close_code: int | None = None

    # -- `Socket`

    def listen(self, listener: Listener | None) -> None:
        """Tell this one from now on; None: hold what comes."""
        self._listener = listener
        if listener is None:
            self._hold()
        elif self._begin is not None:
            begin, self._begin = self._begin, None
            begin(self)
        elif self._holding:
            self._loop.call_soon(self._go_on)

    @property
    def full(self) -> bool:
        """More than `HIGH` bytes wait in the transport."""
        return self._flow.writing_paused and not self._eof and self.close_code is None

    def send(self, message: Message) -> None:
        """Text as text, bytes as binary. OSError when closed, by either side."""
        if self._said_goodbye or self.close_code is not None:
            raise ConnectionResetError("the socket is closed")
        if isinstance(message, str):
            self._write(TEXT, message.encode())
        else:
            self._write(BINARY, message)

    async def drained(self) -> None:
        """Wait for the transport's low-water mark."""
        await self._drain()

    async def close(self, code: int, reason: str) -> None:
        """Say goodbye, wait for theirs, close the connection; also when the wait is cut short."""
        self.listen(NOBODY)
        try:
            if self.close_code is None:
                self._goodbye(close_payload(code, reason))
                await self._over.wait()
        finally:
            self._end(1006)

    # -- what aiohttp calls (`RequestHandler.set_parser`)

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Bytes off the wire."""
        if self._holding:
            self._bytes += data
        elif self._listener is not None and (payload := self._frames.whole(data)) is not None:  # nearly always
            if self._took(TEXT if data[0] == WHOLE_TEXT else BINARY, payload) or self._listener is None:
                self._pause()
        elif len(data) > SLICE:
            self._bytes = data
            self._slice()
        else:
            self._read(data)
        return _ON

    def feed_eof(self) -> None:
        """The connection is gone."""
        self._eof = True
        if not self._holding:
            self._end(1006)

    def set_exception(self, exc: BaseException, cause: BaseException | None = None) -> None:
        """The connection is gone, for this reason."""
        self.feed_eof()

    # -- in

    def _read(self, data: bytes) -> None:
        try:
            found = self._frames.feed(data)
        except FrameError as error:
            found, self._error = error.before, error
        if found or self._error is not None:
            self._tell(iter(found))

    def _tell(self, found: Iterator[Frame]) -> None:
        """Hand out what was found; what is left when it is others' turn, or nobody listens, is held."""
        for told, (opcode, payload) in enumerate(found, 1):
            if self._took(opcode, payload) or told == TURN or self._listener is None:
                self._found = found
                self._pause()
                return
        if self._error is not None:
            self._fail(self._error)

    def _pause(self) -> None:
        self._hold()
        if self._listener is not None:
            self._loop.call_soon(self._go_on)

    def _took(self, opcode: int, payload: bytes) -> bool:
        """Act on a message; True when its listener has enough for now."""
        if self._listener is None or self.close_code is not None:
            return False
        if opcode == TEXT:
            try:
                text = payload.decode()
            except UnicodeDecodeError:
                self._fail(FrameError(1007, "a text message is no UTF-8"))
                return False
            return self._listener.heard(text)
        if opcode == BINARY:
            return self._listener.heard(payload)
        self._control(opcode, payload)
        return False

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == CLOSE:
            try:
                code, _ = close_of(payload)
            except FrameError as error:
                self._fail(error)
                return
            self._goodbye(payload[:2])
            self._end(code)
        elif opcode == PING:
            if not self.full:
                self._write(PONG, payload)
            elif self._listener is not None:
                self._listener.odd(Oddity("ping_unanswered"))

    def _hold(self) -> None:
        if not self._holding and self._begin is None:
            self._holding = True
            self._flow.pause_reading()

    def _go_on(self) -> None:
        """After the others' turn: what was found, what was read, what happened since, in this order."""
        if not self._holding or self._listener is None:
            return
        self._holding = False
        found, self._found = self._found, iter(())
        self._tell(found)
        if self._bytes and not self._holding:
            self._slice()
        if self._holding:
            return
        if self._eof:
            self._end(1006)
        else:
            self._flow.resume_reading()

    def _slice(self) -> None:
        data, self._bytes = self._bytes[:SLICE], self._bytes[SLICE:]
        self._read(data)
        if self._bytes and not self._holding:
            self._hold()
            self._loop.call_soon(self._go_on)

    # -- out, and the end

    def _write(self, opcode: int, payload: bytes) -> None:
        if self._eof:
            return  # it is told in its turn, behind what came before it
        try:
            self._give(server_frame(opcode, payload))
        except RuntimeError as error:  # uvloop's word for a transport that is closed
            raise ConnectionResetError(str(error)) from error

    def _goodbye(self, payload: bytes) -> None:
        if not self._said_goodbye and self.close_code is None:
            self._said_goodbye = True
            with suppress(OSError):  # its end is told by `feed_eof`
                self._write(CLOSE, payload)

    def _fail(self, error: FrameError) -> None:
        """Broken framing: say so, and close (RFC 6455, 7.1.7)."""
        if self.close_code is not None:
            return
        if self._listener is not None:
            self._listener.odd(Oddity(FRAME_ODDITIES[error.close_code], str(error)))
        self._goodbye(close_payload(error.close_code, str(error)))
        self._end(error.close_code)

    def _end(self, code: int) -> None:
        if self.close_code is not None:
            return
        self.close_code = code
        self._over.set()
        self._transport.close()
        if self._listener is not None:
            self._listener.gone()
