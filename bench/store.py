"""What the store costs: begin + finish of a call on SQLite (or PostgreSQL), against plain sqlite3 in one batch.

    python -m bench.store [--calls 2000] [--url postgresql://…]

Printed per way of writing: pairs per second, processor time per pair, commits; and the ratio to the plain batch, which
is the least that these rows can cost. Figures of one run on one machine: compare the ratios, not the rates.
"""

import argparse
import asyncio
import resource
import sqlite3
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from trunkline.calls.record import CallRecord
from trunkline.calls.store_backend import GroupCommit
from trunkline.calls.store_sql import SqlStore, open_store
from trunkline.calls.turns import Turn

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TURN = Turn(
    turn=1,
    caller_text="I would like to order two margherita pizzas, please",
    agent_text="Two margherita pizzas, that is eighteen dollars. What name is it for?",
    heard_text="Two margherita pizzas, that is eighteen dollars. What name is it for?",
    heard_s=4.1,
    stages={"endpointing": 0.6, "stt_tail": 0.05, "llm": 0.01, "first_clause": 0.0, "tts": 0.02, "bridge": 0.001},
)


def record(call_id: str, *, over: bool) -> CallRecord:
    """A call of six turns, live or over."""
    return CallRecord(
        id=call_id,
        tenant="default",
        direction="inbound",
        carrier="smartflo",
        carrier_ref=f"ref-{call_id}",
        from_="+919812345678",
        to="+918069000000",
        agent="receptionist",
        provider="offline",
        started_at=NOON,
        answered_at=NOON,
        ended_at=NOON + timedelta(seconds=40) if over else None,
        cause="completed" if over else "",
        turns=(TURN,) * 6 if over else (),
        counters={"frames_in": 2000, "frames_out": 1500} if over else {},
        owner="worker-0",
    )


async def churn(store: SqlStore, name: str, calls: int, at_once: int) -> None:
    """`calls` calls begin and finish, `at_once` at a time."""
    numbers = iter(range(calls))

    async def line(own: Iterable[int]) -> None:
        for number in own:
            await store.begin(record(f"{name}-{number}", over=False))
            await store.finish(record(f"{name}-{number}", over=True))

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(line(numbers))


async def steady(store: SqlStore, name: str, calls: int, per_second: float) -> None:
    """Calls begin at a fixed rate and finish 2 s later."""

    async def call(number: int) -> None:
        await asyncio.sleep(number / per_second)
        await store.begin(record(f"{name}-{number}", over=False))
        await asyncio.sleep(2)
        await store.finish(record(f"{name}-{number}", over=True))

    async with asyncio.TaskGroup() as group:
        for number in range(calls):
            group.create_task(call(number))


def plain(folder: Path, calls: int, batch: int) -> None:
    """The same rows by sqlite3 alone: prepared statements, `batch` pairs per commit, JSON made outside the database."""
    connection = sqlite3.connect(folder / "plain.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"CREATE TABLE calls (id TEXT PRIMARY KEY, {', '.join(f'c{n}' for n in range(20))})")
    for name in ("c0, c8, id", "c4", "c5", "c19"):
        connection.execute(f"CREATE INDEX i{name[:2]} ON calls ({name})")
    begin = f"INSERT INTO calls VALUES ({', '.join('?' * 21)}) ON CONFLICT DO NOTHING"
    finish = f"INSERT INTO calls VALUES ({', '.join('?' * 21)}) ON CONFLICT (id) DO UPDATE SET " + ", ".join(
        f"c{n} = excluded.c{n}" for n in range(20)
    )
    for first in range(0, calls, batch):
        connection.execute("BEGIN IMMEDIATE")
        for number in range(first, min(calls, first + batch)):
            connection.execute(begin, flat(record(f"{batch}-{number}", over=False)))
            connection.execute(finish, flat(record(f"{batch}-{number}", over=True)))
        connection.execute("COMMIT")
    connection.execute("DROP TABLE calls")
    connection.close()


def flat(call: CallRecord) -> tuple[str | None, ...]:
    """A record as plain columns."""
    values = (getattr(call, name) for name in call.__struct_fields__)
    return tuple(_plain(value) for value in values)


def _plain(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return value.isoformat() if isinstance(value, datetime) else msgspec.json.encode(value).decode()


def used() -> float:
    """Processor seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Commits:
    """Counts the commits of the group writer."""

    count = 0

    def __enter__(self) -> "Commits":
        self._whole = GroupCommit._commit

        def counted(writer: GroupCommit) -> object:
            self.count += 1
            return self._whole(writer)

        GroupCommit._commit = counted  # type: ignore[method-assign,assignment]
        return self

    def __exit__(self, *_: object) -> None:
        GroupCommit._commit = self._whole  # type: ignore[method-assign]


async def measured(title: str, calls: int, work: Callable[[], Awaitable[None]], least: float, commits: Commits) -> None:
    """Run and print one line; `least`: processor ms per pair of the plain batch."""
    commits.count, began, busy = 0, time.perf_counter(), used()
    await work()
    took, cost = time.perf_counter() - began, (used() - busy) * 1e3 / calls
    done = f"{commits.count:6d}" if commits.count else "     -"
    print(f"{title:44s} {calls / took:9.0f} pairs/s {cost:7.3f} ms/pair {done} commits {cost / least:6.1f} x")


async def main(calls: int, url: str) -> None:
    """All ways, one after the other."""
    with tempfile.TemporaryDirectory(prefix="store-bench-", dir=".") as name, Commits() as commits:
        folder = Path(name)
        busy, began = used(), time.perf_counter()
        plain(folder, calls, 20)
        least, took = (used() - busy) * 1e3 / calls, time.perf_counter() - began
        print(f"{'plain sqlite3, 20 pairs per commit':44s} {calls / took:9.0f} pairs/s {least:7.3f} ms/pair")
        busy, began = used(), time.perf_counter()
        plain(folder, calls // 4, 1)
        alone, took = (used() - busy) * 4e3 / calls, time.perf_counter() - began
        print(f"{'plain sqlite3, 1 pair per commit':44s} {calls / 4 / took:9.0f} pairs/s {alone:7.3f} ms/pair")
        async with open_store(url or f"sqlite:///{folder / 'store.db'}") as store:
            await churn(store, f"warm{time.time()}", 100, 10)
            for at_once in (1, 20, 200):
                run = f"{at_once}-{time.time()}"
                title, count = f"store, {at_once} calls at once", calls // 4 if at_once == 1 else calls
                await measured(title, count, lambda r=run, n=at_once, c=count: churn(store, r, c, n), least, commits)
            await measured(
                "store, 10 calls per second, idle included", 100, lambda: steady(store, f"s{time.time()}", 100, 10),
                least, commits,
            )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--url", default="", help="PostgreSQL instead of a fresh SQLite file")
    given = parser.parse_args()
    asyncio.run(main(given.calls, given.url))
