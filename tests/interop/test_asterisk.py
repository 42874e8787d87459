"""A real Asterisk: we are an extension of it. Calls both ways, voices recorded there, keys, hold, transfer."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.asterisk_ami import Manager, manager
from tests.interop.asterisk_rig import Asterisk, asterisk
from tests.interop.baresip_rig import Baresip, baresip
from tests.interop.desk import desk
from tests.interop.service import answered, as_toml, recording, service, until_said
from tests.interop.sound import alike, speech, voiced_s
from tests.peers.sip.rig import folder, needs

pytestmark = pytest.mark.interop
HOURS = "what are your opening hours"
DESK = "this is the front desk speaking how may i help you today please tell me"
_ = folder


@pytest.fixture(autouse=True)
def _needs(monkeypatch: pytest.MonkeyPatch) -> None:
    needs()
    monkeypatch.setenv("TRUNKLINE_SIP", "on")


@pytest.fixture
def pbx(folder: Path) -> Iterator[Asterisk]:
    speech(folder / "desk.wav", DESK, after_s=0.5)
    with asterisk(folder) as here:
        yield here


async def calls_us(pbx: Asterisk, phone: Baresip, there: Manager) -> str:
    """Extension 200 calls extension 100; Asterisk's name of its channel to us."""
    await phone.registered()
    await phone.does("dial", f"sip:100@127.0.0.1:{pbx.sip}")
    await phone.until("CALL_ESTABLISHED")
    return (await there.until("DialEnd", DialStatus="ANSWER"))["DestChannel"]


async def test_a_telephone_calls_our_extension_and_both_voices_are_recorded_there(folder: Path, pbx: Asterisk) -> None:
    async with (
        service(folder, as_toml("sip.trunk", pbx.trunk)) as (run, _),
        baresip(folder / "phone", pbx.phone) as phone,
        manager(pbx.ami) as there,
    ):
        await run.told("trunk.changed")
        await calls_us(pbx, phone, there)
        await answered(run, phone, speech(folder / "question.wav", HOURS))
        (call,) = await run.calls(1, live=False)
        assert (call["from"], call["to"], call["cause"]) == ("200", "100", "completed")
        assert call["turns"][1]["caller_text"] == HOURS
        assert 0.7 < voiced_s(folder / "caller.wav") < 3  # the question
        assert alike(folder / "callee.wav", await recording(run, call)) > 0.8


async def test_keys_both_ways_and_hold(folder: Path, pbx: Asterisk) -> None:
    async with (
        service(folder, as_toml("sip.trunk", pbx.trunk)) as (run, _),
        baresip(folder / "phone", pbx.phone) as phone,
        manager(pbx.ami) as there,
    ):
        await run.told("trunk.changed")
        channel = await calls_us(pbx, phone, there)
        (call,) = await run.calls(1, live=True)
        await until_said(run, 0, "agent_to_s")
        assert (await run.ask("POST", f"/calls/{call['id']}/dtmf", json={"keys": "37#"}))[0] == 202
        await there.pressed("PJSIP/100", "37#")
        for key in "42":
            await there.does("PlayDTMF", Channel=channel, Digit=key, Duration="120")
            await asyncio.sleep(0.5)
        await phone.does("hold")
        await there.until("Hold")
        await asyncio.sleep(1)
        await phone.does("resume")
        await there.until("Unhold")
        await asyncio.sleep(1)
        await phone.does("hangup")
        (over,) = await run.calls(1, live=False)
        assert over["counters"]["digits_rfc4733"] == 2
        assert "".join(turn["keys"] for turn in over["turns"]) == "42"
        assert over["counters"]["holds"] == 1
        assert (over["cause"], over["fault"]) == ("completed", "caller")


async def test_a_blind_transfer_hands_the_telephone_to_another_extension(folder: Path, pbx: Asterisk) -> None:
    allowed = '[sip]\nallow_transfer_to = ["300"]\n'
    async with (
        service(folder, allowed + as_toml("sip.trunk", pbx.trunk)) as (run, _),
        baresip(folder / "phone", pbx.phone) as phone,
        manager(pbx.ami) as there,
    ):
        await run.told("trunk.changed")
        await calls_us(pbx, phone, there)
        (call,) = await run.calls(1, live=True)
        await until_said(run, 0, "agent_to_s")
        assert (await run.ask("POST", f"/calls/{call['id']}/transfer", json={"target": "300"}))[0] == 202
        assert (await there.until("UserEvent", UserEvent="Desk"))["From"] == "200"
        (over,) = await run.calls(1, live=False)
        assert (over["cause"], over["code"]) == ("completed", "transferred")
        await spoken(folder / "desk-callee.wav", 1.5)  # the telephone hears the desk
        assert not [one for one in phone.told if one.get("type") == "CALL_CLOSED"]


async def test_a_warm_transfer_is_briefed_taken_and_joined(folder: Path, pbx: Asterisk) -> None:
    allowed = '[sip]\nallow_transfer_to = ["310"]\n'
    async with (
        service(folder, allowed + as_toml("sip.trunk", pbx.trunk)) as (run, _),
        baresip(folder / "phone", pbx.phone) as phone,
        manager(pbx.ami) as there,
    ):
        await run.told("trunk.changed")
        await calls_us(pbx, phone, there)
        (call,) = await run.calls(1, live=True)
        await until_said(run, 0, "agent_to_s")
        wish = {"target": "310", "mode": "warm", "brief": "A guest wants to know when you are open."}
        assert (await run.ask("POST", f"/calls/{call['id']}/transfer", json=wish))[0] == 202
        assert (await there.until("AttendedTransfer"))["Result"] == "Success"
        before = voiced_s(phone.heard)
        await spoken(phone.heard, before + 1.5)  # the telephone hears the desk
        assert voiced_s(folder / "desk-caller.wav") > 3  # which has heard what it is about
        await phone.does("hangup")
        (over,) = await run.calls(1, live=False)
        assert over["cause"] == "completed"
        assert over["code"] == "transferred"


async def test_we_call_a_telephone_through_it(folder: Path, pbx: Asterisk) -> None:
    async with (
        desk(folder, {"trunk": [pbx.trunk]}) as own,
        baresip(folder / "phone", pbx.phone + ";answermode=auto") as phone,
    ):
        await own.up("pbx")
        await phone.registered()
        placing = own.place("200", "pbx")
        await answered(own.run, phone, speech(folder / "question.wav", HOURS))
        record = await placing
        assert (record.direction, record.cause, record.fault) == ("outbound", "completed", "callee")
        assert record.turns[1].caller_text == HOURS
        (call,) = await own.run.calls(1, live=False)
        assert alike(folder / "caller.wav", await recording(own.run, call)) > 0.8  # who called is the agent
        assert 0.7 < voiced_s(folder / "callee.wav") < 3


@pytest.mark.parametrize(("number", "rate"), [("500", 8000), ("501", 8000), ("502", 16_000)])
async def test_audiosocket_as_an_application_and_as_a_channel(
    folder: Path, pbx: Asterisk, number: str, rate: int
) -> None:
    listen = as_toml("audiosocket", {"listen": f"127.0.0.1:{pbx.audiosocket}", "rate": rate})
    async with service(folder, listen) as (run, _), baresip(folder / "phone", pbx.phone) as phone:
        await phone.registered()
        await phone.does("dial", f"sip:{number}@127.0.0.1:{pbx.sip}")
        await answered(run, phone, speech(folder / "question.wav", HOURS))
        (call,) = await run.calls(1, live=False)
        assert call["turns"][1]["caller_text"] == HOURS
        assert (call["carrier"], call["cause"], call["fault"]) == ("audiosocket", "completed", "caller")
        assert 0.7 < voiced_s(folder / "caller.wav") < 3
        assert alike(folder / "callee.wav", await recording(run, call)) > 0.8
        assert odd_of(call) == {}


async def test_after_our_hang_up_the_dialplan_behind_audiosocket_goes_on(folder: Path, pbx: Asterisk) -> None:
    listen = as_toml("audiosocket", {"listen": f"127.0.0.1:{pbx.audiosocket}"})
    async with (
        service(folder, listen) as (run, _),
        baresip(folder / "phone", pbx.phone) as phone,
        manager(pbx.ami) as there,
    ):
        await phone.registered()
        await phone.does("dial", f"sip:500@127.0.0.1:{pbx.sip}")
        (call,) = await run.calls(1, live=True)
        await there.until("MixMonitorStart")
        for key in "7*":
            await phone.does("sndcode", key)
            await asyncio.sleep(0.6)
        assert (await run.ask("POST", f"/calls/{call['id']}/hangup"))[0] == 202
        await there.until("UserEvent", UserEvent="AudioSocketOver")
        (over,) = await run.calls(1, live=False)
        assert "".join(turn["keys"] for turn in over["turns"]) == "7*"
        assert over["cause"] == "operator"


async def spoken(wav: Path, seconds: float) -> None:
    """Once a file that is being written has so much speech."""
    async with asyncio.timeout(20):
        while voiced_s(wav) < seconds:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.5)


def odd_of(call: dict[str, Any]) -> dict[str, int]:
    """What was odd about its wire."""
    return {name: count for name, count in call["counters"].items() if name != "sent_after_end"}
