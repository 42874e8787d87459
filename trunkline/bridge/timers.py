"""Two small waits on the running loop: an alarm that can be set earlier, and a sleep that can be cut short."""

import asyncio
from collections.abc import Callable

NEVER = float("inf")


class Alarm:
    """Calls `ring` once, at the earliest time it was set to. Set again by whoever needs it again."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._timer: asyncio.TimerHandle | None = None
        self._at = NEVER
        self._off = False

    def by(self, at: float | None, now: float) -> None:
        """Ring no later than `at` (s of the clock that says `now`); None: as set."""
        if at is None or at >= self._at or self._off:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._at = at
        self._timer = asyncio.get_running_loop().call_later(max(0.0, at - now), self._rung)

    def off(self) -> None:
        """Never ring again."""
        self._off = True
        if self._timer is not None:
            self._timer.cancel()

    def _rung(self) -> None:
        self._timer, self._at = None, NEVER
        self._ring()


class Naps:
    """Sleeps that end early, all of them, when somebody calls `wake`."""

    def __init__(self) -> None:
        self._sleepers: set[asyncio.Future[None]] = set()

    async def nap(self, seconds: float) -> None:
        """Sleep, unless woken sooner."""
        loop = asyncio.get_running_loop()
        sleeper = loop.create_future()
        self._sleepers.add(sleeper)
        timer = loop.call_later(seconds, _resolve, sleeper)
        try:
            await sleeper
        finally:
            timer.cancel()
            self._sleepers.discard(sleeper)

    def wake(self) -> None:
        """Everybody up."""
        for sleeper in self._sleepers:
            _resolve(sleeper)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
