"""What a media leg needs of a websocket, and aiohttp's seen that way."""

from typing import Protocol

from aiohttp import ClientWebSocketResponse, WSMsgType, web

from trunkline.bridge.dialect import Message

POLITE = frozenset({1000, 1001, 1005})  # close codes (RFC 6455, 7.4) of a far end that said goodbye


class Socket(Protocol):
    """A websocket after its handshake: whole messages, no fragments, pings answered by itself."""

    async def receive(self) -> Message | None:
        """The next message, or None once the socket is closed. May be cancelled without losing one."""
        ...

    async def send(self, message: Message) -> None:
        """Hand a message to the transport, in order; waits when the far end does not read. OSError when closed."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Closing handshake; harmless when closed already."""
        ...

    @property
    def close_code(self) -> int | None:
        """The far end's close code; None or 1006 when it vanished without one (RFC 6455, 7.1.5)."""
        ...


class AiohttpSocket:
    """An aiohttp websocket of either side. Make it with `compress=False`, `max_msg_size` and a `heartbeat` ≥ 20 s."""

    def __init__(self, ws: web.WebSocketResponse | ClientWebSocketResponse) -> None:
        self._ws = ws

    async def receive(self) -> Message | None:
        """The next text or binary message; None on close and on error."""
        message = await self._ws.receive()
        if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
            data: Message = message.data
            return data
        return None  # aiohttp answers pings itself: all else is an end

    async def send(self, message: Message) -> None:
        """Text as text, bytes as binary."""
        try:
            if isinstance(message, str):
                await self._ws.send_str(message)
            else:
                await self._ws.send_bytes(message)
        except RuntimeError as error:  # aiohttp's word for a socket that is closed or was never prepared
            raise ConnectionResetError(str(error)) from error

    async def close(self, code: int, reason: str) -> None:
        """Closing handshake, bounded by the caller."""
        await self._ws.close(code=code, message=reason.encode()[:120])

    @property
    def close_code(self) -> int | None:
        """The code of the closing handshake, 1006 after an abrupt end."""
        return self._ws.close_code
