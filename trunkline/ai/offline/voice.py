"""The built-in voice: flite in this process through ctypes (which lets the event loop run meanwhile).

Needs the shared libraries of Debian's package `libflite1`. A voice costs 3–13 ms of processor per second of speech;
a clause is made whole, so its first frame is there after 10–50 ms. Made clauses are kept (`ClipCache`), so that the
fixed sentences of a dialogue cost nothing the second time.
"""

import asyncio
import ctypes
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trunkline.ai.cascade.text import speakable
from trunkline.codecs.frame import AudioFrame
from trunkline.errors import ConfigError, ProviderError

RATE: Final = 16_000  # Hz of what OfflineVoice speaks
VOICES: Final = ("rms", "kal16", "awb", "slt", "kal")  # kal is 8 kHz and for the simulator
_PACKAGE = "libflite1"
_PEAK: Final = 10 ** (-3 / 20) * 32768
_RMS: Final = 10 ** (-20 / 20) * 32768
_LEAD_SILENCE_S: Final = 0.02  # kept in front of the first sound
_QUIET: Final = 200  # |sample| below this is silence, after levelling
_FADE_S: Final = 0.005
_LOADING: Final = threading.RLock()  # libraries and voices are registered once, whichever thread asks first


class _Wave(ctypes.Structure):
    """cst_wave of flite 2.x."""

    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.POINTER(ctypes.c_short)),
    )


class _Flite:
    """The shared libraries, loaded once per process."""

    def __init__(self) -> None:
        self._lib = _load("libflite.so.1")
        for name in ("libflite_usenglish.so.1", "libflite_cmulex.so.1"):
            _load(name)
        self._lib.flite_init()
        self._lib.flite_text_to_wave.restype = ctypes.POINTER(_Wave)
        self._lib.flite_text_to_wave.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
        self._lib.delete_wave.argtypes = (ctypes.POINTER(_Wave),)
        for function, result, arguments in (
            ("flite_synth_text", ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_void_p)),
            ("utt_relation", ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_char_p)),
            ("relation_head", ctypes.c_void_p, (ctypes.c_void_p,)),
            ("item_next", ctypes.c_void_p, (ctypes.c_void_p,)),
            ("item_feat_string", ctypes.c_char_p, (ctypes.c_void_p, ctypes.c_char_p)),
            ("delete_utterance", None, (ctypes.c_void_p,)),
        ):
            getattr(self._lib, function).restype = result
            getattr(self._lib, function).argtypes = arguments
        self._voices: dict[str, int] = {}

    def voice(self, name: str) -> int:
        """Pointer of the registered voice."""
        if name not in VOICES:
            raise ConfigError(f"ai.offline.voice: {name!r} is not one of {', '.join(VOICES)}")
        with _LOADING:
            if name not in self._voices:
                register = getattr(_load(f"libflite_cmu_us_{name}.so.1"), f"register_cmu_us_{name}")
                register.restype = ctypes.c_void_p
                register.argtypes = (ctypes.c_char_p,)
                self._voices[name] = register(None)
            return self._voices[name]

    def wave(self, text: str, voice: str) -> tuple[NDArray[np.int16], int]:
        """Samples and their rate (Hz). Blocks for the synthesis; other threads run."""
        made = self._lib.flite_text_to_wave(text.encode("ascii", "ignore"), self.voice(voice))
        if not made:
            raise ProviderError(f"flite made no speech of {text[:40]!r}", code="synthesis")
        try:
            wave = made.contents
            if wave.num_samples <= 0:
                return np.zeros(0, np.int16), wave.sample_rate
            return np.ctypeslib.as_array(wave.samples, (wave.num_samples,)).copy(), wave.sample_rate
        finally:
            self._lib.delete_wave(made)

    def phones(self, text: str) -> list[str]:
        """Phone names of the `text` as flite would say it, pauses included."""
        utterance = self._lib.flite_synth_text(text.encode("ascii", "ignore"), self.voice("kal16"))
        if not utterance:
            return []
        found: list[str] = []
        try:
            item = self._lib.relation_head(self._lib.utt_relation(utterance, b"Segment"))
            while item:
                found.append(self._lib.item_feat_string(item, b"name").decode("ascii"))
                item = self._lib.item_next(item)
        finally:
            self._lib.delete_utterance(utterance)
        return found


def _load(name: str) -> ctypes.CDLL:
    try:
        return ctypes.CDLL(name, mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        raise ConfigError(
            f"the offline voice needs {name}: install the system package {_PACKAGE} (apt-get install {_PACKAGE})"
        ) from error


@cache
def _flite_once() -> _Flite:
    return _Flite()


def _flite() -> _Flite:
    with _LOADING:
        return _flite_once()


def synthesise(text: str, voice: str = "rms") -> tuple[bytes, int]:
    """Speech of `text` as it stands: (s16le mono, rate in Hz), levelled, without leading silence.

    Blocks for the synthesis. Raises ConfigError when flite or the voice is missing, ProviderError when it fails.
    """
    samples, rate = _flite().wave(text, voice)
    return _level(samples, rate).tobytes(), rate


def pronounce(word: str) -> list[str]:
    """CMU phones ("p", "iy", "t", "s", "ax") of any spelling by flite's rules. Raises ConfigError without flite."""
    return [phone for phone in _flite().phones(word) if phone != "pau"]


def _level(samples: NDArray[np.int16], rate: int) -> NDArray[np.int16]:
    """-20 dBFS RMS of the voiced part, never above -3 dBFS peak; soft edges, 20 ms before the first sound."""
    if not samples.size or not samples.any():
        return samples
    wave = samples.astype(np.float32)
    voiced = wave[np.abs(wave) > 0.02 * np.abs(wave).max()]
    wave *= min(_RMS / float(np.sqrt(np.mean(voiced**2))), _PEAK / float(np.abs(wave).max()))
    first = int(np.argmax(np.abs(wave) > _QUIET))
    wave = wave[max(0, first - int(_LEAD_SILENCE_S * rate)) :]
    fade = np.linspace(0.0, 1.0, min(wave.size, int(_FADE_S * rate)), dtype=np.float32)
    wave[: fade.size] *= fade
    wave[wave.size - fade.size :] *= fade[::-1]
    levelled: NDArray[np.int16] = np.rint(wave).astype(np.int16)
    return levelled


class ClipCache:
    """The most recently used clips, bounded in bytes. Keys are (text, voice)."""

    def __init__(self, max_bytes: int) -> None:
        self._max = max_bytes
        self._clips: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self.bytes = 0
        self.hits = 0
        self.misses = 0

    def get(self, key: tuple[str, str]) -> bytes | None:
        """The clip, or None."""
        clip = self._clips.get(key)
        if clip is None:
            self.misses += 1
            return None
        self.hits += 1
        self._clips.move_to_end(key)
        return clip

    def put(self, key: tuple[str, str], clip: bytes) -> None:
        """Keep a clip; the least recently used make room. One larger than the whole cache is not kept."""
        if len(clip) > self._max:
            return
        self.bytes += len(clip) - len(self._clips.pop(key, b""))
        self._clips[key] = clip
        while self.bytes > self._max:
            self.bytes -= len(self._clips.popitem(last=False)[1])


class OfflineVoice:
    """`Synthesiser` over flite; a context manager, because it owns a few threads.

    `with OfflineVoice() as voice`; entering checks the libraries and raises ConfigError when they are missing.
    """

    rate: int = RATE

    def __init__(self, voice: str = "rms", *, threads: int = 2, cache_bytes: int = 16 << 20) -> None:
        self._voice = voice
        self._frame = RATE // 50 * 2  # bytes of 20 ms
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="flite")
        self.cache = ClipCache(cache_bytes)

    def __enter__(self) -> "OfflineVoice":
        self._check(self._voice)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads; a clause in the making is waited for (milliseconds)."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    @staticmethod
    def _check(voice: str) -> None:
        if voice == "kal":
            raise ConfigError("ai.offline.voice: 'kal' is an 8 kHz voice; use one of rms, kal16, awb, slt")
        _flite().voice(voice)

    async def speak(self, text: str, *, voice: str = "", language: str = "en") -> AsyncIterator[AudioFrame]:
        """One clause as frames of 20 ms (the last one padded with silence), all at once when it is made."""
        pcm = await self.clip(text, voice=voice)
        for at in range(0, len(pcm), self._frame):
            yield AudioFrame(pcm[at : at + self._frame].ljust(self._frame, b"\0"), RATE, at // 2)

    async def clip(self, text: str, *, voice: str = "") -> bytes:
        """The whole clause: s16le at 16 kHz, from the cache where it was made before."""
        key = (speakable(text), voice or self._voice)
        if not key[0]:
            return b""
        known = self.cache.get(key)
        if known is not None:
            return known
        pcm = await asyncio.get_running_loop().run_in_executor(self._threads, self._make, *key)
        self.cache.put(key, pcm)
        return pcm

    def _make(self, text: str, voice: str) -> bytes:
        self._check(voice)
        pcm, rate = synthesise(text, voice)
        if rate != RATE:
            raise ConfigError(f"ai.offline.voice: {voice!r} speaks at {rate} Hz, not {RATE}")
        return pcm
