"""Calls through a trunk: who calls, with which codecs, timers and encryption."""

import asyncio
from pathlib import Path

import pytest

from tests.peers.sip.peer import peer, trunk
from tests.peers.sip.rig import INVITE, folder, free_port, gateway, inside, needs, recv, sipp, worker
from tests.peers.sip.rig import TALK as CALL
from trunkline.bridge.sip import messages as wire

pytestmark = pytest.mark.peers
_ = folder


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"identity": "pai"}, ["P-Asserted-Identity: <sip:+91800@127.0.0.1", "From: sip:4980@127.0.0.1"]),
        ({"identity": "ppi"}, ["P-Preferred-Identity: <sip:+91800@127.0.0.1"]),
        ({"identity": "rpid"}, ["Remote-Party-ID: <sip:+91800@127.0.0.1", ";privacy=off"]),
        ({"privacy": True}, ['From: "Anonymous" <sip:anonymous@anonymous.invalid>', "Privacy: id", "+91800"]),
    ],
)
async def test_who_calls_is_told_as_the_trunk_wants_it(
    folder: Path, fields: dict[str, object], expected: list[str]
) -> None:
    async with (
        peer(INVITE=[486]) as (far, port),
        gateway(folder, trunks=(trunk(port, **fields),)) as up,
        worker(up.options.socket) as here,
    ):
        await here.until(wire.Gone, await here.dial("1", trunk="carrier", from_="+91800"))
    ((_at, text),) = far.of("INVITE")
    assert [part for part in expected if part not in text] == []


async def test_a_trunk_is_offered_its_own_codecs(folder: Path) -> None:
    async with peer(INVITE=[486]) as (far, port):
        own = (trunk(port, codecs=("G722", "PCMA")), {**trunk(port), "name": "other"})
        async with gateway(folder, trunks=own, codecs=("PCMA", "PCMU")) as up, worker(up.options.socket) as here:
            await here.until(wire.Gone, await here.dial("1", trunk="other"))
            await here.until(wire.Gone, await here.dial("2", trunk="carrier"))
    offers = [next(line for line in text.split("\r\n") if line.startswith("m=audio")) for _at, text in far.of("INVITE")]
    kinds = [[kind for kind in offer.split(" ")[3:] if int(kind) < 96] for offer in offers]
    assert kinds == [["8", "0"], ["8"]]  # G722 is not in the gateway's own list


async def test_an_outbound_proxy_takes_the_call_and_the_name_apart_from_the_user_proves_it(folder: Path) -> None:
    async with peer(INVITE=[407, 486]) as (far, port):
        far.more["INVITE"] = 'Proxy-Authenticate: Digest realm="r", nonce="n", algorithm=MD5, qop="auth"'
        own = {**trunk(port), "host": "pbx.test", "proxy": f"127.0.0.1:{port}", "password": "p", "auth_user": "a17"}
        async with gateway(folder, trunks=(own,)) as up, worker(up.options.socket) as here:
            await here.until(wire.Gone, await here.dial("1", trunk="carrier"))
    (_a, first), (_b, second) = far.of("INVITE")
    assert first.startswith("INVITE sip:1@pbx.test SIP/2.0")
    assert f"Route: <sip:127.0.0.1:{port};lr>" in first
    assert "Proxy-Authorization" not in first
    assert 'username="a17"' in second


async def test_the_address_behind_a_nat_is_told_to_the_far_end(folder: Path) -> None:
    async with (
        peer(INVITE=[486]) as (far, port),
        gateway(folder, trunks=(trunk(port),), public_address="203.0.113.7") as up,
        worker(up.options.socket) as here,
    ):
        await here.until(wire.Gone, await here.dial("1", trunk="carrier"))
    ((_at, text),) = far.of("INVITE")
    assert "c=IN IP4 203.0.113.7" in text
    assert f"@203.0.113.7:{up.port()}" in next(line for line in text.split("\r\n") if line.startswith("Contact:"))


async def test_a_long_invite_goes_by_the_trunks_transport(folder: Path) -> None:
    """pjsip would try TCP beyond 1300 bytes; where a firewall swallows that, nobody is called for minutes."""
    connections: list[object] = []
    async with (
        peer(INVITE=[486]) as (far, port),
        await asyncio.start_server(lambda _reader, writer: connections.append(writer), "127.0.0.1", port),
        gateway(folder, trunks=(trunk(port),)) as up,
        worker(up.options.socket) as here,
    ):
        await here.until(wire.Gone, await here.dial("1", trunk="carrier", headers={"X-Long": "x" * 1500}))
    ((_at, text),) = far.of("INVITE")
    assert len(text) > 2000
    assert connections == []


async def test_session_timers_of_a_trunk(folder: Path) -> None:
    async with peer(INVITE=[486]) as (far, port):
        own = (trunk(port, timer_s=600), {**trunk(port, timer_s=0), "name": "none"})
        async with gateway(folder, trunks=own) as up, worker(up.options.socket) as here:
            await here.until(wire.Gone, await here.dial("1", trunk="carrier"))
            await here.until(wire.Gone, await here.dial("2", trunk="none"))
    (_a, first), (_b, second) = far.of("INVITE")
    assert "Session-Expires: 600" in first
    assert "Min-SE: 90" in first
    assert "Session-Expires" not in second


async def test_the_trunk_that_calls_is_known_by_its_address(folder: Path) -> None:
    """Its SRTP counts, whatever names it writes: one that must be encrypted is not answered without."""
    own = {**trunk(free_port()), "srtp": "required"}
    async with gateway(folder, trunks=(own,)) as up, worker(up.options.socket):
        await sipp([INVITE, recv(100, optional=True), recv(488)], folder, up.port())


async def test_a_trunk_that_calls_and_has_no_such_rule_is_answered(folder: Path) -> None:
    own = {**trunk(free_port()), "srtp": "off"}
    async with gateway(folder, trunks=(own,), srtp="required") as up, worker(up.options.socket) as here:
        calling = asyncio.create_task(sipp([*CALL, inside("BYE"), recv(200)], folder, up.port()))
        assert (await here.until(wire.Offer)).trunk == "carrier"
        await calling
