"""Several workers behind one address: whichever is asked, the node answers."""

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.wire.service import Caller
from tests.wire.workers import Node, node

pytestmark = pytest.mark.wire
CALLS = 6


async def events_of(run: Node, ended: int, ready: asyncio.Event) -> set[str]:
    """The calls whose end one reader of /events sees, once there are so many."""
    seen: set[str] = set()
    async with asyncio.timeout(15), run.client.get(run.url + "/events") as stream:
        await stream.content.readline()
        ready.set()
        last = ""
        async for line in stream.content:
            if line.startswith(b"event: "):
                last = line.decode().split()[1]
            elif line.startswith(b"data: ") and last == "call_ended":
                seen.add(line.decode().split('"call_id":"')[1].split('"')[0])
                if len(seen) == ended:
                    break
    return seen


async def test_calls_are_carried_by_both_and_steered_through_either(tmp_path: Path) -> None:
    async with node(tmp_path) as run, run.calling(CALLS):
        live = await run.calls(CALLS, live=True)
        assert min(sum(call["owner"] == name for call in live) for name in run.pids) >= CALLS // 3
        ids = {call["id"] for call in live}
        for _ in range(4):
            assert (await run.ask("GET", "/"))[1]["active_calls"] == CALLS
            assert await run.figure("trunkline_calls_active") == CALLS
            for one in ids:
                status, timeline = await run.ask("GET", f"/calls/{one}/timeline")
                assert status == 200, timeline
                status, told = await run.ask("POST", f"/calls/{one}/say", json={"text": "Hello."})
                assert status == 202, told
        readies = [asyncio.Event() for _ in range(5)]
        readers = [asyncio.create_task(events_of(run, CALLS, ready)) for ready in readies]
        await asyncio.gather(*(ready.wait() for ready in readies))
        for one in ids:
            assert (await run.ask("POST", f"/calls/{one}/hangup"))[0] == 202
        assert all(seen == ids for seen in await asyncio.gather(*readers))
        over = await run.calls(CALLS, live=False)
        assert {call["cause"] for call in over} == {"operator"}
        assert [await run.figure("trunkline_calls_total") for _ in range(4)] == [CALLS] * 4
        assert (await run.ask("POST", f"/calls/{over[0]['id']}/hangup"))[0] == 409


async def test_a_killed_worker_ends_its_own_calls_alone_and_is_replaced(tmp_path: Path) -> None:
    async with node(tmp_path) as run, run.calling(CALLS) as callers:
        await asyncio.gather(*(caller.speak(0.2) for caller in callers))
        first = await run.calls(CALLS, live=True)
        assert (await run.ask("POST", f"/calls/{first[0]['id']}/hangup"))[0] == 202
        await run.calls(1, live=False)
        counted = await run.figure("trunkline_http_requests_total")
        killed = next(name for name in run.pids if name != first[0]["owner"])
        mine = {call["id"] for call in first if call["owner"] == killed}
        os.kill(run.pids[killed], signal.SIGKILL)
        over = await run.calls(1 + len(mine), live=False)
        ended = {call["id"]: (call["cause"], call["fault"]) for call in over}
        assert {one: ended.get(one) for one in mine} == dict.fromkeys(mine, ("internal", "us"))
        assert 0 < len(mine) < CALLS - 1
        await run.calls(CALLS - 1 - len(mine), live=True)
        others = [int(call["carrier_ref"][2:]) for call in first if call["id"] not in ended]
        await asyncio.gather(*(callers[number].speak(0.2) for number in others))
        await run.told("worker.ready", 3)
        assert await run.figure("trunkline_http_requests_total") >= counted
        assert await run.figure("trunkline_worker_exits_total") == 1
        assert [line["dead"] for line in run.lines("worker.found_dead")] == [killed]  # by the other one, at once
        (new,) = set(run.pids) - {call["owner"] for call in first}
        async with AsyncExitStack() as stack:
            for extra in range(1, CALLS):
                # A connection of its own each time: run.client's may be one to the old worker.
                carrier = await stack.enter_async_context(aiohttp.ClientSession())
                url = run.url.replace("http", "ws", 1) + "/smartflo/audio"
                await Caller(await stack.enter_async_context(carrier.ws_connect(url))).start()
                (latest, *_) = await run.calls(CALLS - 1 - len(mine) + extra, live=True)
                if latest["owner"] == new:  # the least busy; but on a busy machine the other may be faster
                    break
            else:
                pytest.fail("the new worker takes no calls")
        assert not (tmp_path / "data" / "workers" / killed).exists()


async def test_the_limit_holds_for_the_node(tmp_path: Path) -> None:
    async with node(tmp_path, "--set", "limits.max_calls=3") as run:
        async with run.calling(3):
            for _ in range(4):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await run.client.ws_connect(run.url.replace("http", "ws", 1) + "/smartflo/audio")
                assert refused.value.status == 503
            owner = (await run.calls(3, live=True))[0]["owner"]
            os.kill(run.pids[owner], signal.SIGKILL)  # its seats are free again
            await run.told("worker.ended")
        async with run.client.ws_connect(run.url.replace("http", "ws", 1) + "/smartflo/audio"):
            pass


async def test_a_worker_that_stands_still_is_said_so(tmp_path: Path) -> None:
    async with node(tmp_path) as run, run.calling(2):
        call, other = await run.calls(2, live=True)
        os.kill(run.pids[call["owner"]], signal.SIGSTOP)
        try:
            status, told = await run.ask("POST", f"/calls/{call['id']}/hangup")
            assert (status, told["title"]) == (503, "The call's worker cannot be reached")
            assert (await run.ask("GET", f"/calls/{call['id']}"))[0] == 200  # as the store knows it
            assert (await run.ask("POST", f"/calls/{other['id']}/hangup"))[0] == 202
            await run.calls(1, live=False)
            assert await run.figure("trunkline_calls_total") == 1
        finally:
            os.kill(run.pids[call["owner"]], signal.SIGCONT)
        assert (await run.ask("POST", f"/calls/{call['id']}/hangup"))[0] in (202, 409)
