"""`AiSession`: one shape for speech-to-speech models and for cascades; the difference stays inside.

Every session passes the conformance suite `tests/conformance/session.py`.
"""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from trunkline.ai.reply_audio import ReplyAudio as ReplyAudio
from trunkline.ai.reply_audio import ReplyId as ReplyId
from trunkline.ai.tools import Json, Tool, ToolResult
from trunkline.codecs.frame import AudioFrame

SILENT_DBOV = -96.0


class Stage(StrEnum):
    """Moments of one turn, in the order in which they happen; their differences are the latency table's columns."""

    SPEECH_ENDED = "speech_ended"  # the caller's last speech sample reached us
    TURN_ENDED = "turn_ended"  # we decided that the caller has finished
    TRANSCRIPT = "transcript"  # the recogniser's final text
    FIRST_TOKEN = "first_token"  # noqa: S105 - the model's first text or audio token
    FIRST_CLAUSE = "first_clause"  # the first speakable clause was complete
    FIRST_AUDIO = "first_audio"  # the first audio of the reply left the synthesiser or the model


@dataclass(frozen=True, slots=True)
class CallerStartedSpeaking:
    """The session's one judge of turns hears the caller. The mind decides whether it interrupts."""

    turn: int  # caller turns count from 1; 0 is before the caller's first
    at_s: float  # onset, seconds into the heard stream


@dataclass(frozen=True, slots=True)
class CallerStoppedSpeaking:
    """The caller's turn is over (not a mere pause)."""

    turn: int
    at_s: float  # end of the last speech sample, seconds into the heard stream


@dataclass(frozen=True, slots=True)
class CallerSaid:
    """What was understood of the caller's turn; `final=False` replaces the previous partial of the same turn."""

    turn: int
    text: str
    final: bool = True
    confidence: float | None = None  # 0..1 where the recogniser has one


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """A reply begins; all later Reply… events name it. `turn` is the caller turn that it answers."""

    reply: ReplyId
    turn: int


@dataclass(frozen=True, slots=True)
class ReplyText:
    """Text of the reply that `ReplyAudio` from here on speaks, clause by clause where the session knows."""

    reply: ReplyId
    text: str


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """No more audio or text for this reply."""

    reply: ReplyId


@dataclass(frozen=True, slots=True)
class StageReached:
    """A moment of a turn: loop time in seconds (`Clock.monotonic`)."""

    turn: int
    stage: Stage
    at: float


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The model wants a tool run. Answer with `AiSession.resolve`."""

    id: str  # the vendor's id of this request; unique per session
    name: str
    arguments: Mapping[str, Json]
    turn: int  # caller turn it serves


@dataclass(frozen=True, slots=True)
class Usage:
    """What was consumed since the last one: {"stt_seconds": 3.2, "tts_characters": 40, …}."""

    provider: str
    units: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The session is over and cannot go on by itself."""

    reason: str
    retryable: bool = False


AiEvent: TypeAlias = (
    CallerStartedSpeaking
    | CallerStoppedSpeaking
    | CallerSaid
    | ReplyStarted
    | ReplyText
    | ReplyAudio
    | ReplyEnded
    | StageReached
    | ToolCall
    | Usage
    | SessionLost
)

Occasion: TypeAlias = Literal["greeting", "say", "silence", "goodbye"]


@dataclass(frozen=True, slots=True)
class Brief:
    """Everything a session needs to know before the first word."""

    call_id: str
    agent: str
    instructions: str = ""
    greeting: str = ""  # spoken first, as it stands; empty: in the session's own words
    language: str = "en"
    voice: str = ""
    tools: Sequence[Tool] = ()
    caller: str = ""  # number of the person, for the model's context; masked in logs
    context: Mapping[str, Json] = field(default_factory=dict)


class AiSession(Protocol):
    """A mind on the line. One consumer of `events()`; `hear` from one task; the rest from the call's mind."""

    @property
    def input_rate(self) -> int:
        """Hz of the audio that `hear` wants."""
        ...

    @property
    def output_rate(self) -> int:
        """Hz of the audio in `ReplyAudio`."""
        ...

    def events(self) -> AsyncIterator[AiEvent]:
        """What the session hears, decides and says; ends after `SessionLost` or on close."""
        ...

    async def hear(self, frame: AudioFrame, far_dbov: float = SILENT_DBOV) -> None:
        """The caller's voice at `input_rate`, in real time.

        `far_dbov`: loudest level (dBov) that the caller's ear was given over the last 450 ms, for the echo gate of
        a session that judges turns itself. Bounded wait: a session that cannot keep up drops and counts.
        """
        ...

    async def press(self, key: str) -> None:
        """The caller pressed a key: an answer of equal right to a spoken one."""
        ...

    async def prompt(self, occasion: Occasion, text: str = "") -> None:
        """Speak now, unasked. `text` is spoken as it stands ("say"), or is the wording to prefer (others)."""
        ...

    async def interrupt(self, reply: ReplyId, heard_s: float) -> None:
        """The reply was cut after `heard_s` seconds of it had been heard: stop producing it, remember only that."""
        ...

    async def heard(self, reply: ReplyId) -> None:
        """The reply was heard to its end."""
        ...

    async def resolve(self, result: ToolResult) -> None:
        """The answer to a `ToolCall`."""
        ...


SpeechSink: TypeAlias = Callable[[ReplyAudio], bool]
"""Takes a piece of speech, or declines it: then it goes the way of all events. Returns at once."""


@runtime_checkable
class SpeaksStraight(Protocol):
    """A session that may spare its consumer a task's turn per piece of speech."""

    def speak_to(self, sink: SpeechSink) -> None:
        """Offer speech to `sink` where it arises, but only while the consumer of `events()` has had everything before
        it and waits. What `sink` takes is not among the events; what it raises is raised where they are awaited."""
        ...


@runtime_checkable
class HearsStraight(Protocol):
    """A session whose `hear` never waits, and has no use for how loud the far end is: its vendor judges echo."""

    def hear_now(self, frame: AudioFrame) -> None:
        """As `hear`."""
        ...


class AiProvider(Protocol):
    """A way to have sessions; one object per process, shared by all calls."""

    @property
    def name(self) -> str:
        """Key in PROVIDERS: "offline", "gemini", …"""
        ...

    @property
    def capacity(self) -> int | None:
        """Calls at once before quality falls, as measured or configured; None: no limit of its own."""
        ...

    async def start(self) -> None:
        """Bring up what all sessions share (pools, models); `ready` afterwards. Idempotent."""
        ...

    async def close(self) -> None:
        """Take it down again; leaves no process or descriptor behind."""
        ...

    def open(self, brief: Brief) -> AbstractAsyncContextManager[AiSession]:
        """A session for one call. Raises ProviderError when none can be had."""
        ...
