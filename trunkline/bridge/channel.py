"""A bounded stream with one consumer: the producer never waits, the oldest goes first, and what went is told."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """`async for item in channel`: items in order, then an end once `close` was called and all were taken."""

    def __init__(self, limit: float, weight: Callable[[T], float] = lambda _: 1.0) -> None:
        """limit: the most it holds, in units of `weight` (items, seconds)."""
        self._limit = limit
        self._weight = weight
        self._items: deque[T] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self.held = 0.0  # in units of weight

    def put(self, item: T) -> float:
        """Add an item; the weight of what had to be dropped for it. After `close` it is dropped itself."""
        weight = self._weight(item)
        if self._closed:
            return weight
        dropped = 0.0
        while self._items and self.held + weight > self._limit + 1e-9:
            dropped += self._take()[1]
        self._items.append(item)
        self.held += weight
        self._wake()
        return dropped

    def close(self) -> None:
        """No more items; those held are still handed out."""
        self._closed = True
        self._wake()

    def __aiter__(self) -> "Channel[T]":
        return self

    async def __anext__(self) -> T:
        while not self._items:
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._take()[0]

    def _take(self) -> tuple[T, float]:
        item = self._items.popleft()
        weight = self._weight(item)
        self.held = self.held - weight if self._items else 0.0
        return item, weight

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
