"""Calls for which no session can be had, or none that answers, in virtual time: what is heard and recorded."""

import pytest

from tests.unit.calls.fakes import PHRASES, FakeLeg, FakeProvider, FakeSession, Line, now, until
from tests.virtual_time import virtual
from trunkline.ai.session import (
    CallerStartedSpeaking,
    CallerStoppedSpeaking,
    ReplyAudio,
    ReplyEnded,
    ReplyId,
    ReplyStarted,
    SessionLost,
)
from trunkline.calls.events import CallbackOwed, KeyPressed, ReplyDone, TurnAnswered
from trunkline.calls.record import CallRecord
from trunkline.calls.sentences import Kind
from trunkline.codecs.frame import AudioFrame
from trunkline.config import Agent, Failure
from trunkline.errors import ProviderError
from trunkline.outcome import EndCause

QUOTA = ProviderError("quota exceeded", code="429")
BUSY = ProviderError("overloaded", code="503", retryable=True)


def sentence(leg: FakeLeg, kind: Kind) -> list[float]:
    """When each piece of the sentence began to be heard."""
    byte = PHRASES[kind].payload(leg.info.codec)[0]
    return [at for at, payload in leg.heard_payload if payload.count(byte) > len(payload) // 2]


def line_with(provider: FakeProvider, **more: object) -> Line:
    return Line(provider=provider, phrases=PHRASES, failure=Failure(**more))  # type: ignore[arg-type]


def failing(*failures: ProviderError, open_s: float = 0.05) -> FakeProvider:
    provider = FakeProvider(open_s=open_s)
    provider.failures = list(failures)
    return provider


def failed(record: CallRecord, code: str) -> None:
    assert (record.cause, record.fault, record.code) == ("provider_failed", "provider", code)


@virtual
async def test_a_refusal_is_said_at_once_and_to_the_end() -> None:
    async with line_with(failing(QUOTA)) as line:
        record = await line.over()
    failed(record, "quota exceeded")
    assert sentence(line.leg, "last_words")[0] < 0.2
    assert len(sentence(line.leg, "end")) == len(sentence(line.leg, "last_words"))
    assert sentence(line.leg, "one_moment") == []
    (ended, cause), *_ = line.leg.ends
    assert (ended, cause) == (pytest.approx(2.3 + 0.05 + 0.3, abs=0.15), EndCause.PROVIDER_FAILED)
    assert sum(len(payload) for _, payload in line.leg.sent) == pytest.approx(2.3 * 8000, abs=320), "and no tone"
    assert record.turns[0].heard_text == "last words end"
    assert record.counters["sentences_said"] == 2
    assert record.labels == {}


@virtual
async def test_an_opening_that_lasts_is_excused_then_ends() -> None:
    async with line_with(FakeProvider(open_s=60)) as line:
        record = await line.over()
    failed(record, "no session within 8 s")
    assert sentence(line.leg, "one_moment")[0] == pytest.approx(1.0, abs=0.1)
    waiting, last = sentence(line.leg, "still_trying"), sentence(line.leg, "last_words")
    assert waiting[0] == pytest.approx(2.9, abs=0.2)
    assert last[0] == pytest.approx(max(8.0, waiting[-1]), abs=0.2), "at once, or behind what was being said"


@virtual
async def test_a_session_that_comes_late_greets_once_and_the_call_goes_on() -> None:
    async with line_with(failing(BUSY, open_s=2.0)) as line:
        session = await line.provider.session()
        assert (session.brief.greeting, session.brief.context.get("resumed")) == ("Hello", None)
        session.say(1, "Hello", 1.0)
        await until(9.0)
        line.leg.hang_up()
        record = await line.over()
    assert record.cause == "completed"
    assert session.heard_replies == ["r1"]
    assert record.counters["sentences_said"] == 2
    assert line.provider.opened == 2


@virtual
async def test_a_session_lost_for_good_in_mid_call_ends_with_words() -> None:
    async with line_with(FakeProvider()) as line:
        line.session.say(1, "Hello, how can I help?", 1.0)
        await until(3.0)
        line.session.emit(SessionLost("quota", retryable=False))
        record = await line.over()
    failed(record, "quota")
    assert sentence(line.leg, "last_words")[0] == pytest.approx(3.0, abs=0.2)
    assert line.provider.opened == 1


@virtual
async def test_what_was_being_said_is_heard_before_the_last_words() -> None:
    async with line_with(FakeProvider()) as line:
        line.session.say(1, "A long answer", 4.0)
        await until(1.0)
        line.session.emit(SessionLost("quota", retryable=False))
        record = await line.over()
    assert sentence(line.leg, "last_words")[0] == pytest.approx(4.0, abs=0.2)
    assert record.turns[0].heard_text == "A long answer last words end"


@virtual
async def test_a_replacement_that_does_not_come_in_time_is_excused_and_does_not_greet() -> None:
    provider = FakeProvider()
    async with line_with(provider) as line:
        line.session.say(1, "Hello", 1.0)
        await until(3.0)
        provider.open_s = 3.0
        first = line.session
        first.emit(SessionLost("reset", retryable=True))
        await until(3.1)
        heard_s = first.heard_s
        await until(5.0)
        assert first.heard_s == heard_s, "nobody speaks to who is gone"
        second = await provider.session(1)
        assert second.brief.greeting.startswith("Sorry")
        assert second.brief.context["resumed"] is True
        await until(8.0)
        line.leg.hang_up()
        record = await line.over()
    assert record.cause == "completed"
    assert sentence(line.leg, "one_moment")[0] == pytest.approx(4.0, abs=0.3)


@virtual
async def test_nothing_but_a_hang_up_stops_the_last_words() -> None:
    async with line_with(failing(QUOTA)) as line:
        await until(0.5)
        line.leg.press("123")
        await until(0.7)
        assert not await line.board.say(line.board.live()[0].id, "Hello?")
        record = await line.over()
    assert line.leg.flushes == []
    assert len(line.seen.of(KeyPressed)) == 3
    assert record.turns[0].heard_text == "last words end"


@virtual
@pytest.mark.parametrize("how", ["caller", "operator"])
async def test_a_hang_up_does(how: str) -> None:
    async with line_with(failing(QUOTA)) as line:
        await until(0.7)
        if how == "caller":
            line.leg.hang_up()
        else:
            line.board.hang_up(line.board.live()[0].id)
        record = await line.over()
        assert now() < 1.0
    failed(record, "quota exceeded")
    assert 0.3 < record.turns[0].heard_s < 0.8


@virtual
async def test_who_hangs_up_while_waiting_has_left_because_of_the_provider() -> None:
    async with line_with(FakeProvider(open_s=60)) as line:
        await until(4.5)
        line.leg.hang_up()
        record = await line.over()
    assert (record.cause, record.fault) == ("abandoned", "provider")


@virtual
async def test_a_call_back_is_promised_noted_and_told() -> None:
    async with line_with(failing(QUOTA), after_failure="callback") as line:
        record = await line.over()
    assert sentence(line.leg, "callback")
    assert sentence(line.leg, "end") == []
    assert record.labels == {"callback": "owed"}
    (owed,) = line.seen.of(CallbackOwed)
    assert (owed.number, owed.reason) == ("+15550100", "quota exceeded")


@virtual
async def test_a_call_back_to_nobody_is_not_promised() -> None:
    provider, leg = failing(QUOTA), FakeLeg()
    leg.info = leg.info.__class__("inbound", "", leg.info.to, "smartflo", leg.info.codec, 20, 0.2)
    failure = Failure(after_failure="callback")
    async with Line(provider=provider, leg=leg, phrases=PHRASES, failure=failure) as line:
        record = await line.over()
    assert sentence(leg, "callback") == []
    assert sentence(leg, "end")
    assert record.labels == {}


@virtual
async def test_without_a_voice_the_call_ends_with_a_tone_before_the_line_seems_dead() -> None:
    async with Line(provider=FakeProvider(open_s=60)) as line:
        record = await line.over()
    failed(record, "no session within 2.5 s")
    assert line.leg.sent[0][0] == pytest.approx(2.5, abs=0.1)
    assert record.counters["sentences_missing"] == 2


# ── a session that says how it is ───────────────────────────────────────────────────────────────────────────────────


class WatchedSession(FakeSession):
    """As GeminiSession: its connection may be replaced below it."""

    connected = True
    waits_since: float | None = None
    caller_speaks = False


class WatchedProvider(FakeProvider):
    """Its sessions can be looked at."""

    def __init__(self) -> None:
        super().__init__()

        def made(session: FakeSession) -> None:
            session.__class__ = WatchedSession

        self.script = made


def as_watched(session: FakeSession) -> WatchedSession:
    assert isinstance(session, WatchedSession)
    return session


@virtual
async def test_a_model_that_stalls_is_excused_and_its_late_answer_is_heard() -> None:
    async with line_with(WatchedProvider()) as line:
        session = as_watched(line.session)
        session.caller_speaks = True
        await until(3.0)
        session.caller_speaks, session.waits_since = False, 3.0
        await until(6.0)
        assert sentence(line.leg, "one_moment")[0] == pytest.approx(4.5, abs=0.3)
        session.waits_since = None
        session.say(1, "Here I am", 1.0, 1)
        await until(9.0)
        line.leg.hang_up()
        record = await line.over()
    assert session.heard_replies == ["r1"]
    assert record.counters["sentences_said"] == 1
    assert [done.heard_text for done in line.seen.of(ReplyDone)] == ["one moment", "Here I am"]
    assert line.seen.of(TurnAnswered) == []


@virtual
async def test_a_model_that_was_quick_so_far_is_excused_sooner() -> None:
    async with line_with(WatchedProvider(), answer_within_s=2.5) as line:
        session = as_watched(line.session)
        await until(1.8)
        session.emit(CallerStartedSpeaking(1, 0.5), CallerStoppedSpeaking(1, 1.0))
        session.say(1, "Here I am", 1.0, 1)
        await until(5.0)
        session.waits_since = 5.0
        await until(8.0)
        assert sentence(line.leg, "one_moment")[0] == pytest.approx(6.5, abs=0.2)
        line.leg.hang_up()
        await line.over()


@virtual
async def test_a_model_that_never_answers_is_given_up() -> None:
    async with line_with(WatchedProvider()) as line:
        session = as_watched(line.session)
        session.waits_since = 1.0
        while not sentence(line.leg, "last_words"):
            await until(now() + 0.1)
        assert session.closed, "it is not waited for any more"
        record = await line.over()
    failed(record, "the session does not answer")
    assert len(sentence(line.leg, "still_trying")) == 2 * len(sentence(line.leg, "one_moment"))


@virtual
async def test_a_reply_that_falters_is_bridged_and_goes_on() -> None:
    async with line_with(WatchedProvider()) as line:
        session = as_watched(line.session)
        session.say(1, "Well, the price is", 1.0, ended=False)
        await until(3.0)
        assert sentence(line.leg, "one_moment")[0] == pytest.approx(1.9, abs=0.2)
        session.emit(ReplyAudio(ReplyId("r1"), AudioFrame(bytes(16_000), 8000)), ReplyEnded(ReplyId("r1")))
        await until(8.0)
        line.leg.hang_up()
        record = await line.over()
    assert session.heard_replies == ["r1"]
    assert "late_audio" not in record.counters
    assert record.turns[0].heard_text == "Well, the price is one moment"


@virtual
async def test_a_connection_that_is_not_replaced_is_told_and_given_up() -> None:
    async with line_with(WatchedProvider()) as line:
        session = as_watched(line.session)
        session.say(1, "Hello", 1.0)
        await until(3.0)
        session.connected, session.waits_since = False, 3.0
        record = await line.over()
    failed(record, "no session within 8 s")
    assert 4.0 <= sentence(line.leg, "one_moment")[0] <= 6.0
    assert sentence(line.leg, "last_words")[0] <= 12.1


@virtual
async def test_a_hand_over_is_nobodys_business() -> None:
    async with line_with(WatchedProvider()) as line:
        session = as_watched(line.session)
        session.say(1, "Hello", 1.0)
        for moment in range(3, 30):
            await until(moment)
            session.connected = False
            await until(moment + 0.6)
            session.connected = True
        line.leg.hang_up()
        record = await line.over()
    assert "sentences_said" not in record.counters


@virtual
async def test_a_model_that_thinks_is_left_alone() -> None:
    async with line_with(WatchedProvider(), answer_within_s=2.5) as line:
        session = as_watched(line.session)
        for turn in range(1, 6):
            session.waits_since = now()
            await until(now() + 2.2)  # five times, without a word of ours
            session.waits_since = None
            session.emit(ReplyStarted(ReplyId(f"r{turn}"), turn))
            await until(now() + 0.5)  # its words are there before its sound
            session.say(turn, "Yes", 0.5, turn)
            await until(now() + 2.0)
        line.leg.hang_up()
        record = await line.over()
    assert "sentences_said" not in record.counters


@virtual
async def test_an_agents_silence_is_no_failure() -> None:
    """Nobody owes anybody an answer: the policy of silences is another's."""
    async with Line(provider=WatchedProvider(), agent=Agent(greeting=""), phrases=PHRASES) as line:
        await until(50)
        line.leg.hang_up()
        record = await line.over()
    assert "sentences_said" not in record.counters
