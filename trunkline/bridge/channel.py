"""A bounded stream with one consumer: the producer never waits, the oldest goes first, and what went is told."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """`async for item in channel`: items in order, then an end once `close` was called and all were taken."""

    def __init__(self, limit: float) -> None:
        """limit: the most it holds, in units of the items' weights (one each, seconds)."""
        self._limit = limit + 1e-9
        self._items: deque[tuple[T, float]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self.held = 0.0  # in units of weight

    def put(self, item: T, weight: float = 1.0) -> float:
        """Add an item; the weight of what had to be dropped for it. After `close` it is dropped itself."""
        if self._closed:
            return weight
        dropped = 0.0
        while self.held + weight > self._limit and self._items:
            dropped += self._items[0][1]
            self._take()
        self._items.append((item, weight))
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
            await self._waiter
        return self._take()

    def _take(self) -> T:
        item, weight = self._items.popleft()
        self.held = self.held - weight if self._items else 0.0
        return item

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
