"""Gemini Live cannot be had, over TLS and through the real SDK: what reaches the carrier, and what the record says.

A sentence is found in the audio byte by byte: what was made ahead goes on the wire as it lies. How soon it comes is
tested in virtual time (tests/unit/calls/test_no_session.py) and measured by the bench.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.wire.service import Caller, Running, calling, running
from trunkline.ai.gemini.provider import GeminiProvider
from trunkline.calls.own_words import PAUSE_S
from trunkline.calls.sentences import Kind
from trunkline.clock import SystemClock
from trunkline.codecs.g711 import PCMU
from trunkline.config import Gemini
from trunkline.service_sentences import sentences
from trunkline_sim.gemini import GeminiSim
from trunkline_sim.gemini_scenario import QUOTA, Fault, Scenario

pytestmark = pytest.mark.wire
SHORT: Mapping[str, Any] = {"agents": {"receptionist": {"last_words": "I am sorry."}}}  # a test waits for every word
REFUSED = (
    Scenario(faults=(Fault(kind="close", code=1011, reason=QUOTA, at_s=-1, connection=0),)),
    Scenario(http_status=401),
    Scenario(http_status=503),
    Scenario(no_setup_ack=True),
)


@asynccontextmanager
async def without_gemini(
    tmp_path: Path, scenario: Scenario, changes: Mapping[str, Any] | None = None, **knobs: Any
) -> AsyncIterator[tuple[Running, GeminiSim]]:
    async with GeminiSim({}, scenario) as sim:
        settings = Gemini(base_url=sim.url, ca_file=str(sim.ca_file), **knobs)
        provider = GeminiProvider(settings, {"GOOGLE_API_KEY": "any"}, SystemClock())
        try:
            async with running(tmp_path, SHORT | dict(changes or {}), provider=provider) as run:
                yield run, sim
        finally:
            await provider.close()


async def heard(caller: Caller) -> bytes:
    """What the carrier was given until we hung up, while the caller said nothing."""
    speaking = asyncio.create_task(caller.speak(60, bytes([0xFF]) * 800))
    try:
        async with asyncio.timeout(50):
            async for message in caller.socket:
                caller.heard.append(message.json())
    finally:
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
    return b"".join(base64.b64decode(m["media"]["payload"]) for m in caller.heard if m["event"] == "media")


def places(run: Running, audio: bytes, *kinds: Kind) -> list[int]:
    """Where each sentence begins; -1: it is not there."""
    phrases = sentences(run.service.settings)["receptionist"]
    return [audio.find(phrases[kind].payload(PCMU).rstrip(b"\xff")) for kind in kinds]


@pytest.mark.parametrize("scenario", REFUSED[:2], ids=["quota", "401"])
async def test_what_is_refused_is_said_at_once(tmp_path: Path, scenario: Scenario) -> None:
    async with without_gemini(tmp_path, scenario) as (run, _), calling(run) as caller:
        audio = await heard(caller)
        (record,) = await run.calls(1, live=False)
        last_words, end, one_moment = places(run, audio, "last_words", "end", "one_moment")
        assert (last_words, one_moment) == (0, -1)
        assert end > last_words
        phrases = sentences(run.service.settings)["receptionist"]
        spoken_s = phrases["last_words"].seconds + PAUSE_S + phrases["end"].seconds
        assert PCMU.seconds(audio) == pytest.approx(spoken_s, abs=0.1), "no tone behind the words"
    assert (record["cause"], record["fault"]) == ("provider_failed", "provider")
    assert ("quota" in record["code"]) == (scenario is REFUSED[0])
    assert ("401" in record["code"]) == (scenario is REFUSED[1])


@pytest.mark.parametrize("scenario", REFUSED[2:], ids=["503", "no answer"])
async def test_what_does_not_come_is_excused_then_said(tmp_path: Path, scenario: Scenario) -> None:
    changes = {"failure": {"give_up_s": 4.0, "after_failure": "callback"}}
    async with without_gemini(tmp_path, scenario, changes, setup_timeout_s=2.0) as (run, _), calling(run) as caller:
        audio = await heard(caller)
        (record,) = await run.calls(1, live=False)
        one_moment, last_words, callback, end = places(run, audio, "one_moment", "last_words", "callback", "end")
        assert (one_moment, end) == (0, -1)
        assert one_moment < last_words < callback
    assert (record["cause"], record["fault"]) == ("provider_failed", "provider")
    assert record["labels"] == {"callback": "owed"}
    assert record["turns"][0]["heard_text"].startswith("One moment, please.")
    assert record["turns"][0]["heard_text"].endswith("We will call you back as soon as we can. Goodbye.")


async def test_a_quota_that_ends_in_mid_call_ends_it_with_words(tmp_path: Path) -> None:
    scenario = Scenario(faults=(Fault(kind="close", reason=QUOTA, at_s=2.5, connection=0),), char_s=0.03)
    async with without_gemini(tmp_path, scenario) as (run, sim), calling(run) as caller:
        audio = await heard(caller)
        (record,) = await run.calls(1, live=False)
        last_words, end = places(run, audio, "last_words", "end")
        assert 0 < last_words < end, "behind the greeting"
        assert len(sim.sessions) == 1
    assert (record["cause"], record["fault"]) == ("provider_failed", "provider")
    assert "quota" in record["code"]
