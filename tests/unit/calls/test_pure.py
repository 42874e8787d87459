"""Policy, routing, timeline, record, the stream's clock, the far level: values in, values out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.virtual_time import EPOCH
from trunkline.calls import record as records
from trunkline.calls import timeline
from trunkline.calls.call import new_call_id
from trunkline.calls.ears import StreamClock
from trunkline.calls.events import (
    BargeIn,
    CallEnded,
    CallerSilent,
    CallerSpeaking,
    CallerUnderstood,
    CallEvent,
    CallStarted,
    KeyPressed,
    ReplyDone,
    ReplyOnWire,
    ReplySaying,
    StageNote,
    Used,
)
from trunkline.calls.mouth import FarLevel, message_frames
from trunkline.calls.policy import Farewell, Finish, Policy, Prompt, left
from trunkline.calls.record import CallRecord
from trunkline.calls.routing import match
from trunkline.calls.turns import OPEN_TURNS, PACKED_TURNS, Turn, TurnFold
from trunkline.config import Limits, Route
from trunkline.outcome import EndCause, Fault, Outcome

STAGES = ("turn_ended", "transcript", "first_token", "first_clause", "first_audio")

# ── timeline ────────────────────────────────────────────────────────────────────────────────────────────────────────


def turn(moments: dict[str, float], on_wire: float = 3.0) -> Turn:
    events: list[CallEvent] = [
        CallerSpeaking(1.0, 1),
        CallerSilent(2.0, 1),
        CallerUnderstood(2.6, 1, "hours", True, 0.8),
    ]
    events += [StageNote(at, 1, stage) for stage, at in moments.items()]
    events += [ReplySaying(2.8, "r", 1, "Nine to five."), ReplyOnWire(on_wire, "r", 1)]
    events += [ReplyDone(5.0, "r", 1, 1.9, "Nine to", True, on_wire)]
    (only,) = timeline.fold("c", "a", events).turns
    return only


def test_stages_are_named_in_order_and_sum_to_what_the_caller_lived() -> None:
    found = turn(dict(zip(STAGES, (2.5, 2.6, 2.7, 2.8, 2.9), strict=True)))
    assert list(found.stages) == ["endpointing", "stt_tail", "llm", "first_clause", "tts", "bridge"]
    assert found.stages["endpointing"] == pytest.approx(0.5)
    assert found.stages["bridge"] == pytest.approx(0.1)
    assert found.response_s == pytest.approx(1.0)
    assert (found.caller_text, found.confidence, found.heard_text, found.interrupted) == ("hours", 0.8, "Nine to", True)
    assert (found.agent_from_s, found.agent_to_s, found.heard_s) == (3.0, 5.0, 1.9)


@given(st.dictionaries(st.sampled_from(STAGES), st.floats(-1, 9)), st.floats(0, 9))
def test_stages_sum_whatever_is_missing_late_or_out_of_order(moments: dict[str, float], on_wire: float) -> None:
    found = turn(moments, on_wire)
    assert found.response_s is not None
    assert all(seconds >= 0 for seconds in found.stages.values())
    assert sum(found.stages.values()) == pytest.approx(found.response_s)


def test_a_turn_without_speech_has_no_response_time_and_keys_go_with_their_answer() -> None:
    events = [ReplyOnWire(0.1, "r0", 0), KeyPressed(1.0, "1"), KeyPressed(1.1, "2"), ReplyOnWire(1.5, "r1", 1)]
    greeting, answer = timeline.fold("c", "a", events).turns
    assert (greeting.keys, answer.keys) == ("", "12")
    assert answer.response_s is None
    assert answer.stages == {}


def test_a_later_reply_to_the_same_turn_does_not_change_its_response_time() -> None:
    events = [
        CallerSilent(1.0, 1),
        ReplyOnWire(2.0, "a", 1),
        StageNote(8.0, 1, "first_audio"),
        ReplyOnWire(9.0, "b", 1),
    ]
    (only,) = timeline.fold("c", "a", events).turns
    assert only.response_s == 1.0
    assert only.replies == ("a", "b")


def test_the_record_is_folded_from_its_events_and_tells_the_same_timeline() -> None:
    opening = CallRecord(
        id="c", tenant="t", direction="inbound", carrier="smartflo", carrier_ref="r", from_="", to="", agent="a",
        provider="p", started_at=EPOCH, answered_at=None,
    )  # fmt: skip
    events: list[CallEvent] = [
        CallStarted(0.5, "inbound", "smartflo", "a"),
        CallerSilent(1.0, 1),
        ReplyOnWire(2.0, "a", 1),
        BargeIn(3.0, 2, "a", 0.2, 1),
        ReplyDone(3.0, "a", 1, 1.0, "x", True, 2.0),
        Used(3.5, "stt", {"s": 1.0}),
        CallEnded(9.0, "completed", "nobody", "x", {"late": 1}),
    ]
    done = records.fold(opening, events, "c.wav")
    assert done.answered_at is not None
    assert done.ended_at is not None
    assert (done.ended_at - done.answered_at).total_seconds() == 8.5
    assert (done.cause, done.fault, done.code, done.counters) == ("completed", "nobody", "x", {"late": 1})
    assert (done.usage, done.recording) == ({"stt.s": 1.0}, "c.wav")
    live, stored = timeline.fold("c", "a", events), records.timeline(done, EPOCH)
    assert live == stored


# ── policy ──────────────────────────────────────────────────────────────────────────────────────────────────────────

LIMITS = Limits(silence_prompt_s=8, silence_prompts=2, longest_call_s=600)


def asked(policy: Policy, to: float, step: float = 0.1) -> list[tuple[float, object]]:
    """What is due from 0 to `to`."""
    return [(round(n * step, 1), action) for n in range(int(to / step)) if (action := policy.due(n * step, busy=False))]


def test_silence_prompts_then_farewell_then_finish() -> None:
    actions = asked(Policy(LIMITS, 0.0), 33)
    assert actions[:3] == [(8.0, Prompt(1)), (16.0, Prompt(2)), (24.0, Farewell(EndCause.SILENCE))]
    assert actions[3] == (32.0, Finish(EndCause.SILENCE))


def test_the_deadline_is_never_later_than_what_is_due() -> None:
    policy, at = Policy(LIMITS, 0.0), 0.0
    seen = []
    for _ in range(200):
        at = max(policy.deadline(), at)
        if action := policy.due(at, busy=False):
            seen.append((at, action))
        assert policy.deadline() > at or isinstance(action, Finish)
        if isinstance(action, Finish):
            break
    assert [at for at, _ in seen] == [8, 16, 24, 32]


def test_busy_is_not_silent() -> None:
    policy = Policy(LIMITS, 0.0)
    assert policy.due(9.0, busy=True) is None
    assert policy.due(12.0, busy=False) is None
    assert policy.due(17.0, busy=False) == Prompt(1)


def test_a_caller_who_is_said_to_speak_for_ever_is_silent_in_the_end() -> None:
    policy = Policy(LIMITS, 0.0)
    policy.caller_started(0.0)
    assert policy.due(29.0, busy=False) is None
    assert policy.due(40.0, busy=False) == Prompt(1)


def test_the_longest_call_keeps_a_tenth_for_its_farewell() -> None:
    policy = Policy(Limits(longest_call_s=60, silence_prompt_s=1000), 0.0)
    assert policy.due(53.9, busy=True) is None
    assert policy.due(54.0, busy=True) == Farewell(EndCause.TOO_LONG)
    assert not policy.interruptible(3, greeting=False)
    policy.caller_active(55.0)
    assert policy.closing is EndCause.TOO_LONG


def test_only_a_protected_greeting_is_protected() -> None:
    assert Policy(LIMITS, 0.0).interruptible(0, greeting=True)
    strict = Policy(LIMITS, 0.0, protect_greeting=True)
    assert not strict.interruptible(0, greeting=True)
    assert strict.interruptible(0, greeting=False)
    assert strict.interruptible(1, greeting=False)


# ── routing ─────────────────────────────────────────────────────────────────────────────────────────────────────────

ROUTES = (Route("+918069000000", "sales"), Route("+9180*", "support", "smartflo"), Route("*#*", "keys"))


@pytest.mark.parametrize(
    ("number", "carrier", "agent"),
    [
        ("+918069000000", "smartflo", "sales"),
        ("+918011111111", "smartflo", "support"),
        ("+918011111111", "twilio", "default"),
        ("", "smartflo", "default"),
        ("1#2", "sip", "keys"),
    ],
)
def test_the_first_route_that_matches(number: str, carrier: str, agent: str) -> None:
    found = match(number, carrier, ROUTES, "default")
    assert found.agent == agent
    assert agent in found.explain(number, carrier)


def test_only_the_star_is_special() -> None:
    routes = (Route("[1]?", "odd"),)
    assert match("1x", "c", routes, "default").agent == "default"
    assert match("[1]?", "c", routes, "default").agent == "odd"


# ── ears, mouth, ids ────────────────────────────────────────────────────────────────────────────────────────────────


def test_positions_become_wire_times_within_what_is_remembered() -> None:
    stream = StreamClock(frames=4)
    assert stream.wire_time(1.0, default=7.0) == 7.0
    for index in range(1, 11):
        stream.came(index * 0.02, 100 + index * 0.02 + (0.5 if index > 8 else 0))  # a stall of half a second
    assert stream.wire_time(0.2, 0) == pytest.approx(100.7)
    assert stream.wire_time(0.19, 0) == pytest.approx(100.69)
    assert stream.wire_time(0.155, 0) == pytest.approx(100.155)
    assert stream.wire_time(0.0, 0) == pytest.approx(100.0)  # forgotten, reckoned from the oldest
    assert stream.wire_time(0.3, 0) == pytest.approx(100.8)  # not heard yet


def test_the_far_level_follows_what_plays_not_what_was_sent() -> None:
    far = FarLevel(lambda payload: -float(payload[0]))
    assert far.gave(10.0, 0.2, b"\x28") == 10.0
    assert far.gave(10.0, 0.2, b"\x14") == pytest.approx(10.2)
    assert far.loudest(10.1) == -40
    assert far.loudest(10.25) == -20
    assert far.loudest(10.8) == -20
    assert far.loudest(10.9) == -96


def test_what_was_cut_is_not_loud() -> None:
    far = FarLevel(lambda payload: -float(payload[0]))
    far.gave(0.0, 0.1, b"\x28")
    far.gave(0.0, 0.1, b"\x0a")
    assert far.cut(0.05, 0.15) == pytest.approx(0.05)
    assert far.loudest(0.3) == -40


@pytest.mark.parametrize(("frame_ms", "lead_s", "frames"), [(20, 0.2, 2), (20, 0.04, 1), (200, 0.4, 1), (20, 1.0, 5)])
def test_messages_are_short_beside_the_lead(frame_ms: int, lead_s: float, frames: int) -> None:
    assert message_frames(frame_ms, lead_s) == frames


def test_call_ids_sort_by_age_and_do_not_repeat() -> None:
    made = [new_call_id(1_700_000_000_000 + n) for n in range(1000)]
    assert made == sorted(made)
    assert len({new_call_id(5) for _ in range(1000)}) == 1000
    assert {len(one) for one in made} == {31}


def test_a_call_of_hours_keeps_its_turns_packed_and_loses_none() -> None:
    turns, most = TurnFold(), 0
    for turn in range(1_000):
        for event in _exchange(turn):
            turns.add(event)
        most = max(most, turns.open)
    told = turns.turns()
    assert [turn.turn for turn in told] == list(range(1_000))
    assert all(turn.caller_text == f"question {turn.turn}" and turn.heard_s == 1.5 for turn in told)
    assert most <= OPEN_TURNS + PACKED_TURNS
    assert turns.packed_bytes < 1_000 * 100


def test_what_comes_for_a_turn_long_packed_changes_nothing() -> None:
    turns = TurnFold()
    for turn in range(OPEN_TURNS + 2 * PACKED_TURNS):
        for event in _exchange(turn):
            turns.add(event)
    before = turns.turns()
    turns.add(CallerUnderstood(9_999.0, 3, "too late", True))
    turns.add(ReplySaying(9_999.0, "r3", 3, "too late"))
    assert turns.turns() == before


def _exchange(turn: int) -> list[CallEvent]:
    at = 10.0 * turn
    return [
        CallerSpeaking(at, turn),
        CallerSilent(at + 1, turn),
        CallerUnderstood(at + 1.1, turn, f"question {turn}", True, 0.9),
        ReplySaying(at + 1.5, f"r{turn}", turn, f"answer {turn}"),
        ReplyOnWire(at + 1.6, f"r{turn}", turn),
        ReplyDone(at + 3.1, f"r{turn}", turn, 1.5, f"answer {turn}", False, at + 1.6),
    ]


@pytest.mark.parametrize(
    ("fault", "waited", "who"), [("callee", False, "callee"), ("nobody", False, "caller"), ("callee", True, "provider")]
)
def test_who_leaves_early_has_abandoned_and_on_a_call_of_ours_that_is_the_callee(
    fault: Fault, waited: bool, who: Fault
) -> None:
    told = left(Outcome(EndCause.COMPLETED, fault, "BYE"), talked=False, waited=waited)
    assert told == Outcome(EndCause.ABANDONED, who, "BYE")
