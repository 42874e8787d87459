"""The supervisor's side of the bus: passes questions between workers, adds up figures, keeps those of the dead."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from trunkline import bus_wire as wire
from trunkline.metrics_sum import Family, counter, gauge, lasting, total

GATHER_S = 1.0  # a worker that has not told its figures by then is counted with its last ones
MOST_PASSED = 2000  # questions passed on to one worker and not answered yet
log = structlog.get_logger("trunkline.supervisor")
_inquiries: msgspec.msgpack.Decoder[wire.ToSupervisor] = msgspec.msgpack.Decoder(wire.ToSupervisor)
_figures = msgspec.msgpack.Decoder(wire.Figures)


@dataclass(slots=True)
class _Round:
    """One question passed on to one or several workers; the first good answer goes back."""

    asker: "Member"
    number: int  # the asker's
    open: set[str]  # workers that have not answered


@dataclass(slots=True, eq=False)
class Member:
    """A worker as the hub sees it."""

    name: str
    link: wire.Link
    figures: list[Family] = field(default_factory=list)  # as last told
    passed: dict[int, _Round] = field(default_factory=dict)
    silent: int = 0  # figures asked for in a row and not told


class Hub:
    """All members. Methods are for the supervisor's loop; `own` gives a task an owner, `phases` counts the workers."""

    def __init__(
        self, own: Callable[[Coroutine[Any, Any, None]], None], phases: Callable[[], Mapping[str, int]]
    ) -> None:
        self._start = own
        self._phases = phases
        self._members: dict[str, Member] = {}
        self._watching: set[str] = set()
        self._gone: list[Family] = []  # counters of the dead
        self._last = 0
        self.exits: Counter[str] = Counter()
        self._lost = 0

    # members

    def join(self, member: Member) -> None:
        """A worker takes part: it may be asked, and is told who watches."""
        self._members[member.name] = member
        member.link.send(wire.Watchers(tuple(self._watching)))

    def leave(self, member: Member) -> None:
        """A worker is gone: its counters stay, who waited for it is told."""
        if self._members.pop(member.name, None) is None:
            return
        self._gone = total([self._gone, lasting(member.figures)])
        self._lost += member.link.lost
        self._watch(member, on=False)
        for number in list(member.passed):
            self._pass_back(member, wire.Reply(number, gone=True))
        for other in self._members.values():
            other.passed = {n: one for n, one in other.passed.items() if one.asker is not member}

    @property
    def names(self) -> list[str]:
        """Who takes part."""
        return list(self._members)

    # what they say

    def take(self, member: Member, message: wire.Message) -> None:
        """One message of a worker."""
        match message:
            case wire.Ask(to=""):
                self._start(self._inquired(member, message))
            case wire.Reply():
                self._pass_back(member, wire.Reply(-message.id, message.body, message.gone))
            case wire.Ask():
                self._pass_on(member, message)
            case wire.Event():
                self._spread(member, message)
            case wire.Farewell(figures=figures):
                member.figures = figures
            case _:
                log.warning("bus.odd", worker=member.name, message=type(message).__name__)

    def _pass_on(self, asker: Member, ask: wire.Ask) -> None:
        others = [one for one in self._members.values() if one is not asker]
        meant = [one for one in others if ask.to in ("*", one.name) and len(one.passed) < MOST_PASSED]
        if not meant:
            asker.link.send(wire.Reply(ask.id, gone=True))
            return
        one_round = _Round(asker, ask.id, {member.name for member in meant})
        for member in meant:
            self._last += 1
            member.passed[self._last] = one_round
            member.link.send(wire.Ask(-self._last, ask.to, ask.body))  # negative: passed on, not asked by the hub

    def _pass_back(self, member: Member, reply: wire.Reply) -> None:
        one = member.passed.pop(reply.id, None)
        if one is None or member.name not in one.open:
            return
        one.open.discard(member.name)
        if not reply.gone or not one.open:
            one.open.clear()
            one.asker.link.send(wire.Reply(one.number, reply.body, reply.gone))

    def _spread(self, teller: Member, event: wire.Event) -> None:
        for name in self._watching:
            if name != teller.name and name in self._members:
                self._members[name].link.offer(event)

    async def _inquired(self, member: Member, ask: wire.Ask) -> None:
        inquiry = _inquiries.decode(ask.body)
        if isinstance(inquiry, wire.Watch):
            self._watch(member, on=inquiry.on)
            member.link.send(wire.Reply(ask.id, wire.encode(wire.Yes(True))))
        else:
            member.figures = inquiry.own
            figures = await self.figures(member)
            member.link.send(wire.Reply(ask.id, wire.encode(wire.Figures(figures))))

    def _watch(self, member: Member, *, on: bool) -> None:
        before = set(self._watching)
        (self._watching.add if on else self._watching.discard)(member.name)
        if self._watching != before:
            for other in self._members.values():
                other.link.send(wire.Watchers(tuple(self._watching)))

    # figures

    async def figures(self, asker: Member | None = None) -> list[Family]:
        """The node's figures: everybody's, the dead ones' and the supervisor's own."""
        members = list(self._members.values())
        await self.refresh(member for member in members if member is not asker)
        return total([self._own(), self._gone, *(member.figures for member in members)])

    async def refresh(self, members: Iterable[Member] | None = None) -> None:
        """Ask for figures; who does not answer is counted with the last ones."""
        asked = list(self._members.values() if members is None else members)
        await asyncio.gather(*map(self._refresh, asked))

    async def _refresh(self, member: Member) -> None:
        reply = await member.link.ask(member.name, wire.encode(wire.FiguresWanted()), GATHER_S)
        if reply is None or reply.gone:
            member.silent += reply is None
            return
        member.silent = 0
        if member.name in self._members:  # else its last ones are counted already
            member.figures = _figures.decode(reply.body).families

    def _own(self) -> list[Family]:
        lost = self._lost + sum(member.link.lost for member in self._members.values())
        return [
            gauge("workers", "Workers by phase.", (({"phase": name}, n) for name, n in self._phases().items())),
            counter("worker_exits", "Workers that ended, and how.", (({"how": h}, n) for h, n in self.exits.items())),
            counter("bus_events_lost", "Events that a slow worker's spectators did not get.", [({}, lost)]),
        ]
