"""What the simulated Gemini speaks: tones that say which reply and which tenth of a second they are, or flite. Pure.

Each 100 ms of reply n carry two tones: 400 + 50·(n mod 24) Hz and 1700 + 50·(k mod 32) Hz for block k. Both lie in the
telephone's band, so a listener behind any carrier can tell which parts of which reply arrived, in which order, and what
still came after a barge-in.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

RATE = 24_000  # Hz
BLOCK_S = 0.1
REPLIES, BLOCKS = 24, 32  # tones of each kind, before they repeat
_LOW_HZ, _HIGH_HZ, _STEP_HZ = 400.0, 1700.0, 50.0
_EDGE_S = 0.005
_AMPLITUDE = 0.12 * 32767  # of each tone: about -20 dBov together
_LOOK_S = 0.04  # window of the listener
_HOP_S = 0.01
_QUIET = 200.0  # RMS below which nothing is heard

Floats = npt.NDArray[np.float64]


@lru_cache(maxsize=64)
def tones(reply: int, seconds: float, rate: int = RATE) -> bytes:
    """Reply number `reply` → s16le at `rate`, whole blocks, at least `seconds` long."""
    blocks = max(1, -int(-seconds // BLOCK_S))
    size = int(rate * BLOCK_S)
    time = np.arange(size) / rate
    gate = np.minimum(1.0, np.minimum(time, time[::-1]) / _EDGE_S)
    gate = 0.5 - 0.5 * np.cos(np.pi * gate)
    low = np.sin(2 * np.pi * (_LOW_HZ + _STEP_HZ * (reply % REPLIES)) * time)
    parts = [low + np.sin(2 * np.pi * (_HIGH_HZ + _STEP_HZ * (block % BLOCKS)) * time) for block in range(blocks)]
    return b"".join(np.rint(_AMPLITUDE * gate * part).astype("<i2").tobytes() for part in parts)


@dataclass(frozen=True, slots=True)
class Heard:
    """One block as it arrived. `reply` modulo 24, `block` modulo 32; seconds of the audio given."""

    reply: int
    block: int
    from_s: float
    to_s: float


def listen(pcm: bytes, rate: int) -> list[Heard]:
    """s16le at `rate` (8 kHz or more) → the blocks in it, in order of arrival. Shorter bits than 20 ms are not told."""
    runs: list[Heard] = []
    for at_s, who in _looks(np.frombuffer(pcm[: len(pcm) // 2 * 2], "<i2").astype(np.float64), rate):
        if who is None:
            continue
        last = runs[-1] if runs else None
        if last and (last.reply, last.block) == who and at_s - last.to_s < 1.5 * _HOP_S:
            runs[-1] = Heard(*who, last.from_s, at_s)
        else:
            runs.append(Heard(*who, at_s, at_s))
    return [Heard(run.reply, run.block, run.from_s, run.to_s) for run in runs if run.to_s - run.from_s > 1.5 * _HOP_S]


def _looks(wave: Floats, rate: int) -> Iterator[tuple[float, tuple[int, int] | None]]:
    """At each 10 ms: the two strongest tones around it, or None where it is quiet or no clear pair."""
    size = int(rate * _LOOK_S)
    time = np.arange(size) / rate
    window = np.hanning(size)
    low, high = (
        np.exp(-2j * np.pi * np.outer(first + _STEP_HZ * np.arange(count), time)) * window
        for first, count in ((_LOW_HZ, REPLIES), (_HIGH_HZ, BLOCKS))
    )
    for start in range(0, wave.size - size + 1, int(rate * _HOP_S)):
        piece = wave[start : start + size]
        loud = float(np.einsum("i,i->", piece, piece)) / size > _QUIET**2
        pair = (_loudest(low, piece), _loudest(high, piece)) if loud else (None, None)
        yield (start + size / 2) / rate, None if pair[0] is None or pair[1] is None else (pair[0], pair[1])


def _loudest(tones: npt.NDArray[Any], piece: Floats) -> int | None:
    """einsum, not @: the linear algebra library's threads would cost a hundred times the sums where cores are taken."""
    return _strongest(np.einsum("ts,s->t", tones, piece))


def _strongest(amplitudes: npt.NDArray[Any]) -> int | None:
    """The tone that stands out; None where two are equally strong (an edge, or noise)."""
    power = np.abs(amplitudes) ** 2
    best = int(np.argmax(power))
    far = np.abs(np.arange(power.size) - best) > 1  # neighbours share the window's main lobe
    return best if power[best] > 4 * power[far].max() else None


def cut(pcm: bytes, sizes: Sequence[int], dice: random.Random, *, odd: bool = False) -> Iterator[bytes]:
    """Cut at sizes drawn from `sizes` (bytes); with `odd` every size is odd, and some are 1."""
    at = 0
    while at < len(pcm):
        size = dice.choice(tuple(sizes))
        if odd:
            size = dice.choice((1, size - 1 + size % 2))
        yield pcm[at : at + size]
        at += size
