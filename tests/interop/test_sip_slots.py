"""A call that is over before we have heard of it leaves its number in pjsua to the next one: whose object goes must not
take that one with it."""

from pathlib import Path

import pytest

from tests.interop.sip_torture_rig import Datagrams, code_of, datagrams, header
from tests.peers.sip.rig import folder, gateway, needs, worker
from trunkline.bridge.sip import messages as wire

pytestmark = pytest.mark.interop
_ = folder
MOST, MORE = 30, 200  # [sip] max_calls, and the numbers that pjsua has beyond (library.TURNED)
HELD, PAIRS, SAYS = 12, 6, 480
# An SRTP key that is too short: pjsua refuses it once it has told us of the call.
UNUSABLE = """v=0
o=u 1 1 IN IP4 127.0.0.1
s=-
c=IN IP4 127.0.0.1
t=0 0
m=audio 9 RTP/SAVP 8
a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MDEyMzQ1Njc4OTAxMjM0NTY3
""".replace("\n", "\r\n")


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


def invite(name: str, far: Datagrams, body: str = "") -> bytes:
    assert far.transport is not None
    port = far.transport.get_extra_info("sockname")[1]
    lines = [
        "INVITE sip:agent@127.0.0.1 SIP/2.0",
        f"Via: SIP/2.0/UDP 127.0.0.1:{port};rport;branch=z9hG4bK{name}",
        "Max-Forwards: 70",
        f"From: <sip:{name}@127.0.0.1>;tag={name}",
        "To: <sip:agent@127.0.0.1>",
        f"Call-ID: {name}",
        "CSeq: 1 INVITE",
        f"Contact: <sip:{name}@127.0.0.1:{port}>",
        *(["Content-Type: application/sdp"] if body else []),
        f"Content-Length: {len(body)}",
    ]
    return ("\r\n".join([*lines, "", ""]) + body).encode()


async def final(far: Datagrams, name: str) -> int:
    """What this call has heard in the end."""
    assert await far.final(10.0, lambda told: header(told, "Call-ID") == name), f"{name} heard nothing"
    return next(code_of(told) for told in far.told if header(told, "Call-ID") == name and code_of(told) >= 200)


async def test_a_number_that_was_just_left_is_the_next_callers(folder: Path) -> None:
    """pjsua gives numbers in turn; once round, where the first ones are held, the next free one is given again."""
    async with gateway(folder, max_calls=MOST, offer_s=60.0) as up, worker(up.options.socket) as here:
        here.verdict = lambda offer: None if offer.from_.startswith("held") else wire.Refuse(offer.call, SAYS, "")
        far, there = await datagrams(), ("127.0.0.1", up.port())
        assert far.transport is not None
        for at in range(HELD):
            far.transport.sendto(invite(f"held{at}", far), there)
        await here.until(wire.Offer, nth=HELD)
        for at in range(MOST + MORE - HELD):
            far.transport.sendto(invite(f"before{at}", far), there)
            assert await final(far, f"before{at}") == SAYS
        for at in range(PAIRS):  # all at once: many of them are read before anything is done about the first
            far.transport.sendto(invite(f"unusable{at}", far, UNUSABLE), there)
            far.transport.sendto(invite(f"next{at}", far), there)
        heard = [(await final(far, f"unusable{at}"), await final(far, f"next{at}")) for at in range(PAIRS)]
        far.close()
        figures = await up.stopped()
    assert heard == [(406, SAYS)] * PAIRS
    assert (figures["refused"], figures["callback_failures"]) == (MOST + MORE - HELD + PAIRS, 0)
