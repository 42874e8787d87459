"""The AiSession suite over the cascade with scripted parts and over the echo, in virtual time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.conformance.session import Rig, SessionSuite
from tests.fakes.orders import MemoryOrders
from tests.fakes.speech import SILENCE, SPEECH, ScriptedModel, Stage, asks_tool, parrot
from tests.virtual_time import clock, run
from trunkline.ai.business import sample_business
from trunkline.ai.cascade.protocols import Transcript, Utterance
from trunkline.ai.cascade.session import open_cascade
from trunkline.ai.echo import EchoProvider
from trunkline.ai.session import AiProvider, AiSession, Brief
from trunkline.ai.toolbox import toolbox
from trunkline.codecs.frame import AudioFrame

TOOLS = tuple(toolbox(sample_business(), MemoryOrders(), extra={}).values())


class ScriptedProvider:
    """Cascades of scripted parts. A caller's turn is parroted; a key makes the model look up an order."""

    name = "scripted"
    capacity: int | None = None

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    def open(self, brief: Brief) -> AbstractAsyncContextManager[AiSession]:
        look_up = asks_tool("lookup_order", {"order_id": "5"})

        def think(history: list[Utterance]):
            return (parrot if history[-1].role == "caller" else look_up)(history)

        stage = Stage(clock(), ScriptedModel(think))
        stage.recogniser.script.extend(Transcript("good morning", 0.9) for _ in range(9))
        return open_cascade(stage.parts(), brief)


async def speak(session: AiSession) -> None:
    speech, silence = (SPEECH, SILENCE) if session.input_rate == 16000 else (SPEECH[:320], SILENCE[:320])
    for pcm in [speech] * 40 + [silence] * 40:
        await session.hear(AudioFrame(pcm, session.input_rate))
        await asyncio.sleep(0.02)


class TestCascade(SessionSuite):
    @pytest.fixture
    def rig(self) -> Rig:
        @asynccontextmanager
        async def provider() -> AsyncIterator[AiProvider]:
            yield ScriptedProvider()

        return Rig(run, provider, Brief("c", "a", tools=TOOLS), speak, want_tool=lambda session: session.press("5"))


class TestEcho(SessionSuite):
    @pytest.fixture(params=[8000, 16000])
    def rig(self, request: pytest.FixtureRequest) -> Rig:
        @asynccontextmanager
        async def provider() -> AsyncIterator[AiProvider]:
            yield EchoProvider(request.param)

        return Rig(run, provider, Brief("c", "a"), speak, talks=False, judges=False)
