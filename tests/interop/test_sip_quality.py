"""What is told of a line's quality, against a line whose faults are known."""

import asyncio
import struct
from pathlib import Path

import pytest

from tests.peers.sip.caller import BadLine, calling, sdp, tone
from tests.peers.sip.rig import folder, gateway, needs, worker
from trunkline.bridge.sip import messages as wire
from trunkline.codecs.g711 import PCMU

pytestmark = pytest.mark.interop
_ = folder
FRAMES = 300


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


async def heard_over(port: int, every: int, jitter_s: float) -> None:
    """A call of six seconds over such a line."""
    encode = PCMU.encoder().encode
    async with calling(port) as caller:
        await caller.invite(sdp(caller.rtp.port, "0"))
        line = BadLine(caller.far, every, lambda number: jitter_s * (number * 7 % 5) / 4)
        to = await line.open()
        await caller.talk([encode(frame) for frame in tone(440, FRAMES)], 0, to=to)
        caller.report(lost=30, fraction=0.1)
        await asyncio.sleep(0.2)
        await caller.bye()


async def test_lost_and_late_packets_are_in_the_figures_and_in_the_estimate(folder: Path) -> None:
    async with gateway(folder) as up, worker(up.options.socket) as here:
        clean = asyncio.create_task(heard_over(up.port(), 0, 0.0))
        first = await here.until(wire.Up)
        bad = asyncio.create_task(heard_over(up.port(), 20, 0.03))
        second = await here.until(wire.Up, nth=2)
        await asyncio.gather(clean, bad)
        await here.until(wire.Gone, nth=2)
    told = {one.call: one for one in here.told if isinstance(one, wire.Quality)}  # the last one of each
    good, poor = told[first.call], told[second.call]
    assert (good.codec, good.rx_packets, good.rx_lost) == ("PCMU", FRAMES, 0)
    assert poor.rx_packets == pytest.approx(FRAMES * 0.95, abs=2)
    assert 0.035 <= poor.rx_lost / (poor.rx_lost + poor.rx_packets) <= 0.065
    assert good.mos > 4.2
    assert 3.0 < poor.mos < good.mos - 0.3
    assert poor.rx_jitter_ms > good.rx_jitter_ms + 3
    assert poor.tx_lost == 30  # what the far end says of our audio
    assert poor.buffer_ms > 0


async def test_holes_are_filled_unless_told_otherwise(folder: Path) -> None:
    """The share of frames at the agent's ear that hold nothing: concealment has something in them."""
    silent = dict(zip((True, False), await asyncio.gather(holes(folder, True), holes(folder, False)), strict=True))
    assert silent[False] >= 6
    assert silent[True] <= silent[False] // 3


async def holes(folder: Path, conceal: bool) -> int:
    """How many, of a line that loses every tenth packet."""
    own = folder / str(conceal)
    own.mkdir()
    async with (
        gateway(own, conceal=conceal) as up,
        worker(up.options.socket, echo=False) as here,
        calling(up.port()) as caller,
    ):
        await caller.invite(sdp(caller.rtp.port, "0"))
        call = (await here.until(wire.Up)).call
        to = await BadLine(caller.far, 10).open()
        encode = PCMU.encoder().encode
        await caller.talk([encode(frame) for frame in tone(440, 120)], 0, to=to)
        await asyncio.sleep(0.3)
        await caller.bye()
        await here.until(wire.Gone)
    pcm = here.heard[call].strip(b"\0")
    pieces = [struct.unpack("=160h", pcm[at : at + 320]) for at in range(0, len(pcm) - 320, 320)]
    return sum(max(map(abs, piece)) < 300 for piece in pieces)
