"""What telephones of other people's programs say and hear: WAV files, 8000 Hz, mono."""

import subprocess
import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trunkline.codecs.resample import resample_clip
from trunkline.codecs.wav import read_wav

RATE = 8000
PIECE_S = 0.02


def write(path: Path, pcm: bytes) -> Path:
    """s16le at 8000 Hz → a file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(pcm)
    return path


def silence(path: Path, seconds: float) -> Path:
    """Nothing, for so long."""
    return write(path, bytes(int(seconds * RATE) * 2))


def speech(path: Path, text: str, voice: str = "kal16", after_s: float = 90.0) -> Path:
    """A synthetic voice that is none of the agent's, and silence behind it."""
    made = path.with_suffix(".wide.wav")
    subprocess.run(["flite", "-voice", voice, "-t", text, "-o", made], check=True)
    wav = read_wav(made.read_bytes())
    narrow = resample_clip(wav.pcm, wav.rate, RATE)
    return write(path, bytes(RATE // 5) + narrow + bytes(int(after_s * RATE) * 2))


def voiced_s(path: Path) -> float:
    """Seconds of speech in a file: pieces of 20 ms above -45 dBov."""
    return float(np.sum(_levels(path.read_bytes()) > 10 ** (-45 / 20)) * PIECE_S)


def alike(path: Path, wav: bytes, channel: int = 1) -> float:
    """How much a file sounds like a channel of `wav`, wherever in it: 1 for the same course of loudness, about 0.3 for
    another voice, another pace or noise."""
    here, there = _levels(path.read_bytes()), _levels(wav, channel)
    here, there = here - here.mean(), there - there.mean()
    return float(np.correlate(here, there, "full").max() / (np.linalg.norm(here) * np.linalg.norm(there) + 1e-9))


def _levels(wav: bytes, channel: int = 0) -> npt.NDArray[np.float64]:
    """RMS of each 20 ms, 0 to 1. A file that is still being written counts, too: its header does not tell its length
    yet."""
    channels, rate = int.from_bytes(wav[22:24], "little"), int.from_bytes(wav[24:28], "little")
    size, start = round(rate * PIECE_S), wav.index(b"data") + 8
    samples = np.frombuffer(wav[start : start + (len(wav) - start) // 2 * 2], "<i2").astype(np.float64) / 32768.0
    one = samples[: len(samples) // channels * channels].reshape(-1, channels)[:, channel]
    return np.sqrt(np.mean(one[: len(one) // size * size].reshape(-1, size) ** 2, axis=1))
