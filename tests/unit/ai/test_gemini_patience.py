"""When a model that says nothing is nudged, and when its connection is left: a table of moments."""

import pytest

from trunkline.ai.gemini.patience import Due, Patience

STALL_S = 4.0


def patience(*took: float) -> Patience:
    made = Patience(STALL_S)
    for seconds in took:
        made.spoke(100.0 + seconds, 100.0)
    return made


def told(one: Patience, *, lives: bool = False, heard: bool = True, until: float = 12.0) -> list[tuple[float, Due]]:
    """What was due, and when, to a model that could have answered since 0.0 and does not."""
    done: list[tuple[float, Due]] = []
    nudged_at: float | None = None
    for step in range(int(until * 10)):
        now = step / 10
        if due := one.due(now, 0.0, nudged_at, lives=lives, heard=heard):
            done.append((now, due))
            if due != "nudge":
                break
            nudged_at = now
    return done


@pytest.mark.parametrize(
    ("took", "lives", "heard", "wanted"),
    [
        ((), True, True, [(4.0, "nudge"), (6.0, "fresh")]),  # nothing is known of it
        ((), False, True, [(4.0, "nudge"), (6.0, "resume")]),
        ((0.4,), True, True, [(2.4, "nudge"), (3.6, "fresh")]),
        ((0.4,), False, True, [(2.0, "resume")]),  # not a word was written down: nobody is there
        ((0.4,), False, False, [(2.4, "nudge"), (3.6, "resume")]),  # a prompt is not written down
        ((0.4, 1.1, 0.5), True, True, [(3.3, "nudge"), (5.0, "fresh")]),  # three times its slowest
        ((1.1, 0.4, 0.4, 0.4, 0.4), False, True, [(2.0, "resume")]),  # of the newest four
        ((3.0,), False, True, [(4.0, "nudge"), (6.0, "resume")]),  # it is always late: it has all the time
    ],
)
def test_who_was_quick_so_far_is_suspected_sooner(
    took: tuple[float, ...], lives: bool, heard: bool, wanted: list[tuple[float, Due]]
) -> None:
    assert told(patience(*took), lives=lives, heard=heard) == [(pytest.approx(at, abs=0.11), due) for at, due in wanted]


def test_a_hard_question_does_not_end_in_a_circle() -> None:
    """The connection behind the one that was left has all the time; once it has spoken it is as any other."""
    one = patience(0.4)
    assert told(one, lives=True)[-1][1] == "fresh"
    assert told(one, lives=True)[0] == (4.0, "nudge")
    one.spoke(20.0, None)
    assert told(one, lives=True)[0] == (2.4, "nudge")


def test_who_spoke_without_being_waited_for_tells_nothing() -> None:
    one = patience()
    one.spoke(1.0, None)
    assert told(one, lives=True)[0] == (4.0, "nudge")
