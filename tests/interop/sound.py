"""What telephones of other people's programs say and hear: WAV files, 8000 Hz, mono."""

import subprocess
import wave
from pathlib import Path

import numpy as np

from trunkline.codecs.resample import resample_clip
from trunkline.codecs.wav import read_wav

RATE = 8000


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


def voiced_s(path: Path, channel: int = 0) -> float:
    """Seconds of speech in a file: pieces of 20 ms above -45 dBov. A file that is still being written counts, too."""
    data = path.read_bytes()
    channels = max(1, int.from_bytes(data[22:24], "little"))
    samples = np.frombuffer(data[44 : len(data) // 2 * 2], "<i2").astype(np.float64) / 32768.0
    samples = samples[: len(samples) // channels * channels].reshape(-1, channels)[:, channel]
    pieces = samples[: len(samples) // 160 * 160].reshape(-1, 160)
    return float(np.sum(np.sqrt(np.mean(pieces**2, axis=1)) > 10 ** (-45 / 20)) * 0.02)
