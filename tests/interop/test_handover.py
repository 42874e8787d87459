"""The whole service hands callers on by a second line of its own: SIPp calls, SIPp is called."""

import asyncio
import os
import signal
from pathlib import Path

import pytest

from tests.peers.sip.rig import (
    SDP,
    TALK,
    folder,
    free_port,
    from_callee,
    inside,
    needs,
    ok,
    pause,
    recv,
    reply,
    request,
    sipp,
)
from tests.peers.sip.test_service import PATIENT, TOLD, service
from tests.wire.workers import Node

pytestmark = pytest.mark.interop
_ = folder
BYE = [inside("BYE", cseq=9), recv(200)]
HASTY = ("-timeout", "20s")
DESK = [recv("INVITE", keep=True), reply(180, "Ringing"), pause(500), reply(200, "OK", body=SDP), recv("ACK")]


@pytest.fixture(autouse=True)
def _needs(monkeypatch: pytest.MonkeyPatch) -> None:
    needs()
    monkeypatch.setenv("TRUNKLINE_SIP", "on")


def allowed(folder: Path) -> tuple[str, str]:
    file = folder / "allowed.toml"
    file.write_text('[sip]\nallow_transfer_to = ["sip:*@127.0.0.1:*"]\n')
    return "--config", str(file)


def key(digit: str) -> list[str]:
    info = from_callee("INFO", body=f"Signal={digit}\nDuration=160\n", kind="application/dtmf-relay", cseq=3)
    return [info, recv(200)]


async def test_a_far_end_that_knows_no_refer_is_joined_with_whom_we_call(folder: Path) -> None:
    refused = [recv("REFER"), ok().replace("200 OK", "405 Method Not Allowed")]
    caller = [*TALK, *refused, *TOLD]
    desk = [*DESK, pause(1000), from_callee("BYE", cseq=9), recv(200)]
    port = free_port()
    async with service(folder, *allowed(folder)) as (run, own):
        ends = [asyncio.create_task(sipp(desk, folder, own, listen=port, more=PATIENT))]
        await asyncio.sleep(0.3)
        ends.append(asyncio.create_task(sipp(caller, folder, own, more=PATIENT)))
        (live,) = await run.calls(1, live=True)
        path = f"/calls/{live['id']}/transfer"
        assert (await run.ask("POST", path, json={"target": f"sip:desk@127.0.0.1:{port}"}))[0] == 202
        await asyncio.gather(*ends)
        (over,) = await run.calls(1, live=False)
    assert (over["cause"], over["code"], over["labels"]["transferred_by"]) == ("completed", "transferred", "bridged")


async def test_a_gateway_that_is_killed_while_lines_are_joined_is_told_as_that(folder: Path) -> None:
    """Its successor says BYE to both far ends; one REFER is never answered."""
    port = free_port()
    with (folder / "allowed.toml").open("w") as file:
        file.write('[sip]\nallow_transfer_to = ["sip:*@127.0.0.1:*"]\nrefer_answer_s = 1.0\n')

    async def joined(path: str) -> bool:
        return (await run.ask("GET", path))[1]["labels"].get("transferred_by") == "bridged"

    async with service(folder, "--config", str(folder / "allowed.toml")) as (run, own):
        ends = [asyncio.create_task(sipp([*DESK, *TOLD], folder, own, listen=port, more=PATIENT))]
        await asyncio.sleep(0.3)
        ends.append(asyncio.create_task(sipp([*TALK, recv("REFER"), *TOLD], folder, own, more=PATIENT)))
        (live,) = await run.calls(1, live=True)
        path = f"/calls/{live['id']}"
        assert (await run.ask("POST", path + "/transfer", json={"target": f"sip:desk@127.0.0.1:{port}"}))[0] == 202
        async with asyncio.timeout(20):
            while not await joined(path):  # noqa: ASYNC110  the API tells nobody of itself
                await asyncio.sleep(1)
        assert (await run.ask("POST", path + "/dtmf", json={"keys": "1"}))[0] == 409
        os.kill(run.lines("gateway.started")[0]["pid"], signal.SIGKILL)
        await asyncio.gather(*ends)
        (over,) = await run.calls(1, live=False)
    assert (over["cause"], over["fault"], over["code"]) == ("media_lost", "us", "gateway lost")
    assert over["labels"]["transferred_by"] == "bridged"


async def test_a_person_who_is_told_first_takes_the_call_or_does_not(folder: Path) -> None:
    """The first one declines: the caller is back with the agent, who says so; the second one takes it."""
    ports = free_port(), free_port()
    desks = [
        [*DESK, pause(1500), *key("2"), *TOLD],
        [*DESK, pause(1500), *key("1"), *TOLD],
    ]
    caller = [*TALK, pause(14_000), inside("BYE", cseq=9), recv(200)]
    async with service(folder, *allowed(folder)) as (run, own):
        ends = []
        for desk, port in zip(desks, ports, strict=True):
            ends.append(asyncio.create_task(sipp(desk, folder, own, listen=port, more=PATIENT)))
            await asyncio.sleep(0.3)
        ends.append(asyncio.create_task(sipp(caller, folder, own, more=PATIENT)))
        (live,) = await run.calls(1, live=True)
        for number, port in enumerate(ports):
            body = {"target": f"sip:desk@127.0.0.1:{port}", "mode": "warm", "brief": "Anna, about her order."}
            assert (await run.ask("POST", f"/calls/{live['id']}/transfer", json=body))[0] == 202
            if number == 0:
                await ends[0]
                await asyncio.sleep(0.5)
        await asyncio.gather(*ends)
        (over,) = await run.calls(1, live=False)
    assert (over["code"], over["labels"]["transferred_by"]) == ("transferred", "bridged")


async def test_a_caller_who_hands_the_agent_on_to_somebody_else(folder: Path) -> None:
    """REFER to us: the agent's call goes on with whom the caller named, and is one call in the record."""
    port = free_port()
    target = f"sip:desk@127.0.0.1:{port}"
    told = [recv("NOTIFY", has="SIP/2.0 100"), ok(), recv("NOTIFY", has="SIP/2.0 180"), ok()]
    leaves = [recv("NOTIFY", has="SIP/2.0 200"), ok(), inside("BYE", cseq=9), recv(200)]
    caller = [*TALK, pause(500), inside("REFER", f"Refer-To: <{target}>"), recv(202), *told, *leaves]
    desk = [*DESK, pause(1500), from_callee("BYE", cseq=9), recv(200)]
    async with service(folder, *allowed(folder)) as (run, own):
        there = asyncio.create_task(sipp(desk, folder, own, listen=port, more=PATIENT))
        await asyncio.sleep(0.3)
        await sipp(caller, folder, own, more=PATIENT)
        (live,) = await run.calls(1, live=True)
        await there
        (over,) = await run.calls(1, live=False)
        assert over["id"] == live["id"]
        assert await run.figure("trunkline_sip_slots_taken") == 0
    assert (over["cause"], over["fault"]) == ("completed", "caller")
    assert over["counters"]["handed_on"] == 1


async def newest(run: Node, known: set[str]) -> str:
    """The call that was not there before."""
    async with asyncio.timeout(20):
        while True:
            _, page = await run.ask("GET", "/calls?limit=200")
            if fresh := {call["id"] for call in page["calls"]} - known:
                return fresh.pop()
            await asyncio.sleep(0.1)


async def test_whoever_hangs_up_at_whatever_moment_leaves_nothing_behind(folder: Path) -> None:
    """Callers leave before, while and after it rings elsewhere; desks as well, some at the same time."""
    moments = [*((0.6 * number, 1.0 + 0.3 * (number % 5)) for number in range(11)), (10.0, 1.0)]  # one stays, surely
    invite = request("INVITE", "Allow: INVITE, ACK, BYE, CANCEL", body=SDP)
    async with service(folder, *allowed(folder)) as (run, own):
        ends, known = [], set[str]()
        for caller_s, desk_s in moments:
            port = free_port()
            desk = [*DESK, pause(round(1000 * desk_s)), from_callee("BYE", cseq=9), recv(200)]
            ends.append(asyncio.create_task(sipp(desk, folder, own, listen=port, more=HASTY)))
            await asyncio.sleep(0.2)
            caller = [invite, *TALK[1:], pause(round(1000 * caller_s)), *BYE]
            ends.append(asyncio.create_task(sipp(caller, folder, own, more=HASTY)))
            known.add(call := await newest(run, known))
            body = {"target": f"sip:desk@127.0.0.1:{port}"}
            assert (await run.ask("POST", f"/calls/{call}/transfer", json=body))[0] in (202, 409)
        await asyncio.gather(*ends, return_exceptions=True)  # not each hears what it waits for
        over = await run.calls(len(moments), live=False)
        assert not await run.calls(0, live=True)
        assert await run.figure("trunkline_sip_slots_taken") == 0
        assert await run.figure("trunkline_sip_calls") == 0
        assert {call["cause"] for call in over} <= {"completed", "abandoned"}
        assert {call["code"] for call in over} >= {"transferred"}
        assert not run.lines("gateway.failed")
