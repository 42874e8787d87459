"""From an HTTP request to a websocket that is ours: aiohttp's handshake, then `FrameSocket` in place of its reader.

aiohttp hands all bytes behind an upgrade to its protocol's payload parser, so that is what we become; once somebody
listens, they come past it, for two interpreted calls would be in their way. No extension is ever agreed to: audio does
not shrink.
"""

import asyncio
import base64
import hashlib
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from trunkline.bridge.frame_socket import FrameSocket

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


def is_upgrade(request: web.Request) -> bool:
    """Whether the request is a valid websocket handshake."""
    return web.WebSocketResponse(compress=False).can_prepare(request).ok


class _Past(asyncio.Protocol):
    """aiohttp's connection in everything but the bytes, which are the socket's."""

    def __init__(self, protocol: RequestHandler, socket: FrameSocket) -> None:
        self.data_received = socket.feed_data  # type: ignore[assignment, method-assign]
        self.connection_lost = protocol.connection_lost  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]


async def upgraded(request: web.Request, *, most_bytes: int) -> tuple[web.StreamResponse, FrameSocket]:
    """Answer 101: the response that the handler must return in the end, and the socket; most_bytes: of one message.

    The request must be one (`is_upgrade`). Raises ConnectionError when the client is gone already.
    """
    key = request.headers["Sec-WebSocket-Key"].encode()
    accept = base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()
    response = web.StreamResponse(
        status=101, headers={"Upgrade": "websocket", "Connection": "upgrade", "Sec-WebSocket-Accept": accept}
    )
    response.force_close()
    writer = await response.prepare(request)
    transport, protocol = request.transport, request.protocol
    if transport is None or writer is None:
        raise ConnectionResetError("the client left during the handshake")
    protocol.keep_alive(False)

    def begin(parser: FrameSocket) -> None:
        if protocol.transport is None:  # reset before anybody listened: aiohttp told nobody
            parser.feed_eof()
            return
        protocol.set_parser(cast(Any, parser))  # what came already, and the end
        if not transport.is_closing():
            transport.set_protocol(_Past(protocol, parser))

    socket = FrameSocket(
        transport,
        protocol,
        begin=begin,
        drain=writer.drain,
        most_bytes=most_bytes,
    )
    return response, socket
