"""G.711 mu-law, written here a second time on purpose: a fault in the product's codec must not cancel itself out.

From the definition in ITU-T G.711: sign, 3 bits of segment, 4 bits of step, all inverted on the wire.
"""

import numpy as np
import numpy.typing as npt

RATE = 8000  # Hz, of everything in the simulator
SILENCE = 0xFF
_ZEROS = b"\xff\x7f"
FULL_SCALE = 32768.0
_BIAS = 0x84
_CLIP = 32635

Samples = npt.NDArray[np.int16]


def _expand(code: int) -> int:
    code = ~code & 0xFF
    magnitude = (((code & 0x0F) << 3) + _BIAS) << ((code >> 4) & 0x07)
    return _BIAS - magnitude if code & 0x80 else magnitude - _BIAS


def _compress_all() -> npt.NDArray[np.uint8]:
    values = np.arange(-32768, 32768, dtype=np.int32)
    magnitude = np.minimum(np.abs(values), _CLIP) + _BIAS
    segment = np.frexp(magnitude.astype(np.float64))[1] - 8  # position of the highest bit
    code = np.where(values < 0, 0x80, 0) | segment << 4 | (magnitude >> (segment + 3) & 0x0F)
    return np.asarray(~code & 0xFF, dtype=np.uint8)


EXPAND = np.array([_expand(code) for code in range(256)], dtype=np.int16)
_COMPRESS = _compress_all()
_SQUARES = EXPAND.astype(np.float64) ** 2


def decode(payload: bytes) -> Samples:
    """Mu-law bytes → samples, shape (len(payload),)."""
    return EXPAND[np.frombuffer(payload, np.uint8)]


def encode(samples: Samples) -> bytes:
    """Samples → mu-law bytes, one each."""
    return _COMPRESS[samples.astype(np.int32) + 32768].tobytes()


def level_dbov(payload: bytes) -> float:
    """RMS level of mu-law bytes in dB relative to full scale; -96 for nothing or silence."""
    if not payload.strip(_ZEROS):  # nothing, or silence: most of what a call brings
        return -96.0
    mean = float(_SQUARES[np.frombuffer(payload, np.uint8)].mean())
    return max(-96.0, 10 * float(np.log10(max(mean, 1e-9) / FULL_SCALE**2)))
