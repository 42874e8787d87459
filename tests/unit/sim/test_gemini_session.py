"""The simulated Gemini's conversation, in virtual time: orders of messages, interruption, tools, lifetime."""

import base64
import itertools
from typing import Any

import pytest

from tests.unit.sim.gemini_rig import SETUP, Rig, babble, silence, upsampled
from trunkline_sim.gemini_scenario import Fault, Rule, Scenario, ToolUse
from trunkline_sim.gemini_stage import Close, Freeze, Memories, Reset
from trunkline_sim.gemini_voice import listen

pytestmark = pytest.mark.slow

HOURS, PIZZA = "what are your opening hours", "i would like a pizza"
CLIPS = {HOURS: babble(1, 0.8), PIZZA: babble(2, 0.8)}
LONG = Scenario(rules=(Rule(match="hours", say="we are open from nine to five every day of the week"),))


def _rig(scenario: Scenario | None = None, **more: Any) -> Rig:
    return Rig(scenario, CLIPS, **more)


def _text(text: str) -> dict[str, Any]:
    return {"realtimeInput": {"text": text}}


def _turn(text: str, complete: bool = True) -> dict[str, Any]:
    return {"client_content": {"turns": [{"role": "user", "parts": [{"text": text}]}], "turn_complete": complete}}


def test_an_understood_sentence_is_answered_and_transcribed() -> None:
    rig = _rig().open(inputAudioTranscription={}, outputAudioTranscription={})
    rig.say(CLIPS[HOURS])
    rig.wait(5)
    assert rig.log.heard == [HOURS]
    assert "".join(part["text"] for part in rig.of("serverContent", "inputTranscription")) == HOURS
    assert "".join(part["text"] for part in rig.of("serverContent", "outputTranscription")) == f"You said: {HOURS}"
    assert {block.reply for block in listen(rig.spoken(), 24_000)} == {1}


def test_the_end_of_a_turn_waits_for_the_playout_that_generation_does_not() -> None:
    rig = _rig(LONG).open()
    rig.say(CLIPS[HOURS])
    rig.wait(6)
    first = rig.when("serverContent", "modelTurn")[0]
    (generated,) = rig.when("serverContent", "generationComplete")
    (complete,) = rig.when("serverContent", "turnComplete")
    seconds = len(rig.spoken()) / 48_000
    assert generated - first == pytest.approx(seconds / 4, abs=0.3)
    assert complete - first == pytest.approx(seconds)
    usage = rig.of("usageMetadata")[0]
    assert usage["responseTokenCount"] == round(25 * seconds)
    assert usage["totalTokenCount"] == usage["promptTokenCount"] + usage["responseTokenCount"]


@pytest.mark.parametrize("damage", ["swapped", "half rate", "labelled 8000"])
def test_damaged_audio_is_not_answered(damage: str) -> None:
    rig = _rig().open()
    pcm = upsampled(CLIPS[HOURS])
    if damage == "swapped":
        pcm = b"".join(pcm[at + 1 : at + 2] + pcm[at : at + 1] for at in range(0, len(pcm), 2))
    else:
        pcm = b"".join(pcm[at : at + 2] for at in range(0, len(pcm), 4))
    for at in range(0, len(pcm), 640):
        rig.audio(pcm[at : at + 640], 8000 if damage == "labelled 8000" else 16_000)
        rig.wait(0.02)
    rig.hear(silence(0.8))
    rig.wait(5)
    assert (rig.log.heard, rig.log.not_understood) == ([], 1)
    assert rig.spoken() == b""
    assert bool(rig.log.violations["rate_8000"]) == (damage == "labelled 8000")


def test_speech_over_a_reply_cuts_it() -> None:
    rig = _rig(LONG).open()
    rig.say(CLIPS[HOURS])
    rig.wait(0.3)
    began = rig.now
    rig.hear(upsampled(CLIPS[PIZZA]))
    (interrupted,) = rig.when("serverContent", "interrupted")
    assert interrupted - began == pytest.approx(0.27, abs=0.03)
    assert rig.of("serverContent", "generationComplete") == []
    assert rig.when("serverContent", "turnComplete") == [interrupted]
    assert len(rig.spoken()) < 48_000 * 3
    rig.hear(silence(0.6))
    rig.wait(8)
    assert rig.log.heard == [HOURS, PIZZA]
    assert {block.reply for block in listen(rig.spoken(), 24_000)} == {1, 2}


@pytest.mark.parametrize("stale", [0, 2])
def test_stale_audio_comes_before_the_word_of_the_interruption(stale: int) -> None:
    rig = _rig(Scenario(rules=LONG.rules, stale_chunks=stale, chunk_bytes=(960,), style="2.5")).open()
    rig.say(CLIPS[HOURS])
    rig.wait(0.3)
    rig.hear(upsampled(CLIPS[PIZZA])[:16_000])
    (at,) = rig.when("serverContent", "interrupted")
    last = [message["serverContent"] for when, message in rig.out if when == at]
    told = [next(iter(content)) for content in last]
    assert told[-2:] == ["interrupted", "turnComplete"]
    assert told[:-2].count("modelTurn") in (stale, stale + 1)  # one more may have been due just then
    assert max(rig.when("serverContent", "modelTurn")) <= at


def test_interruption_may_be_switched_off() -> None:
    rig = _rig(LONG).open(realtimeInputConfig={"activityHandling": "NO_INTERRUPTION"})
    rig.say(CLIPS[HOURS])
    rig.wait(0.3)
    rig.hear(upsampled(CLIPS[PIZZA]))
    rig.wait(5)
    assert rig.of("serverContent", "interrupted") == []


def test_whoever_goes_on_before_the_answer_is_answered_to_both() -> None:
    rig = _rig().open()
    rig.say(CLIPS[HOURS])
    rig.hear(upsampled(CLIPS[PIZZA]) + silence(0.6))
    rig.wait(5)
    assert list(rig.log.replies.values())[-1] == f"You said: {HOURS} {PIZZA}"
    assert rig.of("serverContent", "interrupted") == []


def test_the_first_text_is_greeted_and_a_context_told_beforehand_is_not() -> None:
    rig = _rig().open()
    rig.send(_turn("greet the caller"))
    rig.wait(4)
    assert rig.log.replies == {1: "Hello, how can I help you?"}
    seeded = _rig().open(historyConfig={"initialHistoryInClientContent": True})
    seeded.send(_turn("we spoke about pizza"))
    seeded.wait(4)
    assert seeded.log.replies == {}
    seeded.send(_text("go on"))
    seeded.wait(4)
    assert seeded.log.replies == {1: "You said: go on"}


def test_activity_may_be_marked_by_the_client() -> None:
    manual = {"automaticActivityDetection": {"disabled": True}}
    rig = _rig().open(realtimeInputConfig=manual)
    rig.send({"realtime_input": {"activityStart": {}}})
    rig.hear(upsampled(CLIPS[HOURS]))
    rig.send({"realtime_input": {"activityEnd": {}}})
    rig.wait(3)
    assert rig.log.heard == [HOURS]
    rig.send({"realtime_input": {"audioStreamEnd": True}})
    assert isinstance(rig.end, Close)
    assert rig.end.code == 1007


def test_the_end_of_the_stream_ends_a_sentence() -> None:
    rig = _rig().open()
    rig.hear(silence(0.1) + upsampled(CLIPS[HOURS]) + silence(0.1))
    rig.send({"realtime_input": {"audioStreamEnd": True}})
    assert rig.log.heard == [HOURS]


# tools

TOOLS = [{"functionDeclarations": [{"name": "look_up", "behavior": "BLOCKING"}, {"name": "note"}]}]
LOOK = Scenario(rules=(Rule(match="hours", tools=(ToolUse(name="look_up", args={"day": 1}),), then="open: {result}"),))


def _answer(call: dict[str, Any], **more: Any) -> dict[str, Any]:
    result = {"id": call["id"], "name": call["name"], "response": {"output": "nine"}, **more}
    return {"tool_response": {"functionResponses": [result]}}


def _calls(rig: Rig) -> list[dict[str, Any]]:
    return [call for listed in rig.of("toolCall", "functionCalls") for call in listed]


def test_a_tool_is_called_and_its_answer_spoken() -> None:
    rig = _rig(LOOK).open(tools=TOOLS)
    rig.say(CLIPS[HOURS])
    rig.wait(3)
    (call,) = _calls(rig)
    assert (call["name"], call["args"]) == ("look_up", {"day": 1})
    assert rig.spoken() == b""
    rig.send(_answer(call))
    rig.wait(4)
    assert rig.log.replies == {1: "open: nine"}
    assert rig.log.violations.total() == 0


def test_calls_come_together_or_one_by_one() -> None:
    uses = (ToolUse(name="look_up"), ToolUse(name="note"))
    for one_by_one in (False, True):
        rig = _rig(Scenario(rules=(Rule(match="hours", tools=uses, one_by_one=one_by_one),))).open(tools=TOOLS)
        rig.say(CLIPS[HOURS])
        rig.wait(1)
        assert [len(listed) for listed in rig.of("toolCall", "functionCalls")] == [1 if one_by_one else 2]
        answered = 0
        while answered < len(_calls(rig)):
            rig.send(_answer(_calls(rig)[answered]))
            answered += 1
        rig.wait(4)
        assert rig.log.replies == {1: "nine; nine"}


def test_speaking_over_a_waiting_tool_cancels_it() -> None:
    rig = _rig(LOOK).open(tools=TOOLS)
    rig.say(CLIPS[HOURS])
    rig.wait(1)
    (call,) = _calls(rig)
    rig.say(CLIPS[PIZZA])
    assert rig.of("toolCallCancellation", "ids") == [[call["id"]]]
    rig.send(_answer(call))
    assert rig.log.violations["tool_cancelled_answered"] == 1
    assert rig.end is None
    rig.wait(4)
    assert rig.log.replies == {1: f"You said: {PIZZA}"}


def test_wrong_answers_of_tools_are_told_and_closed() -> None:
    for wrong in ("tool_unknown_id", "tool_answered_twice"):
        rig = _rig(LOOK).open(tools=TOOLS)
        rig.say(CLIPS[HOURS])
        rig.wait(1)
        call = _calls(rig)[0]
        if wrong == "tool_answered_twice":
            rig.send(_answer(call))
        rig.send(_answer({**call, "id": "x"} if wrong == "tool_unknown_id" else call))
        assert rig.log.violations[wrong] == 1
        assert rig.end == Close(1007, "Request contains an invalid argument.")


def test_a_tool_never_answered_ends_the_connection() -> None:
    rig = _rig(LOOK).open(tools=TOOLS)
    rig.say(CLIPS[HOURS])
    rig.wait(31)
    assert isinstance(rig.end, Close)
    assert rig.end.code == 1011


@pytest.mark.parametrize(("scheduling", "replies"), [("SILENT", 1), ("WHEN_IDLE", 2), ("INTERRUPT", 2)])
def test_a_tool_that_does_not_block(scheduling: str, replies: int) -> None:
    rule = Rule(match="hours", say="one moment please, I am looking", tools=(ToolUse(name="note"),))
    rig = _rig(Scenario(rules=(rule,))).open(tools=TOOLS)
    rig.say(CLIPS[HOURS])
    rig.wait(0.6)
    assert rig.spoken()
    rig.send(_answer(_calls(rig)[0], scheduling=scheduling))
    rig.wait(6)
    assert len(rig.log.replies) == replies
    assert bool(rig.of("serverContent", "interrupted")) == (scheduling == "INTERRUPT")


# lifetime


def test_handles_come_and_go_and_restore_the_session() -> None:
    memories = Memories()
    rig = _rig(memories=memories).open(sessionResumption={})
    rig.say(CLIPS[HOURS])
    rig.wait(5)
    updates = rig.of("sessionResumptionUpdate")
    assert [update["resumable"] for update in updates] == [True, False, True]
    handle = updates[-1]["newHandle"]
    beside = _rig(memories=memories).open(sessionResumption={"handle": handle})
    assert isinstance(beside.end, Close)
    assert beside.end.code == 1011
    rig.session.closed(rig.now)
    resumed = _rig(memories=memories, connection=2, at=rig.now).open(sessionResumption={"handle": handle})
    assert resumed.of("setupComplete") == [{}]
    resumed.send(_text("again"))
    resumed.wait(4)
    assert resumed.log.replies == {2: "You said: again"}  # no second greeting; turns go on


@pytest.mark.parametrize(("scenario", "handle", "code"), [
    (Scenario(), "nonsense", 1007),
    (Scenario(refuse_code=1008), "nonsense", 1008),
    (Scenario(resume="refused"), "", 1007),
    (Scenario(handle_ttl_s=1), "", 1007),
])  # fmt: skip
def test_handles_are_refused(scenario: Scenario, handle: str, code: int) -> None:
    memories = Memories()
    rig = _rig(scenario, memories=memories).open(sessionResumption={})
    rig.wait(2)
    handle = handle or rig.of("sessionResumptionUpdate")[-1]["newHandle"]
    rig.session.closed(rig.now)
    again = _rig(scenario, memories=memories, at=rig.now + 5).open(sessionResumption={"handle": handle})
    assert isinstance(again.end, Close)
    assert again.end.code == code


def test_a_poisoned_resume_transcribes_and_never_speaks() -> None:
    memories, scenario = Memories(), Scenario(resume="poisoned")
    rig = _rig(scenario, memories=memories).open(sessionResumption={})
    rig.wait(2)
    handle = rig.of("sessionResumptionUpdate")[-1]["newHandle"]
    rig.session.closed(rig.now)
    again = _rig(scenario, memories=memories, at=rig.now)
    again.open(sessionResumption={"handle": handle}, inputAudioTranscription={})
    again.say(CLIPS[HOURS])
    again.wait(20)
    assert again.of("serverContent", "inputTranscription")
    assert again.spoken() == b""


@pytest.mark.parametrize("silent", [False, True])
def test_who_does_not_heed_go_away_is_closed(silent: bool) -> None:
    rig = _rig(Scenario(goaway_at_s=3, goaway_left_s=5, goaway_silent=silent)).open()
    rig.wait(3.1)
    assert rig.of("goAway", "timeLeft") == ["5s"]
    rig.say(CLIPS[HOURS])
    rig.wait(8)
    assert (rig.spoken() == b"") == silent
    assert rig.end == Close(1011, "Deadline expired before operation could complete.")
    assert rig.ended_at == pytest.approx(8.15)


# faults


@pytest.mark.parametrize(("fault", "end"), [
    (Fault(kind="close", code=1000, reason="", turn=1, after_ms=500), Close(1000, "")),
    (Fault(kind="close", code=1011, reason="x", turn=1, after_ms=500), Close(1011, "x")),
    (Fault(kind="rst", turn=1, after_ms=500), Reset()),
    (Fault(kind="half_open", turn=1, after_ms=500), Freeze()),
])  # fmt: skip
def test_an_end_in_the_middle_of_the_agents_sentence(fault: Fault, end: object) -> None:
    rig = _rig(Scenario(rules=LONG.rules, faults=(fault,))).open()
    rig.say(CLIPS[HOURS])
    rig.wait(5)
    assert rig.end == end
    assert 0.5 <= len(rig.spoken()) / 48_000 < 1.6
    assert rig.of("serverContent", "turnComplete") == []


def test_an_end_in_the_middle_of_the_callers_sentence() -> None:
    rig = _rig(Scenario(faults=(Fault(kind="rst", caller_ms=400),))).open()
    rig.say(CLIPS[HOURS])
    assert rig.end == Reset()
    assert rig.ended_at == pytest.approx(0.2 + 0.1 + 0.4, abs=0.05)


def test_a_stall_is_a_hole_and_loses_nothing() -> None:
    rig = _rig(Scenario(rules=LONG.rules, faults=(Fault(kind="stall", seconds=2, turn=1, after_ms=500),))).open()
    rig.say(CLIPS[HOURS])
    rig.wait(8)
    sent = rig.when("serverContent", "modelTurn")
    assert max(late - early for early, late in itertools.pairwise(sent)) >= 2
    assert [block.block for block in listen(rig.spoken(), 24_000)] == list(range(len(rig.spoken()) // 4800))


def test_a_fault_may_be_for_one_connection_only() -> None:
    scenario = Scenario(faults=(Fault(kind="rst", at_s=1, connection=2),))
    for connection, end in ((1, None), (2, Reset()), (3, None)):
        rig = _rig(scenario, connection=connection).open()
        rig.wait(2)
        assert rig.end == end


def test_instead_of_set_up() -> None:
    rig = _rig(Scenario(faults=(Fault(kind="close", code=1008, reason="no", at_s=-1),))).open()
    assert (rig.end, rig.out) == (Close(1008, "no"), [])
    silent = _rig(Scenario(no_setup_ack=True)).open()
    silent.wait(60)
    assert (silent.end, silent.out) == (None, [])


def test_odd_messages_are_sent_and_the_conversation_goes_on() -> None:
    kinds = ("unknown", "error", "bad_json", "bad_b64", "wrong_type", "empty", "huge", "phantom_interrupted")
    faults = tuple(Fault(kind=kind, at_s=0.1) for kind in kinds)  # type: ignore[arg-type]
    planted = Fault(kind="message", message={"serverContent": {"waitingForInput": True}}, at_s=0.2)
    rig = _rig(Scenario(faults=(*faults, planted))).open()
    rig.wait(0.5)
    for path in (("futureThing",), ("error",), ("serverContent", "waitingForInput")):
        assert rig.of(*path)
    assert [message for _, message in rig.out if isinstance(message, bytes)] == [b'{"serverContent":{"modelTurn":', b""]
    rig.say(CLIPS[HOURS])
    rig.wait(4)
    assert rig.log.replies


def test_odd_chunks_are_odd_and_complete() -> None:
    rig = _rig(Scenario(odd_chunks=True, rate=16_000)).open()
    rig.say(CLIPS[HOURS])
    rig.wait(8)
    parts = [part["inlineData"] for turn in rig.of("serverContent", "modelTurn") for part in turn["parts"]]
    assert {part["mimeType"] for part in parts} == {"audio/pcm;rate=16000"}
    assert 1 in {len(base64.b64decode(part["data"])) for part in parts}
    blocks = [block.block for block in listen(rig.spoken(), 16_000)]
    assert blocks == list(range(len(blocks)))


@pytest.mark.parametrize(("scenario", "count"), [
    (Scenario(no_turn_complete=True), 0), (Scenario(), 1), (Scenario(dup_turn_complete=True), 2),
])  # fmt: skip
def test_turn_complete_may_be_missing_or_doubled(scenario: Scenario, count: int) -> None:
    rig = _rig(scenario).open()
    rig.say(CLIPS[HOURS])
    rig.wait(5)
    assert len(rig.of("serverContent", "turnComplete")) == count


def test_a_disturbance_of_the_moment() -> None:
    rig = _rig().open()
    rig.fault(Fault(kind="close", code=1011, reason="now", at_s=99))
    assert rig.end == Close(1011, "now")


# what the service refuses


@pytest.mark.parametrize(("message", "code"), [
    ("no json", 1007),
    ("[]", 1007),
    ({"realtimeInput": {"text": "before setup"}}, 1007),
    ({"setup": {"model": "models/gemini-0"}}, 1008),
    ({"setup": {"model": "gemini-3.8-live"}}, 1008),
    ({"setup": {**SETUP, "colour": "red"}}, 1007),
    ({"setup": {**SETUP, "generationConfig": {"temperature": "hot"}}}, 1007),
    ({"setup": {**SETUP, "generation_config": {"response_modalities": ["TEXT"]}}}, 1007),
    ({"setup": {**SETUP, "generationConfig": {"thinkingConfig": {"thinkingLevel": "LOW"}}}}, 1007),
    ({"setup": {**SETUP, "proactivity": {"proactive_audio": False}}}, 1007),
    ({"setup": {"model": "models/gemini-3.8-live-extended-thinking"}}, 1007),
])  # fmt: skip
def test_a_wrong_set_up_is_closed_as_the_service_does(message: Any, code: int) -> None:
    rig = _rig()
    rig.send(message)
    assert isinstance(rig.end, Close)
    assert rig.end.code == code
    assert rig.log.violations["refused"] == 1


@pytest.mark.parametrize("message", [
    {"setup": dict(SETUP)},
    {"realtime_input": {"media_chunks": [{"data": "AAAA", "mime_type": "audio/pcm"}]}},
    {"realtime_input": {"audio": {"data": "", "mime_type": "audio/pcm;rate=16000"}}},
    {"realtime_input": {"audio": {"data": "AAAA", "mime_type": "audio/wav"}}},
    {"realtime_input": {"audio": {"data": "AA@A", "mime_type": "audio/pcm"}}},
    {"realtime_input": {"audio": {"data": "AAAA", "mime_type": "audio/pcm"}, "text": "both"}},
    {"realtime_input": {"activityStart": {}}},
    {"client_content": {"turns": [{"role": "robot", "parts": []}]}},
    {"tool_response": {"functionResponses": [{"name": "no id", "response": {}}]}},
    {"new_thing": {}},
])  # fmt: skip
def test_a_wrong_message_is_closed_with_1007(message: Any) -> None:
    rig = _rig().open()
    rig.send(message)
    assert isinstance(rig.end, Close)
    assert rig.end.code == 1007


def test_no_set_up_in_ten_seconds() -> None:
    rig = _rig()
    rig.wait(10.1)
    assert isinstance(rig.end, Close)
    assert rig.end.code == 1008


def test_both_alphabets_and_both_spellings() -> None:
    rig = _rig().open(input_audio_transcription={}, realtime_input_config={
        "automatic_activity_detection": {"silence_duration_ms": 300, "prefix_padding_ms": 40}
    })  # fmt: skip
    pcm = b"\xfb\xff" * 320
    assert "_" in base64.urlsafe_b64encode(pcm).decode() or "-" in base64.urlsafe_b64encode(pcm).decode()
    rig.audio(pcm)
    rig.send({"realtimeInput": {"audio": {"data": base64.b64encode(pcm).decode(), "mimeType": "audio/pcm"}}})
    assert rig.end is None
    assert bytes(rig.log.audio) == pcm + pcm
