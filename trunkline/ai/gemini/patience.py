"""When a model that says nothing is told to, and when its connection is left. Pure; times: clock, s."""

from collections import deque
from typing import Final, Literal, TypeAlias

Due: TypeAlias = Literal["", "nudge", "resume", "fresh"]
QUICK: Final = 0.6  # of the longest wait: what a model that usually answers soon is given at least
DEAF: Final = 0.5  # the same, where it has not even written down what the caller said
TIMES: Final = 3.0  # what it usually takes, before anything is done about it
RETOLD_S: Final = 2.0  # who was told the caller's words anew and writes down none of them took them for no speech
TURNS_KEPT: Final = 4


class Patience:
    """One session's. `stall_s`: the longest wait for an answer. A model that was quick so far is suspected sooner; once
    it was left for that, the next one has all the time until it speaks: a hard question must not end in a circle."""

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._took: deque[float] = deque(maxlen=TURNS_KEPT)
        self._left = False  # a connection, since the model last spoke

    def spoke(self, now: float, late_since: float | None) -> None:
        """It speaks, and could have since then. None: nobody had waited."""
        self._left = False
        if late_since is not None:
            self._took.append(now - late_since)

    def due(self, now: float, late_since: float, nudged_at: float | None, *, lives: bool, heard: bool) -> Due:
        """What to do. lives: it has sent something since it was to answer; heard: what it owes is an answer to the
        caller's own words, of which a model that lives writes something down."""
        within_s = self._within_s(DEAF if heard and not lives else QUICK)
        if now - late_since < within_s or (nudged_at is not None and now - nudged_at < within_s / 2):
            return ""
        deaf = heard and not lives and within_s < self._stall_s  # nobody is there who could be nudged
        if nudged_at is None and not deaf:
            return "nudge"
        self._left = True
        return "fresh" if lives else "resume"

    def _within_s(self, least: float) -> float:
        if self._left or not self._took:
            return self._stall_s
        return min(self._stall_s, max(least * self._stall_s, TIMES * max(self._took)))
