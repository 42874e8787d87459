"""SIP calls of one worker: each offer of the gateway is taken or refused, each call taken is held to its end.

Which agent answers is decided by the number that was called (the request's user before To's), as for all carriers.
"""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import structlog

from trunkline.api_desk import Desk, SipState
from trunkline.bridge.sip.leg import SipLeg
from trunkline.bridge.sip.line import GatewayLine, Trunk
from trunkline.bridge.sip.messages import Offer
from trunkline.bridge.sip.profile import CARRIER, called
from trunkline.calls import routing
from trunkline.calls.record import CallRecord
from trunkline.calls.switchboard import Seat
from trunkline.config import Settings
from trunkline.errors import AdmissionError
from trunkline.outcome import EndCause

ANSWERED_S: Final = 40.0  # from our 200 to the far end's ACK; SIP itself gives up after 32 s
GOODBYE_S: Final = 5.0  # calls that were cut may take so long to be recorded
FULL: Final = 486  # a carrier tells the caller, and does not try again at once
DRAINING: Final = 503
log = structlog.get_logger("trunkline.sip")


class SipCalls:
    """`async with SipCalls(desk, path, worker) as calls:` keeps the line to the gateway; owns a task per call."""

    def __init__(self, desk: Desk, path: str, worker: str) -> None:
        """path: of the gateway's socket."""
        self._desk = desk
        settings = desk.settings
        self.line = GatewayLine(
            path,
            worker,
            slots=settings.sip.max_calls,
            rate=settings.sip.clock_rate,
            clock=desk.clock,
            offered=self._offered,
            trunks=trunks(settings),
            refer_answer_s=settings.sip.refer_answer_s,
        )
        self._keeper: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        desk.sip = self._state
        self._watch()

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.get_running_loop().create_task(self.line.run(), name="sip.line")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut what is still live, as all other calls are, then let the line go."""
        self.close_door()
        await self._desk.drain(0)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=GOODBYE_S)
        for task in (*self._tasks, self._keeper):
            if task is not None:
                task.cancel()
        if left := {task for task in (*self._tasks, self._keeper) if task is not None}:
            await asyncio.wait(left)

    def close_door(self) -> None:
        """No more offers, please: the gateway asks others."""
        self.line.offers(on=False)

    async def place(self, to: str, *, trunk: str = "", caller: str = "", ring_s: float = 45.0) -> CallRecord:
        """Call `to` (number or SIP URI) and have the agent of `caller`'s route talk, to the end. Raises AdmissionError
        and CarrierError when it was not placed, see `GatewayLine.dial`."""
        with self._desk.admit(CARRIER, caller) as seat:
            leg = await self.line.dial(to, trunk=trunk, caller=caller, ring_s=ring_s)
            return await self._desk.calls.attend(leg, seat)

    # -- calls that come in

    def _offered(self, offer: Offer) -> None:
        to = self._to(offer)
        try:
            seat = self._desk.admit(CARRIER, to)
        except AdmissionError as full:
            code = FULL if self._desk.state.ready else DRAINING
            self.line.refuse(offer, code, retry_after_s=max(1, round(full.retry_after_s)))
            return
        leg = self.line.take(offer, to)
        if leg is None:
            self._desk.metrics.refused(CARRIER, "no_slot")
            seat.leave()
            return
        task = asyncio.get_running_loop().create_task(self._answer(leg, seat), name="sip.call")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _to(self, offer: Offer) -> str:
        """The number that is called: the first that a route names, else the request's."""
        settings = self._desk.settings
        return routing.choose(called(offer), CARRIER, settings.route, settings.default_agent)[0]

    async def _answer(self, leg: SipLeg, seat: Seat) -> None:
        try:
            with seat:
                if await self._up(leg):
                    await self._desk.calls.attend(leg, seat)
        except Exception:  # a bug of ours ends this call and no other
            log.exception("sip.call_failed")
            await leg.end(EndCause.INTERNAL)

    async def _up(self, leg: SipLeg) -> bool:
        """Once it is answered. False: the caller, or the service, was gone before."""
        with self._desk.handshakes.one():
            try:
                async with asyncio.timeout(ANSWERED_S):
                    up = await leg.up()
            except TimeoutError:
                up = False
        if up and not self._desk.state.shut:
            return True
        self._desk.metrics.refused(CARRIER, "draining" if up else "cancelled")
        await leg.end(EndCause.DRAINED if up else EndCause.ABANDONED)
        return False

    def _state(self) -> SipState:
        welcome = self.line.welcome
        listening = welcome.listening if welcome is not None else ()
        return SipState(welcome is not None, listening, self.line.active, self.line.trunk_states)

    def _watch(self) -> None:
        line, watch = self.line, self._desk.metrics.watch
        watch("sip_gateway_lines", "Workers that are connected to the SIP gateway.", lambda: line.welcome is not None)
        watch("sip_slots_taken", "SIP calls that hold a slot of the rings.", lambda: line.active)
        watch(
            "sip_beats_late", "Beats of the rings so late that a phone may have heard a hole.", lambda: line.late_beats
        )


def trunks(settings: Settings) -> Mapping[str, Trunk]:
    """What of the trunks matters to their calls."""
    return {
        trunk.name: Trunk(trunk.host, _outcomes(trunk.outcomes), trunk.refer, trunk.dtmf)
        for trunk in settings.sip.trunk
    }


def _outcomes(rows: tuple[str, ...]) -> dict[int, EndCause]:
    """ "603=no_answer", checked by config_check."""
    pairs = (row.partition("=") for row in rows)
    return {int(code): EndCause(cause.strip()) for code, _, cause in pairs}
