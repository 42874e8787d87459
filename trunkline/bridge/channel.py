"""A bounded stream with one consumer: the producer never waits, the oldest goes first, and what went is told."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Channel(Generic[T]):
    """`async for item in channel`: items in order, then an end once `close` was called and all were taken."""

    def __init__(self, limit: float) -> None:
        """limit: the most it holds, in units of the items' weights (one each, seconds)."""
        self._limit = limit + 1e-9
        self._items: deque[tuple[T, float]] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Callable[[T], bool] | None = None
        self._closed = False
        self.held = 0.0  # in units of weight

    def straight(self, sink: Callable[[T], bool]) -> None:
        """Offer items to `sink` where they are put, but only while the consumer has had everything before and waits:
        it spares a task's turn. What `sink` declines goes to the consumer; what it raises is raised there."""
        self._sink = sink

    def put(self, item: T, weight: float = 1.0) -> float:
        """Add an item; the weight of what had to be dropped for it. After `close` it is dropped itself."""
        if self._closed:
            return weight
        if self._sink is not None and self._taken(item, self._sink):
            return 0.0
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

    def _taken(self, item: T, sink: Callable[[T], bool]) -> bool:
        waiter = self._waiter
        if waiter is None or waiter.done():
            return False
        try:
            return sink(item)
        except Exception as wrong:  # the consumer's, not of whoever put it
            if not waiter.done():
                waiter.set_exception(wrong)
            return True

    def _take(self) -> T:
        item, weight = self._items.popleft()
        self.held = self.held - weight if self._items else 0.0
        return item

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
