"""Profile `offline`: the built-in agent. Silero, PocketSphinx in processes, a rule-based receptionist, flite."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from trunkline.ai.business import Business
from trunkline.ai.cascade.clauses import ClauseChunker
from trunkline.ai.cascade.protocols import Utterance
from trunkline.ai.cascade.session import AS_I_WAS_SAYING, LOST_EARS, Parts, open_cascade
from trunkline.ai.cascade.session_ears import VadJudge
from trunkline.ai.cascade.turn import TurnSettings
from trunkline.ai.cascade.vad import preload
from trunkline.ai.offline.dialogue import Dialogue
from trunkline.ai.offline.dialogue_state import KEYS, State
from trunkline.ai.offline.receptionist import Receptionist
from trunkline.ai.offline.recogniser import CALLS_PER_PROCESS, OfflineRecogniser, default_processes
from trunkline.ai.offline.voice import VOICES, OfflineVoice
from trunkline.ai.session import AiSession, Brief
from trunkline.clock import Clock
from trunkline.config import Offline
from trunkline.errors import ProviderError

_log = structlog.get_logger(__name__)
_FIXED: Final = (
    *("Sorry?", "Sorry, I didn't get that.", "Sorry, I still didn't get that.", "Let's use the keys.", KEYS, LOST_EARS),
    *("Anything else?", "What would you like?", "What name is it for?", "Shall I place the order?", AS_I_WAS_SAYING),
    *("One moment, please.", "Are you still there?", "Thank you for calling.", "Goodbye!", "Done."),
)


class OfflineProvider:
    """`AiProvider`. Its limit is the recogniser's: each process keeps up with so many callers who all speak."""

    name = "offline"

    def __init__(self, settings: Offline, business: Business, clock: Clock, *, cache_dir: Path | None = None) -> None:
        self._settings = settings
        self._business = business
        self._clock = clock
        self._cache_dir = cache_dir
        self._dialogue_greeting = greeting(business, clock)
        self._stack: AsyncExitStack | None = None
        self._starting = asyncio.Lock()
        self._recogniser: OfflineRecogniser | None = None
        self._voice: OfflineVoice | None = None
        self._model = Receptionist(business, clock, short_patience_s=settings.short_end_of_turn_s)

    @property
    def capacity(self) -> int:
        """Calls at once: as configured, else as measured per recogniser process."""
        return self._settings.capacity or CALLS_PER_PROCESS * self._processes

    @property
    def _processes(self) -> int:
        return self._settings.recognisers or default_processes()

    async def start(self) -> None:
        """Recogniser processes, detector, voice, and the phrases said most. Idempotent.

        The first start of a business takes some seconds more: its language is built. Raises ConfigError when a part
        is missing, ProviderError when no recogniser comes up."""
        async with self._starting:
            if self._stack is not None:
                return
            async with AsyncExitStack() as stack:
                recogniser = OfflineRecogniser(
                    self._business,
                    processes=self._processes,
                    capacity=-(-self.capacity // self._processes),
                    min_confidence=self._settings.min_confidence,
                    cache_dir=self._cache_dir,
                )
                voice = stack.enter_context(OfflineVoice(self._settings.voice))
                await asyncio.to_thread(preload)
                await self._render(voice)
                self._recogniser = await stack.enter_async_context(recogniser)
                self._voice = voice
                self._stack = stack.pop_all()

    async def close(self) -> None:
        """End processes and threads. Harmless when it was not started."""
        async with self._starting:
            stack, self._stack = self._stack, None
            self._recogniser = self._voice = None
            if stack is not None:
                await stack.aclose()

    @asynccontextmanager
    async def open(self, brief: Brief) -> AsyncIterator[AiSession]:
        """A session that speaks first, honest about what it is. ProviderError: not started, no room, not English."""
        if self._recogniser is None or self._voice is None:
            raise ProviderError("the offline provider is not started", code="not_started", retryable=True)
        parts = Parts(
            judge=VadJudge(self._turn_settings()),
            recogniser=self._recogniser,
            model=self._model.open(brief.instructions, brief.context),
            voice=self._voice,
            clock=self._clock,
            provider=self.name,
        )
        async with open_cascade(parts, self._own(brief)) as session:
            yield session

    def _own(self, brief: Brief) -> Brief:
        """The brief with what this profile can do: a voice of its own, a greeting if none is given."""
        if brief.voice and brief.voice not in VOICES:
            _log.warning("voice.unknown", voice=brief.voice, allowed=list(VOICES), used=self._settings.voice)
            brief = replace(brief, voice="")
        return brief if brief.greeting else replace(brief, greeting=self._dialogue_greeting)

    def _turn_settings(self) -> TurnSettings:
        settings = self._settings
        return TurnSettings(
            patience_s=settings.end_of_turn_s,
            short_patience_s=settings.short_end_of_turn_s,
            barge_in_s=settings.barge_in_s,
            echo_gate_db=settings.echo_gate_db,
        )

    async def _render(self, voice: OfflineVoice) -> None:
        chunker = ClauseChunker()
        for text in (self._dialogue_greeting, *_FIXED):
            for clause in [*chunker.push(text), *chunker.end()]:
                await voice.clip(clause)


def greeting(business: Business, clock: Clock) -> str:
    """What the receptionist says first."""
    _, acts = Dialogue(business).step(State(), Utterance("occasion", "greeting"), clock.utcnow())
    return " ".join(act for act in acts if isinstance(act, str))
