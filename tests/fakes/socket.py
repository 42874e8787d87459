"""A websocket in memory: what the far end says is put in, what we send comes out with its time."""

import asyncio
from collections.abc import Callable

from trunkline.bridge.dialect import Message


class FakeSocket:
    """`Socket` for tests. `taken` is told each message as it leaves; `hold` makes the far end stop reading."""

    def __init__(self, taken: Callable[[Message], None] | None = None) -> None:
        self.sent: list[tuple[float, Message]] = []  # (loop time, message)
        self.taken = taken
        self.close_code: int | None = None
        self.closed_with: tuple[int, str] | None = None
        self._inbox: asyncio.Queue[Message | None] = asyncio.Queue()
        self._reading = asyncio.Event()
        self._reading.set()

    async def receive(self) -> Message | None:
        return await self._inbox.get()

    async def send(self, message: Message) -> None:
        if self.close_code is not None:
            raise ConnectionResetError("closed")
        self.sent.append((asyncio.get_running_loop().time(), message))
        if self.taken is not None:
            self.taken(message)
        await self._reading.wait()

    async def close(self, code: int, reason: str) -> None:
        await self._reading.wait()
        if self.closed_with is None:
            self.closed_with = (code, reason)
            self.shut(code)

    def say(self, *messages: Message) -> None:
        """The far end sends."""
        for message in messages:
            self._inbox.put_nowait(message)

    def shut(self, code: int = 1006) -> None:
        """The far end closes, or vanishes (1006)."""
        if self.close_code is None:
            self.close_code = code
            self._inbox.put_nowait(None)

    def hold(self) -> None:
        """From now on a `send` waits: the far end does not read."""
        self._reading.clear()

    def resume(self) -> None:
        self._reading.set()
