"""The three narrow protocols of a cascade. One file per vendor implements one of them."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from trunkline.ai.tools import Json, Tool, ToolResult
from trunkline.codecs.frame import AudioFrame


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was recognised of one utterance; `text` is "" when nothing was, `accepted` False when it is not to be
    trusted (out of domain, too uncertain)."""

    text: str
    confidence: float  # 0..1
    accepted: bool = True


class RecogniserStream(Protocol):
    """One call's recogniser. Utterances are bracketed by the turn taker: start, feed…, finish."""

    async def start(self) -> None:
        """An utterance begins."""
        ...

    async def feed(self, pcm: bytes) -> None:
        """s16le at 16 kHz, as it arrives; never blocks the loop."""
        ...

    async def finish(self) -> Transcript:
        """The utterance is over. Raises ProviderError when the recogniser was lost; a later `start` works again."""
        ...

    async def abandon(self) -> None:
        """Forget the utterance (a false start)."""
        ...

    def partial(self) -> str:
        """The newest partial text of the open utterance, "" where there is none."""
        ...

    async def expect(self, grammar: str) -> None:
        """Dialogue state's hint ("open", "yes_no", "digits", "name", …); ignored where not understood."""
        ...


class Recogniser(Protocol):
    """Speech to text for a whole process."""

    rate: int  # Hz

    def open(self, brief_language: str) -> AbstractAsyncContextManager[RecogniserStream]:
        """A stream for one call. Raises ProviderError (retryable) when there is no room."""
        ...


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the reply's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ModelToolCall:
    """The model asks for a tool and stops; it is asked again with the result in the history."""

    id: str
    name: str
    arguments: Mapping[str, Json]


ModelEvent: TypeAlias = TextDelta | ModelToolCall


@dataclass(frozen=True, slots=True)
class Utterance:
    """One entry of the history that a model is given."""

    role: Literal["caller", "agent", "key", "tool_call", "tool_result", "occasion"]
    text: str  # caller's words; agent's words as far as heard; the key; the occasion
    accepted: bool = True  # caller: False when the recogniser did not trust it
    interrupted: bool = False  # agent: cut by the caller
    call: ModelToolCall | None = None
    result: ToolResult | None = None
    turn: int = 0


@dataclass(frozen=True, slots=True)
class ModelState:
    """What the turn taker may use of the model's own state: which grammar it expects next, how patient to be."""

    grammar: str = "open"
    patience_s: float | None = None  # silence that ends the caller's turn; None: the default
    extra: Mapping[str, Json] = field(default_factory=dict)


class ModelConversation(Protocol):
    """One call's language model."""

    def respond(self, history: Sequence[Utterance], tools: Sequence[Tool]) -> AsyncIterator[ModelEvent]:
        """Text and tool calls in reply to the last entry. Closing the iterator cancels the generation."""
        ...

    def state(self) -> ModelState:
        """What the model expects next; the default where it cannot say."""
        ...


class LanguageModel(Protocol):
    """Text generation for a whole process."""

    def open(self, instructions: str, context: Mapping[str, Json]) -> ModelConversation:
        """A conversation for one call."""
        ...


class Synthesiser(Protocol):
    """Text to speech for a whole process."""

    @property
    def rate(self) -> int:
        """Hz of the frames."""
        ...

    def speak(self, text: str, *, voice: str = "", language: str = "en") -> AsyncIterator[AudioFrame]:
        """Speech of one clause as it becomes available. Closing the iterator cancels. Raises ProviderError."""
        ...
