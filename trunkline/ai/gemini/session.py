"""A call's session with Gemini Live, from its first connection to its end (`live.py` is the session itself)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from trunkline.ai.gemini.link import Dial
from trunkline.ai.gemini.live import GeminiSession
from trunkline.ai.session import AiSession, Brief
from trunkline.clock import Clock
from trunkline.config import Gemini
from trunkline.errors import ProviderError

__all__ = ["GeminiSession", "open_gemini"]

GRACE_S = 0.8  # `open` waits so long for the first connection; the leg keeps the caller's first second


@asynccontextmanager
async def open_gemini(settings: Gemini, brief: Brief, clock: Clock, dial: Dial) -> AsyncIterator[AiSession]:
    """A session; all its tasks end with the context. Raises ProviderError when it is refused within 0.8 s; one that
    takes longer to come up is given out while it does, and keeps the caller's words meanwhile."""
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        session = GeminiSession(settings, brief, clock, dial)
        task = group.create_task(session.run(), name="gemini")
        try:
            lost = await session.opened(GRACE_S)
            if lost is not None:
                failure = ProviderError(lost.reason, code="gemini", retryable=lost.retryable)
            else:
                yield session
        except Exception as exc:  # carried past the group, which would wrap it
            failure = exc
        finally:
            session.close()
            task.cancel()
    if failure is not None:
        raise failure
