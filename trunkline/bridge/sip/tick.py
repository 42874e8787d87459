"""One beat per worker for all its SIP calls; none while there is no call. A wake-up per frame costs more."""

import asyncio
from collections.abc import Callable
from typing import Final

TICK_S: Final = 0.01
LATE_S: Final = 0.01  # a beat that comes later than this is counted: the spare frame is gone by then


class Tick:
    """Calls `beat(now)` every `TICK_S` on the running loop, from `start` to `stop`. Late beats do not add up."""

    def __init__(self, beat: Callable[[float], None]) -> None:
        self._beat = beat
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0
        self.late = 0

    def start(self) -> None:
        """Go on beating; harmless while it does."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._next = loop.time() + TICK_S
            self._timer = loop.call_at(self._next, self._rung)

    def stop(self) -> None:
        """No more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def beating(self) -> bool:
        """True between `start` and `stop`."""
        return self._timer is not None

    def _rung(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        self.late += now - self._next > LATE_S
        self._next = max(self._next + TICK_S, now)  # what was slept through is not made up for
        self._timer = loop.call_at(self._next, self._rung)
        self._beat(now)
