"""What a caller's ear gets: the carrier's playout buffer, at 8 kHz, in samples. Pure: time is handed in."""

from collections import deque
from dataclasses import dataclass
from typing import Literal, TypeAlias

from trunkline_sim.mulaw import RATE, SILENCE

Clear: TypeAlias = Literal["honoured", "late", "ignored"]


@dataclass(frozen=True, slots=True)
class MarkBack:
    """A mark of the service is to be given back: everything before it was played, or dropped by a clear."""

    name: str
    at_s: float


@dataclass(slots=True)
class _Piece:
    number: int
    payload: bytes  # b"" for a mark
    mark: str
    done: int = 0  # samples already played


class Playout:
    """The buffer between the service and the ear, and a record of everything that was heard.

    `heard` is the ear's mu-law stream from time 0, without gaps. All times are seconds of the call and never go back.
    """

    def __init__(self, clear: Clear = "honoured", late_s: float = 0.3) -> None:
        self.heard = bytearray()
        self.dropped = 0  # samples thrown away by clears
        self.clears: list[float] = []  # when each clear arrived
        self._clear = clear
        self._late_s = late_s if clear == "late" else 0.0
        self._queue: deque[_Piece] = deque()
        self._number = 0
        self._clearing: deque[tuple[int, int]] = deque()  # sample at which it works, last piece it may drop
        self._back: list[MarkBack] = []

    def push(self, payload: bytes, at_s: float) -> None:
        """Audio of the service arrives."""
        self._arrive(payload, "", at_s)

    def mark(self, name: str, at_s: float) -> None:
        """A mark of the service arrives."""
        self._arrive(b"", name, at_s)

    def clear(self, at_s: float) -> None:
        """A clear arrives: obeyed now, `late_s` later (for what was there by now), or not at all."""
        self._play_to(_sample(at_s))
        self.clears.append(at_s)
        if self._clear != "ignored":
            self._clearing.append((_sample(at_s + self._late_s), self._number))
            self._play_to(_sample(at_s))

    def advance(self, to_s: float) -> list[MarkBack]:
        """Play up to `to_s`; the marks that are to be given back since the last time."""
        self._play_to(_sample(to_s))
        back, self._back = self._back, []
        return back

    def held_s(self) -> float:
        """Seconds of audio not yet played."""
        return sum(len(piece.payload) - piece.done for piece in self._queue) / RATE

    def _arrive(self, payload: bytes, mark: str, at_s: float) -> None:
        self._play_to(_sample(at_s))
        self._number += 1
        self._queue.append(_Piece(self._number, payload, mark))
        self._give_back()

    def _play_to(self, target: int) -> None:
        while self._clearing and self._clearing[0][0] <= max(target, len(self.heard)):
            sample, last = self._clearing.popleft()
            self._play(sample)
            self._drop(last)
        self._play(target)

    def _play(self, target: int) -> None:
        while len(self.heard) < target:
            self._give_back()
            if not self._queue:
                self.heard.extend(bytes((SILENCE,)) * (target - len(self.heard)))
                break
            piece = self._queue[0]
            run = piece.payload[piece.done : piece.done + target - len(self.heard)]
            self.heard += run
            piece.done += len(run)
        self._give_back()

    def _give_back(self) -> None:
        while self._queue and self._queue[0].done == len(self._queue[0].payload):
            piece = self._queue.popleft()
            if piece.mark:
                self._back.append(MarkBack(piece.mark, len(self.heard) / RATE))

    def _drop(self, last: int) -> None:
        while self._queue and self._queue[0].number <= last:
            piece = self._queue[0]
            self.dropped += len(piece.payload) - piece.done
            piece.done = len(piece.payload)
            self._give_back()


class Microphone:
    """What the caller says: a queue of speech in front of silence, taken in real time. `track` keeps all of it."""

    def __init__(self) -> None:
        self.track = bytearray()
        self._queue = bytearray()

    def speak(self, payload: bytes) -> float:
        """Put speech behind what is still to be said; the second of the call at which it will be over."""
        self._queue += payload
        return (len(self.track) + len(self._queue)) / RATE

    def take(self, samples: int) -> bytes:
        """The next samples of the caller's line."""
        run = bytes(self._queue[:samples])
        del self._queue[:samples]
        run += bytes((SILENCE,)) * (samples - len(run))
        self.track += run
        return run

    def hush(self) -> None:
        """Say no more."""
        self._queue.clear()


def _sample(at_s: float) -> int:
    return round(at_s * RATE)
