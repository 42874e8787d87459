"""Audio on the wire: offers that come late, re-INVITEs that move or change it, and what is played before an answer."""

import asyncio
from pathlib import Path

import pytest

from tests.peers.sip.caller import Caller, audio_of, calling, echo_of, encoded, sdp, strength, tone
from tests.peers.sip.peer import peer
from tests.peers.sip.rig import Process, Worker, folder, gateway, needs, worker
from trunkline.bridge.sip import messages as wire
from trunkline.codecs.g711 import PCMA, PCMU

pytestmark = pytest.mark.interop
_ = folder
HZ = 440


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


async def over(here: Worker, caller: Caller) -> None:
    await caller.bye()
    await here.until(wire.Gone)


async def test_an_offer_that_comes_with_the_200(folder: Path) -> None:
    """INVITE without SDP: we offer, the ACK answers (RFC 3261 13.2.1)."""
    async with gateway(folder) as up, worker(up.options.socket) as here, calling(up.port()) as caller:
        text = await caller.invite(answer=sdp(caller.rtp.port, "8"))
        assert audio_of(text)[1][:3] == ["0", "8", "9"]
        told = await here.until(wire.Up)
        assert told.codec == "PCMA/8000"
        await caller.talk(encoded(PCMA, 50), 8)
        await over(here, caller)
    assert strength(here.heard[told.call], HZ) > 0.9
    assert strength(echo_of(caller, PCMA, 8), HZ) > 0.9


async def test_audio_that_moves_to_another_address(folder: Path) -> None:
    async with (
        gateway(folder) as up,
        worker(up.options.socket) as here,
        calling(up.port()) as caller,
        calling(up.port()) as elsewhere,
    ):
        await caller.invite(sdp(caller.rtp.port, "0"))
        told = await here.until(wire.Up)
        await caller.talk(encoded(PCMU, 25), 0)
        assert (await caller.invite(sdp(elsewhere.rtp.port, "0"))).startswith("SIP/2.0 200")
        await asyncio.sleep(0.1)
        here.heard[told.call] = b""
        elsewhere.far, caller.heard[:] = caller.far, []
        await elsewhere.talk(encoded(PCMU, 60, 1000), 0)
        assert len(caller.heard) <= 2
        await over(here, caller)
    assert strength(here.heard[told.call], 1000) > 0.8
    assert strength(echo_of(elsewhere, PCMU, 0), 1000) > 0.8


async def test_audio_goes_to_where_audio_comes_from(folder: Path) -> None:
    """A telephone behind a NAT writes an address that nobody can reach: its packets tell the right one."""
    async with gateway(folder) as up, worker(up.options.socket) as here, calling(up.port()) as caller:
        await caller.invite(sdp(9, "0"))
        told = await here.until(wire.Up)
        await caller.talk(encoded(PCMU, 80), 0)
        await over(here, caller)
    assert strength(here.heard[told.call], HZ) > 0.9
    assert len(caller.heard) > 50


async def test_another_codec_and_an_offer_of_ours_within_the_call(folder: Path) -> None:
    async with gateway(folder) as up, worker(up.options.socket) as here, calling(up.port()) as caller:
        await caller.invite(sdp(caller.rtp.port, "0"))
        told = await here.until(wire.Up)
        await caller.talk(encoded(PCMU, 25), 0)
        assert audio_of(await caller.invite(sdp(caller.rtp.port, "8")))[1][0] == "8"
        await asyncio.sleep(0.1)
        here.heard[told.call] = b""
        await caller.talk(encoded(PCMA, 50, 1000), 8)
        assert strength(here.heard[told.call], 1000) > 0.8
        assert strength(echo_of(caller, PCMA, 8), 1000) > 0.8
        assert "m=audio" in await caller.invite(answer=sdp(caller.rtp.port, "0"))  # a re-INVITE without an offer
        await asyncio.sleep(0.1)
        here.heard[told.call], caller.heard[:] = b"", []
        await caller.talk(encoded(PCMU, 50), 0)
        assert strength(here.heard[told.call], HZ) > 0.8
        assert strength(echo_of(caller, PCMU, 0), HZ) > 0.8
        await over(here, caller)
        assert len([one for one in here.told if isinstance(one, wire.Up)]) == 1


async def _ringing(up: Process, here: Worker, caller: Caller) -> "tuple[int, asyncio.Task[str]]":
    """A call that is taken and not answered, while something is said already."""
    here.verdict = lambda offer: wire.Take(offer.call, here.slot(offer.call), answer=False)
    inviting = asyncio.create_task(caller.invite(sdp(caller.rtp.port, "0")))
    call = (await here.until(wire.Offer)).call
    await asyncio.sleep(0.1)
    for frame in tone(HZ, 2):
        here.slots[call].put(frame)
    await asyncio.sleep(0.2)
    return call, inviting


async def test_nothing_is_said_before_the_answer(folder: Path) -> None:
    async with gateway(folder) as up, worker(up.options.socket, echo=False) as here, calling(up.port()) as caller:
        call, inviting = await _ringing(up, here, caller)
        assert caller.heard == []
        await here.say(wire.Answer(call))
        assert (await inviting).startswith("SIP/2.0 200")
        await here.until(wire.Up)
        await asyncio.sleep(0.1)
        assert caller.heard
        await over(here, caller)


async def test_something_is_said_before_the_answer_where_that_was_asked_for(folder: Path) -> None:
    async with gateway(folder) as up, worker(up.options.socket, echo=False) as here, calling(up.port()) as caller:
        call, inviting = await _ringing(up, here, caller)
        await here.say(wire.Answer(call, early=True))
        await asyncio.sleep(0.3)
        assert caller.heard
        assert not inviting.done()
        await here.say(wire.Answer(call))
        assert (await inviting).startswith("SIP/2.0 200")
        await over(here, caller)


async def test_what_is_played_before_the_answer_is_heard_and_is_no_answer(folder: Path) -> None:
    async with (
        peer(INVITE=[0]) as (far, port),
        gateway(folder) as up,
        worker(up.options.socket, echo=False) as here,
        calling(up.port()) as sound,
    ):
        call = await here.dial(f"sip:x@127.0.0.1:{port}")
        ((_at, invite),) = await far.until("INVITE", 1)
        far.reply(invite, 183, far.last_from, sdp(sound.rtp.port, "0"))
        progress = await here.until(wire.Progress, call, media=True)
        assert progress.code == 183
        sound.far = audio_of(invite)[0]
        await sound.talk(encoded(PCMU, 60), 0)
        assert strength(here.heard[call], HZ) > 0.9
        far.reply(invite, 486, far.last_from)
        gone = await here.until(wire.Gone, call)
        assert (gone.code, gone.answered) == (486, False)
        assert not [one for one in here.told if isinstance(one, wire.Up)]
