"""What a cascade session has to do next, and what is kept of a reply that was cut. Data only."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import structlog

from trunkline.ai.cascade.session_outbox import Outbox
from trunkline.ai.cascade.session_reply import Piece, Reply
from trunkline.ai.session import Occasion, SessionLost

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """A turn of the caller's speech; `accepted`: its words count."""

    turn: int
    text: str
    accepted: bool


@dataclass(frozen=True, slots=True)
class Key:
    """A key, a turn of its own."""

    turn: int
    key: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """To be said unasked; without a text the model finds the words."""

    turn: int
    occasion: Occasion
    text: str


@dataclass(frozen=True, slots=True)
class Verbatim:
    """Speak these pieces, then go on with the model if they hold tool calls."""

    turn: int
    pieces: Sequence[Piece]
    resumed: int = 0


Work: TypeAlias = Turn | Key | Prompt | Verbatim


@dataclass(slots=True)
class Cut:
    """A reply that was cut, and by which caller turn."""

    reply: Reply
    heard_clauses: int
    by: int


def joined(earlier: Turn | None, later: Turn) -> Turn:
    """Two halves of one turn; what was not understood gives way to what was."""
    if earlier is None or not earlier.accepted:
        return later
    if not later.accepted:
        return replace(earlier, turn=later.turn)
    return Turn(later.turn, f"{earlier.text} {later.text}", True)


async def guarded(work: Callable[[], Coroutine[Any, Any, None]], out: Outbox, call_id: str) -> None:
    """A bug in a part loses the session, told as SessionLost, and nothing else."""
    try:
        await work()
    except Exception as exc:
        _log.error("session.failed", call=call_id, error=repr(exc), exc_info=exc)
        out.put(SessionLost(f"internal: {exc!r}"))
