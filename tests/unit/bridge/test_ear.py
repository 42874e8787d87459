"""The ear of a leg: when a silent wire is filled up, and when it only seems silent because we stood still."""

import pytest

from trunkline.bridge.dialect import WireAudio
from trunkline.bridge.ear import EAR_S, FILL_S, LOOK_S, SILENT_S, Ear
from trunkline.bridge.telling import Telling
from trunkline.codecs.g711 import PCMU

WORD = WireAudio(bytes([0x10, 0x90] * 400))  # 100 ms of something loud


def listening(now: float = 0.0) -> tuple[Ear, Telling]:
    telling = Telling()
    return Ear(PCMU, telling, now), telling


def filled_s(telling: Telling) -> float:
    return telling.counters.get("silence_filled_ms", 0) / 1000


def test_a_silent_wire_is_filled_piece_by_piece() -> None:
    ear, telling = listening()
    ear.fill(SILENT_S - 0.01)
    assert filled_s(telling) == 0
    for _ in range(5):
        ear.fill(ear.silence_at)
    assert filled_s(telling) == pytest.approx(5 * FILL_S)
    assert ear.silence_at == pytest.approx(SILENT_S + 5 * FILL_S)


def test_words_that_waited_while_we_stood_still_get_no_silence_between_them() -> None:
    """The loop stood for 0.8 s; what the carrier sent meanwhile is in the socket."""
    ear, telling = listening()
    ear.heard(WORD, 0.1)
    ear.fill(0.9)
    assert filled_s(telling) == 0
    for _ in range(8):
        ear.heard(WORD, 0.9 + LOOK_S / 2)
    ear.fill(0.9 + LOOK_S)
    assert filled_s(telling) == 0
    assert ear.audio.held == pytest.approx(0.9)


def test_a_wire_that_was_silent_while_we_stood_still_is_made_up_for() -> None:
    ear, telling = listening()
    ear.heard(WORD, 0.1)
    ear.fill(0.9)
    now = 0.9 + LOOK_S
    while ear.silence_at <= now:
        ear.fill(now)
    assert filled_s(telling) == pytest.approx(0.6)  # from 0.4 on, in whole pieces
    ear.fill(ear.silence_at)
    assert filled_s(telling) == pytest.approx(0.7)


def test_who_stands_still_again_looks_again() -> None:
    ear, telling = listening()
    for now in (1.0, 1.0 + LOOK_S):
        ear.fill(now)
    while ear.silence_at <= 1.1:
        ear.fill(1.1)
    before = filled_s(telling)
    ear.fill(1.9)
    assert filled_s(telling) == before


def test_a_process_that_slept_for_an_hour_owes_a_second() -> None:
    ear, telling = listening()
    ear.fill(3600.0)
    now = 3600.0 + LOOK_S
    while ear.silence_at <= now:
        ear.fill(now)
    assert filled_s(telling) <= EAR_S + 2 * FILL_S
