"""An AudioSocket connection on its transport: `Socket` over TCP, the shell of `trunkline.bridge.audiosocket`.

Asterisk hangs up by closing, without a word; what is cut in mid-message, or reset, is a wire that broke. It gives a
call up when a single write does not go through whole: so all that comes is read at once, but for a breath when it is
others' turn. And it takes a header that arrives in two pieces for garbage: so messages are written whole. It sends
the caller's telephone nothing while we send nothing, which a carrier may take for a dead line: so silence is told now
and then.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from trunkline.bridge.audiosocket import HANG_UP, HEADER, FrameReader
from trunkline.bridge.dialect import Message
from trunkline.bridge.leg import Oddity
from trunkline.bridge.wire_socket import NOBODY, Listener

TURN = 64  # messages told without giving way
SLICE = 1 << 14  # bytes read without giving way: half a second of audio at 16 kHz
HIGH = 1 << 12  # bytes in the transport's buffer beyond which messages wait with us, where a flush can call them back
QUIET_S = 1.0  # nothing said for so long: a frame of silence
LOST_MS = 10_000  # nothing acknowledged for so long: the far end is gone
GONE, BROKEN = 1005, 1006  # close codes, by their meaning in RFC 6455, 7.4.1: closed without a word, vanished


class AudioSocketConnection(asyncio.Protocol):
    """`Socket`. `came` is told once it is connected; it decides what becomes of it."""

    def __init__(self, came: Callable[["AudioSocketConnection"], None]) -> None:
        self._came = came
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader()
        self._listener: Listener | None = None
        self._raw = bytearray()  # read, not yet looked at
        self._found: deque[bytes] = deque()  # not yet told
        self._ending: int | None = None  # to be told behind what was found
        self._resting = False  # others have their turn
        self._paused = False
        self._said_goodbye = False
        self._silence = b""  # a frame of it, as our audio is framed; b"" before any and after a hang-up
        self._sent_at = 0.0  # loop time
        self._room = asyncio.Event()
        self._room.set()
        self._over = asyncio.Event()
        self.close_code: int | None = None

    # -- `Socket`

    def listen(self, listener: Listener | None) -> None:
        """Tell this one from now on; None: hold what comes."""
        self._listener = listener
        if listener is None:
            self._pause()
        elif not self._resting:
            self._rest()

    @property
    def full(self) -> bool:
        """More than `HIGH` bytes wait in the transport."""
        return not self._room.is_set()

    def send(self, message: Message) -> None:
        """Whole messages. OSError when closed, by either side."""
        if self._said_goodbye or self._ending is not None or self.close_code is not None:
            raise ConnectionResetError("the connection is closed")
        data = cast(bytes, message)
        try:
            self._transport.write(data)
        except RuntimeError as error:  # uvloop's word for a transport that is closed
            raise ConnectionResetError(str(error)) from error
        self._sent_at = self._loop.time()
        if data[:HEADER] != self._silence[:HEADER]:
            self._silence = data[:HEADER] + bytes(int.from_bytes(data[1:HEADER], "big")) if data[0] != HANG_UP else b""

    async def drained(self) -> None:
        """Wait for the transport's low-water mark."""
        await self._room.wait()

    async def close(self, code: int, reason: str) -> None:
        """No more from us; wait for the far end's close, then be gone, also when the wait is cut short."""
        self.listen(NOBODY)
        try:
            if self.close_code is None and not self._said_goodbye:
                self._said_goodbye = True
                with suppress(OSError, RuntimeError):  # a reset would take what we said last from the far end
                    self._transport.write_eof()
                await self._over.wait()
        finally:
            self._end(BROKEN)

    @property
    def peer(self) -> str:
        """The far end's address, "" when unknown."""
        name = self._transport.get_extra_info("peername")
        return str(name[0]) if isinstance(name, tuple) and name else ""

    def abort(self) -> None:
        """Close at once, without a word."""
        self._end(BROKEN)

    # -- asyncio's protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected; nothing is read before somebody listens."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH)
        own = transport.get_extra_info("socket")
        if own is not None and hasattr(socket, "TCP_USER_TIMEOUT"):
            with suppress(OSError):
                own.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, LOST_MS)
        self._pause()
        self._came(self)

    def data_received(self, data: bytes) -> None:
        """Bytes off the wire."""
        self._raw += data
        if not self._resting:
            self._tell()
        if self._silence and self._loop.time() - self._sent_at >= QUIET_S and not self._said_goodbye:
            with suppress(OSError):  # that it is closed is told elsewhere
                self.send(self._silence)

    def eof_received(self) -> bool:
        """The far end closed: that is how Asterisk hangs up. False: the transport closes, too."""
        self._ended(BROKEN if self._cut else GONE)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, by the far end or by us."""
        self._room.set()
        self._ended(BROKEN)

    def pause_writing(self) -> None:
        """The transport's buffer is above its high-water mark."""
        self._room.clear()

    def resume_writing(self) -> None:
        """And below the low one."""
        self._room.set()

    # -- in

    def _tell(self) -> None:
        """Hand out what came, until it is others' turn or nobody listens."""
        told = 0
        while self._listener is not None and self.close_code is None:
            if not self._found and not self._look():
                break
            told += 1
            if self._listener.heard(self._found.popleft()) or told == TURN:
                self._rest()
                return
        self._settle()

    def _look(self) -> bool:
        """Find messages in what was read; False: there are none."""
        while self._raw and not self._found:
            piece = bytes(self._raw[:SLICE])
            del self._raw[:SLICE]
            self._found.extend(self._reader.feed(piece))
        return bool(self._found)

    def _settle(self) -> None:
        """All is told: the end, or more."""
        if self._listener is None or self.close_code is not None:
            return
        if self._ending is not None:
            if self._ending == BROKEN and self._reader.held:
                self._listener.odd(Oddity("cut_message", f"{self._reader.held} bytes of a message, then the end"))
            self._end(self._ending)
        elif self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _rest(self) -> None:
        self._pause()
        self._resting = True
        self._loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        self._resting = False
        self._tell()

    def _pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()

    # -- the end

    @property
    def _cut(self) -> bool:
        """Whether what was read ends within a message, once all of it is looked at."""
        self._found.extend(self._reader.feed(bytes(self._raw)))
        self._raw.clear()
        return self._reader.held > 0

    def _ended(self, code: int) -> None:
        if self._ending is None:
            self._ending = code
            if not self._resting:
                self._tell()

    def _end(self, code: int) -> None:
        if self.close_code is not None:
            return
        self.close_code = code
        self._over.set()
        self._room.set()
        if code == GONE:
            self._transport.close()
        else:
            self._transport.abort()
        if self._listener is not None:
            self._listener.gone()
