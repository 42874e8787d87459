"""What a simulated Gemini went through in hours of rotation, taken from its logs before they fill the memory.

A connection's call is known by the caller's number, which the service tells every model in its instructions. Of each
call stays what was understood, in order; of each rotation how long the model heard nothing.
"""

import difflib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from trunkline_sim.gemini import GeminiSim
from trunkline_sim.gemini_log import SessionLog

_SHORT = 40  # characters
_CALLER = re.compile(r"caller's number is \+?(\d+)")


@dataclass(slots=True, eq=False)
class CallSeen:
    """One call as the model saw it, over all its connections."""

    caller: str  # digits
    connections: int = 0
    heard: list[str] = field(default_factory=list)
    audio_s: float = 0.0  # of the caller, over connections that ended
    last_s: float = 0.0  # when its latest audio came (monotonic)


@dataclass(slots=True, eq=False)
class _Followed:
    log: SessionLog
    call: CallSeen
    events: int = 0  # read so far
    heard: int = 0
    gap_known: bool = False


@dataclass(slots=True)
class ModelWatch:
    """Reads and then forgets the logs of one simulator. `collect` often enough, from its own event loop."""

    sim: GeminiSim
    calls: dict[str, CallSeen] = field(default_factory=dict)  # by the caller's number
    rotations: int = 0  # connections that resumed a call
    afresh: int = 0  # connections that went on with a call, but not by a handle
    gaps_s: list[float] = field(default_factory=list)  # model heard nothing, per rotation; for whoever takes them
    ends: Counter[str] = field(default_factory=Counter)  # close codes of connections that ended
    violations: Counter[str] = field(default_factory=Counter)
    not_understood: int = 0
    asked: Counter[str] = field(default_factory=Counter)  # what the service told the model in writing, shortened
    _followed: dict[int, _Followed] = field(default_factory=dict)

    def collect(self) -> None:
        """Everything new since the last time."""
        for log in list(self.sim.sessions):
            followed = self._followed.get(log.number) or self._follow(log)
            if followed is None:
                continue
            self._read(followed)
            if not log.open:
                self._finish(followed)

    def _follow(self, log: SessionLog) -> _Followed | None:
        if not log.setup:
            return None
        number = _CALLER.search(str(log.setup.get("systemInstruction", "")))
        caller = number[1] if number else "unknown"
        call = self.calls.setdefault(caller, CallSeen(caller))
        resumed = bool(log.setup.get("sessionResumption", {}).get("handle"))
        self.rotations += resumed
        self.afresh += bool(call.connections) and not resumed
        call.connections += 1
        followed = self._followed[log.number] = _Followed(log, call, gap_known=call.connections == 1)
        return followed

    def _read(self, followed: _Followed) -> None:
        log, call = followed.log, followed.call
        for event in log.events[followed.events :]:
            if event.kind == "text":
                self.asked[str(event.body)[:_SHORT]] += 1
        followed.events = len(log.events)
        call.heard += log.heard[followed.heard :]
        followed.heard = len(log.heard)
        if log.arrivals and not followed.gap_known:
            followed.gap_known = True
            self.gaps_s.append(log.arrivals[0][0] - call.last_s)
        if log.arrivals:
            call.last_s = max(call.last_s, log.arrivals[-1][0])

    def _finish(self, followed: _Followed) -> None:
        log = followed.log
        followed.call.audio_s += log.audio_s
        self.ends[str(log.close_code)] += 1
        self.violations.update(log.violations)
        self.not_understood += log.not_understood
        del self._followed[log.number]
        self.sim.sessions.remove(log)
        log.audio, log.events, log.arrivals = bytearray(), [], []

    @property
    def heard(self) -> int:
        """Sentences understood so far."""
        return sum(len(call.heard) for call in self.calls.values())


def differences(spoken: Sequence[str], heard: Sequence[str]) -> tuple[int, int]:
    """(sentences lost, sentences doubled or invented) between what one caller said and what the model understood."""
    lost = extra = 0
    for kind, a, b, c, d in difflib.SequenceMatcher(None, spoken, heard, autojunk=False).get_opcodes():
        if kind != "equal":
            lost, extra = lost + b - a, extra + d - c
    return lost, extra
