"""What happens in a call, as values. Record and timeline are built by folding these; spectators see them too."""

from collections.abc import Mapping
from typing import Protocol, TypeAlias

import msgspec

from trunkline.outcome import Outcome


def _snake(name: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in name).lstrip("_")


class _Event(msgspec.Struct, frozen=True, tag_field="event", tag=_snake):
    at_s: float  # seconds since the call's media started (negative: before)


class CallStarted(_Event, frozen=True):
    """The call is up: media flows."""

    direction: str
    carrier: str
    agent: str
    from_: str = msgspec.field(name="from", default="")
    to: str = ""


class CallerSpeaking(_Event, frozen=True):
    """The caller began to speak; `at_s` is the onset."""

    turn: int


class CallerSilent(_Event, frozen=True):
    """The caller's turn ended; `at_s` is the moment of the last speech sample on the wire."""

    turn: int


class CallerUnderstood(_Event, frozen=True):
    """What was understood. `final=False` replaces the turn's earlier partial."""

    turn: int
    text: str
    final: bool
    confidence: float | None = None


class KeyPressed(_Event, frozen=True):
    """One key of the caller."""

    key: str


class ReplySaying(_Event, frozen=True):
    """The agent is about to say a clause of a reply."""

    reply: str
    turn: int
    text: str


class ReplyOnWire(_Event, frozen=True):
    """First audio of the reply left us."""

    reply: str
    turn: int


class ReplyDone(_Event, frozen=True):
    """The reply is over for the caller: `heard_s` of it, which was `heard_text`, reached the ear."""

    reply: str
    turn: int
    heard_s: float
    heard_text: str
    interrupted: bool
    began_s: float  # call time of its first sample on the wire; equal to at_s when nothing was sent


class BargeIn(_Event, frozen=True):
    """The caller cut the agent: `stop_ms` from the judge's word to the `clear` on the wire."""

    turn: int
    reply: str
    dropped_s: float
    stop_ms: float


class StageNote(_Event, frozen=True):
    """A stage of a turn, see ai.session.Stage."""

    turn: int
    stage: str


class TurnAnswered(_Event, frozen=True):
    """The answer to a caller's turn is being heard: what the caller waited, and for what. Once per turn."""

    turn: int
    response_s: float  # last speech sample of the caller → first agent sample
    stages: Mapping[str, float]  # seconds, see timeline.Turn.stages; they sum to response_s


class Used(_Event, frozen=True):
    """What a provider consumed since the last one: {"stt_seconds": 3.2}."""

    provider: str
    units: Mapping[str, float]


class ToolUsed(_Event, frozen=True):
    """A tool was run for the model."""

    turn: int
    name: str
    took_ms: float
    ok: bool
    summary: str = ""


class Odd(_Event, frozen=True):
    """The far end sent something wrong that was survived."""

    kind: str
    detail: str = ""


class Note(_Event, frozen=True):
    """Anything else worth a line: silence prompt, longest call near, recogniser restarted."""

    kind: str
    text: str = ""


class LineQuality(_Event, frozen=True):
    """How good a telephone line was over the whole call, by the gateway's own count and the far end's reports."""

    codec: str
    loss: float  # share of the caller's packets that did not arrive, 0 to 1
    jitter_ms: float
    rtt_ms: float  # 0: the far end sent no report
    mos: float  # estimate, 1 to 4.5
    srtp: str = ""  # its suite; "": in the clear


class CallbackOwed(_Event, frozen=True):
    """No session could be had, and the caller was promised a call back (`[failure] after_failure`)."""

    number: str
    reason: str = ""


class CallEnded(_Event, frozen=True):
    """Last event."""

    cause: str
    fault: str
    code: str = ""
    counters: Mapping[str, int] = msgspec.field(default_factory=dict)

    @classmethod
    def of(cls, at_s: float, outcome: Outcome, counters: Mapping[str, int]) -> "CallEnded":
        """The event for an outcome."""
        return cls(at_s, str(outcome.cause), outcome.fault, outcome.code, dict(counters))


CallEvent: TypeAlias = (
    CallStarted
    | CallerSpeaking
    | CallerSilent
    | CallerUnderstood
    | KeyPressed
    | ReplySaying
    | ReplyOnWire
    | ReplyDone
    | BargeIn
    | StageNote
    | TurnAnswered
    | Used
    | ToolUsed
    | Odd
    | Note
    | LineQuality
    | CallbackOwed
    | CallEnded
)


class Observer(Protocol):
    """A spectator of calls (event stream, metrics, live display). May lose events, never slows a call."""

    def notify(self, call_id: str, event: CallEvent) -> None:
        """Returns at once, never raises."""
        ...
