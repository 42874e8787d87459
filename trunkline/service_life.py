"""A worker's sign of life: a locked file in DATA_DIR/workers. Whoever finds one unlocked closes that worker's calls.

The kernel drops the lock with the process, however it died, and also where process ids mean nothing (containers that
share the folder). A call that was live then ends as `internal` in the store instead of being live for ever.
"""

import asyncio
import fcntl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO

import structlog

from trunkline.calls.store import CallStore

FOLDER = "workers"
log = structlog.get_logger("trunkline.service")


@asynccontextmanager
async def alive(data_dir: Path, name: str, store: CallStore) -> AsyncIterator[None]:
    """Show that `name` lives for as long as the block lasts, after closing what the dead left. Raises OSError."""
    folder = data_dir / FOLDER
    sign = await asyncio.to_thread(_show, folder / name)
    try:
        for dead in await asyncio.to_thread(_dead, folder, name):
            calls = await store.abandon(dead.name)
            log.warning("worker.found_dead", worker=dead.name, calls_closed=calls)
            dead.unlink(missing_ok=True)
        yield
    finally:
        (folder / name).unlink(missing_ok=True)
        sign.close()


def _show(path: Path) -> IO[bytes]:
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        sign = path.open("wb")
        fcntl.flock(sign, fcntl.LOCK_EX)
        if path.exists():  # else somebody took it for a dead one's, between the two lines above
            return sign
        sign.close()


def _dead(folder: Path, own: str) -> list[Path]:
    return [path for path in folder.iterdir() if path.name != own and _is_dead(path)]


def _is_dead(path: Path) -> bool:
    try:
        with path.open("rb") as sign:
            fcntl.flock(sign, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:  # it just went by itself
        return False
    except BlockingIOError:
        return False
    return True
