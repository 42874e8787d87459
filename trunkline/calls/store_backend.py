"""How a transaction is run: `write(work)` and `read(work)`, where `work` is a plain function of a Core connection.

SQLite: one thread with one connection writes, and everything that waits while it commits shares the next commit
(group commit: a commit costs a flush of the disk, a statement does not). Two threads read beside it (WAL). Measured
in one run: SQLAlchemy over aiosqlite costs 0.61 ms of processor per transaction, one hop into a thread of our own
0.25 ms, because aiosqlite changes threads at every statement. PostgreSQL: asyncpg with a small pool; it groups
commits itself. `bench/store.py` has the figures.
"""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from importlib.util import find_spec
from typing import Any, Protocol, TypeAlias, TypeVar

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from trunkline.errors import ConfigError, StoreError

T = TypeVar("T")
Work: TypeAlias = Callable[[sa.Connection], T]

BATCH = 256  # writes that may share one commit
WAITING = 2_000  # writes that may wait; the next one waits for a place
BUSY_MS = 10_000  # another process holds the write lock of the SQLite file: wait this long
TIMEOUT_S = 10.0  # PostgreSQL: one connect, one statement, one wait for a connection


class Backend(Protocol):
    """One database."""

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction; committed when this returns. `work` may be run again after a rollback."""
        ...

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads."""
        ...


@asynccontextmanager
async def open_backend(url: str) -> AsyncIterator[Backend]:
    """The backend for `sqlite:///FILE` or `postgresql://…`. Raises ConfigError, StoreError."""
    parsed = parse_url(url)
    opened = _postgres(parsed) if parsed.get_backend_name() == "postgresql" else _sqlite(parsed)
    async with opened as backend:
        yield backend


def parse_url(url: str) -> sa.URL:
    """A database URL with our drivers in it; libpq's `sslmode` becomes asyncpg's `ssl`. Raises ConfigError."""
    try:
        parsed = sa.make_url(url)
    except (SQLAlchemyError, ValueError) as error:
        raise ConfigError("database_url: must be sqlite:///FILE or postgresql://USER@HOST/NAME") from error
    name = parsed.drivername.partition("+")[0]
    if name == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite+pysqlite")
    if name in ("postgres", "postgresql"):
        return _for_asyncpg(parsed.set(drivername="postgresql+asyncpg"))
    raise ConfigError(f"database_url: {name} is not served; must be sqlite:///FILE or postgresql://USER@HOST/NAME")


def _for_asyncpg(url: sa.URL) -> sa.URL:
    query = {key: value for key, value in url.query.items() if key not in ("sslmode", "channel_binding")}
    if "sslmode" in url.query:
        query["ssl"] = url.query["sslmode"]
    return url.set(query=query)


@contextmanager
def translated() -> Iterator[None]:
    """The one place where a database's complaint becomes ours. Statements and values stay out of the message."""
    try:
        yield
    except DBAPIError as error:
        raise StoreError(f"the database refused: {_first_line(error.orig)}") from error
    except (SQLAlchemyError, OSError, TimeoutError, sqlite3.Error, msgspec.MsgspecError) as error:
        raise StoreError(f"the database failed: {_first_line(error)}") from error


def _first_line(error: BaseException | None) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__)[:300]


def _json(value: object) -> str:
    """JSON that both databases take: no NUL (PostgreSQL has none), no half of a surrogate pair."""
    try:
        text = msgspec.json.encode(value).decode()
        if "\\u0000" not in text:
            return text
    except UnicodeEncodeError:
        pass
    return msgspec.json.encode(_clean(msgspec.to_builtins(value))).decode()


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(inner) for key, inner in value.items()}
    return [_clean(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def clean(text: str) -> str:
    """Text that every database takes; what it cannot take becomes U+FFFD."""
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# PostgreSQL


@asynccontextmanager
async def _postgres(url: sa.URL) -> AsyncIterator[Backend]:
    engine = _engine(url)
    try:
        yield PostgresBackend(engine)
    finally:
        await engine.dispose()


def _engine(url: sa.URL) -> AsyncEngine:
    if find_spec("asyncpg") is None:  # an extra: SQLAlchemy would fail on it with a traceback
        raise ConfigError("database_url: PostgreSQL needs asyncpg: pip install 'trunkline[postgres]'")
    return create_async_engine(
        url,
        pool_size=5,
        max_overflow=5,
        pool_timeout=TIMEOUT_S,
        pool_pre_ping=True,
        hide_parameters=True,
        json_serializer=_json,
        json_deserializer=msgspec.json.decode,
        connect_args={
            "timeout": TIMEOUT_S,
            "command_timeout": TIMEOUT_S,
            "server_settings": {"application_name": "trunkline"},
        },
    )


class PostgresBackend:
    """asyncpg through SQLAlchemy; each write is a transaction of its own."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction."""
        with translated():
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads."""
        with translated():
            async with self._engine.connect() as connection:
                return await connection.run_sync(work)


# SQLite


@asynccontextmanager
async def _sqlite(url: sa.URL) -> AsyncIterator[Backend]:
    writer, reader = _sqlite_engine(url, begin="BEGIN IMMEDIATE"), _sqlite_engine(url, begin="", read_only=True)
    with ThreadPoolExecutor(1, "store-write") as writing, ThreadPoolExecutor(2, "store-read") as reading:
        backend = SqliteBackend(GroupCommit(writer, writing), reader, reading)
        try:
            yield backend
        finally:
            await backend.drain()
            await _in(reading, reader.dispose)
            await _in(writing, writer.dispose)


def _sqlite_engine(url: sa.URL, *, begin: str, read_only: bool = False) -> sa.Engine:
    engine = sa.create_engine(
        url,
        pool_size=2,
        max_overflow=0,
        hide_parameters=True,
        json_serializer=_json,
        json_deserializer=msgspec.json.decode,
    )

    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions begin where we say so, DDL included
        for pragma in _pragmas(read_only):
            _pragma(connection, pragma)

    def begun(connection: sa.Connection) -> None:
        if begin:
            connection.exec_driver_sql(begin)

    sa.event.listen(engine, "connect", connected)
    sa.event.listen(engine, "begin", begun)
    return engine


def _pragma(connection: sqlite3.Connection, pragma: str) -> None:
    """Several first openings of a new file may collide where it turns to WAL: SQLite answers "locked" there at once,
    without its busy timeout, since two connections that each hold a read lock and want the other's would wait for ever.
    """
    until = time.monotonic() + BUSY_MS / 1000
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)  # in a thread of the store's own


def _pragmas(read_only: bool) -> Sequence[str]:
    common = (f"busy_timeout={BUSY_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON")
    return (*common, "query_only=ON") if read_only else (*common, "journal_size_limit=67108864")


class SqliteBackend:
    """One writing thread with group commit, two reading threads."""

    def __init__(self, commits: "GroupCommit", engine: sa.Engine, readers: Executor) -> None:
        self._commits = commits
        self._engine = engine
        self._readers = readers
        self._open = True

    async def write(self, work: Work[T]) -> T:
        """Run `work` in a transaction that it may share with others."""
        self._require_open()
        with translated():
            return await self._commits.run(work)

    async def read(self, work: Work[T]) -> T:
        """Run `work`, which only reads."""
        self._require_open()
        with translated():
            return await _in(self._readers, self._read, work)

    def _read(self, work: Work[T]) -> T:
        with self._engine.connect() as connection:
            return work(connection)

    async def drain(self) -> None:
        """Refuse what comes from now on; return when every write that was asked for is done."""
        self._open = False
        await self._commits.drain()

    def _require_open(self) -> None:
        if not self._open:
            raise StoreError("the store is closed")


_Job: TypeAlias = tuple[Work[Any], "asyncio.Future[Any]"]
_Done: TypeAlias = list[tuple["asyncio.Future[Any]", Any, BaseException | None]]


class GroupCommit:
    """Writes that arrive while one commit runs share the next. One failing job does not harm the others."""

    def __init__(self, engine: sa.Engine, thread: Executor) -> None:
        self._engine = engine
        self._thread = thread
        self._jobs: deque[_Job] = deque()
        self._room = asyncio.Semaphore(WAITING)
        self._flush: asyncio.Future[_Done] | None = None
        self._asked = 0  # callers that wait

    async def run(self, work: Work[T]) -> T:
        """Run `work` in the writing thread; returns after the commit. Cancelled before it began: it is not run."""
        self._asked += 1
        try:
            async with self._room:
                future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
                self._jobs.append((work, future))
                self._start()
                return await future
        finally:
            self._asked -= 1

    async def drain(self) -> None:
        """Wait for the writes in hand, and for those that still wait for a place."""
        while self._asked or self._flush is not None:
            if self._flush is not None:
                await asyncio.wait([self._flush])
            await asyncio.sleep(0)  # their callers go on

    def _start(self) -> None:
        if self._flush is None and self._jobs:
            self._flush = asyncio.get_running_loop().run_in_executor(self._thread, self._commit)
            self._flush.add_done_callback(self._settle)

    def _settle(self, flush: "asyncio.Future[_Done]") -> None:
        self._flush = None
        for future, result, error in flush.result():
            if future.done():
                continue
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        self._start()

    def _commit(self) -> _Done:
        batch = [self._jobs.popleft() for _ in range(min(BATCH, len(self._jobs)))]
        batch = [(work, future) for work, future in batch if not future.cancelled()]
        try:
            with self._engine.begin() as connection:
                results = [work(connection) for work, _ in batch]
            return [(future, result, None) for (_, future), result in zip(batch, results, strict=True)]
        except OperationalError as error:  # locked, full, broken: it would hit each of them
            return [(future, None, error) for _, future in batch]
        except Exception as error:
            if len(batch) == 1:
                return [(batch[0][1], None, error)]
            return [self._alone(job) for job in batch]

    def _alone(self, job: _Job) -> tuple["asyncio.Future[Any]", Any, BaseException | None]:
        try:
            with self._engine.begin() as connection:
                return job[1], job[0](connection), None
        except Exception as error:
            return job[1], None, error


def _in(threads: Executor, work: Callable[..., T], *args: Any) -> Awaitable[T]:
    return asyncio.get_running_loop().run_in_executor(threads, work, *args)
