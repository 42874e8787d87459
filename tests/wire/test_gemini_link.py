"""google-genai opens a connection to a server whose every byte is the test's: nothing between the acknowledgement and
our own frames is lost, ends mean what they meant to the SDK's library, and nobody else's certificate is good enough."""

import asyncio
import base64
import functools
import hashlib
import json
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ParamSpec

import aiofastnet
import pytest
import uvloop
from google import genai

from trunkline.ai.gemini.channel import MOST_BYTES
from trunkline.ai.gemini.faults import Broken
from trunkline.ai.gemini.link import Link, connected, make_client
from trunkline.ai.gemini.setup import make_config
from trunkline.ai.session import Brief
from trunkline.ai.tools import ToolResult
from trunkline.config import Gemini
from trunkline.loops import loop_factory
from trunkline.websocket_frames import CLOSE, PING, PONG, TEXT, FrameReader, Message, close_payload, server_frame
from trunkline_sim.certs import make_certificates

pytestmark = pytest.mark.wire
P = ParamSpec("P")
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
    "as served": loop_factory(),
}
WAIT_S = 20.0
ACKNOWLEDGED = server_frame(TEXT, b'{"setupComplete":{}}')
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 1.3


def on_every_loop(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Each has TLS of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        for name, make in LOOPS.items():
            try:
                with asyncio.Runner(loop_factory=make) as runner:
                    runner.run(test(*args, **kwargs))
            except BaseException as wrong:
                wrong.add_note(f"on the loop: {name}")
                raise

    return run


class Peer:
    """The server's side of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self._frames = FrameReader(masked=True, most_bytes=MOST_BYTES)
        self._found: list[Message] = []

    async def head(self) -> bytes:
        """Read the request; what says yes to it."""
        asked = await self.reader.readuntil(b"\r\n\r\n")
        lines = dict(line.split(b": ", 1) for line in asked.split(b"\r\n")[1:] if b": " in line)
        key = next(value for name, value in lines.items() if name.lower() == b"sec-websocket-key")
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        return (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )

    async def upgraded(self) -> None:
        """Until the set-up has been read."""
        self.writer.write(await self.head())
        assert "setup" in json.loads((await self.next()).payload)

    async def next(self) -> Message:
        """The next frame of the client's."""
        while not self._found:
            data = await self.reader.read(65_536)
            assert data, "the client is gone"
            self._found += self._frames.feed(data)
        return self._found.pop(0)

    def reset(self) -> None:
        """RST."""
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Serve = Callable[[Peer], Awaitable[None]]


@asynccontextmanager
async def server(folder: Path, serve: Serve, host: str = "localhost") -> AsyncIterator[tuple[int, Path]]:
    """(port, the authority to trust); what `serve` raises is raised at the end."""
    certificates = make_certificates(folder, (host,))
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(Peer(reader, writer))
        except Exception as wrong:
            if not done.done():
                done.set_exception(wrong)
        else:
            if not done.done():
                done.set_result(None)
        finally:
            writer.transport.abort()

    listening = await asyncio.start_server(meet, "127.0.0.1", 0, ssl=certificates.server_context())
    try:
        yield listening.sockets[0].getsockname()[1], certificates.ca_file
        async with asyncio.timeout(WAIT_S):
            await done
    finally:
        done.cancel()
        listening.close()


def client(port: int, ca_file: Path | str) -> genai.Client:
    return make_client(
        "any", base_url=f"https://localhost:{port}", api_version="v1beta", ca_file=str(ca_file), open_s=WAIT_S
    )


CONFIG = make_config(Gemini(), Brief("c", "a"), "", history=False)


@asynccontextmanager
async def linked(port: int, ca_file: Path | str) -> AsyncIterator[Link]:
    async with asyncio.timeout(WAIT_S), connected(client(port, ca_file), "gemini-3.8-live", CONFIG, WAIT_S) as link:
        yield link


async def messages(link: Link, count: int) -> list[Any]:
    taken: list[Any] = []

    def take(raw: bytes) -> bool:
        taken.append(json.loads(raw))
        return len(taken) == count

    await link.follow(take)
    return taken


async def ended(link: Link) -> Broken:
    with pytest.raises(Broken) as broken:
        await link.follow(lambda _: False)
    return broken.value


def numbered(*numbers: int) -> list[bytes]:
    return [server_frame(TEXT, json.dumps({"number": number}).encode()) for number in numbers]


@pytest.mark.parametrize("half", [1, 3, 9])
@on_every_loop
async def test_what_follows_the_acknowledgement_in_one_segment_is_not_lost(tmp_path: Path, half: int) -> None:
    async def serve(peer: Peer) -> None:
        await peer.upgraded()
        *whole, fourth, fifth = numbered(1, 2, 3, 4, 5)
        peer.writer.write(ACKNOWLEDGED + b"".join(whole) + fourth[:half])
        await peer.writer.drain()
        assert "heard" in (await peer.next()).payload.decode()  # the client goes on meanwhile
        peer.writer.write(fourth[half:] + fifth)
        await peer.reader.read()

    async with server(tmp_path, serve) as (port, ca_file), linked(port, ca_file) as link:
        await link.say("heard")
        assert await messages(link, 5) == [{"number": number} for number in range(1, 6)]
        link.abort()


@on_every_loop
async def test_nor_is_what_comes_with_the_answer_to_the_upgrade(tmp_path: Path) -> None:
    async def serve(peer: Peer) -> None:
        one, two = numbered(1, 2)
        peer.writer.write(await peer.head() + ACKNOWLEDGED + one + two[:5])
        await peer.next()
        peer.writer.write(two[5:])
        await peer.reader.read()

    async with server(tmp_path, serve) as (port, ca_file), linked(port, ca_file) as link:
        assert await messages(link, 2) == [{"number": 1}, {"number": 2}]
        link.abort()


@on_every_loop
async def test_byte_by_byte_with_pings_in_between_it_is_the_same(tmp_path: Path) -> None:
    async def serve(peer: Peer) -> None:
        stream = await peer.head() + ACKNOWLEDGED + b"".join(numbered(1)) + server_frame(PING, b"there?")
        for byte in stream + b'\x01\x0a{"number":\x80\x022}':  # two fragments
            peer.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert "setup" in json.loads((await peer.next()).payload)
        assert await peer.next() == Message(PONG, b"there?")
        await peer.reader.read()

    async with server(tmp_path, serve) as (port, ca_file), linked(port, ca_file) as link:
        assert await messages(link, 2) == [{"number": 1}, {"number": 2}]
        await link.close()


@on_every_loop
async def test_audio_and_the_sdks_messages_go_up_in_their_order(tmp_path: Path) -> None:
    heard: list[Any] = []

    async def serve(peer: Peer) -> None:
        await peer.upgraded()
        peer.writer.write(ACKNOWLEDGED)
        for _ in range(5):
            opcode, payload = await peer.next()
            assert opcode == TEXT
            heard.append(json.loads(payload))
        assert await peer.next() == Message(CLOSE, close_payload(1000))
        peer.writer.write(server_frame(CLOSE, close_payload(1000)))
        await peer.writer.drain()

    async with server(tmp_path, serve) as (port, ca_file), linked(port, ca_file) as link:
        await link.seed([("user", "before")], first=True)
        assert link.audio(b"\x01\x02")
        await link.say("now")
        assert link.audio(b"\x03\x04" * 40_000)
        await link.answer(ToolResult("t1", "order", {"size": 2}))
        await link.close()
        with pytest.raises(Broken):
            link.audio(b"")
        with pytest.raises(Broken):
            await link.say("too late")
    assert [next(iter(message)) for message in heard] == [
        "client_content",
        "realtimeInput",
        "realtimeInput",
        "realtimeInput",
        "tool_response",
    ]
    assert heard[2]["realtimeInput"]["text"] == "now"
    assert base64.b64decode(heard[3]["realtimeInput"]["audio"]["data"]) == b"\x03\x04" * 40_000


@pytest.mark.parametrize(
    ("goodbye", "code", "action"),
    [
        (close_payload(1000), "1000", "resume"),
        (close_payload(1011, "Deadline expired"), "1011", "resume"),
        (close_payload(1008, "You exceeded your current quota"), "1008", "stop"),
        (close_payload(1007, "no such thing"), "1007", "fresh"),
        (b"", "1005", "resume"),
        (None, "1006", "resume"),
    ],
)
@on_every_loop
async def test_every_end_means_what_it_meant(tmp_path: Path, goodbye: bytes | None, code: str, action: str) -> None:
    async def serve(peer: Peer) -> None:
        await peer.upgraded()
        peer.writer.write(ACKNOWLEDGED)
        await peer.next()
        if goodbye is None:
            peer.reset()
            return
        peer.writer.write(server_frame(CLOSE, goodbye))
        assert await peer.next() == Message(CLOSE, goodbye)

    async with server(tmp_path, serve) as (port, ca_file), linked(port, ca_file) as link:
        link.audio(b"")
        fault = (await ended(link)).fault
        assert (fault.code, fault.action) == (code, action)


@pytest.mark.parametrize(("code", "reason"), [(1008, "API key not valid. Please pass a valid API key."), (1006, "")])
@on_every_loop
async def test_an_end_instead_of_the_acknowledgement_is_a_refusal(tmp_path: Path, code: int, reason: str) -> None:
    async def serve(peer: Peer) -> None:
        await peer.upgraded()
        if code == 1006:
            peer.reset()
            return
        peer.writer.write(server_frame(CLOSE, close_payload(code, reason)))
        await peer.next()

    async with server(tmp_path, serve) as (port, ca_file):
        with pytest.raises(Broken) as broken:
            async with linked(port, ca_file):
                pass
        assert broken.value.fault.code == str(code)
        assert broken.value.fault.action == ("stop" if reason else "resume")


@on_every_loop
async def test_a_message_without_end_or_broken_framing_is_left(tmp_path: Path) -> None:
    async def serve(peer: Peer) -> None:
        await peer.upgraded()
        peer.writer.write(ACKNOWLEDGED + b"\x81\x7f" + (MOST_BYTES + 1).to_bytes(8))
        opcode, payload = await peer.next()
        assert (opcode, payload[:2]) == (CLOSE, (1009).to_bytes(2))
        await peer.reader.read()  # and says nothing more

    async with server(tmp_path, serve) as (port, ca_file), linked(port, ca_file) as link:
        assert (await ended(link)).fault.code == "1009"


@on_every_loop
async def test_a_far_end_that_takes_nothing_is_told_and_one_that_takes_again_too(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def serve(peer: Peer) -> None:
        await peer.upgraded()
        peer.writer.write(ACKNOWLEDGED)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await go_on.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        while json.loads((await peer.next()).payload) != {"realtimeInput": {"text": "last"}}:
            pass

    async with server(tmp_path, serve) as (port, ca_file), linked(port, ca_file) as link:
        while link.audio(bytes(64_000)):
            pass
        assert link.blocked_s >= 0
        assert not link.audio(b"")
        await link.say("last")  # words are never refused
        go_on.set()
        await link.room()
        assert link.blocked_s == 0
        with pytest.raises(Broken):
            await link.follow(lambda _: False)


@pytest.mark.parametrize("wrong", ["authority", "name"])
@on_every_loop
async def test_nobody_elses_certificate_is_good_enough(tmp_path: Path, wrong: str) -> None:
    async def serve(_: Peer) -> None: ...

    host = "localhost" if wrong == "authority" else "another.example"
    async with server(tmp_path, serve, host) as (port, ca_file):
        with pytest.raises(Broken) as broken:
            async with linked(port, "" if wrong == "authority" else ca_file):
                pass
        fault = broken.value.fault
        assert (fault.code, fault.action, fault.retryable) == ("tls", "stop", False)
        context = ssl.create_default_context(cafile=ca_file)  # for the server, which met nobody
        _, writer = await asyncio.open_connection("localhost", port, ssl=context, server_hostname=host)
        writer.close()


async def test_as_served_tls_to_others_is_aiofastnets_and_all_else_uvloops(tmp_path: Path) -> None:
    def look() -> None:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(main())

    async def main() -> None:
        loop = asyncio.get_running_loop()
        certificates = make_certificates(tmp_path, ("localhost",))
        trust = certificates.client_context()
        listening = await asyncio.start_server(
            lambda _, writer: writer.write(b"x"), "127.0.0.1", 0, ssl=certificates.server_context()
        )
        port = listening.sockets[0].getsockname()[1]
        direct, _ = await loop.create_connection(asyncio.Protocol, "localhost", port, ssl=trust)
        plain, protocol = await loop.create_connection(asyncio.Protocol, "localhost", port)
        wrapped = await loop.start_tls(plain, protocol, trust, server_hostname="localhost")
        assert wrapped is not None
        assert [isinstance(one, aiofastnet.Transport) for one in (direct, plain, wrapped)] == [True, False, False]
        assert direct.get_extra_info("peercert") == wrapped.get_extra_info("peercert")
        for transport in (direct, wrapped):
            transport.abort()
        listening.close()

    await asyncio.to_thread(look)
