"""The truth about a call's latency, built from its events (DESIGN 4.13). Served at `/calls/{id}/timeline`."""

from collections.abc import Iterable, Sequence

import msgspec

from trunkline.calls.events import CallEnded, CallEvent
from trunkline.calls.turns import Turn, TurnFold


class Timeline(msgspec.Struct, frozen=True, kw_only=True):
    """A call as its caller lived it."""

    call_id: str
    agent: str
    duration_s: float
    turns: tuple[Turn, ...] = ()
    barge_ins: tuple[float, ...] = ()  # call time of each
    outcome: str = ""


def fold(call_id: str, agent: str, events: Iterable[CallEvent]) -> Timeline:
    """The timeline of a call whose events are all there."""
    turns, last_s, outcome = TurnFold(), 0.0, ""
    for event in events:
        turns.add(event)
        last_s = max(last_s, event.at_s)
        if isinstance(event, CallEnded):
            outcome = event.cause
    return of_fold(call_id, agent, last_s, turns, outcome)


def of_fold(call_id: str, agent: str, duration_s: float, turns: TurnFold, outcome: str = "") -> Timeline:
    """The timeline of a call, finished or live, whose events are folded as they come."""
    return Timeline(
        call_id=call_id,
        agent=agent,
        duration_s=duration_s,
        turns=turns.turns(),
        barge_ins=tuple(turns.barge_ins),
        outcome=outcome,
    )


def of_record(record_id: str, agent: str, duration_s: float, turns: Sequence[Turn], outcome: str) -> Timeline:
    """The timeline of a call of which only the record is left; barge-ins are told by the turns that were cut."""
    cut = tuple(turn.agent_to_s for turn in turns if turn.interrupted and turn.agent_to_s is not None)
    return Timeline(
        call_id=record_id, agent=agent, duration_s=duration_s, turns=tuple(turns), barge_ins=cut, outcome=outcome
    )
