"""The supervisor's side of the bus: passes questions between workers, adds up figures, keeps those of the dead.

With Redis it is also a node among others (`bus_far.Home`): questions for their workers go there, and theirs come here.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from trunkline import bus_wire as wire
from trunkline.bus_redis import RedisBus
from trunkline.metrics_sum import Family, counter, gauge, lasting, total

PATIENCE_S = 0.7  # for a worker's answer to another node, which waits a little longer
BURY_S = 10.0
GATHER_S = 1.0  # a worker that has not told its figures by then is counted with its last ones
MOST_PASSED = 2000  # questions passed on to one worker and not answered yet
ELSEWHERE = "*"  # among the watchers: other nodes
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
        self,
        own: Callable[[Coroutine[Any, Any, None]], None],
        phases: Callable[[], Mapping[str, int]],
        far: RedisBus | None = None,
    ) -> None:
        self._start = own
        self._phases = phases
        self._far = far
        self._members: dict[str, Member] = {}
        self._watching: set[str] = set()  # names of members, and ELSEWHERE
        self._lines: dict[tuple[str, str], Member] = {}
        self._gone: list[Family] = []  # counters of the dead
        self._last = 0
        self.exits: Counter[str] = Counter()
        self._lost = 0
        self.beside: Callable[[], Awaitable[list[Family]]] = _nothing  # figures of what is no worker

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
        self._watch(member.name, on=False)
        for line in [line for line, holder in self._lines.items() if holder is member]:
            self._start(self._hang_up_line(line))
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
        if not meant and self._far is not None and ask.to not in ("*", *self._members):
            self._start(self._asked_far(self._far, asker, ask))
            return
        if not meant:
            asker.link.send(wire.Reply(ask.id, gone=True))
            return
        one_round = _Round(asker, ask.id, {member.name for member in meant})
        for member in meant:
            self._last += 1
            member.passed[self._last] = one_round
            member.link.send(wire.Ask(-self._last, ask.to, ask.body))  # negative: passed on, not asked by the hub

    async def _asked_far(self, far: RedisBus, asker: Member, ask: wire.Ask) -> None:
        reply = await far.ask(ask.to, ask.body)
        asker.link.send(wire.Reply(ask.id, reply.body, reply.gone, reply.why))

    def _pass_back(self, member: Member, reply: wire.Reply) -> None:
        one = member.passed.pop(reply.id, None)
        if one is None or member.name not in one.open:
            return
        one.open.discard(member.name)
        if not reply.gone or not one.open:
            one.open.clear()
            one.asker.link.send(wire.Reply(one.number, reply.body, reply.gone))

    def _spread(self, teller: Member, event: wire.Event) -> None:
        self._offer(event, self._watching - {teller.name})
        if self._far is not None and ELSEWHERE in self._watching:
            self._far.offer(event)

    def _offer(self, event: wire.Event, names: Iterable[str]) -> None:
        for name in names:
            if name in self._members:
                self._members[name].link.offer(event)

    async def _inquired(self, member: Member, ask: wire.Ask) -> None:
        answer: msgspec.Struct
        match _inquiries.decode(ask.body):
            case wire.Watch(on=on):
                self._watch(member.name, on=on)
                if self._far is not None:
                    await self._far.watch(self.watched)
                answer = wire.Yes(True)
            case wire.Line(carrier=carrier, call=call, on=on):
                answer = wire.Yes(await self._line(member, (carrier, call), on=on))
            case wire.NodeFigures(own=own):
                member.figures = own
                answer = wire.Figures(await self.figures(member))
        member.link.send(wire.Reply(ask.id, wire.encode(answer)))

    def _watch(self, name: str, *, on: bool) -> None:
        before = set(self._watching)
        (self._watching.add if on else self._watching.discard)(name)
        if self._watching != before:
            for other in self._members.values():
                other.link.send(wire.Watchers(tuple(self._watching)))

    # lines: a carrier's calls of which there is one live stream at most

    async def _line(self, member: Member, line: tuple[str, str], *, on: bool) -> bool:
        """Take it for a member, or give it back. False: it is another's."""
        holder = self._lines.get(line)
        if not on:
            if holder is member:
                await self._hang_up_line(line)
            return holder is member
        if holder is not None:
            return False
        self._lines[line] = member  # before anybody else can ask
        if self._far is not None and not await self._far.claim(*line):
            del self._lines[line]
            return False
        return True

    async def _hang_up_line(self, line: tuple[str, str]) -> None:
        self._lines.pop(line, None)
        if self._far is not None:
            await self._far.release(*line)

    # as a node among others

    async def asked(self, to: str, body: bytes) -> wire.Reply:
        """Another node's question to one of our workers."""
        member = self._members.get(to)
        if member is None:
            return wire.Reply(0, gone=True)
        return await member.link.ask(to, body, PATIENCE_S) or wire.Reply(0, gone=True)

    def told(self, event: wire.Event) -> None:
        """A far call's event, for our spectators."""
        self._offer(event, self._watching)

    def far_watching(self, on: bool) -> None:
        """Whether spectators are at other nodes."""
        self._watch(ELSEWHERE, on=on)

    @property
    def watched(self) -> bool:
        """Whether spectators are here."""
        return bool(self._watching - {ELSEWHERE})

    @property
    def crew(self) -> frozenset[str]:
        """Our workers."""
        return frozenset(self._members)

    @property
    def lines(self) -> frozenset[tuple[str, str]]:
        """What our workers hold."""
        return frozenset(self._lines)

    async def bury(self, worker: str) -> bool:
        """Close a dead worker's calls, by any of ours that can. False when none could."""
        body = wire.encode(wire.Bury(worker))
        for member in list(self._members.values()):
            reply = await member.link.ask(worker, body, BURY_S)
            if reply is not None and not reply.gone and msgspec.msgpack.decode(reply.body, type=wire.Yes).done:
                return True
        return False

    # figures

    async def figures(self, asker: Member | None = None) -> list[Family]:
        """The node's figures: everybody's, the dead ones' and the supervisor's own."""
        members = list(self._members.values())
        _, beside = await asyncio.gather(
            self.refresh(member for member in members if member is not asker), self.beside()
        )
        far = self._far.figures() if self._far is not None else []
        return total([self._own(), beside, far, self._gone, *(member.figures for member in members)])

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


async def _nothing() -> list[Family]:
    return []
