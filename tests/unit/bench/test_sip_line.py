"""The bad line, and the measures of what it does."""

import numpy as np
import pytest

from bench.sip_line import RATE, BadLine, distance, offset


def voice(seconds: float = 2.0):
    """Something like speech: syllables of a gliding harmonic tone."""
    at = np.arange(int(RATE * seconds)) / RATE
    phase = 2 * np.pi * (120 * at + 15 * at**2)
    wave = sum(np.sin(part * phase) / part for part in range(1, 12))
    return 3000 * wave * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * at)) + np.random.default_rng(1).normal(0, 5, len(at))


def holed(wave, share: float):
    dice, made = np.random.default_rng(2), wave.copy()
    for begin in range(0, len(made), 160):
        if dice.random() < share:
            made[begin : begin + 160] = 0.0
    return made


def test_the_same_is_the_best_there_is_wherever_it_begins():
    said = voice()
    heard = np.concatenate([np.zeros(3333), said, np.zeros(900)])
    assert offset(said, heard) == 3333
    found = distance(said, heard)
    assert found is not None
    assert (found.segmental_db, found.spectral_db) == (35.0, pytest.approx(0.0, abs=1e-6))


def test_more_holes_are_farther():
    said = voice()
    found = [distance(said, holed(said, share)) for share in (0.02, 0.1, 0.3)]
    assert found[0].segmental_db > found[1].segmental_db > found[2].segmental_db
    assert found[0].spectral_db < found[1].spectral_db < found[2].spectral_db


def test_a_piece_that_a_jitter_buffer_left_out_moves_the_rest_and_no_more():
    said = voice()
    shorter = np.concatenate([said[:6000], said[6320:]])
    found, holes = distance(said, shorter), distance(said, holed(said, 0.3))
    assert found.segmental_db > 25
    assert found.segmental_db > holes.segmental_db


def test_silence_has_no_distance():
    assert distance(np.zeros(100), np.zeros(100)) is None


def test_a_bad_line_loses_and_delays_as_asked_and_again_the_same_way():
    lines = [BadLine(0.05, 0.04, seed=3) for _ in range(2)]
    one, two = ([line.delay_s() for _ in range(10_000)] for line in lines)
    assert one == two
    assert lines[0].lost / lines[0].sent == pytest.approx(0.05, abs=0.01)
    late = [delay for delay in one if delay is not None]
    assert (min(late) >= 0, max(late) <= 0.08, np.mean(late)) == (True, True, pytest.approx(0.04, abs=0.002))
