"""Where everything that happens in a call waits for the one mind that decides: bounded, in order of arrival."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")
BOUND = 256


class Inbox(Generic[T]):
    """Many writers, one reader."""

    def __init__(self, bound: int = BOUND) -> None:
        self._items: deque[T] = deque()
        self._bound = bound
        self._something = asyncio.Event()
        self._room = asyncio.Event()
        self.idle = False  # the reader waits, and nothing waits for it

    async def put(self, item: T) -> None:
        """Append; waits while `bound` items wait already."""
        while len(self._items) >= self._bound:
            self._room.clear()
            await self._room.wait()
        self.post(item)

    def post(self, item: T) -> None:
        """Append at once: for what happens a bounded number of times per call and has nobody who could wait."""
        self._items.append(item)
        self.idle = False
        self._something.set()

    def poke(self) -> None:
        """Wake the reader without an item: its deadline has moved."""
        self.idle = False
        self._something.set()

    async def get(self, timeout_s: float) -> T | None:
        """The oldest item, or None when nothing came within the time, or at a poke."""
        if not self._items:
            self._something.clear()
            self.idle = True
            try:
                async with asyncio.timeout(max(0.0, timeout_s)):
                    await self._something.wait()
            except TimeoutError:
                return None
            finally:
                self.idle = False
            if not self._items:
                return None
        item = self._items.popleft()
        if len(self._items) < self._bound:
            self._room.set()
        return item
