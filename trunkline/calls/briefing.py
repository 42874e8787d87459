"""A warm transfer's first part: the person who shall take the call hears what it is about, and says yes or no.

A conversation of its own on the second line, with the call's own provider. One key takes the call and one declines it,
whatever the provider understands; models have a tool for either. Silence is no yes: it may be an answering machine.
"""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Final

import msgspec

from trunkline.ai.session import AiProvider, Brief
from trunkline.ai.tools import Json, Tool, ToolRequest
from trunkline.bridge.leg import CallLeg
from trunkline.calls.control import HangUp
from trunkline.calls.conversation import Conversation
from trunkline.calls.events import CallEvent, KeyPressed, Used
from trunkline.calls.happenings import Setting
from trunkline.calls.journal import Journal
from trunkline.clock import Clock
from trunkline.errors import AdmissionError
from trunkline.outcome import EndCause, Outcome

TAKES: Final = "1"
DECLINES: Final = "2"
LONGEST_S: Final = 100.0  # ringing, telling and deciding
GREETING: Final = "A call for you. {text} Press one to take it, or two to decline."
INSTRUCTIONS: Final = (
    "You are on the telephone with a colleague, to whom a waiting caller shall be handed. What it is about: {text}\n"
    "Answer in a sentence what they ask about it. When they agree to take the caller, use take_call; when they do not, "
    "use decline_call. Never decide for them, and talk about nothing else."
)


class Briefing:
    """One call's."""

    def __init__(
        self,
        setting: Setting,
        journal: Journal,
        clock: Clock,
        lend: Callable[[AiProvider], AbstractContextManager[None]],
    ) -> None:
        """Of the call: setting, and the journal that pays. lend: room for one session more, or AdmissionError."""
        self._setting = setting
        self._journal = journal
        self._clock = clock
        self._lend = lend

    async def __call__(self, leg: CallLeg, text: str) -> str:
        """Tell whoever answers on `leg`, which stays up. "": they take the call; else why not."""
        try:
            with self._lend(self._setting.provider):
                async with asyncio.timeout(LONGEST_S):
                    return await self._held(leg, text)
        except AdmissionError as full:
            return str(full)
        except TimeoutError:
            return "nobody said that they take the call"

    async def _held(self, leg: CallLeg, text: str) -> str:
        decision = _Decision(self._journal)
        journal = Journal(self._journal.call_id, self._clock, [decision])
        conversation = Conversation(leg, self._of(text, decision), journal, self._clock)
        decision.end = lambda: conversation.ask(HangUp(EndCause.COMPLETED))
        outcome = await conversation.run(_stays)
        if decision.taken is None:
            return outcome.code or str(outcome.cause)
        return "" if decision.taken else "the person there does not take the call"

    def _of(self, text: str, decision: "_Decision") -> Setting:
        before = self._setting.brief
        brief = Brief(
            before.call_id,
            before.agent,
            instructions=INSTRUCTIONS.format(text=text),
            greeting=GREETING.format(text=text),
            language=before.language,
            voice=before.voice,
            tools=decision.tools(),
        )
        return replace(self._setting, brief=brief, protect_greeting=False, transfer_to=(), briefing=None)


class _Decision:
    """What the person said; hears the briefing's events."""

    def __init__(self, paid_by: Journal) -> None:
        self._paid_by = paid_by
        self.taken: bool | None = None
        self.end: Callable[[], None] = lambda: None

    def notify(self, _call_id: str, event: CallEvent) -> None:
        """An `Observer`."""
        if isinstance(event, KeyPressed) and event.key in (TAKES, DECLINES):
            self.decide(event.key == TAKES)
        elif isinstance(event, Used):
            self._paid_by.emit(msgspec.structs.replace(event, at_s=self._paid_by.now()))

    def decide(self, taken: bool) -> None:
        """The first word counts."""
        if self.taken is None:
            self.taken = taken
            self.end()

    def tools(self) -> tuple[Tool, ...]:
        """For a model that hears yes or no."""
        schema: dict[str, Json] = {"type": "object", "properties": {}}

        async def take(_request: ToolRequest) -> Json:
            self.decide(True)
            return "taken"

        async def decline(_request: ToolRequest) -> Json:
            self.decide(False)
            return "declined"

        return (
            Tool("take_call", "The colleague takes the caller.", schema, take, effect="write"),
            Tool("decline_call", "The colleague does not take the caller.", schema, decline, effect="write"),
        )


async def _stays(_outcome: Outcome) -> None:
    """The line is not ours to hang up: it is joined, or ended by who placed it."""
