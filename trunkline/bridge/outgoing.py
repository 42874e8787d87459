"""What leaves for the wire: at once while the far end reads, else one queue, one writer that waits, and a purge that
leaves nothing of a dead reply behind."""

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
        self,
        socket: Socket,
        dialect: MediaDialect,
        far: FarEnd,
        clock: Clock,
        marked: Callable[[float], None],
        failed: Callable[[Exception], None],
    ) -> None:
        """marked: called with the time when a mark has left; failed: with what broke, from within the handler."""
        self._socket = socket
        self._dialect = dialect
        self._far = far
        self._now = clock.monotonic
        self._audio = dialect.audio
        self._marked = marked
        self._failed = failed
        self._queue: deque[_Out] = deque()
        self._waits = asyncio.Event()
        self._drained: asyncio.Future[None] | None = None
        self._over = False
        self.waiting_since: float | None = None  # the far end has not taken a message since
        self.dirty = False  # audio went out that no `clear` has called back

    def audio(self, payload: bytes, seconds: float) -> None:
        """Play this."""
        if self._queue or self._socket.full:
            self._far.queued(seconds)
            self._put(_Out(payload, seconds))
        else:
            self._send_audio(payload, seconds)

    def mark(self, name: str, *, echoes: bool) -> None:
        """Mark this place; echoes: ask the carrier to give it back."""
        self._leave(_Out(mark=name, echoes=echoes))

    def control(self, message: Message | None) -> None:
        """Say this, if there is something to say."""
        if message is not None:
            self._leave(_Out(control=message))

    def purge(self) -> None:
        """Forget audio and marks that have not left."""
        kept = [out for out in self._queue if out.control is not None]
        self._queue.clear()
        self._queue.extend(kept)
        if not kept:
            self._empty()

    async def run(self) -> None:
        """Waits, until cancelled, for a far end that does not read. Raises OSError when the socket breaks."""
        while True:
            await self._waits.wait()
            while self._queue:
                if self._socket.full:
                    await self._socket.drained()
                else:
                    self._depart(self._queue.popleft())
                    self.waiting_since = self._now()
            self._empty()

    async def drain(self, timeout_s: float) -> bool:
        """Wait until all is with the transport; False when that takes too long."""
        if self._over or not self._queue:
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

    def _leave(self, out: _Out) -> None:
        if self._queue or self._socket.full:
            self._put(out)
        else:
            self._depart(out)

    def _depart(self, out: _Out) -> None:
        """On the wire, and booked as sent: from here on only a `clear` behind it can call it back."""
        if out.payload:
            self._send_audio(out.payload, out.seconds)
        elif out.mark:
            now = self._now()
            self._far.marked(out.mark, now)
            self._marked(now)
            self._send(self._dialect.mark(out.mark) if out.echoes else None)
        else:
            self._send(out.control)

    def _send_audio(self, payload: bytes, seconds: float) -> None:
        self._far.sent(seconds, self._now())
        self.dirty = True
        self._send(self._audio(payload))

    def _send(self, message: Message | None) -> None:
        if message is None:
            return
        try:
            self._socket.send(message)
        except Exception as error:  # a closed socket, or a bug that ends this call and no other
            self._failed(error)

    def _put(self, out: _Out) -> None:
        if self.waiting_since is None:
            self.waiting_since = self._now()
        self._queue.append(out)
        self._waits.set()

    def _empty(self) -> None:
        self.waiting_since = None
        self._waits.clear()
        self._tell_drained()

    def _tell_drained(self) -> None:
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
