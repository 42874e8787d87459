"""How the simulated Gemini hears: by level when somebody speaks, and by matched filter what was said. Pure.

A text is given only for audio that arrived and is the recording: both are cut to the telephone band, shifted onto each
other to a fraction of a sample, brought to one level, and the difference must be 15 dB below the recording. That holds
over the whole and, more loosely, over every 20 ms of speech, so that one lost frame in a long sentence is not hidden by
the average. Swapped bytes, a wrong rate, a wrong codec, loss and repetition all fail.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from trunkline_sim import mulaw

RATE = 16_000  # Hz of what Gemini takes
LOW = mulaw.RATE  # Hz of the telephone's band, where recordings are compared
BAND_HZ = (300.0, 3400.0)
WINDOW_S = 0.02
_WINDOW = int(RATE * WINDOW_S)  # samples
_FINE = 16  # steps per sample of the shift
_ALIKE = 0.6  # correlation at whole samples of what may be the recording

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """How well a recording must have arrived."""

    snr_db: float = 15.0  # over the whole
    block_snr_db: float = 4.0  # over each 20 ms of speech; a lost block has 0
    speech_db: float = -30.0  # speech is what is within so much of the recording's mean level
    bad_blocks: int = 0  # so many may be worse


@dataclass(frozen=True, slots=True)
class Match:
    """Where a recording lies in the audio, and how faithfully."""

    text: str
    at_s: float  # of the audio given
    seconds: float
    gain: float
    snr_db: float
    bad_blocks: tuple[int, ...]  # 20 ms blocks of the recording that did not arrive as they were

    def good(self, demand: Demand) -> bool:
        """True when it may be answered."""
        return self.snr_db >= demand.snr_db and len(self.bad_blocks) <= demand.bad_blocks


@dataclass(frozen=True, slots=True)
class Recordings:
    """The callers that are known: text → mu-law at 8 kHz (`trunkline_sim.voices`)."""

    clips: Mapping[str, bytes] = field(default_factory=dict)
    demand: Demand = field(default_factory=Demand)

    def best(self, pcm: bytes) -> Match | None:
        """The recording that fits s16le at 16 kHz best, good or not; None where nothing is known or it is too short."""
        heard = telephone(pcm)
        found = [
            match for text, clip in self.clips.items() if (match := _align(heard, text, clip, self.demand)) is not None
        ]
        return max(found, key=lambda match: match.snr_db, default=None)

    def understand(self, pcm: bytes) -> Match | None:
        """The recording that this is; None where it is none, or did not arrive as it was."""
        match = self.best(pcm)
        return match if match is not None and match.good(self.demand) else None

    def find_all(self, pcm: bytes) -> list[Match]:
        """Every recording in a whole call's audio, in order: the lost are missing, the doubled are there twice."""
        heard, found = telephone(pcm), list[Match]()
        for text, clip in self.clips.items():
            rest = heard.copy()
            while (match := _align(rest, text, clip, self.demand)) is not None and match.good(self.demand):
                found.append(match)
                first = round(match.at_s * LOW)
                rest[max(0, first) : first + len(clip)] = 0.0
        return sorted(found, key=lambda match: match.at_s)


def telephone(pcm: bytes) -> Floats:
    """s16le at 16 kHz → 8 kHz, 300–3400 Hz."""
    wave = np.frombuffer(pcm[: len(pcm) // 4 * 4], "<i2").astype(np.float64)
    if not wave.size:
        return wave
    size = fast_size(wave.size + RATE // 10)  # room for the filter's tail, so that the end does not wrap
    spectrum = np.fft.rfft(wave, size)
    half = _masked(spectrum[: size // 4 + 1], size // 2)
    return np.fft.irfft(half, size // 2)[: wave.size // 2] / 2


def _masked(spectrum: npt.NDArray[np.complex128], size: int) -> npt.NDArray[np.complex128]:
    hertz = np.arange(spectrum.size) * (LOW / size)
    return spectrum * ((hertz >= BAND_HZ[0]) & (hertz <= BAND_HZ[1]))


def fast_size(least: int) -> int:
    """A power of two: `size // 2` must stay whole, and the transform quick."""
    return 1 << max(4, (least - 1).bit_length())


@lru_cache(maxsize=256)
def clip_wave(clip: bytes) -> Floats:
    """A recording, mu-law at 8 kHz, in the telephone's band."""
    wave = mulaw.decode(clip).astype(np.float64)
    size = fast_size(wave.size + LOW // 10)
    return np.fft.irfft(_masked(np.fft.rfft(wave, size), size), size)[: wave.size]


def _align(heard: Floats, text: str, clip: bytes, demand: Demand) -> Match | None:
    """The best place of a clip within what was heard."""
    wanted = clip_wave(clip)
    if wanted.size < LOW // 10 or heard.size < 0.9 * wanted.size:
        return None
    size = fast_size(heard.size + 2 * wanted.size)
    cross = np.fft.rfft(heard, size) * np.conj(np.fft.rfft(wanted, size))
    lag = int(np.argmax(_normalised(np.fft.irfft(cross, size), heard, wanted, size)))
    lag -= size if lag > size - wanted.size else 0
    return _judge(heard, wanted, (text, lag), demand)


def _normalised(cross: Floats, heard: Floats, wanted: Floats, size: int) -> Floats:
    """Correlation over the level of what lies there, so that a loud stranger does not win over a quiet match."""
    power = np.concatenate([np.zeros(wanted.size), np.cumsum(heard**2)])
    power = np.concatenate([power, np.full(max(0, size + wanted.size - power.size), power[-1])])
    starts = np.arange(size)
    starts = np.where(starts > size - wanted.size, starts - size, starts) + wanted.size
    energy = power[np.minimum(starts + wanted.size - 1, power.size - 1)] - power[np.maximum(starts - 1, 0)]
    floor = float((wanted**2).sum()) * 1e-4 + 1e-9
    return np.asarray(cross / np.sqrt(np.maximum(energy, floor)))


def _judge(heard: Floats, wanted: Floats, place: tuple[str, int], demand: Demand) -> Match:
    text, lag = place
    pad = wanted.size
    padded = np.concatenate([np.zeros(pad), heard, np.zeros(2 * pad)])
    there = padded[lag + pad : lag + 2 * pad]
    alike = _dot(there, wanted) / max(float(np.sqrt(_dot(there, there) * _dot(wanted, wanted))), 1e-9)
    shift = fraction(there, wanted) if alike > _ALIKE else 0.0  # a stranger is not worth the search
    moved = delayed(wanted, shift)
    gain = _dot(there, moved) / max(_dot(moved, moved), 1e-9)
    rest = there - gain * moved
    snr = _db(gain**2 * _dot(moved, moved), _dot(rest, rest))
    return Match(text, (lag + shift) / LOW, wanted.size / LOW, gain, snr, _bad_blocks(gain * moved, rest, demand))


def _dot(one: Floats, other: Floats) -> float:
    """Without the linear algebra library, whose threads cost a hundred times the sum where cores are taken."""
    return float(np.einsum("i,i->", one, other))


def fraction(there: Floats, wanted: Floats) -> float:
    """The rest of the shift, within ±1 sample, by correlation on a sixteen times finer grid."""
    size = fast_size(2 * wanted.size)
    cross = np.fft.rfft(there, size) * np.conj(np.fft.rfft(wanted, size))
    turn = np.exp(2j * np.pi * np.arange(cross.size) / (size * _FINE))  # by one step; the exponential is the dear part
    cross *= np.conj(turn**_FINE)
    fits = []
    for _ in range(2 * _FINE + 1):
        fits.append(float(cross.real.sum()))
        cross *= turn
    return (int(np.argmax(fits)) - _FINE) / _FINE


def delayed(wave: Floats, samples: float) -> Floats:
    """Moved by a part of a sample."""
    size = fast_size(wave.size + 256)
    turns = np.arange(size // 2 + 1) / size
    return np.fft.irfft(np.fft.rfft(wave, size) * np.exp(-2j * np.pi * turns * samples), size)[: wave.size]


def _bad_blocks(wanted: Floats, rest: Floats, demand: Demand) -> tuple[int, ...]:
    block = int(LOW * WINDOW_S)
    whole = wanted.size // block * block
    signal = (wanted[:whole].reshape(-1, block) ** 2).sum(axis=1)
    noise = (rest[:whole].reshape(-1, block) ** 2).sum(axis=1)
    speech = signal > signal.mean() * 10 ** (demand.speech_db / 10)
    return tuple(int(at) for at in np.flatnonzero(speech & (signal < noise * 10 ** (demand.block_snr_db / 10))))


def _db(signal: float, noise: float) -> float:
    return 10 * float(np.log10(max(signal, 1e-9) / max(noise, 1e-9)))


@dataclass(frozen=True, slots=True)
class Activity:
    """Speech began or ended; `at` is the sample of the stream (16 kHz) where it did."""

    began: bool
    at: int


class Vad:
    """Automatic activity detection by level, on the audio's own clock: RMS of 20 ms windows above `loud_dbov`."""

    def __init__(self, prefix_ms: float = 20, silence_ms: float = 500, loud_dbov: float = -40.0) -> None:
        self.speaking = False
        self._prefix = max(1, round(prefix_ms / 1000 / WINDOW_S))
        self._silence = max(1, round(silence_ms / 1000 / WINDOW_S))
        self._loud = (mulaw.FULL_SCALE * 10 ** (loud_dbov / 20)) ** 2
        self._rest = b""
        self._at = 0
        self._run = 0  # windows in a row that differ from the present state

    def push(self, pcm: bytes) -> Sequence[Activity]:
        """s16le at 16 kHz, any number of samples → what changed."""
        data = self._rest + pcm
        size = 2 * _WINDOW
        whole = len(data) // size * size
        self._rest = data[whole:]
        return [change for at in range(0, whole, size) if (change := self._window(data[at : at + size])) is not None]

    def reset(self) -> None:
        """Silence from here on, as after `audioStreamEnd`."""
        self.speaking, self._run = False, 0

    def _window(self, pcm: bytes) -> Activity | None:
        wave = np.frombuffer(pcm, "<i2").astype(np.float64)
        loud = float(wave @ wave) / _WINDOW > self._loud
        self._at += _WINDOW
        self._run = self._run + 1 if loud != self.speaking else 0
        if self._run < (self._silence if self.speaking else self._prefix):
            return None
        began = self._at - self._run * _WINDOW
        self.speaking, self._run = loud, 0
        return Activity(loud, began)
