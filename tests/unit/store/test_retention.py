"""Retention in virtual time: whose turn it is, what is too old, and what happens when the store cannot."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.conformance.store import NOON, ended, live
from tests.virtual_time import EPOCH, clock, virtual
from trunkline.calls.retention import FIRST_S, Forgetful, Retention
from trunkline.calls.store_sql import open_store
from trunkline.clock import LoopClock
from trunkline.errors import StoreError

HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


class Shelf:
    """A store of one number: when the calls ended whose words it still has. `asked`: each forgetting's time."""

    def __init__(self, *ends: datetime) -> None:
        self.ends = list(ends)
        self.asked: list[float] = []
        self.periods: set[str] = set()
        self.down = False

    async def claim(self, work: str, period: str) -> bool:
        if self.down:
            raise StoreError("no database")
        new = period not in self.periods
        self.periods.add(period)
        return new

    async def forget_before(self, when: datetime, *, tenant: str | None = None, pause_s: float = 0.0) -> int:
        self.asked.append(clock().monotonic())
        old = [end for end in self.ends if end < when]
        self.ends = [end for end in self.ends if end >= when]
        return len(old)


@asynccontextmanager
async def workers(
    store: Forgetful, count: int = 1, keep_days: float = 2.0, epoch: datetime = EPOCH
) -> AsyncIterator[list[Retention]]:
    crew = [Retention(store, LoopClock(epoch), keep_days) for _ in range(count)]
    tasks = [asyncio.create_task(one.run()) for one in crew]
    yield crew
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@virtual
async def test_words_go_when_they_are_too_old_and_not_before() -> None:
    shelf = Shelf(EPOCH - timedelta(days=3), EPOCH - timedelta(hours=1), EPOCH + timedelta(days=9))
    async with workers(shelf) as (retention,):
        await asyncio.sleep(FIRST_S + 1)
        assert retention.counters["calls_forgotten"] == 1
        await asyncio.sleep(2 * DAY_S - 2 * HOUR_S)
        assert len(shelf.ends) == 2
        await asyncio.sleep(2 * HOUR_S)
        assert len(shelf.ends) == 1
    assert retention.counters == {"calls_forgotten": 2}


@virtual
async def test_every_hour_is_one_workers_alone() -> None:
    shelf = Shelf()
    async with workers(shelf, count=4):
        await asyncio.sleep(5 * HOUR_S)
    assert len(shelf.asked) == 5


@virtual
async def test_an_hour_in_which_the_store_was_away_is_counted_and_made_up_for() -> None:
    shelf = Shelf(EPOCH - timedelta(days=3))
    shelf.down = True
    async with workers(shelf) as (retention,):
        await asyncio.sleep(HOUR_S)
        shelf.down = False
        assert retention.counters == {"retention_failed": 1}
        await asyncio.sleep(HOUR_S)
    assert retention.counters == {"retention_failed": 1, "calls_forgotten": 1}


@pytest.mark.parametrize("count", [1, 120])
def test_a_real_store_forgets_beside_a_second_worker(tmp_path: Path, count: int) -> None:
    @virtual
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            url = f"sqlite:///{tmp_path / 't.db'}"
            ours, theirs = [await stack.enter_async_context(open_store(url)) for _ in range(2)]
            for number in range(count):
                await ours.finish(ended(live(f"c{number}")))
            later = NOON + timedelta(days=3)
            for keep_days in (5.0, 2.0):
                async with (
                    workers(ours, keep_days=keep_days, epoch=later) as (mine,),
                    workers(theirs, keep_days=keep_days, epoch=later) as (other,),
                ):
                    await asyncio.sleep(HOUR_S)
                    forgotten = sorted((mine.counters["calls_forgotten"], other.counters["calls_forgotten"]))
                    assert forgotten == [0, 0 if keep_days > 3 else count]
            record = await theirs.call("t1", "c0")
            assert record is not None
            assert not any(turn.caller_text or turn.agent_text for turn in record.turns)

    scene()
