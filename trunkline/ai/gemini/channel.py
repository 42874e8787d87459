"""A websocket's frames on a transport after the upgrade, as a client: no task, and no queue but for the first moments.

google-genai opens the connection and says the set-up (`upgrade`). Every byte behind the upgrade comes here, so there is
nothing to take over from anybody: what follows the acknowledgement in one segment is in the same reader.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from trunkline.websocket_frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameReader,
    client_frame,
    close_of,
    close_payload,
)

CLOSE_S = 0.5  # for the closing handshake, and for the far end to let the socket go after it
MOST_BYTES = 16 << 20  # of one message
MOST_KEPT = 16  # messages before somebody takes them; then the socket is not read
LOST = 1006  # no close frame, RFC 6455 7.1.5
_DATA = (TEXT, BINARY)
Take: TypeAlias = Callable[[bytes], bool]
"""A message → whether it was the last one wanted. Called while the socket is read: returns at once."""


class Closing(NamedTuple):
    """How a connection ended. `told`: the far end said so; else we did, or nobody."""

    code: int
    reason: str
    told: bool = False


class Ended(Exception):  # noqa: N818 - the state of a connection
    """There is no connection (any more)."""

    def __init__(self, closing: Closing) -> None:
        super().__init__(f"{closing.reason} ({closing.code})")
        self.closing = closing


class Channel:
    """One connection, of asyncio's `Protocol` by its methods: inheriting it would keep mypyc from making this native.

    `on_lost` is called once, with the transport's error or None, when its socket is gone.
    """

    def __init__(self, transport: asyncio.Transport, on_lost: Callable[[Exception | None], None]) -> None:
        self._transport = transport
        self._give = transport.write
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._reader = FrameReader(masked=False, most_bytes=MOST_BYTES)
        self._kept: deque[bytes] = deque()
        self._paused = False  # reading
        self._take: Take | None = None
        self._waiter: asyncio.Future[None] | None = None  # of the one who reads
        self._lost: asyncio.Future[None] = self._loop.create_future()
        self._closing: Closing | None = None
        self._deaf = False  # what still comes is nobody's
        self._deadline: asyncio.TimerHandle | None = None
        self._blocked_at: float | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._unanswered: bytes | None = None  # the newest ping, while nothing can be written

    # ── up ──────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def blocked(self) -> bool:
        """Whether the transport holds as much as it may: what can wait should."""
        return self._blocked_at is not None

    @property
    def blocked_s(self) -> float:
        """Seconds since the far end stopped to take what is written; 0 while it does."""
        return 0.0 if self._blocked_at is None else self._loop.time() - self._blocked_at

    def text(self, payload: bytes) -> None:
        """Write a message. Never waits. Raises Ended."""
        if self._closing is not None:
            raise Ended(self._closing)
        self._write(TEXT, payload)

    def _write(self, opcode: int, payload: bytes) -> None:
        try:  # noqa: SIM105 - `suppress` would cost as much as the frame
            self._give(client_frame(opcode, payload))
        except RuntimeError:  # uvloop's word for a transport that is closed: `connection_lost` comes next
            pass

    async def room(self) -> None:
        """Until the transport takes more, or the socket is gone."""
        await self._room.wait()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye and wait for the end of the socket, within CLOSE_S. Harmless when it is gone."""
        self._say_goodbye(Closing(code, reason))
        self._read_on()
        await asyncio.shield(self._lost)

    def abort(self) -> None:
        """Cut it: what is not yet written is lost."""
        self._transport.abort()

    # ── down ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def message(self) -> bytes:
        """The next message, for the set-up; not beside `follow`. Raises Ended."""
        while not self._kept:
            await self._news()
        message = self._kept.popleft()
        self._read_on()
        return message

    async def follow(self, take: Take) -> None:
        """Hand over every message, those that came already included, in their order, as soon as it is there. Returns
        when `take` has what it wants, and raises what it raises; then what still comes is dropped. Raises Ended."""
        self._read_on()
        try:
            while self._kept:
                if take(self._kept.popleft()):
                    return
            self._take = take
            await self._news()
        finally:
            self._take = _nobody

    async def _news(self) -> None:
        if self._lost.done():
            raise Ended(self._closing or Closing(LOST, ""))
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def data_received(self, data: bytes) -> None:
        """Of asyncio.Protocol."""
        if self._deaf:
            return
        payload = self._reader.whole(data)
        if payload is not None:  # nearly always
            self._hand(payload)
            return
        self._several(data)

    def _several(self, data: bytes) -> None:
        wrong: FrameError | None = None
        try:
            found = self._reader.feed(data)
        except FrameError as error:
            found, wrong = error.before, error
        for opcode, payload in found:
            if opcode in _DATA:
                self._hand(payload)
            elif opcode == CLOSE:
                self._close_received(payload)
                return
            elif opcode == PING:
                self._answer(payload)
        if wrong is not None:
            self._deaf = True
            self._say_goodbye(Closing(wrong.close_code, str(wrong)))

    def _hand(self, payload: bytes) -> None:
        take = self._take
        if take is None:
            self._keep(payload)
            return
        try:
            if take(payload):
                self._take = _nobody
                self._wake()
        except Exception as wrong:  # it is the follower's, not the transport's
            self._take = _nobody
            self._wake(wrong)

    def _keep(self, payload: bytes) -> None:
        self._kept.append(payload)
        if len(self._kept) >= MOST_KEPT and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def _read_on(self) -> None:
        if self._paused and not self._lost.done():
            self._paused = False
            self._transport.resume_reading()

    def _wake(self, wrong: Exception | None = None) -> None:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        if wrong is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(wrong)

    def _answer(self, ping: bytes) -> None:
        """A pong; where nothing can be written, later and to the newest ping alone (5.5.3)."""
        if self._closing is not None:
            return
        if self.blocked:
            self._unanswered = ping
        else:
            self._write(PONG, ping)

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _close_received(self, payload: bytes) -> None:
        """The far end's goodbye: its word counts, whatever we said before."""
        self._deaf = True
        try:
            code, reason = close_of(payload)
        except FrameError as error:
            self._say_goodbye(Closing(error.close_code, str(error)))
            return
        self._say_goodbye(Closing(code, reason), payload)
        self._closing = Closing(code, reason, told=True)

    def _say_goodbye(self, closing: Closing, payload: bytes | None = None) -> None:
        """Once: a close frame (an echo of `payload` where there is one), and CLOSE_S for the socket to end."""
        if self._closing is not None or self._lost.done():
            return
        self._closing = closing
        self._write(CLOSE, close_payload(*closing[:2]) if payload is None else payload)
        self._deadline = self._loop.call_later(CLOSE_S, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio.Protocol."""
        if self._closing is None:
            self._closing = Closing(LOST, "")
        self._deaf = True
        if self._deadline is not None:
            self._deadline.cancel()
        self._lost.set_result(None)
        self._room.set()
        self._wake(Ended(self._closing))
        self._on_lost(exc)

    def eof_received(self) -> None:
        """Of asyncio.Protocol: the transport closes itself."""

    def pause_writing(self) -> None:
        """Of asyncio.Protocol."""
        self._blocked_at = self._loop.time()
        self._room.clear()

    def resume_writing(self) -> None:
        """Of asyncio.Protocol."""
        self._blocked_at = None
        self._room.set()
        ping, self._unanswered = self._unanswered, None
        if ping is not None:
            self._answer(ping)


def _nobody(_: bytes) -> bool:
    """Nobody follows any more: the session has what it wanted, or is over."""
    return False
