"""Gemini Live's pure parts: messages, faults, the tape, the lease, set-up, and turns in handed-in time."""

import base64
import contextlib
import json
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from trunkline.ai.gemini.faults import of_close, of_status
from trunkline.ai.gemini.lease import Lease
from trunkline.ai.gemini.sdk_link import audio_message
from trunkline.ai.gemini.setup import CURRENT, current_model, make_config
from trunkline.ai.gemini.tape import BYTES_PER_S, Tape
from trunkline.ai.gemini.turns import FINAL_S, STALE_S, Turns
from trunkline.ai.gemini.wire import (
    NO_VOICE,
    GoAway,
    Resumption,
    decode,
    rate_of,
    read_voice,
    seconds_of,
    text_message,
)
from trunkline.ai.session import (
    AiEvent,
    Brief,
    CallerSaid,
    CallerStartedSpeaking,
    CallerStoppedSpeaking,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    ReplyText,
    Stage,
    StageReached,
    ToolCall,
)
from trunkline.ai.tools import Tool, ToolResult
from trunkline.config import Gemini
from trunkline.errors import ProtocolError

LOUD, QUIET = b"\x00\x10\x00\xf0" * 160, bytes(640)


def content(**fields: Any) -> dict[str, Any]:
    return {"serverContent": fields}


def audio(pcm: bytes, mime: str = "audio/pcm;rate=24000") -> dict[str, Any]:
    data = base64.b64encode(pcm).decode()
    return content(modelTurn={"role": "model", "parts": [{"inlineData": {"mimeType": mime, "data": data}}]})


# ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_our_words_are_said_as_the_sdk_says_them() -> None:
    text = 'Say "hello", नमस्ते\n'
    theirs = types.LiveClientMessage(realtime_input=types.LiveClientRealtimeInput(text=text))
    assert json.loads(text_message(text)) == theirs.model_dump(mode="json", by_alias=True, exclude_none=True)


def test_audio_goes_up_as_the_service_wants_it() -> None:
    said = json.loads(audio_message(b"\xfb\xef\xff"))["realtimeInput"]["audio"]
    assert said == {"mimeType": "audio/pcm;rate=16000", "data": "++//"}


def test_base64_of_either_alphabet_and_without_padding_is_understood() -> None:
    message = audio(b"")
    message["serverContent"]["modelTurn"]["parts"][0]["inlineData"]["data"] = "--__-w"
    parts = decode(json.dumps(message)).server_content.model_turn.parts  # type: ignore[union-attr]
    assert parts[0].inline_data.data == b"\xfb\xef\xff\xfb"  # type: ignore[index, union-attr]


@pytest.mark.parametrize("raw", [b"", b"nonsense", b"[]", b'{"serverContent":7}', b'{"toolCall":{"functionCalls":{}}}'])
def test_what_is_no_message_is_one_error(raw: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(raw)


_json = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["serverContent", "modelTurn", "parts"]), inner),
)


@given(st.binary() | _json.map(lambda tree: json.dumps({"serverContent": tree}).encode()))
def test_no_bytes_bring_anything_but_a_message_or_that_error(raw: bytes) -> None:
    turns = Turns(4.0)
    with contextlib.suppress(ProtocolError):
        turns.take(decode(raw), 1.0)


def test_unknown_messages_and_errors_in_band_are_told_apart() -> None:
    assert not decode(b'{"futureThing":{}}').known
    assert decode(b'{"error":{"code":429,"message":"slow down"}}').complaint == "429 slow down"
    assert decode(b'{"code":429,"message":"quota"}').complaint == "429 quota"
    assert decode(b'{"goAway":{}}').known


VOICE = '{"inlineData":{"mimeType":"audio/pcm;rate=24000","data":"AAAA"}}'


@pytest.mark.parametrize(
    ("inside", "alone"),
    [
        ('{"parts":[<voice>]}', True),
        ('{"role":"model","parts":[<voice>,<voice>]}', True),
        ('{"parts":[]}', True),
        ('{"parts":[{"text":"Hello."}]}', False),
        ('{"parts":[<voice>,{"text":"Hello."}]}', False),
        ('{"parts":[{"thought":true,"inlineData":{"data":"AAAA"}}]}', False),
        ('{"parts":[<voice>]},"turnComplete":true', False),
        ('{"parts":[<voice>]},"outputTranscription":{"text":"Hello."}', False),
        ('{"parts":[<voice>]}},"usageMetadata":{"totalTokenCount":7', False),
        ('{"parts":[{"inlineData":{"data":"AAA"}}]}', False),
    ],
)
def test_a_message_of_nothing_but_speech_means_the_same_read_alone(inside: str, alone: bool) -> None:
    raw = f'{{"serverContent":{{"modelTurn":{inside.replace("<voice>", VOICE)}}}}}'.encode()
    whole = decode(raw).server_content
    assert whole is not None
    assert whole.model_turn is not None
    try:
        voice = read_voice(raw).server_content.model_turn.parts
    except NO_VOICE:
        assert not alone, "the quick way is not taken"
        return
    assert alone, "something was left out"
    assert [part.inline_data for part in voice] == [part.inline_data for part in whole.model_turn.parts or ()]


def test_rates_and_durations() -> None:
    assert [rate_of(mime) for mime in ("audio/pcm;rate=16000", "audio/pcm", "audio/pcm; Rate=8000;x", "a;rate=²")] == [
        *(16_000, 24_000, 8000, 24_000)
    ]
    assert [seconds_of(text) for text in ("50s", "1.5s", "", None, "-3s", "s", "nans")][:5] == [50, 1.5, 0, 0, 0]


# ── faults ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("code", "reason", "set_up", "handle", "action"),
    [
        (1000, "", True, False, "resume"),
        (1006, "", True, False, "resume"),
        (1011, "Deadline expired before operation could complete.", True, False, "resume"),
        (1011, "You exceeded your current quota, please check", True, False, "stop"),
        (1007, "Request contains an invalid argument", False, False, "stop"),
        (1007, "Request contains an invalid argument", True, False, "fresh"),
        (1007, "API key not valid. Please pass a valid API key.", True, False, "stop"),
        (1008, "models/x is not found for API version v1", False, False, "stop"),
        (1008, "Session not found", False, True, "fresh"),
        (1011, "The session is still in use", False, True, "fresh"),
        (1011, "Internal error occurred", False, False, "resume"),
    ],
)
def test_closes_mean_what_the_field_says(code: int, reason: str, set_up: bool, handle: bool, action: str) -> None:
    assert of_close(code, reason, set_up=set_up, handle=handle).action == action


def test_refused_upgrades() -> None:
    assert {of_status(status).action for status in (400, 401, 403, 404)} == {"stop"}
    assert {of_status(status).action for status in (408, 429, 500, 503)} == {"resume"}
    assert of_status(503, "7").wait_s == 7.0
    assert not of_status(429).retryable


# ── tape and lease ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_tape_replays_from_an_onset_and_forgets_the_oldest() -> None:
    tape = Tape(2.0)
    for number in range(150):  # 3 s, all sent
        tape.push(bytes([number]) * 640)
        tape.sent = tape.end
    tape.rewind(2.5)
    assert tape.waiting_s == pytest.approx(0.8)  # and 300 ms before
    assert tape.take(0.02) == bytes([110]) * 640
    tape.rewind(0.0)
    assert tape.waiting_s == pytest.approx(2.0)
    assert tape.dropped_s == 0.0
    for _ in range(50):
        tape.push(QUIET)
    assert tape.dropped_s == pytest.approx(1.0)
    taken = b""
    while piece := tape.take(0.1):
        assert len(piece) == BYTES_PER_S // 10
        taken += piece
    assert len(taken) == 2 * BYTES_PER_S


def test_the_tape_of_a_quiet_caller_is_short() -> None:
    tape = Tape(10.0)
    for number in range(1, 400):
        tape.push(QUIET)
        tape.sent = tape.end
        tape.settle(number * 0.02)
    tape.rewind(0.0)
    assert tape.waiting_s <= 0.64


def test_a_lease_is_left_when_quiet_with_a_fresh_handle_or_at_the_last_moment() -> None:
    lease = Lease(5.0)
    assert not lease.due(1000.0, quiet=True)
    lease.update(Resumption("h1", True), 3)
    lease.update(Resumption(None, False), 4)
    lease.ends(GoAway("50s"), 100.0)
    assert lease.handle == "h1"
    assert not lease.due(101.0, quiet=True)  # a newer handle is under way
    assert not lease.due(144.9, quiet=False)
    assert lease.due(145.0, quiet=False)
    lease.update(Resumption("h2", True), 5)
    assert lease.due(101.0, quiet=True)
    short = Lease(5.0)
    short.ends(GoAway("2s"), 0.0)
    assert short.leave_at == 1.0


# ── set-up ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _nothing(_: object) -> None: ...


TOOL = Tool("t", "d", {"type": "object", "properties": {}}, _nothing)


def test_models_that_are_gone_become_the_current_one() -> None:
    assert current_model("models/gemini-2.0-flash-exp") == current_model("gemini-2.0-flash-live-001") == CURRENT
    assert current_model("gemini-3.1-flash-live-preview") == "gemini-3.1-flash-live-preview"


def test_knobs_reach_the_set_up() -> None:
    knobs = Gemini(
        temperature=0.2, top_p=0.8, voice="Puck", language="hi-IN", start_sensitivity="low", silence_duration_ms=300
    )
    config = make_config(knobs, Brief("c", "a", voice="Zephyr", tools=(TOOL,)), "h", history=False)
    assert (config.temperature, config.top_p, config.max_output_tokens) == (0.2, 0.8, None)
    assert config.speech_config.voice_config.prebuilt_voice_config.voice_name == "Zephyr"  # type: ignore[union-attr]
    assert config.speech_config.language_code == "hi-IN"  # type: ignore[union-attr]
    detection = config.realtime_input_config.automatic_activity_detection  # type: ignore[union-attr]
    assert detection.start_of_speech_sensitivity == "START_SENSITIVITY_LOW"  # type: ignore[union-attr]
    assert detection.silence_duration_ms == 300  # type: ignore[union-attr]
    assert config.session_resumption.handle == "h"  # type: ignore[union-attr]
    assert config.tools[0].function_declarations[0].behavior == "NON_BLOCKING"  # type: ignore[index, union-attr]
    assert config.thinking_config is None


def test_models_get_only_what_they_take() -> None:
    deep = make_config(Gemini(model="gemini-3.8-live-extended-thinking"), Brief("c", "a"), "", history=True)
    assert deep.thinking_config.thinking_level == "LOW"  # type: ignore[union-attr]
    assert deep.history_config.initial_history_in_client_content  # type: ignore[union-attr]
    old = make_config(Gemini(model="gemini-3.1-flash-live-preview"), Brief("c", "a", tools=(TOOL,)), "", history=False)
    assert old.tools[0].function_declarations[0].behavior is None  # type: ignore[index, union-attr]
    assert make_config(Gemini(thinking="high"), Brief("c", "a"), "", history=False).thinking_config is None


# ── turns ───────────────────────────────────────────────────────────────────────────────────────────────────────────


class Scene:
    """Turns with a clock: the caller speaks, the server says."""

    def __init__(self, stall_s: float = 4.0) -> None:
        self.turns = Turns(stall_s)
        self.now = 0.0
        self.events: list[AiEvent] = []

    def hears(self, seconds: float, pcm: bytes = LOUD) -> None:
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            self.turns.ear.push(pcm, 0.02, self.now)
            self.events += self.turns.tick(self.now)

    def quiet(self, seconds: float) -> None:
        self.hears(seconds, QUIET)

    def server(self, *messages: dict[str, Any]) -> list[AiEvent]:
        new: list[AiEvent] = []
        for message in messages:
            new += self.turns.take(decode(json.dumps(message)), self.now)
        self.events += new
        return new

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]


def asked() -> Scene:
    """The caller has asked something and was written down."""
    scene = Scene()
    scene.turns.connected(0.0)
    scene.quiet(0.5)
    scene.hears(1.0)
    scene.server(content(inputTranscription={"text": "what are"}))
    scene.quiet(0.5)
    return scene


def test_a_turn_is_dated_by_the_local_ear_and_written_down_although_its_words_come_late() -> None:
    scene = asked()
    scene.server(content(inputTranscription={"text": " your"}), audio(b"\1\0" * 480))
    scene.server(content(inputTranscription={"text": " hours"}))
    scene.quiet(FINAL_S + 0.1)
    assert scene.of(CallerStartedSpeaking) == [CallerStartedSpeaking(1, pytest.approx(0.5))]
    assert scene.of(CallerStoppedSpeaking) == [CallerStoppedSpeaking(1, pytest.approx(1.5))]
    assert [(event.text, event.final) for event in scene.of(CallerSaid)] == [
        *(("what are", False), ("what are your", False), ("what are your hours", False), ("what are your hours", True)),
    ]
    stages = {event.stage: event.at for event in scene.of(StageReached)}
    assert stages == {Stage.SPEECH_ENDED: pytest.approx(1.5), Stage.FIRST_AUDIO: pytest.approx(2.0)}
    assert [event.turn for event in scene.of(ReplyStarted)] == [1]


def test_samples_split_over_messages_are_joined_and_other_rates_converted() -> None:
    scene = asked()
    scene.server(audio(b"\1"), audio(b"\0\2\0\3"), audio(b"\0"))
    assert b"".join(event.frame.pcm for event in scene.of(ReplyAudio)) == b"\1\0\2\0\3\0"
    scene.server(content(turnComplete=True), audio(bytes(3200), "audio/pcm;rate=16000"))
    last = scene.of(ReplyAudio)[-1].frame
    assert (last.rate, last.samples) == (24_000, 2400)


def test_an_interruption_ends_the_reply_and_its_stale_audio_is_nobodys() -> None:
    scene = asked()
    scene.server(audio(bytes(960)))
    scene.hears(0.4)
    new = scene.server(content(interrupted=True), audio(bytes(960)), audio(bytes(960)))
    assert [type(event) for event in new] == [CallerSaid, CallerStartedSpeaking, ReplyEnded]
    assert scene.turns.counters["stale"] == 2
    scene.server(content(turnComplete=True), audio(bytes(960)))
    assert [event.turn for event in scene.of(ReplyStarted)] == [1, 2]


def test_without_turn_complete_the_next_answer_is_heard_all_the_same() -> None:
    scene = asked()
    scene.server(audio(bytes(960)), content(interrupted=True))
    scene.quiet(STALE_S + 0.1)
    scene.server(audio(bytes(960)))
    assert len(scene.of(ReplyStarted)) == 2


def test_transcripts_never_cut_a_reply() -> None:
    scene = asked()
    scene.server(audio(bytes(48_000)))
    scene.quiet(FINAL_S + 0.1)
    scene.hears(0.3)
    scene.server(content(inputTranscription={"text": "mhm"}))
    assert len(scene.of(CallerStartedSpeaking)) == 1
    assert scene.of(ReplyEnded) == []


def test_a_phantom_interruption_after_the_turn_is_counted_and_no_turn() -> None:
    scene = asked()
    scene.server(audio(bytes(960)), content(generationComplete=True), content(turnComplete=True))
    scene.quiet(1.0)
    assert scene.server(content(interrupted=True)) == []
    assert scene.turns.counters["phantom_interrupts"] == 1


def test_words_go_out_by_word_and_the_rest_before_the_end() -> None:
    scene = asked()
    for text in ("Good mor", "ning to", " you"):
        scene.server(content(outputTranscription={"text": text}))
    scene.server(content(generationComplete=True))
    scene.quiet(0.4)
    assert [event.text for event in scene.of(ReplyText)] == ["Good", "morning", "to", "you"]
    assert isinstance(scene.events[-1], ReplyEnded | CallerSaid)


def test_a_reply_that_was_cut_here_says_nothing_more() -> None:
    scene = asked()
    scene.server(audio(bytes(960)))
    scene.turns.cut(scene.of(ReplyStarted)[0].reply, 0.01)
    assert scene.server(audio(bytes(960)), content(outputTranscription={"text": "more."})) == []


def test_tools_once_each_and_cancelled_ones_are_nobodys() -> None:
    scene = asked()
    call = {"toolCall": {"functionCalls": [{"id": "1", "name": "t", "args": {"a": 1}}, {"id": "2", "name": "u"}]}}
    scene.server(call, call, {"toolCallCancellation": {"ids": ["2", "9"]}})
    assert [(event.id, event.name, event.turn) for event in scene.of(ToolCall)] == [("1", "t", 1), ("2", "u", 1)]
    assert scene.turns.resolve(ToolResult("2", "u"), scene.now) is None
    answered = scene.turns.resolve(ToolResult("1", "t", "x"), scene.now)
    assert answered is not None
    assert answered.link == 1
    assert scene.turns.resolve(ToolResult("1", "t", "x"), scene.now) is None


def test_a_turn_without_an_answer_is_nudged_then_begun_afresh() -> None:
    scene = asked()
    scene.quiet(3.4)
    assert scene.turns.due(scene.now) == ""
    scene.quiet(0.2)
    assert scene.turns.due(scene.now) == "nudge"
    scene.turns.nudged(scene.now)
    scene.quiet(1.9)
    assert scene.turns.due(scene.now) == ""
    scene.quiet(0.2)
    assert scene.turns.due(scene.now) == "fresh"


def test_a_server_that_shows_no_sign_of_life_is_left() -> None:
    scene = Scene()
    scene.turns.connected(0.0)
    scene.quiet(1.0)
    scene.hears(1.0)
    scene.quiet(4.2)
    assert scene.turns.due(scene.now) == "nudge"
    scene.turns.nudged(scene.now)
    scene.quiet(2.2)
    assert scene.turns.due(scene.now) == "resume"
    assert scene.turns.replay_from() == pytest.approx(1.0)


def test_a_quiet_line_waits_for_nothing() -> None:
    scene = Scene()
    scene.turns.connected(0.0)
    scene.quiet(60.0)
    assert scene.turns.due(scene.now) == ""
    assert scene.turns.quiet(scene.now)


def test_a_reply_that_stalls_in_mid_sentence_is_resumed_and_one_that_sounds_complete_is_over() -> None:
    for text, wanted in (("We are open from", "resume"), ("We are open.", "")):
        scene = asked()
        scene.server(content(outputTranscription={"text": text}), audio(bytes(4800)))
        scene.quiet(4.2)
        assert scene.turns.due(scene.now) == wanted
        assert len(scene.of(ReplyEnded)) == (0 if wanted else 1)


def test_a_lost_reply_is_gone_on_with_and_nobody_is_greeted_twice() -> None:
    scene = Scene()
    scene.turns.ask('(Say: "Good morning to you.")', 0.0)
    assert scene.turns.connected(0.0) == ['(Say: "Good morning to you.")']
    assert scene.turns.lost(0.1) == []
    assert scene.turns.connected(0.2) == ['(Say: "Good morning to you.")']  # not a word of it was heard
    scene.server(content(outputTranscription={"text": "Good morning "}), audio(bytes(960)))
    ended = scene.turns.lost(1.0)
    assert isinstance(ended[-1], ReplyEnded)
    (said,) = scene.turns.connected(1.2)
    assert "Good morning" in said
    assert "without greeting" in said
    scene.server(audio(bytes(960)), content(generationComplete=True), content(turnComplete=True))
    scene.turns.lost(3.0)
    assert scene.turns.connected(3.2) == []  # it was said: nothing is asked for


def test_the_callers_sentence_is_asked_for_again_and_stays_one_turn() -> None:
    scene = asked()
    assert scene.turns.lost(scene.now) == []
    assert scene.turns.replay_from() == pytest.approx(0.5)
    assert scene.turns.connected(scene.now) == []
    scene.server(content(inputTranscription={"text": "what are your hours"}), audio(bytes(960)))
    assert [event.turn for event in scene.of(CallerStartedSpeaking)] == [1]
    assert scene.of(CallerSaid)[-1].text == "what are your hours"
    assert scene.turns.past.since() == [("user", "what are your hours")]


def test_the_past_holds_what_was_heard() -> None:
    scene = asked()
    scene.server(content(outputTranscription={"text": "one two three four"}), audio(bytes(48_000)))
    scene.turns.cut(scene.of(ReplyStarted)[0].reply, 0.5)
    assert scene.turns.past.since() == [("user", "what are"), ("model", "one two")]
