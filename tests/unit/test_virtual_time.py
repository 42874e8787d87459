import asyncio
import time

import pytest

from tests.virtual_time import clock, run, virtual


@virtual
async def test_an_hour_of_timers_takes_no_time_and_keeps_order() -> None:
    began, seen = time.perf_counter(), []

    async def tick(name: str, step: float) -> None:
        for _ in range(3):
            await asyncio.sleep(step)
            seen.append((clock().monotonic(), name))

    async with asyncio.TaskGroup() as group:
        group.create_task(tick("a", 1000))
        group.create_task(tick("b", 600))
    assert seen == [(600, "b"), (1000, "a"), (1200, "b"), (1800, "b"), (2000, "a"), (3000, "a")]
    assert time.perf_counter() - began < 5


@virtual
async def test_time_stands_still_while_a_thread_works() -> None:
    async with asyncio.timeout(0.001):
        await asyncio.to_thread(time.sleep, 0.05)


def test_a_leaked_task_fails_the_test() -> None:
    async def leak() -> None:
        leak.task = asyncio.get_running_loop().create_task(asyncio.sleep(9), name="leaked")  # type: ignore[attr-defined]

    with pytest.raises(AssertionError, match="leaked"):
        run(leak())
