"""A caller at 5 % loss and 40 ms of jitter asks the built-in agent for what it offers, and is understood."""

import asyncio
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.sip_line import BadLine
from bench.sip_loss import Arm, Clip, clips, distance_of, transmit
from bench.sip_media import FRAME, SILENCE, Media
from bench.sip_phone import Exchange, Phone
from bench.speech import same
from bench.speech_sentences import KNOWN
from tests.interop.service import service
from tests.peers.sip.rig import folder, needs
from tests.wire.workers import Node
from trunkline.ai.business import sample_business
from trunkline.ai.offline.intents import Reader

pytestmark = pytest.mark.interop
ASKED = [row for row in KNOWN if row[1].startswith("open ")][::6]
AT_ONCE = 3
PATIENCE_S = 60.0
_ = folder


@pytest.fixture(autouse=True)
def _sip(monkeypatch: pytest.MonkeyPatch) -> None:
    needs()
    monkeypatch.setenv("TRUNKLINE_SIP", "on")


async def record(run: Node, ref: str) -> dict[str, Any]:
    _, page = await run.ask("GET", "/calls?limit=50")
    return next((call for call in page["calls"] if call["carrier_ref"] == ref), {"turns": []})


async def turn(run: Node, ref: str, number: int, moment: str) -> dict[str, Any]:
    """That turn, once it has that moment."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = [one for one in (await record(run, ref))["turns"] if one["turn"] >= number and one[moment]]
            if found:
                return found[0]
            await asyncio.sleep(0.5)


def says(phone: Phone, payload: bytes) -> None:
    """Once, from now on."""
    frames = [payload[at : at + FRAME] for at in range(0, len(payload), FRAME)]
    begin = phone.stream.sent
    phone.stream.payload = lambda count: frames[count - begin] if count - begin < len(frames) else SILENCE


async def asks(run: Node, phone: Phone, clip: Clip, line: BadLine) -> str:
    """What the agent understood."""
    phone.stream.line, phone.stream.payload = line.delay_s, lambda _: SILENCE
    await phone.call()
    await turn(run, phone.call_id, 0, "agent_to_s")  # the greeting is over
    await asyncio.sleep(1)
    says(phone, clip.payload)
    heard = await turn(run, phone.call_id, 1, "agent_from_s")  # it answers: the text is whole
    await phone.hang_up()
    return str(heard["caller_text"])


async def all_of_them(run: Node, port: int, made: Sequence[Clip]) -> list[str]:
    gate = asyncio.Semaphore(AT_ONCE)
    async with Exchange(f"127.0.0.1:{port}") as exchange, Media() as media:

        async def one(number: int, clip: Clip) -> str:
            async with gate:
                return await asks(run, Phone(exchange, media, f"+9198{number:08}"), clip, BadLine(0.05, 0.04, number))

        return await asyncio.gather(*(one(number, clip) for number, clip in enumerate(made)))


async def test_a_clear_majority_is_understood(folder: Path) -> None:
    reader, made = Reader(sample_business()), clips(ASKED, ["rms"])
    async with service(folder) as (run, port):
        heard = await all_of_them(run, port, made)
    told = list(zip((clip.text for clip in made), heard, strict=True))
    right = [
        text
        for text, clip in zip(heard, made, strict=True)
        if same(reader, clip.text, text, clip.keys.split()[0], clip.must)
    ]
    print(f"{len(right)} of {len(made)} understood:", *told, sep="\n  ")
    assert len(right) > 0.6 * len(made), told


async def test_an_uneven_line_is_no_broken_one(folder: Path) -> None:
    """Nothing is lost, all is late by 0 to 80 ms: a jitter buffer that waits for nobody plays holes (4 dB, else 0)."""
    made, arm = clips(ASKED, ["rms"]), Arm("uneven", jitter_s=0.04)
    assert await transmit(arm, made) == 0.0
    found = [one.spectral_db for clip in made if (one := distance_of(clip, arm)) is not None]
    print("spectral distance, dB:", *(f"{one:.1f}" for one in found))
    assert statistics.mean(found) < 1.0
