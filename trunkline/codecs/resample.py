"""Resampling between 8, 16 and 24 kHz: for a live stream (`Resampler`), and for whole clips at any rate.

The filter is a linear-phase FIR of 16 samples of the slower rate on each side (2 ms at 8 kHz), windowed by Kaiser's
window. It is what `scipy.signal.firwin` designs (a test holds it to that), in three lines of numpy: importing
scipy.signal would cost a process 0.9 s and 67 MB. A stream is filtered in one matrix product: each 2 ms of it, with
their history, are a row, so a 20 ms frame is 10 rows, and the matrix (6 kB at 8 → 16 kHz) stays in the processor's
first cache, shared by all calls. Output is given at once and does not depend on how the input is cut.
"""

from dataclasses import dataclass
from functools import cache
from math import ceil, gcd
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from trunkline.codecs import fast
from trunkline.codecs.frame import SAMPLE_BYTES
from trunkline.errors import UsageError

Floats: TypeAlias = npt.NDArray[np.float32]
Taps: TypeAlias = npt.NDArray[np.float64]

RATES = (8000, 16000, 24000)  # Hz, of streams
HALF = 16  # taps on each side, in samples of the slower rate; also the delay
CLIP_HALF = 32  # the same for whole clips, where delay costs nothing
BANDWIDTH = 0.92  # cut-off as a share of the slower rate's Nyquist frequency
KAISER_BETA = 7.0  # about 70 dB
_ROW_S = 0.002  # input per row of the product
_ROWS = 10  # rows per product: 20 ms
_FULL_SCALE = 32767
_S16LE = np.dtype("<i2")
_TO_WHOLE = 1.5 * 2.0**23
# A float32 added to this has no bits left for a fraction, and is rounded as `rint` rounds; the low half of the sum's
# bits is the number as s16 (on little-endian machines, as audioop's s16 is s16le on no others). Two passes over the
# output instead of three.
_CLIP_RATES = range(4000, 192_001)  # Hz
_CLIP_CHUNK = 4096  # output samples computed at once, to bound memory


def design(ratio: int, half: int = HALF) -> Taps:
    """Low-pass taps, shape (2·half·ratio + 1,), sum 1; cut-off at 0.92/ratio of the Nyquist frequency."""
    position = np.arange(-half * ratio, half * ratio + 1)
    taps = np.sinc(position * (BANDWIDTH / ratio)) * np.kaiser(position.size, KAISER_BETA)
    return np.asarray(taps / taps.sum())


@dataclass(frozen=True, slots=True)
class _Plan:
    """What all streams of one pair of rates share. The high rate is from_hz·up = to_hz·down."""

    up: int
    down: int
    history: int  # input samples a row needs before its own
    row: int  # input samples of a row; a multiple of `down`
    matrix: Floats  # shape (history + row, row·up/down)
    loud: float  # input from which on the output may clip
    to_whole: Floats  # shape (output of 20 ms,): makes whole numbers of it


@cache
def _plan(from_hz: int, to_hz: int) -> _Plan:
    common = gcd(from_hz, to_hz)
    up, down = to_hz // common, from_hz // common
    taps = design(max(up, down)) * up
    history = ceil((taps.size - 1) / up)
    row = round(from_hz * _ROW_S)
    matrix = np.zeros((history + row, row * up // down), np.float32)
    source = np.arange(history + row)
    for column in range(matrix.shape[1]):
        tap = column * down - (source - history) * up
        inside = (tap >= 0) & (tap < taps.size)
        matrix[inside, column] = taps[tap[inside]]
    matrix.setflags(write=False)
    loud = _FULL_SCALE / float(np.abs(matrix).sum(axis=0).max())
    to_whole = np.full(_ROWS * matrix.shape[1], _TO_WHOLE, np.float32)
    return _Plan(up, down, history, row, matrix, loud, to_whole)


class Resampler:
    """One direction of one call. Any number of samples per push, none is held back; the delay is the filter's own.

    delay_s: by how much the output lags (0.002 where 8 kHz is involved, 0.001 between 16 and 24 kHz, 0 when equal).
    """

    __slots__ = (
        "_flat",
        "_frame_bytes",
        "_hot",
        "_low",
        "_new",
        "_out",
        "_past",
        "_plan",
        "_rest",
        "_rows",
        "_samples",
        "_tail",
        "_windows",
        "delay_s",
        "from_hz",
        "to_hz",
    )

    def __init__(self, from_hz: int, to_hz: int) -> None:
        for name, rate in (("from_hz", from_hz), ("to_hz", to_hz)):
            if rate not in RATES:
                raise UsageError(f"{name}: {rate} Hz is not a stream's rate; allowed are {RATES}")
        self.from_hz = from_hz
        self.to_hz = to_hz
        self.delay_s = 0.0 if from_hz == to_hz else HALF / min(from_hz, to_hz)
        self._plan = _plan(from_hz, to_hz)
        self._make_buffers(self._plan)

    def _make_buffers(self, plan: _Plan) -> None:
        """All arrays and views a call ever needs, so that a frame makes none but its result."""
        new, past = _ROWS * plan.row, SAMPLE_BYTES * plan.history
        # the end of the past, then at most 20 ms: `rest` samples already answered for, and new ones
        self._samples = np.zeros(plan.history + new, _S16LE)
        raw = self._samples.data.cast("B")
        self._past, self._new = raw[:past], raw[past:]
        self._frame_bytes = SAMPLE_BYTES * new
        self._tail = self._frame_bytes - past  # from here on a frame is the next one's past
        width = plan.history + plan.row
        self._windows = np.lib.stride_tricks.sliding_window_view(self._samples, width)[:: plan.row]
        self._rows = np.zeros((_ROWS, width), np.float32)
        self._out = np.zeros((_ROWS, plan.matrix.shape[1]), np.float32)
        self._flat = self._out.reshape(-1)
        self._low = self._flat.view(_S16LE)[::2]
        self._rest = 0  # input samples beyond the last multiple of `down`
        self._hot = 0  # input samples to come in which loud past ones may still make the output clip

    def push(self, pcm: bytes) -> bytes:
        """pcm: s16le at from_hz, any number of samples → s16le at to_hz, all that can be told so far.

        Raises UsageError for half a sample.
        """
        if self.from_hz == self.to_hz:
            return pcm
        if len(pcm) == self._frame_bytes and not self._rest:
            return self._frame(pcm)
        if len(pcm) % SAMPLE_BYTES:
            raise fast.odd_bytes(pcm)
        room = self._frame_bytes - SAMPLE_BYTES * self._rest
        starts = range(room, len(pcm), self._frame_bytes)
        return self._piece(pcm[:room]) + b"".join(self._piece(pcm[at : at + self._frame_bytes]) for at in starts)

    def flush(self) -> bytes:
        """s16le at to_hz: the last `delay_s` of the stream. Afterwards the resampler is as new."""
        if self.from_hz == self.to_hz:
            return b""
        tail = self.push(bytes(SAMPLE_BYTES * round(self.delay_s * self.from_hz)))
        self._samples[:] = 0
        self._rest = self._hot = 0
        return tail

    def _frame(self, pcm: bytes) -> bytes:
        """What `_piece` does, for the whole 20 ms that nearly every piece is."""
        self._new[:] = pcm
        self._rows[:] = self._windows
        self._past[:] = pcm[self._tail :]
        self._rows.dot(self._plan.matrix, self._out)
        flat = self._flat
        if self._may_clip(pcm):
            np.clip(flat, -_FULL_SCALE - 1, _FULL_SCALE, out=flat)
        np.add(flat, self._plan.to_whole, flat)
        return self._low.tobytes()

    def _piece(self, pcm: bytes) -> bytes:
        """At most what fits into the buffer; a whole frame only where nothing is left from before."""
        if len(pcm) == self._frame_bytes:
            return self._frame(pcm)
        plan, samples, rest = self._plan, self._samples, self._rest
        count = len(pcm) // SAMPLE_BYTES
        end = plan.history + rest + count
        samples[plan.history + rest : end] = np.frombuffer(pcm, _S16LE)
        self._rows[:] = self._windows  # what lies beyond `end` is old and reaches no output that is used
        self._rows.dot(plan.matrix, self._out)
        first, last = -(-rest * plan.up // plan.down), -(-(rest + count) * plan.up // plan.down)
        wave = self._flat[first:last]
        if self._may_clip(pcm):
            np.clip(wave, -_FULL_SCALE - 1, _FULL_SCALE, out=wave)
        np.add(wave, plan.to_whole[first:last], wave)
        self._rest = (rest + count) % plan.down
        done = rest + count - self._rest
        if done:
            samples[: plan.history + self._rest] = samples[done:end]
        return self._low[first:last].tobytes()

    def _may_clip(self, pcm: bytes) -> bool:
        """Looking for loud input (0.1 µs) is cheaper than limiting every frame (2 µs)."""
        if fast.peak(pcm) >= self._plan.loud:
            self._hot = self._plan.history
            return True
        if not self._hot:
            return False
        self._hot = max(0, self._hot - len(pcm) // SAMPLE_BYTES)
        return True


def resample_clip(pcm: bytes, from_hz: int, to_hz: int) -> bytes:
    """A whole clip, s16le at from_hz → s16le at to_hz, without delay, its length ⌈samples·to/from⌉.

    Any whole rates from 4 to 192 kHz (22050, 44100, …). For prepared speech, not for the path of a frame: 0.5 to 4 ms
    of work per second of audio. Raises UsageError for other rates and for half a sample.
    """
    for name, rate in (("from_hz", from_hz), ("to_hz", to_hz)):
        if rate not in _CLIP_RATES:
            raise UsageError(f"{name}: {rate} Hz is not allowed; 4000 to 192000 are")
    if len(pcm) % SAMPLE_BYTES:
        raise fast.odd_bytes(pcm)
    if from_hz == to_hz or not pcm:
        return pcm
    common = gcd(from_hz, to_hz)
    wave = _polyphase(np.frombuffer(pcm, _S16LE), to_hz // common, from_hz // common)
    return np.clip(np.rint(wave), -_FULL_SCALE - 1, _FULL_SCALE).astype(_S16LE).tobytes()


@cache
def _clip_phases(up: int, down: int) -> tuple[Floats, int]:
    """Taps per phase, shape (up, taps), last first, and how many input samples before its own an output needs."""
    longest = max(up, down)
    taps = design(longest, CLIP_HALF) * up
    before = ceil(CLIP_HALF * longest / up)
    width = 2 * before + 1
    index = np.arange(up)[:, None] + (before - np.arange(width))[None, :] * up + CLIP_HALF * longest
    inside = (index >= 0) & (index < taps.size)
    return np.where(inside, taps[np.clip(index, 0, taps.size - 1)], 0).astype(np.float32), before


def _polyphase(samples: npt.NDArray[np.int16], up: int, down: int) -> Floats:
    phases, before = _clip_phases(up, down)
    padded = np.zeros(samples.size + 2 * before + 1, np.float32)
    padded[before : before + samples.size] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, phases.shape[1])
    position = np.arange(-(-samples.size * up // down), dtype=np.int64) * down
    chunks = [position[at : at + _CLIP_CHUNK] for at in range(0, position.size, _CLIP_CHUNK)]
    return np.concatenate([np.einsum("ij,ij->i", windows[at // up], phases[at % up]) for at in chunks])
