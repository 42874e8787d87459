"""How loud: dBov, where 0 is the power of a full-scale square wave (RFC 6464 section 3, ITU-T G.191).

A full-scale sine is therefore -3.01 dBov, and 0 dBm0 on a G.711 line is about -6.2 dBov.
"""

from math import log10

from trunkline.codecs import fast

SILENCE_DBOV = -127.0  # digital silence, and the lowest value given (RFC 6464's)
_FULL = 32768


def rms_dbov(pcm: bytes) -> float:
    """Power of s16le samples in dBov, -127 for silence or no samples. Raises UsageError for half a sample."""
    return _dbov(fast.rms(pcm))


def peak_dbov(pcm: bytes) -> float:
    """The largest sample in dB of full scale, -127 for silence or no samples."""
    return _dbov(fast.peak(pcm))


def amplitude(dbov: float) -> float:
    """RMS of s16 samples at that level: 32768 at 0 dBov."""
    return float(_FULL * 10.0 ** (dbov / 20))


def _dbov(amplitude: int) -> float:
    return 20 * log10(amplitude / _FULL) if amplitude else SILENCE_DBOV
