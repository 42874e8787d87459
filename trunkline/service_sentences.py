"""The sentences of calls without a session, made at the start by the voice at hand, whatever provider answers."""

import asyncio
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

import structlog

from trunkline.bridge.targets import usual_target
from trunkline.calls.sentences import KINDS, Cabinet, Phrases, Synthesiser
from trunkline.config import Settings
from trunkline.errors import ConfigError, TrunklineError

FOLDER = Path("cache") / "sentences"
log = structlog.get_logger("trunkline.service")


async def prepare(settings: Settings) -> Mapping[str, Phrases]:
    """What can be said in each agent's calls. In a thread: the loop may carry calls already. Raises ConfigError for a
    recording that cannot be used; what nobody can say is told once, in the log."""
    found = await asyncio.to_thread(sentences, settings)
    for complaint in complaints(settings, found):
        log.warning("sentences.missing", hint=complaint)
    return found


def sentences(settings: Settings) -> Mapping[str, Phrases]:
    """The same, in this thread and in silence."""
    recordings = settings.failure.sentences_dir
    cabinet = Cabinet(
        Path(settings.server.data_dir) / FOLDER, Path(recordings) if recordings else None, offline_voice(settings)
    )
    return {name: cabinet.phrases(agent) for name, agent in settings.agents.items()}


def outlook(settings: Settings) -> list[str]:
    """What `prepare` would complain about, without making or keeping anything. Raises ConfigError as that does."""
    recordings = settings.failure.sentences_dir
    voice = offline_voice(settings)
    anything = Synthesiser(voice.voice, voice.rate, lambda text: b"\x7f\x7f") if voice else None
    cabinet = Cabinet(None, Path(recordings) if recordings else None, anything)
    return complaints(settings, {name: cabinet.phrases(agent) for name, agent in settings.agents.items()})


def complaints(settings: Settings, found: Mapping[str, Phrases]) -> list[str]:
    """What an operator should know before a caller finds out, one line each."""
    told = []
    for name, phrases in found.items():
        if missing := [kind for kind in KINDS if kind not in phrases]:
            ends = "such calls end with a tone" if not phrases else "they are left out"
            told.append(
                f"agent {name!r} cannot say {', '.join(missing)} when no AI session can be had, and {ends}: "
                "install libflite1, or put recordings into [failure] sentences_dir"
            )
    if settings.failure.after_failure == "transfer" and not usual_target(settings.sip.allow_transfer_to):
        told.append(
            '[failure] after_failure = "transfer": [sip] allow_transfer_to names nobody (patterns are no one), and the '
            "calls end politely"
        )
    return told


def offline_voice(settings: Settings) -> Synthesiser | None:
    """The voice of profile offline, if its library is installed; it needs no session, no network and no recogniser."""
    try:
        from trunkline.ai.offline.voice import RATE, pronounce  # its parts load native libraries

        pronounce("yes")
    except (TrunklineError, ImportError):
        return None
    voice = settings.ai.offline.voice
    return Synthesiser(f"flite-{voice}", RATE, partial(_flite, voice))


@cache  # several services in one process say the same
def _flite(voice: str, text: str) -> bytes:
    from trunkline.ai.offline.voice import RATE, synthesise

    pcm, rate = synthesise(text, voice)
    if rate != RATE:
        raise ConfigError(f"ai.offline.voice: {voice!r} speaks at {rate} Hz, not {RATE}")
    return pcm
