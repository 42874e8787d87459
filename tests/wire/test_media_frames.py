"""Carriers' sockets frame by frame, on real sockets with another library at the other end: `websockets`."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.wire.service import PATIENCE_S, TONE, Running, running
from trunkline.ai.echo import EchoProvider
from trunkline.websocket_frames import CLOSE, TEXT, FrameReader, Message, client_frame, close_of

pytestmark = pytest.mark.wire
HELLO = (
    b"GET /smartflo/audio HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
FORMAT = {"encoding": "audio/x-mulaw", "sampleRate": 8000}


def start(call: str) -> str:
    facts = {"streamSid": "S1", "callSid": call, "from": "919800000001", "to": "918069000000", "mediaFormat": FORMAT}
    return json.dumps({"event": "start", "streamSid": "S1", "start": facts})


def media(payload: bytes) -> str:
    return json.dumps({"event": "media", "streamSid": "S1", "media": {"payload": base64.b64encode(payload).decode()}})


STOP = json.dumps({"event": "stop", "streamSid": "S1", "stop": {"reason": "Call ended"}})


@asynccontextmanager
async def talking(run: Running) -> AsyncIterator[ClientConnection]:
    """A described call, live in the service."""
    async with connect(run.socket_url + "/smartflo/audio", proxy=None, ping_interval=None) as socket:
        await socket.send('{"event":"connected"}')
        await socket.send(start("c-1"))
        await run.calls(1, live=True)
        yield socket


async def ended(run: Running) -> dict[str, Any]:
    (call,) = await run.calls(1, live=False)
    return call


async def until_closed(socket: ClientConnection) -> int:
    """The close code we were given; 1006 without one."""
    async with asyncio.timeout(PATIENCE_S):
        try:
            while True:
                await socket.recv()
        except ConnectionClosed as over:
            return over.rcvd.code if over.rcvd is not None else 1006


async def test_no_extension_is_agreed_on_and_pings_are_answered(tmp_path: Path) -> None:
    async with running(tmp_path) as run, talking(run) as socket:
        assert socket.response is not None
        assert "permessage-deflate" in socket.request.headers["Sec-WebSocket-Extensions"]  # type: ignore[union-attr]
        assert "Sec-WebSocket-Extensions" not in socket.response.headers
        async with asyncio.timeout(PATIENCE_S):
            await (await socket.ping(b"are you there"))
        await socket.send(STOP)
        assert await until_closed(socket) == 1000


async def test_a_message_in_fragments_is_one_message(tmp_path: Path) -> None:
    async with running(tmp_path) as run, talking(run) as socket:
        await socket.send(iter([STOP[:5], STOP[5:20], STOP[20:]]))
        assert await until_closed(socket) == 1000
        assert (await ended(run))["code"] == "Call ended"


@pytest.mark.parametrize(("code", "cause"), [(1000, "abandoned"), (1001, "abandoned"), (1011, "media_lost")])
async def test_their_goodbye_is_answered_and_judged(tmp_path: Path, code: int, cause: str) -> None:
    async with running(tmp_path) as run, talking(run) as socket:
        async with asyncio.timeout(PATIENCE_S):
            await socket.close(code, "their reason")
        assert socket.protocol.close_rcvd is not None, "the handshake was finished"
        assert socket.protocol.close_rcvd.code == code
        call = await ended(run)
        assert (call["cause"], call["code"]) == (cause, str(code))


@pytest.mark.parametrize(
    ("wire", "code", "kind"),
    [
        (b"\x83\x80\x00\x00\x00\x00", 1002, "bad_frame"),
        (client_frame(TEXT, b"\xff\xfe"), 1007, "bad_text"),
        (client_frame(TEXT, b" " * ((1 << 20) + 1)), 1009, "too_large"),
    ],
    ids=["bad_frame", "bad_text", "too_large"],  # frames are masked at random: no name to find a test by
)
async def test_broken_framing_is_told_counted_and_recorded(tmp_path: Path, wire: bytes, code: int, kind: str) -> None:
    async with running(tmp_path) as run, talking(run) as socket:
        socket.transport.write(wire)
        assert await until_closed(socket) in (code, 1006)  # 1006: a reset overtook what we said
        call = await ended(run)
        assert (call["cause"], call["fault"], call["code"]) == ("media_lost", "carrier", str(code))
        assert call["counters"][kind] == 1


async def test_a_whole_call_in_one_packet_with_the_handshake(tmp_path: Path) -> None:
    """A client need not wait for our 101 before it speaks, and TCP cuts where it likes."""
    async with running(tmp_path) as run:
        host, port = run.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        told = [start("c-early"), *[media(TONE)] * 5, STOP]
        writer.write(HELLO + b"".join(client_frame(TEXT, one.encode()) for one in told))
        async with asyncio.timeout(PATIENCE_S):
            head = await reader.readuntil(b"\r\n\r\n")
            frames, found = FrameReader(masked=False, most_bytes=1 << 20), list[Message]()
            while not found or found[-1].opcode != CLOSE:
                data = await reader.read(65536)
                assert data, "closed without a goodbye"
                found += frames.feed(data)
        assert head.startswith(b"HTTP/1.1 101 ")
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head  # RFC 6455, 1.3
        assert close_of(found[-1].payload)[0] == 1000
        writer.write(client_frame(CLOSE, found[-1].payload))
        call = await ended(run)
        assert (call["carrier_ref"], call["code"]) == ("c-early", "Call ended")
        writer.close()


async def test_a_stalled_wire_that_brings_two_seconds_at_once_loses_no_word(tmp_path: Path) -> None:
    async with running(tmp_path, provider=EchoProvider()) as run, talking(run) as socket:
        socket.transport.write(b"".join(client_frame(TEXT, media(TONE[:160]).encode()) for _ in range(100)))
        async with asyncio.timeout(PATIENCE_S):
            heard = 0.0
            while heard < 1.9:
                message = json.loads(await socket.recv())
                if message["event"] == "media":
                    heard += len(base64.b64decode(message["media"]["payload"])) / 8000
        await socket.send(STOP)
        await until_closed(socket)
        assert not [name for name in (await ended(run))["counters"] if "dropped" in name]
