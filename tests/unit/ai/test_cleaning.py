"""What is put right before recognition: noise where there is noise, the missing band always."""

import numpy as np
import pytest

from tests.unit.ai.telephone import RATE, floats, pcm_of, pieces, says, silence
from trunkline.ai.offline.cleaning import Cleaner, mirrored

NOISE = np.random.default_rng(5).standard_normal(6 * RATE).astype(np.float32)


def cleaned(cleaner: Cleaner, pcm: bytes, ms: int = 100) -> bytes:
    cleaner.start()
    return b"".join(cleaner.push(piece) for piece in pieces(pcm, ms))


def level(pcm: bytes) -> float:
    return 10 * float(np.log10(np.mean(floats(pcm) ** 2) + 1e-12))


def test_a_quiet_line_is_left_as_it_is() -> None:
    speech = says("are you open tomorrow", "kal16")
    speech = speech[: len(speech) // 320 * 320]
    assert cleaned(Cleaner(), silence(0.4) + speech) == mirrored(floats(silence(0.4) + speech) * 32768)


def test_steady_noise_is_taken_away_and_the_speaker_stays() -> None:
    background = pcm_of(0.02 * NOISE[: 2 * RATE])
    cleaner = Cleaner()
    cleaned(cleaner, background)
    assert cleaner.floor_dbov == pytest.approx(-34.0, abs=2.0)
    assert level(cleaned(cleaner, background)) < level(background) - 6
    speech = floats(says("are you open tomorrow", "kal16"))
    noisy = pcm_of(speech + 0.02 * NOISE[: speech.size])
    assert level(cleaned(cleaner, noisy)) > level(pcm_of(speech)) - 3


def test_long_speech_is_no_noise() -> None:
    cleaner = Cleaner()
    cleaned(
        cleaner, silence(0.4) + says("could you tell me what time you open on sunday and on monday please", "kal16") * 2
    )
    assert cleaner.floor_dbov < -50


def test_cuts_make_no_difference_and_odd_bytes_no_harm() -> None:
    speech = says("are you open tomorrow", "kal16")
    even, uneven = cleaned(Cleaner(), speech), Cleaner()
    uneven.start()
    pushed = b"".join(uneven.push(speech[at : at + 777]) for at in range(0, len(speech), 777))
    assert pushed == even
    assert uneven.push(b"") == b""


def test_the_mirror_is_above_the_lines_band() -> None:
    tone = 8000 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    spectrum = np.abs(np.fft.rfft(floats(mirrored(tone))))
    assert spectrum[7000] / spectrum[1000] == pytest.approx(0.25, abs=0.01)
    assert set(np.argsort(spectrum)[-2:]) == {1000, 7000}
