"""One call on a carrier's media socket, seen from the platform. Pure: messages and time in, messages out.

Time 0 is the moment of `start`. The shell (`trunkline_sim.smartflo`) calls `tick` every 20 ms, on absolute deadlines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from trunkline_sim.ears import FRAME, FRAME_S
from trunkline_sim.faults import Faults, Link
from trunkline_sim.mulaw import RATE, level_dbov
from trunkline_sim.playout import MarkBack, Microphone, Playout
from trunkline_sim.wire import SMARTFLO, CallFacts, Clear, Mark, Play, Wire
from trunkline_sim.wire import HangUp as ServiceHangUp

AUDIBLE_DBOV = -55.0
ENOUGH_S = 0.06  # held for an ear: of a line that never pauses, more silence than that is left out


@dataclass(frozen=True, slots=True)
class Arrival:
    """One audio message of the service, when it came (s of the call)."""

    at_s: float
    payload: bytes

    @property
    def audible(self) -> bool:
        """True when it is more than silence."""
        return level_dbov(self.payload) > AUDIBLE_DBOV


class Stream:
    """The platform's side of one call: microphone, playout buffer, marks, and everything that was observed."""

    def __init__(
        self,
        facts: CallFacts,
        faults: Faults | None = None,
        *,
        message_ms: Literal[20, 40, 60, 100] = 100,
        seed: int = 0,
        wire: Wire = SMARTFLO,
    ) -> None:
        faults = faults or Faults()
        self.facts = facts
        self.faults = faults
        self.playout = Playout(faults.clear, faults.clear_late_ms / 1000)
        self.mic = Microphone()
        self.listener = wire.listener(facts.stream_sid)
        self.clears = wire.clears
        self.name = wire.name
        self._endless = wire.endless
        self.link = Link(faults, seed)
        self.arrivals: list[Arrival] = []
        self.sent_at: list[float] = []  # when each media message left the platform
        self.marks: list[MarkBack] = []
        self.hung_up = False  # the service sent `end`
        self._speaker = wire.speaker(facts)
        self._frames = message_ms // 20
        self._ticks = 0
        self._capture = bytearray()
        self._heard = 0

    def opening(self) -> list[str]:
        """What the platform says first."""
        return [self._speaker.connected(), self._speaker.start()]

    def next_tick_s(self) -> float:
        """When `tick` is due."""
        return (self._ticks + 1) * FRAME_S

    def tick(self, now: float) -> list[str]:
        """20 ms have passed: the messages that are on the wire by `now`."""
        self._ticks += 1
        self._capture += self.mic.take(FRAME)
        if self._ticks % self._frames == 0:
            self._send_capture(now)
        self._return(self.playout.advance(now), now)
        return self.link.due(now)

    def receive(self, text: str | bytes, now: float) -> list[str]:
        """A message of the service at `now`: the messages that answer it at once."""
        match self.listener.receive(text):
            case Play(payload):
                arrival = Arrival(now, payload)
                self.arrivals.append(arrival)
                if not self._endless or arrival.audible or self.playout.held_s() < ENOUGH_S:
                    self.playout.push(payload, now)
            case Mark(name):
                self.playout.mark(name, now)
            case Clear():
                self.playout.clear(now)
            case ServiceHangUp():
                self.hung_up = True
            case _:
                pass
        self._return(self.playout.advance(now), now)
        return self.link.due(now)

    def heard(self) -> list[bytes]:
        """The frames of 20 ms that reached the ear since the last time."""
        frames = []
        while self._heard + FRAME <= len(self.playout.heard):
            frames.append(bytes(self.playout.heard[self._heard : self._heard + FRAME]))
            self._heard += FRAME
        return frames

    def press(self, key: str, now: float) -> list[str]:
        """The caller presses a key."""
        self.link.put(self._speaker.dtmf(key), now)
        return self.link.due(now)

    def goodbye(self, reason: str) -> str | None:
        """The last message, or None when this carrier goes without one."""
        return None if self.faults.no_stop else self._speaker.stop(reason)

    def wire_s(self, at_s: float) -> float:
        """When the message left that held the caller's sample of `at_s`."""
        index = int(at_s * RATE) // (self._frames * FRAME)
        return self.sent_at[min(index, len(self.sent_at) - 1)] if self.sent_at else at_s

    def _send_capture(self, now: float) -> None:
        self.sent_at.append(now)
        message = self._speaker.media(bytes(self._capture), round(self._ticks * FRAME_S * 1000))
        self._capture.clear()
        self.link.put(message, now, media=True)

    def _return(self, marks: Sequence[MarkBack], now: float) -> None:
        self.marks.extend(marks)
        if not self.faults.no_marks:
            for mark in marks:
                self.link.put(self._speaker.mark(mark.name), now)
