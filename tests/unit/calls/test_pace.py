"""What a caller usually waits: an estimate that one fault does not move."""

import random

import pytest

from trunkline.calls.pace import OWN_TURNS, Pace


def pace(*took: float, shared: Pace | None = None) -> Pace:
    made = Pace(shared)
    for seconds in took:
        made.took(seconds)
    return made


@pytest.mark.parametrize(
    ("took", "usual_s"),
    [
        ((), None),
        ((1.1,), 1.1),
        ((1.1, 7.0), 1.1),
        ((7.0, 1.1), 1.1),
        ((1.0, 1.1, 1.2), 1.1),
        ((1.0, 1.1, 1.2, 1.3, 7.0, 8.0), 7.0),  # two of six are no accident
        ((1.0,) * 12 + (9.0,) * 4, 1.0),
        ((1.0,) * 11 + (9.0,) * 5, 9.0),
    ],
)
def test_the_slowest_quarter_is_left_out_and_one_at_least(took: tuple[float, ...], usual_s: float | None) -> None:
    assert pace(*took).usual_s == usual_s


def test_a_call_asks_its_agent_until_it_has_two_turns_of_its_own() -> None:
    agent = pace(2.0, 2.0, 2.0, 2.0)
    call = pace(shared=agent)
    assert call.usual_s == 2.0
    call.took(0.9)
    assert call.usual_s == 2.0
    call.took(1.0)
    assert call.usual_s == 0.9
    assert Pace(agent).usual_s == 2.0


def test_what_is_long_ago_does_not_count() -> None:
    call = pace(*(5.0,) * 9, *(1.0,) * OWN_TURNS, shared=Pace())
    assert call.usual_s == 1.0


def test_a_model_whose_answers_vary_by_half_a_second_is_never_as_late_as_its_usual_and_what_is_beyond_it() -> None:
    """0.9 to 1.4 s, a thousand turns: no filler would be said."""
    dice, call = random.Random(1), Pace(Pace())
    for _ in range(1000):
        seconds = 0.9 + dice.random() / 2
        assert call.usual_s is None or seconds < max(call.usual_s, 0.8) + 0.7
        call.took(seconds)
