"""The store on a real PostgreSQL: the common suite, and what is particular to a server."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from tests.conformance.store import StoreSuite, live, order
from trunkline.calls import tables
from trunkline.calls.store_backend import open_backend
from trunkline.calls.store_schema import migrate
from trunkline.calls.store_sql import SqlStore, open_store
from trunkline.errors import StoreError

pytestmark = pytest.mark.peers


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[SqlStore]:
    async with open_store(postgres_url) as opened:
        yield opened


class TestPostgres(StoreSuite):
    """The common suite."""


def _difference(connection: sa.Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), tables.metadata))


async def test_migrations_make_the_tables_of_the_code(postgres_url: str) -> None:
    async with open_backend(postgres_url) as backend:
        assert await backend.read(_difference) == []


async def test_several_processes_may_migrate_an_empty_database_at_once(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    assert await asyncio.gather(*(migrate(postgres_url) for _ in range(4))) == ["0001"] * 4


async def test_two_stores_number_orders_without_gaps(postgres_url: str) -> None:
    async with open_store(postgres_url) as one, open_store(postgres_url) as two:
        jobs = (order((one, two)[n % 2], request_id=f"r{n}", item=f"i{n}") for n in range(40))
        placed = await asyncio.gather(*jobs)
    assert sorted(made.id for made, _ in placed) == [f"ORD-{n:05d}" for n in range(1, 41)]


async def test_connections_cut_by_the_server_are_replaced(store: SqlStore, postgres_url: str) -> None:
    await store.begin(live("c1"))
    other = await asyncpg.connect(postgres_url)
    await other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'trunkline'")
    await other.close()
    await store.begin(live("c2"))
    assert {record.id for record in await store.calls("t1")} == {"c1", "c2"}


async def test_a_server_that_is_not_there_is_an_error_of_ours() -> None:
    with pytest.raises(StoreError):
        async with open_store("postgresql://postgres@127.0.0.1:1/none"):
            pass
