"""The few sample loops that are worth C: `audioop` where the interpreter has it, numpy where it has not.

`audioop` is part of Python 3.11 and 3.12 and comes as `audioop-lts` for 3.13. Measured on 160 samples it is 3 to 9
times faster than numpy (docs/audio.md), and every function here gives the same bits either way (a test says so).
All take s16le of whole samples and raise `UsageError` otherwise.
"""

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import TypeAlias, TypeVar

import numpy as np

from trunkline.codecs import pcm_tables
from trunkline.errors import UsageError

_T = TypeVar("_T")
_Work: TypeAlias = Callable[[bytes], _T]


def load(name: str = "audioop") -> ModuleType | None:
    """The audioop module, or None. Its deprecation (3.11, 3.12) is known, and not the caller's business."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return __import__(name)
        except ImportError:
            return None


def odd_bytes(pcm: bytes) -> UsageError:
    """The error for bytes that are no whole number of samples."""
    return UsageError(f"pcm: {len(pcm)} bytes are not whole s16le samples")


def _words(pcm: bytes, dtype: str = "<i2") -> "np.ndarray[tuple[int], np.dtype[np.int16]]":
    if len(pcm) % 2:
        raise odd_bytes(pcm)
    return np.frombuffer(pcm, dtype)


def mulaw_encode_numpy(pcm: bytes) -> bytes:
    """s16le → mu-law bytes by table."""
    return pcm_tables.mulaw_codes().take(_words(pcm, "<u2")).tobytes()


def mulaw_decode_numpy(payload: bytes) -> bytes:
    """Mu-law bytes → s16le by table."""
    return pcm_tables.mulaw_samples().take(np.frombuffer(payload, np.uint8)).tobytes()


def alaw_encode_numpy(pcm: bytes) -> bytes:
    """s16le → A-law bytes by table."""
    return pcm_tables.alaw_codes().take(_words(pcm, "<u2")).tobytes()


def alaw_decode_numpy(payload: bytes) -> bytes:
    """A-law bytes → s16le by table."""
    return pcm_tables.alaw_samples().take(np.frombuffer(payload, np.uint8)).tobytes()


def byteswap_numpy(pcm: bytes) -> bytes:
    """Each 16-bit sample with its two bytes exchanged."""
    return _words(pcm).byteswap().tobytes()


def rms_numpy(pcm: bytes) -> int:
    """Root mean square, rounded down; 0 for no samples."""
    samples = _words(pcm).astype(np.float64)
    return int(np.sqrt(samples @ samples / samples.size)) if samples.size else 0


def peak_numpy(pcm: bytes) -> int:
    """Largest absolute sample (32768 is possible); 0 for no samples."""
    samples = _words(pcm)
    return max(int(samples.max()), -int(samples.min())) if samples.size else 0


def _native(name: str, fallback: _Work[_T]) -> _Work[_T]:
    """The function of audioop for 16 bits, or the fallback without it."""
    if AUDIOOP is None:
        return fallback
    work: Callable[[bytes, int], _T] = getattr(AUDIOOP, name)
    refused: type[Exception] = AUDIOOP.error

    def function(data: bytes) -> _T:
        try:
            return work(data, 2)
        except refused as error:
            raise odd_bytes(data) from error

    return function


AUDIOOP = load()
mulaw_encode = _native("lin2ulaw", mulaw_encode_numpy)
mulaw_decode = _native("ulaw2lin", mulaw_decode_numpy)
alaw_encode = _native("lin2alaw", alaw_encode_numpy)
alaw_decode = _native("alaw2lin", alaw_decode_numpy)
byteswap = _native("byteswap", byteswap_numpy)
rms = _native("rms", rms_numpy)
peak = _native("max", peak_numpy)
