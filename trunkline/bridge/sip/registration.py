"""When a registration that failed is tried again: doubling, with jitter, slower where we are not wanted. Pure.

pjsip's own back-off is one fixed interval, and after a 401 or 403 it never tries again: a password that was mended at
the registrar would stay unnoticed until a restart.
"""

import random
from typing import Final

FIRST_S: Final = 2.0
LONGEST_S: Final = 120.0
REJECTED_FIRST_S: Final = 60.0  # wrong credentials do not become right by asking, and registrars ban who goes on
REJECTED_LONGEST_S: Final = 1800.0
JITTER: Final = 0.25  # share of the wait, either way: a thousand clients of one registrar do not come back at once


def rejected(code: int) -> bool:
    """The registrar has looked at us and does not want us; all else may be its own trouble."""
    return 400 <= code < 500 and code not in (408, 423, 429, 480, 491)


class Backoff:
    """One trunk's. Times are seconds of any clock."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._failures = 0
        self._rejected = False
        self.due: float | None = None  # None: nothing to be tried

    def failed(self, code: int, now: float) -> float:
        """Once more; seconds until it is tried again."""
        if rejected(code) != self._rejected:
            self._failures, self._rejected = 0, rejected(code)
        first, longest = (REJECTED_FIRST_S, REJECTED_LONGEST_S) if self._rejected else (FIRST_S, LONGEST_S)
        wait_s = min(longest, first * 2.0 ** min(self._failures, 20)) * self._dice.uniform(1 - JITTER, 1 + JITTER)
        self._failures += 1
        self.due = now + wait_s
        return wait_s

    def soon(self, now: float) -> None:
        """There is a reason to believe that it works now: try at once."""
        self.due = now

    def tried(self) -> None:
        """It is under way; its answer says what comes next."""
        self.due = None

    def done(self) -> None:
        """It stands."""
        self._failures, self._rejected, self.due = 0, False, None
