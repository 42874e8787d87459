"""A websocket in memory: what the far end says is put in, what we send comes out with its time."""

import asyncio
from collections import deque
from collections.abc import Callable

from trunkline.bridge.dialect import Message
from trunkline.bridge.wire_socket import Listener


class FakeSocket:
    """`Socket` for tests. `taken` is told each message as it leaves; `hold` makes the far end stop reading.

    What the far end says arrives in the loop's next turn, as off a wire, never within the call that said it.
    """

    def __init__(self, taken: Callable[[Message], None] | None = None) -> None:
        self.sent: list[tuple[float, Message]] = []  # (loop time, message)
        self.taken = taken
        self.close_code: int | None = None
        self.closed_with: tuple[int, str] | None = None
        self.full = False
        self._listener: Listener | None = None
        self._inbox: deque[Message | None] = deque()
        self._delivering = False
        self._reading = asyncio.Event()
        self._reading.set()

    def listen(self, listener: Listener | None) -> None:
        self._listener = listener
        self._deliver_soon()

    def send(self, message: Message) -> None:
        if self.close_code is not None:
            raise ConnectionResetError("closed")
        self.sent.append((asyncio.get_running_loop().time(), message))
        if self.taken is not None:
            self.taken(message)

    async def drained(self) -> None:
        await self._reading.wait()

    async def close(self, code: int, reason: str) -> None:
        self._listener = None
        await self._reading.wait()
        if self.closed_with is None:
            self.closed_with = (code, reason)
            self.shut(code)

    def say(self, *messages: Message) -> None:
        """The far end sends."""
        self._inbox.extend(messages)
        self._deliver_soon()

    def shut(self, code: int = 1006) -> None:
        """The far end closes, or vanishes (1006)."""
        if self.close_code is None:
            self.close_code = code
            self._inbox.append(None)
            self._deliver_soon()

    def hold(self) -> None:
        """From now on the far end does not read."""
        self._reading.clear()
        self.full = True

    def resume(self) -> None:
        self._reading.set()
        self.full = False

    def _deliver_soon(self) -> None:
        if not self._delivering and self._inbox and self._listener is not None:
            self._delivering = True
            asyncio.get_running_loop().call_soon(self._deliver)

    def _deliver(self) -> None:
        """All there is, until the listener has enough for now."""
        self._delivering = False
        while self._inbox and self._listener is not None:
            message = self._inbox.popleft()
            if message is None:
                self._listener.gone()
            elif self._listener.heard(message):
                break
        self._deliver_soon()
