"""Going down without hurting anybody: in the same process, and as a real process with real signals."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.wire.service import PATIENCE_S, Caller, calling, running

pytestmark = pytest.mark.wire


async def test_live_calls_finish_and_new_ones_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path) as run, calling(run) as caller:
        await run.calls(1, live=True)
        draining = asyncio.create_task(run.service.drain(2 * PATIENCE_S))
        await asyncio.sleep(0.05)
        assert (await run.get("/ready"))[0] == 503
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await run.client.ws_connect(run.socket_url + "/smartflo/audio")
        assert refused.value.status == 503
        await caller.speak(0.2)
        assert not draining.done()
        await caller.stop()
        await caller.until_closed()
        await asyncio.wait_for(draining, PATIENCE_S)
        (call,) = await run.calls(1, live=False)
        assert call["cause"] in ("completed", "abandoned")


async def test_what_is_not_over_at_the_limit_is_cut_and_recorded_as_drained(tmp_path: Path) -> None:
    async with running(tmp_path) as run, calling(run) as caller:
        await run.calls(1, live=True)
        code, _ = await asyncio.gather(caller.until_closed(), run.service.drain(0.1))
        assert code == 1000
        (call,) = await run.calls(1, live=False)
        assert (call["cause"], call["fault"]) == ("drained", "us")


async def test_a_call_between_handshake_and_first_words_is_waited_for_or_told(tmp_path: Path) -> None:
    async with running(tmp_path) as run, run.client.ws_connect(run.socket_url + "/smartflo/audio") as early:
        draining = asyncio.create_task(run.service.drain(2 * PATIENCE_S))
        await asyncio.sleep(0.05)
        caller = Caller(early)
        await caller.start()
        await caller.speak(0.2)
        assert not draining.done()
        await caller.stop()
        await caller.until_closed()
        await asyncio.wait_for(draining, PATIENCE_S)
        assert len(await run.calls(1, live=False)) == 1
    async with running(tmp_path) as run, run.client.ws_connect(run.socket_url + "/smartflo/audio") as late:
        await run.service.drain(0.1)
        caller = Caller(late)
        await caller.start()
        assert await caller.until_closed() == 1000
        assert len(await run.calls(1, live=False)) == 1  # the one of before


async def serve(tmp_path: Path, *more: str) -> tuple[asyncio.subprocess.Process, str]:
    """`trunkline serve` in a process of its own, and its address as the banner says it."""
    arguments = [
        "serve",
        "--profile",
        "echo",
        "--port",
        "0",
        "--data-dir",
        str(tmp_path),
        "--set",
        f"server.drain_s={2 * PATIENCE_S}",
        *more,
    ]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trunkline", *arguments, cwd=tmp_path, stdout=asyncio.subprocess.PIPE,
        stderr=(tmp_path / "log").open("wb"), env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert process.stdout is not None
    banner = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
    return process, banner.decode().split()[-1]


async def test_sigterm_lets_a_live_call_finish(tmp_path: Path) -> None:
    process, url = await serve(tmp_path)
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(url.replace("http", "ws") + "/smartflo/audio") as ws,
    ):
        caller = Caller(ws)
        await caller.start()
        await caller.speak(0.2)
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            while (await client.get(url + "/ready")).status != 503:
                await caller.speak(0.1)
        assert process.returncode is None
        await caller.stop()
        assert await caller.until_closed() == 1000
    assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
    assert b"Traceback" not in (tmp_path / "log").read_bytes()


async def test_two_interrupts_stop_at_once_and_the_call_is_told(tmp_path: Path) -> None:
    process, url = await serve(tmp_path)
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(url.replace("http", "ws") + "/smartflo/audio") as ws,
    ):
        caller = Caller(ws)
        await caller.start()
        await caller.speak(0.2)
        process.send_signal(signal.SIGINT)
        await caller.speak(0.2)
        assert process.returncode is None
        process.send_signal(signal.SIGINT)
        assert await caller.until_closed() == 1000
    assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
    assert b"drained" in (tmp_path / "log").read_bytes()
    assert b"Traceback" not in (tmp_path / "log").read_bytes()


async def test_a_killed_service_leaves_no_call_live_for_ever(tmp_path: Path) -> None:
    process, url = await serve(tmp_path, "--workers", "0")
    async with (
        aiohttp.ClientSession() as client,
        client.ws_connect(url.replace("http", "ws") + "/smartflo/audio") as ws,
    ):
        caller = Caller(ws)
        await caller.start()
        await caller.speak(0.3)
        process.kill()
        await process.wait()
    assert len(list((tmp_path / "workers").iterdir())) == 1
    async with running(tmp_path, {"server": {"data_dir": str(tmp_path)}}) as run:
        (call,) = await run.calls(1, live=False)
        assert (call["cause"], call["fault"]) == ("internal", "us")
        assert call["ended_at"] is not None
        assert len(list((tmp_path / "workers").iterdir())) == 1
        async with calling(run):
            await run.calls(1, live=True)
            async with running(tmp_path, {"server": {"data_dir": str(tmp_path)}}):
                await run.calls(1, live=True)  # a second worker does not take the living for dead
    assert list((tmp_path / "workers").iterdir()) == []
