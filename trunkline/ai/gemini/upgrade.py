"""google-genai's connection: opened, upgraded and closed by its websocket library, used by frames of our own.

The library's public `create_connection` makes it. Its bytes go to the library up to the end of the answer to the
upgrade; there a `Channel` takes the transport. What the SDK sends and awaits after that (set-up, acknowledgement,
words, results) passes through the same channel by the methods that it calls.
"""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, cast

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedError
from websockets.frames import Close
from websockets.protocol import State

from trunkline.ai.gemini.channel import LOST, Channel, Closing, Ended

_END = b"\r\n\r\n"  # of a head


@dataclass(slots=True)
class Opening:
    """A connection in the making. `rewrite`: the set-up message as the SDK says it → as it is sent."""

    rewrite: Callable[[bytes], bytes] | None = None
    connection: "Upgraded | None" = None


opening: ContextVar[Opening | None] = ContextVar("gemini_opening", default=None)
"""What this task opens."""


class Upgraded(ClientConnection):
    """For `create_connection`. Only bytes (`recv(decode=False)`) and whole messages, which is what the SDK uses."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tail = b""  # of the head so far
        self._frames: Channel | None = None
        here = opening.get()
        self._rewrite = None if here is None else here.rewrite  # what is sent first is the set-up
        if here is not None:
            here.connection = self

    @property
    def channel(self) -> Channel:
        """Its frames; once the upgrade was answered with yes."""
        if self._frames is None:
            raise Ended(Closing(LOST, "not upgraded"))
        return self._frames

    def data_received(self, data: bytes) -> None:
        """Of asyncio.Protocol; until the channel has the transport."""
        cut = self._head_ends(data) if self.state is State.CONNECTING else 0
        if not cut:
            super().data_received(data)
            return
        super().data_received(data[:cut])
        if self.state is not State.OPEN:  # refused: the rest is the library's
            super().data_received(data[cut:])
            return
        self._frames = Channel(self.transport, self.connection_lost)
        self.transport.set_protocol(cast(asyncio.Protocol, self._frames))
        if cut < len(data):
            self._frames.data_received(data[cut:])

    def _head_ends(self, data: bytes) -> int:
        """Behind the blank line, in this piece; 0 while it is not there."""
        seen = self._tail + data
        at = seen.find(_END)
        if at < 0:
            self._tail = seen[-3:]
            return 0
        return at + len(_END) - len(self._tail)

    async def send(self, message: Any, text: bool | None = None) -> None:
        """Write a whole message; see ClientConnection."""
        data = message.encode() if isinstance(message, str) else bytes(message)
        if self._rewrite is not None:
            data, self._rewrite = self._rewrite(data), None
        try:
            self.channel.text(data)
        except Ended as ended:
            raise closed(ended.closing) from ended

    async def recv(self, decode: bool | None = None) -> Any:
        """The next message; see ClientConnection."""
        try:
            message = await self.channel.message()
        except Ended as ended:
            raise closed(ended.closing) from ended
        return message if decode is False else message.decode()

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """See ClientConnection."""
        if self._frames is None:
            await super().close(code, reason)
        else:
            await self._frames.close(int(code), reason)


def closed(closing: Closing) -> ConnectionClosed:
    """The same in the words of the SDK's websocket library."""
    if closing.code == LOST:
        return ConnectionClosedError(None, None)
    frame = Close(closing.code, closing.reason)
    return ConnectionClosedError(frame, None) if closing.told else ConnectionClosedError(None, frame)
