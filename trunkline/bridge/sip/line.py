"""A worker's connection to the gateway: offers come in, calls become legs on its slots, one beat moves their audio.

It is tried again for as long as it lives. When the gateway goes, all of its calls end as `media_lost`; the next one
gets rings of its own, so that no frame of the dead can be heard in a new call.
"""

import asyncio
import socket
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Literal

import structlog

from trunkline.bridge.leg import LegInfo
from trunkline.bridge.sip import messages as sip
from trunkline.bridge.sip import profile
from trunkline.bridge.sip.leg import REFER_ANSWER_S, SipLeg
from trunkline.bridge.sip.ring import RingMemory
from trunkline.bridge.sip.tick import Tick
from trunkline.clock import Clock
from trunkline.errors import AdmissionError, CarrierError, ProtocolError
from trunkline.outcome import EndCause

WELCOME_S: Final = 5.0
FIRST_WAIT_S: Final = 0.05
LONGEST_WAIT_S: Final = 0.5  # between two tries: a gateway that is restarted is back within a second
MOST_BACKLOG: Final = 1 << 20  # bytes that may wait for a gateway that does not read
PLACED_S: Final = 5.0  # for the gateway's word that an INVITE has left
_READ: Final = 64 << 10
log = structlog.get_logger("trunkline.sip")


@dataclass(frozen=True, slots=True)
class Trunk:
    """What of a trunk matters to its calls."""

    domain: str = ""  # where numbers live that its calls are transferred to
    outcomes: Mapping[int, EndCause] = field(default_factory=dict)  # its own meanings of codes
    refer: bool = True  # it takes REFER
    dtmf: Literal["auto", "rfc4733", "info", "inband"] = "auto"  # how it takes keys


@dataclass(slots=True, eq=False)
class _Asked:
    """A `Dial` that was not answered yet."""

    dial: sip.Dial
    placed: "asyncio.Future[SipLeg]"


def _placed(asked: _Asked) -> bool:
    return asked.placed.done() and not asked.placed.cancelled() and asked.placed.exception() is None


class GatewayLine:
    """One per worker: `run` in a task of the owner's, `take`, `refuse` and `dial` from its loop."""

    def __init__(
        self,
        path: str,
        worker: str,
        *,
        slots: int,
        rate: int,
        clock: Clock,
        offered: Callable[[sip.Offer], None],
        trunks: Mapping[str, Trunk] | None = None,
        refer_answer_s: float = REFER_ANSWER_S,
    ) -> None:
        """path: the gateway's socket; slots: calls at once; rate: Hz of the rings; offered: answers each offer by
        `take` or `refuse` before long."""
        self._path = path
        self._worker = worker
        self._slots = slots
        self._rate = rate
        self._clock = clock
        self._offered = offered
        self._trunks = trunks or {}
        self._refer_answer_s = refer_answer_s
        self._tick = Tick(self._beat)
        self._writer: asyncio.StreamWriter | None = None
        self._memory: RingMemory | None = None
        self._free: deque[int] = deque()
        self._legs: dict[int, SipLeg] = {}  # by call; until `Gone`
        self._slot_of: dict[int, int] = {}
        self._asked: dict[int, _Asked] = {}
        self._last_ask = 0
        self._offers = True
        self._stood = False  # since the last loss
        self.welcome: sip.Welcome | None = None  # while the line stands
        self.trunk_states: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    async def run(self) -> None:
        """Keep the line, until cancelled."""
        wait_s, told = FIRST_WAIT_S, ""
        while True:
            try:
                await self._stand()
                why = "the gateway closed the line"
            except (OSError, ProtocolError, TimeoutError) as wrong:
                why = str(wrong) or type(wrong).__name__
            stood, self._stood = self._stood, False
            wait_s = FIRST_WAIT_S if stood else min(wait_s * 2, LONGEST_WAIT_S)
            if stood or why != told:
                log.warning("sip.no_gateway", why=why, next_try_in_s=wait_s)
                told = why
            await asyncio.sleep(wait_s)

    @property
    def active(self) -> int:
        """Calls that hold a slot."""
        return len(self._slot_of)

    @property
    def late_beats(self) -> int:
        """Beats that came so late that a phone may have heard a hole."""
        return self._tick.late

    # -- what the owner does

    def send(self, message: sip.ToGateway) -> None:
        """Hand over; nothing when the gateway is away."""
        writer = self._writer
        if writer is None or writer.is_closing():
            return
        writer.write(sip.encode(message))
        if writer.transport.get_write_buffer_size() > MOST_BACKLOG:
            log.error("sip.gateway_stalled", bytes=MOST_BACKLOG)
            writer.transport.abort()

    def take(self, offer: sip.Offer, to: str) -> SipLeg | None:
        """Yes: the leg, which is answered from now on (`up`). None when there is no slot: refused as busy."""
        if not self._free or offer.call in self._legs:
            self.refuse(offer, 503, "No slot", retry_after_s=5)
            return None
        slot = self._slot()
        info = profile.inbound(offer, to, self._rate)
        trunk = self._trunks.get(offer.trunk) or Trunk(offer.source.rpartition(" ")[2])
        leg = self._leg(offer.call, slot, info, trunk)
        self.counts["taken"] += 1
        self.send(sip.Take(offer.call, slot))
        return leg

    def refuse(self, offer: sip.Offer, code: int, reason: str = "", *, retry_after_s: int = 0) -> None:
        """No, with a final code."""
        self.counts["refused"] += 1
        self.send(sip.Refuse(offer.call, code, reason, retry_after_s))

    def offers(self, *, on: bool) -> None:
        """Whether calls may be offered to this worker."""
        self._offers = on
        self.send(sip.Offers(on))

    async def dial(
        self,
        to: str,
        *,
        trunk: str = "",
        caller: str = "",
        display: str = "",
        headers: Mapping[str, str] | None = None,
        ring_s: float = 45.0,
    ) -> SipLeg:
        """Place a call; returns once its INVITE has left: `Ringing`, `Answered` or `Ended` follow on its events.

        Raises AdmissionError (never sent: no gateway, no slot) and CarrierError (the gateway could not send it, or has
        not said: then its `code` is "unknown").
        """
        if self.welcome is None or not self._free:
            raise AdmissionError("no SIP gateway" if self.welcome is None else f"all {self._slots} SIP lines are taken")
        self._last_ask += 1
        slot = self._slot()
        dial = sip.Dial(self._last_ask, slot, to, trunk, caller, display, dict(headers or {}), ring_s)
        asked = _Asked(dial, asyncio.get_running_loop().create_future())
        self._asked[dial.ask] = asked
        self.send(dial)
        taken = False
        try:
            async with asyncio.timeout(PLACED_S):
                leg = await asked.placed
                taken = True
                return leg
        except TimeoutError:
            raise CarrierError("the gateway did not say whether the INVITE left", code="unknown") from None
        finally:
            if not taken and _placed(asked):  # just as nobody waits for it any more
                self.send(sip.Hangup(asked.placed.result().call))

    def _slot(self) -> int:
        """One that is free, emptied before the gateway hears of it."""
        assert self._memory is not None
        number = self._free.popleft()
        self._memory.slot(number).clear()
        return number

    # -- the line

    async def _stand(self) -> None:
        """One connection, from Hello to its end. Raises OSError, ProtocolError, TimeoutError."""
        memory = RingMemory.make(self._slots, self._rate)
        try:
            reader, self._writer = await self._connected(memory)
            self._memory = memory
            await self._listen(reader)
        finally:
            await self._down()
            memory.close()

    async def _connected(self, memory: RingMemory) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            await loop.sock_connect(sock, self._path)
            hello = sip.encode(sip.Hello(sip.VERSION, self._worker))
            socket.send_fds(sock, [hello], [memory.fd])  # the first bytes of an empty buffer: it takes them all
            return await asyncio.open_unix_connection(sock=sock)
        except BaseException:
            sock.close()
            raise

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        unpacker = sip.Unpacker("worker")
        async with asyncio.timeout(WELCOME_S) as patience:
            while data := await reader.read(_READ):
                for message in unpacker.feed(data):
                    if self.welcome is None:
                        self._welcomed(message)
                        patience.reschedule(None)
                    else:
                        self._heard(message)

    def _welcomed(self, message: sip.ToWorker | sip.ToGateway) -> None:
        if not isinstance(message, sip.Welcome) or message.version != sip.VERSION:
            raise ProtocolError("the gateway is of another release", peer="sip")
        self._free = deque(range(self._slots))
        self.welcome = message
        self.trunk_states = dict(message.trunks)
        self.counts["connects"] += 1
        self._stood = True
        log.info("sip.gateway", listening=list(message.listening), trunks=self.trunk_states)
        if not self._offers:
            self.send(sip.Offers(False))

    async def _down(self) -> None:
        """Everything that was the gateway's is over."""
        self._tick.stop()
        self.welcome = None
        writer, self._writer = self._writer, None
        legs, self._legs = self._legs, {}
        asked, self._asked = self._asked, {}
        self._slot_of.clear()
        self._free.clear()
        if legs or asked:
            log.error("sip.calls_lost", calls=len(legs) + len(asked))
        for leg in legs.values():
            leg.lost()
        for one in asked.values():
            if not one.placed.done():
                one.placed.set_exception(CarrierError("the gateway is gone", code="unknown"))
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    # -- what the gateway tells

    def _heard(self, message: sip.ToWorker | sip.ToGateway) -> None:
        try:
            self._told(message)
        except ProtocolError:
            raise
        except Exception:  # a bug of ours costs one message, not all calls
            self.counts["failures"] += 1
            log.exception("sip.line_failed", message=type(message).__name__)

    def _told(self, message: sip.ToWorker | sip.ToGateway) -> None:
        match message:
            case sip.Offer():
                self.counts["offers"] += 1
                self._offered(message)
            case sip.Placed():
                self._placed(message)
            case sip.TrunkState(trunk=trunk, state=state):
                self.trunk_states[trunk] = state
                log.info("sip.trunk", trunk=trunk, state=state, code=message.code, reason=message.reason)
            case sip.Moved():
                self._moved(message)
            case sip.Welcome():
                raise ProtocolError("Welcome twice", peer="sip")
            case _:
                self._about(message)

    def _about(self, message: sip.ToWorker | sip.ToGateway) -> None:
        """A call's own message, for its leg. `Gone` frees its slot."""
        call = getattr(message, "call", 0)
        leg = self._legs.get(call)
        if leg is None:
            self.counts["strays"] += 1  # of a call that was offered to us and went before we answered
            return
        leg.told(message)  # type: ignore[arg-type]  # what is left of the union is about calls
        if isinstance(message, sip.Gone):
            self._let_go(call)

    def _moved(self, moved: sip.Moved) -> None:
        """The same leg and slot, by another number."""
        leg = self._legs.pop(moved.call, None)
        if leg is None:
            self.counts["strays"] += 1
            return
        self._legs[moved.to], self._slot_of[moved.to] = leg, self._slot_of.pop(moved.call)
        leg.moved(moved.to, moved.target)

    def _placed(self, placed: sip.Placed) -> None:
        asked = self._asked.pop(placed.ask, None)
        if asked is None:
            self.counts["strays"] += 1
            return
        dial = asked.dial
        if not placed.call:
            self._free.append(dial.slot)
            if not asked.placed.done():
                asked.placed.set_exception(CarrierError(placed.reason or "not placed", code=str(placed.code or "")))
            return
        info = profile.outbound(dial, placed.call_id, self._rate)
        leg = self._leg(placed.call, dial.slot, info, self._trunks.get(dial.trunk, Trunk()))
        if asked.placed.done():  # nobody waits for it any more
            self.send(sip.Hangup(placed.call))
        else:
            asked.placed.set_result(leg)

    def _leg(self, call: int, slot: int, info: LegInfo, trunk: Trunk) -> SipLeg:
        assert self._memory is not None
        leg = SipLeg(
            call, self._memory.slot(slot), info, self, self._clock,
            overrides=trunk.outcomes, domain=trunk.domain, refer=trunk.refer, dtmf=trunk.dtmf,
            refer_answer_s=self._refer_answer_s,
        )  # fmt: skip
        self._legs[call] = leg
        self._slot_of[call] = slot
        self._tick.start()
        return leg

    def _let_go(self, call: int) -> None:
        self._legs.pop(call)
        self._free.append(self._slot_of.pop(call))
        if not self._legs:
            self._tick.stop()

    def _beat(self, now: float) -> None:
        for leg in tuple(self._legs.values()):
            leg.beat(now)
