"""Everything that the one mind of a call decides about, and what the call is held with."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from trunkline.ai.session import AiEvent, AiProvider
from trunkline.ai.session import Brief as Opening
from trunkline.ai.tools import ToolResult
from trunkline.bridge.leg import CallLeg, Ended, LegEvent
from trunkline.calls.control import HangUp, Request
from trunkline.calls.handover import Brief, TransferOver
from trunkline.calls.pace import Pace
from trunkline.calls.sentences import Phrases
from trunkline.calls.session_life import SessionUp
from trunkline.config import Failure, Limits
from trunkline.outcome import EndCause, Outcome


@dataclass(frozen=True, slots=True)
class ToolDone:
    """A tool has its result."""

    result: ToolResult


@dataclass(frozen=True, slots=True)
class EarsOver:
    """The leg's audio ended."""


@dataclass(frozen=True, slots=True)
class LegSilent:
    """The leg's events ended without `Ended`."""


Item: TypeAlias = LegEvent | AiEvent | SessionUp | ToolDone | EarsOver | LegSilent | Request | TransferOver


async def collect(leg: CallLeg, put: Callable[[Item], Awaitable[None]]) -> None:
    """Everything that the leg tells, to its end."""
    async for event in leg.events():
        await put(event)
        if isinstance(event, Ended):
            return
    await put(LegSilent())


async def listen(ears: Callable[[], Awaitable[None]], put: Callable[[Item], Awaitable[None]]) -> None:
    """Until the leg's audio is over."""
    await ears()
    await put(EarsOver())


def cut(item: Item) -> Outcome | None:
    """What became of two joined lines that neither of their far ends has ended; None: one of them has, or we were told
    to."""
    match item:
        case Ended(outcome=Outcome(cause=EndCause.MEDIA_LOST) as lost):
            return lost
        case HangUp(cause=EndCause.DRAINED, fault=fault):
            return Outcome(EndCause.DRAINED, fault)
    return None


@dataclass(frozen=True, slots=True)
class Happened:
    """One of them. `at`: clock, s; `session`: number of the session that it came from, 0: none."""

    at: float
    session: int
    item: Item


@dataclass(frozen=True, slots=True)
class Setting:
    """What a conversation is held with."""

    provider: AiProvider
    brief: Opening
    limits: Limits
    tenant: str = "default"
    protect_greeting: bool = False
    failure: Failure = field(default_factory=Failure)
    phrases: Phrases = field(default_factory=dict)  # what can be said without a session
    pace: Pace = field(default_factory=Pace)  # of the agent's calls
    transfer_to: Sequence[str] = ()  # where calls may be transferred
    briefing: Brief | None = None  # for warm transfers
