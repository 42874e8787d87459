"""Calls that come to the gateway, by SIPp: one behaviour each."""

import asyncio
import shutil
import socket
import struct
from pathlib import Path

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
    ok,
    pause,
    play,
    recv,
    request,
    sipp,
    worker,
)
from trunkline.bridge.sip import messages as wire

pytestmark = pytest.mark.peers
BYE = [inside("BYE", cseq=9), recv(200)]
RECORDED = Path("/usr/share/sip-tester/g711a.pcap")
_ = folder


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


async def test_a_call_is_offered_answered_and_ended(folder):
    async with gateway(folder) as up, worker(up.options.socket) as here:
        steps = [request("INVITE", "X-Case: 17", "Subject: no", body=SDP), *TALK[1:], *BYE]
        await sipp(steps, folder, up.port())
        offer = await here.until(wire.Offer)
        assert (offer.to, offer.from_, offer.display) == ("agent", "+919800000001", "caller")
        assert offer.codecs == ("PCMA/8000",)
        assert offer.headers == {"X-Case": "17"}
        assert (await here.until(wire.Up)).codec == "PCMA/8000"
        gone = await here.until(wire.Gone)
        assert (gone.code, gone.by, gone.answered) == (200, "far", True)
        figures = await up.stopped()
        assert (figures["taken"], figures["live"], figures["callback_failures"]) == (1, 0, 0)
    assert not Path(up.options.socket).exists()  # noqa: ASYNC240


async def test_the_recorded_voice_arrives_and_comes_back(folder):
    """SIPp plays a recording; what the worker hears is that, sample by sample."""
    shutil.copy(RECORDED, folder)
    async with gateway(folder, media_timeout_s=2.0) as up, worker(up.options.socket) as here:
        await sipp([*TALK, play("g711a.pcap"), pause(4500), *BYE], folder, up.port())
        gone = await here.until(wire.Gone)
        assert gone.by == "far"
        quality = [told for told in here.told if isinstance(told, wire.Quality)][-1]
    assert quality.rx_lost == 0
    assert quality.rx_packets > 90
    assert quality.tx_packets > 90
    heard = here.heard[gone.call]
    samples = struct.unpack(f"={len(heard) // 2}h", heard)
    assert max(samples) - min(samples) > 8000
    assert len(samples) > 8000 * 2


async def test_the_caller_cancels(folder):
    steps = [
        INVITE,
        recv(100, optional=True),
        recv(180),
        request("CANCEL").replace("[branch]", "[branch-1]"),
        recv(200),
        recv(487),
        ack(),
    ]

    def rings(offer: wire.Offer) -> wire.Take:
        return wire.Take(offer.call, 0, answer=False)

    steps[3] = steps[3].replace("branch=[branch-1]", "branch=[branch-3]")
    async with gateway(folder) as up, worker(up.options.socket, verdict=rings) as here:
        await sipp(steps, folder, up.port())
        gone = await here.until(wire.Gone)
    assert (gone.code, gone.by, gone.answered) == (487, "far", False)


async def test_a_worker_refuses(folder):
    steps = [INVITE, recv(100, optional=True), recv(486, has="Retry-After: 7"), ack()]

    def busy(offer: wire.Offer) -> wire.Refuse:
        return wire.Refuse(offer.call, 486, "Busy", 7)

    async with gateway(folder) as up, worker(up.options.socket, verdict=busy):
        await sipp(steps, folder, up.port())


async def test_without_a_worker_it_is_busy_and_says_when_to_come_again(folder):
    async with gateway(folder) as up:
        await sipp([INVITE, recv(100, optional=True), recv(503, has="Retry-After:"), ack()], folder, up.port())


async def test_a_worker_that_says_nothing_is_passed_over(folder):
    async with (
        gateway(folder, offer_s=0.5) as up,
        worker(up.options.socket, "silent", verdict=lambda _: None) as silent,
        worker(up.options.socket, "other") as other,
    ):
        await sipp([*TALK, *BYE], folder, up.port())
        await sipp([*TALK, *BYE], folder, up.port())
        await other.until(wire.Up, nth=2)
        assert (await silent.until(wire.Gone)).note == "offered to another"


async def test_the_only_worker_says_nothing(folder):
    async with gateway(folder, offer_s=0.5) as up, worker(up.options.socket, verdict=lambda _: None):
        await sipp([INVITE, recv(100, optional=True), recv(503), ack()], folder, up.port())


async def test_a_worker_that_dies_says_bye_to_its_calls(folder):
    async with gateway(folder) as up:
        async with worker(up.options.socket) as here:
            call = asyncio.create_task(sipp([*TALK, recv("BYE"), ok()], folder, up.port()))
            await here.until(wire.Up)
        await call


async def test_hang_up_by_the_worker(folder):
    async with gateway(folder) as up, worker(up.options.socket) as here:
        call = asyncio.create_task(sipp([*TALK, recv("BYE", has="X-Why: done"), ok()], folder, up.port()))
        number = (await here.until(wire.Up)).call
        await here.say(wire.Hangup(number, headers={"X-Why": "done"}))
        gone = await here.until(wire.Gone)
        await call
    assert (gone.by, gone.answered) == ("us", True)


async def test_a_far_end_without_audio_is_given_up(folder):
    async with gateway(folder, media_timeout_s=1.0) as up, worker(up.options.socket) as here:
        await sipp([*TALK, recv("BYE"), ok()], folder, up.port())
        gone = await here.until(wire.Gone)
    assert (gone.by, gone.note) == ("gateway", "media timeout")


async def test_hold_and_resume_are_told(folder):
    held = SDP + "a=sendonly\n"
    steps = [
        *TALK,
        inside("INVITE", body=held, cseq=2),
        recv(100, optional=True),
        recv(200),
        ack(2),
        pause(300),
        inside("INVITE", body=SDP, cseq=3),
        recv(100, optional=True),
        recv(200),
        ack(3),
        pause(300),
        *BYE,
    ]
    async with gateway(folder, media_timeout_s=0.0) as up, worker(up.options.socket) as here:
        await sipp(steps, folder, up.port())
        await here.until(wire.Gone)
        assert [told.on for told in here.told if isinstance(told, wire.Held)] == [True, False]


async def test_a_key_by_info_is_told_once(folder):
    body = "Signal=5\nDuration=160\n"
    steps = [*TALK, inside("INFO", body=body, kind="application/dtmf-relay"), recv(200), pause(200), *BYE]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        await sipp(steps, folder, up.port())
        await here.until(wire.Gone)
    keys = [(told.key, told.method) for told in here.told if isinstance(told, wire.Digit)]
    assert keys == [("5", "info")]


async def test_a_refer_is_refused_and_nobody_is_dialled(folder):
    steps = [*TALK, inside("REFER", "Refer-To: <sip:toll@192.0.2.1>"), recv(603), *BYE]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        await sipp(steps, folder, up.port())
        await here.until(wire.Gone)
        assert (await up.stopped())["refer_refused"] == 1


async def test_over_tcp(folder):
    async with gateway(folder) as up, worker(up.options.socket) as here:
        await sipp([*TALK, *BYE], folder, up.port("tcp"), more=["-t", "t1"])
        assert (await here.until(wire.Offer)).source.startswith("tcp 127.0.0.1:")


async def test_strangers_hear_nothing(folder):
    """Not even 100: the gate swallows it."""
    async with gateway(folder, allow=("192.0.2.0/24",)) as up:
        await sipp([INVITE.replace(' retrans="500"', ""), pause(1000)], folder, up.port())
        figures = await up.stopped()
    assert (figures["gate_dropped_invite"], figures["gate_passed"]) == (1, 0)
    assert "offered" not in figures


AGAIN = request("INVITE", "[authentication username=desk password=secret]", body=SDP, cseq=2)


async def test_credentials_are_asked_for_and_checked(folder):
    users = ({"name": "desk", "password": "secret"},)
    steps = [INVITE, recv(100, optional=True), recv(401, auth=True), ack(), AGAIN, recv(100, optional=True)]
    async with gateway(folder, allow=(), users=users, algorithms=("MD5",)) as up, worker(up.options.socket) as here:
        await sipp([*steps, recv(200), ack(2), *BYE], folder, up.port())
        assert (await here.until(wire.Gone)).answered
        wrong = [step.replace("password=secret", "password=guess") for step in steps]
        await sipp([*wrong, recv(403), ack(2)], folder, up.port())
        figures = await up.stopped()
    assert (figures["turned_401"], figures["turned_403"], figures["offered"]) == (2, 1, 1)


async def test_bytes_that_are_no_text(folder):
    """They are told as well as they can be, and the call is carried on."""
    message = (
        b"INVITE sip:agent@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:%d;branch=z9hG4bK%d;rport\r\n"
        b'From: "Caf\xe9" <sip:1@x>;tag=1\r\nTo: <sip:agent@y>\r\nCall-ID: c%d\r\nCSeq: 1 INVITE\r\n'
        b"Contact: <sip:1@127.0.0.1:%d>\r\nMax-Forwards: 70\r\nX-Note: \xff\xed\xa0\r\nContent-Length: 0\r\n\r\n"
    )
    async with gateway(folder) as up, worker(up.options.socket) as here:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as far:
            far.bind(("127.0.0.1", 0))
            own = far.getsockname()[1]
            far.sendto(message % (own, own, own, own), ("127.0.0.1", up.port()))
            offer = await here.until(wire.Offer)
    assert offer.display.startswith("Caf")
    assert "\ufffd" in offer.headers["X-Note"]


async def test_guessers_are_not_heard_any_more(folder):
    users = ({"name": "desk", "password": "secret"},)
    ask = [INVITE, recv(100, optional=True), recv(401), ack()]
    async with gateway(folder, allow=(), users=users) as up, worker(up.options.socket) as here:
        await sipp(ask, folder, up.port(), more=["-m", "50", "-r", "50"])
        await sipp([INVITE.replace(' retrans="500"', ""), pause(500)], folder, up.port())
        figures = await up.stopped()
        assert (figures["turned_401"], figures["gate_dropped_invite"]) == (50, 1)
        assert not [told for told in here.told if isinstance(told, wire.Offer)]


async def test_an_extension_that_nobody_knows(folder):
    steps = [
        request("INVITE", "Require: magic", body=SDP),
        recv(100, optional=True),
        recv(420, has="Unsupported: magic"),
    ]
    async with gateway(folder) as up, worker(up.options.socket):
        await sipp([*steps, ack()], folder, up.port())


async def test_ringing_until_the_worker_answers(folder):
    def rings(offer: wire.Offer) -> wire.Take:
        return wire.Take(offer.call, here.slot(offer.call), answer=False)

    steps = [INVITE, recv(100, optional=True), recv(180), recv(200), ack(), pause(200), *BYE]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        here.verdict = rings
        call = asyncio.create_task(sipp(steps, folder, up.port()))
        offer = await here.until(wire.Offer)
        await asyncio.sleep(0.3)
        await here.say(wire.Answer(offer.call))
        await call
        assert (await here.until(wire.Gone)).answered


async def test_options_are_answered(folder):
    async with gateway(folder) as up:
        await sipp([request("OPTIONS"), recv(200, has="Allow:")], folder, up.port())


async def test_as_many_calls_as_may_be(folder):
    async with gateway(folder, max_calls=1) as up, worker(up.options.socket) as here:
        first = asyncio.create_task(sipp([*TALK, recv("BYE"), ok()], folder, up.port()))
        call = (await here.until(wire.Up)).call
        await sipp([INVITE, recv(100, optional=True), recv(503, has="Retry-After"), ack()], folder, up.port())
        await here.say(wire.Hangup(call))
        await first
