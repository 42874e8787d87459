"""Sentences that the service can say by itself, made before anybody needs them: for calls that have no session.

A recording that the operator gives (`[failure] sentences_dir`) goes before the agent's own wording, which goes before
ours. What a synthesiser made is kept as WAV under DATA_DIR/cache/sentences, named by voice, rate and text.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
import structlog

from trunkline.codecs.codec import Codec
from trunkline.codecs.frame import SAMPLE_BYTES
from trunkline.codecs.resample import RATES, Resampler
from trunkline.codecs.wav import Wav, read_wav, wav_bytes
from trunkline.config import Agent
from trunkline.errors import ConfigError, ProtocolError, TrunklineError

Kind: TypeAlias = Literal["one_moment", "still_trying", "last_words", "end", "callback", "transfer"]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
LANGUAGE: Final = "en"  # of the built-in wording
WORDING: Final[Mapping[Kind, str]] = {
    "one_moment": "One moment, please.",
    "still_trying": "Thank you for waiting. I am still trying.",
    "last_words": "I am sorry, we have a technical problem, and I cannot help you now.",
    "end": "Please call again a little later. Goodbye.",
    "callback": "We will call you back as soon as we can. Goodbye.",
    "transfer": "I am putting you through to somebody who can.",
}
LONGEST_S: Final = 20.0  # of one sentence
_PIECE_MS: Final = 20
_QUIET: Final = 200  # |sample| up to this is silence
_TAIL_S: Final = 0.03  # of it stay

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Synthesiser:
    """A voice at hand. `make` blocks; it returns s16le at `rate` and raises TrunklineError when it cannot."""

    voice: str
    rate: int  # Hz
    make: Callable[[str], bytes]


@dataclass(frozen=True, slots=True)
class Clip:
    """A sentence ready to be heard. pcm: s16le mono at `rate` Hz."""

    text: str
    pcm: bytes
    rate: int
    _payloads: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)

    @property
    def seconds(self) -> float:
        """Its length."""
        return len(self.pcm) / SAMPLE_BYTES / self.rate

    def payload(self, codec: Codec) -> bytes:
        """As the codec's payload. Made once: when a vendor fails, all its calls need it at the same time."""
        if codec.name not in self._payloads:
            self._payloads[codec.name] = codec.encoder().encode(self._at(codec.rate))
        return self._payloads[codec.name]

    def _at(self, rate: int) -> bytes:
        if rate == self.rate:
            return self.pcm
        resampler, step = Resampler(self.rate, rate), self.rate * _PIECE_MS // 1000 * SAMPLE_BYTES
        whole = self.pcm + bytes(-len(self.pcm) % step)
        pieces = [resampler.push(whole[at : at + step]) for at in range(0, len(whole), step)]
        return b"".join([*pieces, resampler.flush()])


Phrases: TypeAlias = Mapping[Kind, Clip]  # what can be said in one agent's calls


class Cabinet:
    """Makes and finds sentences. All of it blocks: for a thread, at the start."""

    def __init__(self, cache: Path | None, recordings: Path | None, synthesiser: Synthesiser | None) -> None:
        """cache: where what was made is kept; None: nowhere. recordings: WAV files `KIND.wav`, in a folder of the
        language (`hi/`) or directly. Raises ConfigError."""
        if recordings is not None and not recordings.is_dir():
            raise ConfigError(f"failure.sentences_dir = {str(recordings)!r}: is not a folder")
        self._cache = cache
        self._recordings = recordings
        self._synthesiser = synthesiser
        self._clips: dict[tuple[str, str], Clip] = {}

    def phrases(self, agent: Agent) -> Phrases:
        """Whatever can be had of an agent's sentences. Raises ConfigError for a recording that cannot be used."""
        found: dict[Kind, Clip] = {}
        for kind in KINDS:
            if clip := self._recorded(agent, kind) or self._made(wording(agent, kind)):
                found[kind] = clip
        return found

    def _recorded(self, agent: Agent, kind: Kind) -> Clip | None:
        if self._recordings is None:
            return None
        for folder in (agent.language, agent.language.split("-")[0], ""):
            path = self._recordings / folder / f"{kind}.wav"
            if path.is_file():
                return Clip(_own(agent, kind) or f"[{kind}.wav]", *_read(path))
        return None

    def _made(self, text: str) -> Clip | None:
        if self._synthesiser is None:
            return None
        key = (self._synthesiser.voice, text)
        if key not in self._clips:
            pcm = self._kept(self._synthesiser, text)
            if not pcm:
                return None
            self._clips[key] = Clip(text, pcm, self._synthesiser.rate)
        return self._clips[key]

    def _kept(self, synthesiser: Synthesiser, text: str) -> bytes:
        """From the cache, else made and kept. A cache that cannot be used costs time, nothing else."""
        if self._cache is None:
            return _made(synthesiser, text)
        name = hashlib.sha256(f"{synthesiser.voice}\n{synthesiser.rate}\n{text}".encode()).hexdigest()[:32]
        path = self._cache / f"{name}.wav"
        try:
            kept = read_wav(path.read_bytes())
            if (kept.rate, kept.channels) == (synthesiser.rate, 1) and kept.pcm:
                return kept.pcm
        except (OSError, ProtocolError):
            pass  # not there yet, or half of it
        if pcm := _made(synthesiser, text):
            _keep(path, wav_bytes(pcm, synthesiser.rate))
        return pcm


def _made(synthesiser: Synthesiser, text: str) -> bytes:
    try:
        return _trimmed(synthesiser.make(text), synthesiser.rate)
    except TrunklineError as wrong:
        _log.warning("sentence.not_made", text=text, error=str(wrong))
        return b""


def _trimmed(pcm: bytes, rate: int) -> bytes:
    """Without the silence behind the last sound: what follows, follows when we say so."""
    samples = np.abs(np.frombuffer(pcm, "<i2").astype(np.int32))
    loud = np.flatnonzero(samples > _QUIET)
    end = int(loud[-1]) + 1 + int(_TAIL_S * rate) if loud.size else 0
    return pcm[: end * SAMPLE_BYTES]


def wording(agent: Agent, kind: Kind) -> str:
    """What a synthesiser is given: the agent's own words, where an English voice can say them, else ours."""
    own = _own(agent, kind)
    return own if own.isascii() and own and agent.language.split("-")[0] == LANGUAGE else WORDING[kind]


def _own(agent: Agent, kind: Kind) -> str:
    own = {"one_moment": agent.one_moment, "still_trying": agent.still_trying, "last_words": agent.last_words}
    return own.get(kind, "")


def _read(path: Path) -> tuple[bytes, int]:
    try:
        wav: Wav = read_wav(path.read_bytes())
    except (OSError, ProtocolError) as wrong:
        raise ConfigError(f"failure.sentences_dir: {path}: {wrong}") from wrong
    if wav.channels != 1 or not 0 < wav.seconds <= LONGEST_S or wav.rate not in RATES:
        found = f"{wav.channels} channels, {wav.rate} Hz, {wav.seconds:.1f} s"
        allowed = f"must be mono, up to {LONGEST_S:g} s, at {', '.join(map(str, RATES))} Hz"
        raise ConfigError(f"failure.sentences_dir: {path}: {found}; {allowed}")
    return wav.pcm, wav.rate


def _keep(path: Path, data: bytes) -> None:
    """Whole or not at all, whoever else does the same."""
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        part.replace(path)
    except OSError as wrong:
        _log.warning("sentence.not_kept", path=str(path), error=str(wrong))
