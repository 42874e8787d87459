"""Which 20 ms of a recording are in a stretch of audio, wherever, however often: for sentences cut in two. Pure.

`gemini_ear` says whether a whole sentence arrived; here the parts are found. The audio is searched for the recording
again and again, the parts that fit are taken out, until nothing of it is left.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from trunkline_sim.gemini_ear import LOW, WINDOW_S, Demand, Floats, clip_wave, delayed, fast_size, fraction, telephone

_MOST_PLACES = 8
_BLOCK = int(LOW * WINDOW_S)
_LEAST_GAIN = 0.25  # of the best part's
_LEAST_RUN = 3  # blocks in a row: fewer may be chance
_SLACK = 2  # blocks at a cut that are half there


@dataclass(frozen=True, slots=True)
class Part:
    """The recording lies at `at_s` of the audio (it may begin before it); `blocks` of 20 ms of it are there, `gain`
    times as loud."""

    at_s: float
    blocks: frozenset[int]
    gain: float


def speech_blocks(clip: bytes, demand: Demand | None = None) -> frozenset[int]:
    """Blocks of a recording (mu-law at 8 kHz) that hold speech; the silence around them is nobody's loss."""
    power = _power(clip_wave(clip))
    return frozenset(np.flatnonzero(power > power.mean() * 10 ** ((demand or Demand()).speech_db / 10)).tolist())


def find_parts(pcm: bytes, clip: bytes, demand: Demand | None = None) -> list[Part]:
    """Every place where parts of a recording lie in s16le at 16 kHz; the best one first."""
    demand = demand or Demand()
    wanted, spoken, heard = clip_wave(clip), speech_blocks(clip, demand), telephone(pcm)
    if not heard.size:
        return []
    pad = wanted.size
    rest = np.concatenate([np.zeros(pad), heard, np.zeros(pad)])
    found: list[Part] = []
    while len(found) < _MOST_PLACES and (part := _best(rest, wanted, spoken, demand)) is not None:
        if found and part.gain < _LEAST_GAIN * found[0].gain:
            break  # what a filter left beside the parts that were taken out
        place = round(part.at_s * LOW)
        for block in part.blocks:
            rest[place + block * _BLOCK : place + (block + 1) * _BLOCK] = 0.0
        found.append(replace(part, at_s=(place - pad) / LOW))
    return found


def _best(rest: Floats, wanted: Floats, spoken: frozenset[int], demand: Demand) -> Part | None:
    """Where most of the recording's energy is met again. Plain correlation: a part of it counts as a part."""
    size = fast_size(rest.size + wanted.size)
    cross = np.fft.irfft(np.fft.rfft(rest, size) * np.conj(np.fft.rfft(wanted, size)), size)
    place = int(np.argmax(cross[: rest.size - wanted.size + 1]))
    there = rest[place : place + wanted.size]
    alike, gain = _alike(there, delayed(wanted, fraction(there, wanted)), demand)
    blocks = frozenset(block for run in _runs(alike & spoken) for block in run)
    return Part(place / LOW, blocks, gain) if blocks else None


def _alike(there: Floats, wanted: Floats, demand: Demand) -> tuple[frozenset[int], float]:
    """Blocks in which the difference is small enough, at the level of the blocks that are surely the recording; and
    that level."""
    cross, own = _sums(there * wanted), _sums(wanted * wanted)
    sure = cross > 0.9 * np.sqrt(np.maximum(own * _sums(there * there), 1e-9))
    gain = float(cross[sure].sum() / max(own[sure].sum(), 1e-9)) if sure.any() else 1.0
    left = _sums((there - gain * wanted) ** 2)
    good = gain**2 * own > left * 10 ** (demand.block_snr_db / 10)
    return frozenset(np.flatnonzero(good).tolist()), gain


def _runs(blocks: frozenset[int]) -> list[list[int]]:
    runs: list[list[int]] = []
    for block in sorted(blocks):
        if runs and block - runs[-1][-1] <= _SLACK:
            runs[-1].append(block)
        else:
            runs.append([block])
    return [run for run in runs if len(run) >= _LEAST_RUN]


def _power(wave: Floats) -> Floats:
    return _sums(wave * wave)


def _sums(values: Floats) -> npt.NDArray[np.float64]:
    whole = values.size // _BLOCK * _BLOCK
    return np.asarray(values[:whole].reshape(-1, _BLOCK).sum(axis=1))
