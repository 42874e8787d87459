"""Mutated calls on real sockets while a good call goes on: it ends normally, and nothing of the others is left."""

import asyncio
import random
from pathlib import Path

import aiohttp
import pytest
import structlog

from tests.fakes.leg import smartflo_leg
from tests.unit.bridge.fuzzing import Fuzzed
from tests.unit.bridge.test_smartflo_fuzz import call
from tests.wire.service import Running, calling, running
from trunkline.ai.echo import EchoProvider
from trunkline.bridge.carriers.smartflo import SmartfloDialect

pytestmark = pytest.mark.wire
SECONDS = 6.0
AT_ONCE = 3
SMARTFLO = Fuzzed("smartflo", lambda: SmartfloDialect({}), call, smartflo_leg)


async def sent(socket: aiohttp.ClientWebSocketResponse, message: str | bytes) -> None:
    """As text where that is possible (half a surrogate pair is not), else as bytes."""
    try:
        await socket.send_str(message if isinstance(message, str) else message.decode())
    except UnicodeError:
        await socket.send_bytes(message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message)


async def hostile(run: Running, dice: random.Random, until: float) -> int:
    """Mutated calls, one after the other; each goes as it can. Returns how many there were."""
    loop, calls = asyncio.get_running_loop(), 0
    while loop.time() < until:
        calls += 1
        try:
            async with run.client.ws_connect(run.socket_url + "/smartflo/audio") as socket:
                for message in SMARTFLO.mutated(dice):
                    await sent(socket, message)
                    await asyncio.sleep(0.002)
                if dice.random() < 0.3 and socket._response.connection and socket._response.connection.transport:
                    socket._response.connection.transport.abort()
        except (aiohttp.ClientError, ConnectionError):
            continue
    return calls


async def test_a_good_call_beside_mutated_ones_is_not_touched(tmp_path: Path) -> None:
    with structlog.testing.capture_logs() as lines:
        async with running(tmp_path, provider=EchoProvider()) as run:
            until = asyncio.get_running_loop().time() + SECONDS
            async with calling(run) as good, asyncio.TaskGroup() as group:
                tries = [group.create_task(hostile(run, random.Random(n), until)) for n in range(AT_ONCE)]
                await good.speak(SECONDS + 0.5)
                await good.stop("Call ended")
                assert await good.until_closed() == 1000
            assert sum(task.result() for task in tries) > 20
            (mine,) = [one for one in await over(run) if one["carrier_ref"] == "c-1"]
            assert (mine["cause"], mine["fault"], mine["code"]) == ("completed", "caller", "Call ended")
            assert not [name for name in mine["counters"] if "dropped" in name or "refused" in name]
            heard = sum(message["event"] == "media" for message in good.heard)
            assert heard > 9 * SECONDS, "the echo came back all the while"
            assert not tasks_of_calls()
    assert [line for line in lines if line["log_level"] == "error"] == []


def tasks_of_calls() -> list[str]:
    """What still runs and belongs to a call."""
    names = [task.get_name() for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith(("leg", "session-", "ears", "mouth", "begin", "close"))]


async def over(run: Running) -> list[dict[str, object]]:
    """Every call, once none is live any more."""
    await run.service.drain(15)
    calls: list[dict[str, object]] = []
    cursor = ""
    while True:
        _, page = await run.get(f"/calls?limit=200&cursor={cursor}")
        calls += page["calls"]
        if not page["next"]:
            return calls
        cursor = page["next"]
