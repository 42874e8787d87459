"""Workers that come and go: nobody is refused, nothing is left behind."""

import asyncio
import signal
import time
from collections import Counter
from pathlib import Path

import aiohttp
import pytest

from tests.wire.service import PATIENCE_S, Caller
from tests.wire.workers import Node, lives, node, until_dead

pytestmark = pytest.mark.wire
EVERY_S = 0.05


async def short_call(run: Node, outcomes: Counter[str]) -> None:
    """One call of a few frames, and how it went."""
    try:
        async with run.client.ws_connect(run.url.replace("http", "ws", 1) + "/smartflo/audio") as socket:
            caller = Caller(socket)
            await caller.start()
            await caller.speak(0.2)
            await caller.stop()
            outcomes[f"closed {await caller.until_closed()}"] += 1
    except (aiohttp.ClientError, OSError) as wrong:
        outcomes[repr(wrong)] += 1


async def recorded(run: Node) -> int:
    """Calls that are over, page by page."""
    count, cursor = 0, ""
    while True:
        _, page = await run.ask("GET", f"/calls?live=false&limit=200&cursor={cursor}")
        count, cursor = count + len(page["calls"]), page["next"]
        if cursor is None:
            return count


async def keep_talking(callers: list[Caller]) -> None:
    """A line that says nothing for long is hung up."""
    while True:
        await asyncio.gather(*(caller.speak(0.1) for caller in callers))
        await asyncio.sleep(1)


async def test_a_rolling_restart_refuses_nobody_and_cuts_nobody(tmp_path: Path) -> None:
    outcomes: Counter[str] = Counter()
    async with node(tmp_path) as run, run.calling(2) as callers:
        old = dict(run.pids)
        async with asyncio.TaskGroup() as group:
            talking = group.create_task(keep_talking(callers))
            sent, until = 0, time.monotonic() + 4 * PATIENCE_S
            while not run.lines("supervisor.rolled") or sent < 40:
                group.create_task(short_call(run, outcomes))
                sent += 1
                if sent == 10:
                    run.process.send_signal(signal.SIGHUP)
                await asyncio.sleep(EVERY_S)
                assert time.monotonic() < until
            await run.told("service.draining", 2)  # from now on nobody else is connected to the old ones
            talking.cancel()
        assert outcomes == {"closed 1000": sent}
        assert all(map(lives, old.values()))  # they still carry a call each
        assert (await run.ask("GET", "/ready"))[0] == 200
        held = await run.calls(2, live=True)
        assert (await run.ask("GET", "/"))[1]["active_calls"] == 2
        for caller in callers:
            await caller.speak(0.1)
            await caller.stop()
            assert await caller.until_closed() == 1000
        await until_dead(*old.values())
        ends = [(await run.ask("GET", f"/calls/{call['id']}"))[1]["cause"] for call in held]
        assert ends == ["completed"] * 2  # their goodbye was heard; a deaf worker ends them for their silence
        assert await recorded(run) == sent + 2
        assert await run.figure("trunkline_calls_total") == sent + 2  # those of the old workers included


async def test_a_rolling_restart_into_a_wrong_configuration_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[limits]\nmax_calls = 5\n")
    async with node(tmp_path) as run:
        (tmp_path / "config.toml").write_text("[limits]\nmax_cals = 6\n")
        run.process.send_signal(signal.SIGHUP)
        (line,) = await run.told("supervisor.not_rolled")
        assert "max_calls" in line["why"]
        (tmp_path / "config.toml").write_text("[limits]\nmax_calls = 7\n")
        run.process.send_signal(signal.SIGHUP)
        await run.told("supervisor.rolled")
        assert await run.figure("trunkline_calls_limit") == 7


async def test_sigterm_lets_the_calls_of_all_workers_finish(tmp_path: Path) -> None:
    async with node(tmp_path) as run, run.calling(4) as callers:
        run.process.send_signal(signal.SIGTERM)
        await asyncio.gather(*(caller.speak(0.5) for caller in callers))
        async with asyncio.timeout(PATIENCE_S):
            while (await run.ask("GET", "/ready"))[0] != 503:
                await asyncio.gather(*(caller.speak(0.1) for caller in callers))
        assert run.process.returncode is None
        for caller in callers:
            await caller.stop()
            assert await caller.until_closed() == 1000
        assert await asyncio.wait_for(run.process.wait(), PATIENCE_S) == 0
        assert not any(map(lives, run.pids.values()))
        assert list((tmp_path / "data" / "workers").iterdir()) == []


async def test_no_orphan_is_left_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    async with node(tmp_path) as run, run.calling(2) as callers:
        run.process.kill()
        await asyncio.gather(*(caller.speak(0.3) for caller in callers))
        assert all(map(lives, run.pids.values()))  # calls may finish
        with pytest.raises(aiohttp.ClientConnectorError):
            await run.ask("GET", "/")
        for caller in callers:
            await caller.stop()
            assert await caller.until_closed() == 1000
        await until_dead(*run.pids.values())
