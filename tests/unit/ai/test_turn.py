"""The turn taker, window by window: starts, pauses, ends, echo."""

from collections.abc import Iterable

import pytest

from trunkline.ai.cascade.turn import (
    PreRoll,
    SpeechResumed,
    SpeechStarted,
    SpeechStopped,
    TurnEnded,
    TurnEvent,
    TurnSettings,
    TurnTaker,
)
from trunkline.ai.cascade.vad import WINDOW_S

QUIET = -96.0


class Line:
    """Feeds a taker; positions advance by one window."""

    def __init__(self, settings: TurnSettings | None = None) -> None:
        self.taker = TurnTaker(settings or TurnSettings())
        self.at_s = 0.0

    def hear(self, windows: int, probability: float, near: float = -25.0, far: float = QUIET) -> list[TurnEvent]:
        events: list[TurnEvent] = []
        for _ in range(windows):
            self.at_s += WINDOW_S
            events += self.taker.push(probability, near, far, self.at_s)
        return events

    def speech(self, s: float, near: float = -25.0, far: float = QUIET) -> list[TurnEvent]:
        return self.hear(round(s / WINDOW_S), 0.95, near, far)

    def pause(self, s: float, far: float = QUIET) -> list[TurnEvent]:
        return self.hear(round(s / WINDOW_S), 0.02, -70.0, far)


def kinds(events: Iterable[TurnEvent]) -> list[type]:
    return [type(event) for event in events]


def test_a_turn_starts_at_its_onset_and_ends_after_patience() -> None:
    line = Line()
    assert line.pause(1.0) == []
    onset = line.at_s
    (started,) = line.speech(0.5)
    assert started == SpeechStarted(pytest.approx(onset))
    last = line.at_s
    stopped, ended = line.pause(1.0)
    assert stopped == SpeechStopped(pytest.approx(last))
    assert ended == TurnEnded(pytest.approx(last))
    assert not line.taker.speaking


def test_the_end_is_told_within_one_window_of_the_patience() -> None:
    line = Line(TurnSettings(patience_s=0.6))
    line.speech(0.5)
    last = line.at_s
    while not any(isinstance(event, TurnEnded) for event in line.pause(WINDOW_S)):
        pass
    assert 0.6 <= line.at_s - last + 1e-6 < 0.6 + WINDOW_S


def test_a_click_is_no_start() -> None:
    line = Line()
    for _ in range(20):
        assert line.hear(1, 0.9) == []
        assert line.pause(2 * WINDOW_S) == []


def test_a_pause_inside_a_turn_resumes_it() -> None:
    line = Line()
    assert kinds(line.speech(0.5)) == [SpeechStarted]
    assert kinds(line.pause(0.4)) == [SpeechStopped]
    resumed = line.speech(0.3)
    assert kinds(resumed) == [SpeechResumed]
    last = line.at_s
    assert kinds(line.pause(0.5)) == [SpeechStopped], "the silence starts anew"
    assert line.pause(0.2) == [TurnEnded(pytest.approx(last))]


def test_speech_after_the_end_is_a_new_turn() -> None:
    line = Line()
    line.speech(0.5)
    line.pause(1.0)
    assert kinds(line.speech(0.5)) == [SpeechStarted]


def test_patience_can_change_inside_a_pause() -> None:
    line = Line()
    line.speech(0.5)
    assert kinds(line.pause(0.4)) == [SpeechStopped]
    line.taker.patience(0.35)
    assert kinds(line.pause(WINDOW_S)) == [TurnEnded]
    line.taker.patience(None)
    line.speech(0.5)
    assert TurnEnded not in kinds(line.pause(0.5))


def test_idle_ends_a_turn_when_no_audio_comes() -> None:
    line = Line()
    assert line.taker.idle(5.0) == ()
    line.speech(0.5)
    assert kinds(line.taker.idle(line.at_s + 0.3)) == [SpeechStopped]
    assert kinds(line.taker.idle(line.at_s + 0.7)) == [TurnEnded]
    assert line.taker.idle(line.at_s + 5.0) == ()


def test_a_hole_in_the_stream_counts_as_silence() -> None:
    line = Line()
    line.speech(0.5)
    line.at_s += 1.0
    assert kinds(line.hear(1, 0.02)) == [SpeechStopped, TurnEnded]


def test_barge_in_needs_more_evidence_than_a_plain_start() -> None:
    plain, barge = Line(), Line()
    assert kinds(plain.speech(0.1)) == [SpeechStarted]
    assert barge.speech(0.1, far=-20.0) == []
    assert kinds(barge.speech(0.1, far=-20.0)) == [SpeechStarted]


def test_barge_in_survives_a_gap_between_syllables() -> None:
    line = Line()
    assert line.speech(0.096, far=-20.0) == []
    assert line.pause(0.032, far=-20.0) == []
    assert kinds(line.speech(0.13, far=-20.0)) == [SpeechStarted]


@pytest.mark.parametrize("echo_db", [-20.0, -25.0, -32.0, -40.0])
def test_our_own_echo_never_interrupts(echo_db: float) -> None:
    line = Line()
    assert line.speech(20.0, near=-20.0 + echo_db, far=-20.0) == []


def test_without_the_gate_the_echo_would_interrupt() -> None:
    line = Line(TurnSettings(echo_gate_db=90.0, floor_dbov=-90.0))
    assert kinds(line.speech(1.0, near=-50.0, far=-20.0)) == [SpeechStarted]


def test_loud_echo_raises_the_bar_and_a_caller_still_gets_through() -> None:
    line = Line()
    assert line.taker.echo_bar_db == -18.0
    line.speech(2.0, near=-40.0, far=-20.0)
    assert line.taker.echo_bar_db == pytest.approx(-14.0)
    assert line.speech(1.0, near=-35.0, far=-20.0) == []
    assert kinds(line.speech(0.3, near=-26.0, far=-20.0)) == [SpeechStarted]


def test_a_mistaken_barge_in_raises_the_bar() -> None:
    line = Line()
    assert kinds(line.speech(0.5, near=-36.0, far=-20.0)) == [SpeechStarted]
    line.pause(1.0)
    line.taker.mistaken()
    assert line.taker.echo_bar_db == pytest.approx(-10.0)
    assert line.speech(1.0, near=-36.0, far=-20.0) == []


def test_the_bar_never_locks_a_caller_out() -> None:
    line = Line()
    line.speech(0.5, near=-15.0, far=-20.0)
    line.pause(1.0)
    line.taker.mistaken()
    assert line.taker.echo_bar_db <= -6.0


def test_no_gate_while_the_agent_is_silent() -> None:
    assert kinds(Line().speech(0.2, near=-50.0, far=-70.0)) == [SpeechStarted]


def test_endless_sound_is_cut() -> None:
    events = Line(TurnSettings(longest_turn_s=5.0)).speech(6.0)
    assert [event.forced for event in events if isinstance(event, TurnEnded)] == [True]


def test_pre_roll_gives_what_was_heard_from_a_position_on() -> None:
    roll = PreRoll(1000, 0.5)
    for second in range(3):
        for tenth in range(10):
            roll.push(bytes([second * 10 + tenth, 0]) * 100)
    assert roll.since(2.9) == bytes([29, 0]) * 100
    assert len(roll.since(0.0)) == 1000, "as far back as it is kept"
    assert roll.since(9.0) == b""
