"""Our half of a call's tx ring: what waits for the phone, what it has taken, and the marks between. Time is handed in.

The ring's counters say exactly what the gateway has taken; a frame that was taken is heard for its 20 ms from then on.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

from trunkline.bridge.sip.ring import FRAME_MS, Slot

FRAME_S: Final = FRAME_MS / 1000
MARKS: Final = 256  # outstanding; beyond them the oldest is settled at once


@dataclass(slots=True)
class _Mark:
    label: str
    place: int  # frames before it
    due: float | None = None  # when the last of them will have been heard; None: not all are taken


class Speaking:
    """Frames to the phone."""

    def __init__(self, slot: Slot, frame_bytes: int) -> None:
        self._slot = slot
        self._frame = frame_bytes
        self._put = 0  # frames, flushed ones among them
        self._marks: deque[_Mark] = deque()
        self._seen: tuple[int, float] | None = None  # frames that had left, and since when it was so many

    @property
    def waiting(self) -> int:
        """Frames that wait to be taken."""
        return self._slot.waiting

    def say(self, payload: bytes) -> int:
        """Whole frames; how many of them found no room."""
        for at in range(0, len(payload), self._frame):
            if not self._slot.put(payload[at : at + self._frame]):
                return (len(payload) - at) // self._frame
            self._put += 1
        return 0

    def mark(self, label: str) -> str | None:
        """Note the place; the label of a mark that had to go for it."""
        self._marks.append(_Mark(label, self._put))
        return self._marks.popleft().label if len(self._marks) > MARKS else None

    def settled(self, now: float) -> list[str]:
        """Labels of marks before which all has been heard, in order, each once."""
        labels: list[str] = []
        left = self._left()
        while self._marks and self._marks[0].place <= left:
            mark = self._marks[0]
            if mark.due is None:
                mark.due = now + FRAME_S
            if mark.due > now:
                break
            labels.append(self._marks.popleft().label)
        return labels

    def flush(self) -> tuple[float, list[tuple[str, bool]]]:
        """Nothing that waits is heard any more: its seconds, and each outstanding mark as (label, dropped)."""
        left = self._left()
        lost = self._slot.flush()
        marks = [(mark.label, mark.place > left) for mark in self._marks]
        self._marks.clear()
        return lost * FRAME_S, marks

    def begin(self) -> None:
        """Patience counts from now on: nothing could be taken before."""
        self._seen = None

    def stuck_s(self, now: float) -> float:
        """For how long something waits and nothing is taken."""
        left = self._left()
        if self._seen is None or left != self._seen[0]:
            self._seen = (left, now)
        return now - self._seen[1]

    def _left(self) -> int:
        """Frames that wait no more."""
        return self._put - self._slot.waiting
