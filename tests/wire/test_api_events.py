"""The event stream of a real service."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.wire.service import PATIENCE_S, calling, running, until
from trunkline.calls.events import Note

pytestmark = pytest.mark.wire


async def read(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    kind = ""
    async for line in response.content:
        name, _, value = line.decode().strip().partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            yield kind, json.loads(value)


async def test_a_calls_events_come_as_they_happen(tmp_path: Path) -> None:
    async with running(tmp_path) as run, run.client.get(run.url + "/events") as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        async with calling(run) as caller:
            await caller.speak(0.2)
            await caller.stop()
            await caller.until_closed()
        seen = []
        async with asyncio.timeout(PATIENCE_S):
            async for kind, event in read(response):
                seen.append(kind)
                assert event["event"] == kind
                assert event["call_id"].startswith("call_")
                if kind == "call_ended":
                    break
        assert seen[0] == "call_started"


async def test_one_call_can_be_watched_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as run, calling(run) as first:
        (live,) = await run.calls(1, live=True)
        async with run.client.get(f"{run.url}/events?call={live['id']}") as response:
            async with calling(run) as second:
                await second.stop()
                await second.until_closed()
            await first.stop()
            await first.until_closed()
            async with asyncio.timeout(PATIENCE_S):
                async for kind, event in read(response):
                    assert event["call_id"] == live["id"]
                    if kind == "call_ended":
                        break


async def test_a_stopping_service_ends_its_streams_and_leaves_nothing(tmp_path: Path) -> None:
    before = len(asyncio.all_tasks())
    async with aiohttp.ClientSession() as client:
        async with running(tmp_path) as run:
            response = await client.get(run.url + "/events")
            await asyncio.sleep(0.05)
        assert await response.content.read() == b": watching\n\n"
        response.close()
    await until(lambda: len(asyncio.all_tasks()) == before)


async def test_a_reader_that_leaves_is_forgotten(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        async with aiohttp.ClientSession() as client:
            await client.get(run.url + "/events")
            assert run.service.desk.hub.spectators == 1
        async with asyncio.timeout(PATIENCE_S):
            while run.service.desk.hub.spectators:
                run.service.desk.hub.notify("call_x", Note(0.0, "x"))
                await asyncio.sleep(0.02)
