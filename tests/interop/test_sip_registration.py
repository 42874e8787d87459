"""Registrations on the wire: renewed, tried again, not hammered."""

import asyncio
from pathlib import Path

import pytest

from tests.peers.sip.peer import peer, trunk, trunk_is
from tests.peers.sip.rig import folder, gateway, needs, worker
from trunkline.bridge.sip import messages as wire

pytestmark = pytest.mark.interop
_ = folder


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


async def test_a_registration_that_failed_is_tried_again(folder: Path) -> None:
    async with peer(REGISTER=[503, 200]) as (far, port):
        own = trunk(port, register=True)
        async with gateway(folder, trunks=(own,)) as up, worker(up.options.socket) as here:
            (first, _), (second, _), *_more = await far.until("REGISTER", 2)
            await trunk_is(here, "up")
            assert 1.0 < second - first < 15


async def test_wrong_credentials_are_said_and_not_hammered(folder: Path) -> None:
    async with peer(REGISTER=[401]) as (far, port):
        far.more["REGISTER"] = 'WWW-Authenticate: Digest realm="r", nonce="n", algorithm=MD5, qop="auth"'
        own = trunk(port, register=True, password="wrong")
        async with gateway(folder, trunks=(own,)) as up, worker(up.options.socket) as here:
            await far.until("REGISTER", 2)
            if (await here.until(wire.Welcome)).trunks["carrier"] != "rejected":
                await here.until(wire.TrunkState, state="rejected")
            before = len(far.of("REGISTER"))
            await asyncio.sleep(3)
            assert len(far.of("REGISTER")) == before <= 3


async def test_a_registration_asks_for_its_time_and_is_renewed(folder: Path) -> None:
    async with peer() as (far, port):
        own = trunk(port, register=True, register_s=10)
        far.more["REGISTER"] = "Expires: 2"
        async with gateway(folder, trunks=(own,)) as up:
            (first, text), (second, _), *_more = await far.until("REGISTER", 2)
            assert "Expires: 10" in text
            assert second > first
            await up.stopped()
            assert ";expires=0" in far.of("REGISTER")[-1][1].lower() or "\r\nExpires: 0" in far.of("REGISTER")[-1][1]
