"""The ears: the caller's voice in. No queue of their own: the leg holds the caller's last second, the session bounds
its own wait, and each counts what it had to drop."""

import asyncio
from array import array
from collections.abc import Callable
from typing import Protocol

from trunkline.ai.session import AiSession, HearsStraight
from trunkline.bridge.leg import CallLeg, Straight
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
        self._now = clock.monotonic
        self._far_dbov = far_dbov
        self._tap = tap
        self._session: AiSession | None = None
        self._straight: HearsStraight | None = None  # the same, where it can
        self._rate = self._input_rate = leg.info.codec.rate
        self._resampler: Resampler | None = None
        self._heard = 0  # samples, by this session
        self._attached = asyncio.Event()
        self.stream = StreamClock()

    def attach(self, session: AiSession | None) -> None:
        """Hear with this session from now on; None: with nobody, the leg keeps the last second."""
        self._session = session
        self._straight = None
        able: object = session
        if isinstance(able, HearsStraight):
            self._straight = able
        self.stream = StreamClock()
        if session is None:
            self._attached.clear()
            return
        self._heard, self._input_rate = 0, session.input_rate
        self._resampler = Resampler(self._rate, self._input_rate) if self._input_rate != self._rate else None
        self._attached.set()

    async def run(self) -> None:
        """Pump until the leg ends. A session that fails to hear is reported by `lost` and let go."""
        voice = self._leg.audio()
        if isinstance(voice, Straight):
            voice.straight(self._hear_now)
        async for frame in voice:
            now = self._now()
            if self._tap is not None:
                self._tap.caller(now, frame.pcm)
            while (session := self._session) is None:
                await self._attached.wait()
            try:
                await session.hear(self._converted(frame, now), self._far_dbov(now))
            except ProviderError as exc:
                self._deaf(exc)

    def _hear_now(self, frame: AudioFrame) -> bool:
        """The same where the frame arrives, which costs no task's turn; False: nobody hears that way."""
        session = self._straight
        if session is None:
            return False
        now = self._now()
        if self._tap is not None:
            self._tap.caller(now, frame.pcm)
        try:
            session.hear_now(self._converted(frame, now))
        except ProviderError as exc:
            self._deaf(exc)
        return True

    def _converted(self, frame: AudioFrame, now: float) -> AudioFrame:
        """At the session's rate, and at its place in what this session hears."""
        pcm = frame.pcm if self._resampler is None else self._resampler.push(frame.pcm)
        start, rate = self._heard, self._input_rate
        self._heard = heard = start + len(pcm) // SAMPLE_BYTES
        self.stream.came(heard / rate, now)
        return AudioFrame(pcm, rate, start)

    def _deaf(self, exc: ProviderError) -> None:
        self.attach(None)
        self._lost(exc)
