"""A carrier's message numbers, watched: gaps, repetitions, late arrivals, restarts. Pure."""

from typing import Literal, TypeAlias

Verdict: TypeAlias = Literal["", "sequence_gap", "duplicate_sequence", "late_sequence", "sequence_restart"]

WINDOW = 16  # messages remembered
MAX_LOST = 1000  # a jump beyond this says more about the counter than about the wire


class Sequence:
    """Numbers of one stream. A message is a repetition only if number *and* content came before:

    a carrier that never counts, or counts anew, must not fall silent.
    """

    __slots__ = ("_numbers", "_seen", "lost", "next")

    def __init__(self) -> None:
        self.next: int | None = None  # the number expected
        self.lost = 0  # messages missing just before the one last judged
        self._numbers: list[int | None] = [None] * WINDOW
        self._seen: list[object] = [None] * WINDOW

    def restart(self) -> None:
        """A new stream begins: any number may come first."""
        self.next = None
        self.lost = 0
        self._numbers = [None] * WINDOW
        self._seen = [None] * WINDOW

    def expected(self, number: int, content: object) -> None:
        """Take note of the message that `next` announced."""
        slot = number % WINDOW
        self._numbers[slot] = number
        self._seen[slot] = content
        self.next = number + 1

    def judge(self, number: int | None, content: object) -> Verdict:
        """What the number of a message says; "" when all is well or there is no number. Sets `lost`."""
        self.lost = 0
        if number is None:
            return ""
        if self.next is None or number >= self.next:
            return self._forward(number, content)
        slot = number % WINDOW
        if number < self.next - WINDOW or number < 0:
            return self._restarted(number, content)
        if self._numbers[slot] != number:
            self._numbers[slot] = number
            self._seen[slot] = content
            return "late_sequence"
        if self._seen[slot] == content:
            return "duplicate_sequence"
        return self._restarted(number, content)

    def _forward(self, number: int, content: object) -> Verdict:
        missing = 0 if self.next is None else number - self.next
        self.expected(number, content)
        self.lost = min(missing, MAX_LOST)
        return "sequence_gap" if missing else ""

    def _restarted(self, number: int, content: object) -> Verdict:
        self.restart()
        self.expected(number, content)
        return "sequence_restart"
