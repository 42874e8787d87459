"""Real peers for tests. PostgreSQL: a private server on a unix socket, gone afterwards; none of yours is used."""

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from trunkline.calls import tables
from trunkline.calls.store_schema import migrate

SETTINGS = ("fsync=off", "full_page_writes=off", "listen_addresses=", "shared_buffers=16MB", "max_connections=40")


def _binaries() -> Path:
    """The newest PostgreSQL of Debian, or the one on the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if debian:
        return debian[-1]
    found = shutil.which("initdb")
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian package: postgresql)")
    return Path(found).parent


def _user() -> str | None:
    """The server refuses to run as root: the package's own user stands in for it."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    return None


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], user=_user(), cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a fresh server; `TRUNKLINE_TEST_POSTGRES` names another (its tables are emptied by the tests)."""
    if named := os.environ.get("TRUNKLINE_TEST_POSTGRES"):
        yield named
        return
    binaries, home = _binaries(), Path(tempfile.mkdtemp(prefix="tl-pg-"))  # a socket's path may have 107 bytes
    if user := _user():
        shutil.chown(home, user)
    try:
        _run(binaries / "initdb", "-D", home / "data", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-sync")
        options = " ".join(f"-c {setting}" for setting in (*SETTINGS, f"unix_socket_directories={home}"))
        _run(binaries / "pg_ctl", "-D", home / "data", "-w", "-l", home / "log", "-o", options, "start")
        try:
            yield f"postgresql://postgres@/postgres?host={home}"
        finally:
            _run(binaries / "pg_ctl", "-D", home / "data", "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def postgres_url(postgres_server: str) -> str:
    """URL of a migrated and empty database."""
    asyncio.run(_emptied(postgres_server))
    return postgres_server


async def _emptied(url: str) -> None:
    await migrate(url)
    names = ", ".join(table.name for table in tables.metadata.sorted_tables if table.name != "meta")
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(f"TRUNCATE {names} RESTART IDENTITY")
    finally:
        await connection.close()
