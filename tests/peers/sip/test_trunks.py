"""Trunks on the wire: which of their servers is asked, and whether they live."""

import asyncio
from pathlib import Path

import pytest

from tests.peers.sip.peer import peer, trunk, trunk_is, zone
from tests.peers.sip.rig import SDP, folder, free_port, gateway, needs, ok, recv, reply, sipp, worker
from trunkline.bridge.sip import messages as wire

pytestmark = pytest.mark.peers
_ = folder
TALK = [recv("INVITE"), reply(180, "Ringing"), reply(200, "OK", body=SDP), recv("ACK")]
OVER = [recv("BYE"), ok()]


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


async def test_the_second_server_of_a_name_takes_the_calls_while_the_first_is_dead(folder: Path) -> None:
    dead, living = free_port(), free_port()
    async with zone(dead, living) as server:
        own = {"name": "carrier", "host": "pbx.test", "user": "4980"}
        async with (
            gateway(folder, trunks=(own,), nameservers=(server,)) as up,
            worker(up.options.socket) as here,
        ):
            options = [recv("OPTIONS"), ok().replace("[last_To:]", "[last_To:];tag=r")]
            await sipp(options, folder, up.port(), listen=living)
            await trunk_is(here, "up")
            invite = recv("INVITE", has="INVITE sip:.919800000002@pbx.test")  # the name, not the server's address
            far = asyncio.create_task(sipp([invite, *TALK[1:], *OVER], folder, up.port(), listen=living))
            await asyncio.sleep(0.5)
            call = await here.dial("+919800000002", trunk="carrier")
            await here.until(wire.Up, call)
            await here.say(wire.Hangup(call))
            await far
            sent = max(folder.glob("messages*")).read_text()  # noqa: ASYNC240
            assert "Route:" not in sent


async def test_the_first_server_comes_back_and_is_asked_again(folder: Path) -> None:
    async with peer() as (first, one), peer() as (second, two), zone(one, two) as server:
        first.deaf = True
        own = {"name": "carrier", "host": "pbx.test", "user": "4980", "keepalive_s": 0.5}
        async with gateway(folder, trunks=(own,), nameservers=(server,)) as up, worker(up.options.socket) as here:
            await second.until("OPTIONS", 2)
            first.answers["INVITE"] = second.answers["INVITE"] = [486]
            await here.until(wire.Gone, await here.dial("1", trunk="carrier"))
            assert (len(first.of("INVITE")), len(second.of("INVITE"))) == (0, 1)
            first.deaf = False
            await first.until("OPTIONS", 3)
            await asyncio.sleep(0.3)
            await here.until(wire.Gone, await here.dial("2", trunk="carrier"))
            assert (len(first.of("INVITE")), len(second.of("INVITE"))) == (1, 1)


async def test_a_server_that_says_503_is_passed_over(folder: Path) -> None:
    async with peer(INVITE=[503]) as (first, one), peer(INVITE=[486]) as (second, two), zone(one, two) as server:
        own = {"name": "carrier", "host": "pbx.test", "user": "4980", "keepalive_s": 60.0}
        async with gateway(folder, trunks=(own,), nameservers=(server,)) as up, worker(up.options.socket) as here:
            await first.until("OPTIONS", 1)
            await trunk_is(here, "up")
            codes = [(await here.until(wire.Gone, await here.dial(to, trunk="carrier"))).code for to in ("1", "2")]
            assert codes == [503, 486]
            assert len(first.of("INVITE")) == len(second.of("INVITE")) == 1


async def test_a_trunk_that_falls_silent_is_down_and_up_again_when_it_answers(folder: Path) -> None:
    async with (
        peer() as (far, port),
        gateway(folder, trunks=(trunk(port, keepalive_s=0.5),)) as up,
        worker(up.options.socket) as here,
    ):
        await far.until("OPTIONS", 1)
        await trunk_is(here, "up")
        before = [told for told in here.told if isinstance(told, wire.TrunkState)]
        far.deaf = True
        down = await here.until(wire.TrunkState, state="down")
        assert down.code == 408
        far.deaf = False
        await here.until(wire.TrunkState, state="up", nth=1 + ("up" in [told.state for told in before]))
        states = [told.state for told in here.told if isinstance(told, wire.TrunkState)]
        assert states[-2:] == ["down", "up"]


async def test_an_answer_from_another_address_is_one(folder: Path) -> None:
    async with (
        peer() as (far, port),
        peer() as (other, _port),
        gateway(folder, trunks=(trunk(port, keepalive_s=0.5),)) as up,
        worker(up.options.socket) as here,
    ):
        far.answers["OPTIONS"] = [0]
        ((_at, text),) = await far.until("OPTIONS", 1)
        other.reply(text, 200, far.last_from)
        await trunk_is(here, "up")


async def test_calls_tell_the_state_of_a_trunk_that_is_not_asked(folder: Path) -> None:
    async with (
        peer(INVITE=[486]) as (far, port),
        gateway(folder, trunks=(trunk(port),)) as up,
        worker(up.options.socket) as here,
    ):
        await here.until(wire.Gone, await here.dial("1", trunk="carrier"))
        await trunk_is(here, "up")
        far.answers["INVITE"] = [503]
        await here.until(wire.Gone, await here.dial("2", trunk="carrier"))
        assert (await here.until(wire.TrunkState, state="down")).code == 503
        assert not far.of("OPTIONS")
