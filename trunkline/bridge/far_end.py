"""What the far end still holds of our audio, by our own reckoning, corrected by its marks. Pure: time is handed in.

A far end plays what it gets at once and in real time. So what it holds is known without asking: audio handed to
the wire at t while it holds h seconds is played from t + h on. Marks confirm it. They may come late (travel, a jitter
buffer, a stalled carrier) but never honestly early: nobody has heard what was not yet played.
"""

import itertools
from collections import deque
from dataclasses import dataclass

TRAVEL_S = 0.25  # a mark this late still means network and jitter buffer, not a backlog
HONEST_S = 0.1  # a mark this early is clock and rounding
NO_ECHO_S = 2.0  # after its time, a mark that does not come back is taken as played
MAX_SHIFT_S = 2.0  # one late mark moves our reckoning by no more


@dataclass(slots=True)
class _Mark:
    name: str  # on the wire: g<generation>-<number>
    label: str
    echoes: bool  # the carrier was asked to give it back
    due: float | None = None  # s, when the audio before it will have been played; None: still in our queue
    echoed: bool = False


class FarEnd:
    """Reckoning of one leg's playout. Audio is `queued`, then `sent`, then played. All times are of one clock, in s."""

    def __init__(self) -> None:
        self.generation = 1  # grows with every flush
        self.early_marks = 0
        self.late_marks = 0  # of a flushed generation, or already settled by the clock
        self.queued_s = 0.0  # audio still in front of the wire
        self._until = 0.0  # when everything sent will have been played
        self._marks: deque[_Mark] = deque()
        self._number = 0

    def queued(self, seconds: float) -> None:
        """Audio waits in front of the wire."""
        self.queued_s += seconds

    def sent(self, seconds: float, now: float) -> None:
        """Queued audio went on the wire."""
        if self.queued_s:
            self.queued_s = max(0.0, self.queued_s - seconds)
        self._until = (self._until if self._until > now else now) + seconds

    def unplayed(self, now: float) -> float:
        """Seconds queued or sent that nobody has heard."""
        ahead = self._until - now
        return self.queued_s + ahead if ahead > 0 else self.queued_s

    def mark(self, label: str, *, echoes: bool) -> str:
        """Note a mark; the name it bears on the wire. echoes: the carrier will be asked for it."""
        self._number += 1
        mark = _Mark(f"g{self.generation}-{self._number}", label, echoes)
        self._marks.append(mark)
        return mark.name

    def marked(self, name: str, now: float) -> None:
        """The mark left our queue, in its place among the audio."""
        for mark in self._marks:
            if mark.name == name:
                mark.due = max(self._until, now)

    def outstanding(self) -> int:
        """Marks not yet settled."""
        return len(self._marks)

    def echo(self, name: str, now: float) -> bool:
        """The carrier gave a mark back; False if we never sent it. What it means comes from `settled`."""
        for place, mark in enumerate(self._marks):
            if mark.name == name and mark.due is not None:
                self._correct(mark.due, now)
                for earlier in itertools.islice(self._marks, place + 1):  # an earlier echo may have been lost
                    earlier.echoed = True
                return True
        if not self._was_ours(name):
            return False
        self.late_marks += 1
        return True

    def settled(self, now: float) -> list[str]:
        """Labels whose audio has been played by `now`, in order, each once."""
        labels = []
        while self._marks and (at := self._settles_at(self._marks[0])) is not None and at <= now:
            labels.append(self._marks.popleft().label)
        return labels

    def next_settling(self) -> float | None:
        """When `settled` will have something without another echo, or None."""
        return self._settles_at(self._marks[0]) if self._marks else None

    def flush(self, now: float) -> tuple[float, list[tuple[str, bool]]]:
        """Forget everything: seconds never heard now, and each outstanding mark as (label, dropped)."""
        lost = self.unplayed(now)
        marks = [(m.label, m.due is None or m.due > now) for m in self._marks]
        self._marks.clear()
        self.queued_s = 0.0
        self._until = now
        self.generation += 1
        return lost, marks

    def _settles_at(self, mark: _Mark) -> float | None:
        if mark.due is None:
            return None
        return mark.due if mark.echoed or not mark.echoes else mark.due + NO_ECHO_S

    def _correct(self, due: float, now: float) -> None:
        if due - now > HONEST_S:
            self.early_marks += 1
        shift = min(now - due - TRAVEL_S, MAX_SHIFT_S)
        if shift > 0 and self._until > due:  # it stood still; what follows will be as late
            self._until += shift
            for mark in self._marks:
                if mark.due is not None and mark.due > due:
                    mark.due += shift

    def _was_ours(self, name: str) -> bool:
        generation, _, number = name[1:].partition("-")
        if name[:1] != "g" or not (generation.isdecimal() and number.isdecimal()) or len(name) > 40:
            return False
        return 1 <= int(generation) <= self.generation and 1 <= int(number) <= self._number
