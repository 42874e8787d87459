"""Hearing what a line says without words: an answering machine's beep, and busy, congestion, ringback or dial tone.

Both look at 40 ms every 20 ms. A beep is one steady frequency; a progress tone is known by its country's frequencies
and, above all, by its rhythm, of which two strokes and the pause between them must fit.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trunkline.codecs.frame import SAMPLE_BYTES
from trunkline.codecs.level import amplitude
from trunkline.codecs.reframe import Windows
from trunkline.codecs.tones import PROGRESS, Country, ToneName
from trunkline.errors import UsageError

RATES = (8000, 16000)  # Hz
HOP_S = 0.020
_WINDOW_S = 0.040
_PURITY = 0.85  # share of a window's power that the tone must have
_QUIETEST = amplitude(-45) ** 2  # mean square of a window

BEEP_HZ = (400.0, 2100.0)
_BEEP_WINDOWS = 5  # steady ones, so that 120 ms are always a beep and 60 ms never
_BEEP_DRIFT = 0.006  # of its frequency, or 4 Hz
_BEEP_DIP = 10.0 ** (-4 / 10)  # a window this far below the last is its end

_BAND_HZ = 40.0  # around a progress tone's frequencies
_SETTLE = 2  # windows until a change of the rhythm is believed
_DIAL_S = 3.0  # of unbroken tone
_TOLERANCE, _TOLERANCE_S = 0.2, 0.02


@dataclass(frozen=True, slots=True)
class Beep:
    """A steady tone that has ended."""

    hz: float
    start_s: float  # in the stream's time
    seconds: float  # ± 0.03


class _Spectrum:
    """Power over frequency of one window, by Hann's window and an FFT."""

    def __init__(self, rate: int) -> None:
        if rate not in RATES:
            raise UsageError(f"rate: {rate} Hz; tones are heard at {RATES}")
        size = round(rate * _WINDOW_S)
        self.windows = Windows(SAMPLE_BYTES * size, SAMPLE_BYTES * round(rate * HOP_S))
        self._shape = np.hanning(size + 1)[:-1]
        self.bin_hz = rate / size
        self.hz = np.arange(size // 2 + 1) * self.bin_hz

    def power(self, window: bytes) -> npt.NDArray[np.float64] | None:
        """Shape (bins,); None for a window that is too quiet to tell."""
        samples = np.frombuffer(window, "<i2").astype(np.float64)
        if samples @ samples < _QUIETEST * samples.size:
            return None
        return np.asarray(np.abs(np.fft.rfft(samples * self._shape)) ** 2)


class BeepDetector:
    """One direction of a call; tells each beep when it has ended. A busy tone in strokes is told as beeps too."""

    __slots__ = ("_hz", "_level", "_now", "_spectrum", "_steady")

    def __init__(self, rate: int = 8000) -> None:
        self._spectrum = _Spectrum(rate)
        self._now = 0  # windows seen
        self._steady = 0  # windows the present tone has lasted
        self._hz = self._level = 0.0

    @property
    def sounding_s(self) -> float:
        """For how long a steady tone has been heard by now; 0 without one. Beyond about 4 s it is no beep."""
        return HOP_S * (self._steady + 1) if self._steady >= _BEEP_WINDOWS else 0.0

    def push(self, pcm: bytes) -> list[Beep]:
        """pcm: s16le, any number of samples → the beeps that ended; mostly none."""
        return [beep for window in self._spectrum.windows.push(pcm) for beep in self._step(window)]

    def _step(self, window: bytes) -> list[Beep]:
        self._now += 1
        hz, level = self._tone(window)
        if hz and self._steady and self._same(hz, level):
            self._steady += 1
            self._level = max(self._level, level)
            return []
        ended = self._ended() if self._steady >= _BEEP_WINDOWS else []
        self._steady, self._hz, self._level = int(hz > 0), hz, level
        return ended

    def _same(self, hz: float, level: float) -> bool:
        if self._steady == 1:  # the first window may hold only the tone's beginning
            self._hz = hz if abs(hz - self._hz) <= 2 * self._spectrum.bin_hz else self._hz
        return abs(hz - self._hz) <= max(4.0, _BEEP_DRIFT * self._hz) and level >= _BEEP_DIP * self._level

    def _ended(self) -> list[Beep]:
        start = self._now - 1 - self._steady
        return [Beep(round(self._hz, 1), HOP_S * start, HOP_S * (self._steady + 1))]

    def _tone(self, window: bytes) -> tuple[float, float]:
        """Frequency and power of the one tone in a window; 0, 0 without one."""
        power = self._spectrum.power(window)
        if power is None:
            return 0.0, 0.0
        peak = int(power.argmax())
        if not BEEP_HZ[0] - 5 <= peak * self._spectrum.bin_hz <= BEEP_HZ[1] + 5:
            return 0.0, 0.0
        near = power[max(peak - 2, 0) : peak + 3]
        if near.sum() < _PURITY * power.sum():
            return 0.0, 0.0
        return self._between_bins(power, peak), float(near.sum())

    def _between_bins(self, power: npt.NDArray[np.float64], peak: int) -> float:
        """The frequency by a parabola through the logarithms of three bins."""
        left, middle, right = np.log(power[peak - 1 : peak + 2] + 1e-9)
        bend = left - 2 * middle + right
        shift = 0.5 * (left - right) / bend if bend < 0 else 0.0
        return float((peak + shift) * self._spectrum.bin_hz)


class ProgressDetector:
    """One direction of a call on a line of `country`; tells each progress tone once, when its rhythm is sure.

    That takes two strokes: 1.25 s for a US busy tone, 8 s for its ringback; 3 s for a dial tone.
    """

    __slots__ = ("_band", "_dialled", "_lengths", "_on", "_other", "_present", "_run", "_spectrum", "_tones")

    def __init__(self, country: Country, rate: int = 8000) -> None:
        if country not in PROGRESS:
            raise UsageError(f"country: {country!r} is not known; allowed are {', '.join(PROGRESS)}")
        self._tones = PROGRESS[country]
        self._spectrum = _Spectrum(rate)
        wanted = sorted({hz for tone in self._tones.values() for hz in tone.hz})
        self._band = np.min([np.abs(self._spectrum.hz - hz) for hz in wanted], axis=0) <= _BAND_HZ
        self._on = False
        self._run = 0  # windows the present stroke or pause has lasted
        self._other = 0  # windows in a row that contradict it
        self._lengths: list[float] = []  # s, of the last strokes and pauses
        self._present: ToneName | None = None

    @property
    def present(self) -> ToneName | None:
        """The tone heard last, until something else is heard."""
        return self._present

    def push(self, pcm: bytes) -> ToneName | None:
        """pcm: s16le, any number of samples → the tone that was recognised just now, or None."""
        news = None
        for window in self._spectrum.windows.push(pcm):
            news = self._step(self._sounds(window)) or news
        return news

    def _sounds(self, window: bytes) -> bool:
        power = self._spectrum.power(window)
        return power is not None and float(power[self._band].sum()) >= _PURITY * float(power.sum())

    def _step(self, on: bool) -> ToneName | None:
        self._run += 1
        self._other = self._other + 1 if on != self._on else 0
        if self._other < _SETTLE:
            return self._told("dial") if self._on and HOP_S * self._run >= _DIAL_S else None
        length = HOP_S * (self._run - self._other)
        self._lengths = [*self._lengths[-2:], length]
        was_on, self._on, self._run, self._other = self._on, on, self._other, 0
        return self._told(self._rhythm()) if was_on else None

    def _told(self, name: ToneName | None) -> ToneName | None:
        """`name` if it is news."""
        news = name if name != self._present else None
        self._present = name
        return news

    def _rhythm(self) -> ToneName | None:
        """The tone whose stroke, pause and stroke the last three lengths are."""
        for name, tone in self._tones.items():
            twice = tone.cadence_s * 2
            if any(_fits(self._lengths, twice[at : at + 3]) for at in range(0, len(tone.cadence_s), 2)):
                return name
        return None


def _fits(lengths: list[float], wanted: tuple[float, ...]) -> bool:
    return len(lengths) == len(wanted) and all(
        abs(length - s) <= _TOLERANCE * s + _TOLERANCE_S for length, s in zip(lengths, wanted, strict=True)
    )
