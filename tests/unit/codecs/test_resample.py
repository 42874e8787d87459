"""The resampler: clean, prompt, and the same however the stream is cut."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.codecs.signals import in_chunks, level_db, noise, random_sizes, sine, snr_db, words
from trunkline.codecs.resample import HALF, RATES, Resampler, design, resample_clip
from trunkline.errors import UsageError

PAIRS = list(permutations(RATES, 2))
SETTLED_S = 0.02


def streamed(pcm: bytes, from_hz: int, to_hz: int, chunk_samples: int = 160) -> bytes:
    """The whole stream, flushed."""
    resampler = Resampler(from_hz, to_hz)
    return in_chunks(resampler.push, pcm, 2 * chunk_samples) + resampler.flush()


def settled(pcm: bytes, rate: int) -> np.ndarray:
    """The samples without the beginning and the end of the stream."""
    edge = round(SETTLED_S * rate)
    return words(pcm)[edge:-edge]


@pytest.mark.slow
@pytest.mark.parametrize("ratio", [2, 3])
def test_the_filter_is_what_scipy_designs(ratio: int) -> None:
    signal = pytest.importorskip("scipy.signal")
    expected = signal.firwin(2 * HALF * ratio + 1, 0.92 / ratio, window=("kaiser", 7.0))
    assert np.abs(design(ratio) - expected).max() < 1e-12


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
@pytest.mark.parametrize("chunk", [1, 7, 160, 320, 1000])
def test_the_output_does_not_depend_on_the_chunks(from_hz: int, to_hz: int, chunk: int) -> None:
    pcm = noise(from_hz // 4, 9000).tobytes()
    whole, cut = (words(streamed(pcm, from_hz, to_hz, size)) for size in (from_hz, chunk))
    assert whole.size == cut.size
    assert np.abs(whole - cut).max() <= 1


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1 << 20), pair=st.sampled_from(PAIRS))
def test_random_chunks_give_the_same_stream(seed: int, pair: tuple[int, int]) -> None:
    pcm = noise(3000, 12000, seed).tobytes()
    resampler, at, out = Resampler(*pair), 0, b""
    for size in random_sizes(seed, 700):
        out += resampler.push(pcm[at : at + 2 * size])
        at += 2 * size
        if at >= len(pcm):
            break
    assert np.abs(words(out + resampler.flush()) - words(streamed(pcm, *pair, len(pcm)))).max() <= 1


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_state_is_kept_between_frames(from_hz: int, to_hz: int) -> None:
    """A resampler that forgets its past clicks 50 times a second: -27 dB where -70 is asked for."""
    pcm = sine(1000, from_hz).tobytes()
    frame = 2 * (from_hz // 50)
    kept = settled(streamed(pcm, from_hz, to_hz, from_hz // 50), to_hz)
    forgetful = settled(in_chunks(lambda chunk: Resampler(from_hz, to_hz).push(chunk), pcm, frame), to_hz)
    assert snr_db(kept, 1000, to_hz) > 70
    assert snr_db(forgetful, 1000, to_hz) < 40


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
@pytest.mark.parametrize("hz", [300, 1000, 2000, 3000])
def test_tones_to_3_khz_stay_clean_and_level(from_hz: int, to_hz: int, hz: int) -> None:
    tone = sine(hz, from_hz)
    out = settled(streamed(tone.tobytes(), from_hz, to_hz), to_hz)
    assert snr_db(out, hz, to_hz) > 70
    assert abs(level_db(out, tone.astype(float))) < 0.1


@pytest.mark.parametrize("from_hz", [16000, 24000])
@pytest.mark.parametrize("hz", [4500, 5000, 6000, 7000])
def test_what_8_khz_cannot_hold_is_gone(from_hz: int, hz: int) -> None:
    tone = sine(hz, from_hz)
    assert level_db(settled(streamed(tone.tobytes(), from_hz, 8000), 8000), tone.astype(float)) < -70


@pytest.mark.parametrize("to_hz", [16000, 24000])
def test_no_images_above_4_khz(to_hz: int) -> None:
    out = settled(streamed(sine(3000, 8000, 2.0).tobytes(), 8000, to_hz), to_hz)
    spectrum = np.abs(np.fft.rfft(out * np.blackman(out.size))) ** 2
    hz = np.fft.rfftfreq(out.size, 1 / to_hz)
    assert 10 * np.log10(spectrum[hz > 4000].max() / spectrum.max()) < -70


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_the_delay_is_what_it_says(from_hz: int, to_hz: int) -> None:
    pulse = np.zeros(from_hz // 10, np.int16)
    pulse[from_hz // 20] = 30000
    resampler = Resampler(from_hz, to_hz)
    out = words(resampler.push(pulse.tobytes()))
    assert int(np.abs(out).argmax()) / to_hz == pytest.approx(0.05 + resampler.delay_s, abs=1e-9)
    assert resampler.delay_s == (0.002 if 8000 in (from_hz, to_hz) else 0.001)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_every_push_gives_all_its_output_at_once(from_hz: int, to_hz: int) -> None:
    """No bursts: after n samples in, ⌈n·to/from⌉ are out, at every n."""
    resampler, given_samples = Resampler(from_hz, to_hz), 0
    for taken in range(1, 400):
        given_samples += len(resampler.push(b"\1\0")) // 2
        assert given_samples == -(-taken * to_hz // from_hz)
    frame = Resampler(from_hz, to_hz)
    for _ in range(5):
        assert len(frame.push(bytes(2 * (from_hz // 50)))) == 2 * (to_hz // 50)


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
def test_flush_gives_the_tail_and_a_new_resampler(from_hz: int, to_hz: int) -> None:
    resampler = Resampler(from_hz, to_hz)
    pcm = noise(801).tobytes()
    first = resampler.push(pcm) + resampler.flush()
    assert len(first) // 2 == -(-(801 + round(resampler.delay_s * from_hz)) * to_hz // from_hz)
    assert resampler.push(pcm) + resampler.flush() == first


@pytest.mark.parametrize(("from_hz", "to_hz"), PAIRS)
@pytest.mark.parametrize("chunk", [5, 160, 480])
def test_the_loudest_signal_is_limited_and_never_wraps(from_hz: int, to_hz: int, chunk: int) -> None:
    square = np.where(np.arange(from_hz // 2) // 12 % 2, 32767, -32768).astype("<i2")
    square[from_hz // 4 :] = 0  # limiting must reach into the silence after it
    out = words(streamed(square.tobytes(), from_hz, to_hz, chunk))
    exact = words(resample_clip((square // 4).tobytes(), from_hz, to_hz)) * 4
    delay = round(Resampler(from_hz, to_hz).delay_s * to_hz)
    apart = np.abs(out[delay : delay + exact.size] - np.clip(exact, -32768, 32767))
    assert apart.max() < 12000  # ringing differs; a wrapped sample would be 65536 off


def test_equal_rates_are_a_wire() -> None:
    resampler = Resampler(16000, 16000)
    assert (resampler.push(b"\1\0\2\0"), resampler.flush(), resampler.delay_s) == (b"\1\0\2\0", b"", 0.0)


@pytest.mark.parametrize(("from_hz", "to_hz", "field"), [(8000, 44100, "to_hz: 44100"), (0, 8000, "from_hz: 0")])
def test_other_rates_are_refused(from_hz: int, to_hz: int, field: str) -> None:
    with pytest.raises(UsageError, match=field):
        Resampler(from_hz, to_hz)


def test_half_a_sample_is_refused_and_changes_nothing() -> None:
    resampler = Resampler(8000, 16000)
    with pytest.raises(UsageError, match="3 bytes"):
        resampler.push(bytes(3))
    pcm = noise(320).tobytes()
    assert resampler.push(pcm) == Resampler(8000, 16000).push(pcm)


def test_an_empty_push_gives_nothing() -> None:
    assert Resampler(8000, 24000).push(b"") == b""


@pytest.mark.parametrize(
    ("from_hz", "to_hz"),
    [(22050, 8000), (44100, 8000), (48000, 8000), (11025, 16000), (8000, 22050), (24000, 8000), (16000, 44100)],
)
def test_clips_at_any_rate_are_clean_and_in_place(from_hz: int, to_hz: int) -> None:
    tone = sine(1000, from_hz)
    out = words(resample_clip(tone.tobytes(), from_hz, to_hz))
    assert out.size == -(-tone.size * to_hz // from_hz)
    inner = slice(to_hz // 50, -(to_hz // 50))
    assert snr_db(out[inner], 1000, to_hz) > 70
    expected = 32767 * 0.5 * np.sin(2 * np.pi * 1000 * np.arange(out.size) / to_hz)
    assert level_db((out - expected)[inner], expected) < -60  # no delay: a sample's shift would be -8 dB


@pytest.mark.parametrize("from_hz", [22050, 44100, 48000])
def test_clips_do_not_alias(from_hz: int) -> None:
    tone = sine(4500, from_hz)
    assert level_db(words(resample_clip(tone.tobytes(), from_hz, 8000))[200:-200], tone.astype(float)) < -70


def test_clips_of_odd_lengths_and_none() -> None:
    assert resample_clip(b"", 22050, 8000) == b""
    assert len(resample_clip(bytes(2), 22050, 8000)) == 2
    assert resample_clip(b"\1\0", 8000, 8000) == b"\1\0"
    for bad in ((bytes(3), 8000, 16000), (bytes(2), 100, 8000), (bytes(2), 8000, 1 << 20)):
        with pytest.raises(UsageError):
            resample_clip(*bad)
