"""Replies that tell which parts of them arrived."""

import random

import numpy as np
import pytest

from trunkline_sim import mulaw
from trunkline_sim.gemini_voice import BLOCKS, RATE, cut, listen, tones

pytestmark = pytest.mark.slow


def _phone(pcm: bytes) -> bytes:
    """24 → 8 kHz by the spectrum, through G.711."""
    wave = np.frombuffer(pcm, "<i2").astype(np.float64)
    low = np.fft.irfft(np.fft.rfft(wave)[: wave.size // 6 + 1], wave.size // 3) / 3
    return mulaw.decode(mulaw.encode(np.rint(low).astype(np.int16))).astype("<i2").tobytes()


@pytest.mark.parametrize("reply", [0, 1, 7, 23])
def test_each_tenth_of_a_second_is_known_behind_a_phone_line(reply: int) -> None:
    heard = listen(_phone(tones(reply, 4.0)), 8000)
    assert [(one.reply, one.block) for one in heard] == [(reply, block % BLOCKS) for block in range(40)]
    assert heard[25].from_s == pytest.approx(2.5, abs=0.04)


def test_missing_and_doubled_seconds_show() -> None:
    pcm = tones(3, 2.0)
    tenth = 2 * RATE // 10
    torn = pcm[: 5 * tenth] + pcm[8 * tenth :] + pcm[-tenth:]
    assert [one.block for one in listen(_phone(torn), 8000)] == [0, 1, 2, 3, 4, *range(8, 20)]
    heard = listen(_phone(pcm[: 2 * tenth] + bytes(tenth) + pcm[: 2 * tenth]), 8000)
    assert [one.block for one in heard] == [0, 1, 0, 1]


def test_silence_and_noise_are_no_reply() -> None:
    noise = np.random.default_rng(1).normal(0, 2000, 24_000).astype("<i2").tobytes()
    assert listen(bytes(48_000), RATE) == []
    assert len(listen(noise, RATE)) <= 1


@pytest.mark.parametrize("odd", [False, True])
def test_cutting_loses_nothing(odd: bool) -> None:
    pcm = tones(1, 1.0)
    pieces = list(cut(pcm, (960, 1921, 9600), random.Random(1), odd=odd))
    assert b"".join(pieces) == pcm
    assert not odd or {len(piece) % 2 for piece in pieces[:-1]} == {1}
