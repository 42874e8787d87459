"""Since when a caller waits for the model, when a silent one is late, and who speaks while no connection judges."""

import json
from typing import Any

import pytest

from trunkline.ai.gemini.reply import DRY_S
from trunkline.ai.gemini.turns import OVER_S, Turns
from trunkline.ai.gemini.wire import decode
from trunkline.ai.session import AiEvent, CallerStartedSpeaking, CallerStoppedSpeaking, ReplyEnded
from trunkline.ai.tools import ToolResult

LOUD, QUIET = b"\x00\x20\x00\xe0" * 160, bytes(640)  # 20 ms
TOOL = {"toolCall": {"functionCalls": [{"id": "1", "name": "place_order", "args": {}}]}}
SECOND = "AAAA" * 16_000  # base64 of 48 000 bytes: a second of speech


def content(**fields: Any) -> dict[str, Any]:
    return {"serverContent": fields}


def audio(seconds: float) -> dict[str, Any]:
    data = SECOND[: 4 * int(16_000 * seconds)]
    return content(modelTurn={"parts": [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": data}}]})


def heard(text: str) -> dict[str, Any]:
    return content(inputTranscription={"text": text})


def words(text: str) -> dict[str, Any]:
    return content(outputTranscription={"text": text})


class Call:
    """Turns on a clock; the caller's last word in `asked` is at second 1.5."""

    def __init__(self) -> None:
        self.turns = Turns(4.0)
        self.now = 0.0
        self.events: list[AiEvent] = []
        self.turns.connected(0.0)

    def hears(self, seconds: float, pcm: bytes = LOUD, *, connected: bool = True) -> None:
        for _ in range(round(seconds / 0.02)):
            self.now += 0.02
            self.turns.ear.push(pcm, 0.02, self.now)
            self.events += self.turns.tick(self.now) if connected else self.turns.overheard(self.now)

    def quiet(self, seconds: float, *, connected: bool = True) -> None:
        self.hears(seconds, QUIET, connected=connected)

    def server(self, *messages: dict[str, Any]) -> None:
        for message in messages:
            self.events += self.turns.take(decode(json.dumps(message)), self.now)

    def lost(self) -> None:
        self.events += self.turns.lost(self.now)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


def asked() -> Call:
    call = Call()
    call.quiet(0.5)
    call.hears(1.0)
    call.quiet(0.6)
    call.server(heard("two pizzas"))
    return call


# ── how long the caller waits ───────────────────────────────────────────────────────────────────────────────────────


def test_the_wait_counts_from_the_callers_last_word_and_not_from_when_it_was_written_down() -> None:
    call = asked()
    for _ in range(3):
        call.quiet(1.0)
        call.server(heard(" please"))
        assert call.turns.waits_since() == pytest.approx(1.5)
    call.quiet(3.5)
    assert call.turns.due(call.now) == ""  # yet who writes lives: it is not late
    call.quiet(0.6)
    assert call.turns.due(call.now) == "nudge"


def test_a_caller_too_quiet_for_our_ear_waits_from_what_was_written_down() -> None:
    call = Call()
    call.quiet(2.0)
    call.server(heard("hello"))
    call.quiet(1.0)
    assert call.turns.waits_since() == pytest.approx(2.0)


def test_who_waits_for_a_tool_has_waited_since_their_last_word() -> None:
    call = asked()
    call.quiet(1.0)
    call.server(TOOL)
    call.quiet(1.0)
    assert call.turns.waits_since() is None  # for the tool, not for the model
    assert call.turns.resolve(ToolResult("1", "place_order", "done"), call.now)
    assert call.turns.waits_since() == pytest.approx(1.5)
    answered_at = call.now
    call.quiet(3.9)
    assert (call.now - 1.5 > 4.0, call.turns.due(call.now)) == (True, "")  # the model is late only from the answer on
    call.quiet(0.2)
    assert (call.now - answered_at > 4.0, call.turns.due(call.now)) == (True, "nudge")


def test_two_tools_one_after_the_other_are_one_wait() -> None:
    call = asked()
    call.server(TOOL)
    call.turns.resolve(ToolResult("1", "place_order", "done"), call.now)
    call.quiet(1.0)
    call.server({"toolCall": {"functionCalls": [{"id": "2", "name": "place_order"}, {"id": "3", "name": "bill"}]}})
    call.turns.resolve(ToolResult("2", "place_order"), call.now)
    call.turns.resolve(ToolResult("3", "bill"), call.now)
    assert call.turns.waits_since() == pytest.approx(1.5)


def test_a_new_connection_does_not_make_the_wait_for_a_tools_answer_younger() -> None:
    call = asked()
    call.server(TOOL)
    call.turns.resolve(ToolResult("1", "place_order", "done"), call.now)
    call.lost()
    call.quiet(0.5, connected=False)
    call.turns.connected(call.now)
    assert call.turns.waits_since() == pytest.approx(1.5)
    call.quiet(3.9)
    assert call.turns.due(call.now) == ""


def test_who_was_not_heard_waits_on_for_the_connection_that_is_told_their_words_anew() -> None:
    call = Call()
    call.quiet(0.5)
    call.hears(1.0)
    call.quiet(2.0)
    call.lost()
    call.turns.connected(call.now)
    call.quiet(1.9)
    assert call.turns.waits_since() == pytest.approx(1.5)
    assert call.turns.due(call.now) == "", "the new one is late only from its own beginning on"
    call.quiet(0.2)
    assert call.turns.waits_since() is None, "it took that for no speech"
    call.hears(1.0)
    call.quiet(0.5)
    assert call.turns.waits_since() == pytest.approx(call.now - 0.5)


# ── a reply that breaks off ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("text", "late_s"), [("We are open from", 1.0 + DRY_S), ("We are open.", None), ("", 4.0)])
def test_a_reply_that_breaks_off_in_mid_sentence_is_resumed_sooner(text: str, late_s: float | None) -> None:
    """One second of speech came at once: it is late from when that was heard."""
    call = asked()
    call.server(*([words(text)] if text else []), audio(1.0))
    begun, resumed_s = call.now, None
    while resumed_s is None and call.now < begun + 6.0:
        call.quiet(0.02)
        resumed_s = call.now - begun if call.turns.due(call.now) == "resume" else None
    assert resumed_s == (None if late_s is None else pytest.approx(late_s, abs=0.05))


def test_a_reply_that_stops_for_a_tool_has_not_broken_off() -> None:
    call = asked()
    call.server(words("Let me see"), audio(0.5), TOOL)
    call.quiet(3.5)
    assert call.turns.due(call.now) == ""


# ── the caller speaks while no connection judges ────────────────────────────────────────────────────────────────────


def speaking() -> Call:
    """Four seconds of a reply came at once, one was heard."""
    call = asked()
    call.server(words("We are open from eleven"), audio(1.0), audio(1.0), audio(1.0), audio(1.0))
    call.quiet(1.0)
    return call


def test_a_caller_who_speaks_over_what_a_lost_connection_left_is_heard() -> None:
    call = speaking()
    onset_s = call.turns.ear.heard_s
    call.hears(0.2)
    call.lost()
    assert len(call.of(CallerStartedSpeaking)) == 1  # so far the first turn's
    call.hears(0.2, connected=False)
    assert call.of(CallerStartedSpeaking)[1:] == [CallerStartedSpeaking(2, pytest.approx(onset_s))]
    assert call.turns.replay_from() == pytest.approx(onset_s)
    assert call.turns.connected(call.now) == []  # told to go on, it would speak over the caller
    call.hears(0.5)
    call.quiet(0.6)
    call.server(heard("a pizza"), audio(0.5))
    assert [event.turn for event in call.of(CallerStoppedSpeaking)] == [1, 2]
    assert call.turns.counters["overheard"] == 1


def test_a_caller_heard_before_the_loss_is_believed_with_it() -> None:
    call = speaking()
    call.hears(OVER_S + 0.1)
    call.lost()
    assert [type(event) for event in call.events[-2:]] == [ReplyEnded, CallerStartedSpeaking]


def test_who_was_not_answered_for_a_noise_is_gone_on_with_in_the_end() -> None:
    call = speaking()
    call.hears(OVER_S + 0.1)
    call.lost()
    assert call.turns.connected(call.now) == []
    call.quiet(4.2)
    assert call.turns.due(call.now) == "nudge"


@pytest.mark.parametrize("case", ["short", "noticed", "heard out", "connected"])
def test_no_turn_is_opened_where_the_vendor_judges_or_had_judged(case: str) -> None:
    call = speaking()
    match case:
        case "short":
            call.hears(0.1)
            call.lost()
        case "noticed":  # and taken for no speech, with messages all the while
            call.hears(2.0)
            call.server(content(waitingForInput=False))
            call.lost()
        case "heard out":
            call.server(content(generationComplete=True), content(turnComplete=True))
            call.quiet(4.0)
            call.lost()
            call.hears(0.5, connected=False)
        case _:
            call.hears(0.5)
    call.quiet(0.1)
    assert len(call.of(CallerStartedSpeaking)) == 1
    if case in ("short", "noticed"):
        assert "Go on from there" in call.turns.connected(call.now)[0]
