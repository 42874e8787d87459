"""An ear for the simulated Gemini that knows a sentence by its correlation: about a twentieth of the full ear's price.

`trunkline_sim.gemini_ear` measures what arrived against the recording to fractions of a sample, which costs 0.1 s of
processor per sentence and stops every other call for so long. Fifty calls for hours want less: the recording is found
by one correlation at 8 kHz, and each 20 ms of speech must correlate with it. A lost, doubled or foreign 20 ms moves or
breaks what follows and is noticed; noise 15 dB down is not.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from trunkline_sim import mulaw
from trunkline_sim.gemini_ear import Match, Recordings

RATE = 8000  # Hz, after halving
LONGEST_S = 8.0  # of what is looked through: more costs more than it finds
BLOCK = 160  # samples: 20 ms
ALIKE = 0.85  # correlation of the whole
BLOCK_ALIKE = 0.75  # of every block of speech; half a block of nothing makes 0.71
SPEECH = 0.05  # of the mean power: blocks above this are speech
_HALF_BAND = np.array([-1, 0, 9, 16, 9, 0, -1]) / 32  # low pass before every second sample is dropped

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class QuickEar(Recordings):
    """`Recordings` for `GeminiSim.recordings`; `demand` is not looked at."""

    def best(self, pcm: bytes) -> Match | None:
        """The recording that fits s16le at 16 kHz best."""
        filtered = _filtered(pcm[-round(LONGEST_S * 4 * RATE) :])
        wave = filtered[::2]
        if not self.clips or wave.size < RATE // 10:
            return None
        size = _size(wave.size + max(len(clip) for clip in self.clips.values()))
        spectrum = np.fft.rfft(wave, size)
        places = [_place(spectrum, text, clip, size) for text, clip in self.clips.items()]
        _, lag, text = max(places)
        lag -= size if lag >= wave.size else 0
        tries = [(wave, lag), (filtered[1::2], lag - 1), (filtered[1::2], lag)]  # half a sample matters to an s
        found = [_judged(one, text, self.clips[text], at) for one, at in tries]
        return max((match for match in found if match), key=lambda match: match.gain, default=None)

    def understand(self, pcm: bytes) -> Match | None:
        """The recording that this is; None where it is none, or parts are missing."""
        match = self.best(pcm)
        return match if match is not None and match.gain >= ALIKE and not match.bad_blocks else None


def _filtered(pcm: bytes) -> Floats:
    """s16le at 16 kHz → the same, ready for every second sample to be dropped."""
    wave = np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float64)
    return np.convolve(wave, _HALF_BAND, "same") if wave.size else wave


def _size(least: int) -> int:
    return 1 << (least - 1).bit_length()


@lru_cache(maxsize=64)
def _clip(clip: bytes) -> tuple[Floats, float]:
    """Samples and their norm."""
    wave = mulaw.decode(clip).astype(np.float64)
    return wave, float(np.sqrt(np.sum(wave * wave)))


@lru_cache(maxsize=64)
def _conjugate(clip: bytes, size: int) -> npt.NDArray[np.complex128]:
    wave, norm = _clip(clip)
    return np.asarray(np.conj(np.fft.rfft(wave, size)) / norm, np.complex128)


def _place(spectrum: npt.NDArray[np.complex128], text: str, clip: bytes, size: int) -> tuple[float, int, str]:
    """(how strongly it is there, from which sample on, which)."""
    cross = np.fft.irfft(spectrum * _conjugate(clip, size), size)
    lag = int(np.argmax(cross))
    return float(cross[lag]), lag, text


def _judged(wave: Floats, text: str, clip: bytes, lag: int) -> Match | None:
    """`gain` of the match is its correlation, `snr_db` follows from that."""
    wanted, norm = _clip(clip)
    there = np.zeros(wanted.size)
    first, last = max(0, lag), min(wave.size, lag + wanted.size)
    if last <= first:
        return None
    there[first - lag : last - lag] = wave[first:last]
    alike = float(np.sum(there * wanted)) / max(norm * float(np.sqrt(np.sum(there * there))), 1e-9)
    snr_db = 10 * float(np.log10(max(alike, 1e-3) ** 2 / max(1 - alike**2, 1e-9)))
    return Match(text, lag / RATE, wanted.size / RATE, alike, snr_db, _bad_blocks(there, wanted))


def _bad_blocks(there: Floats, wanted: Floats) -> tuple[int, ...]:
    whole = wanted.size // BLOCK * BLOCK
    a, b = there[:whole].reshape(-1, BLOCK), wanted[:whole].reshape(-1, BLOCK)
    power = (b * b).sum(axis=1)
    alike = (a * b).sum(axis=1) / np.maximum(np.sqrt((a * a).sum(axis=1) * power), 1e-9)
    speech = power > SPEECH * power.mean()
    return tuple(int(at) for at in np.flatnonzero(speech & (alike < BLOCK_ALIKE)))
