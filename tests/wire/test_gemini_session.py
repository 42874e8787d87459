"""The AiSession suite over GeminiSession, the real google-genai SDK and the Gemini simulator, in real time."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.conformance.session import GREETING, Rig, SessionSuite
from tests.fakes.orders import MemoryOrders
from trunkline.ai.business import sample_business
from trunkline.ai.gemini.provider import GeminiProvider
from trunkline.ai.session import AiProvider, AiSession, Brief
from trunkline.ai.toolbox import toolbox
from trunkline.clock import SystemClock
from trunkline.codecs.frame import AudioFrame
from trunkline.config import Gemini
from trunkline_sim.gemini import GeminiSim
from trunkline_sim.gemini_scenario import Rule, Scenario, ToolUse

pytestmark = pytest.mark.wire
TOOLS = tuple(toolbox(sample_business(), MemoryOrders(), extra={}).values())
LOUD, QUIET = (b"\x00\x20" * 8 + b"\x00\xe0" * 8) * 20, bytes(640)  # a buzz of 1 kHz, 20 ms
RULES = (
    Rule(match="Good morning to you", say=GREETING),
    Rule(match="One more thing", say="One more thing."),
    Rule(match="pressed the key", tools=(ToolUse(name="lookup_order", args={"order_id": "5"}),), then="There is none."),
)


async def speak(session: AiSession) -> None:
    for pcm in [LOUD] * 40 + [QUIET] * 35:
        await session.hear(AudioFrame(pcm, 16_000))
        await asyncio.sleep(0.02)


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(main)


@asynccontextmanager
async def provider() -> AsyncIterator[AiProvider]:
    scenario = Scenario(hear="any", rules=RULES, reply="Yes, I hear you well.", char_s=0.02, style="3.8")
    async with GeminiSim(scenario=scenario) as sim:
        made = GeminiProvider(
            Gemini(base_url=sim.url, ca_file=str(sim.ca_file)), {"GEMINI_API_KEY": "any"}, SystemClock()
        )
        await made.start()
        try:
            yield made
        finally:
            await made.close()


class TestGemini(SessionSuite):
    @pytest.fixture
    def rig(self) -> Rig:
        return Rig(
            run,
            provider,
            Brief("c", "a", tools=TOOLS, context={"resumed": True}),
            speak,
            want_tool=lambda session: session.press("5"),
        )
