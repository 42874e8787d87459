"""Levels against known signals."""

import numpy as np
import pytest

from tests.unit.codecs.signals import sine
from trunkline.codecs.level import SILENCE_DBOV, amplitude, peak_dbov, rms_dbov
from trunkline.codecs.table import CODECS
from trunkline.errors import UsageError


def test_a_full_scale_square_wave_is_0_dbov() -> None:
    square = np.where(np.arange(1600) // 8 % 2, 32767, -32768).astype("<i2").tobytes()
    assert rms_dbov(square) == pytest.approx(0, abs=0.01)
    assert peak_dbov(square) == 0


@pytest.mark.parametrize(("level", "dbov"), [(1.0, -3.01), (0.5, -9.03), (0.01, -43.01)])
def test_sines(level: float, dbov: float) -> None:
    pcm = sine(1000, 8000, level=level).tobytes()
    assert rms_dbov(pcm) == pytest.approx(dbov, abs=0.05)
    assert peak_dbov(pcm) == pytest.approx(dbov + 3.01, abs=0.05)


def test_silence_and_nothing() -> None:
    assert rms_dbov(bytes(320)) == rms_dbov(b"") == peak_dbov(b"") == peak_dbov(bytes(2)) == SILENCE_DBOV


def test_the_deepest_sample_has_a_level() -> None:
    assert peak_dbov(b"\x00\x80") == 0


def test_amplitude_is_the_way_back() -> None:
    assert amplitude(0) == 32768
    assert amplitude(-20) == pytest.approx(3276.8)


def test_half_a_sample_is_refused() -> None:
    with pytest.raises(UsageError):
        rms_dbov(bytes(3))


@pytest.mark.parametrize("name", CODECS)
def test_a_payload_is_as_loud_as_what_it_becomes(name: str) -> None:
    codec = CODECS[name]
    for sample in (0, 40, 9000):
        payload = codec.encoder().encode(np.array([sample, -sample] * 80, "<i2").tobytes())
        assert codec.level(payload) == rms_dbov(codec.decoder().decode(payload))
