"""Speech and the caller's voice where they arise, without a task's turn: order, cuts and failures as by the events.

The tests of whole calls that could go wrong here run again, with a session and a leg that offer the short way.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.unit.calls import fakes, test_conversation
from tests.unit.calls.fakes import FakeLeg, FakeSession, Line, pcm, until
from tests.virtual_time import virtual
from trunkline.ai.cascade.session_outbox import Outbox
from trunkline.ai.session import AiEvent, Brief, ReplyAudio, ReplyEnded, ReplyId, ReplyStarted, ReplyText
from trunkline.bridge.channel import Channel
from trunkline.calls.session_line import MOST_PAST_MIND
from trunkline.codecs.frame import AudioFrame
from trunkline.errors import ProviderError

R1 = ReplyId("r1")


class StraightSession(FakeSession):
    """Says what the test says, as `GeminiSession` does it; hears without waiting."""

    def __init__(self, brief: Brief) -> None:
        super().__init__(brief)
        self.out = Outbox(120.0)
        self.speak_to = self.out.speak_to
        self.straight = 0  # frames heard where they arrived
        self.starts: list[int] = []

    def events(self) -> AsyncIterator[AiEvent]:
        return super().events() if self.breaks is not None else self.out.events()

    async def interrupt(self, reply: ReplyId, heard_s: float) -> None:
        self.out.kill(reply)
        await super().interrupt(reply, heard_s)

    async def hear(self, frame: AudioFrame, far_dbov: float = -96.0) -> None:
        self.starts.append(frame.start)
        await super().hear(frame, far_dbov)

    def hear_now(self, frame: AudioFrame) -> None:
        assert frame.rate == self.input_rate
        self.straight += 1
        self.starts.append(frame.start)
        self.heard_s += frame.seconds

    def emit(self, *events: AiEvent) -> None:
        for event in events:
            if isinstance(event, ReplyAudio):
                assert self.out.put_audio_now(event)
            else:
                self.out.put(event)

    def late(self, number: int) -> None:
        """Past the outbox that knows the dead: the call itself must refuse it."""
        self.out._dead.discard(ReplyId(f"r{number}"))
        super().late(number)

    def finish(self) -> None:
        self.out.finish()


class StraightLeg(FakeLeg):
    """A far end whose voice comes through a channel."""

    def audio(self) -> AsyncIterator[AudioFrame]:
        channel: Channel[AudioFrame] = Channel(1.0)

        async def speak() -> None:
            async for frame in super(StraightLeg, self).audio():
                channel.put(frame, frame.seconds)
            channel.close()

        self.speaking = asyncio.get_running_loop().create_task(speak())
        return channel


@pytest.fixture(autouse=True)
def straight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes, "FakeSession", StraightSession)


def session_of(line: Line) -> StraightSession:
    session = line.session
    assert isinstance(session, StraightSession)
    return session


test_a_whole_call = test_conversation.test_a_whole_call
test_no_frame_of_a_cut_reply = (
    test_conversation.test_no_frame_of_a_cut_reply_goes_on_the_wire_at_whatever_moment_it_is_cut
)
test_another_reply_follows_a_cut_one = test_conversation.test_another_reply_follows_a_cut_one
test_a_lost_session_is_replaced = (
    test_conversation.test_a_session_that_is_lost_is_replaced_once_and_does_not_greet_again
)
test_the_lead = test_conversation.test_the_far_end_is_never_filled_further_than_the_lead_and_one_message
test_every_hang_up = test_conversation.test_a_hang_up_at_every_moment_is_recorded_and_leaves_nothing_behind
test_every_other_end = test_conversation.test_every_other_end_at_every_moment_is_recorded_and_leaves_nothing_behind


def speech(number: int = 1) -> ReplyAudio:
    return ReplyAudio(ReplyId(f"r{number}"), AudioFrame(pcm(number, 0.02), 8000))


@virtual
async def test_speech_is_on_the_wire_in_the_breath_that_brings_it() -> None:
    async with Line() as line:
        session = session_of(line)
        session.emit(ReplyStarted(R1, 0), ReplyText(R1, "Hello"))
        session.emit(speech())  # behind what waits: not at once
        assert line.leg.wire(1) == []
        await asyncio.sleep(0.01)
        assert len(line.leg.wire(1)) == 1
        session.emit(speech())
        assert len(line.leg.wire(1)) == 2


@virtual
async def test_speech_never_overtakes_what_was_put_before_it() -> None:
    async with Line() as line:
        session = session_of(line)
        session.emit(ReplyStarted(R1, 0))
        await asyncio.sleep(0.01)
        for word in range(8):
            session.emit(ReplyText(R1, f"word{word}"))
            for _ in range(5):
                session.emit(speech())
            await asyncio.sleep(0.1)
        session.emit(ReplyEnded(R1), ReplyStarted(ReplyId("r2"), 0), speech(2), ReplyEnded(ReplyId("r2")))
        await asyncio.sleep(2.0)
        line.leg.hang_up()
        record = await line.over()
    assert record.counters.get("late_audio", 0) == 0
    assert session.heard_replies == ["r1", "r2"]
    assert len(b"".join(payload for _, payload in line.leg.sent)) >= 41 * 160
    assert record.turns[0].agent_text.split()[:8] == [f"word{word}" for word in range(8)]


@virtual
async def test_a_burst_goes_by_the_mind_now_and_then() -> None:
    async with Line() as line:
        session = session_of(line)
        session.emit(ReplyStarted(R1, 0))
        await asyncio.sleep(0.01)
        for _ in range(MOST_PAST_MIND):
            session.emit(speech())
        assert not session.out._events
        session.emit(speech())
        assert len(session.out._events) == 1, "this one waits for its turn"
        await asyncio.sleep(0.01)
        session.emit(speech())
        assert not session.out._events, "the mind has looked"


@virtual
async def test_a_fault_in_the_short_way_ends_the_call_and_not_whoever_brought_the_speech() -> None:
    async with Line() as line:
        session = session_of(line)
        session.emit(ReplyStarted(R1, 0))
        await asyncio.sleep(0.01)

        def bug(payload: bytes) -> None:
            raise ZeroDivisionError

        line.leg.send = bug  # type: ignore[method-assign]
        session.emit(speech())
        record = await line.over()
    assert (record.cause, record.fault) == ("internal", "us")


@virtual
async def test_a_channel_offers_nothing_before_what_waits_in_it() -> None:
    channel: Channel[int] = Channel(10)
    straight: list[int] = []
    taken: list[int] = []

    def sink(item: int) -> bool:
        if item > 5:
            return False
        straight.append(item)
        return True

    async def take() -> None:
        taken.extend([item async for item in channel])

    channel.straight(sink)
    channel.put(0)
    async with asyncio.TaskGroup() as group:
        group.create_task(take())
        channel.put(1)
        await asyncio.sleep(0.01)
        channel.put(2)
        channel.put(7)  # declined
        channel.put(3)
        await asyncio.sleep(0.01)
        channel.put(4)
        channel.close()
        channel.put(4)
    assert (taken, straight) == ([0, 1, 7, 3], [2, 4])


@virtual
async def test_the_caller_is_heard_where_the_frame_arrives_and_in_order_with_what_waited() -> None:
    leg = StraightLeg()
    async with Line(leg=leg, provider=fakes.FakeProvider(open_s=0.5)) as line:
        await line.provider.session()
        await until(2.0)
        session = session_of(line)
        assert session.straight > 70
        assert session.heard_s == pytest.approx(2.0, abs=0.06), "nothing twice, nothing left out"
        assert session.far, "what waited for the session came by the task"
        line.leg.hang_up()
        await line.over()
    await leg.speaking


@virtual
@pytest.mark.parametrize("failure", [ProviderError("deaf", code="x", retryable=True), ZeroDivisionError()])
async def test_a_session_that_fails_to_hear_the_short_way(failure: Exception) -> None:
    leg = StraightLeg()
    async with Line(leg=leg) as line:
        await until(0.5)

        def bug(frame: object) -> None:
            raise failure

        session_of(line).hear_now = bug  # type: ignore[method-assign, assignment]
        await until(2.0)
        if isinstance(failure, ProviderError):
            assert line.provider.opened == 2, "another session hears"
            assert session_of(line).starts[:2] == [0, 320], "from the beginning of what this one hears"
            line.leg.hang_up()
        record = await line.over()
    assert (record.cause == "internal") == isinstance(failure, ZeroDivisionError)
    await leg.speaking
