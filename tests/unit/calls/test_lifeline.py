"""What a call does while nobody can answer: a pure table of moments."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.calls.lifeline import (
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
        line.seen(now, Signs(signs.connected, signs.owes_since, signs.caller_speaks, busy=now < heard))
        if (action := line.due(now)) is not None:
            done.append((now, action))
            if isinstance(action, Reassure):
                heard = now + SPOKEN_S
            elif isinstance(action, Reopen):
                line.opening(now)
        now = round(now + 0.05, 2)
    return done


def opened(*, mute: bool = False) -> Lifeline:
    line = Lifeline(SETTINGS, mute=mute)
    line.opening(0.0)
    return line


def test_an_opening_that_lasts_is_told_about_then_given_up() -> None:
    done = told(opened(), NOBODY, 20)
    assert [(at, type(action)) for at, action in done] == [
        (1.0, Reassure), (pytest.approx(3.5, abs=0.1), Reassure), (pytest.approx(6.0, abs=0.1), Reassure), (8.0, GiveUp)
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


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans(), st.floats(0.01, 3)), max_size=30))
def test_nothing_becomes_due_before_the_deadline(looks: list[tuple[bool, bool, bool, float]]) -> None:
    """Whoever sleeps until the deadline misses nothing."""
    line, now = opened(), 0.0
    for connected, owes, speaks, seconds in looks:
        line.seen(now, Signs(connected, now - 1 if owes else None, speaks))
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
