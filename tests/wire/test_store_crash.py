"""A service that is killed loses nothing that it had confirmed."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

from trunkline.calls.store_sql import open_store

pytestmark = pytest.mark.wire

WRITER = """
import asyncio, sys
from tests.conformance.store import live, order
from trunkline.calls.store_sql import open_store

async def line(store, name):
    for n in range(10_000):
        await store.begin(live(f"{name}-{n}", owner="killed"))
        made, _ = await order(store, call_id=f"{name}-{n}")
        print(f"{name}-{n}", made.id, flush=True)

async def main():
    async with open_store(sys.argv[1]) as store:
        await asyncio.gather(*(line(store, f"line{n}") for n in range(5)))

asyncio.run(main())
"""


async def test_what_was_confirmed_before_kill_9_is_there_and_its_live_calls_can_be_ended(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 't.db'}"
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, url, stdout=asyncio.subprocess.PIPE)
    assert writer.stdout is not None
    confirmed = [(await writer.stdout.readline()).decode().split() for _ in range(100)]
    writer.send_signal(signal.SIGKILL)
    rest = (await writer.stdout.read()).decode().splitlines()
    await writer.wait()
    confirmed += [line.split() for line in rest if len(line.split()) == 2 and len(line.split()[1]) == 9]
    async with open_store(url) as store:
        for call_id, order_id in confirmed:
            order = await store.order("t1", order_id)
            assert order is not None
            assert order.call_id == call_id
            assert await store.call("t1", call_id) is not None
        numbers = sorted(order.id for order in await store.orders("t1", limit=1_000))
        assert numbers == [f"ORD-{n:05d}" for n in range(1, len(numbers) + 1)]
        assert await store.abandon("killed") >= len(confirmed)
        assert await store.calls("t1", live=True) == []
