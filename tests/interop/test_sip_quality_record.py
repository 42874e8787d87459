"""A bad line, as it stands in the call's record and in the figures of the whole service."""

import asyncio
from pathlib import Path

import pytest

from tests.interop.service import service
from tests.peers.sip.caller import BadLine, calling, encoded, sdp
from tests.peers.sip.rig import folder, needs
from trunkline.codecs.g711 import PCMU

pytestmark = pytest.mark.interop
_ = folder


@pytest.fixture(autouse=True)
def _needs(monkeypatch: pytest.MonkeyPatch) -> None:
    needs()
    monkeypatch.setenv("TRUNKLINE_SIP", "on")


async def test_five_per_cent_of_loss_are_five_per_cent_in_the_record(folder: Path) -> None:
    async with service(folder) as (run, port), calling(port) as clean, calling(port) as bad:
        await asyncio.gather(call(clean, 0), call(bad, 20))
        over = await run.calls(2, live=False)
        labels = {one["carrier_ref"]: one["labels"] for one in over}
        good, poor = labels[clean.call_id], labels[bad.call_id]
        assert good["line_codec"].startswith("PCMU")
        assert float(good["line_loss"]) == 0
        assert 0.035 <= float(poor["line_loss"]) <= 0.065
        assert 1 < float(poor["line_mos"]) < float(good["line_mos"]) - 0.3
        assert float(poor["line_jitter_ms"]) > float(good["line_jitter_ms"])
        assert await run.figure("trunkline_line_mos_count") == 2
        assert 0.035 <= await run.figure("trunkline_line_loss_ratio_sum") <= 0.065


async def call(caller, every: int) -> None:
    """Eight seconds of a tone over such a line."""
    await caller.invite(sdp(caller.rtp.port, "0"))
    line = BadLine(caller.far, every, lambda number: 0.03 * (number * 7 % 5) / 4 if every else 0.0)
    await caller.talk(encoded(PCMU, 400), 0, to=await line.open())
    await asyncio.sleep(0.2)
    await caller.bye()
