"""A gateway of the tests' own: rings in real shared memory, a media clock in the loop's time, messages by hand.

The phone behind it takes one frame every 20 ms, as the media clock of pjsua2 does, and says what the test gives it.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Literal

from tests.conformance.leg import Arrival
from tests.virtual_time import clock
from trunkline.bridge.sip import messages as sip
from trunkline.bridge.sip.leg import SipLeg
from trunkline.bridge.sip.profile import inbound
from trunkline.bridge.sip.ring import RingMemory, Slot
from trunkline.bridge.sip.tick import Tick
from trunkline.errors import AdmissionError

CLOCK_S = 0.02
OFFER = sip.Offer(
    call=7, request_uri="sip:agent@127.0.0.1:5060", to="agent", from_="+919800000001", display="Asha",
    source="udp 127.0.0.1:5070", call_id="abc@127.0.0.1", headers={"X-Account": "17"},
)  # fmt: skip


class Phone:
    """The far end of a leg's slot: `Far` of the conformance suite, and the gateway in front of it."""

    def __init__(self, slot: Slot) -> None:
        self._arrived: list[Arrival] = []
        self.arrivals: Sequence[Arrival] = self._arrived
        self.flushed_at: Sequence[float] = ()
        self.heard: list[sip.ToGateway] = []
        self.standing = False  # the media clock stands still
        self.deaf = False  # the gateway answers no message
        self.leg: SipLeg
        self._slot = slot
        self._gone = False

    @property
    def waiting(self) -> int:
        """Frames in the ring."""
        return self._slot.waiting

    def send(self, message: sip.ToGateway) -> None:
        """`leg.Line`: a message from the worker."""
        self.heard.append(message)
        if isinstance(message, sip.Hangup) and not self.deaf:
            self.gone(200, "", "us")

    async def dial(self, to: str, *, trunk: str = "", display: str = "") -> SipLeg:
        raise AdmissionError(f"{to}: this gateway calls nobody")

    def tell(self, message: sip.ToWorker) -> None:
        """A message to the worker, a moment later, as over a socket."""
        asyncio.get_running_loop().call_soon(self.leg.told, message)

    def say(self, payload: bytes) -> None:
        room = self._slot.rx_room()
        if room is not None:
            room[:] = payload
            self._slot.rx_done()

    def press(self, keys: str) -> None:
        for key in keys:
            self.tell(sip.Digit(7, key, "rfc4733"))

    def hang_up(self) -> None:
        self.gone(200, "", "far")

    def vanish(self) -> None:
        asyncio.get_running_loop().call_soon(self.leg.lost)

    def gone(
        self, code: int, reason: str, by: Literal["far", "us", "gateway"], *, answered: bool = True, note: str = ""
    ) -> None:
        """The call is over."""
        if not self._gone:
            self._gone = True
            self.tell(sip.Gone(7, code, reason, by, answered, note))

    async def play(self) -> None:
        """The media clock."""
        loop = asyncio.get_running_loop()
        at = loop.time()
        while True:
            if not self.standing and not self._gone and (there := self._slot.tx_next()) is not None:
                self._arrived.append(Arrival(loop.time(), bytes(there)))
                self._slot.tx_done()
            at += CLOCK_S
            await asyncio.sleep(at - loop.time())


@asynccontextmanager
async def sip_leg(
    *, rate: int = 8000, up: bool = True, phase_s: float = 0.0, **facts: Any
) -> AsyncIterator[tuple[SipLeg, Phone]]:
    """A leg that is up, on a slot that has been used before. phase_s: between the worker's beat and the media clock."""
    memory = RingMemory.make(3, rate)
    slot, gateway = memory.slot(1), memory.slot(1)
    slot.clear()
    phone = Phone(gateway)
    leg = phone.leg = SipLeg(7, slot, inbound(OFFER, "agent", rate), phone, clock(), domain="pbx.example.com", **facts)
    tick = Tick(leg.beat)
    tick.start()
    await asyncio.sleep(phase_s)
    async with asyncio.TaskGroup() as group:
        playing = group.create_task(phone.play())
        await asyncio.sleep(0)
        if up:
            leg.told(sip.Up(7, "PCMU/8000"))
        try:
            yield leg, phone
        finally:
            tick.stop()
            playing.cancel()
    memory.close()
