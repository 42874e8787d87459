"""The recording's file: one thread at a time, in order, also when the writer is cancelled in the middle of a write."""

import asyncio
import threading
import wave
from pathlib import Path

from trunkline.calls.recording import Recording
from trunkline.clock import Clock, SystemClock


class SlowDisk(Recording):
    """The first write waits for `go`."""

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(path, 8000, clock, clock.monotonic() - 10.0)
        self.began = threading.Event()
        self.go = threading.Event()
        self.inside = 0
        self.most_inside = 0

    def _append(self, left: bytes, right: bytes) -> None:
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self.began.set()
        self.go.wait(5.0)
        super()._append(left, right)
        self.inside -= 1


async def test_a_cancelled_write_is_over_before_the_file_is_closed(tmp_path: Path) -> None:
    clock = SystemClock()
    recording = SlowDisk(tmp_path / "call.wav", clock)
    recording.caller(clock.monotonic() - 5.0, b"\x01\x00" * 8000)
    writer = asyncio.create_task(recording._write(40_000))
    await asyncio.to_thread(recording.began.wait, 5.0)
    writer.cancel()
    await asyncio.wait({writer})
    closing = asyncio.create_task(recording.close())
    await asyncio.sleep(0.05)
    recording.go.set()
    await closing
    assert recording.most_inside == 1
    with wave.open(str(tmp_path / "call.wav")) as file:
        assert 80_000 <= file.getnframes() < 90_000
