"""The store on SQLite: the common suite, and what is particular to a file."""

import asyncio
import sqlite3
import stat
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.conformance.store import StoreSuite, ended, live, order
from trunkline.calls.store_backend import parse_url
from trunkline.calls.store_schema import migrate
from trunkline.calls.store_sql import SqlStore, open_store
from trunkline.errors import ConfigError, StoreError


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    async with open_store(f"sqlite:///{tmp_path / 'deep' / 'down' / 't.db'}") as opened:
        yield opened


class TestSqlite(StoreSuite):
    """The common suite."""


def _url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 't.db'}"


async def test_what_was_written_is_there_after_reopening(tmp_path: Path) -> None:
    async with open_store(_url(tmp_path)) as store:
        await store.finish(ended(live()))
        identity = await store.fact("store_id")
    async with open_store(_url(tmp_path)) as store:
        assert await store.call("t1", "c1") == ended(live())
        assert await store.fact("store_id") == identity


async def test_commits_are_durable_and_the_file_is_ours_alone(tmp_path: Path) -> None:
    async with open_store(_url(tmp_path)) as store:
        seen = await store._backend.write(
            lambda c: [c.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("journal_mode", "synchronous")]
        )
        assert seen == ["wal", 2]
        await store.begin(live())
        for file in tmp_path.iterdir():  # noqa: ASYNC240 - a test may block
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_readers_cannot_write(tmp_path: Path) -> None:
    async with open_store(_url(tmp_path)) as store:
        with pytest.raises(StoreError, match="readonly"):
            await store._backend.read(lambda c: c.exec_driver_sql("DELETE FROM calls"))


async def test_closing_writes_what_waits_and_leaves_no_thread(tmp_path: Path) -> None:
    async with open_store(_url(tmp_path)) as store:
        waiting = [asyncio.ensure_future(store.begin(live(f"c{n}"))) for n in range(3_000)]
        await asyncio.sleep(0)
    await asyncio.gather(*waiting)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("store-")]
    with sqlite3.connect(tmp_path / "t.db") as plain:
        assert plain.execute("SELECT count(*) FROM calls").fetchone() == (3_000,)
    plain.close()


async def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async with open_store(_url(tmp_path)) as store:
        pass
    with pytest.raises(StoreError, match="closed"):
        await store.begin(live())
    with pytest.raises(StoreError, match="closed"):
        await store.calls("t1")


async def test_writes_that_wait_share_a_commit(tmp_path: Path) -> None:
    async with open_store(_url(tmp_path)) as store:
        commits = 0
        run = store._backend._commits._commit

        def counted() -> object:
            nonlocal commits
            commits += 1
            return run()

        store._backend._commits._commit = counted
        await asyncio.gather(*(store.begin(live(f"c{n}")) for n in range(200)))
        assert commits <= 3


async def test_a_write_cancelled_while_it_waits_is_not_done(tmp_path: Path) -> None:
    async with open_store(_url(tmp_path)) as store:
        held = threading.Event()
        first = asyncio.ensure_future(store._backend.write(lambda _connection: held.wait(5)))
        await asyncio.sleep(0.02)
        second = asyncio.ensure_future(order(store))
        await asyncio.sleep(0)
        second.cancel()
        held.set()
        assert await first is True
        with pytest.raises(asyncio.CancelledError):
            await second
        assert await store.orders("t1") == []


async def test_a_file_that_another_process_holds_is_an_error_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trunkline.calls.store_backend.BUSY_MS", 50)
    await migrate(_url(tmp_path))
    async with open_store(_url(tmp_path)) as store:
        other = sqlite3.connect(tmp_path / "t.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            await store.begin(live())
        other.execute("ROLLBACK")
        other.close()
        await store.begin(live())
        assert await store.call("t1", "c1") == live()


async def test_two_stores_on_one_file_number_orders_without_gaps(tmp_path: Path) -> None:
    async with open_store(_url(tmp_path)) as one, open_store(_url(tmp_path)) as two:
        jobs = (order((one, two)[n % 2], request_id=f"r{n}", item=f"i{n}") for n in range(40))
        placed = await asyncio.gather(*jobs)
    assert sorted(made.id for made, _ in placed) == [f"ORD-{n:05d}" for n in range(1, 41)]


async def test_an_error_tells_no_number_and_no_text(store: SqlStore) -> None:
    with pytest.raises(StoreError) as caught:
        await order(store, quantity=0, customer_name="+919812345678")
    assert "9812345678" not in str(caught.value)


async def test_a_file_that_is_no_database_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "t.db").write_text("this is a letter, not a database " * 100)
    with pytest.raises(StoreError):
        async with open_store(_url(tmp_path)):
            pass


async def test_a_place_that_cannot_be_written_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError):
        async with open_store(f"sqlite:///{tmp_path / 'file' / 't.db'}"):
            pass


@pytest.mark.parametrize("url", ["", "mysql://x/y", "sqlite://", "sqlite:///:memory:", "nonsense", "postgresql"])
def test_a_url_that_cannot_be_served_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError, match="database_url"):
        parse_url(url)


def test_libpq_spellings_of_a_url_are_understood() -> None:
    url = parse_url("postgres://u:p@db.example/x?sslmode=require&channel_binding=prefer")
    assert (url.drivername, dict(url.query)) == ("postgresql+asyncpg", {"ssl": "require"})
