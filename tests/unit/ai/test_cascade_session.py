"""The cascade session in virtual time: turns, barge-in, merging, resuming, tools, losses, lifetimes."""

import asyncio

import pytest

from tests.fakes.speech import SPEECH, ScriptedModel, Stage, asks_tool, parrot
from tests.virtual_time import clock, virtual
from trunkline.ai.cascade.protocols import ModelState, ModelToolCall, TextDelta, Transcript
from trunkline.ai.cascade.session import AS_I_WAS_SAYING, LOST_EARS, LOST_THREAD, open_cascade
from trunkline.ai.session import (
    Brief,
    CallerSaid,
    CallerStartedSpeaking,
    CallerStoppedSpeaking,
    ReplyAudio,
    ReplyEnded,
    ReplyId,
    ReplyStarted,
    ReplyText,
    SessionLost,
    StageReached,
    ToolCall,
    Usage,
)
from trunkline.ai.session import Stage as Moment
from trunkline.ai.tools import Tool, ToolResult
from trunkline.codecs.frame import AudioFrame
from trunkline.errors import ProviderError, UsageError

LONG = "One two three four five. Six seven eight nine ten. Eleven twelve thirteen fourteen."


def stage(think=parrot) -> Stage:
    return Stage(clock(), ScriptedModel(think))


def says(*texts: str):
    return lambda history: [TextDelta(text + " ") for text in texts]


@virtual
async def test_a_turn_from_speech_to_speech() -> None:
    script = stage()
    async with script.line() as line:
        await line.quiet(0.5)
        await line.says("hello there")
        await line.until_quiet()
    kinds = [type(event) for event in line.of(CallerStartedSpeaking, CallerStoppedSpeaking, ReplyStarted, ReplyEnded)]
    assert kinds == [CallerStartedSpeaking, CallerStoppedSpeaking, ReplyStarted, ReplyEnded]
    assert [e for e in line.of(CallerSaid) if e.final] == [CallerSaid(1, "hello there", True, 0.9)]
    assert line.texts() == ["You said hello there.", "What else?"]
    assert line.ended() == ["r1"]
    started = line.of(ReplyStarted)
    assert started == [ReplyStarted(ReplyId("r1"), 1)]
    assert script.model.histories[-1][-1].text == "hello there"


@virtual
async def test_stages_come_in_order_and_sum_up() -> None:
    script = stage()
    script.recogniser.delay_s = 0.02
    async with script.line() as line:
        await line.quiet(0.32)
        await line.says("hello")
        await line.until_quiet()
    at = {event.stage: event.at for event in line.of(StageReached)}
    assert list(at) == list(Moment)
    assert list(at.values()) == sorted(at.values())
    assert at[Moment.SPEECH_ENDED] == pytest.approx(1.32, abs=0.04)
    assert at[Moment.TURN_ENDED] - at[Moment.SPEECH_ENDED] == pytest.approx(0.6, abs=0.04)
    assert at[Moment.TRANSCRIPT] - at[Moment.TURN_ENDED] == pytest.approx(0.02, abs=0.001)
    assert at[Moment.FIRST_AUDIO] - at[Moment.FIRST_CLAUSE] == pytest.approx(0.03, abs=0.001)


@virtual
async def test_the_recogniser_gets_the_pre_roll() -> None:
    script = stage()
    async with script.line() as line:
        await line.quiet(1.0)
        await line.says("hello", seconds=1.0)
    (heard,) = script.recogniser.fed
    assert heard.startswith(bytes(2 * 4800)), "300 ms and more of what was before the onset"
    assert len(heard) - len(heard.lstrip(b"\0")) < 2 * 8000
    assert heard.count(b"\x20") == 16000, "all of the speech, and nothing twice"


@virtual
async def test_greeting_is_spoken_first_and_unasked() -> None:
    script = stage()
    async with script.line(Brief("c", "a", greeting="Hello. This is a machine.")) as line:
        await line.until_quiet()
    assert line.texts() == ["Hello.", "This is a machine."]
    assert line.of(ReplyStarted) == [ReplyStarted(ReplyId("r1"), 0)]
    assert script.model.histories == []


@virtual
async def test_audio_never_runs_more_than_two_seconds_ahead() -> None:
    script = stage(says(LONG * 3))
    async with script.line() as line:
        await line.says("go")
        await line.until_quiet()
    begin, given = 0.0, 0.0
    for at, event in zip(line.times, line.events, strict=True):
        if isinstance(event, ReplyAudio):
            begin = begin or at
            given += event.frame.seconds
            assert given <= at - begin + 2.0 + 0.021
    assert given > 10


@virtual
async def test_synthesis_is_ahead_by_two_clauses_and_no_more() -> None:
    script = stage(says(*[f"This is sentence number {i} of many." for i in range(20)]))
    async with script.line() as line:
        await line.says("go")
        await line.quiet(3.0)
        given = len(line.texts())
        assert 1 <= len(script.voice.begun) - given <= 3


@virtual
async def test_partials_come_while_the_caller_speaks() -> None:
    script = stage()
    async with script.line() as line:
        await line.says("one two three four five six", seconds=2.0)
    partials = [event.text for event in line.of(CallerSaid) if not event.final]
    assert len(partials) > 2
    assert partials == sorted(partials, key=len)


# --- barge-in -----------------------------------------------------------------------------------------------------


@virtual
async def test_after_an_interruption_nothing_of_the_reply_comes_and_history_keeps_what_was_heard() -> None:
    script = stage(says(LONG))
    async with script.line() as line:
        await line.says("go")
        await line.quiet(1.6)
        await line.says("stop it", seconds=1.0)
        at = next(i for i, e in enumerate(line.events) if isinstance(e, CallerStartedSpeaking) and e.turn == 2)
        await line.until_quiet()
    after = [e for e in line.events[at + 1 :] if isinstance(e, ReplyAudio | ReplyText | ReplyEnded | ReplyStarted)]
    assert all(event.reply != "r1" for event in after)
    assert line.ended() == ["r2"]
    agent = next(entry for entry in script.model.histories[1] if entry.role == "agent")
    assert agent.interrupted
    assert LONG.startswith(agent.text)
    assert 0 < len(agent.text) < 45
    share = line.cut[ReplyId("r1")] / script.voice.per_character_s
    assert len(agent.text) == pytest.approx(share, abs=8), "within a word of what the seconds say"


@virtual
async def test_interruption_ends_generation_and_synthesis() -> None:
    script = stage(lambda history: [TextDelta("This is a first sentence. "), 9.0, TextDelta("Never said. ")])
    async with script.line() as line:
        await line.says("go")
        await line.quiet(1.0)
        line.recogniser.script.append(Transcript("stop", 0.9))
        await line.sound(SPEECH, 0.6)
        assert script.model.cancelled == 1
        await line.quiet(12.0)
    assert "Never said." not in script.voice.begun[:1]


@virtual
async def test_interrupt_of_an_unknown_or_old_reply_is_harmless() -> None:
    script = stage()
    async with script.line() as line:
        await line.session.interrupt(ReplyId("nonsense"), 1.0)
        await line.says("hello")
        await line.until_quiet()
        await line.session.interrupt(ReplyId("r1"), 0.5)
        await line.session.interrupt(ReplyId("r1"), 0.5)
        await line.says("again")
        await line.until_quiet()
    assert line.ended() == ["r1", "r2"]
    assert next(e for e in script.model.histories[1] if e.role == "agent").interrupted


@virtual
async def test_a_caller_who_goes_on_before_the_reply_gets_one_answer() -> None:
    script = stage(lambda history: [0.5, *parrot(history)])
    async with script.line() as line:
        await line.says("i would like", quiet=0.7)  # the turn ends at 0.6 s; the model is still thinking
        await line.says("two pizzas")
        await line.until_quiet()
    assert line.texts()[0] == "You said i would like two pizzas."
    assert script.model.cancelled == 1
    assert len(line.of(ReplyStarted)) == 1
    assert [e.text for e in script.model.histories[-1]] == ["i would like two pizzas"]


@virtual
async def test_a_caller_who_goes_on_at_the_replys_first_sound_gets_one_answer() -> None:
    script = stage()
    async with script.line() as line:
        await line.says("i would like", quiet=0.7)
        await line.says("two pizzas")
        await line.until_quiet()
    assert len(line.of(ReplyStarted)) == 2, "the first had begun, and was cut"
    assert line.cut[ReplyId("r1")] < 0.4
    assert line.texts()[-2:] == ["You said i would like two pizzas.", "What else?"]


@virtual
async def test_a_noise_does_not_take_the_answer_away() -> None:
    """The second half is a cough: the first half is answered all the same."""
    script = stage(lambda history: [0.5, *parrot(history)])
    async with script.line() as line:
        await line.says("what time is it", quiet=0.7)
        await line.says("", accepted=False, seconds=0.3)
        await line.until_quiet()
    assert line.texts()[0] == "You said what time is it."


@virtual
async def test_a_turn_that_used_a_tool_is_not_merged() -> None:
    script = stage(asks_tool("place_order", {}))
    async with script.line() as line:

        async def answer(call: ToolCall) -> ToolResult:
            return ToolResult(call.id, call.name, value="ok")

        line.answer = answer
        await line.says("order", quiet=0.75)
        await line.says("and", quiet=1.0)
        await line.until_quiet()
    texts = [entry.text for entry in script.model.histories[-1] if entry.role == "caller"]
    assert texts == ["order", "and"]
    assert [call.turn for call in line.of(ToolCall)] == [1, 2]


@virtual
@pytest.mark.parametrize(
    ("words", "seconds", "goes_on"), [("mumble", 1.5, False), ("mumble", 0.4, True), ("", 1.5, True)]
)
async def test_a_sentence_that_was_not_understood_is_asked_for_not_talked_over(
    words: str, seconds: float, goes_on: bool
) -> None:
    script = stage(says(LONG))
    async with script.line() as line:
        await line.says("go")
        await line.quiet(2.2)
        await line.says(words, accepted=False, seconds=seconds)
        await line.until_quiet()
    assert any(text.startswith(AS_I_WAS_SAYING) for text in line.texts()) == goes_on
    heard = [entry.text for entry in script.model.histories[-1] if entry.role == "caller"]
    assert heard == (["go"] if goes_on else ["go", words])


@virtual
async def test_a_cough_during_a_reply_resumes_it_where_it_was_cut() -> None:
    script = stage(says(LONG))
    async with script.line() as line:
        await line.says("go")
        await line.quiet(2.2)  # "One two three four five." takes 1.44 s
        await line.says("", accepted=False, seconds=0.3)
        await line.until_quiet()
    assert line.texts()[-2:] == [f"{AS_I_WAS_SAYING} Six seven eight nine ten.", "Eleven twelve thirteen fourteen."]
    assert script.judge.mistakes == 1
    assert len(script.model.histories) == 1, "the model was not asked again"


@virtual
async def test_a_resumed_reply_still_uses_its_tool_once() -> None:
    def think(history):
        if history[-1].role == "tool_result":
            return []
        return [TextDelta(LONG + " "), ModelToolCall("x1", "end_call", {})]

    script = stage(think)
    async with script.line() as line:

        async def answer(call: ToolCall) -> ToolResult:
            return ToolResult(call.id, call.name)

        line.answer = answer
        await line.says("bye")
        await line.quiet(1.0)
        await line.says("", accepted=False, seconds=0.3)
        await line.until_quiet()
    assert [call.id for call in line.of(ToolCall)] == ["x1"]
    audio = [i for i, event in enumerate(line.events) if isinstance(event, ReplyAudio)]
    call = next(i for i, event in enumerate(line.events) if isinstance(event, ToolCall))
    assert call > audio[-1], "the call ends when all was given out"


@virtual
async def test_a_resumed_reply_does_not_use_again_the_tool_that_it_used() -> None:
    def think(history):
        if history[-1].role == "tool_result":
            return [TextDelta("That was the tool.")]
        return [TextDelta("One two three four five. "), ModelToolCall("x1", "place_order", {})]

    script = stage(think)
    async with script.line() as line:

        async def answer(call: ToolCall) -> ToolResult:
            return ToolResult(call.id, call.name)

        line.answer = answer
        await line.says("order")
        await line.quiet(0.3)  # all has been given out, and the tool used, but little of it heard
        assert len(line.of(ToolCall)) == 1
        await line.says("", accepted=False, seconds=0.3)
        await line.until_quiet()
    assert len(line.of(ToolCall)) == 1
    assert line.texts()[-2:] == ["One two three four five.", "That was the tool."]


@virtual
async def test_a_rejected_turn_without_a_cut_goes_to_the_model() -> None:
    script = stage(says("Sorry?"))
    async with script.line() as line:
        await line.says("mumble", accepted=False)
        await line.until_quiet()
    assert not script.model.histories[0][-1].accepted
    assert line.texts() == ["Sorry?"]


# --- keys, prompts, hints -----------------------------------------------------------------------------------------


@virtual
async def test_a_key_is_an_answer() -> None:
    script = stage()
    async with script.line() as line:
        await line.session.press("1")
        await line.until_quiet()
    entry = script.model.histories[0][-1]
    assert (entry.role, entry.text) == ("key", "1")
    assert line.texts()[0] == "You said 1."
    assert line.of(ReplyStarted) == [ReplyStarted(ReplyId("r1"), 1)]


@virtual
async def test_keys_are_turns_of_their_own_so_that_a_second_order_by_keys_is_a_second_order() -> None:
    script = stage(asks_tool("place_order", {}))
    async with script.line() as line:

        async def answer(call: ToolCall) -> ToolResult:
            return ToolResult(call.id, call.name)

        line.answer = answer
        await line.says("hello")
        await line.until_quiet()
        for key in "44":
            await line.session.press(key)
            await line.until_quiet()
    assert [call.turn for call in line.of(ToolCall)] == [1, 2, 3]


@virtual
async def test_a_key_in_the_middle_of_speech_leaves_the_spoken_turn_alone() -> None:
    script = stage()
    async with script.line() as line:
        line.recogniser.script.append(Transcript("hello", 0.9))
        await line.sound(SPEECH, 0.5)
        await line.session.press("1")
        await line.sound(SPEECH, 0.5)
        await line.quiet(0.8)
        await line.until_quiet()
    assert [event.turn for event in line.of(CallerStartedSpeaking, CallerStoppedSpeaking)] == [1, 1]
    assert [event for event in line.of(CallerSaid) if event.final] == [CallerSaid(1, "hello", True, 0.9)]


@virtual
async def test_say_is_verbatim_and_in_turn() -> None:
    script = stage()
    async with script.line(Brief("c", "a", greeting="Good day to you.")) as line:
        await line.session.prompt("say", "Dr. Who has $4.50. Really?")
        await line.until_quiet()
    assert line.texts() == ["Good day to you.", "Dr. Who has $4.50.", "Really?"]
    assert line.ended() == ["r1", "r2"]


@virtual
async def test_silence_and_goodbye_are_the_models_unless_worded() -> None:
    script = stage(lambda history: [TextDelta(f"About {history[-1].text}.")])
    async with script.line() as line:
        await line.session.prompt("silence")
        await line.session.prompt("goodbye", "Bye then.")
        await line.until_quiet()
    assert line.texts() == ["About silence.", "Bye then."]


@virtual
async def test_the_models_state_reaches_recogniser_and_judge() -> None:
    script = stage()
    script.model.hint = ModelState("yes_no", 0.35)
    async with script.line() as line:
        await line.says("hello")
        await line.until_quiet()
    assert script.recogniser.expected[-1] == "yes_no"
    assert script.judge.patiences[-1] == 0.35


@virtual
async def test_an_empty_reply_is_no_reply() -> None:
    script = stage(lambda history: [])
    async with script.line() as line:
        await line.session.press("4")
        await line.quiet(1.0)
    assert line.of(ReplyStarted, ReplyEnded) == []


# --- tools --------------------------------------------------------------------------------------------------------


@virtual
async def test_tool_round_trip_within_one_reply() -> None:
    script = stage(asks_tool("clock", {"zone": "UTC"}))
    async with script.line() as line:

        async def answer(call: ToolCall) -> ToolResult:
            return ToolResult(call.id, call.name, value="noon")

        line.answer = answer
        await line.says("what time is it")
        await line.until_quiet()
    assert line.of(ToolCall) == [ToolCall("c0", "clock", {"zone": "UTC"}, 1)]
    assert line.texts() == ["Let me see.", "It says noon."]
    assert line.ended() == ["r1"]
    assert [e.role for e in script.model.histories[-1]] == ["caller", "agent", "tool_call", "tool_result"]


@virtual
async def test_a_word_said_while_a_tool_runs_is_said_then() -> None:
    script = stage(asks_tool("slow", {}))
    async with script.line() as line:

        async def answer(call: ToolCall) -> ToolResult:
            await asyncio.sleep(0)
            return ToolResult(call.id, call.name, value="done")

        await line.says("go")
        await line.quiet(1.5)
        await line.session.prompt("say", "One moment, please.")
        await line.quiet(3.0)
        call = line.of(ToolCall)[0]
        assert isinstance(call, ToolCall)
        await line.session.resolve(await answer(call))
        await line.until_quiet()
    assert line.texts() == ["Let me see.", "One moment, please.", "It says done."]


@virtual
async def test_a_tool_that_is_never_answered_is_told_so() -> None:
    tool = Tool("slow", "", {"type": "object"}, None, timeout=2.0)  # type: ignore[arg-type]
    script = stage(asks_tool("slow", {}))
    async with script.line(Brief("c", "a", tools=(tool,))) as line:
        await line.says("go")
        await line.quiet(12.0)
    assert line.texts()[-1] == "It says There was no answer in time.."


@virtual
async def test_an_answer_that_comes_after_the_cut_is_known_to_the_next_turn() -> None:
    script = stage(asks_tool("place_order", {}))
    async with script.line() as line:
        await line.says("order")
        await line.quiet(1.0)
        call = line.of(ToolCall)[0]
        line.recogniser.script.append(Transcript("hello", 0.9))
        await line.sound(SPEECH, 0.5)
        await line.session.resolve(ToolResult(call.id, "place_order", value="ORD-1"))
        await line.quiet(1.0)
    roles = [(e.role, e.text) for e in script.model.histories[1]]
    assert ("tool_result", "place_order") in roles
    assert roles[-1] == ("caller", "hello")
    assert line.ended()[0] == "r1"


@virtual
async def test_an_unasked_answer_is_ignored() -> None:
    async with stage().line() as line:
        await line.session.resolve(ToolResult("ghost", "x"))


# --- what fails ---------------------------------------------------------------------------------------------------


@virtual
async def test_a_lost_recogniser_asks_again_and_works_again() -> None:
    script = stage()
    script.recogniser.script.append(ProviderError("gone", retryable=True))
    async with script.line() as line:
        await line.sound(SPEECH, 0.5)
        await line.quiet(0.7)
        await line.until_quiet()
        await line.says("now then")
        await line.until_quiet()
    assert line.spoken().startswith(LOST_EARS + " You said now then.")


@virtual
async def test_a_failed_model_apologises_and_at_the_third_time_the_session_is_lost() -> None:
    script = stage(lambda history: [ProviderError("overloaded", retryable=True)])
    async with script.line() as line:
        for word in ("one", "two", "three"):
            await line.says(word)
            await line.until_quiet()
    assert line.spoken().startswith(LOST_THREAD)
    assert line.spoken().count(LOST_THREAD) == 2
    assert line.events[-1] == SessionLost("overloaded", retryable=True)


@virtual
async def test_a_voice_that_fails_for_good_loses_the_session() -> None:
    script = stage()
    script.voice.fails.extend(ProviderError("mute", retryable=True) for _ in range(10))
    async with script.line() as line:
        for word in ("one", "two", "three"):
            await line.says(word)
            await line.until_quiet(3.0)
    assert line.events[-1] == SessionLost("mute", retryable=True)


@virtual
async def test_a_bug_in_a_part_loses_the_session_and_nothing_else() -> None:
    script = stage(lambda history: [ZeroDivisionError("bug")])
    async with script.line() as line:
        await line.says("hello")
        await line.quiet(0.5)
    assert isinstance(line.events[-1], SessionLost)
    assert not line.events[-1].retryable


@virtual
async def test_a_slow_recogniser_drops_and_counts_and_never_holds_up_hearing() -> None:
    script = stage()
    script.recogniser.feed_delay_s = 0.1
    async with script.line() as line:
        began = clock().monotonic()
        await line.sound(SPEECH, 3.0)
        assert clock().monotonic() - began == pytest.approx(3.0, abs=0.01)
        assert line.session.hearing.dropped_s > 1.0


@virtual
async def test_audio_that_stops_ends_the_turn() -> None:
    script = stage()
    async with script.line() as line:
        line.recogniser.script.append(Transcript("hello", 0.9))
        await line.sound(SPEECH, 0.6)
        await asyncio.sleep(2.0)
        assert line.of(CallerStoppedSpeaking)
        assert line.texts()[0] == "You said hello."


@virtual
async def test_a_consumer_that_takes_nothing_stops_the_speech_not_the_ears() -> None:
    script = stage(says(LONG * 2))
    async with open_cascade(script.parts(), Brief("c", "a", greeting=LONG * 2)) as session:
        for _ in range(500):
            await session.hear(AudioFrame(SPEECH, 16000))
            await asyncio.sleep(0.02)
        session.close()
        waiting = [event async for event in session.events()]
    given = sum(event.frame.seconds for event in waiting if isinstance(event, ReplyAudio))
    assert given == pytest.approx(2.0, abs=0.03)
    assert any(isinstance(event, CallerStartedSpeaking) for event in waiting)


@virtual
async def test_another_rate_is_a_usage_error() -> None:
    async with stage().line() as line:
        with pytest.raises(UsageError, match="8000 Hz given, 16000 Hz wanted"):
            await line.session.hear(AudioFrame(bytes(320), 8000))


@virtual
async def test_too_many_keys_are_dropped_not_kept() -> None:
    script = stage(says(LONG))
    async with script.line() as line:
        for _ in range(100):
            await line.session.press("5")
        assert line.session.answering.waiting == 32


# --- lifetime -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("after", [0.0, 0.3, 1.0, 1.7, 1.75, 2.5, 4.0])
@virtual
async def test_closing_at_any_moment_leaves_no_task_and_no_stream(after: float) -> None:
    script = stage(asks_tool("never", {}))
    before = asyncio.all_tasks()
    async with script.line(Brief("c", "a", greeting="Hello.")) as line:
        line.recogniser.script.append(Transcript("hello", 0.9))
        await line.sound(SPEECH, min(after, 1.0))
        await line.quiet(max(0.0, after - 1.0))
    assert asyncio.all_tasks() == before
    assert script.recogniser.open_streams == 0
    seen = len(line.events)
    await line.session.hear(AudioFrame(SPEECH, 16000))
    await line.session.press("1")
    await line.session.prompt("say", "x")
    await line.session.interrupt(ReplyId("r1"), 0.0)
    await asyncio.sleep(1.0)
    assert len(line.events) == seen


@virtual
async def test_an_error_of_the_calls_own_comes_out_as_it_is() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        async with stage().line():
            raise KeyError("the call's")
    assert caught.group_contains(KeyError, match="the call's", depth=1), "wrapped once, by the test's own group"


@virtual
async def test_usage_is_told() -> None:
    script = stage()
    async with script.line() as line:
        await line.says("hello")
        await line.until_quiet()
    assert line.of(Usage) == [Usage("scripted", {"tts_characters": 25.0})]
