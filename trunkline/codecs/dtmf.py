"""Hearing keys: DTMF in the audio itself, for carriers that send no digits beside it.

A window of 20 ms every 10 ms; in each the power near the eight frequencies (Goertzel's measure, as one matrix product,
at the nominal frequency and 1.2 % beside it) decides. Two windows in a row make a key, so 40 ms are always heard and
less than 20 ms never; four windows without it end the key, so a pause of 40 ms parts
two presses and a dropout of 10 ms does not. Voices do not pass: they would have to hold two pure tones of
the right frequencies, with little else in the spectrum, for 30 ms.
"""

import numpy as np
import numpy.typing as npt

from trunkline.codecs.frame import SAMPLE_BYTES
from trunkline.codecs.level import amplitude
from trunkline.codecs.reframe import Windows
from trunkline.codecs.tones import HIGH_HZ, KEYPAD, LOW_HZ
from trunkline.errors import UsageError

RATES = (8000, 16000)  # Hz
_HOP_S = 0.010
_WINDOW_HOPS = 2
_BESIDE = (1 - 0.012, 1.0, 1 + 0.012)  # Q.24: 1.5 % off must be heard
_QUIETEST = amplitude(-45) ** 2  # mean square of a window
_PURITY = 0.72  # share of the window's power that the two tones must have
_TWIST = 10.0 ** (8 / 10)  # high louder than low by up to 8 dB, and low louder than high by as much
_PEAK = 10.0 ** (6 / 10)  # the best frequency of a group against the next
_HITS = 2
_MISSES = 4


class DtmfDetector:
    """One direction of a call. rate: 8000 or 16000 Hz."""

    __slots__ = ("_bins", "_candidate", "_hits", "_misses", "_pressed", "_windows")

    def __init__(self, rate: int = 8000) -> None:
        if rate not in RATES:
            raise UsageError(f"rate: {rate} Hz; keys are heard at {RATES}")
        hop = int(rate * _HOP_S)
        self._windows = Windows(SAMPLE_BYTES * _WINDOW_HOPS * hop, SAMPLE_BYTES * hop)
        self._bins = _bins(rate, _WINDOW_HOPS * hop)
        self._candidate = self._pressed = ""
        self._hits = self._misses = 0

    @property
    def pressed(self) -> str:
        """The key that is down now, or ""."""
        return self._pressed

    def push(self, pcm: bytes) -> str:
        """pcm: s16le, any number of samples → the keys whose pressing was noticed, in order; mostly ""."""
        return "".join(self._step(self._key(window)) for window in self._windows.push(pcm))

    def _step(self, key: str) -> str:
        """One window's verdict → a newly pressed key, or ""."""
        self._hits = self._hits + 1 if key == self._candidate else 1
        self._candidate = key
        self._misses = 0 if key == self._pressed else self._misses + 1
        if key and key != self._pressed and self._hits >= _HITS:
            self._pressed, self._misses = key, 0
            return key
        if self._misses >= _MISSES:
            self._pressed = ""
        return ""

    def _key(self, window: bytes) -> str:
        """The key that sounds in one window, or ""."""
        samples = np.frombuffer(window, "<i2").astype(np.float32)
        total = float(samples @ samples) / samples.size
        if total < _QUIETEST:
            return ""
        parts = samples @ self._bins
        power = (parts * parts).reshape(2, len(_BESIDE), 2, 4).sum(axis=0).max(axis=0)
        low, high = float(power[0].max()), float(power[1].max())
        if low + high < _PURITY * total or high > _TWIST * low or low > _TWIST * high:
            return ""
        if not _alone(power[0], low) or not _alone(power[1], high):
            return ""
        return KEYPAD[int(power[0].argmax())][int(power[1].argmax())]


def _alone(group: npt.NDArray[np.float32], best: float) -> bool:
    """Whether one frequency of the four is well above the next."""
    return int(np.count_nonzero(group * _PEAK >= best)) == 1


def _bins(rate: int, window: int) -> npt.NDArray[np.float32]:
    """Shape (window, cos and sin × beside × 8): a sine's samples times this, squared and summed, give its power."""
    hz = np.array([frequency * beside for beside in _BESIDE for frequency in (*LOW_HZ, *HIGH_HZ)])
    angle = 2 * np.pi * np.arange(window)[:, None] * hz[None, :] / rate
    return np.asarray(np.concatenate((np.cos(angle), np.sin(angle)), axis=1) * np.sqrt(2) / window, np.float32)
