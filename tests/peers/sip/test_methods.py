"""What else may be said within a call or before it: extensions that pjsip serves, and what it refuses."""

import asyncio

import pytest

from tests.peers.sip.rig import (
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
from trunkline.bridge.sip import messages as wire
from trunkline.bridge.sip.sip_text import Address, SipText

pytestmark = pytest.mark.peers
BYE = [inside("BYE", cseq=9), recv(200)]
_ = folder  # a fixture, asked for by its name


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


async def test_session_timers_are_agreed_on_and_refreshed_by_the_far_end(folder):
    """RFC 4028: 422 below our least, the refresher's choice kept, UPDATE and re-INVITE refresh."""
    timer = ("Supported: timer", "Session-Expires: 90;refresher=uac")
    short = [
        request("INVITE", "Supported: timer", "Session-Expires: 30", body=SDP),
        recv(100, optional=True),
        recv(422, has="Min-SE: *90"),
        ack(),
    ]
    steps = [
        request("INVITE", *timer, body=SDP),
        recv(100, optional=True),
        recv(180, optional=True),
        recv(200, has="Session-Expires: *90;refresher=uac"),
        ack(),
        inside("UPDATE", *timer, cseq=2),
        recv(200, has="Session-Expires: *90;refresher=uac"),
        inside("INVITE", *timer, body=SDP, cseq=3),
        recv(100, optional=True),
        recv(200, has="Session-Expires: *90;refresher=uac"),
        ack(3),
        *BYE,
    ]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        await sipp(short, folder, up.port())
        await sipp(steps, folder, up.port())
        assert (await here.until(wire.Gone, nth=2)).answered  # the first one was too short


async def test_an_offer_in_update_is_answered(folder):
    update = inside("UPDATE", body=SDP + "a=sendonly\n", cseq=2)
    again = inside("UPDATE", body=SDP, cseq=3)
    steps = [*TALK, update, recv(200, has="a=recvonly"), again, recv(200, has="a=sendrecv"), *BYE]
    async with gateway(folder, media_timeout_s=0.0) as up, worker(up.options.socket) as here:
        await sipp(steps, folder, up.port())
        await here.until(wire.Gone)
        assert [told.on for told in here.told if isinstance(told, wire.Held)] == [True, False]


async def test_provisional_answers_are_acknowledged_if_the_far_end_wants_that(folder):
    """RFC 3262: 180 with RSeq, PRACK, then the answer."""

    def rings(offer: wire.Offer) -> wire.Take:
        return wire.Take(offer.call, here.slot(offer.call), answer=False)

    steps = [
        request("INVITE", "Require: 100rel", "Supported: 100rel", body=SDP),
        recv(100, optional=True),
        recv(180, has="RSeq: *1?"),
        inside("PRACK", "RAck: 1 1 INVITE", cseq=2),
        recv(200),
        recv(200),
        ack(),
        *BYE,
    ]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        here.verdict = rings
        far = asyncio.create_task(sipp(steps, folder, up.port()))
        call = (await here.until(wire.Offer)).call
        await asyncio.sleep(0.5)
        await here.say(wire.Answer(call))
        await far
        assert (await here.until(wire.Gone)).answered


async def test_a_call_that_nobody_knows(folder):
    """481, RFC 3261 12.2.2: a request of a dialog that is not there."""
    lost = [request(method, cseq=5, tag=";tag=nobodys") for method in ("BYE", "INFO", "UPDATE", "OPTIONS")]
    steps = [step for one in lost for step in (one, recv(481))]
    async with gateway(folder) as up, worker(up.options.socket):
        await sipp(steps, folder, up.port())


async def test_nobody_takes_a_call_over(folder):
    """RFC 3891: Replaces for no call of ours is 481; for one of ours it is declined, and that one goes on."""

    def replaces(call_id: str, ours: str, theirs: str) -> str:
        return request("INVITE", f"Replaces: {call_id};to-tag={ours};from-tag={theirs}", body=SDP)

    async with gateway(folder) as up, worker(up.options.socket) as here:
        await sipp([replaces("nobodys", "a", "b"), recv(100, optional=True), recv(481), ack()], folder, up.port())
        assert not [told for told in here.told if isinstance(told, wire.Offer)]
        first = asyncio.create_task(sipp([*TALK, pause(2000), *BYE], folder, up.port()))
        await here.until(wire.Up)
        answer = SipText.of((folder / "messages1").read_text().partition("SIP/2.0 200")[2])
        ids = answer.first("call-id"), Address.of(answer.first("to")).tag, Address.of(answer.first("from")).tag
        await sipp([replaces(*ids), recv(100, optional=True), recv(603), ack()], folder, up.port())
        await first
        assert (await here.until(wire.Gone)).by == "far"


NEVER = {"MESSAGE": 405, "PUBLISH": 405, "REGISTER": 405, "NONSENSE": 501, "SUBSCRIBE": 489}


async def test_what_nobody_serves_within_a_call_is_refused_and_the_call_goes_on(folder):
    steps = [*TALK]
    for number, (method, code) in enumerate(NEVER.items()):
        steps += [inside(method, cseq=2 + number), recv(code)]
    steps += [pause(200), inside("BYE", cseq=20), recv(200)]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        await sipp(steps, folder, up.port())
        gone = await here.until(wire.Gone)
        assert (gone.by, gone.answered, gone.code) == ("far", True, 200)
        assert (await up.stopped())["callback_failures"] == 0
