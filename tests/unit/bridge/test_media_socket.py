"""The shell: opening, the writer's queue, slow and hostile far ends, and who is left behind (nobody). Virtual time."""

import asyncio
import json
from typing import Any

import pytest

from tests.conformance.leg import frame, marks, speak, until_ended
from tests.fakes.leg import smartflo_leg
from tests.fakes.smartflo import FakeSmartflo
from tests.virtual_time import clock, virtual
from trunkline.bridge.carriers import CARRIERS
from trunkline.bridge.dialect import Message
from trunkline.bridge.leg import Answered, Digit, Ended, LegEvent, Oddity, Played
from trunkline.bridge.media_socket import open_media_leg
from trunkline.errors import ProtocolError
from trunkline.outcome import EndCause, Outcome

SMARTFLO = CARRIERS["smartflo"]


def now() -> float:
    return asyncio.get_running_loop().time()


def said(far: FakeSmartflo) -> list[str]:
    """The events we sent, in order."""
    return [json.loads(message)["event"] for _, message in far.socket.sent]


def outcome(events: list[LegEvent]) -> Outcome:
    assert isinstance(events[-1], Ended)
    return events[-1].outcome


async def refused(far: FakeSmartflo, **options: Any) -> str:
    """The ProtocolError of a socket that never becomes a leg."""
    with pytest.raises(ProtocolError) as caught:
        async with open_media_leg(far.socket, SMARTFLO, {}, clock=clock(), **options):
            raise AssertionError("no leg expected")
    assert caught.value.peer == "smartflo"
    return str(caught.value)


# -- opening


@virtual
async def test_a_socket_that_never_says_start() -> None:
    far = FakeSmartflo()
    far.socket.say('{"event":"connected"}')
    assert "no `start` within 10 s" in await refused(far, start_timeout_s=10)
    assert now() == pytest.approx(10, abs=0.1)
    assert far.socket.closed_with is not None
    assert far.socket.closed_with[0] == 1002


@virtual
async def test_a_socket_that_closes_before_start() -> None:
    far = FakeSmartflo()
    far.socket.shut(1000)
    assert "closed before `start`" in await refused(far)


@virtual
async def test_a_stop_before_start() -> None:
    far = FakeSmartflo()
    far.hang_up()
    assert "`stop` before `start`" in await refused(far)
    assert now() == 0.0


@virtual
async def test_a_flood_without_start_is_bounded() -> None:
    far = FakeSmartflo()
    far.socket.say(*['{"event":"connected"}'] * 4001)
    assert "too many messages" in await refused(far)


@virtual
async def test_a_silent_carrier_is_greeted_once_after_a_second() -> None:
    far = FakeSmartflo()
    asyncio.get_running_loop().call_later(3, far.connect)
    async with open_media_leg(far.socket, SMARTFLO, {}, clock=clock()):
        assert [(round(at, 3), message) for at, message in far.socket.sent] == [(1.0, '{"event":"connected"}')]


@virtual
async def test_a_carrier_that_speaks_first_is_not_greeted() -> None:
    far = FakeSmartflo()
    far.socket.say('{"event":"connected"}')
    asyncio.get_running_loop().call_later(3, far.connect)
    async with open_media_leg(far.socket, SMARTFLO, {}, clock=clock()):
        assert far.socket.sent == []


@virtual
async def test_what_came_before_start_is_told_after_answered() -> None:
    far = FakeSmartflo()
    far.socket.say("nonsense", '{"event":"media","media":{"payload":"/////w=="}}')
    far.connect()
    async with open_media_leg(far.socket, SMARTFLO, {"sid": "q"}, clock=clock()) as leg:
        assert leg.info.parameters["sid"] == "q"
        far.hang_up()
        events = await until_ended(leg)
        assert [type(e) for e in events] == [Answered, Oddity, Oddity, Ended]
        frames = [f async for f in leg.audio()]
        assert sum(f.samples for f in frames) == 4


@virtual
async def test_a_whole_call_that_comes_at_once_is_heard_whole() -> None:
    far = FakeSmartflo()
    far.connect()
    far.press("1")
    far.say(b"\x01" * 160)
    far.hang_up()
    far.vanish()
    async with open_media_leg(far.socket, SMARTFLO, {}, clock=clock()) as leg:
        events = await until_ended(leg)
        assert [type(e) for e in events] == [Answered, Digit, Ended]
        assert outcome(events).cause is EndCause.COMPLETED
        assert [f.samples async for f in leg.audio()] == [160]


# -- leaving


@virtual
async def test_an_error_of_the_body_leaves_as_it_is() -> None:
    legs = []
    with pytest.raises(ZeroDivisionError):
        async with smartflo_leg() as (leg, far):
            legs.append((leg, far))
            raise ZeroDivisionError
    ((leg, far),) = legs
    assert outcome(await until_ended(leg)) == Outcome(EndCause.INTERNAL, "us")
    assert far.hung_up_at is not None
    assert far.socket.closed_with == (1000, "")


@virtual
async def test_a_cancelled_call_says_goodbye() -> None:
    fars = []

    async def call() -> None:
        async with smartflo_leg() as (_, far):
            fars.append(far)
            await asyncio.sleep(100)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(call())
        await asyncio.sleep(1)
        task.cancel()
    assert task.cancelled()
    assert fars[0].hung_up_at == pytest.approx(1.0)
    assert fars[0].socket.closed_with == (1000, "")


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (1000, Outcome(EndCause.COMPLETED, "caller", "1000")),
        (1001, Outcome(EndCause.COMPLETED, "caller", "1001")),
        (1005, Outcome(EndCause.COMPLETED, "caller", "1005")),
        (1006, Outcome(EndCause.MEDIA_LOST, "carrier", "1006")),
        (1011, Outcome(EndCause.MEDIA_LOST, "carrier", "1011")),
    ],
)
def test_a_close_without_stop(code: int, expected: Outcome) -> None:
    @virtual
    async def close() -> None:
        async with smartflo_leg() as (leg, far):
            far.socket.shut(code)
            assert outcome(await until_ended(leg)) == expected

    close()


@virtual
async def test_stop_brings_the_carriers_reason() -> None:
    async with smartflo_leg() as (leg, far):
        far.hang_up()
        far.vanish()
        assert outcome(await until_ended(leg)) == Outcome(EndCause.COMPLETED, "caller", "Call ended")
        await leg.end(EndCause.COMPLETED)
        assert far.hung_up_at is None, "nobody is there to be hung up on"


@virtual
async def test_our_hang_up_wins_over_the_carriers_answer_to_it() -> None:
    async with smartflo_leg() as (leg, far):
        far.socket.taken = lambda _: far.hang_up()
        await leg.end(EndCause.OPERATOR)
        assert outcome(await until_ended(leg)) == Outcome(EndCause.OPERATOR, "nobody")


@virtual
async def test_a_far_end_that_does_not_read_cannot_hold_up_the_end() -> None:
    async with smartflo_leg() as (leg, far):
        far.socket.hold()
        await speak(leg, 0.1)
        began = now()
        await leg.end(EndCause.COMPLETED)
        assert now() - began <= 2.0
        assert leg.counters["goodbye_timeouts"] == 1
        far.socket.resume()


# -- barge-in on the wire (planted bugs: see docs/testing.md)


@virtual
async def test_clear_is_on_the_wire_in_the_same_instant() -> None:
    async with smartflo_leg() as (leg, far):
        await speak(leg, 1.0)
        await asyncio.sleep(0)
        cut = now()
        leg.flush()
        await asyncio.sleep(0.001)
        assert far.flushed_at == [cut], "the caller hears 200 ms on"
        assert said(far)[-1] == "clear"


@virtual
async def test_no_frame_of_a_dead_reply_leaves_the_writers_queue_after_clear() -> None:
    async with smartflo_leg("ignored") as (leg, far):
        await leg.room()
        leg.send(frame(leg, 1))
        await asyncio.sleep(0)
        far.socket.hold()  # the far end stops reading: what is sent now waits in our queue
        for number in range(2, 12):
            await leg.room()
            leg.send(frame(leg, number))
            leg.mark(f"m{number}")
        assert leg.flush() > 0.15
        far.socket.resume()
        await asyncio.sleep(3)
        assert said(far)[-1] == "clear"
        assert said(far).count("clear") == 1
        assert len(far.arrivals) <= 2, "only what was on its way already"
        leg.send(frame(leg, 50))
        await asyncio.sleep(0.1)
        assert far.arrivals[-1].payload == frame(leg, 50)
        far.hang_up()
        assert [dropped for _, dropped in marks(await until_ended(leg))] == [True] * 10


@virtual
async def test_a_clear_goes_out_even_if_the_reply_ended_just_before() -> None:
    async with smartflo_leg() as (leg, far):
        await speak(leg, 0.2)
        await asyncio.sleep(0.5)
        assert leg.flush() == 0.0
        await asyncio.sleep(0.01)
        assert said(far)[-1] == "clear", "the far end may be behind our reckoning"
        leg.flush()
        await asyncio.sleep(0.01)
        assert said(far).count("clear") == 1, "nothing was sent since"


@virtual
async def test_late_echoes_of_flushed_marks_are_told_once_as_dropped() -> None:
    async with smartflo_leg("late") as (leg, far):
        await speak(leg, 0.3)
        leg.mark("dead")
        await asyncio.sleep(0)
        leg.flush()
        await speak(leg, 0.1)
        leg.mark("alive")
        await asyncio.sleep(3)
        far.hang_up()
        assert marks(await until_ended(leg)) == [("dead", True), ("alive", False)]
        assert leg.counters["late_marks"] == 1


# -- marks


@virtual
async def test_a_mark_that_never_comes_back_is_played_by_our_clock() -> None:
    async with smartflo_leg(echoes=False) as (leg, _):
        began = now()
        await speak(leg, 1.0)
        leg.mark("end")
        events = aiter(leg.events())
        while not isinstance(event := await anext(events), Played):
            pass
        assert event == Played("end")
        assert now() - began == pytest.approx(1.0 + 2.0, abs=0.01)


@virtual
async def test_a_mark_given_back_at_once_is_not_believed() -> None:
    async with smartflo_leg() as (leg, far):

        def at_once(message: Message) -> None:
            body = json.loads(message)
            if body["event"] == "mark":
                far.tell("mark", mark=body["mark"])

        far.socket.taken = at_once
        began = now()
        await leg.room()
        leg.send(frame(leg, 1, 50))
        leg.mark("end")
        events = aiter(leg.events())
        while not isinstance(await anext(events), Played):
            pass
        assert now() - began == pytest.approx(1.0, abs=0.01), "nobody has heard what was not yet played"
        assert leg.counters["early_marks"] == 1


@virtual
async def test_marks_nobody_asked_for_are_odd() -> None:
    async with smartflo_leg() as (leg, far):
        for name in ("g1-1", "x", "g9-1", "g1-99", "g1-" + "9" * 100, "g-"):
            far.tell("mark", mark={"name": name})
        far.hang_up()
        events = await until_ended(leg)
        assert [e.kind for e in events if isinstance(e, Oddity)] == ["unknown_mark"]
        assert leg.counters["unknown_mark"] == 6


@virtual
async def test_a_thousand_marks_are_bounded_and_all_come_back() -> None:
    async with smartflo_leg() as (leg, far):
        for number in range(900):
            leg.mark(f"m{number}")
        await asyncio.sleep(3)
        assert said(far).count("mark") == 256
        far.hang_up()
        assert marks(await until_ended(leg)) == [(f"m{number}", False) for number in range(900)]


# -- slow and broken far ends


@virtual
async def test_a_far_end_that_does_not_read_is_lost_after_a_while() -> None:
    async with smartflo_leg() as (leg, far):
        far.socket.hold()
        leg.send(frame(leg, 1))
        for number in range(500):
            leg.send(frame(leg, number))
        assert leg.counters["outgoing_dropped_ms"] == pytest.approx(500 * 20 - 1200, abs=40)
        events = await until_ended(leg)
        assert outcome(events) == Outcome(EndCause.MEDIA_LOST, "carrier", "stalled")
        assert 5.0 <= now() <= 5.5
        far.socket.resume()


@virtual
async def test_what_waits_for_a_slow_far_end_keeps_its_order() -> None:
    async with smartflo_leg() as (leg, far):
        far.socket.hold()
        leg.send(frame(leg, 1))
        leg.mark("between")
        leg.send(frame(leg, 2))
        await asyncio.sleep(0.01)
        assert said(far) == []
        far.socket.resume()
        leg.send(frame(leg, 3))  # in the same breath: the writer has not had its turn
        leg.mark("behind")
        await asyncio.sleep(0.01)
        assert said(far) == ["media", "mark", "media", "media", "mark"]
        assert [a.payload for a in far.arrivals] == [frame(leg, n) for n in (1, 2, 3)]


@virtual
async def test_a_far_end_that_owes_us_nothing_any_more_is_not_lost() -> None:
    async with smartflo_leg() as (leg, far):
        far.socket.hold()
        leg.send(frame(leg, 1))
        await asyncio.sleep(4)
        leg.flush()  # called back: there is nothing it has not taken
        await asyncio.sleep(4)
        leg.send(frame(leg, 2))
        await asyncio.sleep(4)
        far.socket.resume()
        await asyncio.sleep(0.1)
        assert [a.payload for a in far.arrivals] == [frame(leg, 2)]
        far.hang_up()
        assert outcome(await until_ended(leg)).cause is EndCause.COMPLETED


@virtual
async def test_a_socket_that_breaks_while_we_talk() -> None:
    async with smartflo_leg() as (leg, far):

        def broken(_: Message) -> None:
            raise ConnectionResetError("peer went away")

        far.socket.taken = broken
        leg.send(frame(leg, 1))
        assert outcome(await until_ended(leg)) == Outcome(EndCause.MEDIA_LOST, "carrier", "peer went away")


@virtual
async def test_a_bug_of_ours_ends_this_call_only() -> None:
    async with smartflo_leg() as (leg, far):
        far.socket.taken = lambda _: [][1]
        leg.send(frame(leg, 1))
        assert outcome(await until_ended(leg)) == Outcome(EndCause.INTERNAL, "us", "writer")


@virtual
async def test_an_uneven_payload_is_filled_up_with_silence() -> None:
    async with smartflo_leg() as (leg, far):
        leg.send(b"\x01" * 200)
        leg.send(b"")
        await asyncio.sleep(0.01)
        assert [a.payload for a in far.arrivals] == [b"\x01" * 200 + b"\xff" * 120]
        assert leg.counters["padded_bytes"] == 120


# -- hostile far ends


@virtual
async def test_a_message_too_large_costs_itself() -> None:
    async with smartflo_leg() as (leg, far):
        far.socket.say("x" * ((1 << 20) + 1))
        far.press("1")
        far.hang_up()
        events = await until_ended(leg)
        assert [type(e) for e in events] == [Answered, Oddity, Digit, Ended]
        assert leg.counters["too_large"] == 1


@virtual
async def test_an_oddity_is_told_once_and_counted_always() -> None:
    async with smartflo_leg() as (leg, far):
        far.socket.say(*["nonsense"] * 7)
        far.hang_up()
        events = await until_ended(leg)
        assert events.count(Oddity("bad_json", "nonsense")) == 1
        assert leg.counters["bad_json"] == 7


@virtual
async def test_a_burst_is_admitted_a_flood_is_not() -> None:
    async with smartflo_leg() as (leg, far):
        far.socket.say(*['{"event":"connected"}'] * 390)
        await asyncio.sleep(1)
        assert "flood" not in leg.counters
        far.socket.say(*['{"event":"connected"}'] * 1000)
        far.press("1")
        await asyncio.sleep(0.01)
        assert 580 <= leg.counters["flood"] <= 610
        await asyncio.sleep(1)
        far.press("2")
        far.hang_up()
        events = await until_ended(leg)
        assert [e.key for e in events if isinstance(e, Digit)] == ["2"]
        assert outcome(events).cause is EndCause.COMPLETED


@virtual
async def test_a_flood_that_never_ends_ends_the_call() -> None:
    async with smartflo_leg() as (leg, far):
        far.socket.say(*['{"event":"connected"}'] * 2500)
        assert outcome(await until_ended(leg)) == Outcome(EndCause.CARRIER_FAILED, "carrier", "flood")


# -- the caller's voice


@virtual
async def test_short_losses_are_concealed_long_ones_are_a_jump() -> None:
    async with smartflo_leg() as (leg, far):
        far.say(frame(leg, 1))
        far.lose(2)
        far.say(frame(leg, 2))
        far.lose(10)
        far.say(frame(leg, 3))
        far.hang_up()
        frames = [f async for f in leg.audio()]
        assert [(f.start, f.samples) for f in frames] == [(0, 160), (160, 320 + 160), (640 + 1120, 480 + 160)]
        assert leg.counters["concealed_ms"] == 40 + 60
        assert leg.counters["lost_messages"] == 12
        assert leg.counters["sequence_gap"] == 2


@virtual
async def test_a_late_burst_keeps_every_word() -> None:
    async with smartflo_leg() as (leg, far):
        heard: list[bytes] = []

        async def listen() -> None:
            heard.extend([f.pcm async for f in leg.audio() if any(f.pcm)])

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen())
            await asyncio.sleep(2.0)  # the wire stalls,
            said = [frame(leg, number) for number in range(100)]
            for payload in said:  # then brings two seconds at once
                far.say(payload)
            await asyncio.sleep(0.1)
            far.hang_up()
        decoder = leg.info.codec.decoder()
        assert b"".join(heard) == b"".join(decoder.decode(payload) for payload in said)


@virtual
async def test_pieces_are_of_10_to_200_ms() -> None:
    async with smartflo_leg() as (leg, far):
        whole = bytes(range(1, 251)) * 16
        far.say(whole)  # 500 ms
        for at in range(0, 500, 10):  # 1.25 ms each
            far.say(whole[at : at + 10])
        await asyncio.sleep(0.01)
        far.hang_up()
        frames = [f async for f in leg.audio()]
        assert all(0.01 <= f.seconds <= 0.2 for f in frames[:-1])
        decoder = leg.info.codec.decoder()
        assert b"".join(f.pcm for f in frames) == decoder.decode(whole + whole[:500])


@virtual
async def test_the_same_press_twice_at_once_is_one() -> None:
    async with smartflo_leg() as (leg, far):
        far.press("5")
        far.press("5")
        await asyncio.sleep(0.15)
        far.press("5")
        far.press("77")
        far.hang_up()
        events = await until_ended(leg)
        assert "".join(e.key for e in events if isinstance(e, Digit)) == "5577"
        assert leg.counters["digits_repeated"] == 1


@virtual
async def test_a_stream_described_anew_goes_on_with_the_new_id() -> None:
    async with smartflo_leg() as (leg, far):
        far.socket.say(
            json.dumps({"event": "start", "streamSid": "S2", "start": {"mediaFormat": {"encoding": "PCMA"}}})
        )
        await asyncio.sleep(0.01)
        leg.send(frame(leg, 1))
        await asyncio.sleep(0.01)
        assert json.loads(far.socket.sent[-1][1])["streamSid"] == "S2"
        assert leg.info.codec.name == "PCMU"
        assert leg.counters["codec_changed"] == 1
        far.socket.say(json.dumps({"event": "start", "streamSid": "S1", "start": {}}))
        far.say(frame(leg, 7))
        far.hang_up()
        frames = [f async for f in leg.audio()]
        assert frames[-1].pcm == leg.info.codec.decoder().decode(frame(leg, 7)), "and back again"
        assert leg.counters["codec_changed"] == 2
