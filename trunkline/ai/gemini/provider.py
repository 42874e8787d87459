"""Profile `gemini`: one client per process, a session per call."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from google import genai

from trunkline.ai.gemini.link import Link, connected, make_client
from trunkline.ai.gemini.remembered import SetUps
from trunkline.ai.gemini.session import open_gemini
from trunkline.ai.gemini.setup import current_model, warm_up
from trunkline.ai.session import AiSession, Brief
from trunkline.clock import Clock
from trunkline.config import Gemini
from trunkline.config_env import lookup
from trunkline.errors import ConfigError, ProviderError

KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
MOST_SETTING_UP = 16  # connections at once: each costs milliseconds of the loop that carries live calls


class GeminiProvider:
    """`AiProvider`. `env`: where the key is, as GEMINI_API_KEY or GOOGLE_API_KEY (or …_FILE)."""

    name = "gemini"

    def __init__(self, settings: Gemini, env: Mapping[str, str], clock: Clock) -> None:
        self._settings, self._env, self._clock = settings, env, clock
        self._set_ups = SetUps(settings)
        self._client: genai.Client | None = None
        self._starting = asyncio.Lock()
        self._setting_up = asyncio.Semaphore(MOST_SETTING_UP)

    @property
    def capacity(self) -> int | None:
        """As configured; the vendor's own limit is its quota."""
        return self._settings.capacity or None

    async def start(self) -> None:
        """Make the client and what a first call needs; sends nothing. Idempotent. Raises ConfigError without a key."""
        async with self._starting:
            if self._client is not None:
                return
            key = next((found for name in KEYS if (found := lookup(self._env, name))), "")
            if not key:
                raise ConfigError("GEMINI_API_KEY (or GOOGLE_API_KEY, or …_FILE): is not set; profile gemini needs it")
            settings = self._settings
            self._client = await asyncio.to_thread(
                make_client,
                key,
                base_url=settings.base_url,
                api_version=settings.api_version,
                ca_file=settings.ca_file,
                open_s=settings.setup_timeout_s,
            )
            await asyncio.to_thread(warm_up, settings)

    async def close(self) -> None:
        """Let the client go. Harmless when it was not started."""
        async with self._starting:
            client, self._client = self._client, None
            if client is not None:
                await client.aio.aclose()
                await asyncio.to_thread(client.close)

    @asynccontextmanager
    async def open(self, brief: Brief) -> AsyncIterator[AiSession]:
        """A session for one call. ProviderError: not started, or refused by the vendor within 0.8 s."""
        client = self._client
        if client is None:
            raise ProviderError("the gemini provider is not started", code="not_started", retryable=True)

        def dial(handle: str, history: bool, limit_s: float) -> AbstractAsyncContextManager[Link]:
            return self._connection(client, brief, handle, history=history, limit_s=limit_s)

        async with open_gemini(self._settings, brief, self._clock, dial) as session:
            yield session

    @asynccontextmanager
    async def _connection(
        self, client: genai.Client, brief: Brief, handle: str, *, history: bool, limit_s: float
    ) -> AsyncIterator[Link]:
        config, rewrite = self._set_ups.config(brief, handle, history=history)
        connection = connected(client, current_model(self._settings.model), config, limit_s, rewrite)
        async with self._setting_up:
            link = await connection.__aenter__()
        try:
            yield link
        finally:
            await connection.__aexit__(None, None, None)
