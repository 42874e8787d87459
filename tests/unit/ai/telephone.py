"""What a caller sounds like at the far end of a telephone line: recordings and voices through mu-law at 8 kHz."""

from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from trunkline.ai.offline.voice import synthesise
from trunkline.codecs.resample import Resampler, resample_clip
from trunkline.codecs.table import codec_for
from trunkline.codecs.wav import read_wav
from trunkline.errors import ConfigError

RECORDINGS = Path("/usr/share/asterisk/sounds/en")  # Debian: asterisk-core-sounds-en-wav
RATE = 16_000  # Hz of everything that leaves this module

Samples = npt.NDArray[np.float32]


def line(pcm: bytes, rate: int) -> bytes:
    """s16le at `rate` → what arrives of it: s16le at 16 kHz, after mu-law at 8 kHz and the service's resampler."""
    codec = codec_for("PCMU")
    assert codec is not None
    narrow = pcm if rate == 8000 else resample_clip(pcm, rate, 8000)
    heard = codec.decoder().decode(codec.encoder().encode(narrow))
    up = Resampler(8000, RATE)
    return up.push(heard) + up.flush()


@cache
def recording(name: str) -> bytes:
    """A studio recording of a real speaker, through the line."""
    path = RECORDINGS / f"{name}.wav"
    if not path.is_file():
        pytest.skip("needs Debian's asterisk-core-sounds-en-wav")
    wav = read_wav(path.read_bytes())
    return line(wav.pcm, wav.rate)


@cache
def says(text: str, voice: str = "rms") -> bytes:
    """A synthetic caller, through the line."""
    try:
        return line(*synthesise(text, voice))
    except ConfigError as error:
        pytest.skip(str(error))


def silence(seconds: float) -> bytes:
    """A quiet line."""
    return bytes(int(seconds * RATE) * 2)


def floats(pcm: bytes) -> Samples:
    """s16le → -1..1."""
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32768.0


def pcm_of(samples: Samples) -> bytes:
    """-1..1 → s16le."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2").tobytes()


def at_level(pcm: bytes, dbov: float) -> bytes:
    """The same sound with its voiced part at `dbov` RMS."""
    samples = floats(pcm)
    voiced = samples[np.abs(samples) > 0.02 * np.abs(samples).max()]
    return pcm_of(samples * (10 ** (dbov / 20) / float(np.sqrt(np.mean(voiced**2)))))


def pieces(pcm: bytes, ms: int = 20) -> list[bytes]:
    """Cut as it arrives."""
    size = RATE * ms // 1000 * 2
    return [pcm[at : at + size] for at in range(0, len(pcm), size)]
