"""A function that is asked again and again, as a stream. In a file of its own: mypyc compiles no asynchronous generator
(ADR 0007), and the stream's end is `aclose`, as its consumers know it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def until_none(ask: Callable[[], Awaitable[T | None]]) -> AsyncIterator[T]:
    """What `ask` gives, until it gives None."""
    while (found := await ask()) is not None:
        yield found
