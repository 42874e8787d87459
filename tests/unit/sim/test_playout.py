"""The simulated ear: what it hears when, and when marks come back."""

import pytest

from trunkline_sim.playout import MarkBack, Microphone, Playout

A = b"\x10" * 1600  # 200 ms
B = b"\x20" * 1600
QUIET = b"\xff"


def test_audio_is_heard_from_the_moment_it_arrives() -> None:
    ear = Playout()
    ear.push(A, 0.5)
    ear.advance(1.0)
    assert bytes(ear.heard) == QUIET * 4000 + A + QUIET * 2400


def test_audio_that_arrives_early_waits_for_its_turn() -> None:
    ear = Playout()
    ear.push(A, 0.0)
    ear.push(B, 0.1)
    assert ear.held_s() == pytest.approx(0.3)
    ear.advance(0.4)
    assert bytes(ear.heard) == A + B
    assert ear.held_s() == 0


def test_a_mark_comes_back_when_everything_before_it_was_played() -> None:
    ear = Playout()
    ear.push(A, 0.0)
    ear.mark("end", 0.01)
    assert ear.advance(0.19) == []
    assert ear.advance(0.3) == [MarkBack("end", 0.2)]


def test_a_mark_behind_nothing_comes_back_at_once() -> None:
    ear = Playout()
    ear.mark("now", 0.5)
    assert ear.advance(0.5) == [MarkBack("now", 0.5)]


def test_clear_drops_what_waits_and_gives_its_marks_back_at_once() -> None:
    ear = Playout()
    ear.push(A, 0.0)
    ear.mark("a", 0.0)
    ear.clear(0.05)
    assert ear.advance(0.05) == [MarkBack("a", 0.05)]
    ear.push(B, 0.1)
    ear.advance(0.4)
    assert bytes(ear.heard) == A[:400] + QUIET * 400 + B + QUIET * 800
    assert ear.dropped == 1200


def test_a_late_clear_spares_what_came_after_it() -> None:
    ear = Playout("late", late_s=0.1)
    ear.push(A, 0.0)
    ear.clear(0.05)
    ear.push(B, 0.06)
    ear.advance(0.5)
    assert bytes(ear.heard) == A[:1200] + B + QUIET * 1200


def test_an_ignored_clear_is_only_noted() -> None:
    ear = Playout("ignored")
    ear.push(A, 0.0)
    ear.clear(0.05)
    ear.advance(0.2)
    assert bytes(ear.heard) == A
    assert ear.clears == [0.05]


def test_time_that_stands_still_or_goes_back_changes_nothing() -> None:
    ear = Playout()
    ear.push(A, 0.1)
    ear.advance(0.2)
    ear.advance(0.15)
    assert len(ear.heard) == 1600


def test_the_microphone_speaks_in_order_and_is_silent_otherwise() -> None:
    mic = Microphone()
    mic.take(160)
    assert mic.speak(A) == pytest.approx(0.22)
    mic.speak(B)
    assert mic.take(1600) + mic.take(2000) == A + B + QUIET * 400
    assert len(mic.track) == 160 + 3600
