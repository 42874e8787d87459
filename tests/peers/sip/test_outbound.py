"""Calls of ours, answered by SIPp: one behaviour each."""

import asyncio
import json

import pytest

from tests.peers.sip.rig import (
    PATIENCE_S,
    SDP,
    TALK,
    folder,
    free_port,
    from_callee,
    gateway,
    needs,
    ok,
    pause,
    recv,
    reply,
    sipp,
    worker,
)
from trunkline.bridge.sip import messages as wire

pytestmark = pytest.mark.peers
ANSWER = [recv("INVITE"), reply(180, "Ringing"), reply(200, "OK", "X-Who: me", body=SDP), recv("ACK")]
_ = folder  # a fixture, asked for by its name


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


def journal(folder):
    return [json.loads(line) for line in (folder / "journal").read_text().splitlines()]


def trunk(port: int, **fields: object) -> dict[str, object]:
    return {"name": "carrier", "host": f"127.0.0.1:{port}", "user": "4980", **fields}


async def test_a_call_through_a_trunk(folder):
    port = free_port()
    own = trunk(port, headers=(("X-Account", "17"),))
    shown = "From: .Clinic. .sip:.918069000000@127.0.0.1:.*X-Account: 17.*X-Ref: a1"
    steps = [recv("INVITE", has=shown.split(".*")[2]), *ANSWER[1:], recv("BYE"), ok()]
    async with gateway(folder, trunks=(own,)) as up, worker(up.options.socket) as here:
        far = asyncio.create_task(sipp(steps, folder, up.port(), listen=port))
        await asyncio.sleep(0.3)
        call = await here.dial(
            "+919800000002", trunk="carrier", from_="+918069000000", display="Clinic", headers={"X-Ref": "a1"}
        )
        assert (await here.until(wire.Progress)).code == 180
        told = await here.until(wire.Up)
        assert (told.codec, told.digits, told.headers) == ("PCMA/8000", True, {"X-Who": "me"})
        await here.say(wire.Hangup(call))
        gone = await here.until(wire.Gone)
        await far
        assert (gone.by, gone.answered, gone.code) == ("us", True, 200)
        sent = (folder / "messages0").read_text()
        assert 'From: "Clinic" <sip:+918069000000@127.0.0.1' in sent
        assert "X-Ref: a1" in sent
        assert "INVITE sip:+919800000002@127.0.0.1" in sent


@pytest.mark.parametrize(("code", "reason"), [(486, "Busy Here"), (404, "Not Found"), (603, "Decline"), (503, "No")])
async def test_a_refusal_is_told_word_for_word(folder, code, reason):
    port = free_port()
    async with gateway(folder) as up, worker(up.options.socket) as here:
        far = asyncio.create_task(
            sipp([recv("INVITE"), reply(code, reason), recv("ACK")], folder, up.port(), listen=port)
        )
        await asyncio.sleep(0.3)
        await here.dial(f"sip:x@127.0.0.1:{port}")
        gone = await here.until(wire.Gone)
        await far
    assert (gone.code, gone.reason, gone.answered, gone.by) == (code, reason, False, "far")


async def test_hang_up_while_it_rings_is_a_cancel(folder):
    port = free_port()
    end = [recv("CANCEL"), ok(), reply(487, "Request Terminated").replace("CANCEL", "INVITE"), recv("ACK")]
    end[2] = end[2].replace("[last_CSeq:]", "CSeq: [$number] INVITE")
    steps = [recv("INVITE"), reply(180, "Ringing"), recv("CANCEL"), ok()]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        far = asyncio.create_task(sipp(steps, folder, up.port(), listen=port))
        await asyncio.sleep(0.3)
        call = await here.dial(f"sip:x@127.0.0.1:{port}")
        await here.until(wire.Progress)
        await here.say(wire.Hangup(call))
        gone = await here.until(wire.Gone)
        await far
    assert (gone.by, gone.answered, gone.code) == ("us", False, 487)


async def test_nobody_answers_within_the_ringing_time(folder):
    port = free_port()
    steps = [recv("INVITE"), reply(180, "Ringing"), recv("CANCEL"), ok()]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        far = asyncio.create_task(sipp(steps, folder, up.port(), listen=port))
        await asyncio.sleep(0.3)
        await here.dial(f"sip:x@127.0.0.1:{port}", ring_s=1.0)
        gone = await here.until(wire.Gone)
        await far
    assert (gone.by, gone.code, gone.note) == ("gateway", 408, "ring time")


async def test_early_media_is_progress_not_an_answer(folder):
    port = free_port()
    steps = [recv("INVITE"), reply(183, "Session Progress", body=SDP), pause(500), reply(486, "Busy Here"), recv("ACK")]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        far = asyncio.create_task(sipp(steps, folder, up.port(), listen=port))
        await asyncio.sleep(0.3)
        await here.dial(f"sip:x@127.0.0.1:{port}")
        await here.until(wire.Progress, code=183, media=True)
        assert (await here.until(wire.Gone)).code == 486
        await far
        assert not [told for told in here.told if isinstance(told, wire.Up)]


async def test_credentials_are_given_to_a_trunk_that_asks(folder):
    port = free_port()
    asks = reply(407, "Asks", 'Proxy-Authenticate: Digest realm="r", nonce="n1", algorithm=MD5, qop="auth"')
    steps = [recv("INVITE"), asks, recv("ACK"), recv("INVITE", has="Proxy-Authorization: Digest"), *ANSWER[1:]]
    async with gateway(folder, trunks=(trunk(port, password="secret"),)) as up, worker(up.options.socket) as here:
        far = asyncio.create_task(sipp([*steps, recv("BYE"), ok()], folder, up.port(), listen=port))
        await asyncio.sleep(0.3)
        call = await here.dial("1234", trunk="carrier")
        await here.until(wire.Up)
        await here.say(wire.Hangup(call))
        await far
        assert 'username="4980"' in (folder / "messages0").read_text()


async def test_what_cannot_be_dialled_is_said(folder):
    async with gateway(folder) as up, worker(up.options.socket) as here:
        for to, name in (("123", ""), ("123", "nobody"), ("sip:", "")):
            slot = here.free.pop(0)
            await here.say(wire.Dial(slot, slot, to, name))
            placed = await here.until(wire.Placed, ask=slot)
            assert placed.call == 0
            assert placed.reason
        assert (await up.stopped())["live"] == 0


async def test_keys_for_the_far_end_by_info(folder):
    port = free_port()
    plain = SDP.replace(" 101", "").replace("a=rtpmap:101 telephone-event/8000\na=fmtp:101 0-15\n", "")
    steps = [
        *ANSWER[:2],
        reply(200, "OK", body=plain),
        recv("ACK"),
        recv("INFO", has="Signal=4"),
        ok(),
        recv("INFO"),
        ok(),
    ]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        far = asyncio.create_task(sipp([*steps, recv("BYE"), ok()], folder, up.port(), listen=port))
        await asyncio.sleep(0.3)
        call = await here.dial(f"sip:x@127.0.0.1:{port}")
        assert not (await here.until(wire.Up)).digits
        await here.say(wire.SendDigits(call, "4,2"))
        await asyncio.sleep(1.5)
        await here.say(wire.Hangup(call))
        await far


async def test_hold_and_resume_by_us(folder):
    port = free_port()
    held = SDP + "a=recvonly\n"
    steps = [recv("INVITE", has="a=sendonly"), ok("Contact: <sip:c@127.0.0.1:[local_port]>", body=held), recv("ACK")]
    again = [recv("INVITE", has="a=sendrecv"), ok("Contact: <sip:c@127.0.0.1:[local_port]>", body=SDP), recv("ACK")]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        far = asyncio.create_task(sipp([*ANSWER, *steps, *again, recv("BYE"), ok()], folder, up.port(), listen=port))
        await asyncio.sleep(0.3)
        call = await here.dial(f"sip:x@127.0.0.1:{port}")
        await here.until(wire.Up)
        await here.say(wire.Hold(call, True))
        await asyncio.sleep(0.5)
        await here.say(wire.Hold(call, False))
        await asyncio.sleep(0.5)
        await here.say(wire.Hangup(call))
        await far


async def test_a_transfer_of_ours_goes_on_by_notify(folder):
    port = free_port()
    event = ("Event: refer", "Subscription-State: active;expires=60")
    final = ("Event: refer", "Subscription-State: terminated;reason=noresource")
    steps = [
        recv("INVITE", keep=True),
        *ANSWER[1:],
        recv("REFER", has="Refer-To: .?sip:desk@192.0.2.9"),
        ok().replace("200 OK", "202 Accepted"),
        from_callee("NOTIFY", *event, body="SIP/2.0 180 Ringing\n", cseq=1),
        recv(200),
        from_callee("NOTIFY", *final, body="SIP/2.0 200 OK\n", cseq=2),
        recv(200),
        recv("BYE"),
        ok(),
    ]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        far = asyncio.create_task(sipp(steps, folder, up.port(), listen=port))
        await asyncio.sleep(0.3)
        call = await here.dial(f"sip:x@127.0.0.1:{port}")
        await here.until(wire.Up)
        await here.say(wire.Refer(call, "sip:desk@192.0.2.9"))
        last = await here.until(wire.ReferProgress, final=True)
        await here.say(wire.Hangup(call))
        await far
    assert last.code == 200
    assert [told.code for told in here.told if isinstance(told, wire.ReferProgress)] == [202, 180, 200]


async def test_a_transfer_that_is_refused(folder):
    port = free_port()
    steps = [*ANSWER, recv("REFER"), ok().replace("200 OK", "603 Decline"), recv("BYE"), ok()]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        far = asyncio.create_task(sipp(steps, folder, up.port(), listen=port))
        await asyncio.sleep(0.3)
        call = await here.dial(f"sip:x@127.0.0.1:{port}")
        await here.until(wire.Up)
        await here.say(wire.Refer(call, "sip:desk@192.0.2.9"))
        last = await here.until(wire.ReferProgress, final=True)
        await here.say(wire.Hangup(call))
        await far
    assert last.code == 603


async def test_registration_with_credentials(folder):
    port = free_port()
    asks = reply(401, "Asks", 'WWW-Authenticate: Digest realm="r", nonce="n1", algorithm=MD5, qop="auth"')
    given = "Contact: <sip:4980@127.0.0.1>;expires=300"
    asks = asks.replace(' retrans="500"', "")  # nobody acknowledges it
    steps = [
        recv("REGISTER"),
        asks,
        recv("REGISTER", has="Authorization: Digest"),
        ok(given, "Expires: 300").replace("[last_To:]", "[last_To:];tag=r"),
    ]
    own = trunk(port, password="secret", register=True, auth_user="auth4980")
    far = asyncio.create_task(sipp(steps, folder, 5060, listen=port))
    await asyncio.sleep(0.3)
    async with gateway(folder, trunks=(own,)) as up, worker(up.options.socket) as here:
        welcome = await here.until(wire.Welcome)
        if welcome.trunks["carrier"] != "up":
            await here.until(wire.TrunkState, state="up")
        await far
        assert 'username="auth4980"' in (folder / "messages0").read_text()


async def test_a_trunk_is_asked_whether_it_lives(folder):
    port = free_port()
    own = trunk(port, keepalive_s=0.5)
    async with gateway(folder, trunks=(own,)) as up, worker(up.options.socket) as here:
        await sipp([recv("OPTIONS"), ok().replace("[last_To:]", "[last_To:];tag=r")], folder, up.port(), listen=port)
        await here.until(wire.TrunkState, state="up")


async def test_a_killed_gateways_far_ends_hear_bye_from_its_successor(folder):
    port = free_port()
    talking = [*ANSWER, recv("BYE", has="Reason: SIP"), ok()]
    far = asyncio.create_task(sipp(talking, folder, 5060, listen=port))
    await asyncio.sleep(0.3)
    async with gateway(folder) as up, worker(up.options.socket) as here:
        await here.dial(f"sip:x@127.0.0.1:{port}")
        await here.until(wire.Up)
        await up.killed()
    async with gateway(folder) as up:
        await far
        async with asyncio.timeout(PATIENCE_S):
            while [line["type"] for line in journal(folder)] != ["up", "over"]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        figures = await up.stopped()  # SIPp answers to where the first gateway was
        assert figures.get("left_ended", 0) + figures.get("left_unanswered", 0) == 1


async def test_who_called_a_killed_gateway_hears_bye_too(folder):
    steps = [*TALK, recv("BYE", has="Reason: SIP"), ok()]
    async with gateway(folder) as up, worker(up.options.socket) as here:
        far = asyncio.create_task(sipp(steps, folder, up.port()))
        await here.until(wire.Up)
        await up.killed()
    async with gateway(folder):
        await far


async def test_a_killed_gateways_ringing_calls_are_cancelled(folder):
    port = free_port()
    steps = [recv("INVITE"), reply(180, "Ringing"), recv("CANCEL"), ok()]
    far = asyncio.create_task(sipp(steps, folder, 5060, listen=port))
    await asyncio.sleep(0.3)
    async with gateway(folder) as up, worker(up.options.socket) as here:
        await here.dial(f"sip:x@127.0.0.1:{port}")
        await here.until(wire.Progress)
        await up.killed()
    async with gateway(folder):
        await far


async def test_a_gateway_that_is_told_to_go_says_bye(folder):
    port = free_port()
    far = asyncio.create_task(sipp([*ANSWER, recv("BYE"), ok()], folder, 5060, listen=port))
    await asyncio.sleep(0.3)
    async with gateway(folder) as up, worker(up.options.socket) as here:
        await here.dial(f"sip:x@127.0.0.1:{port}")
        await here.until(wire.Up)
        await up.stopped()
        assert (await here.until(wire.Gone)).by == "gateway"
    await far
    assert [line["type"] for line in journal(folder)][-1] == "over"
