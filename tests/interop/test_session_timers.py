"""Session timers that run out (RFC 4028): the shortest there may be has 90 s, so all of it at once."""

import asyncio
from pathlib import Path

import pytest

from tests.peers.sip.rig import (
    SDP,
    ack,
    folder,
    free_port,
    gateway,
    inside,
    needs,
    ok,
    recv,
    reply,
    request,
    sipp,
    worker,
)
from trunkline.bridge.sip import messages as wire

pytestmark = pytest.mark.interop
PATIENT = ("-timeout", "120s")
ANSWER = "Contact: <sip:c@127.0.0.1:[local_port]>"
_ = folder


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


def calls(refresher: str, *then: str) -> list[str]:
    timer = ("Supported: timer", f"Session-Expires: 90;refresher={refresher}")
    agreed = recv(200, has=f"Session-Expires: *90;refresher={refresher}")
    return [
        request("INVITE", *timer, body=SDP),
        recv(100, optional=True),
        recv(180, optional=True),
        agreed,
        ack(),
        *then,
    ]


async def test_who_does_not_refresh_hears_bye_and_who_asks_us_to_is_refreshed(folder: Path) -> None:
    """We refresh at half of it; a far end that promised to and does not is told BYE before it is over."""
    port = free_port()
    agreed = "Session-Expires: 90;refresher=uas"
    late = ["Supported: timer", agreed]
    refreshed = [recv("INVITE", has="Session-Expires: *90"), ok(ANSWER, agreed, body=SDP), recv("ACK")]
    refreshed += [inside("BYE", cseq=9), recv(200)]
    forgets = [recv("BYE", has="Reason"), ok()]
    called = [recv("INVITE", has="Session-Expires: *90"), reply(180, "Ringing"), reply(200, "OK", *late, body=SDP)]
    async with (
        gateway(folder, media_timeout_s=0.0, timer_s=90) as up,
        worker(up.options.socket) as here,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(sipp([*called, recv("ACK"), recv("BYE"), ok()], folder, 5060, listen=port, more=PATIENT))
        await asyncio.sleep(0.5)
        group.create_task(sipp(calls("uas", *refreshed), folder, up.port(), more=PATIENT))
        first = (await here.until(wire.Up)).call
        group.create_task(sipp(calls("uac", *forgets), folder, up.port(), more=PATIENT))
        second = (await here.until(wire.Up, nth=2)).call
        third = await here.dial(f"sip:x@127.0.0.1:{port}")
        async with asyncio.timeout(110):
            while len(gone := [told for told in here.told if isinstance(told, wire.Gone)]) < 3:
                here.news.clear()
                await here.news.wait()
    ends = {told.call: (told.by, told.note) for told in gone}
    assert ends[first] == ("far", "")
    assert ends[second] == ends[third] == ("gateway", "session timer")
