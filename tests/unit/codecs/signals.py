"""Signals and measures the tests of the codecs share. Samples are numpy s16 or float64, shape (samples,)."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from trunkline.codecs.wav import read_wav

RECORDINGS = Path("/usr/share/asterisk/sounds/en")  # Debian: asterisk-core-sounds-en-wav


def sine(hz: float, rate: int, seconds: float = 1.0, level: float = 0.5) -> npt.NDArray[np.int16]:
    """A sine of `level` of full scale."""
    return np.rint(32767 * level * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate)).astype(np.int16)


def noise(samples: int, deviation: float = 3000.0, seed: int = 1) -> npt.NDArray[np.int16]:
    """White noise."""
    wave = np.random.default_rng(seed).standard_normal(samples) * deviation
    return np.clip(np.rint(wave), -32768, 32767).astype(np.int16)


def words(pcm: bytes) -> npt.NDArray[np.float64]:
    """s16le → float64."""
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def fitted(wave: npt.NDArray[np.float64], hz: float, rate: int) -> npt.NDArray[np.float64]:
    """The sine of frequency `hz` (any phase and level) that is in `wave`."""
    time = 2 * np.pi * hz * np.arange(wave.size) / rate
    basis = np.stack((np.cos(time), np.sin(time)), axis=1)
    return np.asarray(basis @ np.linalg.lstsq(basis, wave, rcond=None)[0])


def snr_db(wave: npt.NDArray[np.float64], hz: float, rate: int) -> float:
    """Power of the sine in `wave` over the power of everything else in it."""
    tone = fitted(wave, hz, rate)
    return float(10 * np.log10(tone @ tone / max(1e-12, (wave - tone) @ (wave - tone))))


def level_db(wave: npt.NDArray[np.float64], reference: npt.NDArray[np.float64]) -> float:
    """RMS of one against the other."""
    return float(20 * np.log10(max(1e-12, np.sqrt(np.mean(wave**2))) / np.sqrt(np.mean(reference**2))))


def in_chunks(push: Callable[[bytes], bytes], pcm: bytes, size: int) -> bytes:
    """What `push` gives for `pcm` cut into chunks of `size` bytes."""
    return b"".join(push(pcm[at : at + size]) for at in range(0, len(pcm), size))


def random_sizes(seed: int, largest: int) -> Iterator[int]:
    """Endless sizes from 0 to `largest`."""
    source = random.Random(seed)
    while True:
        yield source.randint(0, largest)


def recordings(*names: str) -> list[bytes]:
    """s16le at 8 kHz of the named prompts, of all if none is named; skips the test where there are none."""
    if not RECORDINGS.is_dir():
        pytest.skip("needs Debian's asterisk-core-sounds-en-wav")
    paths = [RECORDINGS / f"{name}.wav" for name in names] or sorted(RECORDINGS.rglob("*.wav"))
    return [read_wav(path.read_bytes()).pcm for path in paths]
