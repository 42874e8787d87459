"""Two nodes, each a supervisor with workers, on one database and one Redis."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from tests.peers.redis_server import redis_server
from tests.wire.workers import Node, node

pytestmark = pytest.mark.peers
SECRET = "hunter2-hunter2"


async def ask_until(run: Node, path: str, status: int) -> dict[str, object]:
    async with asyncio.timeout(60):
        while True:
            got, told = await run.ask("POST", path)
            if got == status:
                return dict(told)
            await asyncio.sleep(0.1)


async def event_kinds(run: Node, ready: asyncio.Event) -> str:
    """The kind of the event that ends a call."""
    async with asyncio.timeout(60), run.client.get(run.url + "/events") as stream:
        await stream.content.readline()
        ready.set()
        async for line in stream.content:
            if line.strip() == b"event: call_ended":
                return "call_ended"
    raise AssertionError("the stream ended")


async def test_a_call_is_seen_and_steered_from_another_node_and_outages_are_said(tmp_path: Path) -> None:
    homes = [tmp_path / name for name in ("a", "b")]
    for home in homes:
        home.mkdir()
    async with redis_server(tmp_path, password=SECRET) as redis:
        shared = ("--database-url", f"sqlite:///{tmp_path}/shared.db", "--set", f"redis_url={redis.url}")
        async with (
            node(homes[0], *shared, workers=1) as one,
            node(homes[1], *shared, workers=2) as two,
            one.calling(3) as callers,
        ):
            first, second, third = await two.calls(3, live=True)
            assert {call["owner"] for call in (first, second, third)} == set(one.pids)
            status, timeline = await two.ask("GET", f"/calls/{first['id']}/timeline")
            assert (status, timeline["call_id"]) == (200, first["id"])
            assert timeline["duration_s"] > 0  # as its worker knows it, not as the store does
            status, told = await two.ask("POST", f"/calls/{first['id']}/say", json={"text": "Hello."})
            assert status == 202, told
            ready = asyncio.Event()
            watching = asyncio.create_task(event_kinds(two, ready))
            await ready.wait()
            assert (await two.ask("POST", f"/calls/{first['id']}/hangup"))[0] == 202
            assert await watching == "call_ended"
            await one.calls(2, live=True)
            await redis.stop()
            await two.told("bus.redis_lost")
            told = await ask_until(two, f"/calls/{second['id']}/hangup", 503)
            assert "Redis does not answer" in str(told["detail"])
            await callers[0].speak(0.1)
            await redis.start()
            await two.told("bus.redis_up", 2)
            await ask_until(two, f"/calls/{second['id']}/hangup", 202)
            one.process.kill()
            told = await ask_until(two, f"/calls/{third['id']}/hangup", 503)
            assert "is gone" in str(told["detail"])
            with suppress(ProcessLookupError):
                for caller in callers:
                    await caller.socket.close()
        assert all(SECRET not in run.log.read_text() for run in (one, two))


async def test_a_node_whose_redis_is_away_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(IndexError):  # no banner
        async with node(tmp_path, "--set", f"redis_url=redis://:{SECRET}@127.0.0.1:1/0"):
            pass
    said = " ".join((tmp_path / "log").read_text().split())
    assert "redis_url (REDIS_URL): no Redis answers there" in said
    assert SECRET not in said
