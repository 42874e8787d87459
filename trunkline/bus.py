"""A worker's end of the bus: it asks other workers for what they alone know, and answers them the same.

Questions travel over the worker's link to the supervisor, who passes them on. A question is answered at once, within
the one loop that reads the link; closing a dead worker's calls is the exception and has a task.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec
import structlog

from trunkline import bus_wire as wire
from trunkline.calls.record import CallRecord
from trunkline.errors import TrunklineError
from trunkline.metrics_sum import Family
from trunkline.node_board import Place
from trunkline.peers import UnreachableError

PATIENCE_S = 1.0  # for another worker's answer
FIGURES_S = 2.5  # the supervisor itself waits less
log = structlog.get_logger("trunkline.bus")
T = TypeVar("T", bound=msgspec.Struct)


class HangUp(msgspec.Struct, frozen=True, tag=True):
    """End a live call: answered by `Yes`."""

    call_id: str


class Say(msgspec.Struct, frozen=True, tag=True):
    """Say this in a live call: answered by `Yes`."""

    call_id: str
    text: str


class Transfer(msgspec.Struct, frozen=True, tag=True):
    """Hand a live call's caller on: answered by `Tried`."""

    call_id: str
    target: str
    brief: str | None = None


class Tried(msgspec.Struct, frozen=True):
    """refusal: why not, "" when it is tried, None when there is no such live call."""

    refusal: str | None


class SendDigits(msgspec.Struct, frozen=True, tag=True):
    """Send keys to the far end of a live call: answered by `Tried`."""

    call_id: str
    keys: str


class Records(msgspec.Struct, frozen=True, tag=True):
    """The records so far of these live calls: answered by `Found`."""

    call_ids: tuple[str, ...]


class Found(msgspec.Struct, frozen=True, tag=True):
    """Those that are live here."""

    records: tuple[CallRecord, ...]


Question: TypeAlias = HangUp | Say | Transfer | SendDigits | Records | wire.FiguresWanted | wire.Bury
_questions: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(Question)


class Local(Protocol):
    """What this worker answers others with. Returns at once but for `say` and `bury`; raises nothing."""

    def record(self, call_id: str) -> CallRecord | None:
        """A live call's record so far."""
        ...

    def hang_up(self, call_id: str) -> bool:
        """End a live call."""
        ...

    async def say(self, call_id: str, text: str) -> bool:
        """Say something in a live call."""
        ...

    def transfer(self, call_id: str, target: str, brief: str | None) -> str | None:
        """Hand a live call's caller on."""
        ...

    def send_digits(self, call_id: str, keys: str) -> str | None:
        """Send keys in a live call."""
        ...

    def figures(self) -> list[Family]:
        """Our figures."""
        ...

    def deliver(self, tenant: str, call_id: str, kind: str, data: bytes) -> None:
        """Another worker's event, for our spectators."""
        ...

    async def bury(self, worker: str) -> bool:
        """Close a dead worker's calls."""
        ...


class Bus:
    """`Peers` over a link. Made before the worker's parts are; answers once `attach` named them."""

    def __init__(self, link: wire.Link, name: str, place: Place) -> None:
        self.name = name
        self.place = place
        self.orders: asyncio.Queue[wire.Drain] = asyncio.Queue(maxsize=100)
        self.lost = asyncio.Event()  # the supervisor is gone
        self._link = link
        self._local: Local | None = None
        self._watchers: frozenset[str] = frozenset()
        self._lines: set[tuple[str, str]] = set()  # ours
        self._tasks: set[asyncio.Task[None]] = set()

    def attach(self, local: Local | None) -> None:
        """From now on questions are answered by this one; None: by nobody."""
        self._local = local

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reads the link for as long as the block lasts; owns its tasks."""
        self._own(self._read())
        try:
            yield
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:  # the reader is done when the supervisor is
                await asyncio.wait(self._tasks)

    def _own(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work, name="bus")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # told by the supervisor

    async def _read(self) -> None:
        try:
            while (message := await self._link.receive()) is not None:
                await self._take(message)
        except (TrunklineError, msgspec.MsgspecError) as wrong:
            log.error("bus.broken", error=str(wrong))
        finally:
            self.lost.set()

    async def _take(self, message: wire.Message) -> None:
        match message:
            case wire.Ask(id=number, body=body):
                await self._asked(number, body)
            case wire.Event() if self._local is not None:
                self._local.deliver(message.tenant, message.call_id, message.kind, message.data)
            case wire.Watchers(names=names):
                self._watchers = frozenset(names) - {self.name}
            case wire.Drain():
                await self.orders.put(message)
            case _:
                pass  # what came before our parts were there

    async def _asked(self, number: int, body: bytes) -> None:
        if self._local is None:
            self._link.send(wire.Reply(number, gone=True))
            return
        question = _questions.decode(body)
        if isinstance(question, wire.Bury):
            self._own(self._bury(number, question.worker, self._local))
        else:
            answer = await _answer(question, self._local)
            nothing = isinstance(answer, Found) and not answer.records
            self._link.send(wire.Reply(number, wire.encode(answer), gone=nothing))

    async def _bury(self, number: int, worker: str, local: Local) -> None:
        self._link.send(wire.Reply(number, wire.encode(wire.Yes(await local.bury(worker)))))

    # asked by our handlers

    def node_ready(self) -> bool:
        """Whether any worker takes calls."""
        return self.place.ready

    def node_active(self) -> int:
        """Live calls of the node."""
        return self.place.active

    async def records(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, CallRecord]:
        """What the owners know of their live calls."""
        asked = (self._records(owner, ids) for owner, ids in wanted.items() if owner and owner != self.name)
        found = await asyncio.gather(*asked)
        return {record.id: record for some in found for record in some}

    async def _records(self, owner: str, ids: Sequence[str]) -> Sequence[CallRecord]:
        try:
            return (await self._ask(owner, Records(tuple(ids)), Found)).records
        except UnreachableError:
            return ()

    async def find(self, call_id: str) -> CallRecord | None:
        """A live call that is not ours."""
        found = await self._records("*", [call_id])
        return found[0] if found else None

    async def hang_up(self, owner: str, call_id: str) -> bool:
        """By its owner; our own is over."""
        return owner != self.name and (await self._ask(owner, HangUp(call_id), wire.Yes)).done

    async def say(self, owner: str, call_id: str, text: str) -> bool:
        """By its owner; our own is over."""
        return owner != self.name and (await self._ask(owner, Say(call_id, text), wire.Yes)).done

    async def transfer(self, owner: str, call_id: str, target: str, brief: str | None = None) -> str | None:
        """By its owner; our own is over."""
        if owner == self.name:
            return None
        return (await self._ask(owner, Transfer(call_id, target, brief), Tried)).refusal

    async def send_digits(self, owner: str, call_id: str, keys: str) -> str | None:
        """By its owner; our own is over."""
        if owner == self.name:
            return None
        return (await self._ask(owner, SendDigits(call_id, keys), Tried)).refusal

    async def claim(self, carrier: str, call: str) -> bool:
        """The supervisor decides for the node, and with Redis for all; when it is away, what we know ourselves."""
        if (carrier, call) in self._lines:
            return False
        self._lines.add((carrier, call))
        reply = await self._link.ask("", wire.encode(wire.Line(carrier, call, on=True)), PATIENCE_S)
        if reply is None or reply.gone:
            log.warning("bus.line_unclaimed", carrier=carrier, carrier_ref=call)
            return True
        ours = msgspec.msgpack.decode(reply.body, type=wire.Yes).done
        if not ours:
            self._lines.discard((carrier, call))
        return ours

    async def release(self, carrier: str, call: str) -> None:
        """Told to the supervisor."""
        self._lines.discard((carrier, call))
        await self._link.ask("", wire.encode(wire.Line(carrier, call, on=False)), PATIENCE_S)

    async def figures(self, own: list[Family]) -> list[Family]:
        """The node's; our own when the supervisor does not answer."""
        body = wire.encode(wire.NodeFigures(own))
        reply = await self._link.ask("", body, FIGURES_S)
        if reply is None or reply.gone:
            log.warning("bus.no_figures")
            return own
        return msgspec.msgpack.decode(reply.body, type=wire.Figures).families

    @property
    def watched(self) -> bool:
        """Spectators elsewhere."""
        return bool(self._watchers)

    async def watch(self, on: bool) -> None:
        """Tell the others."""
        await self._link.ask("", wire.encode(wire.Watch(on)), PATIENCE_S)

    def relay(self, tenant: str, call_id: str, kind: str, data: bytes) -> None:
        """To where somebody watches."""
        self._link.offer(wire.Event(tenant, call_id, kind, data))

    @property
    def events_lost(self) -> int:
        """Events for spectators elsewhere that did not fit into the link."""
        return self._link.lost

    async def _ask(self, owner: str, question: Question, answer: type[T]) -> T:
        reply = await self._link.ask(owner, wire.encode(question), PATIENCE_S)
        if reply is None:
            raise UnreachableError(f"{owner} carries the call and does not answer")
        if reply.gone:
            why = reply.why or "it is no worker of this node, nor of one that can be reached"
            raise UnreachableError(f"{owner or 'nobody'} carries the call; {why}")
        return msgspec.msgpack.decode(reply.body, type=answer)

    # our own news

    def ready(self, agent: str, open_here: bool) -> None:
        """We take calls."""
        self._link.send(wire.Ready(agent, open_here))

    def farewell(self, figures: list[Family]) -> None:
        """Our last figures: counters must not go down because we go."""
        self._link.send(wire.Farewell(figures))


async def _answer(question: Question, local: Local) -> msgspec.Struct:
    match question:
        case HangUp(call_id=call_id):
            return wire.Yes(local.hang_up(call_id))
        case Say(call_id=call_id, text=text):
            return wire.Yes(await local.say(call_id, text))
        case Transfer(call_id=call_id, target=target, brief=brief):
            return Tried(local.transfer(call_id, target, brief))
        case SendDigits(call_id=call_id, keys=keys):
            return Tried(local.send_digits(call_id, keys))
        case Records(call_ids=ids):
            return Found(tuple(record for record in map(local.record, ids) if record is not None))
        case wire.FiguresWanted():
            return wire.Figures(local.figures())
        case wire.Bury(worker=worker):
            return wire.Yes(await local.bury(worker))
