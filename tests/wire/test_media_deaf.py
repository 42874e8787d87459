"""A far end that keeps its socket open and reads nothing: its call ends as lost, and the socket does not stay."""

import asyncio
import base64
import json
import socket
import struct
from pathlib import Path

import psutil
import pytest

from tests.wire.service import TONE, Running, running
from trunkline.ai.echo import EchoProvider
from trunkline.service import listen

pytestmark = pytest.mark.wire
HELLO = (
    b"GET /smartflo/audio HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
START = {"event": "start", "streamSid": "S1", "start": {"callSid": "deaf", "from": "919800000001", "to": "918069000000",
         "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000}}}  # fmt: skip
MEDIA = {"event": "media", "streamSid": "S1", "media": {"payload": base64.b64encode(TONE).decode()}}


def text(body: object) -> bytes:
    """A masked text message (RFC 6455, 5.2), by hand: nothing here reads."""
    data = json.dumps(body).encode()
    head = struct.pack("!BB", 0x81, 0x80 | len(data)) if len(data) < 126 else struct.pack("!BBH", 0x81, 254, len(data))
    return head + bytes(4) + data


def small(service: socket.socket) -> socket.socket:
    """Accepted sockets inherit it: what nobody reads fills up within seconds."""
    service.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return service


def theirs(run: Running, deaf: socket.socket) -> list[object]:
    """Our end of the deaf one's connection, while we have it."""
    mine = deaf.getsockname()
    return [c for c in psutil.Process().net_connections("tcp4") if c.raddr and tuple(c.raddr) == mine and c.fd != -1]


async def test_a_far_end_that_reads_nothing_is_let_go(tmp_path: Path) -> None:
    sockets = [small(one) for one in listen("127.0.0.1", 0)]
    async with running(tmp_path, provider=EchoProvider(), sockets=sockets) as run:
        deaf = socket.socket()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        host, port = run.url.removeprefix("http://").split(":")
        deaf.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(deaf, (host, int(port)))
        await loop.sock_sendall(deaf, HELLO)
        await loop.sock_recv(deaf, 200)
        await loop.sock_sendall(deaf, text({"event": "connected"}) + text(START))
        await run.calls(1, live=True)
        assert theirs(run, deaf)
        try:
            async with asyncio.timeout(30):
                while run.service.active:
                    await loop.sock_sendall(deaf, text(MEDIA))
                    await asyncio.sleep(0.1)
        except ConnectionError:
            pass  # the reset
        (call,) = await run.calls(1, live=False)
        assert (call["cause"], call["fault"], call["code"]) == ("media_lost", "carrier", "stalled")
        await asyncio.sleep(0.5)
        assert theirs(run, deaf) == []
        deaf.close()
