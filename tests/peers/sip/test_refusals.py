"""What is wrong, or not served, is told so as RFC 3261 wants it, by SIPp: one behaviour each. The C gate's work."""

import asyncio

import pytest

from tests.peers.sip.rig import (
    INVITE,
    SDP,
    TALK,
    ack,
    folder,
    gateway,
    inside,
    needs,
    pause,
    recv,
    request,
    sipp,
    worker,
)

pytestmark = pytest.mark.peers
BYE = [inside("BYE", cseq=9), recv(200)]
_ = folder


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


REFUSED = {
    "a registration: we are no registrar": [request("REGISTER", "Expires: 60"), recv(405, has="Allow: ")],
    "a message": [request("MESSAGE", body="hello", kind="text/plain"), recv(405, has="Allow: ")],
    "a method that nobody knows": [request("NONSENSE"), recv(501, has="Allow: ")],
    "a subscription to our presence": [
        request("SUBSCRIBE", "Event: presence", "Expires: 60"),
        recv(489, has="Allow-Events: refer"),
    ],
    "a REFER outside a call": [request("REFER", "Refer-To: <sip:toll@192.0.2.1>"), recv(403)],
    "a BYE for no call": [request("BYE"), recv(481)],
    "a CANCEL for no INVITE": [request("CANCEL"), recv(481)],
    "an address that is no telephone's": [
        request("OPTIONS").replace("OPTIONS sip:agent@[remote_ip]:[remote_port] SIP", "OPTIONS mailto:a@b SIP"),
        recv(416),
    ],
    "an unknown extension, of OPTIONS": [request("OPTIONS", "Require: magic"), recv(420, has="Unsupported: magic")],
    "a body that nobody reads": [
        request("INVITE", body="<x/>", kind="application/xml"),
        recv(415, has="Accept: application/sdp"),
        ack(),
    ],
    "a body that is coded": [
        request("INVITE", "Content-Encoding: gzip", body=SDP),
        recv(415, has="Accept-Encoding: identity"),
        ack(),
    ],
    "a header that is to be there once": [request("OPTIONS", "Call-ID: other"), recv(400)],
    "a header that cannot be read": [request("OPTIONS").replace("1 OPTIONS", "one OPTIONS"), recv(400)],
    "another version of SIP": [request("OPTIONS").replace("] SIP/2.0\n", "] SIP/3.0\n"), recv(505)],
    "headers in the request's address": [
        request("INVITE", body=SDP).replace("[remote_port] SIP/2.0", "[remote_port]?X-A=1 SIP/2.0"),
        recv(400),
        ack(),
    ],
}


async def test_what_is_wrong_is_told_so(folder):
    async with gateway(folder) as up, worker(up.options.socket) as here:
        for what, steps in REFUSED.items():
            try:
                await sipp(steps, folder, up.port())
            except pytest.fail.Exception as error:
                pytest.fail(f"{what}: {error}")
        figures = await up.stopped()
    assert not [told for told in here.told if hasattr(told, "call_id")]
    assert (figures["gate_unserved"], figures["gate_wrong"], figures["gate_malformed"]) == (6, 5, 3)
    assert "offered" not in figures


async def test_keep_alive_within_a_call_is_no_end_of_it(folder):
    steps = [*TALK, inside("OPTIONS", cseq=2), recv(200, has="Allow: "), inside("INFO", cseq=3), recv(200)]
    steps += [inside("INFO", body="<x/>", kind="application/xml", cseq=4), recv(415, has="dtmf-relay"), *BYE]
    async with gateway(folder) as up, worker(up.options.socket):
        await sipp(steps, folder, up.port())


async def test_another_senders_branch_is_another_call(folder):
    """RFC 3261 17.2.3: the sent-by counts."""
    steps = [step.replace("branch=[branch]", "branch=z9hG4bKthesame") for step in (INVITE, recv(100, optional=True))]
    async with gateway(folder) as up:
        first = asyncio.create_task(sipp([*steps, recv(503), pause(2500), ack()], folder, up.port()))
        await asyncio.sleep(1.0)  # its transaction is there, and waits for the ACK
        once = [step.replace(' retrans="500"', "") for step in steps]
        await sipp([*once, recv(503), ack()], folder, up.port())
        await first
        assert (await up.stopped())["turned_503"] == 2
