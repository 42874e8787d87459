"""The service as a part of somebody else's: mounted, with tools, routes and an ear of theirs; and leaving nothing."""

import asyncio
import gc
import os
import socket
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

import trunkline
from tests.wire.service import SILENT, Caller, calling, running, settings_of, until
from trunkline.ai.tools import Json, Tool, ToolRequest
from trunkline.service import Service, listen

pytestmark = pytest.mark.wire


def test_the_public_names_are_there() -> None:
    assert trunkline.Service is Service
    for name in trunkline.__all__:
        assert getattr(trunkline, name)
    with pytest.raises(AttributeError):
        _ = trunkline.Servce


async def test_an_aiohttp_application_mounts_it(tmp_path: Path) -> None:
    service = Service(settings_of(tmp_path), provider=SILENT)
    host = web.Application()
    host.add_subapp("/voice", service.app)
    runner = web.AppRunner(host)
    await runner.setup()
    (one,) = listen("127.0.0.1", 0)
    await web.SockSite(runner, one).start()
    url = f"127.0.0.1:{one.getsockname()[1]}/voice"
    async with aiohttp.ClientSession() as client:
        async with client.get(f"http://{url}/ready") as response:
            assert response.status == 200
        async with client.get(f"http://{url}/smartflo/endpoint?callId=1") as response:
            assert (await response.json())["wss_url"].startswith(f"ws://{url}/media/smartflo/")
        async with client.ws_connect(f"ws://{url}/smartflo/audio") as ws:
            caller = Caller(ws)
            await caller.start()
            stopping = asyncio.create_task(runner.cleanup())
            assert await caller.until_closed() == 1000
            await stopping
        with pytest.raises(aiohttp.ClientError):
            await client.get(f"http://{url}/ready")


async def test_tools_routes_and_events_of_an_embedder(tmp_path: Path) -> None:
    told: list[tuple[str, str]] = []

    def on_event(call_id: str, event: Any) -> None:
        told.append((call_id, type(event).__name__))
        raise RuntimeError("the embedder's bug")

    async def mine(request: web.Request) -> web.Response:
        return web.Response(text="mine")

    async def func(request: ToolRequest) -> Json:
        return "sunny"

    tool = Tool("weather", "Says the weather.", {"type": "object", "properties": {}}, func)
    async with running(tmp_path, tools=[tool], routes=[web.get("/mine", mine)], on_event=on_event) as run:
        assert await run.get("/mine") == (200, b"mine")
        assert "weather" in run.service.desk.calls._desk.tools
        async with calling(run) as caller:
            await caller.stop()
            await caller.until_closed()
        await run.calls(1, live=False)
    kinds = [kind for _, kind in told]
    assert (kinds[0], kinds[-1]) == ("CallStarted", "CallEnded")


async def test_listeners_can_be_handed_in(tmp_path: Path) -> None:
    sockets: list[socket.socket] = listen("127.0.0.1", 0)
    async with running(tmp_path, sockets=sockets) as run:
        assert run.url.endswith(str(sockets[0].getsockname()[1]))
        assert (await run.get("/health"))[0] == 200


async def test_fifty_calls_and_a_stop_leave_no_task_and_no_descriptor(tmp_path: Path) -> None:
    async def brief(run: Any, number: int) -> None:
        async with calling(run) as caller:
            if number % 3 == 0:
                await caller.speak(0.2)
            if number % 2:
                await caller.stop()
                await caller.until_closed()

    async with running(tmp_path / "first"):
        pass
    await asyncio.sleep(0.1)
    gc.collect()  # what earlier tests left behind holds descriptors
    tasks, files = len(asyncio.all_tasks()), len(os.listdir("/proc/self/fd"))
    async with running(tmp_path / "second") as run:
        await asyncio.gather(*(brief(run, number) for number in range(50)))
        await run.calls(50, live=False)
        assert run.service.active == 0
    await until(lambda: len(asyncio.all_tasks()) == tasks and len(os.listdir("/proc/self/fd")) <= files)
