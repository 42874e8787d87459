"""Is somebody talking? Silero VAD v6 on 16 kHz audio, one probability per 32 ms.

The model is package data (MIT, `models/silero_vad_v6_16k.LICENSE`), checked by its SHA-256 before it is loaded.
One onnxruntime session with one thread serves the whole process; what belongs to a call is its recurrent state, 64
samples of context and the samples of an unfinished window. A telephone's 8 kHz must be resampled to 16 kHz first: the
model's own 8 kHz branch misses more and starts later.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trunkline.errors import ConfigError

RATE: Final = 16_000  # Hz
WINDOW: Final = 512  # samples
WINDOW_S: Final = WINDOW / RATE
_CONTEXT = 64  # samples of the previous window that the model wants in front of each
_MODEL = "silero_vad_v6_16k.onnx"
_SHA256 = "7ed98ddbad84ccac4cd0aeb3099049280713df825c610a8ed34543318f1b2c49"
_SILENT_DBOV = -96.0


def _model_bytes() -> bytes:
    data = resources.files("trunkline.ai.cascade").joinpath("models", _MODEL).read_bytes()
    if hashlib.sha256(data).hexdigest() != _SHA256:
        raise ConfigError(f"voice activity model {_MODEL} is damaged (its SHA-256 differs): reinstall trunkline")
    return data


@cache
def _session() -> Any:
    """The process's one inference session. onnxruntime is imported here: it costs 50 ms and 19 MB."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(_model_bytes(), options, providers=["CPUExecutionProvider"])


def preload() -> None:
    """Load the model now, so that no call pays for it (some 70 ms). Raises ConfigError when the file is damaged."""
    _session()


@dataclass(frozen=True, slots=True)
class Window:
    """One judgement: 512 samples that end at `end_s` of the stream."""

    probability: float  # of speech, 0..1
    dbov: float  # level, dB below a full-scale square wave; -96 is silence
    end_s: float  # seconds since the stream's first sample


class Vad:
    """One call's voice activity detector. About 0.1 ms of processor per 32 ms of audio."""

    def __init__(self) -> None:
        self._run = _session().run
        self._carry = b""
        self._heard = 0  # samples judged
        self.reset()

    def reset(self) -> None:
        """Forget what was heard; positions go on."""
        self._state: NDArray[np.float32] = np.zeros((2, 1, 128), np.float32)
        self._input: NDArray[np.float32] = np.zeros((1, _CONTEXT + WINDOW), np.float32)
        self._rate = np.array(RATE, np.int64)

    def skip(self, samples: int) -> None:
        """`samples` of the stream were lost: positions move on by as much."""
        self._heard += samples

    def push(self, pcm16k: bytes) -> list[float]:
        """s16le at 16 kHz, any whole number of samples → the probability of each window that it completed."""
        return [window.probability for window in self.windows(pcm16k)]

    def windows(self, pcm16k: bytes) -> list[Window]:
        """As `push`, with level and position."""
        data = self._carry + pcm16k
        whole = len(data) // (2 * WINDOW)
        self._carry = data[whole * 2 * WINDOW :]
        samples = np.frombuffer(data, np.int16, whole * WINDOW).astype(np.float32) / 32768.0
        return [self._judge(samples[i * WINDOW : (i + 1) * WINDOW]) for i in range(whole)]

    def _judge(self, window: NDArray[np.float32]) -> Window:
        self._input[0, :_CONTEXT] = self._input[0, -_CONTEXT:]
        self._input[0, _CONTEXT:] = window
        output, self._state = self._run(None, {"input": self._input, "state": self._state, "sr": self._rate})
        self._heard += WINDOW
        return Window(float(output[0, 0]), dbov(window), self._heard / RATE)


def dbov(samples: NDArray[np.float32]) -> float:
    """Level of samples in -1..1: RMS in dB relative to overload (a full-scale square wave is 0 dBov), at least -96."""
    power = float(np.dot(samples, samples)) / max(1, samples.size)
    return max(_SILENT_DBOV, 10.0 * float(np.log10(power))) if power > 0.0 else _SILENT_DBOV
