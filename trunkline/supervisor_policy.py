"""When a worker that died is started again. Pure: time is handed in."""

from collections import deque

STEADY_S = 60.0  # a worker that lived so long was well: its death is no part of a loop
FIRST_S = 0.1
MOST_S = 30.0
LOOP = 5  # deaths of a post within LOOP_S are a crash loop
LOOP_S = 120.0


class Restarts:
    """The deaths of one post's workers."""

    def __init__(self) -> None:
        self._delay_s = FIRST_S
        self._deaths: deque[float] = deque(maxlen=LOOP)

    def died(self, now_s: float, lived_s: float) -> float:
        """Seconds to wait before the next one is started: 0.1, 0.2, 0.4 … 30; from the start after a long life."""
        self._deaths.append(now_s)
        if lived_s >= STEADY_S:
            self._delay_s = FIRST_S
        delay, self._delay_s = self._delay_s, min(self._delay_s * 2, MOST_S)
        return delay

    def looping(self, now_s: float) -> bool:
        """Whether it dies again and again: worth an error that says so."""
        return len(self._deaths) == LOOP and now_s - self._deaths[0] <= LOOP_S
