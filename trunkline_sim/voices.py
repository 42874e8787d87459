"""Callers' voices that are not the agent's own: other synthesisers, and recordings of real people.

A clip is mu-law at 8 kHz, its silence trimmed, its speech at about -20 dBov. Synthetic ones are kept in a cache
directory, so that a second run starts at once.
"""

import asyncio
import hashlib
import io
import os
import shutil
import subprocess
import tempfile
import wave
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trunkline.codecs.resample import resample_clip
from trunkline_sim import mulaw
from trunkline_sim.errors import VoiceError
from trunkline_sim.script import Interrupt, Say, Script, Speech
from trunkline_sim.tones import TONES, tone

LEVEL_DBOV = -20.0
PEAK = 0.9  # of full scale
EDGE_S = 0.04  # kept before and after speech
_SYNTH_S = 30.0  # limit for one synthesis
_VERSION = "3"  # of the clips' making; part of the cache key

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Voice:
    """A synthesiser's voice: the command that writes a WAV file ({out}) from a text ({text} or standard input)."""

    name: str
    command: tuple[str, ...]
    package: str  # Debian's
    about: str

    @property
    def installed(self) -> bool:
        """True when its program is there."""
        return shutil.which(self.command[0]) is not None


def _flite(name: str, about: str) -> Voice:
    return Voice(name, ("flite", "-voice", name, "-t", "{text}", "-o", "{out}"), "flite", about)


def _festival(name: str, voice: str, package: str, about: str) -> Voice:
    return Voice(name, ("text2wave", "-eval", f"(voice_{voice})", "-o", "{out}"), f"festival {package}", about)


VOICES: Mapping[str, Voice] = {
    voice.name: voice
    for voice in (
        _flite("kal16", "man, American, diphones (flite)"),
        _flite("awb", "man, Scottish (flite)"),
        _flite("slt", "woman, American (flite)"),
        _festival("ked", "ked_diphone", "festvox-kdlpc16k", "man, American, diphones (festival)"),
        _festival("kal", "kal_diphone", "festvox-kallpc16k", "man, American, diphones (festival)"),
        Voice("espeak", ("espeak-ng", "-v", "en-us", "-w", "{out}", "{text}"), "espeak-ng", "formants (espeak-ng)"),
    )
}

RECORDINGS = (
    Path("/usr/share/asterisk/sounds/en_US_f_Allison"),
    Path("/usr/share/asterisk/sounds/en"),
)
RECORDINGS_PACKAGE = "asterisk-core-sounds-en-wav"


def cache_dir() -> Path:
    """Where synthetic clips are kept: XDG_CACHE_HOME, else ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trunkline" / "voices"


class Voices:
    """Makes clips. `clip` blocks for up to a second the first time a sentence is asked for."""

    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache or cache_dir()

    def say(self, text: str, voice: str = "kal16") -> bytes:
        """A sentence in a voice of VOICES → mu-law. Raises VoiceError, which names the missing package."""
        known = known_voice(voice)
        key = hashlib.sha256("\0".join((_VERSION, *known.command, text)).encode()).hexdigest()[:32]
        path = self._cache / f"{key}.ulaw"
        if path.is_file():
            return path.read_bytes()
        payload = _finish(*_synthesise_blocking(known, text))
        _keep(path, payload)
        return payload

    def recording(self, name: str, folder: Path = Path()) -> bytes:
        """A recording → mu-law: "asterisk:hours" or "tone:beep" by name, else a WAV file beside the script. Raises
        VoiceError."""
        if name.startswith("tone:"):
            return _tone(name.removeprefix("tone:"))
        path = _asterisk(name.removeprefix("asterisk:")) if name.startswith("asterisk:") else folder / name
        try:
            return _finish(*_read_wav(path.read_bytes()))
        except (OSError, EOFError, wave.Error, ValueError) as wrong:
            raise VoiceError(f"recording {name!r}: {path} cannot be used: {wrong}") from wrong

    def clips(self, script: Script, voice: str = "") -> dict[Speech, bytes]:
        """All speech of a script. `voice` replaces the script's own; a voice named in a line stays."""
        return {speech: self.clip(script, speech, voice) for speech in speeches(script)}

    async def prepare(self, script: Script, voice: str = "") -> dict[Speech, bytes]:
        """`clips` without blocking the event loop."""
        return await asyncio.to_thread(self.clips, script, voice)

    def clip(self, script: Script, speech: Speech, voice: str = "") -> bytes:
        """One of them; raises VoiceError."""
        if speech.recording:
            return self.recording(speech.recording, script.folder)
        return self.say(speech.text, speech.voice or voice or script.voice)


def speeches(script: Script) -> Iterable[Speech]:
    """Everything that a script's caller says, in order."""
    return [step.speech for step in script.steps if isinstance(step, Say | Interrupt)]


def known_voice(name: str) -> Voice:
    """A voice of VOICES that is installed. Raises VoiceError naming those that are."""
    voice = VOICES.get(name)
    if voice is None:
        raise VoiceError(f"voice {name!r} is unknown; there are: {', '.join(VOICES)}")
    if not voice.installed:
        raise VoiceError(_missing(voice))
    return voice


def _missing(voice: Voice) -> str:
    others = [other.name for other in VOICES.values() if other.installed]
    instead = f"; installed voices: {', '.join(others)}" if others else "; or let the caller `play` WAV files instead"
    return f"voice {voice.name!r} needs {voice.command[0]}: apt install {voice.package}{instead}"


def _synthesise_blocking(voice: Voice, text: str) -> tuple[Floats, int]:
    with tempfile.TemporaryDirectory(prefix="trunkline-voice-") as folder:
        out = Path(folder) / "out.wav"
        command = [part.format(text=text, out=out) for part in voice.command]
        try:
            done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=_SYNTH_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as wrong:
            raise VoiceError(f"voice {voice.name!r}: {command[0]} failed: {wrong}") from wrong
        if done.returncode or not out.is_file():
            told = done.stderr.decode("utf-8", "replace").strip()[-300:]
            raise VoiceError(
                f"voice {voice.name!r}: {command[0]} failed ({done.returncode}): {told}; {_missing(voice)}"
            )
        return _read_wav(out.read_bytes())


def _tone(name: str) -> bytes:
    if name not in TONES:
        raise VoiceError(f"there is no tone {name!r}; there are: {', '.join(TONES)}")
    return tone(name)


def _asterisk(name: str) -> Path:
    for folder in RECORDINGS:
        if (path := folder / f"{name}.wav").is_file():
            return path
    if not any(folder.is_dir() for folder in RECORDINGS):
        raise VoiceError(f"recording 'asterisk:{name}' is not there: apt install {RECORDINGS_PACKAGE}")
    raise VoiceError(
        f"there is no recording {name!r} in {RECORDINGS_PACKAGE}; `trunkline sim voices --recordings` lists them"
    )


def recordings() -> list[str]:
    """Names of the installed recordings, as `play asterisk:NAME` wants them."""
    found = {str(path.relative_to(folder).with_suffix("")) for folder in RECORDINGS for path in folder.rglob("*.wav")}
    return sorted(found)


def _read_wav(data: bytes) -> tuple[Floats, int]:
    with wave.open(io.BytesIO(data)) as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{8 * file.getsampwidth()}-bit samples; 16-bit PCM is wanted")
        raw = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return raw.reshape(-1, file.getnchannels()).mean(axis=1), file.getframerate()


def _finish(samples: Floats, rate: int) -> bytes:
    """Any clip → 8 kHz, trimmed, levelled, mu-law."""
    pcm = samples.astype("<i2").tobytes()
    if rate != mulaw.RATE:
        pcm = resample_clip(pcm, rate, mulaw.RATE)
    return mulaw.encode(_level(_trim(np.frombuffer(pcm, "<i2").astype(np.float64))))


def _trim(samples: Floats) -> Floats:
    """Cut to speech: from the first to the last 10 ms within 24 dB of the loudest, and EDGE_S beyond."""
    cell = mulaw.RATE // 100
    power = (samples[: len(samples) // cell * cell].reshape(-1, cell) ** 2).mean(axis=1)
    loud = np.flatnonzero(power > max(1.0, float(power.max(initial=0.0)) / 250))
    if not len(loud):
        raise VoiceError("the clip holds no sound")
    edge = int(EDGE_S * mulaw.RATE)
    return samples[max(0, loud[0] * cell - edge) : (loud[-1] + 1) * cell + edge]


def _level(samples: Floats) -> mulaw.Samples:
    """Speech (frames within 30 dB of the loudest) to LEVEL_DBOV, peaks below PEAK."""
    frames = samples[: len(samples) // 160 * 160].reshape(-1, 160) if len(samples) >= 160 else samples.reshape(1, -1)
    power = (frames**2).mean(axis=1)
    speech = power[power > power.max() / 1000].mean()
    gain = mulaw.FULL_SCALE * 10 ** (LEVEL_DBOV / 20) / max(1.0, float(np.sqrt(speech)))
    peak = float(np.abs(samples).max()) * gain / mulaw.FULL_SCALE
    gain *= min(1.0, PEAK / peak)
    return np.round(samples * gain).astype(np.int16)


def _keep(path: Path, payload: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_bytes(payload)
    part.replace(path)
