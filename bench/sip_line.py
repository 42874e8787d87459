"""A bad network between a caller and us, and how far what arrived is from what was said. Pure.

*Segmental SNR*: of pieces of 16 ms that hold speech, each between -10 and 35 dB, their mean; 35 is the same wave. It
judges the wave, and a filled hole is a guess of the wave. *Spectral distance*: the root mean square of the difference
between the two log spectra (dB) of pieces of 32 ms, 300 to 3,400 Hz, their mean: nearer to what an ear minds; 0 is the
same. A jitter buffer moves speech about: pieces of 200 ms are laid over each other where they fit best.
"""

import random
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Wave: TypeAlias = npt.NDArray[np.float64]
RATE = 8000
PIECE = RATE // 5  # laid over each other as one
MOST_SHIFT = RATE // 4  # a jitter buffer moves speech by no more, once the whole has been aligned
SEGMENT, WINDOW = 128, 256
LOWEST_DB, HIGHEST_DB = -10.0, 35.0
BAND = slice(round(300 * WINDOW / RATE), round(3400 * WINDOW / RATE))
QUIET_DB = 35.0  # below the loudest: no speech
FLOOR = 1e4  # of a power spectrum: below it nothing is heard on a telephone line


@dataclass(slots=True)
class BadLine:
    """What happens to each packet on its way: lost at random, or late by 0 to twice `jitter_s`, overtaking included."""

    loss: float
    jitter_s: float
    seed: int = 0
    sent: int = 0
    lost: int = 0
    _dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._dice = random.Random(self.seed)

    def delay_s(self) -> float | None:
        """Of the next packet; None: it is lost."""
        self.sent += 1
        lost, delay = self._dice.random() < self.loss, self._dice.uniform(0.0, 2 * self.jitter_s)
        self.lost += lost
        return None if lost else delay


@dataclass(frozen=True, slots=True)
class Distance:
    """Of one sentence from what was said."""

    segmental_db: float
    spectral_db: float


def distance(said: Wave, heard: Wave) -> Distance | None:
    """None when there is no speech in what was said, or nothing was heard."""
    heard = aligned(said, heard)
    pairs = [_fitted(said[at : at + PIECE], heard, at) for at in range(0, len(said) - PIECE + 1, PIECE)]
    if not pairs:
        return None
    ours, theirs = (np.concatenate(side) for side in zip(*pairs, strict=True))
    segments, windows = _loud(ours, SEGMENT), _loud(ours, WINDOW)
    if not segments.any() or not windows.any():
        return None
    return Distance(_segmental(ours, theirs, segments), _spectral(ours, theirs, windows))


def offset(said: Wave, heard: Wave) -> int:
    """Where in `heard` the other fits best, as a whole; may be negative."""
    size = 1 << int(np.ceil(np.log2(len(said) + len(heard))))
    match = np.fft.irfft(np.fft.rfft(heard, size) * np.conj(np.fft.rfft(said, size)), size)
    begin = int(np.argmax(match))
    return begin - size if begin > size // 2 else begin


def aligned(said: Wave, heard: Wave) -> Wave:
    """`heard` from where it fits `said` best, as long as that, and MOST_SHIFT before and after it."""
    begin = offset(said, heard)
    padded = np.concatenate([np.zeros(len(said) + MOST_SHIFT), heard, np.zeros(len(said) + 2 * MOST_SHIFT)])
    from_ = max(0, begin + len(said))
    return padded[from_ : from_ + len(said) + 2 * MOST_SHIFT]


def _fitted(piece: Wave, heard: Wave, at: int) -> tuple[Wave, Wave]:
    """A piece and what fits it best near its place, preferring what moves least where all is alike."""
    near = heard[at : at + len(piece) + 2 * MOST_SHIFT]
    match = np.correlate(near, piece, "valid")
    energy = np.convolve(near**2, np.ones(len(piece)), "valid")
    score = match / np.sqrt(np.maximum(energy, 1.0)) - 1e-3 * np.abs(np.arange(len(match)) - MOST_SHIFT)
    best = int(np.argmax(score))
    return piece, near[best : best + len(piece)]


def _loud(wave: Wave, length: int) -> npt.NDArray[np.bool_]:
    power = (_cut(wave, length) ** 2).mean(axis=1)
    return power > power.max() / 10 ** (QUIET_DB / 10)


def _cut(wave: Wave, length: int) -> Wave:
    return wave[: len(wave) // length * length].reshape(-1, length)


def _segmental(ours: Wave, theirs: Wave, loud: npt.NDArray[np.bool_]) -> float:
    signal = (_cut(ours, SEGMENT) ** 2).sum(axis=1)[loud]
    noise = ((_cut(ours, SEGMENT) - _cut(theirs, SEGMENT)) ** 2).sum(axis=1)[loud]
    ratio = 10 * np.log10(np.maximum(signal, 1.0) / np.maximum(noise, 1.0))
    return float(np.clip(ratio, LOWEST_DB, HIGHEST_DB).mean())


def _spectral(ours: Wave, theirs: Wave, loud: npt.NDArray[np.bool_]) -> float:
    one, two = (_spectra(side)[loud] for side in (ours, theirs))
    return float(np.sqrt(((one - two) ** 2).mean(axis=1)).mean())


def _spectra(wave: Wave) -> Wave:
    power = np.abs(np.fft.rfft(_cut(wave, WINDOW) * np.hanning(WINDOW), axis=1)[:, BAND]) ** 2
    return 10 * np.log10(power + FLOOR)
