"""What a call does while nobody can answer: a pure table of moments."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.calls.lifeline import (
    AGAIN_S,
    BEHIND_WORK_S,
    BEYOND_S,
    BROKE_OFF_S,
    MOST_UNANSWERED,
    MUTE_S,
    REPLACED_S,
    Action,
    After,
    GiveUp,
    Lifeline,
    Reassure,
    Reopen,
    Signs,
    afterwards,
)
from trunkline.calls.pace import Pace
from trunkline.config import Failure

SETTINGS = Failure(honest_after_s=1.0, answer_within_s=2.5, give_up_s=8.0)
NOBODY = Signs(connected=False, owes_since=0.0)
SPOKEN_S = 1.5  # a sentence lasts


def told(line: Lifeline, signs: Signs, until: float, *, begin: float = 0.0) -> list[tuple[float, Action]]:
    """What was due, and when, if the session looks the same all the time and each sentence is heard."""
    done: list[tuple[float, Action]] = []
    now, heard = begin, -1.0
    while now <= until and not (done and isinstance(done[-1][1], GiveUp)):
        line.heard(min(now, heard))
        line.seen(now, replace(signs, busy=now < heard))
        if (action := line.due(now)) is not None:
            done.append((now, action))
            if isinstance(action, Reassure):
                heard = now + SPOKEN_S
            elif isinstance(action, Reopen):
                line.opening(now)
        now = round(now + 0.05, 2)
    return done


def opened(*, mute: bool = False, pace: Pace | None = None) -> Lifeline:
    line = Lifeline(SETTINGS, mute=mute, pace=pace)
    line.opening(0.0)
    return line


def test_an_opening_that_lasts_is_told_about_then_given_up() -> None:
    done = told(opened(), NOBODY, 20)
    assert [(at, type(action)) for at, action in done] == [
        (1.0, Reassure), (pytest.approx(3.4, abs=0.1), Reassure), (pytest.approx(5.9, abs=0.1), Reassure), (8.0, GiveUp)
    ]  # fmt: skip
    assert [action.first for _, action in done if isinstance(action, Reassure)] == [True, False, False]
    assert done[-1][1] == GiveUp("no session within 8 s")


def test_a_sentence_that_is_not_heard_is_not_repeated_at_once() -> None:
    line = opened()
    line.seen(1.0, NOBODY)
    assert line.due(1.0) == Reassure(first=True)
    line.seen(1.1, NOBODY)
    assert line.due(1.1) is None
    assert line.deadline(watched=False) > 1.1


def test_a_refusal_is_given_up_at_once_with_the_vendors_word() -> None:
    line = opened()
    line.lost(0.3, "quota", retryable=False)
    assert line.due(0.3) == GiveUp("quota")
    assert line.deadline(watched=False) <= 0.3


def test_an_opening_that_fails_for_now_is_tried_again_with_growing_waits() -> None:
    line, openings, now = opened(), [], 0.0
    line.lost(0.0, "503", retryable=True)
    while (action := line.due(now)) is None or not isinstance(action, GiveUp):
        if isinstance(action, Reopen):
            openings.append(now)
            line.opening(now)
            line.lost(now, "503", retryable=True)
        now = round(now + 0.05, 2)
        line.seen(now, NOBODY)
    assert openings == pytest.approx([0.5, 1.5, 3.5, 5.5, 7.5], abs=0.06)
    assert (now, action) == (8.0, GiveUp("503"))


def test_a_session_that_falls_is_replaced_at_once_but_not_when_it_falls_again() -> None:
    line = opened()
    line.up()
    line.seen(1.0, Signs(connected=True))
    line.lost(30.0, "reset", retryable=True)
    assert line.due(30.0) == Reopen()
    line.opening(30.0)
    line.up()
    line.seen(30.5, Signs(connected=True))
    line.lost(30.0 + REPLACED_S - 1, "again", retryable=True)
    assert line.due(30.0 + REPLACED_S - 1) == GiveUp("again")


def test_one_that_falls_much_later_is_replaced_too() -> None:
    line = opened()
    for fall in (30.0, 31.0 + REPLACED_S):
        line.up()
        line.seen(fall - 1, Signs(connected=True))
        line.lost(fall, "reset", retryable=True)
        assert line.due(fall) == Reopen()
        line.opening(fall)


def test_a_connection_that_is_replaced_in_time_is_nobodys_business() -> None:
    line = opened()
    line.up()
    line.seen(5.0, Signs(connected=True))
    line.heard(5.0)
    assert told(line, Signs(connected=False, owes_since=4.0), 5.9, begin=5.0) == []
    line.seen(5.95, Signs(connected=True, owes_since=4.0))
    assert line.due(6.3) is None
    assert line.gone_s(6.3) == 0.0


def test_a_gap_in_which_nobody_waits_is_borne_twice_as_long() -> None:
    owed, idle = opened(), opened()
    for line in (owed, idle):
        line.seen(10.0, Signs(connected=True))
    assert told(owed, Signs(False, 10.0), 14, begin=10.0)[0][0] == pytest.approx(11.0)
    assert told(idle, Signs(False), 14, begin=10.0)[0][0] == pytest.approx(12.0)


def test_a_model_that_owes_an_answer_is_excused_three_times_then_given_up() -> None:
    done = told(opened(), Signs(connected=True, owes_since=10.0), 60, begin=10.0)
    assert [type(action) for _, action in done] == [Reassure] * MOST_UNANSWERED + [GiveUp]
    assert done[0][0] == pytest.approx(12.5)
    assert done[-1][0] < 30.0


def test_an_answer_makes_it_patient_again() -> None:
    line = opened()
    assert len(told(line, Signs(True, 10.0), 21, begin=10.0)) == MOST_UNANSWERED
    line.answered()
    done = told(line, Signs(True, 30.0), 33, begin=30.0)
    assert done == [(pytest.approx(32.5), Reassure(first=True))]


@pytest.mark.parametrize(
    ("took", "within_s"),
    [
        ([], 2.5),  # as configured
        ([0.3], 1.5),  # no model is held to less than 0.8 s
        ([0.9], 1.6),
        ([0.9, 1.6, 1.0], 1.7),  # one that a fault delayed is no habit
        ([1.4, 1.2, 1.3, 0.9, 0.9, 0.9], 2.0),
        ([1.9, 1.9, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], 1.6),  # of the newest six
        ([2.4], 2.7),
        ([2.6], 2.7),  # who is about to answer is not talked over
        ([3.5], 2.5),  # to wait for this one would spare the caller nothing
        ([0.9, 7.0], 1.6),
        ([7.0, 7.0, 0.9], 2.5),
    ],
)
def test_an_answer_is_waited_for_as_long_as_this_model_usually_takes(took: list[float], within_s: float) -> None:
    line = opened()
    for seconds in took:
        line.took(seconds)
    done = told(line, Signs(connected=True, owes_since=10.0), 14, begin=10.0)
    assert done[0] == (pytest.approx(10.0 + within_s, abs=0.06), Reassure(first=True))


def test_an_agent_s_other_calls_tell_a_call_what_is_usual_until_it_knows_for_itself() -> None:
    agent = Pace()
    for seconds in (1.3, 1.1, 1.2, 1.3, 9.0):
        Pace(agent).took(seconds)
    line = opened(pace=agent)
    assert told(line, Signs(connected=True, owes_since=10.0), 13, begin=10.0)[0][0] == pytest.approx(12.0, abs=0.06)
    line.answered()
    line.took(0.9)
    line.took(0.9)
    assert told(line, Signs(connected=True, owes_since=20.0), 23, begin=20.0)[0][0] == pytest.approx(21.6, abs=0.06)


def test_the_greeting_is_waited_for_since_the_line_was_there() -> None:
    """The session learns of it only with its connection, which came after 0.6 s."""
    line = opened()
    for at in (0.0, 0.25, 0.5):
        line.seen(at, Signs(connected=False, owes_since=0.1))
    assert told(line, Signs(connected=True, owes_since=0.6), 3, begin=0.6)[0][0] == pytest.approx(2.6, abs=0.06)


@pytest.mark.parametrize("owed", [True, False])
def test_a_caller_who_spoke_in_a_gap_waits_from_their_own_last_word(owed: bool) -> None:
    line = opened()
    line.seen(1.0, Signs(connected=True))
    line.seen(10.0, Signs(connected=False, owes_since=10.0 if owed else None))
    line.seen(10.3, Signs(connected=False, caller_speaks=True))
    line.seen(10.6, Signs(connected=False, owes_since=10.5))
    assert told(line, Signs(connected=True, owes_since=10.7), 15, begin=10.7)[0][0] == pytest.approx(13.0, abs=0.06)


def test_a_sentence_that_breaks_off_is_excused_sooner_and_only_once() -> None:
    done = told(opened(), Signs(connected=True, owes_since=10.0, broke_off=True), 16, begin=10.0)
    first, second = (at for at, _ in done[:2])
    assert first == pytest.approx(10.0 + BROKE_OFF_S, abs=0.06)
    assert second == pytest.approx(first + SPOKEN_S + AGAIN_S, abs=0.1)


def test_who_has_nothing_to_say_keeps_to_what_is_configured() -> None:
    line = opened(mute=True)
    line.took(0.9)
    done = told(line, Signs(connected=True, owes_since=10.0, broke_off=True), 20, begin=10.0)
    assert done == [(pytest.approx(12.5), GiveUp("the session does not answer"))]


@pytest.mark.parametrize(("works_s", "said_at"), [(0.5, 11.6), (1.5, 12.5), (6.0, 17.0)])
def test_a_tool_does_not_make_the_wait_begin_anew(works_s: float, said_at: float) -> None:
    """From the caller's last word at 10.0; behind the tool's answer the model has a second at least."""
    line = opened()
    line.took(0.9)
    now, spoken = 10.0, None
    while spoken is None and now < 20.0:
        line.seen(now, Signs(connected=True, owes_since=10.0, busy=now < 10.0 + works_s))
        spoken = now if line.due(now) else None
        now = round(now + 0.05, 2)
    assert spoken == pytest.approx(said_at, abs=0.1)
    assert spoken == pytest.approx(max(10.9 + BEYOND_S, 10.0 + works_s + BEHIND_WORK_S), abs=0.1)


@pytest.mark.parametrize(("works_s", "said_at"), [(0.1, 13.5), (0.6, 13.5), (4.0, 17.4)])
def test_who_was_asked_to_wait_is_not_left_to_more_silence_by_short_work(works_s: float, said_at: float) -> None:
    """Our sentence is heard until 12.6, the tool begins at 12.4; behind long work the model has its second."""
    line, now, spoken = opened(pace=None), 10.0, list[float]()
    line.took(0.4)
    while now < 18.0 and len(spoken) < 2:
        busy = bool(spoken) and (now < spoken[0] + SPOKEN_S or 12.6 <= now < 12.4 + works_s)
        line.heard(min(now, spoken[0] + SPOKEN_S) if spoken else 0.0)
        line.seen(now, Signs(connected=True, owes_since=9.6, busy=busy))
        spoken += [now] if line.due(now) else []
        now = round(now + 0.05, 2)
    assert spoken == [pytest.approx(11.1, abs=0.06), pytest.approx(said_at, abs=0.11)]


@pytest.mark.parametrize(
    "signs",
    [
        Signs(connected=True),
        Signs(connected=True, owes_since=0.0, busy=True),
        Signs(connected=True, owes_since=0.0, caller_speaks=True),
    ],
)
def test_nothing_is_said_when_nobody_waits_for_it(signs: Signs) -> None:
    line = opened()
    for now in range(100):
        line.seen(now, signs)
        assert line.due(now) is None


def test_who_cannot_say_anything_ends_before_the_line_seems_dead() -> None:
    assert told(opened(mute=True), NOBODY, 20) == [(MUTE_S, GiveUp(f"no session within {MUTE_S:g} s"))]
    assert told(opened(mute=True), Signs(True, 10.0), 60, begin=10.0)[0] == (
        12.5,
        GiveUp("the session does not answer"),
    )


@given(
    st.lists(st.tuples(*[st.booleans()] * 4, st.floats(0.01, 3)), max_size=30),
    st.lists(st.floats(0.0, 10.0), max_size=3),
)
def test_nothing_becomes_due_before_the_deadline(looks: list[Any], took: list[float]) -> None:
    """Whoever sleeps until the deadline misses nothing."""
    line, now = opened(), 0.0
    for usual_s in took:
        line.took(usual_s)
    for connected, owes, speaks, broke_off, seconds in looks:
        line.seen(now, Signs(connected, now - 0.5 if owes else None, speaks, broke_off=broke_off))
        if line.due(now) is not None:
            continue
        deadline = line.deadline(watched=False)
        if deadline > now + seconds:
            assert line.due(now + seconds) is None
        now += seconds


@pytest.mark.parametrize(
    ("wanted", "known", "can", "found"),
    [
        ("end", True, True, "end"),
        ("callback", True, False, "callback"),
        ("callback", False, False, "end"),
        ("transfer", True, True, "transfer"),
        ("transfer", True, False, "end"),
    ],
)
def test_nothing_is_promised_that_cannot_be_kept(wanted: After, known: bool, can: bool, found: After) -> None:
    assert afterwards(wanted, number_known=known, can_transfer=can) == found
