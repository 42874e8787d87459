"""A call from greeting to record, in virtual time."""

import asyncio
from pathlib import Path

import pytest

from tests.unit.calls.fakes import PHRASES, FakeLeg, FakeProvider, FakeSession, Line, now, until, wire_byte
from tests.virtual_time import run, virtual
from trunkline.ai.session import ReplyId, ReplyText, SessionLost, Stage, StageReached, ToolCall, Usage
from trunkline.ai.tools import Json, Tool, ToolRequest
from trunkline.bridge.leg import Held, Oddity, Resumed
from trunkline.calls.control import SendDigits
from trunkline.calls.events import (
    BargeIn,
    CallEnded,
    CallerSilent,
    KeyPressed,
    Note,
    Odd,
    ReplyDone,
    ReplyOnWire,
    ToolUsed,
    TurnAnswered,
)
from trunkline.config import Agent, Failure, Limits
from trunkline.errors import ProviderError, ToolError
from trunkline.outcome import EndCause

SCHEMA: dict[str, Json] = {"type": "object", "properties": {"item": {"type": "string"}}}


def tool(name: str = "order", effect: str = "write", seconds: float = 0.0, timeout: float = 10.0, **more: str) -> Tool:
    done: list[ToolRequest] = []

    async def func(request: ToolRequest) -> Json:
        await asyncio.sleep(seconds)
        done.append(request)
        return {"ok": True}

    made = Tool(name, "", SCHEMA, func, timeout, effect, **more)  # type: ignore[arg-type]
    TOOL_RUNS[made.name] = done
    return made


TOOL_RUNS: dict[str, list[ToolRequest]] = {}


@virtual
async def test_a_whole_call() -> None:
    async with Line(tools=[tool()]) as line:
        leg, session = line.leg, line.session
        session.say(1, "Hello, how can I help?", 1.5)
        await until(2.5)
        assert session.heard_replies == ["r1"]
        # a question
        session.caller_speaks(1)
        await until(3.5)
        session.caller_said(1, "when are you open")
        await until(3.6)
        session.emit(StageReached(1, Stage.TURN_ENDED, now()), StageReached(1, Stage.TRANSCRIPT, now()))
        await until(3.8)
        session.emit(StageReached(1, Stage.FIRST_AUDIO, now()))
        session.say(2, "We are open from nine to five. Anything else I can do?", 4.0, 1)
        await until(6.0)
        # barge-in
        session.caller_speaks(2)
        await until(7.0)
        session.caller_said(2, "one pizza")
        session.emit(ToolCall("t1", "order", {"item": "pizza"}, 2))
        await until(7.1)
        assert [r.value for r in session.results] == [{"ok": True}]
        session.say(3, "Ordered. Goodbye!", 1.0, 2)
        await until(9.0)
        leg.hang_up()
        record = await line.over()
    assert (record.cause, record.fault, record.code) == ("completed", "nobody", "Call ended")
    greeting, question, order = record.turns
    assert (greeting.turn, greeting.heard_text, greeting.response_s) == (0, "Hello, how can I help?", None)
    assert (question.caller_text, question.interrupted) == ("when are you open", True)
    assert question.heard_text == "We are open from nine to"
    assert question.heard_s == pytest.approx(2.2, abs=0.05)
    assert question.response_s == pytest.approx(0.3, abs=0.05)
    assert sum(question.stages.values()) == pytest.approx(question.response_s)
    assert order.tools == ("order",)
    assert order.heard_text == "Ordered. Goodbye!"
    assert session.interrupted == [("r2", pytest.approx(2.2, abs=0.05))]
    assert session.heard_replies == ["r1", "r3"]
    assert session.closed
    assert line.store.begun[0].ended_at is None
    assert line.store.finished == [record]
    assert isinstance(line.seen.events[-1], CallEnded)
    assert [e.turn for e in line.seen.of(TurnAnswered)] == [1, 2]


@virtual
async def test_no_frame_of_a_cut_reply_goes_on_the_wire_at_whatever_moment_it_is_cut() -> None:
    for step in range(60):
        async with Line() as line:
            line.session.say(1, "A long sentence that goes on and on.", 3.0, ended=step % 2 == 0)
            began = now()
            await until(began + 0.003 + step * 0.007)
            line.session.caller_speaks(1)
            await until(now() + 0.001)
            flushed = line.leg.flushes[0][0]
            for _ in range(5):
                line.session.late(1)  # a model that does not stop at once
                await until(now() + 0.1)
            assert line.leg.wire(1), step
            assert max(line.leg.wire(1)) <= flushed, step
            line.leg.hang_up()
            record = await line.over()
            assert record.counters["late_audio"] == 5


@virtual
async def test_another_reply_follows_a_cut_one() -> None:
    async with Line() as line:
        line.session.say(1, "One", 3.0)
        await until(1.0)
        line.session.caller_speaks(1)
        await until(1.2)
        line.session.late(1)
        line.session.emit(ReplyText(ReplyId("r1"), "never said"))
        line.session.say(2, "Two", 0.5, 1)
        await until(2.5)
        line.leg.hang_up()
        record = await line.over()
    assert line.session.heard_replies == ["r2"]
    assert "never said" not in record.turns[0].agent_text
    assert record.counters["late_text"] == 1


@virtual
async def test_the_stop_is_told_with_its_delay_and_what_was_dropped() -> None:
    async with Line() as line:
        line.session.say(1, "Something long", 3.0)
        await until(1.0)
        line.session.caller_speaks(1)
        await until(1.5)
        (stop,) = line.seen.of(BargeIn)
        (done,) = line.seen.of(ReplyDone)
        assert stop.stop_ms < 5
        assert 0.1 < stop.dropped_s <= 0.25  # the lead, and one message over it
        given = len(b"".join(p for _, p in line.leg.sent)) / 8000
        assert done.heard_s == pytest.approx(given - stop.dropped_s, abs=0.001)


@virtual
async def test_the_far_end_is_never_filled_further_than_the_lead_and_one_message() -> None:
    async with Line() as line:
        line.session.say(1, "Long", 5.0)
        await until(4.0)
        ahead = [begins + len(p) / 8000 - at for (at, p), (begins, _) in
                 zip(line.leg.sent, line.leg.heard_payload, strict=True)]  # fmt: skip
        assert max(ahead) <= 0.2 + 0.04 + 1e-6
        assert len(line.leg.sent) < 4.4 * 30  # a message carries 40 ms


@virtual
async def test_echo_gate_is_told_how_loud_the_agent_was_in_the_last_450_ms() -> None:
    async with Line() as line:
        line.session.say(1, "Loud", 1.0)
        began = now()
        await until(3.0)
        line.leg.hang_up()
        await line.over()
    loud = [at for at, dbov in line.session.far if dbov > -96]
    assert min(loud) == pytest.approx(began, abs=0.03)
    assert max(loud) == pytest.approx(began + 1.0 + 0.45, abs=0.03)


@virtual
async def test_protected_greeting_is_not_cut_and_the_next_reply_is() -> None:
    async with Line(agent=Agent(greeting="This call is recorded", protect_greeting=True)) as line:
        line.session.say(1, "This call is recorded", 2.0)
        await until(1.0)
        line.session.caller_speaks(1)
        line.leg.press("1")
        await until(2.5)
        assert not line.leg.flushes
        assert line.session.heard_replies == ["r1"]
        line.session.say(2, "Yes?", 2.0, 1)
        await until(3.0)
        line.session.caller_speaks(2)
        await until(3.1)
        assert line.leg.flushes


@virtual
async def test_keys_interrupt_and_reach_the_session_in_order() -> None:
    async with Line() as line:
        line.session.say(1, "Press one for hours, two for orders", 3.0)
        await until(1.0)
        line.leg.press("12#")
        await until(1.5)
        assert line.session.pressed == ["1", "2", "#"]
        assert line.session.interrupted[0][0] == "r1"
        assert [e.key for e in line.seen.of(KeyPressed)] == ["1", "2", "#"]
        line.session.say(2, "Nine to five", 0.5, 1)
        await until(3.0)
        line.leg.hang_up()
        record = await line.over()
    assert record.turns[1].keys == "12#"


@virtual
async def test_keys_pressed_before_the_session_is_there_are_kept() -> None:
    async with Line(provider=FakeProvider(open_s=1.5)) as line:
        await until(0.5)
        line.leg.press("42")
        await until(2.0)
        assert line.session.pressed == ["4", "2"]


@virtual
async def test_silence_is_broken_twice_then_the_call_ends_politely() -> None:
    async with Line(limits=Limits(silence_prompt_s=8, silence_prompts=2)) as line:
        numbers = iter(range(2, 9))
        line.session.on_prompt = lambda occasion: line.session.say(next(numbers), occasion, 1.0)
        line.session.say(1, "Hello", 1.0)
        record = await line.over()
        ended = now()
    assert [occasion for occasion, _ in line.session.prompts] == ["silence", "silence", "goodbye"]
    assert (record.cause, record.fault) == ("silence", "caller")
    assert ended == pytest.approx(4 * 1 + 3 * 8 + 0.3, abs=1.0)
    assert line.session.heard_replies == ["r1", "r2", "r3", "r4"]


@virtual
async def test_a_caller_who_speaks_during_the_goodbye_for_silence_is_kept() -> None:
    async with Line(limits=Limits(silence_prompt_s=5, silence_prompts=0)) as line:
        line.session.on_prompt = lambda occasion: line.session.say(7, occasion, 3.0)
        await until(6.0)
        assert line.session.prompts == [("goodbye", "")]
        line.session.caller_speaks(1)
        await until(8.0)
        line.session.caller_said(1, "I am here")
        await until(12.0)
        assert not line.leg.ends
        record = await line.over()
    assert record.cause == "silence"


@virtual
async def test_a_speaking_caller_is_not_silent() -> None:
    async with Line(limits=Limits(silence_prompt_s=5)) as line:
        line.session.caller_speaks(1)
        await until(20)
        assert not line.session.prompts
        line.session.caller_said(1, "a long story")
        await until(26.5)
        assert line.session.prompts == [("silence", "")]


@virtual
async def test_a_reply_whose_sound_falters_is_not_silence() -> None:
    """A model that is slow by a breath: the clock for silence starts at the last sample heard, not at the reply's."""
    async with Line(limits=Limits(silence_prompt_s=5)) as line:
        line.session.say(1, "A long", 4.9, ended=False)
        await until(5.2)  # nothing is being heard when somebody looks, at 5.0
        line.session.late(1)
        await until(9.9)
        assert not line.session.prompts
        await until(11.0)
        assert line.session.prompts == [("silence", "")]


@virtual
async def test_the_longest_call_ends_with_words_within_its_limit() -> None:
    async with Line(limits=Limits(longest_call_s=60, silence_prompt_s=8)) as line:
        line.session.on_prompt = lambda occasion: occasion == "goodbye" and line.session.say(9, "Goodbye", 1.0)
        for turn in range(1, 12):
            await until(5 * turn)
            if turn < 11:
                line.session.caller_speaks(turn)
                line.session.caller_said(turn, "and another thing")
        line.session.caller_speaks(12)  # does not save the call
        record = await line.over()
        assert now() <= 60
    assert record.cause == "too_long"
    assert "r9" in line.session.heard_replies


@virtual
async def test_the_longest_call_ends_whatever_the_session_does() -> None:
    async with Line(limits=Limits(longest_call_s=30, silence_prompt_s=100)) as line:
        line.session.say(1, "On and on", 100.0)
        record = await line.over()
        assert now() == pytest.approx(30, abs=1)
    assert record.cause == "too_long"
    assert record.turns[0].interrupted


@virtual
async def test_a_tool_ends_the_call_after_the_last_words_were_heard() -> None:
    async def func(request: ToolRequest) -> Json:
        await request.call.end()
        return "ok"

    async with Line(tools=[Tool("end_call", "", {"type": "object"}, func)]) as line:
        line.session.say(1, "It was a pleasure.", 2.0)
        await until(0.5)
        line.session.emit(ToolCall("t", "end_call", {}, 0))
        await until(2.5)
        line.session.say(2, "Goodbye!", 1.0)
        record = await line.over()
        assert 3.5 < now() < 4.2
    assert (record.cause, record.turns[0].heard_text) == ("completed", "It was a pleasure. Goodbye!")


@virtual
async def test_tools_are_answered_whatever_happens_to_them() -> None:
    async def refuses(request: ToolRequest) -> Json:
        await request.call.transfer("+15550123")
        return None

    async def breaks(request: ToolRequest) -> Json:
        raise KeyError("a bug")

    tools = [
        tool("slow", "read", 99, timeout=2),
        Tool("move", "", {"type": "object"}, refuses),
        Tool("breaks", "", {"type": "object"}, breaks),
    ]
    async with Line(tools=tools) as line:
        for name in ("slow", "move", "breaks", "unknown"):
            line.session.emit(ToolCall(name, name, {}, 1))
        await until(3.0)
        errors = {result.name: result.error for result in line.session.results}
        assert set(errors) == {"slow", "move", "breaks", "unknown"}
        assert all(errors.values())
        assert "transferred" in errors["move"]
        assert {e.name: e.ok for e in line.seen.of(ToolUsed)} == dict.fromkeys(errors, False)


@virtual
async def test_a_request_that_is_repeated_runs_once() -> None:
    async with Line(tools=[tool(seconds=1.0)]) as line:
        for _ in range(2):
            line.session.emit(ToolCall("t1", "order", {"item": "pizza"}, 1))
        await until(2.0)
        assert len(line.session.results) == 1
        line.session.emit(ToolCall("t1", "order", {"item": "pizza"}, 1))
        await until(2.5)
        assert len(line.session.results) == 2
        line.session.emit(ToolCall("t2", "order", {"item": "pizza"}, 2))
        await until(4.0)
        assert [(run.id, run.turn) for run in TOOL_RUNS["order"]] == [("t1", 1), ("t2", 2)]


@virtual
async def test_a_barge_in_cancels_no_tool() -> None:
    async with Line(tools=[tool("look", "read", 1.0)]) as line:
        line.session.say(1, "Let me see", 2.0)
        line.session.emit(ToolCall("t1", "look", {}, 1))
        await until(0.5)
        line.session.caller_speaks(2)
        await until(2.0)
        assert [result.value for result in line.session.results] == [{"ok": True}]


@virtual
async def test_at_the_end_reading_tools_are_cancelled_and_writing_ones_finish() -> None:
    async with Line(tools=[tool("look", "read", 3.0), tool("order", "write", 3.0)]) as line:
        line.session.emit(ToolCall("t1", "look", {}, 1), ToolCall("t2", "order", {}, 1))
        await until(1.0)
        line.leg.hang_up()
        record = await line.over()
        assert now() == pytest.approx(3.1, abs=0.1)
    assert (len(TOOL_RUNS["look"]), len(TOOL_RUNS["order"])) == (0, 1)
    assert [e.name for e in line.seen.of(ToolUsed)] == ["order"]
    assert record.turns[-1].tools == ("order",)


@virtual
async def test_a_slow_tool_is_bridged_by_its_filler() -> None:
    async with Line(tools=[tool("look", "read", 2.0, filler="One moment")]) as line:
        line.session.emit(ToolCall("t1", "look", {}, 1))
        await until(3.0)
        assert line.session.prompts == [("say", "One moment")]


@virtual
async def test_a_quick_tool_needs_no_filler_and_leaves_none_behind() -> None:
    async with Line(tools=[tool("look", "read", 0.2, filler="One moment")]) as line:
        line.session.emit(ToolCall("t1", "look", {}, 1))
        await until(2.0)
        assert line.session.prompts == []
        line.session.emit(ToolCall("t2", "look", {}, 1))
        await until(2.1)
        line.leg.hang_up()
        await line.over()
        assert now() < 2.2


@virtual
async def test_digits_are_played_to_the_far_end() -> None:
    async def keys(request: ToolRequest) -> Json:
        with pytest.raises(ToolError, match="keys"):
            await request.call.send_digits("1x")
        await request.call.send_digits("12")
        return "ok"

    async with Line(tools=[Tool("dial", "", {"type": "object"}, keys)]) as line:
        line.session.emit(ToolCall("t", "dial", {}, 0))
        await until(2.0)
        assert line.session.results[0].value == "ok"
        assert sum(len(p) for _, p in line.leg.sent) / 8000 == pytest.approx(0.3, abs=0.15)
        assert not line.seen.of(ReplyOnWire)
        assert not line.session.heard_replies


@virtual
async def test_a_mark_that_never_comes_back_does_not_keep_a_reply_for_ever() -> None:
    async with Line(leg=FakeLeg(marks=False)) as line:
        line.session.say(1, "Hello", 1.0)
        await until(6.0)
        assert line.session.heard_replies == ["r1"]
        line.leg.hang_up()
        record = await line.over()
    assert record.counters["marks_lost"] == 1


@virtual
async def test_a_reply_without_sound_was_not_heard() -> None:
    async with Line() as line:
        line.session.say(1, "The voice failed", 0.0)
        line.session.say(2, "", 0.5)
        await until(1.5)
        assert line.session.interrupted == [("r1", 0.0)]
        assert line.session.heard_replies == ["r2"]
        assert line.seen.of(ReplyDone)[0].heard_text == ""


@virtual
async def test_a_session_that_is_lost_is_replaced_once_and_does_not_greet_again() -> None:
    async with Line(agent=Agent(greeting="Welcome")) as line:
        line.session.say(1, "Welcome", 1.0)
        await until(2.0)
        line.session.emit(SessionLost("socket closed", retryable=True))
        second = await line.provider.session(1)
        assert second.brief.greeting.startswith("Sorry")
        assert second.brief.context["history"] == [{"caller": "", "agent": "Welcome"}]
        second.say(1, "Sorry", 0.5)
        await until(3.5)
        assert second.heard_replies == ["r1"]  # the same id again, of another session
        assert line.provider.sessions[0].closed
        second.emit(SessionLost("again", retryable=True))
        record = await line.over()
    assert (record.cause, record.fault, record.code) == ("provider_failed", "provider", "again")
    assert line.provider.opened == 2
    assert {p[0] for _, p in line.leg.sent if now() > 3.6} - {wire_byte(1)}, "a tone was played"


@virtual
async def test_no_session_at_all_ends_with_a_tone() -> None:
    provider = FakeProvider()
    provider.failures = [ProviderError("quota", code="429")]
    async with Line(provider=provider) as line:
        record = await line.over()
    assert (record.cause, record.fault) == ("provider_failed", "provider")
    assert sum(len(p) for _, p in line.leg.sent) == 16000
    assert line.leg.ends[-1][1] is EndCause.PROVIDER_FAILED


@virtual
@pytest.mark.parametrize(
    ("opening_s", "words"), [(60.0, "no session within 10 s"), (0.05, "the session timed out: no pong")]
)
async def test_only_the_opening_says_that_there_was_no_session(opening_s: float, words: str) -> None:
    provider = FakeProvider(open_s=opening_s)

    def times_out(session: FakeSession) -> None:
        session.breaks = TimeoutError("no pong")

    provider.script = times_out
    async with Line(provider=provider, failure=Failure(give_up_s=30), phrases=PHRASES) as line:
        record = await line.over()
    assert (record.cause, record.code) == ("provider_failed", words)


@virtual
async def test_a_session_that_takes_no_word_is_lost() -> None:
    async with Line() as line:
        line.session.stuck = True
        line.leg.press("1")
        second = await line.provider.session(1)
        assert now() < 3
        line.leg.press("2")
        await until(4)
        assert second.pressed == ["2"]


@virtual
async def test_media_that_stops_without_a_goodbye_ends_the_call() -> None:
    async with Line() as line:
        await until(1.0)
        line.leg.vanish()
        record = await line.over()
        assert now() == pytest.approx(3.0, abs=0.1)
    assert (record.cause, record.fault) == ("media_lost", "carrier")


@virtual
async def test_who_leaves_before_anything_was_said_to_the_end_has_abandoned() -> None:
    async with Line() as line:
        line.session.say(1, "Hello, this is the demonstration line", 3.0)
        await until(1.0)
        line.leg.hang_up()
        record = await line.over()
    assert (record.cause, record.fault) == ("abandoned", "caller")
    assert record.turns[0].heard_s == pytest.approx(0.95, abs=0.1)
    assert record.turns[0].interrupted


@virtual
async def test_operator_hangs_up_and_speaks() -> None:
    async with Line() as line:
        (call,) = line.board.live()
        assert await line.board.say(call.id, "One more thing")
        await until(0.5)
        assert line.session.prompts == [("say", "One more thing")]
        timeline = line.board.timeline(call.id)
        assert timeline is not None
        assert timeline.outcome == ""
        assert line.board.hang_up(call.id)
        record = await line.over()
        assert not line.board.hang_up(call.id)
        assert not await line.board.say(call.id, "too late")
    assert record.cause == "operator"


@virtual
async def test_oddities_usage_and_counters_reach_the_record() -> None:
    async with Line() as line:
        line.leg.post(Oddity("bad_json", "x" * 500))
        line.leg.counters["concealed_ms"] = 40
        line.session.emit(Usage("stt", {"seconds": 1.5}), Usage("stt", {"seconds": 0.5}))
        await until(0.5)
        line.leg.hang_up()
        record = await line.over()
    assert record.usage == {"stt.seconds": 2.0}
    assert record.counters["concealed_ms"] == 40
    assert len(line.seen.of(Odd)[0].detail) == 200


@virtual
async def test_where_the_caller_stopped_is_told_in_wire_time() -> None:
    async with Line(provider=FakeProvider(open_s=0.9)) as line:
        session = await line.provider.session()
        await until(3.0)
        heard = session.heard_s
        session.caller_speaks(1)
        await until(3.7)
        session.emit()
        from trunkline.ai.session import CallerStoppedSpeaking

        session.emit(CallerStoppedSpeaking(1, heard))
        await until(3.8)
        assert line.seen.of(CallerSilent)[0].at_s == pytest.approx(3.0, abs=0.05)


@virtual
async def test_a_broken_session_ends_its_call_only_and_is_our_fault(capsys: pytest.CaptureFixture[str]) -> None:
    async with Line() as line:

        async def bug(frame: object, far_dbov: float) -> None:
            raise ZeroDivisionError

        line.session.hear = bug  # type: ignore[assignment]
        record = await line.over()
    assert (record.cause, record.fault) == ("internal", "us")
    assert line.leg.ends[0][1] is EndCause.INTERNAL
    assert line.store.finished == [record]


@virtual
async def test_a_store_that_is_down_costs_no_call() -> None:
    async with Line() as line:
        line.store.down = True
        line.session.say(1, "Hello", 0.5)
        await until(1.0)
        assert line.session.heard_replies == ["r1"]
        line.leg.hang_up()
        assert (await line.over()).cause == "completed"


@virtual
async def test_a_cancelled_call_is_still_hung_up_and_recorded() -> None:
    async with Line() as line:
        await until(1.0)
        line.cancel()
        with pytest.raises(asyncio.CancelledError):
            await line.over()
    assert line.leg.ends
    assert line.store.finished[0].cause == "internal"


@pytest.mark.parametrize("start", [0.0, 0.017, 0.033])
def test_a_hang_up_at_every_moment_is_recorded_and_leaves_nothing_behind(start: float) -> None:
    """Sweeps the hang-up through a busy call in 50 ms steps; `run` fails when a task is left."""

    async def call(hang_up_at: float) -> None:
        async with Line(tools=[tool("order", "write", 0.3), tool("look", "read", 0.3)]) as line:
            task = asyncio.get_running_loop().create_task(busy(line), name="script")
            await until(hang_up_at)
            line.leg.hang_up()
            record = await line.over()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert record.cause in ("completed", "abandoned")
        assert record.ended_at is not None
        assert line.store.finished == [record]
        assert line.board.active == 0
        assert all(session.closed for session in line.provider.sessions)

    async def busy(line: Line) -> None:
        line.session.say(1, "Hello there", 0.5)
        await until(0.4)
        line.leg.press("1")
        line.session.emit(ToolCall("a", "order", {}, 1), ToolCall("b", "look", {}, 1))
        await until(0.8)
        line.session.say(2, "A long answer", 1.0, 1)
        await until(1.1)
        line.session.caller_speaks(2)
        await until(1.3)
        line.session.emit(SessionLost("gone", retryable=True))
        (await line.provider.session(1)).say(1, "Sorry", 0.3, 2)

    for step in range(45):
        run(call(start + 0.05 * step))


@pytest.mark.parametrize("how", ["cancel", "vanish", "operator", "drain"])
def test_every_other_end_at_every_moment_is_recorded_and_leaves_nothing_behind(how: str) -> None:
    async def call(moment: float) -> None:
        async with Line(tools=[tool("order", "write", 0.3)]) as line:
            await until(0.1)
            line.session.say(1, "Hello there", 0.3)
            line.session.emit(ToolCall("a", "order", {}, 1))
            asyncio.get_running_loop().call_later(0.5, line.session.say, 2, "A long answer", 1.0, 1)
            await until(moment)
            (live,) = line.board.live()
            if how == "cancel":
                line.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await line.over()
            elif how == "vanish":
                line.leg.vanish()
            elif how == "operator":
                line.board.hang_up(live.id)
            else:
                await line.board.drain(0.01)
            if how != "cancel":
                await line.over()
            await asyncio.sleep(1)
        causes = {"cancel": "internal", "vanish": "media_lost", "operator": "operator", "drain": "drained"}
        assert [(record.id, record.cause) for record in line.store.finished] == [(live.id, causes[how])]
        assert line.leg.ends or how == "vanish"
        assert line.board.active == 0

    for step in range(30):
        run(call(0.11 + 0.05 * step))


@virtual
async def test_on_hold_nobody_is_asked_whether_they_are_there() -> None:
    async with Line(limits=Limits(silence_prompt_s=5)) as line:
        line.leg.post(Held())
        await until(60)
        assert line.session.prompts == []
        line.leg.post(Resumed())
        await until(66)
        assert line.session.prompts == [("silence", "")]


def test_a_leaked_task_is_found() -> None:
    """The bug is planted: a filler that nobody cancels."""

    async def call() -> None:
        async with Line() as line:
            line.leg.hang_up()
            line.planted = asyncio.get_running_loop().create_task(asyncio.sleep(60), name="filler")  # type: ignore[attr-defined]
            await line.over()

    with pytest.raises(AssertionError, match="filler"):
        run(call())


@virtual
async def test_the_recording_holds_both_voices_in_call_time_and_only_what_was_heard(tmp_path: Path) -> None:
    import wave

    import numpy as np

    async with Line(agent=Agent(greeting="Hi", record=True), data_dir=tmp_path) as line:
        await until(1.0)
        line.session.say(1, "Something that will be cut", 4.0)
        await until(2.5)
        line.session.caller_speaks(1)
        await until(5.0)
        line.leg.hang_up()
        record = await line.over()
    with wave.open(str(tmp_path / "recordings" / record.recording)) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 8000)
        both = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2)
    assert len(both) / 8000 == pytest.approx(5.0, abs=0.1)
    agent = np.flatnonzero(both[:, 1]) / 8000
    assert agent[0] == pytest.approx(1.0, abs=0.03)
    assert agent[-1] == pytest.approx(2.5, abs=0.03)
    assert not both[:, 0].any()


@virtual
async def test_notes_tell_what_the_policy_did() -> None:
    async with Line(limits=Limits(silence_prompt_s=2, silence_prompts=1)) as line:
        await line.over()
    assert [note.kind for note in line.seen.of(Note)] == ["silence_prompt", "farewell"]


@virtual
async def test_a_request_after_the_end_is_harmless() -> None:
    async with Line() as line:
        line.leg.hang_up()
        await line.over()
        line.board.hang_up("call_unknown")
        assert SendDigits("1").keys == "1"
