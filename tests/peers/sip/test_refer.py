"""Far ends that ask us to call somebody, by SIPp on both sides: one behaviour each."""

import asyncio

import pytest

from tests.peers.sip.rig import (
    INVITE,
    SDP,
    TALK,
    Worker,
    folder,
    free_port,
    gateway,
    inside,
    needs,
    ok,
    pause,
    recv,
    reply,
    request,
    sipp,
    worker,
)
from trunkline.bridge.sip import messages as wire

pytestmark = pytest.mark.peers
BYE = [inside("BYE", cseq=9), recv(200)]
TOLD = [recv("BYE"), ok()]
SAID = [recv("NOTIFY", has="SIP/2.0 100"), ok()]
_ = folder


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


def refer(target: str, *more: str) -> str:
    return inside("REFER", f"Refer-To: <{target}>", *more)


def asks(target: str) -> list[str]:
    return [*TALK, refer(target), recv(202), *SAID]


def answers(*then: str) -> list[str]:
    """The target, after a moment."""
    return [recv("INVITE"), reply(180, "Ringing"), pause(300), reply(200, "OK", body=SDP), recv("ACK"), *then]


def held(here: Worker, call: int) -> list[bool]:
    return [told.on for told in here.told if isinstance(told, wire.Held) and told.call == call]


async def test_the_call_goes_on_with_whom_the_far_end_has_named(folder):
    """A number that is listed, where the far end itself is."""
    port = free_port()
    target = f"sip:+919800000001@127.0.0.1:{port}"
    caller = [*asks(target), recv("NOTIFY", has="SIP/2.0 180"), ok(), recv("NOTIFY", has="SIP/2.0 200"), ok(), *BYE]
    async with gateway(folder, allow_transfer_to=("+9198*",)) as up, worker(up.options.socket) as here:
        desk = asyncio.create_task(sipp(answers(*TOLD), folder, 5060, listen=port))
        await asyncio.sleep(0.3)
        await sipp(caller, folder, up.port())
        moved = await here.until(wire.Moved)
        await here.until(wire.Held, moved.to, on=False)
        assert moved.target == target
        assert held(here, moved.call) == [True]
        assert not [told for told in here.told if isinstance(told, wire.Gone)], "it is the same call"
        await here.say(wire.Hangup(moved.call))  # by the old number: it crossed
        gone = await here.until(wire.Gone)
        await desk
        assert (gone.call, gone.by, gone.answered) == (moved.to, "us", True)
        figures = await up.stopped()
    assert (figures["refer_followed"], figures["live"], figures["callback_failures"]) == (1, 0, 0)


async def test_the_far_end_stays_if_the_target_is_busy_or_cannot_be_reached_at_all(folder):
    port = free_port()
    nobody = "sip:desk@127.0.0.1:9;transport=tcp"  # where nobody listens
    busy = [recv("INVITE"), reply(486, "Busy Here"), recv("ACK")]
    async with gateway(folder, allow_transfer_to=("sip:desk@127.0.0.1:*",)) as up:
        desk = asyncio.create_task(sipp(busy, folder, 5060, listen=port))
        await asyncio.sleep(0.3)
        for target, code in ((f"sip:desk@127.0.0.1:{port}", "486"), (nobody, "5")):
            caller = [*asks(target), recv("NOTIFY", has=f"SIP/2.0 {code}"), ok(), pause(200), *BYE]
            async with worker(up.options.socket) as here:
                await sipp(caller, folder, up.port())
                gone = await here.until(wire.Gone)
            assert held(here, gone.call) == [True, False] or (target == nobody and not held(here, gone.call))
            assert (gone.by, gone.code) == ("far", 200)
            assert not [told for told in here.told if isinstance(told, wire.Moved)]
        await desk
        figures = await up.stopped()
    assert (figures["refer_failed"], figures["live"]) == (2, 0)


async def test_the_far_end_may_leave_at_once(folder):
    async with gateway(folder, allow_transfer_to=("sip:desk@127.0.0.1:*",)) as up:
        for answered in (True, False):
            async with worker(up.options.socket) as here:
                await leaves(folder, up.port(), here, answered=answered)
        assert (await up.stopped())["live"] == 0


async def leaves(folder, own: int, here: Worker, *, answered: bool) -> None:
    port = free_port()
    rings = [recv("NOTIFY", has="SIP/2.0 180"), ok()] if answered else []
    caller = [*asks(f"sip:desk@127.0.0.1:{port}"), *rings, *BYE]
    desk_is = answers(*TOLD) if answered else [recv("INVITE"), pause(500), reply(486, "Busy Here"), recv("ACK")]
    desk = asyncio.create_task(sipp(desk_is, folder, 5060, listen=port))
    await asyncio.sleep(0.3)
    far = asyncio.create_task(sipp(caller, folder, own))
    moved = await here.until(wire.Moved)
    if answered:
        await here.until(wire.Held, moved.to, on=False)
        await here.say(wire.Hangup(moved.to))
    gone = await here.until(wire.Gone)
    await asyncio.gather(desk, far)
    assert (gone.call, gone.answered, gone.code) == (moved.to, True, 200)
    assert gone.reason.startswith("BYE, handed on: 486") != answered


async def test_a_worker_that_hangs_up_takes_the_targets_ringing_back(folder):
    port = free_port()
    target = f"sip:desk@127.0.0.1:{port}"
    desk_is = [recv("INVITE"), reply(180, "Ringing"), recv("CANCEL"), ok()]
    async with gateway(folder, allow_transfer_to=(target,)) as up, worker(up.options.socket) as here:
        desk = asyncio.create_task(sipp(desk_is, folder, 5060, listen=port))
        await asyncio.sleep(0.3)
        caller = [*asks(target), recv("NOTIFY"), ok(), recv("BYE"), ok()]
        far = asyncio.create_task(sipp(caller, folder, up.port()))
        await asyncio.sleep(0.2)
        call = (await here.until(wire.Held)).call
        await asyncio.sleep(0.3)
        await here.say(wire.Hangup(call))
        await asyncio.gather(desk, far)


WRONG = [
    (["Refer-To: <sip:toll@192.0.2.1>"], 603),
    (["Refer-To: <sip:desk@127.0.0.1?Replaces=a%3Bto-tag%3Db%3Bfrom-tag%3Dc>"], 603),
    (["Refer-To: <sip:desk@127.0.0.1;maddr=192.0.2.1>"], 603),
    (["Refer-To: <tel:+3599>"], 603),
    (["Refer-To: nonsense"], 400),
    (["Refer-To: <sip:desk@127.0.0.1>", "Refer-To: <sip:desk@127.0.0.1>"], 400),
    ([], 400),
]


async def test_whom_nobody_named_is_not_dialled(folder):
    steps = [*TALK]
    for number, (headers, code) in enumerate(WRONG):
        steps += [inside("REFER", *headers, cseq=2 + number), recv(code)]
    steps += [inside("BYE", cseq=20), recv(200)]
    async with gateway(folder, allow_transfer_to=("sip:desk@127.0.0.1",)) as up, worker(up.options.socket) as here:
        await sipp(steps, folder, up.port())
        await here.until(wire.Gone)
        figures = await up.stopped()
    assert "refer_followed" not in figures
    assert figures["refer_refused"] == 6  # pjsua itself says 400 to the one without Refer-To
    assert figures["callback_failures"] == 0


async def test_one_at_a_time(folder):
    port = free_port()
    target = f"sip:desk@127.0.0.1:{port}"
    again = refer(target).replace("CSeq: 2", "CSeq: 3")
    caller = [*asks(target), recv("NOTIFY", has="SIP/2.0 180"), ok(), again, recv(491), recv("NOTIFY"), ok(), *BYE]
    desk_is = answers(*TOLD)
    desk_is[2] = pause(1000)
    async with gateway(folder, allow_transfer_to=(target,)) as up, worker(up.options.socket) as here:
        desk = asyncio.create_task(sipp(desk_is, folder, 5060, listen=port))
        await asyncio.sleep(0.3)
        await sipp(caller, folder, up.port())
        await here.say(wire.Hangup((await here.until(wire.Moved)).to))
        await desk
        assert (await up.stopped())["refer_followed"] == 1


async def test_no_room_for_one_call_more(folder):
    target = "sip:desk@127.0.0.1:9"
    steps = [*TALK, refer(target), recv(503), *BYE]
    async with (
        gateway(folder, allow_transfer_to=(target,), max_calls=1) as up,
        worker(up.options.socket),
    ):
        await sipp(steps, folder, up.port())


async def test_before_the_answer_nobody_is_handed_on(folder):
    def rings(offer: wire.Offer) -> wire.Take:
        return wire.Take(offer.call, here.slot(offer.call), answer=False)

    early = request("REFER", "Refer-To: <sip:desk@127.0.0.1>", cseq=2, tag="[peer_tag_param]")
    steps = [INVITE, recv(100, optional=True), recv(180), early, recv(603), recv(200), inside("ACK", cseq=1), *BYE]
    steps[6] = steps[6].replace(' retrans="500"', "")
    async with gateway(folder, allow_transfer_to=("sip:desk@127.0.0.1",)) as up, worker(up.options.socket) as here:
        here.verdict = rings
        far = asyncio.create_task(sipp(steps, folder, up.port()))
        call = (await here.until(wire.Offer)).call
        await asyncio.sleep(0.5)
        await here.say(wire.Answer(call))
        await far
