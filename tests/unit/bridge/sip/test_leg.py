"""The SIP leg: the suite of all legs over rings, and what is SIP's own."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.conformance.leg import Legs, LegSuite, Rig, frame, speak, until_ended
from tests.fakes.gateway import sip_leg
from tests.virtual_time import virtual
from trunkline.bridge.leg import Answered, Digit, Ended, Held, Oddity, Played, Resumed
from trunkline.bridge.sip import messages as sip
from trunkline.bridge.sip.leg import GOODBYE_S, REFER_ANSWER_S, STALL_S, TRANSFER_S
from trunkline.bridge.sip.ring import FRAMES
from trunkline.bridge.telephony import TelephonyLeg, Transferred
from trunkline.errors import CarrierError
from trunkline.outcome import EndCause, Outcome


def rig_of(**given: Any) -> Legs:
    @asynccontextmanager
    async def rig() -> AsyncIterator[Rig]:
        async with sip_leg(**given) as (leg, phone):
            yield Rig(leg, phone, flushes=False)

    return rig


class TestEightKilohertz(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return rig_of()


class TestSixteenKilohertz(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return rig_of(rate=16_000)


class TestOutOfStepWithTheMediaClock(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return rig_of(phase_s=0.0137)


def outcome_of(events: list[Any]) -> Outcome:
    assert isinstance(events[-1], Ended)
    return events[-1].outcome


@virtual
async def test_speech_has_no_hole_while_the_worker_is_up_to_10_ms_late() -> None:
    async with sip_leg() as (leg, phone):
        await asyncio.sleep(0.005)
        await speak(leg, 2.0)
        await asyncio.sleep(0.1)
        times = [arrival.at for arrival in phone.arrivals]
        assert len(times) == 100
        assert max(after - before for before, after in itertools.pairwise(times)) < 0.021


@virtual
async def test_the_ring_never_holds_more_than_the_lead() -> None:
    async with sip_leg(phase_s=0.004) as (leg, phone):
        held = []
        for number in range(100):
            await leg.room()
            leg.send(frame(leg, number))
            held.append(phone.waiting)
        assert max(held) == 2
        assert sum(held) > 150, "a spare frame most of the time"


@virtual
async def test_a_flush_is_exact_to_the_frame() -> None:
    async with sip_leg() as (leg, phone):
        await asyncio.sleep(0.001)
        leg.send(frame(leg, 1, 10))
        await asyncio.sleep(0.041)  # the media clock came by twice
        assert len(phone.arrivals) == 2
        assert leg.flush() == pytest.approx(0.16)
        await asyncio.sleep(0.5)
        assert len(phone.arrivals) == 2


@virtual
async def test_what_the_ring_cannot_hold_is_dropped_and_counted() -> None:
    async with sip_leg() as (leg, phone):
        phone.standing = True
        leg.send(frame(leg, 1, FRAMES + 3))
        assert leg.counters["outgoing_dropped_ms"] == 60


@virtual
async def test_a_worker_that_stood_still_hears_a_gap_and_no_delay() -> None:
    async with sip_leg() as (leg, phone):
        frames: list[Any] = []

        async def listen() -> None:
            frames.extend([f async for f in leg.audio()])

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen())
            for number in range(FRAMES + 10):  # in one breath: nobody took any
                phone.say(frame(leg, number))
            await asyncio.sleep(0.05)
            phone.say(frame(leg, 77))
            await asyncio.sleep(0.05)
            phone.hang_up()
        assert leg.counters["lost_messages"] == 10
        assert frames[-1].start + frames[-1].samples == (FRAMES + 10 + 1) * 160
        assert frames[-1].pcm.endswith(frame(leg, 77)[-100:])


@virtual
async def test_nobody_takes_our_frames_is_media_lost_but_not_on_hold() -> None:
    async with sip_leg() as (leg, phone):
        phone.standing = True
        leg.send(frame(leg, 1, 3))
        leg.told(sip.Held(7, True))
        await asyncio.sleep(STALL_S + 1)
        assert not any(isinstance(m, sip.Hangup) for m in phone.heard)
        leg.told(sip.Held(7, False))
        await asyncio.sleep(STALL_S + 1)
        assert outcome_of(await until_ended(leg)) == Outcome(EndCause.MEDIA_LOST, "us", "stalled")
        assert sip.Hangup(7) in phone.heard


@virtual
async def test_silence_and_hold_are_no_standstill() -> None:
    async with sip_leg() as (leg, phone):
        await asyncio.sleep(3 * STALL_S)
        for _ in range(2):
            await speak(leg, 0.5)
            await asyncio.sleep(3 * STALL_S)
        phone.standing = True
        leg.send(frame(leg, 1, 3))
        await asyncio.sleep(1)
        leg.told(sip.Held(7, True))
        await asyncio.sleep(3 * STALL_S)
        leg.told(sip.Held(7, False))
        await asyncio.sleep(STALL_S - 0.1)
        phone.standing = False
        await asyncio.sleep(3 * STALL_S)
        phone.hang_up()
        assert outcome_of(await until_ended(leg)).cause is EndCause.COMPLETED


@virtual
async def test_holds_are_told_once_each() -> None:
    async with sip_leg() as (leg, phone):
        for on in (True, True, False, False, True):
            leg.told(sip.Held(7, on))
        phone.hang_up()
        told = [type(e) for e in await until_ended(leg) if isinstance(e, Held | Resumed)]
        assert told == [Held, Resumed, Held]
        assert leg.counters["holds"] == 2


@virtual
async def test_an_answer_told_again_after_a_reinvite_is_no_second_one() -> None:
    async with sip_leg() as (leg, phone):
        leg.told(sip.Up(7, "PCMA/8000"))
        leg.told(sip.Digit(7, "5", "info"))
        phone.hang_up()
        events = await until_ended(leg)
        assert [type(e) for e in events] == [Answered, Digit, Ended]
        assert leg.counters["digits_info"] == 1


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        (sip.Gone(7, 200, "", "far", True), Outcome(EndCause.COMPLETED, "caller", "BYE")),
        (sip.Gone(7, 481, "No Call", "far", True), Outcome(EndCause.MEDIA_LOST, "carrier", "481 No Call")),
        (sip.Gone(7, 408, "", "gateway", True, "media timeout"),
         Outcome(EndCause.MEDIA_LOST, "carrier", "media timeout")),
        (sip.Gone(7, 0, "", "gateway", True, "longest call"), Outcome(EndCause.TOO_LONG, "nobody", "longest call")),
        (sip.Gone(7, 0, "", "gateway", True, "shutdown"), Outcome(EndCause.MEDIA_LOST, "us", "shutdown")),
        (sip.Gone(7, 487, "Request Terminated", "far", False),
         Outcome(EndCause.ABANDONED, "caller", "487 Request Terminated")),
    ],
)  # fmt: skip
def test_how_it_ends(gone: sip.Gone, expected: Outcome) -> None:
    @virtual
    async def ends() -> None:
        async with sip_leg(up=gone.answered) as (leg, phone):
            phone.tell(gone)
            assert outcome_of(await until_ended(leg)) == expected
            assert await leg.up() == gone.answered

    ends()


@virtual
async def test_a_gateway_that_does_not_answer_our_bye_costs_two_seconds_and_is_counted() -> None:
    async with sip_leg() as (leg, phone):
        phone.deaf = True
        began = asyncio.get_running_loop().time()
        await leg.end(EndCause.COMPLETED)
        assert asyncio.get_running_loop().time() - began == pytest.approx(GOODBYE_S)
        assert leg.counters["goodbye_timeouts"] == 1
        assert outcome_of(await until_ended(leg)).cause is EndCause.COMPLETED


@pytest.mark.parametrize(
    ("up", "cause", "code"),
    [(True, EndCause.ADMISSION, 0), (False, EndCause.ADMISSION, 503), (False, EndCause.TOO_LONG, 480)],
)
def test_the_code_of_our_end(up: bool, cause: EndCause, code: int) -> None:
    @virtual
    async def ends() -> None:
        async with sip_leg(up=up) as (leg, phone):
            await leg.end(cause)
            assert phone.heard == [sip.Hangup(7, code)]

    ends()


@virtual
async def test_a_transfer_is_done_with_the_last_notify() -> None:
    async with sip_leg() as (leg, phone):
        assert isinstance(leg, TelephonyLeg)
        going = asyncio.create_task(leg.transfer("+91 80690 00000"))
        await asyncio.sleep(0.01)
        assert phone.heard == [sip.Refer(7, "sip:+918069000000@pbx.example.com")]
        leg.told(sip.ReferProgress(7, 202))
        leg.told(sip.ReferProgress(7, 180, "Ringing"))
        await asyncio.sleep(1)
        assert not going.done()
        leg.told(sip.ReferProgress(7, 200, "OK", final=True))
        assert await going == Transferred(True, 200, "OK", "refer")


@virtual
async def test_a_refused_transfer_leaves_the_call_as_it_is() -> None:
    async with sip_leg() as (leg, phone):
        going = asyncio.create_task(leg.transfer("sip:desk@pbx.example.com"))
        await asyncio.sleep(0)
        assert await leg.transfer("sip:other@pbx.example.com") == Transferred(False, 0, "a transfer is going on")
        leg.told(sip.ReferProgress(7, 603, "Decline", final=True))
        assert await going == Transferred(False, 603, "Decline", refused=True)
        await leg.room()
        leg.send(frame(leg, 1))
        await asyncio.sleep(0.1)
        assert len(phone.arrivals) == 1


@virtual
async def test_a_target_that_is_busy_is_no_refusal_of_the_far_end() -> None:
    async with sip_leg() as (leg, _):
        going = asyncio.create_task(leg.transfer("sip:desk@pbx.example.com"))
        await asyncio.sleep(0)
        leg.told(sip.ReferProgress(7, 202))
        leg.told(sip.ReferProgress(7, 486, "Busy Here", final=True))
        assert await going == Transferred(False, 486, "Busy Here")


@virtual
async def test_a_refer_that_nobody_answers_is_waited_for_a_few_seconds_and_not_sent_again() -> None:
    async with sip_leg(refer_answer_s=3.0) as (leg, phone), sip_leg() as (other, _):
        other.told(sip.Up(7, "PCMU/8000", replaces=True))
        began = asyncio.get_running_loop().time()
        result = await leg.transfer("sip:desk@pbx.example.com")
        assert (result.done, result.refused) == (False, True)
        assert asyncio.get_running_loop().time() - began == pytest.approx(3.0)
        joining = asyncio.create_task(leg.join(other))
        await asyncio.sleep(0)
        leg.told(sip.ReferProgress(7, 408, "Request Timeout", final=True))  # of the first
        assert (await joining).how == "bridged"
        assert [message for message in phone.heard if isinstance(message, sip.Refer)] == [
            sip.Refer(7, "sip:desk@pbx.example.com")
        ]


@virtual
async def test_a_transfer_that_was_agreed_to_may_ring_for_long() -> None:
    async with sip_leg(refer_answer_s=3.0) as (leg, _):
        going = asyncio.create_task(leg.transfer("sip:desk@pbx.example.com"))
        await asyncio.sleep(2.9)
        leg.told(sip.ReferProgress(7, 202))
        await asyncio.sleep(TRANSFER_S - 5)
        leg.told(sip.ReferProgress(7, 100))
        assert not going.done(), "NOTIFYs make it no longer"
        await asyncio.sleep(5.1)
        assert (await going).reason == f"no word of it within {TRANSFER_S:g} s"


async def test_a_far_end_that_has_left_without_a_word_is_transferred_unconfirmed() -> None:
    async with sip_leg() as (leg, _):
        going = asyncio.create_task(leg.transfer("sip:desk@pbx.example.com"))
        await asyncio.sleep(0)
        leg.told(sip.ReferProgress(7, 202))
        leg.told(sip.ReferProgress(7, sip.UNCONFIRMED, "unconfirmed", final=True))
        assert await going == Transferred(True, 202, "unconfirmed", how="refer")
        assert leg.counters["transfers_unconfirmed"] == 1


@virtual
async def test_a_far_end_that_does_not_allow_refer_is_not_asked() -> None:
    async with sip_leg() as (leg, phone):
        leg.told(sip.Up(7, "PCMU/8000", refer=False))
        assert (await leg.transfer("sip:desk@pbx.example.com")).refused
        assert not phone.heard
    async with sip_leg(refer=False) as (leg, phone):  # its trunk's word goes before its own
        leg.told(sip.Up(7, "PCMU/8000", refer=True))
        assert (await leg.transfer("sip:desk@pbx.example.com")).refused
        assert not phone.heard


@virtual
async def test_keys_are_tones_where_the_far_end_takes_no_events() -> None:
    async with sip_leg() as (leg, phone):
        leg.told(sip.Up(7, "PCMU/8000", digits=False))
        assert not leg.send_digits("12")
        assert not phone.heard
        leg.told(sip.Up(7, "PCMU/8000", digits=True))
        assert leg.send_digits("12")
        assert phone.heard == [sip.SendDigits(7, "12")]
    for dtmf, told in (("info", [sip.SendDigits(7, "12", "info")]), ("inband", [])):
        async with sip_leg(dtmf=dtmf) as (leg, phone):
            leg.told(sip.Up(7, "PCMU/8000", digits=dtmf == "inband"))
            assert leg.send_digits("12") == bool(told)
            assert phone.heard == told


@virtual
async def test_two_lines_are_joined_in_the_gateway_and_neither_is_ours_any_more() -> None:
    async with sip_leg() as (leg, phone), sip_leg() as (other, elsewhere):
        other.call = 8
        await leg.room()
        leg.send(frame(leg, 1))
        assert await leg.join(other) == Transferred(True, how="bridged")
        assert phone.heard == [sip.Join(7, 8)]
        assert not leg.playing(), "what waited is heard by nobody"
        leg.send(frame(leg, 2))
        phone.standing = elsewhere.standing = True
        await asyncio.sleep(20)
        assert leg.counters["sent_after_join"] == 1
        assert not leg._over, "nothing of ours is taken, and nothing needs to be"
        phone.hang_up()
        await asyncio.sleep(0.1)
        assert phone.heard[-1] == sip.Hangup(8), "they end together, whoever failed to see to it"


@virtual
async def test_two_calls_are_joined_by_the_far_end_if_it_can() -> None:
    for final, how in ((200, "replaces"), (603, "bridged"), (501, "bridged")):
        async with sip_leg() as (leg, phone), sip_leg() as (other, _):
            other.call = 8
            other.told(sip.Up(8, "PCMU/8000", replaces=True))
            going = asyncio.create_task(leg.join(other))
            await asyncio.sleep(0.01)
            assert phone.heard == [sip.Refer(7, "", 8)]
            leg.told(sip.ReferProgress(7, final, "", final=True))
            result = await going
            assert (result.done, result.how, result.joined) == (True, how, how == "bridged")


@virtual
async def test_a_far_end_that_hangs_up_while_it_is_transferred_has_gone_there() -> None:
    async with sip_leg() as (leg, phone):
        going = asyncio.create_task(leg.transfer("sip:desk@pbx.example.com"))
        await asyncio.sleep(0.1)
        leg.told(sip.ReferProgress(7, 202))
        order: list[str] = []
        going.add_done_callback(lambda _: order.append("transferred"))
        watching = asyncio.create_task(until_ended(leg))
        watching.add_done_callback(lambda _: order.append("ended"))
        await asyncio.sleep(0)
        phone.hang_up()
        assert (await going).done
        await watching
        await asyncio.sleep(0.1)
        assert order == ["transferred", "ended"], "else nobody is there to hear of it"
        assert not (await leg.transfer("sip:desk@pbx.example.com")).done


@virtual
async def test_a_far_end_that_hangs_up_before_it_has_agreed_has_hung_up() -> None:
    async with sip_leg() as (leg, phone):
        going = asyncio.create_task(leg.transfer("sip:desk@pbx.example.com"))
        await asyncio.sleep(0.1)
        phone.hang_up()
        assert await going == Transferred(False, reason="BYE")


@virtual
@pytest.mark.parametrize("target", ["+9198\r\nX-Evil: 1", "+9198>", "tel:", "1 2 x"])
async def test_what_is_no_number_is_not_called_by_a_trunk(target: str) -> None:
    async with sip_leg() as (leg, _):
        leg._info = replace(leg.info, parameters={"trunk": "acme"})
        with pytest.raises(CarrierError, match="must be a number"):
            await leg.place(target)


@virtual
async def test_a_transfer_that_nobody_speaks_of_any_more_is_given_up() -> None:
    async with sip_leg() as (leg, phone):
        began = asyncio.get_running_loop().time()
        result = await leg.transfer("1001")
        assert not result.done
        assert asyncio.get_running_loop().time() - began == pytest.approx(REFER_ANSWER_S)
        assert phone.heard == [sip.Refer(7, "sip:1001@pbx.example.com")]


@virtual
async def test_a_mark_waits_for_the_phone_and_not_for_the_clock() -> None:
    async with sip_leg() as (leg, phone):
        phone.standing = True
        leg.send(frame(leg, 1, 2))
        leg.mark("heard")
        await asyncio.sleep(1)
        events = leg.events()
        assert isinstance(await anext(events), Answered)
        phone.standing = False
        began = asyncio.get_running_loop().time()
        assert await anext(events) == Played("heard")
        took = asyncio.get_running_loop().time() - began
        assert 0.039 < took < 0.081  # two frames, then the second is played


@virtual
async def test_keys_go_to_the_far_end_as_keys() -> None:
    async with sip_leg() as (leg, phone):
        leg.send_digits("12#")
        assert phone.heard == [sip.SendDigits(7, "12#")]
        assert leg.counters["digits_sent"] == 3


@virtual
async def test_quality_is_the_last_that_was_told() -> None:
    async with sip_leg() as (leg, _):
        assert leg.quality() is None
        leg.told(sip.Quality(7, "PCMU/8000", 95, 5, 3.5, 100, 2, 1.0, 20.0, 40.0, 4.1))
        quality = leg.quality()
        assert quality is not None
        assert (quality.loss, quality.mos, quality.far_lost) == (0.05, 4.1, 2)


@virtual
async def test_what_makes_no_sense_is_odd_and_survived() -> None:
    async with sip_leg() as (leg, phone):
        leg.told(sip.Placed(7, 7))
        phone.hang_up()
        assert [e.kind for e in await until_ended(leg) if isinstance(e, Oddity)] == ["unexpected_message"]


@virtual
async def test_the_slot_is_not_touched_after_the_end() -> None:
    """It may be another call's by then."""
    async with sip_leg() as (leg, phone):
        phone.hang_up()
        await until_ended(leg)
        slot: Any = phone._slot
        slot.clear()
        slot.put(bytes(320))
        assert leg.flush() == 0.0
        assert not leg.playing()
        leg.beat(asyncio.get_running_loop().time())
        leg.send(frame(leg, 1))
        leg.mark("late")
        assert slot.waiting == 1


@virtual
async def test_more_marks_than_can_be_kept_come_back_early() -> None:
    async with sip_leg() as (leg, phone):
        phone.standing = True
        leg.send(frame(leg, 1))
        for number in range(300):
            leg.mark(str(number))
        await leg.end(EndCause.COMPLETED)
        told = [e.label for e in await until_ended(leg) if isinstance(e, Played)]
        assert told == [str(number) for number in range(300)]
