"""Concealment: the hole is filled with what would have gone on, without a click at either end, then fades."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.codecs.signals import level_db, noise, recordings, words
from trunkline.codecs.conceal import RATES, Concealer, history_samples, pitch_period
from trunkline.codecs.g711 import PCMU
from trunkline.codecs.l16 import L16_16K
from trunkline.errors import UsageError


def voice(rate: int, seconds: float, pitch_hz: float = 125.0, harmonics: int = 11) -> np.ndarray:
    """A vowel: harmonics of the pitch under a falling slope."""
    time = np.arange(round(rate * seconds)) / rate
    wave = sum(np.sin(2 * np.pi * pitch_hz * n * time + n) / n for n in range(1, harmonics + 1))
    return np.rint(wave * 5000).astype(np.int16)


def steepest(wave: np.ndarray) -> float:
    """The largest step from one sample to the next."""
    return float(np.abs(np.diff(wave)).max())


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("pitch_hz", [80.0, 125.0, 190.0])
def test_the_pitch_is_found(rate: int, pitch_hz: float) -> None:
    period = pitch_period(voice(rate, 0.1, pitch_hz).astype(float), rate)
    cycles = period * pitch_hz / rate
    assert abs(cycles - round(cycles)) < 0.03


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("pitch_hz", [90.0, 125.0, 175.0])
def test_a_lost_frame_of_a_vowel_is_nearly_what_was_lost(rate: int, pitch_hz: float) -> None:
    whole, frame = voice(rate, 0.5, pitch_hz), rate // 50
    at = 10 * frame
    concealer = Concealer(rate)
    concealer.heard(whole[:at].tobytes())
    filled = words(concealer.lost(frame // 2))  # before the fade
    lost = whole[at : at + frame // 2].astype(float)
    assert level_db(filled - lost, lost) < -12


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("lost_frames", [1, 2, 3, 5])
@pytest.mark.parametrize("pitch_hz", [93.0, 125.0, 211.0])
def test_no_click_at_either_end_of_a_loss(rate: int, lost_frames: int, pitch_hz: float) -> None:
    whole, frame = voice(rate, 0.6, pitch_hz, 3), rate // 50
    concealer, out = Concealer(rate), b""
    for at in range(0, whole.size, frame):
        lost = 10 <= at // frame < 10 + lost_frames
        out += concealer.lost(frame) if lost else concealer.heard(whole[at : at + frame].tobytes())
    heard = words(out)
    assert heard.size == whole.size
    assert steepest(heard) < 1.5 * steepest(whole.astype(float))


def test_silence_filling_would_click() -> None:
    """The measure of the test above is one that catches a decoder that plays zeros."""
    whole = voice(8000, 0.6, 125.0, 3).astype(float)
    holed = whole.copy()
    at = 1600 + int(whole[1600:1664].argmax())
    holed[at : at + 160] = 0
    assert steepest(holed) > 1.5 * steepest(whole)


@pytest.mark.parametrize("rate", RATES)
def test_it_fades_and_is_silent_after_60_ms(rate: int) -> None:
    concealer = Concealer(rate)
    source = voice(rate, 0.2)
    concealer.heard(source.tobytes())
    levels = [level_db(words(concealer.lost(rate // 100)), source.astype(float)) for _ in range(8)]
    assert abs(levels[0]) < 2
    assert all(later < earlier + 0.5 for earlier, later in pairwise(levels[1:]))
    assert levels[4] < -5
    assert not np.any(words(concealer.lost(rate)))
    assert levels[6] < -100


def test_losing_in_pieces_is_losing_at_once() -> None:
    at_once, in_pieces = Concealer(8000), Concealer(8000)
    for concealer in (at_once, in_pieces):
        concealer.heard(voice(8000, 0.2).tobytes())
    assert b"".join(in_pieces.lost(n) for n in (1, 79, 80, 0, 7, 233)) == at_once.lost(400)


def test_after_a_loss_the_voice_comes_back_untouched_but_for_the_blend() -> None:
    concealer, source = Concealer(8000), voice(8000, 0.2).tobytes()
    concealer.heard(source)
    concealer.lost(160)
    back = concealer.heard(source)
    assert back[160:] == source[160:]  # 80 samples at most are blended
    assert back[:160] != source[:160]
    assert concealer.heard(source) == source


def test_nothing_heard_is_concealed_by_silence() -> None:
    assert Concealer(8000).lost(160) == bytes(320)


def test_a_short_past_is_enough() -> None:
    concealer = Concealer(8000)
    concealer.heard(voice(8000, 0.01).tobytes())
    assert len(concealer.lost(320)) == 640


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 500)), max_size=20), st.sampled_from(RATES))
def test_any_order_of_loss_and_voice_keeps_the_time(steps: list[tuple[bool, int]], rate: int) -> None:
    concealer, source = Concealer(rate), noise(500, 20000).tobytes()
    for lost, samples in steps:
        piece = concealer.lost(samples) if lost else concealer.heard(source[: 2 * samples])
        assert len(piece) == 2 * samples


def test_full_scale_does_not_wrap() -> None:
    concealer = Concealer(8000)
    square = np.where(np.arange(800) // 40 % 2, 32767, -32768).astype("<i2")
    concealer.heard(square.tobytes())
    concealer.lost(80)
    concealer.heard(square.tobytes())


def test_speech_with_5_percent_of_its_frames_lost_is_better_than_with_holes() -> None:
    """Real prompts: the distance of the short-time spectra, where holes are worth more than 10 dB each."""
    filled, holed, total = 0.0, 0.0, 0
    for pcm in recordings("demo-congrats", "vm-intro"):
        lost = set(np.random.default_rng(3).choice(len(pcm) // 320, len(pcm) // 6400, replace=False))
        decoder, payload = PCMU.decoder(), PCMU.encoder().encode(pcm)
        clean = words(PCMU.decoder().decode(payload))
        out, hole = b"", clean.copy()
        for index, at in enumerate(range(0, len(payload), 160)):
            piece = payload[at : at + 160]
            out += decoder.conceal(len(piece)) if index in lost else decoder.decode(piece)
            if index in lost:
                hole[at : at + 160] = 0
                total += 1
        filled += _spectral_distance(clean, words(out))
        holed += _spectral_distance(clean, hole)
    assert total > 20
    assert filled < 0.5 * holed


def _spectral_distance(one: np.ndarray, other: np.ndarray) -> float:
    size = min(one.size, other.size) // 160 * 160
    spectra = [20 * np.log10(np.abs(np.fft.rfft(wave[:size].reshape(-1, 160))) + 300) for wave in (one, other)]
    return float(np.abs(spectra[0] - spectra[1]).mean())


def test_decoders_conceal_with_what_they_decoded() -> None:
    for codec in (PCMU, L16_16K):
        source = voice(codec.rate, 0.2)
        decoder = codec.decoder()
        decoder.decode(codec.encoder().encode(source.tobytes()))
        filled = words(decoder.conceal(codec.rate // 100))
        assert abs(level_db(filled, source.astype(float))) < 2


def test_other_rates_are_refused() -> None:
    with pytest.raises(UsageError, match="rate: 44100"):
        Concealer(44100)


def test_the_history_covers_three_periods() -> None:
    assert history_samples(8000) == 390  # 48.75 ms, as in the appendix
