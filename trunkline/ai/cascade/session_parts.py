"""What one cascade session is made of."""

from collections.abc import Callable
from dataclasses import dataclass

from trunkline.ai.cascade.clauses import ClauseChunker
from trunkline.ai.cascade.protocols import ModelConversation, Recogniser, Synthesiser
from trunkline.ai.cascade.session_ears import Judge
from trunkline.clock import Clock


@dataclass(frozen=True, slots=True)
class Parts:
    """What one session is made of; `model` and `judge` belong to this call alone."""

    judge: Judge
    recogniser: Recogniser
    model: ModelConversation
    voice: Synthesiser
    clock: Clock
    provider: str = "cascade"
    chunker: Callable[[], ClauseChunker] = ClauseChunker
