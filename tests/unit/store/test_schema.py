"""The schema that the migrations make is the one that the code states; starts may coincide; a rollback starts."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from trunkline.calls import tables
from trunkline.calls.store_schema import migrate
from trunkline.calls.store_sql import open_store


async def test_migrations_make_the_tables_of_the_code(tmp_path: Path) -> None:
    await migrate(f"sqlite:///{tmp_path / 't.db'}")
    engine = sa.create_engine(f"sqlite:///{tmp_path / 't.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, tables.metadata) == []
    engine.dispose()


@pytest.mark.parametrize("table", tables.metadata.sorted_tables, ids=str)
def test_every_table_has_a_tenant_and_says_what_it_is_for(table: sa.Table) -> None:
    assert not table.c.tenant.nullable
    assert table.comment


async def test_migrating_at_once_and_again_changes_nothing(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / '100% new' / 't.db'}"
    assert await asyncio.gather(*(migrate(url) for _ in range(4))) == ["0001"] * 4
    async with open_store(url) as store:
        assert await store.fact("epoch") == "1"


async def test_the_previous_release_starts_on_a_newer_schema(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 't.db'}"
    await migrate(url)
    with sqlite3.connect(tmp_path / "t.db") as plain:
        plain.execute("UPDATE alembic_version SET version_num = '9999'")
    plain.close()
    assert await migrate(url) == "9999"
    async with open_store(url) as store:
        assert await store.calls("t1") == []
