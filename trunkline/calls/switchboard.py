"""Every live call of this worker: who is let in, which agent answers, what becomes of it in the end."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Protocol

import structlog

from trunkline.ai.session import AiProvider
from trunkline.ai.tools import Tool
from trunkline.bridge.leg import CallLeg
from trunkline.calls import routing
from trunkline.calls.call import Call, Desk
from trunkline.calls.control import HangUp, Say, SendDigits
from trunkline.calls.events import CallEvent, Observer
from trunkline.calls.record import CallRecord
from trunkline.calls.sentences import Phrases
from trunkline.calls.store import CallStore
from trunkline.calls.timeline import Timeline
from trunkline.clock import Clock
from trunkline.config import Agent, Failure, Limits, Route
from trunkline.errors import AdmissionError, ConfigError, ToolError
from trunkline.outcome import EndCause

RETRY_AFTER_S = 5.0
LEAST_KNOCKING = 64  # sockets that may be waited for at once, however few calls are allowed
AFTER_DRAIN_S = 10.0  # calls that were cut may take this long to be recorded

_log = structlog.get_logger(__name__)


class Room(Protocol):
    """Who counts the seats: this switchboard, or all of the node together. Returns at once."""

    def take(self) -> bool:
        """One seat, unless all are taken."""
        ...

    def leave(self) -> None:
        """Give one back."""
        ...

    def reserve(self, provider: str, capacity: int | None) -> int | None:
        """One of the provider's calls, `capacity` of which fit here. None: done; else the limit that is met."""
        ...

    def release(self, provider: str) -> None:
        """Give it back."""
        ...

    def live(self, count: int) -> None:
        """So many calls are live on this switchboard."""
        ...


class OwnRoom:
    """`limit` seats of one switchboard's own."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._reserved: Counter[str] = Counter()

    def take(self) -> bool:
        """One seat, unless all are taken."""
        free = self._free > 0
        self._free -= free
        return free

    def leave(self) -> None:
        """Give one back."""
        self._free += 1

    def reserve(self, provider: str, capacity: int | None) -> int | None:
        """One of the provider's calls."""
        if capacity is not None and self._reserved[provider] >= capacity:
            return capacity
        self._reserved[provider] += 1
        return None

    def release(self, provider: str) -> None:
        """Give it back."""
        self._reserved[provider] -= 1

    def live(self, count: int) -> None:
        """Nobody else wants to know."""


class Seat:
    """Room for one call, held from admission to its end. `with switchboard.admit(…) as seat:`

    One that `knock` gave is a place to wait at; it becomes a seat when its call begins.
    """

    def __init__(self, board: "Switchboard", provider: str, *, taken: bool = True) -> None:
        self._board = board
        self._open = True
        self.provider = provider  # "": not known yet
        self.taken = taken  # False: nobody's room is held yet

    def __enter__(self) -> "Seat":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.leave()

    def leave(self) -> None:
        """Give the seat back. Idempotent."""
        if self._open:
            self._open = False
            self._board._left(self)

    @property
    def open(self) -> bool:
        """True until it is given back."""
        return self._open


class Switchboard:
    """One per worker. All methods are for the loop that it was made in."""

    def __init__(
        self,
        *,
        limits: Limits,
        agents: Mapping[str, Agent],
        providers: Mapping[str, AiProvider],
        store: CallStore,
        clock: Clock,
        routes: Sequence[Route] = (),
        default_agent: str = "receptionist",
        default_profile: str = "",
        tools: Mapping[str, Tool] | None = None,
        observers: Sequence[Observer] = (),
        worker: str = "",
        data_dir: Path = Path("data"),
        room: Room | None = None,
        failure: Failure | None = None,
        phrases: Mapping[str, Phrases] | None = None,
        transfer_to: Sequence[str] = (),
    ) -> None:
        """default_profile: the key of `providers` for agents without a profile of their own; "": the first one.
        room: where `limits.max_calls` and the providers' calls are counted; None: here.

        Raises ConfigError for an agent or a profile that is not there.
        """
        self._limits = limits
        self._agents = agents
        self._providers = providers
        self._routes = routes
        self._default_agent = default_agent
        self._default_profile = default_profile or next(iter(providers), "")
        self._desk = Desk(
            limits, store, tools or {}, clock, observers, worker, data_dir, failure or Failure(), phrases or {},
            transfer_to, self._lend,
        )  # fmt: skip
        self._calls: dict[str, Call] = {}
        self._room: Room = room or OwnRoom(limits.max_calls)
        self._knocking = 0  # sockets whose call has not begun
        self._most_knocking = max(LEAST_KNOCKING, limits.max_calls)
        self._draining = False
        self._empty = asyncio.Event()
        self._empty.set()
        self._check()

    def _check(self) -> None:
        for name in {self._default_agent, *(route.agent for route in self._routes)} - set(self._agents):
            raise ConfigError(f"agent {name!r} is not one of [agents]: {', '.join(sorted(self._agents))}")
        for name, agent in self._agents.items():
            if self._profile(agent) not in self._providers:
                known = ", ".join(sorted(self._providers))
                raise ConfigError(f"agents.{name}.profile: {self._profile(agent)!r} is not one of: {known}")

    def _profile(self, agent: Agent) -> str:
        return agent.profile if agent.profile not in (None, "auto") else self._default_profile

    # ── admission ───────────────────────────────────────────────────────────────────────────────────────────────

    def admit(self, carrier: str, to: str = "") -> Seat:
        """A seat, to be left when the call is over. Raises AdmissionError when there is no room, or while draining.

        Without `to` the call may yet meet a full provider in `attend`, which then says busy.
        """
        if self._draining:
            raise AdmissionError("no new calls: the service is going down", retry_after_s=RETRY_AFTER_S)
        self._take_room()
        provider = self._provider_for(carrier, to)
        try:
            self._reserve(provider)
        except AdmissionError:
            self._room.leave()
            raise
        return Seat(self, provider)

    def knock(self, carrier: str) -> Seat:
        """A place for a socket whose call has not begun: whoever says nothing keeps no caller from an agent.

        `attend` takes the room when the call begins, or says busy. Raises AdmissionError when all of it is in use now,
        or when too many sockets are waited for.
        """
        self.admit(carrier).leave()
        if self._knocking >= self._most_knocking:
            raise AdmissionError(f"{self._knocking} sockets have yet to begin a call", retry_after_s=RETRY_AFTER_S)
        self._knocking += 1
        return Seat(self, "", taken=False)

    def _take_room(self) -> None:
        if not self._room.take():
            raise AdmissionError(f"all {self._limits.max_calls} lines are taken", retry_after_s=RETRY_AFTER_S)

    def _provider_for(self, carrier: str, to: str) -> str:
        """The provider that will answer; without a number only if all routes of the carrier lead to the same one."""
        if to:
            return self._profile(self._agents[self._route(to, carrier).agent])
        agents = {self._default_agent, *(route.agent for route in self._routes)}
        reachable = {self._profile(self._agents[name]) for name in agents}
        return reachable.pop() if len(reachable) == 1 else ""

    def _reserve(self, provider: str) -> None:
        if not provider:
            return
        full = self._room.reserve(provider, self._providers[provider].capacity)
        if full is not None:
            raise AdmissionError(f"{provider} carries {full} calls at once", retry_after_s=RETRY_AFTER_S)

    def _claim(self, seat: Seat, provider: str) -> None:
        """Now the provider is known: take its room instead of what was guessed. Raises AdmissionError."""
        if not seat.taken:
            self._take_room()
            seat.taken = True
            self._knocking -= 1
        if seat.provider == provider:
            return
        self._reserve(provider)
        self._release(seat.provider)
        seat.provider = provider

    def _release(self, provider: str) -> None:
        if provider:
            self._room.release(provider)

    def _left(self, seat: Seat) -> None:
        if not seat.taken:
            self._knocking -= 1
            return
        self._room.leave()
        self._release(seat.provider)

    @contextmanager
    def _lend(self, provider: AiProvider) -> Iterator[None]:
        """Room for one session more of a call that has a seat. Raises AdmissionError."""
        profile = next(name for name, known in self._providers.items() if known is provider)
        self._reserve(profile)
        try:
            yield
        finally:
            self._release(profile)

    def _route(self, number: str, carrier: str) -> routing.Match:
        return routing.match(number, carrier, self._routes, self._default_agent)

    def explain(self, number: str, carrier: str) -> str:
        """Which agent would answer, and why."""
        return self._route(number, carrier).explain(number, carrier)

    # ── calls ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def attend(self, leg: CallLeg, seat: Seat | None = None, tenant: str = "default") -> CallRecord:
        """Carry a leg's call to its end and return its record. Whatever happens, the leg is ended and the call
        recorded; only cancellation is raised, after that."""
        name = self._route(leg.info.to, leg.info.carrier).agent
        agent = self._agents[name]
        profile = self._profile(agent)
        call = Call(self._desk, leg, name, agent, self._providers[profile], tenant)
        self._calls[call.id] = call
        self._room.live(len(self._calls))
        self._empty.clear()
        own: Seat | None = None
        try:
            if seat is None:
                seat = own = self.admit(leg.info.carrier, leg.info.to)
            self._claim(seat, profile)
        except AdmissionError as exc:
            call.refuse(str(exc))
        try:
            return await call.run()
        finally:
            del self._calls[call.id]
            self._room.live(len(self._calls))
            if own is not None:
                own.leave()
            if not self._calls:
                self._empty.set()

    @property
    def active(self) -> int:
        """Calls that are live."""
        return len(self._calls)

    def live(self) -> Sequence[CallRecord]:
        """The live calls' records so far, oldest first."""
        return [call.record() for call in self._calls.values()]

    def record(self, call_id: str) -> CallRecord | None:
        """A live call's record so far."""
        call = self._calls.get(call_id)
        return call.record() if call else None

    def events(self, call_id: str) -> Sequence[CallEvent] | None:
        """A live call's newest events (at most `journal.MOST_EVENTS`)."""
        call = self._calls.get(call_id)
        return tuple(call.journal.events) if call else None

    def timeline(self, call_id: str) -> Timeline | None:
        """A live call's timeline so far: turns, what was said and heard."""
        call = self._calls.get(call_id)
        return call.timeline() if call else None

    def hang_up(self, call_id: str) -> bool:
        """End a live call. False when there is none of that id here."""
        call = self._calls.get(call_id)
        if call:
            call.conversation.ask(HangUp(EndCause.OPERATOR))
        return call is not None

    async def say(self, call_id: str, text: str) -> bool:
        """Have the agent say this now. False when there is no such call here, or no voice on it yet."""
        call = self._calls.get(call_id)
        if call is None or not call.conversation.talking():
            return False
        call.conversation.ask(Say(text))
        return True

    def transfer(self, call_id: str, target: str, brief: str | None = None) -> str | None:
        """Hand the caller on, once what is being said was heard; with `brief`, once the person there has heard that and
        agreed. Why that cannot be; "": it is tried; None: there is no such call here."""
        call = self._calls.get(call_id)
        if call is None:
            return None
        try:
            call.conversation.telephone.transfer(target, brief, sorry=True)
        except ToolError as refused:
            return str(refused)
        return ""

    def send_digits(self, call_id: str, keys: str) -> str | None:
        """Send keys to the far end. Why that cannot be; "": they are sent; None: there is no such call here."""
        call = self._calls.get(call_id)
        if call is None:
            return None
        refusal = call.conversation.telephone.no_keys()
        if not refusal:
            call.conversation.ask(SendDigits(keys))
        return refusal

    # ── the end ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def draining(self) -> bool:
        """True from `drain` on: nobody is admitted any more."""
        return self._draining

    async def drain(self, limit_s: float) -> int:
        """Admit nobody, let live calls finish within `limit_s`, cut the rest. Returns how many were cut."""
        self._draining = True
        if await self._emptied(limit_s):
            return 0
        cut = list(self._calls.values())
        for call in cut:
            call.conversation.ask(HangUp(EndCause.DRAINED, "us"))
        if not await self._emptied(AFTER_DRAIN_S):
            _log.error("switchboard.not_drained", calls=list(self._calls))
        return len(cut)

    async def _emptied(self, within_s: float) -> bool:
        try:
            async with asyncio.timeout(within_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True
