"""What all workers of a node know of each other without asking: phase, seats taken, live calls, in shared memory.

One row per worker, written by that worker alone; a dead one's row is cleared by the supervisor. So admission holds for
the node and costs no message. The file is anonymous and inherited as a descriptor.
"""

import fcntl
import mmap
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from enum import IntEnum
from typing import get_args

from trunkline.config import Profile

ROWS = 256  # workers at once, those that still drain included
_PROFILES = get_args(Profile)
_FIRST = 4  # cells before those of the profiles: phase, seats, live calls, connections just taken
_CELLS = _FIRST + len(_PROFILES)  # of each profile, its calls
_SIZE = ROWS * _CELLS * 8
_TRIES = 200  # for the lock; each holder keeps it for microseconds


class Phase(IntEnum):
    """Of a worker. FREE: the row is nobody's."""

    FREE = 0
    STARTING = 1
    READY = 2  # takes connections
    LEAVING = 3  # takes no connections, serves those that it has
    DRAINING = 4  # takes no calls


class NodeBoard:
    """The whole board. `fd` is inherited by workers; the maker and each worker map it for themselves."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, _SIZE)
        self._cells = memoryview(self._map).cast("q")

    @classmethod
    def create(cls) -> "NodeBoard":
        """An empty board."""
        if hasattr(os, "memfd_create"):
            fd = os.memfd_create("trunkline-node")
        else:  # not Linux
            with tempfile.TemporaryFile() as file:
                fd = os.dup(file.fileno())
        os.ftruncate(fd, _SIZE)
        return cls(fd)

    def close(self) -> None:
        """Unmap and close."""
        self._cells.release()
        self._map.close()
        os.close(self.fd)

    def hire(self) -> int:
        """A free row, now STARTING. Raises OverflowError when there is none."""
        for row in range(ROWS):
            if self._cells[row * _CELLS] == Phase.FREE:
                self._cells[row * _CELLS] = Phase.STARTING
                return row
        raise OverflowError(f"{ROWS} workers live already")

    def clear(self, row: int) -> None:
        """The row's worker is gone, and its seats with it."""
        for cell in range(_CELLS):
            self._cells[row * _CELLS + cell] = 0

    def phase(self, row: int) -> Phase:
        """Of that row's worker."""
        return Phase(self._cells[row * _CELLS])

    def write(self, row: int, cell: int, value: int) -> None:
        """Set one number of one's own row."""
        self._cells[row * _CELLS + cell] = value

    def read(self, row: int, cell: int) -> int:
        """One number."""
        return self._cells[row * _CELLS + cell]

    def total(self, cell: int) -> int:
        """The sum over all workers."""
        return sum(self._cells[cell : ROWS * _CELLS : _CELLS])

    def rows(self, phase: Phase) -> list[int]:
        """Rows of the workers in that phase."""
        return [row for row in range(ROWS) if self._cells[row * _CELLS] == phase]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else counts meanwhile. A holder that was stopped in it (a debugger) is not waited for: then the limit
        may be passed by one call, which is better than a node that stands still."""
        held = False
        for _ in range(_TRIES):
            with suppress(BlockingIOError):
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # of the process, and gone with it
                held = True
                break
            os.sched_yield()
        try:
            yield
        finally:
            if held:
                fcntl.lockf(self.fd, fcntl.LOCK_UN)


class Place:
    """One worker's row: the switchboard's `Room`, and what the door and `/ready` ask."""

    def __init__(self, board: NodeBoard, row: int, limit: int, of_profiles: Mapping[str, int] | None = None) -> None:
        """limit: calls of the node. of_profiles: the same by profile; one that is not named has no limit of its own."""
        self._board = board
        self._row = row
        self._limit = limit
        self._of_profiles = of_profiles or {}

    def take(self) -> bool:
        """A seat of the node's, unless all are taken."""
        with self._board.locked():
            if self._board.total(1) >= self._limit:
                return False
            self._board.write(self._row, 1, self._board.read(self._row, 1) + 1)
            return True

    def leave(self) -> None:
        """Give one back."""
        self._board.write(self._row, 1, self._board.read(self._row, 1) - 1)

    def reserve(self, provider: str, capacity: int | None) -> int | None:
        """One of a profile's calls, within what this worker can carry of them and within the node's limit. None when it
        is reserved, else the limit that is met."""
        cell, most = _FIRST + _PROFILES.index(provider), self._of_profiles.get(provider)
        with self._board.locked():
            mine = self._board.read(self._row, cell)
            if capacity is not None and mine >= capacity:
                return capacity
            if most is not None and self._board.total(cell) >= most:
                return most
            self._board.write(self._row, cell, mine + 1)
            return None

    def release(self, provider: str) -> None:
        """Give it back."""
        cell = _FIRST + _PROFILES.index(provider)
        self._board.write(self._row, cell, self._board.read(self._row, cell) - 1)

    def live(self, count: int) -> None:
        """So many calls are live here."""
        self._board.write(self._row, 2, count)

    def phase(self, phase: Phase) -> None:
        """Where this worker is in its life."""
        self._board.write(self._row, 0, phase)

    @property
    def active(self) -> int:
        """Live calls of the node."""
        return self._board.total(2)

    @property
    def ready(self) -> bool:
        """True while any worker takes connections and calls."""
        return bool(self._board.rows(Phase.READY))

    def busier(self) -> bool:
        """True while another worker that takes connections has fewer seats taken than this one."""
        others = [self._load(row) for row in self._board.rows(Phase.READY) if row != self._row]
        return bool(others) and self._load(self._row) > min(others)

    def arrived(self, count: int) -> None:
        """So many connections were taken just now (negative: that was a moment ago)."""
        self._board.write(self._row, 3, self._board.read(self._row, 3) + count)

    def _load(self, row: int) -> int:
        """Seats, and connections that may soon take one: a burst comes faster than its requests are read."""
        return self._board.read(row, 1) + self._board.read(row, 3)
