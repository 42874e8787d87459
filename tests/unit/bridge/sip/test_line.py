"""A worker's line to the gateway: offers, slots, calls placed, a gateway that goes and comes back."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
import pytest

from tests.conformance.leg import until_ended
from tests.fakes.gateway import OFFER
from tests.fakes.gateway_socket import FakeGateway, fake_gateway
from tests.virtual_time import clock, virtual
from trunkline.bridge.leg import Answered, Ended, Ringing
from trunkline.bridge.sip import messages as sip
from trunkline.bridge.sip.leg import SipLeg
from trunkline.bridge.sip.line import PLACED_S, GatewayLine, Trunk
from trunkline.bridge.sip.profile import GATEWAY_LOST
from trunkline.errors import AdmissionError, CarrierError
from trunkline.outcome import EndCause, Outcome

Offered = Callable[[sip.Offer], None]


@asynccontextmanager
async def line_at(path: Path, offered: Offered | None = None) -> AsyncIterator[GatewayLine]:
    trunks = {"acme": Trunk("sip.example.com", {603: EndCause.NO_ANSWER})}
    line = GatewayLine(
        str(path), "worker-1", slots=2, rate=8000, clock=clock(), trunks=trunks,
        offered=offered or (lambda offer: None),
    )  # fmt: skip
    task = asyncio.create_task(line.run())
    try:
        yield line
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def joined(path: Path) -> AsyncIterator[tuple[GatewayLine, FakeGateway, list[SipLeg | None]]]:
    legs: list[SipLeg | None] = []
    async with (
        fake_gateway(path) as gateway,
        line_at(path, lambda offer: legs.append(line.take(offer, "agent"))) as line,
    ):
        await until(lambda: line.welcome is not None)
        yield line, gateway, legs


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not true():  # noqa: ASYNC110  virtual time
            await asyncio.sleep(0.01)


def offer(call: int) -> sip.Offer:
    return msgspec.structs.replace(OFFER, call=call)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sip.sock"


@virtual
async def test_hello_comes_with_memory_that_both_see(path: Path) -> None:
    async with joined(path) as (_, gateway, legs):
        assert gateway.heard[0] == sip.Hello(sip.VERSION, "worker-1")
        gateway.tell(offer(7))
        take = await gateway.until(sip.Take)
        assert (take.call, take.answer) == (7, True)
        gateway.tell(sip.Up(7, "PCMU/8000"))
        (leg,) = legs
        assert leg is not None
        assert await leg.up()
        assert gateway.memory is not None
        slot = gateway.memory.slot(take.slot)
        await leg.room()
        leg.send(b"\7" * 320)
        there = slot.tx_next()
        assert there is not None
        assert bytes(there) == b"\7" * 320
        room = slot.rx_room()
        assert room is not None
        room[:] = b"\3" * 320
        slot.rx_done()
        frame = await anext(leg.audio())
        assert frame.pcm == b"\3" * 320


@virtual
async def test_slots_are_shared_out_and_free_again_after_gone_alone(path: Path) -> None:
    async with joined(path) as (line, gateway, legs):
        gateway.tell(offer(1), offer(2), offer(3))
        assert await gateway.until(sip.Refuse) == sip.Refuse(3, 503, "No slot", 5)
        assert {(await gateway.until(sip.Take, n)).slot for n in (1, 2)} == {0, 1}
        leg = legs[0]
        assert leg is not None
        await leg.end(EndCause.COMPLETED)  # nobody answers it
        assert line.active == 2
        gateway.tell(offer(4))
        await gateway.until(sip.Refuse, 2)
        gateway.tell(sip.Gone(1, 200, "", "us", True))
        await until(lambda: line.active == 1)
        gateway.tell(offer(5))
        assert (await gateway.until(sip.Take, 3)).slot == (await gateway.until(sip.Take)).slot


@virtual
async def test_nothing_of_a_call_is_heard_in_the_next_one_of_its_slot(path: Path) -> None:
    async with joined(path) as (_, gateway, legs):
        gateway.tell(offer(1), offer(2))
        first = await gateway.until(sip.Take)
        leg = legs[0]
        assert leg is not None
        leg.send(bytes(320))
        for _frame in range(20):  # more than the ring holds
            if (room := gateway.slots[first.slot].rx_room()) is not None:
                room[:] = b"\1" * 320
                gateway.slots[first.slot].rx_done()
        gateway.tell(sip.Gone(1, 200, "", "far", True), offer(3))
        take = await gateway.until(sip.Take, 3)
        assert take.slot == first.slot
        slot = gateway.slots[take.slot]
        assert (slot.tx_next(), slot.take(), slot.dropped) == (None, None, 0)


@virtual
async def test_the_beat_goes_while_there_are_calls_and_no_longer(path: Path) -> None:
    async with joined(path) as (line, gateway, _):
        assert not line._tick.beating
        gateway.tell(offer(1))
        await until(lambda: line._tick.beating)
        gateway.tell(sip.Gone(1, 487, "", "far", False))
        await until(lambda: not line._tick.beating)


@virtual
async def test_a_gateway_that_dies_ends_its_calls_and_is_found_again(path: Path) -> None:
    legs: list[SipLeg | None] = []
    async with line_at(path, lambda offer: legs.append(line.take(offer, "agent"))) as line:
        await asyncio.sleep(1)  # there is none yet
        async with fake_gateway(path) as gateway:
            await until(lambda: line.welcome is not None)
            gateway.tell(offer(1), sip.Up(1, "PCMU/8000"))
            await until(lambda: legs)
            went = asyncio.get_running_loop().time()
        (leg,) = legs
        assert leg is not None
        events = await until_ended(leg)
        assert events[-1] == Ended(GATEWAY_LOST)
        assert asyncio.get_running_loop().time() - went < 0.1
        assert (line.welcome, line.active) == (None, 0)
        assert not line._tick.beating
        async with fake_gateway(path) as second:
            came = asyncio.get_running_loop().time()
            await until(lambda: line.welcome is not None)
            assert asyncio.get_running_loop().time() - came <= 0.6
            second.tell(offer(1))  # numbers begin anew with a new gateway
            await second.until(sip.Take)
        assert line.counts["connects"] == 2


@pytest.mark.parametrize(
    "first",
    [
        sip.encode(sip.Welcome(99, 8000, 4, ())),
        sip.encode(sip.Gone(1, 200, "", "far", True)),
        b"\xff\xff\xff\xff",
        b"\0\0\0\2{}",
    ],
)  # fmt: skip
def test_what_is_no_gateway_of_ours_is_left_and_tried_again(path: Path, first: bytes) -> None:
    @virtual
    async def tries() -> None:
        async with fake_gateway(path, welcome=None) as gateway, line_at(path) as line:
            await gateway.until(sip.Hello)
            gateway.raw(first)
            await gateway.until(sip.Hello, 2)
            assert line.welcome is None

    tries()


@virtual
async def test_a_gateway_that_says_nothing_is_left(path: Path) -> None:
    async with fake_gateway(path, welcome=None) as gateway, line_at(path):
        await gateway.until(sip.Hello, 2)


@virtual
async def test_offers_off_holds_over_a_new_gateway(path: Path) -> None:
    async with line_at(path) as line:
        line.offers(on=False)
        for _ in range(2):
            async with fake_gateway(path) as gateway:
                assert await gateway.until(sip.Offers) == sip.Offers(False)


@virtual
async def test_messages_about_calls_that_are_not_ours_are_strays(path: Path) -> None:
    async with joined(path) as (line, gateway, _):
        gateway.tell(sip.Gone(99, 487, "", "far", False), sip.Digit(98, "1", "info"), sip.Placed(5, 6))
        await until(lambda: line.counts["strays"] == 3)


@virtual
async def test_a_bug_in_our_answer_costs_one_offer(path: Path) -> None:
    def fails(offer: sip.Offer) -> None:
        if offer.call == 1:
            raise ValueError("a bug")
        line.refuse(offer, 486)

    async with fake_gateway(path) as gateway, line_at(path, fails) as line:
        await until(lambda: line.welcome is not None)
        gateway.tell(offer(1), offer(2))
        assert (await gateway.until(sip.Refuse)).call == 2
        assert line.counts["failures"] == 1


@virtual
async def test_a_call_that_was_handed_on_keeps_its_leg_and_its_slot(path: Path) -> None:
    async with joined(path) as (line, gateway, legs):
        gateway.tell(offer(1), sip.Up(1, "PCMU/8000"))
        await until(lambda: legs and legs[0] and legs[0].answered)
        (leg,) = legs
        assert leg is not None
        gateway.tell(sip.Held(1, True), sip.Moved(1, 7, "sip:desk@10.0.0.9"), sip.Held(7, False))
        await until(lambda: leg.call == 7)
        leg.send_digits("1")
        assert (await gateway.until(sip.SendDigits)).call == 7
        assert line.active == 1
        gateway.tell(sip.Gone(7, 200, "", "far", True))
        events = await until_ended(leg)
        assert [type(event).__name__ for event in events] == ["Answered", "Held", "Moved", "Resumed", "Ended"]
        assert line.active == 0
        gateway.tell(sip.Moved(5, 6, "sip:x@y"))
        await until(lambda: line.counts["strays"])


# -- calls that we place


@virtual
async def test_a_call_that_we_place_rings_and_is_answered(path: Path) -> None:
    async with joined(path) as (line, gateway, _):
        placing = asyncio.create_task(line.dial("+919800000001", trunk="acme", caller="+9180", headers={"X-A": "1"}))
        dial = await gateway.until(sip.Dial)
        assert (dial.to, dial.trunk, dial.from_, dial.headers) == ("+919800000001", "acme", "+9180", {"X-A": "1"})
        gateway.tell(sip.Placed(dial.ask, 3, "ref"), sip.Progress(3, 180), sip.Progress(3, 183, media=True))
        leg = await placing
        assert (leg.info.direction, leg.info.carrier_ref, leg.answered) == ("outbound", "ref", False)
        gateway.tell(sip.Up(3, "PCMA/8000"))
        assert await leg.up()
        gateway.tell(sip.Gone(3, 200, "", "far", True))
        events = await until_ended(leg)
        assert [type(event) for event in events] == [Ringing, Answered, Ended]
        assert line.active == 0


@virtual
async def test_the_trunk_has_its_own_word_for_no(path: Path) -> None:
    async with joined(path) as (line, gateway, _):
        for trunk, cause in (("acme", EndCause.NO_ANSWER), ("", EndCause.REJECTED)):
            placing = asyncio.create_task(line.dial("+919800000001", trunk=trunk))
            dial = await gateway.until(sip.Dial, 1 + (not trunk))
            gateway.tell(
                sip.Placed(dial.ask, dial.ask + 10, "r"), sip.Gone(dial.ask + 10, 603, "Decline", "far", False)
            )
            leg = await placing
            assert not await leg.up()
            assert (await until_ended(leg))[-1] == Ended(Outcome(cause, "callee", "603 Decline"))


@virtual
async def test_a_call_that_cannot_be_placed_gives_its_slot_back(path: Path) -> None:
    async with joined(path) as (line, gateway, _):
        for number in range(1, 4):  # more often than there are slots
            placing = asyncio.create_task(line.dial("nobody"))
            dial = await gateway.until(sip.Dial, number)
            gateway.tell(sip.Placed(dial.ask, 0, "", 404, "no such trunk"))
            with pytest.raises(CarrierError, match="no such trunk") as refused:
                await placing
            assert refused.value.code == "404"


@virtual
async def test_without_a_gateway_or_a_slot_nothing_is_dialled(path: Path) -> None:
    async with line_at(path) as line:
        with pytest.raises(AdmissionError, match="no SIP gateway"):
            await line.dial("1001")
    async with joined(path) as (line, gateway, _):
        gateway.tell(offer(1), offer(2))
        await gateway.until(sip.Take, 2)
        with pytest.raises(AdmissionError, match="all 2 SIP lines"):
            await line.dial("1001")


@virtual
async def test_a_call_that_nobody_waits_for_any_more_is_ended_and_its_slot_kept_until_then(path: Path) -> None:
    async with joined(path) as (line, gateway, _):
        began = asyncio.get_running_loop().time()
        with pytest.raises(CarrierError, match="did not say") as unknown:
            await line.dial("1001")
        assert unknown.value.code == "unknown"
        assert asyncio.get_running_loop().time() - began == pytest.approx(PLACED_S, abs=0.1)
        gateway.tell(sip.Placed(1, 3, "ref"))
        assert await gateway.until(sip.Hangup) == sip.Hangup(3)
        assert line.active == 1
        gateway.tell(sip.Gone(3, 487, "", "us", False))
        await until(lambda: line.active == 0)


@virtual
async def test_a_call_is_ended_whose_caller_left_at_the_moment_it_was_placed(path: Path) -> None:
    async with joined(path) as (line, gateway, _):
        placing = asyncio.create_task(line.dial("1001"))
        dial = await gateway.until(sip.Dial)
        line._told(sip.Placed(dial.ask, 3, "ref"))
        placing.cancel()
        await asyncio.wait({placing})
        assert placing.cancelled()
        assert await gateway.until(sip.Hangup) == sip.Hangup(3)


@virtual
async def test_a_gateway_that_dies_before_it_says_leaves_the_call_unknown(path: Path) -> None:
    async with line_at(path) as line:
        async with fake_gateway(path) as gateway:
            await until(lambda: line.welcome is not None)
            placing = asyncio.create_task(line.dial("1001"))
            await gateway.until(sip.Dial)
        with pytest.raises(CarrierError, match="gone") as unknown:
            await placing
        assert unknown.value.code == "unknown"
