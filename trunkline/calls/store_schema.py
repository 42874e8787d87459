"""Bringing the schema to what this release needs, under a lock, at every start."""

import os
import threading
import uuid
from contextlib import nullcontext, suppress
from pathlib import Path

import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from trunkline.calls import tables as t
from trunkline.calls.store_backend import Backend, open_backend, parse_url

_LOCK = 0x7472756E6B6C696E  # "trunklin": one migration at a time per PostgreSQL database
_SCRIPTS = Path(__file__).parent / "migrations"
_log = structlog.get_logger("store")
_alembic = threading.Lock()  # its context is one per process, and a process may hold several services


async def migrate(url: str) -> str:
    """Make or upgrade the schema; the revision that is then in force. Safe when several processes start at once.

    A schema newer than this release (a rollback) is left as it is: see `migrations`. Raises ConfigError, StoreError.
    """
    make_private_file(parse_url(url))
    async with open_backend(url) as backend:
        return await migrate_on(backend)


async def migrate_on(backend: Backend) -> str:
    """The same on an open backend."""
    return await backend.write(_upgrade)


def make_private_file(url: sa.URL) -> None:
    """The SQLite file and its folder, readable by us alone: it holds numbers and transcripts."""
    if url.get_backend_name() != "sqlite" or not url.database:
        return
    file = Path(url.database)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with suppress(FileExistsError):  # one that is there is not opened: closing it would drop SQLite's POSIX locks on it
        os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))


def _upgrade(connection: sa.Connection) -> str:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
    config = Config()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    now = MigrationContext.configure(connection).get_current_revision()
    if now is not None and now not in known:
        _log.warning("store.schema_newer", revision=now)
        return now
    # PostgreSQL's migration gives way in the middle, in the loop's thread: there a thread's lock would wait for itself.
    with _alembic if connection.dialect.name == "sqlite" else nullcontext():
        command.upgrade(config, "head")
    _first_facts(connection)
    return MigrationContext.configure(connection).get_current_revision() or ""


def _first_facts(connection: sa.Connection) -> None:
    for key, value in (("store_id", uuid.uuid4().hex), ("epoch", "1")):
        there = sa.select(t.meta.c.value).where(t.meta.c.tenant == "", t.meta.c.key == key)
        if connection.execute(there).first() is None:
            connection.execute(t.meta.insert(), {"tenant": "", "key": key, "value": value})
