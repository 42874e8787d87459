"""The AiSession suite over the real offline agent: Silero, PocketSphinx in a process, flite; callers speak in
another voice than the agent's. Real time."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.conformance.session import Rig, SessionSuite, followed
from tests.fakes.orders import MemoryCall, MemoryOrders
from trunkline.ai.business import sample_business
from trunkline.ai.offline.provider import OfflineProvider
from trunkline.ai.offline.voice import synthesise
from trunkline.ai.session import AiProvider, AiSession, Brief, CallerSaid, ReplyAudio, ReplyText, ToolCall
from trunkline.ai.toolbox import run_tool, toolbox
from trunkline.clock import SystemClock
from trunkline.codecs.frame import AudioFrame
from trunkline.config import Offline
from trunkline.errors import ProviderError

pytestmark = pytest.mark.wire
FRAME = 640  # bytes of 20 ms
SHOP = sample_business()
TOOLS = tuple(toolbox(SHOP, MemoryOrders(), extra={}).values())


@asynccontextmanager
async def offline() -> AsyncIterator[AiProvider]:
    provider = OfflineProvider(Offline(recognisers=1), SHOP, SystemClock())
    await provider.start()
    try:
        yield provider
    finally:
        await provider.close()


async def hear(session: AiSession, pcm: bytes) -> None:
    """In real time by the clock, so that a slow moment does not slow the caller down."""
    began = time.monotonic()
    for i in range(0, len(pcm), FRAME):
        await session.hear(AudioFrame(pcm[i : i + FRAME].ljust(FRAME, b"\0"), 16000))
        await asyncio.sleep(max(0.0, began + (i / FRAME + 1) * 0.02 - time.monotonic()))


async def say(session: AiSession, text: str) -> None:
    pcm, rate = synthesise(text, "kal16")
    assert rate == 16000
    await hear(session, bytes(6400) + pcm + bytes(28800))


async def keys(session: AiSession) -> None:
    for key in "57#":
        await session.press(key)


class TestOffline(SessionSuite):
    @pytest.fixture
    def rig(self) -> Rig:
        async def speak(session: AiSession) -> None:
            await say(session, "what are your opening hours")

        return Rig(asyncio.run, offline, Brief("c", "a", tools=TOOLS, greeting="Hello."), speak, want_tool=keys)


async def test_an_order_is_taken_by_voice() -> None:
    book, call = MemoryOrders(), MemoryCall()
    tools = toolbox(SHOP, book, extra={})
    async with offline() as provider, followed(provider, Brief("c", "a", tools=tuple(tools.values()))) as seen:
        answered = 0

        async def turn(text: str | None) -> str:
            """Say it, run the tools, wait until all of the answer has come and could be heard."""
            nonlocal answered
            began = len(seen.events)
            if text is not None:
                await say(seen.session, text)
            quiet = 0
            while quiet < 6:
                before = len(seen.of(ReplyAudio))
                for wanted in seen.of(ToolCall)[answered:]:
                    answered += 1
                    await seen.session.resolve(await run_tool(tools, wanted, call))
                await hear(seen.session, bytes(6400))
                quiet = quiet + 1 if len(seen.of(ReplyAudio)) == before else 0
            return " ".join(event.text for event in seen.events[began:] if isinstance(event, ReplyText))

        assert "automated assistant" in await turn(None)
        assert "What name is it for?" in await turn("two margherita pizzas please")
        assert "Shall I place the order?" in await turn("my name is peter")
        assert "Your order number is 1" in await turn("yes please")
        assert "Goodbye" in await turn("no thanks goodbye")
    heard = [event.text for event in seen.of(CallerSaid) if event.final]
    assert [(order.item, order.quantity) for order in book.placed] == [("Margherita Pizza", 2)], heard
    assert book.placed[0].customer_name.lower() in heard[1], "as it was heard; near names are the recogniser's matter"
    assert call.ended == 1


async def test_room_is_refused_and_what_was_started_ends() -> None:
    before = len(os.listdir("/proc/self/fd"))
    provider = OfflineProvider(Offline(recognisers=1, capacity=1), SHOP, SystemClock())
    with pytest.raises(ProviderError, match="not started"):
        async with provider.open(Brief("c", "a")):
            pass
    await provider.start()
    await provider.start()
    async with provider.open(Brief("c", "a")):
        with pytest.raises(ProviderError) as full:
            async with provider.open(Brief("d", "a")):
                pass
    assert full.value.retryable
    await provider.close()
    await provider.close()
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # the model file of the detector may stay mapped
