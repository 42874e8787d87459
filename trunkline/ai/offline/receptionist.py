"""The rule-based receptionist as a `LanguageModel`: what Groq or Gemini is to other cascades.

It folds the history it is given (`dialogue.Dialogue.step`) and keeps nothing else, so replies that were cut and turns
that were taken back need no undoing. Under a millisecond for a call of usual length.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from trunkline.ai.business import Business
from trunkline.ai.cascade.protocols import ModelEvent, ModelState, ModelToolCall, TextDelta, Utterance
from trunkline.ai.offline.dialogue import Dialogue
from trunkline.ai.offline.dialogue_state import Act, State, hint
from trunkline.ai.tools import Json, Tool
from trunkline.clock import Clock


class Receptionist:
    """`LanguageModel`. `short_patience_s`: silence that ends a turn where a short answer is expected."""

    def __init__(self, business: Business, clock: Clock, *, short_patience_s: float = 0.35) -> None:
        self._dialogue = Dialogue(business)
        self._clock = clock
        self._short_patience_s = short_patience_s

    def open(self, instructions: str, context: Mapping[str, Json]) -> "ReceptionistCall":
        """A conversation. Instructions and context are for models that can read; this one goes by its rules."""
        return ReceptionistCall(self._dialogue, self._clock, self._short_patience_s)


class ReceptionistCall:
    """`ModelConversation` of one call."""

    def __init__(self, dialogue: Dialogue, clock: Clock, short_patience_s: float) -> None:
        self._dialogue = dialogue
        self._clock = clock
        self._short_patience_s = short_patience_s
        self._state = State()

    def state(self) -> ModelState:
        """What the last `respond` waits for."""
        expected = hint(self._state)
        return expected if expected.patience_s is None else replace(expected, patience_s=self._short_patience_s)

    async def respond(self, history: Sequence[Utterance], tools: Sequence[Tool]) -> AsyncIterator[ModelEvent]:
        """The reply to the newest entry, a sentence at a time, then the tool that is wanted, if any."""
        state, acts = self._folded(history)
        self._state = state
        for act in acts:
            if isinstance(act, str):
                yield TextDelta(act + " ")
            else:
                used = sum(entry.role == "tool_call" for entry in history)
                turn = history[-1].turn if history else 0
                yield ModelToolCall(f"t{turn}.{used + 1}", act.name, act.arguments)

    def _folded(self, history: Sequence[Utterance]) -> tuple[State, Sequence[Act]]:
        now = self._clock.utcnow()
        state, acts = State(), ()  # type: State, Sequence[Act]
        for entry in history:
            state, acts = self._dialogue.step(state, entry, now)
        return state, acts
