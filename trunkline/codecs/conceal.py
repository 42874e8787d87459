"""Loss concealment: what a listener is given for samples that never came.

The method is that of ITU-T G.711 Appendix I: find the pitch in what was heard last, go on repeating it (one period for
the first 10 ms, then two, then three, so that a long loss does not buzz), fade from 10 ms on and be silent at 60 ms.
Unlike the appendix it adds no delay: where that blends the start of a loss into samples held back for 3.75 ms, this
starts exactly where the last heard sample was and lets the difference die away over a quarter of a period.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from trunkline.codecs.frame import SAMPLE_BYTES
from trunkline.errors import UsageError

Wave: TypeAlias = npt.NDArray[np.float64]

FADE_START_S = 0.010
SILENT_AFTER_S = 0.060
_SHORTEST_S = 0.005  # pitch period: 200 Hz; a higher voice is found at a multiple of its period, which repeats as well
_LONGEST_S = 0.015  # 66 Hz
_WINDOW_S = 0.020  # compared when looking for the pitch
_GROWTH_S = 0.010  # after each of these another period joins the repetition
_PERIODS = 3
_BLEND_S = 0.004  # into the first samples after a loss of 10 ms; as much again for each further 10 ms
_LONGEST_BLEND_S = 0.010
RATES = (8000, 16000, 24000)  # Hz


class Concealer:
    """One direction's memory of what was heard: pass every decoded block through `heard`, ask `lost` for the rest."""

    def __init__(self, rate: int) -> None:
        if rate not in RATES:
            raise UsageError(f"rate: {rate} Hz cannot be concealed; allowed are {RATES}")
        self._rate = rate
        self._keep = SAMPLE_BYTES * history_samples(rate)
        self._history = b""
        self._filler: Wave | None = None  # what is played during the present loss; None: no loss
        self._played = 0  # samples of it

    def heard(self, pcm: bytes) -> bytes:
        """pcm: s16le as decoded → the same, its beginning blended with the filler if samples were lost before it."""
        if self._filler is not None and pcm:
            pcm = self._recover(pcm, self._filler)
        self._history = (self._history + pcm)[-self._keep :]
        return pcm

    def lost(self, samples: int) -> bytes:
        """s16le, shape (samples,), for that many lost samples; calls in a row continue one loss."""
        if self._filler is None:
            self._filler = _filler(self._history, self._rate)
            self._played = 0
        wave = _take(self._filler, self._played, samples)
        self._played += samples
        pcm = wave.astype("<i2").tobytes()
        self._history = (self._history + pcm)[-self._keep :]
        return pcm

    def _recover(self, pcm: bytes, filler: Wave) -> bytes:
        samples = np.frombuffer(pcm, "<i2").astype(np.float64)
        blend = min(self._blend_samples(), samples.size)
        rise = np.arange(1, blend + 1) / (blend + 1)
        samples[:blend] = samples[:blend] * rise + _take(filler, self._played, blend) * (1 - rise)
        self._filler = None
        return np.rint(samples).astype("<i2").tobytes()

    def _blend_samples(self) -> int:
        lost_s = self._played / self._rate
        return round(self._rate * min(_BLEND_S * max(1.0, lost_s / _GROWTH_S), _LONGEST_BLEND_S))


def history_samples(rate: int) -> int:
    """How many samples of the past are needed: three longest periods and a quarter."""
    return int(rate * _LONGEST_S * (_PERIODS + 0.25))


def pitch_period(history: Wave, rate: int) -> int:
    """Samples after which the end of `history` (shape: at least `history_samples`) repeats best, 5 to 15 ms."""
    shortest, longest, window = (int(rate * s) for s in (_SHORTEST_S, _LONGEST_S, _WINDOW_S))
    tail = history[-window:]
    past = history[-window - longest : history.size - shortest]
    likeness = np.correlate(past, tail, "valid")
    squares = np.concatenate(([0.0], np.cumsum(past * past)))
    energy = squares[window:] - squares[:-window]
    score = likeness / np.sqrt(energy + 1.0)
    return longest - int(np.argmax(score))


def _filler(pcm: bytes, rate: int) -> Wave:
    """60 ms that continue `pcm`, ending in silence. float64 holding whole s16 values."""
    history = np.zeros(history_samples(rate))
    heard = np.frombuffer(pcm, "<i2")
    if heard.size:
        history[-heard.size :] = heard
    period = pitch_period(history, rate)
    quarter = period // 4
    wave = _growing_repetition(history, period, quarter, rate)
    decay = 1 - np.arange(1, quarter + 1) / quarter
    wave[:quarter] += (history[-1] - history[-1 - period]) * decay
    fade = (np.arange(wave.size) / rate - FADE_START_S) / (SILENT_AFTER_S - FADE_START_S)
    return np.rint(np.clip(wave * np.clip(1 - fade, 0, 1), -32768, 32767))


def _growing_repetition(history: Wave, period: int, quarter: int, rate: int) -> Wave:
    """60 ms of repeated past, each longer repetition faded in over a quarter of a period."""
    step, total = int(rate * _GROWTH_S), int(rate * SILENT_AFTER_S)
    wave = np.empty(total)
    rise = np.arange(1, quarter + 1) / (quarter + 1)
    previous = np.empty(0)
    for periods in range(1, _PERIODS + 1):
        start = (periods - 1) * step
        end = total if periods == _PERIODS else start + step
        cycle = _cycle(history, period * periods, quarter)
        piece = cycle[(start % period + np.arange(end - start + quarter)) % cycle.size]
        if periods > 1:
            piece[:quarter] = piece[:quarter] * rise + previous * (1 - rise)
        wave[start:end], previous = piece[: end - start], piece[end - start :]
    return wave


def _cycle(history: Wave, length: int, quarter: int) -> Wave:
    """The last `length` samples, their end blended into what came before them, so that they can be repeated."""
    cycle = history[-length:].copy()
    rise = np.arange(1, quarter + 1) / (quarter + 1)
    cycle[-quarter:] = cycle[-quarter:] * (1 - rise) + history[-length - quarter : -length] * rise
    return cycle


def _take(wave: Wave, start: int, samples: int) -> Wave:
    """`samples` of the wave from `start` on, silence after its end."""
    piece = wave[start : start + samples]
    return np.concatenate((piece, np.zeros(samples - piece.size)))
