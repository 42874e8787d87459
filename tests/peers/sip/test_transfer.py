"""Two calls of ours that become one: what their far ends see and hear, by SIPp."""

import asyncio
import shutil

import pytest

from tests.peers.sip.rig import (
    SDP,
    TALK,
    Worker,
    folder,
    free_port,
    from_callee,
    gateway,
    inside,
    needs,
    ok,
    pause,
    play,
    recv,
    reply,
    sipp,
    worker,
)
from tests.peers.sip.test_inbound import RECORDED
from trunkline.bridge.sip import messages as wire

pytestmark = pytest.mark.peers
BYE = [inside("BYE", cseq=9), recv(200)]
TOLD = [recv("BYE"), ok()]
_ = folder


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


def answers(*then: str, headers: tuple[str, ...] = ()) -> list[str]:
    return [recv("INVITE", keep=True), reply(180, "Ringing"), reply(200, "OK", *headers, body=SDP), recv("ACK"), *then]


async def test_joined_lines_end_together(folder):
    """Whoever ends it."""
    async with gateway(folder) as up:
        for who in ("caller", "desk", "worker"):
            async with worker(up.options.socket) as here:
                await ends_together(folder, up.port(), here, who)
        figures = await up.stopped()
    assert (figures["joined"], figures["live"], figures["callback_failures"]) == (3, 0, 0)


async def ends_together(folder, own: int, here: Worker, who: str) -> None:
    port = free_port()
    caller = [*TALK, *([pause(800), *BYE] if who == "caller" else TOLD)]
    desk = answers(*([pause(800), from_callee("BYE", cseq=5), recv(200)] if who == "desk" else TOLD))
    far = [asyncio.create_task(sipp(desk, folder, 5060, listen=port))]
    await asyncio.sleep(0.3)
    far.append(asyncio.create_task(sipp(caller, folder, own)))
    first = (await here.until(wire.Up)).call
    second = await here.dial(f"sip:desk@127.0.0.1:{port}")
    await here.until(wire.Up, second)
    await here.say(wire.Join(first, second))
    if who == "worker":
        await asyncio.sleep(0.3)
        await here.say(wire.Hangup(first))
    await here.until(wire.Gone, first)
    await here.until(wire.Gone, second)
    await asyncio.gather(*far)


async def test_joined_lines_hear_each_other_and_the_worker_hears_neither(folder):
    """The caller plays a recording; the desk's line has it, and echoes it."""
    shutil.copy(RECORDED, folder)
    port = free_port()
    async with gateway(folder) as up, worker(up.options.socket, echo=False) as here:
        desk = asyncio.create_task(sipp(answers(*TOLD), folder, 5060, listen=port, more=["-rtp_echo"]))
        await asyncio.sleep(0.3)
        caller = asyncio.create_task(
            sipp([*TALK, pause(600), play("g711a.pcap"), pause(2500), *BYE], folder, up.port())
        )
        first = (await here.until(wire.Up)).call
        second = await here.dial(f"sip:desk@127.0.0.1:{port}")
        await here.until(wire.Up, second)
        await here.say(wire.Join(first, second))
        await asyncio.sleep(0.2)
        before = len(here.heard.get(first, b"")) + len(here.heard.get(second, b""))
        await here.until(wire.Gone, second)
        await asyncio.gather(desk, caller)
        heard = len(here.heard.get(first, b"")) + len(here.heard.get(second, b""))
        (quality,) = [told for told in here.told if isinstance(told, wire.Quality) and told.call == second][-1:]
    assert heard == before
    assert quality.rx_packets > 60, "the desk sends back what it hears, so it heard something"


async def test_two_calls_are_handed_over_by_refer_with_replaces(folder):
    port = free_port()
    final = ("Event: refer", "Subscription-State: terminated;reason=noresource")
    caller = [
        *TALK,
        recv("REFER", has="Refer-To: .*Replaces="),
        ok().replace("200 OK", "202 Accepted"),
        inside("NOTIFY", *final, cseq=2, body="SIP/2.0 200 OK\n", kind="message/sipfrag"),
        recv(200),
        *TOLD,
    ]
    desk = answers(pause(800), from_callee("BYE", cseq=5), recv(200), headers=("Supported: replaces",))
    async with gateway(folder) as up, worker(up.options.socket) as here:
        far = [asyncio.create_task(sipp(desk, folder, 5060, listen=port))]
        await asyncio.sleep(0.3)
        far.append(asyncio.create_task(sipp(caller, folder, up.port())))
        first = (await here.until(wire.Up)).call
        second = await here.dial(f"sip:desk@127.0.0.1:{port}")
        told = await here.until(wire.Up, second)
        assert (told.replaces, told.refer) == (True, True)
        await here.say(wire.Refer(first, "", second))
        assert (await here.until(wire.ReferProgress, first, final=True)).code == 200
        await here.say(wire.Hangup(first))
        await here.until(wire.Gone, second)
        await asyncio.gather(*far)


async def test_what_cannot_be_joined_is_ended(folder):
    async with gateway(folder) as up, worker(up.options.socket) as here:
        far = asyncio.create_task(sipp([*TALK, *TOLD], folder, up.port()))
        first = (await here.until(wire.Up)).call
        await here.say(wire.Join(first, 99))
        assert (await here.until(wire.Gone, first)).note == "not joined"
        await far


@pytest.mark.parametrize("leaves", [True, False], ids=["its BYE", "no word at all"])
async def test_a_far_end_that_takes_a_refer_and_is_silent_is_not_a_lost_line(folder, leaves):
    """No NOTIFY, no audio for longer than the media timeout: it is with the target."""
    accepted = [*TALK, recv("REFER"), ok().replace("200 OK", "202 Accepted")]
    caller = [*accepted, *([pause(2500), *BYE] if leaves else TOLD)]
    async with gateway(folder, media_timeout_s=1.0, refer_s=60.0 if leaves else 3.0) as up:
        async with worker(up.options.socket) as here:
            far = asyncio.create_task(sipp(caller, folder, up.port()))
            call = (await here.until(wire.Up)).call
            await here.say(wire.Refer(call, "sip:desk@127.0.0.1"))
            if not leaves:
                assert (await here.until(wire.ReferProgress, call, final=True)).code == wire.UNCONFIRMED
                await here.say(wire.Hangup(call))
            gone = await here.until(wire.Gone, call)
            await far
        figures = await up.stopped()
    assert (gone.by, gone.note, gone.answered) == ("far" if leaves else "us", "", True)
    assert (figures.get("media_timeouts", 0), figures.get("refer_unconfirmed", 0)) == (0, int(not leaves))
