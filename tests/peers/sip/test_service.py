"""The whole service with SIP: calls by SIPp, and what they see when a process of ours is killed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.peers.sip.peer import peer
from tests.peers.sip.rig import TALK, folder, free_port, inside, needs, ok, pause, recv, sipp
from tests.wire.workers import Node, node, until_dead

pytestmark = pytest.mark.peers
PATIENT = ("-timeout", "90s")
BYE = [inside("BYE", cseq=9), recv(200)]
TOLD = [recv("BYE"), ok()]
_ = folder


@pytest.fixture(autouse=True)
def _needs(monkeypatch: pytest.MonkeyPatch) -> None:
    needs()
    monkeypatch.setenv("TRUNKLINE_SIP", "on")


@asynccontextmanager
async def service(folder: Path, *more: str, workers: int = 1) -> AsyncIterator[tuple[Node, int]]:
    """A node that listens for SIP, and its port."""
    place = f"sip.listen=udp:127.0.0.1:{free_port()}"
    async with node(folder, "--set", place, *more, workers=workers) as run:
        (listening,) = await run.told("gateway.listening")
        await run.told("sip.gateway", workers)
        yield run, int(listening["addresses"][0].rpartition(":")[2])


async def calls(folder: Path, port: int, count: int, then: list[str]) -> "asyncio.Task[None]":
    """So many far ends that talk, then `then`; done when all went as written."""

    async def one() -> None:
        await sipp([*TALK, *then], folder, port, more=PATIENT)

    async def all_of_them() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(one())
                await asyncio.sleep(0.1)  # names of their files are by number

    return asyncio.create_task(all_of_them())


async def test_a_call_is_answered_by_an_agent_and_recorded(folder: Path) -> None:
    async with service(folder) as (run, port):
        await sipp([*TALK, pause(1500), *BYE], folder, port, more=PATIENT)
        (over,) = await run.calls(1, live=False)
        assert (over["carrier"], over["direction"], over["from"], over["to"]) == (
            "sip",
            "inbound",
            "+919800000001",
            "agent",
        )
        assert over["cause"] == "completed"
        assert over["labels"]["line_codec"].startswith("PCMA")
        assert await run.figure("trunkline_sip_gateway_up") == 1
        assert await run.figure("trunkline_sip_calls") == 0
    assert not (folder / "data" / "run" / "sip.sock").exists()


async def test_a_trunk_is_in_the_figures(folder: Path) -> None:
    async with peer() as (far, port):
        trunks = folder / "trunks.toml"
        trunks.write_text(f'[[sip.trunk]]\nname = "acme"\nhost = "127.0.0.1:{port}"\nkeepalive_s = 1.0\n')
        async with service(folder, "--config", str(trunks)) as (run, _port):
            await far.until("OPTIONS", 2)
            assert (await run.ask("GET", "/sip"))[1]["trunks"] == {"acme": "up"}
            figures = str((await run.ask("GET", "/metrics"))[1])
            assert 'trunkline_sip_trunk_up{trunk="acme"} 1.0' in figures
            assert f'trunkline_sip_trunk_server_up{{server="127.0.0.1:{port}",trunk="acme"}} 1.0' in figures


async def test_the_caller_is_transferred_over_the_api(folder: Path) -> None:
    final = ("Event: refer", "Subscription-State: terminated;reason=noresource")
    steps = [
        recv("REFER", has="Refer-To: .?sip:.919800000001@127.0.0.1"),
        ok().replace("200 OK", "202 Accepted"),
        inside("NOTIFY", *final, cseq=2, body="SIP/2.0 200 OK\n", kind="message/sipfrag"),
        recv(200),
        *TOLD,
    ]
    allowed = folder / "allowed.toml"
    allowed.write_text('[sip]\nallow_transfer_to = ["+9198*"]\n')
    async with service(folder, "--config", str(allowed)) as (run, port):
        far_ends = await calls(folder, port, 1, steps)
        (live,) = await run.calls(1, live=True)
        path = f"/calls/{live['id']}"
        assert (await run.ask("POST", path + "/transfer", json={"target": "+35991234567"}))[0] == 409
        assert (await run.ask("POST", path + "/dtmf", json={"keys": "12#"}))[0] == 202
        assert (await run.ask("POST", path + "/transfer", json={"target": "+919800000001"}))[0] == 202
        await far_ends
        (over,) = await run.calls(1, live=False)
        assert (over["cause"], over["code"]) == ("completed", "transferred")


async def test_a_gateway_that_is_killed_costs_its_calls_and_nothing_else(folder: Path) -> None:
    async with service(folder) as (run, port), run.calling(1):
        far_ends = await calls(folder, port, 3, TOLD)
        await run.calls(4, live=True)
        os.kill(run.lines("gateway.started")[0]["pid"], signal.SIGKILL)
        over = await run.calls(3, live=False)
        assert {(call["cause"], call["fault"], call["code"]) for call in over} == {("media_lost", "us", "gateway lost")}
        await far_ends  # each has seen its BYE
        (left,) = await run.calls(1, live=True)
        assert left["carrier"] == "smartflo"
        await run.told("gateway.listening", 2)
        await run.told("sip.gateway", 2)
        await sipp([*TALK, *BYE], folder, port, more=PATIENT)
        assert await run.figure("trunkline_sip_gateway_starts_total") == 2


async def test_a_worker_that_is_killed_leaves_no_far_end_behind(folder: Path) -> None:
    async with service(folder) as (run, port):
        far_ends = await calls(folder, port, 2, TOLD)
        await run.calls(2, live=True)
        os.kill(next(iter(run.pids.values())), signal.SIGKILL)
        await far_ends
        over = await run.calls(2, live=False)
        assert {call["cause"] for call in over} == {"internal"}
        await run.told("sip.gateway", 2)
        await sipp([*TALK, *BYE], folder, port, more=PATIENT)


async def test_a_supervisor_that_is_killed_leaves_neither_calls_nor_processes(folder: Path) -> None:
    async with service(folder) as (run, port):
        far_ends = await calls(folder, port, 2, TOLD)
        await run.calls(2, live=True)
        children = [*run.pids.values(), run.lines("gateway.started")[0]["pid"]]
        os.kill(run.process.pid, signal.SIGKILL)
        await far_ends
        await until_dead(*children)


async def test_a_polite_end_says_bye_and_a_worker_that_drains_gets_no_new_calls(folder: Path) -> None:
    async with service(folder, "--set", "server.drain_s=2") as (run, port):
        far_ends = await calls(folder, port, 1, TOLD)
        await run.calls(1, live=True)
        run.process.send_signal(signal.SIGTERM)
        await run.told("service.draining")
        await sipp([TALK[0], recv(100, optional=True), recv(180, optional=True), recv(503)], folder, port, more=PATIENT)
        await far_ends
        await asyncio.wait_for(run.process.wait(), 60)
        assert run.process.returncode == 0
