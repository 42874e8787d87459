"""A call's two-channel recording: caller left, agent right, both in call time, the agent only as far as it was heard.

The media path only appends to two buffers; a thread writes the file, a few seconds behind.
"""

import asyncio
import wave
from pathlib import Path

import numpy as np

from trunkline.clock import Clock
from trunkline.codecs.frame import SAMPLE_BYTES

WRITE_EVERY_S = 2.0
HOLD_S = 3.0  # what is younger is not written yet: the agent's voice is known ahead of time and may still be cut
GAP_S = 0.2  # the caller's stream may be this late before silence is put in
BOUND_S = 30.0  # of one channel held, when the disk does not follow


class _Track:
    """One channel: s16le from sample `start` of the call on."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._start = 0  # samples already taken
        self._pcm = bytearray()
        self.dropped = 0  # samples

    @property
    def end(self) -> int:
        return self._start + len(self._pcm) // SAMPLE_BYTES

    def put(self, at: int, pcm: bytes) -> None:
        """Samples that begin at sample `at`; a gap is filled with silence, what was written already is not changed."""
        late = max(0, self._start - at)
        self.dropped += min(late, len(pcm) // SAMPLE_BYTES)
        pcm = pcm[late * SAMPLE_BYTES :]
        at = max(at, self._start)
        if not pcm:
            return
        if at - self._start > BOUND_S * self._rate:
            self.dropped += len(pcm) // SAMPLE_BYTES
            return
        self._pcm.extend(bytes(max(0, at - self.end) * SAMPLE_BYTES))
        offset = (at - self._start) * SAMPLE_BYTES
        self._pcm[offset : offset + len(pcm)] = pcm

    def cut(self, at: int) -> None:
        """Forget everything from sample `at` on."""
        del self._pcm[max(0, at - self._start) * SAMPLE_BYTES :]

    def take(self, until: int) -> bytes:
        """The samples up to `until`, filled up with silence."""
        size = max(0, until - self._start) * SAMPLE_BYTES
        taken = bytes(self._pcm[:size]).ljust(size, b"\0")
        del self._pcm[:size]
        self._start += size // SAMPLE_BYTES
        return taken


class Recording:
    """One call's recording. `caller`, `agent` and `cut` are plain calls of the media path."""

    def __init__(self, path: Path, rate: int, clock: Clock, began: float) -> None:
        self._path = path
        self._rate = rate
        self._clock = clock
        self._began = began
        self._caller = _Track(rate)
        self._agent = _Track(rate)
        self._file: wave.Wave_write | None = None
        self._busy = asyncio.Lock()
        self._writing: asyncio.Future[None] | None = None  # a thread has the file, perhaps longer than who sent it

    @property
    def name(self) -> str:
        """The file's name."""
        return self._path.name

    @property
    def dropped_samples(self) -> int:
        """Samples that the file does not have because the disk was too slow."""
        return self._caller.dropped + self._agent.dropped

    def caller(self, now: float, pcm: bytes) -> None:
        """The caller's voice: s16le that ended on the wire at `now` (clock, s)."""
        at = max(0, self._sample(now) - len(pcm) // SAMPLE_BYTES)
        end = self._caller.end
        self._caller.put(at if not end or at > end + GAP_S * self._rate else end, pcm)

    def agent(self, starts: float, pcm: bytes) -> None:
        """The agent's voice: s16le that begins to be heard at `starts` (clock, s)."""
        self._agent.put(self._sample(starts), pcm)

    def cut(self, at: float) -> None:
        """Nothing of the agent was heard from `at` (clock, s) on."""
        self._agent.cut(self._sample(at))

    async def run(self) -> None:
        """Write until cancelled. Raises OSError when the file cannot be written."""
        while True:
            await self._clock.sleep_until(self._clock.monotonic() + WRITE_EVERY_S)
            await self._write(self._sample(self._clock.monotonic() - HOLD_S))

    async def close(self) -> None:
        """Write the rest, up to now, and close the file."""
        await self._write(self._sample(self._clock.monotonic()))
        if self._file is not None:
            await asyncio.to_thread(self._file.close)
            self._file = None

    def _sample(self, at: float) -> int:
        return max(0, round((at - self._began) * self._rate))

    async def _write(self, until: int) -> None:
        async with self._busy:
            await self._settled()
            left, right = self._caller.take(until), self._agent.take(until)
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._append, left, right)
            await self._settled()

    async def _settled(self) -> None:
        """The file is free. A cancelled writer leaves its thread at work: the next one waits for that."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
            self._writing = None

    def _append(self, left: bytes, right: bytes) -> None:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = wave.open(str(self._path), "wb")  # noqa: SIM115 - closed by close()
            self._file.setnchannels(2)
            self._file.setsampwidth(SAMPLE_BYTES)
            self._file.setframerate(self._rate)
        both = np.stack((np.frombuffer(left, "<i2"), np.frombuffer(right, "<i2")), axis=1)
        self._file.writeframes(both.tobytes())
