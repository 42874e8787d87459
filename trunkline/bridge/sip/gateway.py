"""The gateway: pjsua2 in a process of its own, whose calls belong to workers behind a unix socket.

    far end ⇄ pjsua2 ─ callbacks ─► queue ─► Gateway ─► hub ─► worker          audio: ports ⇄ ring slots

Everything happens in one thread of one plain asyncio loop that polls pjsip every 10 ms, less often without calls.
Callbacks copy; what they saw is handled here after each poll, where objects may be destroyed. Nothing that one call
does can end the process.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

import pjsua2 as pj
import structlog

from trunkline.bridge.sip import dialogs, gate
from trunkline.bridge.sip import messages as wire
from trunkline.bridge.sip.accounts import Accounts
from trunkline.bridge.sip.admission import Admission, Pass, Turned, names_of, understood
from trunkline.bridge.sip.callbacks import Invited, Pinged, Queue, Registered
from trunkline.bridge.sip.gateway_calls import Calls
from trunkline.bridge.sip.gateway_leg import Leg, hang_up
from trunkline.bridge.sip.gateway_names import addresses, nameservers
from trunkline.bridge.sip.gateway_refer import Referrals
from trunkline.bridge.sip.hub import Hub, WorkerLink
from trunkline.bridge.sip.journal import Journal
from trunkline.bridge.sip.library import Library
from trunkline.bridge.sip.locating import locator
from trunkline.bridge.sip.options import Options
from trunkline.bridge.sip.pause import Pause
from trunkline.bridge.sip.registry import Registry
from trunkline.bridge.sip.sip_text import Address, SipText, caller, codecs, host_port, told
from trunkline.bridge.sip.successor import end_all

POLL_S: Final = 0.010
IDLE_S: Final = 0.1  # without a call, unless a packet comes: pjsip's timers may be so late
LOOK_S: Final = 0.1  # between two looks at what is due
NAMES_S: Final = 60.0  # between two looks at the trunks' names
UNNAMED_S: Final = 5.0  # while one leads nowhere
FAREWELL_S: Final = 2.0  # for the far ends' answers to our BYE at the end
RETRY_S: Final = 5  # Retry-After of our 503
log = structlog.get_logger("trunkline.sip")


class Gateway:
    """`async with Gateway(options) as gateway: await gateway.run()`; `run` returns when `stop` was called."""

    def __init__(self, options: Options, now: Callable[[], float] = time.monotonic) -> None:
        self.options = options
        self.counts: dict[str, int] = {}
        self._now = now
        self._queue = Queue()
        self._registry = Registry()
        self._journal = Journal(options.journal)
        self._library = Library(options)
        self._admission = Admission(options)
        self._accounts = Accounts(options, self._queue, self._registry.number, self._registry.calls)
        self._locator = locator(options)
        self._hub = Hub(options.socket, self)
        referrals = Referrals(
            self._registry, self._accounts, self._journal, self._count, options.allow_transfer_to, self._room
        )
        self._queue.refer = referrals.decide
        self._calls = Calls(self._registry, self._accounts, self._journal, self._count, referrals)
        self._turn = 0
        self._looked = self._failures = 0.0
        self._pause = Pause()
        self._stop = asyncio.Event()
        self._idle = asyncio.Event()
        self._draining = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Gateway":
        left = self._journal.begin()
        await self._located()
        try:
            self._library.start(nameservers(self.options), self._account_of)
            self._pause.watch(self._library.wake_fd)
            gate.allow(self._library.gate, self._admission.table())
            self._accounts.open(self.listening[0].partition(" ")[2] if self.listening else "127.0.0.1")
            self._hub.open()
        except BaseException:
            await self._close()
            raise
        self._tasks = [asyncio.create_task(self._poll(), name="sip.poll")]
        self._tasks.append(asyncio.create_task(self._names(), name="sip.names"))
        if left:
            self._tasks.append(asyncio.create_task(self._end_left(left), name="sip.successor"))
        log.info("gateway.ready", listening=self.listening, trunks=len(self.options.trunks))
        return self

    async def __aexit__(self, *_: object) -> None:
        for leg in self._registry:
            self._calls.end(leg, "gateway", 503, "the gateway goes")
        await self._emptied(FAREWELL_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._close()

    async def _close(self) -> None:
        self._pause.close()
        self._hub.close()
        self._registry.destroy_all()
        self._accounts.close()
        self._library.close()
        self._journal.close()

    # -- what others ask

    @property
    def listening(self) -> tuple[str, ...]:
        """ "udp 127.0.0.1:5060", as it came to be."""
        return self._library.listening

    @property
    def live(self) -> int:
        """Calls that are there, ringing ones among them."""
        return len(self._registry)

    def figures(self) -> dict[str, int]:
        """Counters since the start, those of the gate among them, and the calls that are there."""
        found = {f"gate_{name}": value for name, value in gate.counters(self._library.gate).items()}
        return {**self.counts, **found, "live": self.live, "callback_failures": self._queue.failures}

    def trunks(self) -> list[tuple[str, bool]]:
        """Names of trunks of which it is known, and whether they are up: by registration, OPTIONS or calls."""
        known = {"up": True, "down": False, "rejected": False}
        states = self._accounts.states.values()
        return [(state.trunk, known[state.state]) for state in states if state.state in known]

    def servers(self) -> list[tuple[str, str, bool]]:
        """Trunk, server, and whether it answers; those alone of which it is known."""
        lives = {name: targets.lives() for name, targets in self._accounts.targets.items()}
        return [
            (name, at, life == "up") for name, all_ in lives.items() for at, life in all_.items() if life != "unchecked"
        ]

    async def run(self) -> None:
        """Until `stop`. Raises what ended the polling, after which nothing works any more."""
        stopped = asyncio.create_task(self._stop.wait(), name="sip.stop")
        await asyncio.wait({stopped, self._tasks[0]}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if self._tasks[0].done():
            self._tasks[0].result()

    def stop(self) -> None:
        """Let `run` return."""
        self._stop.set()

    async def drain(self, limit_s: float) -> None:
        """No new calls (503); return when none is left or the time is over, when the rest are ended by leaving."""
        self._draining = True
        await self._emptied(limit_s)

    async def _emptied(self, limit_s: float) -> None:
        self._idle.clear()  # the next poll sets it, if it is so
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._idle.wait()

    # -- the loop

    async def _poll(self) -> None:
        while True:
            more = self._library.poll()
            self._handle()
            now = self._now()
            if now - self._looked >= LOOK_S:
                self._looked = now
                self._look(now)
            if more:
                await asyncio.sleep(0)
            else:
                await self._pause.nap(POLL_S if self.live else IDLE_S)

    def _handle(self) -> None:
        events = self._queue.events
        while events:
            number, event = events.popleft()
            self._safely(self._event, number, event)
        if not len(self._registry):
            self._idle.set()

    def _safely(self, do: Callable[..., None], *arguments: Any) -> None:
        """One call's trouble stays its own."""
        try:
            do(*arguments)
        except Exception as error:
            self._count("failed")
            reason = error.info(True) if isinstance(error, pj.Error) else ""
            log.exception("gateway.failed", at=do.__name__, pjsip=reason)

    def _event(self, number: int, event: Any) -> None:
        match event:
            case Invited():
                self._invited(number, event)
            case Registered():
                if state := self._accounts.registered(event, self._now()):
                    self._hub.tell_all(state)
            case Pinged():
                if state := self._accounts.pinged(event, self._now()):
                    self._hub.tell_all(state)
            case _:
                leg = self._registry.legs.get(number)
                if leg is not None:
                    self._calls.event(leg, event, self._now())

    def _look(self, now: float) -> None:
        for leg in self._registry:
            if leg.offer is not None and leg.deadline is not None and now >= leg.deadline:
                self._safely(self._next_offer, leg, "no answer in time")
            else:
                self._safely(self._calls.look, leg, now, self.options)
        for state in self._accounts.look(now):
            self._hub.tell_all(state)
        if self._queue.failures > self._failures:
            self._failures = self._queue.failures
            log.error("callback.failed", count=self._queue.failures, last=self._queue.last_failure)

    def _count(self, what: str) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1

    # -- calls that come in

    def _account_of(self, source: str) -> int | None:
        """Its SRTP, its timer: those of the trunk that it comes from."""
        return self._accounts.number(self._admission.trunk_of(host_port(source)[0]) or "")

    def _invited(self, number: int, event: Invited) -> None:
        text = SipText.of(event.text)
        leg = Leg(number, event.call, True, text.first("call-id"), text=text, source=event.source)
        self._registry.add(leg)
        try:
            self._welcome(leg, event)
        except Exception:
            leg.offer, leg.ending = None, 0.0
            hang_up(leg, 500)  # nobody would answer it else
            raise

    def _welcome(self, leg: Leg, event: Invited) -> None:
        text = leg.text
        answer = self._admission.decide(text, event.source, self._now())
        if isinstance(answer, Pass):
            answer = understood(text) or answer
        if isinstance(answer, Turned):
            self._count(f"turned_{answer.code}")
            log.info("call.turned", code=answer.code, source=event.source, reason=answer.reason)
            leg.ending = 0.0
            hang_up(leg, answer.code, answer.headers, answer.reason)
            if self._admission.bans.fresh:
                gate.allow(self._library.gate, self._admission.table())
        elif self._draining or self._registry.carried > self.options.max_calls:  # itself among them
            self._busy(leg, "draining" if self._draining else "as many calls as may be")
        else:
            self._pass(leg, answer)

    def _pass(self, leg: Leg, answer: Pass) -> None:
        text, trunk = leg.text, self._accounts.trunks.get(answer.trunk)
        leg.trunk = answer.trunk
        number, display = caller(text, trusted=trunk is not None)
        leg.offer = wire.Offer(
            leg.number,
            text.request_uri,
            Address.of(text.first("to")).user,
            number,
            display,
            f"{text.transport} {leg.source}",
            leg.call_id,
            answer.trunk,
            codecs(text.body),
            told(text, trunk.keep_headers if trunk else ()),
        )
        self._count("offered")
        self._next_offer(leg, "")

    def _next_offer(self, leg: Leg, why: str) -> None:
        """To the next worker in turn that has not had its chance; 503 when there is none."""
        assert leg.offer is not None
        before, leg.link = leg.link, None
        if before is not None:
            leg.refused_by.add(id(before))
            before.calls.discard(leg.number)
            before.send(wire.Gone(leg.number, 0, why, "gateway", False, "offered to another"))
        workers = sorted((link for link in self._hub.workers if link.offers), key=lambda link: (link.name, id(link)))
        self._turn += 1
        turned = [workers[(self._turn + at) % len(workers)] for at in range(len(workers))]
        link = next((link for link in turned if id(link) not in leg.refused_by), None)
        if link is None:
            self._busy(leg, "no worker takes it")
            return
        leg.link, leg.deadline = link, self._now() + self.options.offer_s
        link.calls.add(leg.number)
        link.send(leg.offer)

    def _busy(self, leg: Leg, why: str) -> None:
        self._count("turned_503")
        log.warning("call.turned", code=503, reason=why, live=self.live)
        leg.offer, leg.ending = None, 0.0
        hang_up(leg, 503, [("Retry-After", str(RETRY_S))])

    def _room(self) -> bool:
        """For one call more."""
        return not self._draining and self._registry.carried < self.options.max_calls

    # -- workers (hub.Owner)

    def joined(self, link: WorkerLink) -> None:
        """A worker is there."""
        assert link.memory is not None
        layout = link.memory.layout
        states = {name: state.state for name, state in self._accounts.states.items()}
        link.send(wire.Welcome(wire.VERSION, layout.rate, layout.slots, self.listening, states))
        log.info("worker.joined", worker=link.name, slots=layout.slots, rate=layout.rate)

    def told(self, link: WorkerLink, message: wire.ToGateway) -> None:
        """A worker wants something of a call of its own."""
        self._pause.wake()
        if isinstance(message, wire.Dial):
            self._safely(self._calls.dial, link, message, self._now(), self._draining)
        elif isinstance(message, wire.Refuse | wire.Take) and message.call in link.calls:
            self._safely(self._verdict, link, message)
        elif not isinstance(message, wire.Hello | wire.Offers):
            leg = self._registry.find(message.call)
            if leg is None or leg.link is not link:
                self._count("late")  # it crossed with `Gone`
                return
            self._safely(self._calls.command, leg, message, self._now())

    def _verdict(self, link: WorkerLink, message: wire.Refuse | wire.Take) -> None:
        leg = self._registry.legs.get(message.call)
        if leg is None or leg.link is not link or leg.offer is None:
            self._count("late")
            return
        leg.offer = leg.deadline = None
        if isinstance(message, wire.Take):
            self._calls.take(leg, link, message)
        else:
            self._calls.refuse(leg, link, message)

    def lost(self, link: WorkerLink) -> None:
        """A worker died, or left: its calls end, what was on offer to it goes to another."""
        for number in list(link.calls):
            leg = self._registry.legs.get(number)
            if leg is None or leg.link is not link:
                continue
            if leg.offer is not None:
                self._safely(self._next_offer, leg, "the worker is gone")
            else:
                self._count("orphaned")
                self._safely(self._calls.end, leg, "gateway", 500, "worker lost")
        link.calls.clear()

    # -- beside it

    async def _names(self) -> None:
        """Trunks' addresses change, bans end: the gate follows."""
        while True:
            await asyncio.sleep(NAMES_S if all(self._accounts.located.values()) else UNNAMED_S)
            await self._located()
            self._admission.bans.expire(self._now())
            gate.allow(self._library.gate, self._admission.table())

    async def _located(self) -> None:
        """Where the trunks' names lead: whom we send to, and who may call."""
        trunks = self.options.trunks
        found, own = await asyncio.gather(self._locator.locate(trunks), addresses(names_of(trunks)))
        self._accounts.locate(found)
        reached = self._accounts.located
        self._admission.resolve({name: [*own[name], *reached[name]] for name in own})

    async def _end_left(self, left: list[dialogs.Dialog | dialogs.Invite]) -> None:
        log.warning("gateway.succeeds", dialogs=len(left), hint="the process before this one ended with calls")
        own = self.listening[0].partition(" ")[2].rpartition(":")[0] if self.listening else ""
        async for record, answered in end_all(left, own, self.options):
            self._journal.note(dialogs.Over(record.call_id))
            self._count("left_ended" if answered else "left_unanswered")
