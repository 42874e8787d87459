"""Time, handed in: `SystemClock` in production, a virtual one in tests. Pure cores take `now` as an argument."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


def until_beat(now: float, every_s: float) -> float:
    """Seconds to the next whole multiple of `every_s`, or the one behind it where that is less than half away: whoever
    looks at something regularly looks at the same moments as all others, and together they wake the process once."""
    wait = every_s - now % every_s
    return wait if wait >= every_s / 2 else wait + every_s


class Clock(Protocol):
    """Where a shell reads the time and waits for it."""

    def monotonic(self) -> float:
        """Seconds of a clock that never jumps; for durations and deadlines."""
        ...

    def utcnow(self) -> datetime:
        """Aware UTC wall time; for records."""
        ...

    async def sleep_until(self, deadline: float) -> None:
        """Return once `monotonic()` has reached `deadline` (s)."""
        ...


class SystemClock:
    """The machine's clocks; inside a running event loop, `monotonic` is the loop's own time."""

    # Seconds of the monotonic clock (the one asyncio and uvloop use): the function itself, for the path of a frame asks
    # several times.
    monotonic = staticmethod(time.monotonic)

    def utcnow(self) -> datetime:
        """Aware UTC wall time."""
        return datetime.now(UTC)

    async def sleep_until(self, deadline: float) -> None:
        """Sleep to an absolute deadline, so that a late wake-up does not add up."""
        await asyncio.sleep(max(0.0, deadline - time.monotonic()))


class LoopClock:
    """The running event loop's time: virtual when the loop is (tests), real otherwise."""

    def __init__(self, epoch: datetime) -> None:
        self._epoch = epoch.timestamp()

    def monotonic(self) -> float:
        """Seconds of the running loop's clock."""
        return asyncio.get_running_loop().time()

    def utcnow(self) -> datetime:
        """The epoch plus the loop's time."""
        return datetime.fromtimestamp(self._epoch + self.monotonic(), UTC)

    async def sleep_until(self, deadline: float) -> None:
        """Sleep to an absolute deadline of the loop's clock."""
        await asyncio.sleep(max(0.0, deadline - self.monotonic()))
