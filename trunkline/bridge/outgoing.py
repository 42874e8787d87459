"""What waits for the wire: one queue, one writer, and a purge that leaves nothing of a dead reply behind."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from trunkline.bridge.dialect import MediaDialect, Message
from trunkline.bridge.far_end import FarEnd
from trunkline.bridge.wire_socket import Socket
from trunkline.clock import Clock


class _Out(NamedTuple):
    """One thing waiting: audio, the place of a mark, or a control message."""

    payload: bytes = b""
    seconds: float = 0.0
    mark: str = ""
    echoes: bool = False
    control: Message | None = None


class Outgoing:
    """Bookings go to `far` when a thing leaves, not when it is asked for: only the wire makes the far end hold it.

    The queue's bound is its owner's: `far.queued_s` for audio, `far.outstanding()` for marks.
    """

    def __init__(
        self, socket: Socket, dialect: MediaDialect, far: FarEnd, clock: Clock, marked: Callable[[float], None]
    ) -> None:
        """marked: called with the time when a mark has left."""
        self._socket = socket
        self._dialect = dialect
        self._far = far
        self._clock = clock
        self._marked = marked
        self._queue: deque[_Out] = deque()
        self._ready = asyncio.Event()
        self._drained: asyncio.Future[None] | None = None
        self._over = False
        self.sending_since: float | None = None  # the far end has not taken a message since
        self.dirty = False  # audio went out that no `clear` has called back

    def audio(self, payload: bytes, seconds: float) -> None:
        """Play this."""
        self._far.queued(seconds)
        self._put(_Out(payload, seconds))

    def mark(self, name: str, *, echoes: bool) -> None:
        """Mark this place; echoes: ask the carrier to give it back."""
        self._put(_Out(mark=name, echoes=echoes))

    def control(self, message: Message | None) -> None:
        """Say this, if there is something to say."""
        if message is not None:
            self._put(_Out(control=message))

    def purge(self) -> None:
        """Forget audio and marks. One message may be with the transport already: it is booked as sent."""
        kept = [out for out in self._queue if out.control is not None]
        self._queue.clear()
        self._queue.extend(kept)

    async def run(self) -> None:
        """The writer, until cancelled. Raises OSError when the socket breaks."""
        while True:
            while self._queue:
                message = self._departing(self._queue.popleft())
                if message is not None:
                    await self._socket.send(message)
                self.sending_since = None
            self._tell_drained()
            self._ready.clear()
            await self._ready.wait()

    async def drain(self, timeout_s: float) -> bool:
        """Wait until all is with the transport; False when that takes too long."""
        if self._over or (not self._queue and self.sending_since is None):
            return True
        self._drained = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._drained
        except TimeoutError:
            return False
        return True

    def over(self) -> None:
        """Nobody waits any longer."""
        self._over = True
        self._tell_drained()

    def _departing(self, out: _Out) -> Message | None:
        """The message for the wire, booked as sent: from here on only a `clear` behind it can call it back."""
        now = self._clock.monotonic()
        self.sending_since = now
        if out.payload:
            self._far.sent(out.seconds, now)
            self.dirty = True
            return self._dialect.audio(out.payload)
        if out.mark:
            self._far.marked(out.mark, now)
            self._marked(now)
            return self._dialect.mark(out.mark) if out.echoes else None
        return out.control

    def _put(self, out: _Out) -> None:
        self._queue.append(out)
        self._ready.set()

    def _tell_drained(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
