"""Asterisk with AudioSocket in its dialplan: a TCP connection per call, s16le both ways. The messages are pure.

Written from Asterisk's source, not from the product's dialect, so that each side checks the other. `Stream` passes
texts on; a message here is a text of one character per byte.
"""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import aiohttp
import numpy as np

from trunkline_sim import mulaw
from trunkline_sim.errors import SimError
from trunkline_sim.wire import CallFacts, HangUp, Listener, Order, Play, Speaker, Wire

SCHEME = "audiosocket"
DEFAULT_URL = "audiosocket://127.0.0.1:9019"
FRAME = 320  # bytes of 20 ms at 8 kHz: Asterisk plays a message as one frame, whatever its size
CONNECT_S = 2.0  # Asterisk's patience
CLOSE = "\0"  # no message: the connection is closed, which is how Asterisk hangs up


def call_facts(to: str, uuid: str = "") -> CallFacts:
    """A call of this UUID, or of one of its own; nobody tells who calls. Raises SimError."""
    try:
        known = str(UUID(uuid)) if uuid else str(uuid4())
    except ValueError as wrong:
        raise SimError(f"uuid = {uuid!r}: must be a UUID such as {uuid4()}") from wrong
    return CallFacts(from_="", to=to, stream_sid=known, call_sid=known)


class AudioSocketSpeaker(Speaker):
    """Builds Asterisk's messages."""

    @staticmethod
    def connected() -> str:
        """Nothing."""
        return ""

    def start(self) -> str:
        """The UUID."""
        return _message(0x01, UUID(self.facts.call_sid).bytes)

    def media(self, payload: bytes, at_ms: int) -> str:
        """The caller's voice: mu-law in, linear out."""
        return _message(0x10, mulaw.decode(payload).astype("<i2").tobytes())

    def dtmf(self, digit: str) -> str:
        """One key press."""
        return _message(0x03, digit.encode())

    def stop(self, reason: str) -> str:
        """Asterisk hangs up by closing."""
        return CLOSE


class AudioSocketListener(Listener):
    """Reads what the service sends: audio and the hang-up; to a real one anything else is the end of the call."""

    def receive(self, text: str | bytes) -> Order | None:
        """One whole message."""
        data = text.encode("latin-1") if isinstance(text, str) else text
        kind, payload = data[0], data[3:]
        if kind == 0x00:
            return self._seen("hangup", HangUp())
        if kind != 0x10 or not payload:
            self.complaints["not_audio"] += 1
            return None
        if len(payload) != FRAME:
            self.complaints["size_not_320"] += 1
        samples = np.frombuffer(payload[: len(payload) // 2 * 2], "<i2").astype(np.int16)
        return self._seen("media", Play(mulaw.encode(samples)))


WIRE = Wire(AudioSocketSpeaker, AudioSocketListener, clears=False, name="Asterisk")


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of the service, as `trunkline_sim.smartflo` reads them."""

    data: bytes
    type: aiohttp.WSMsgType = aiohttp.WSMsgType.BINARY


class Line:
    """The connection, with what the shell of a call uses of a websocket."""

    close_code: int | None = None

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send_str(self, data: str) -> None:
        """One message; nothing for "", no more for `CLOSE`."""
        if data == CLOSE:
            with suppress(OSError):
                self._writer.write_eof()
        elif data:
            self._writer.write(data.encode("latin-1"))
            await self._writer.drain()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[Heard]:
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                header = await self._reader.readexactly(3)
                yield Heard(header + await self._reader.readexactly(int.from_bytes(header[1:], "big")))

    async def close(self) -> bool:
        """Close, now."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()
        return True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the transport."""
        return self._writer.get_extra_info(name, default)


async def dial(url: str) -> Line:
    """Connect to `audiosocket://host:port`. Raises SimError."""
    parts = urlsplit(url)
    try:
        if not parts.hostname or not parts.port:
            raise ValueError("must be audiosocket://HOST:PORT")
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    except (OSError, ValueError) as wrong:
        hint = " (is [audiosocket] listen set?)" if isinstance(wrong, ConnectionRefusedError) else ""
        raise SimError(f"no AudioSocket at {url}: {wrong or type(wrong).__name__}{hint}") from wrong
    own = writer.get_extra_info("socket")
    own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Line(reader, writer)


def _message(kind: int, payload: bytes) -> str:
    return (bytes((kind,)) + len(payload).to_bytes(2, "big") + payload).decode("latin-1")
