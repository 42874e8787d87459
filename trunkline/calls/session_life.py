"""One AI session's life within a call: opened, followed, closed by the task that opened it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol, TypeAlias, runtime_checkable

from trunkline.ai.session import AiEvent, AiProvider, AiSession, Brief, ReplyAudio, SessionLost, SpeaksStraight
from trunkline.ai.tools import Json
from trunkline.calls.turns import Turn
from trunkline.errors import ProviderError

OPEN_S = 10.0  # a session must be there within this
_SORRY: Mapping[str, str] = {
    "en": "Sorry, I lost you for a moment. Could you say that again?",
    "hi": "माफ़ कीजिए, आपकी आवाज़ एक पल के लिए नहीं आई। क्या आप फिर से कह सकते हैं?",
}


@dataclass(frozen=True, slots=True)
class SessionUp:
    """The session is there and may be spoken to."""

    session: AiSession


SessionNews: TypeAlias = SessionUp | AiEvent
Put: TypeAlias = Callable[[SessionNews, int], Awaitable[None]]
Post: TypeAlias = Callable[[SessionNews, int], None]
Speak: TypeAlias = Callable[[int, ReplyAudio], bool]


@runtime_checkable
class Watched(Protocol):
    """A session that can tell more of itself than its events do: its connection may be replaced below it."""

    @property
    def connected(self) -> bool:
        """Whether the model hears the caller now."""
        ...

    @property
    def waits_since(self) -> float | None:
        """Since when (clock, s) it owes the caller an answer."""
        ...

    @property
    def caller_speaks(self) -> bool:
        """Whether the caller is heard to speak just now."""
        ...


class SessionLife:
    """`number` counts a call's sessions from 1. The last thing told is `SessionLost`, unless `end` came first."""

    def __init__(self, provider: AiProvider, number: int, put: Put, post: Post, speak: Speak) -> None:
        """speak: takes speech of a session that can do without a task's turn, or declines it."""
        self.number = number
        self._provider = provider
        self._put = put
        self._post = post
        self._speak = speak
        self._task: asyncio.Task[None] | None = None
        self._closing = False

    def begin(self, group: asyncio.TaskGroup, brief: Brief) -> None:
        """Open the session in a task of the call's group."""
        self._task = group.create_task(self._live(brief), name=f"session-{self.number}")

    def end(self) -> None:
        """Close it. The task is cancelled once at most, and never while the session is being closed."""
        if self._task is not None and not self._closing:
            self._closing = True
            self._task.cancel()

    async def _live(self, brief: Brief) -> None:
        lost = SessionLost("the session ended", retryable=True)
        try:
            async with AsyncExitStack() as stack:
                session = await _opened(stack, self._provider, brief)
                if isinstance(session, SpeaksStraight):
                    session.speak_to(partial(self._speak, self.number))
                try:
                    await self._put(SessionUp(session), self.number)
                    lost = await self._follow(session.events()) or lost
                finally:
                    self._closing = True
        except TimeoutError as exc:  # some other patience that ended, not that of the opening
            lost = SessionLost(f"the session timed out: {exc}" if str(exc) else "the session timed out")
        except ProviderError as exc:
            lost = SessionLost(str(exc), exc.retryable)
        self._post(lost, self.number)

    async def _follow(self, events: AsyncIterator[AiEvent]) -> SessionLost | None:
        async for event in events:
            if isinstance(event, SessionLost):
                return event
            await self._put(event, self.number)
        return None


async def _opened(stack: AsyncExitStack, provider: AiProvider, brief: Brief) -> AiSession:
    """Only this limit's own expiry says so: what else times out later has reasons of its own."""
    limit = asyncio.timeout(OPEN_S)
    try:
        async with limit:
            return await stack.enter_async_context(provider.open(brief))
    except TimeoutError as late:
        if not limit.expired():
            raise
        raise ProviderError(f"no session within {OPEN_S:g} s", code="timeout") from late


def resumed(brief: Brief, turns: Sequence[Turn]) -> Brief:
    """What a second session must know: that it is one, and what was said. It does not greet again."""
    said: list[Json] = [{"caller": turn.caller_text, "agent": turn.heard_text} for turn in turns]
    spoken = any(turn.heard_text or turn.caller_text for turn in turns)
    sorry = _SORRY.get(brief.language.split("-")[0], _SORRY["en"])  # a second greeting would be worse
    context = dict(brief.context) | {"resumed": True, "history": said}
    return replace(brief, greeting=sorry if spoken else brief.greeting, context=context)
