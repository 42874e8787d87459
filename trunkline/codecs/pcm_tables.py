"""G.711 in numbers: what each of the 256 codes means, and which code each of the 65,536 samples gets.

Written from ITU-T G.711 tables 1 and 2: 8 segments of 16 steps per sign, the step doubling from segment to segment.
Mu-law works on 14-bit samples and A-law on 13-bit ones; s16 is that, shifted up by 2 or 3 bits.
"""

from functools import cache
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Samples: TypeAlias = npt.NDArray[np.int16]
Codes: TypeAlias = npt.NDArray[np.uint8]

_BIAS = 33  # mu-law: added to the 14-bit magnitude, so that every segment starts at a power of two
_MULAW_CLIP = 8158  # largest 14-bit magnitude with a code: 8191 - 33


@cache
def mulaw_samples() -> Samples:
    """s16, shape (256,): the sample of each mu-law code; ±32124 at most, 0 for 0xFF and 0x7F."""
    code = ~np.arange(256, dtype=np.int64) & 0xFF  # sent inverted
    segment, step = (code >> 4) & 7, code & 15
    magnitude = ((2 * step + _BIAS) << segment) - _BIAS
    return (np.where(code & 0x80, -magnitude, magnitude) << 2).astype(np.int16)


@cache
def alaw_samples() -> Samples:
    """s16, shape (256,): the sample of each A-law code; ±32256 at most, ±8 the smallest."""
    code = np.arange(256, dtype=np.int64) ^ 0x55  # every second bit is sent inverted
    segment, step = (code >> 4) & 7, code & 15
    magnitude = np.where(segment == 0, 2 * step + 1, (2 * step + 33) << np.maximum(segment - 1, 0))
    return (np.where(code & 0x80, magnitude, -magnitude) << 3).astype(np.int16)


@cache
def mulaw_codes() -> Codes:
    """uint8, shape (65536,): the mu-law code of each sample, indexed by the sample read as uint16."""
    linear = np.arange(65536).astype(np.uint16).astype(np.int16).astype(np.int64) >> 2
    magnitude = np.minimum(np.abs(linear), _MULAW_CLIP) + _BIAS
    segment = np.floor(np.log2(magnitude)).astype(np.int64) - 5
    code = (segment << 4) | ((magnitude >> (segment + 1)) & 15)
    return np.asarray(np.where(linear < 0, code | 0x80, code) ^ 0xFF, np.uint8)


@cache
def alaw_codes() -> Codes:
    """uint8, shape (65536,): the A-law code of each sample, indexed by the sample read as uint16."""
    linear = np.arange(65536).astype(np.uint16).astype(np.int16).astype(np.int64) >> 3
    magnitude = np.where(linear < 0, ~linear, linear)  # the two halves mirror about -0.5
    segment = np.floor(np.log2(np.maximum(magnitude, 16))).astype(np.int64) - 4
    code = (segment << 4) | ((magnitude >> np.maximum(segment, 1)) & 15)
    return np.asarray(np.where(linear < 0, code, code | 0x80) ^ 0x55, np.uint8)
