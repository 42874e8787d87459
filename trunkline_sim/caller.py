"""A scripted caller: what they do, decided from what they hear and the time. Pure: time is handed in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from trunkline_sim.ears import Ears
from trunkline_sim.mulaw import RATE
from trunkline_sim.script import (
    ANSWER_S,
    ExpectBargeIn,
    ExpectText,
    ExpectTool,
    HangUpStep,
    HoldStep,
    Interrupt,
    Press,
    Say,
    Script,
    Silence,
    Speech,
    Step,
    TransferStep,
    WaitForAgent,
    WaitForHangUp,
    WaitForKeys,
)

REACTION_S = 0.7  # silence after which a caller takes the agent to have finished
PAUSE_S = 0.5  # longer than any between two words of one reply
LONGEST_S = 60.0  # a caller hears an agent out for so long
KEY_GAP_S = 0.25


@dataclass(frozen=True, slots=True)
class Speak:
    """Put this speech on the line now."""

    label: str
    payload: bytes  # mu-law


@dataclass(frozen=True, slots=True)
class PressKey:
    """Press a key now."""

    key: str


@dataclass(frozen=True, slots=True)
class HangUp:
    """End the call now."""


@dataclass(frozen=True, slots=True)
class Hold:
    """Put the other side on hold, or take it off. On telephone lines alone, as the next."""

    on: bool


@dataclass(frozen=True, slots=True)
class Transfer:
    """Ask the other side to call this target."""

    target: str


Act: TypeAlias = Speak | PressKey | HangUp | Hold | Transfer
Expectation: TypeAlias = ExpectText | ExpectTool | ExpectBargeIn


@dataclass(frozen=True, slots=True)
class Did:
    """Something the caller did. Seconds of the call, by the caller's own mouth."""

    line: int
    kind: Literal["said", "interrupted", "pressed"]
    label: str
    from_s: float
    to_s: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An expectation, to be judged when the call is over: it concerns what followed `acts` acts of the caller."""

    step: Expectation
    acts: int


@dataclass(frozen=True, slots=True)
class Missed:
    """A step that could not be done as written."""

    line: int
    reason: str


class Caller:
    """Walks through a script. Feed `hear` with every 20 ms of the line, then `tick`; do the acts at once."""

    def __init__(self, script: Script, clips: Mapping[Speech, bytes], reaction_s: float = REACTION_S) -> None:
        self.did: list[Did] = []
        self.checkpoints: list[Checkpoint] = []
        self.missed: list[Missed] = []
        self.ears = Ears()
        self.finished = False
        self._steps: Sequence[Step] = (*script.steps, HangUpStep(0))
        self._clips = clips
        self.reaction_s = reaction_s  # of silence, by which the agent is taken to have finished
        self._index = 0
        self._began_s = 0.0  # when the current step began
        self._busy_until_s: float | None = None  # the current step is being done until then
        self._keys = ""
        self._keyed = ""  # by the agent, since the step began
        self._since_s = 0.0  # what the agent began after this answers the caller's last act

    @property
    def doing(self) -> Step:
        """The step that the caller is at."""
        return self._steps[min(self._index, len(self._steps) - 1)]

    def hear(self, payload: bytes) -> None:
        """The next 20 ms of what the line brings to the caller's ear, mu-law."""
        self.ears.hear(payload)

    def keyed(self, key: str) -> None:
        """The agent presses a key."""
        self._keyed += key

    def closed(self) -> None:
        """The service ended the call: whatever is still to be done cannot be."""
        for step in self._steps[self._index :]:
            if isinstance(step, ExpectText | ExpectTool | ExpectBargeIn):
                self.checkpoints.append(Checkpoint(step, len(self.did)))
            elif not isinstance(step, HangUpStep | WaitForHangUp | Silence):
                self.missed.append(Missed(step.line, "the service had ended the call"))
        self._index = len(self._steps)
        self.finished = True

    def tick(self, now: float) -> list[Act]:
        """What the caller does at `now` (s)."""
        acts: list[Act] = []
        while not self.finished and self._step(self.doing, now, acts):
            self._index += 1
            self._began_s = now
            self._busy_until_s = None
            self._keyed = ""
            self.finished = self._index >= len(self._steps)
        return acts

    def _step(self, step: Step, now: float, acts: list[Act]) -> bool:
        match step:
            case WaitForAgent():
                return self._answered(now) or self._unanswered(step, now)
            case WaitForHangUp():
                return self._late(step.line, step.within_s, now, "the service did not end the call")
            case WaitForKeys():
                if step.keys in self._keyed:
                    return True
                return self._late(step.line, step.within_s, now, f"the agent did not press {step.keys}")
            case HoldStep():
                return self._hold(step, now, acts)
            case TransferStep():
                acts.append(Transfer(step.target))
                return True
            case Silence():
                return now - self._began_s >= step.seconds - 1e-9
            case Say():
                return self._speak(step.line, "said", step.speech, now, acts)
            case Interrupt():
                return self._interrupt(step, now, acts)
            case Press():
                return self._press(step, now, acts)
            case ExpectText() | ExpectTool() | ExpectBargeIn():
                self.checkpoints.append(Checkpoint(step, len(self.did)))
                return True
            case HangUpStep():
                acts.append(HangUp())
                self._index = len(self._steps)
                return True

    def _answered(self, now: float) -> bool:
        run = self.ears.run_since(self._since_s)
        if run is None or self.ears.quiet_s() < self.reaction_s - 1e-9:
            return False
        self._since_s = now
        return True

    def _unanswered(self, step: WaitForAgent, now: float) -> bool:
        """Patience is for the first word; an agent that speaks may go on for a while."""
        if self.ears.run_since(self._since_s) is None:
            return self._late(step.line, step.within_s, now, "the agent said nothing")
        return self._late(step.line, step.within_s + LONGEST_S, now, "the agent did not come to an end")

    def _late(self, line: int, within_s: float, now: float, reason: str) -> bool:
        if now - self._began_s < within_s:
            return False
        self.missed.append(Missed(line, f"{reason} within {within_s:g} s"))
        return True

    def _speak(
        self, line: int, kind: Literal["said", "interrupted"], speech: Speech, now: float, acts: list[Act]
    ) -> bool:
        if self._busy_until_s is None:
            payload = self._clips[speech]
            self._busy_until_s = now + len(payload) / RATE
            self._since_s = now
            self.did.append(Did(line, kind, speech.label, now, self._busy_until_s))
            acts.append(Speak(speech.label, payload))
        return now >= self._busy_until_s - 1e-9

    def _interrupt(self, step: Interrupt, now: float, acts: list[Act]) -> bool:
        if self._busy_until_s is None:
            run = self.ears.run_since(self._since_s)
            if run is None:
                if not self._late(step.line, ANSWER_S, now, "there was nothing to interrupt"):
                    return False
            elif now - run.from_s < step.after_s - 1e-9 and self.ears.quiet_s() < self.reaction_s:
                return False
            elif self.ears.quiet_s() > PAUSE_S:
                self.missed.append(Missed(step.line, f"the agent had finished before {step.after_s:g} s of it"))
        return self._speak(step.line, "interrupted", step.speech, now, acts)

    def _hold(self, step: HoldStep, now: float, acts: list[Act]) -> bool:
        if self._busy_until_s is None:
            self._busy_until_s = now + step.seconds
            acts.append(Hold(True))
        if now < self._busy_until_s - 1e-9:
            return False
        acts.append(Hold(False))
        return True

    def _press(self, step: Press, now: float, acts: list[Act]) -> bool:
        if self._busy_until_s is None:
            self._keys, self._busy_until_s, self._since_s = step.keys, now, now
            self.did.append(Did(step.line, "pressed", step.keys, now, now + KEY_GAP_S * (len(step.keys) - 1)))
        if self._keys and now >= self._busy_until_s - 1e-9:
            acts.append(PressKey(self._keys[0]))
            self._keys = self._keys[1:]
            self._busy_until_s += KEY_GAP_S
        return not self._keys
