"""The ears: the caller's voice in. No queue of their own: the leg holds the caller's last second, the session bounds
its own wait, and each counts what it had to drop."""

import asyncio
from array import array
from collections.abc import Callable
from typing import Protocol

from trunkline.ai.session import AiSession
from trunkline.bridge.leg import CallLeg
from trunkline.clock import Clock
from trunkline.codecs.frame import SAMPLE_BYTES, AudioFrame
from trunkline.codecs.resample import Resampler
from trunkline.errors import ProviderError

REMEMBERED_FRAMES = 1536  # 30 s of 20 ms frames


class StreamClock:
    """When each moment of the heard stream came off the wire: stream position (s) → clock (s), for the last 30 s."""

    def __init__(self, frames: int = REMEMBERED_FRAMES) -> None:
        self._ends = array("d", bytes(8 * frames))
        self._arrived = array("d", bytes(8 * frames))
        self._count = 0

    def came(self, end_s: float, now: float) -> None:
        """A frame that ends at `end_s` of the stream arrived."""
        at = self._count % len(self._ends)
        self._ends[at] = end_s
        self._arrived[at] = now
        self._count += 1

    def wire_time(self, position_s: float, default: float) -> float:
        """When the sample at `position_s` arrived; `default` when nothing was heard. Positions outside what is
        remembered are reckoned from the nearest frame."""
        size = len(self._ends)
        oldest = max(0, self._count - size)
        if not self._count:
            return default
        index = self._count - 1
        while index > oldest and self._ends[(index - 1) % size] >= position_s:
            index -= 1
        return self._arrived[index % size] - (self._ends[index % size] - position_s)


class CallerTap(Protocol):
    """Who else wants the caller's voice (the recording)."""

    def caller(self, now: float, pcm: bytes) -> None:
        """s16le at the leg's rate, arrived at `now`."""
        ...


class Ears:
    """The pump from leg to session, which may be replaced while the call goes on."""

    def __init__(
        self,
        leg: CallLeg,
        clock: Clock,
        far_dbov: Callable[[float], float],
        lost: Callable[[ProviderError], None],
        tap: CallerTap | None = None,
    ) -> None:
        self._leg = leg
        self._lost = lost
        self._clock = clock
        self._far_dbov = far_dbov
        self._tap = tap
        self._session: AiSession | None = None
        self._attached = asyncio.Event()
        self.stream = StreamClock()

    def attach(self, session: AiSession | None) -> None:
        """Hear with this session from now on; None: with nobody, the leg keeps the last second."""
        self._session = session
        self.stream = StreamClock()
        if session is None:
            self._attached.clear()
        else:
            self._attached.set()

    async def run(self) -> None:
        """Pump until the leg ends. A session that fails to hear is reported by `lost` and let go."""
        rate, input_rate, heard, session = self._leg.info.codec.rate, 0, 0, None
        resampler: Resampler | None = None
        async for frame in self._leg.audio():
            now = self._clock.monotonic()
            if self._tap is not None:
                self._tap.caller(now, frame.pcm)
            while self._session is None:
                await self._attached.wait()
            if session is not self._session:
                session, heard = self._session, 0
                input_rate = session.input_rate
                resampler = Resampler(rate, input_rate) if input_rate != rate else None
            pcm = frame.pcm if resampler is None else resampler.push(frame.pcm)
            there = AudioFrame(pcm, input_rate, heard)
            heard += len(pcm) // SAMPLE_BYTES
            self.stream.came(heard / input_rate, now)
            try:
                await session.hear(there, self._far_dbov(now))
            except ProviderError as exc:
                self.attach(None)
                self._lost(exc)
