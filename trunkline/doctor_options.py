"""The doctor asks a SIP server whether it lives: one OPTIONS, by UDP, TCP or TLS. RFC 3261 section 11."""

import asyncio
import secrets
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from trunkline.bridge.sip.sip_text import SipText, codecs

Transport: TypeAlias = Literal["udp", "tcp", "tls"]
PATIENCE_S: Final = 4.0
AGAIN_S: Final = (0.5, 1.0)  # a datagram that may be lost is sent again after so long
_MOST_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Answered:
    """What came back."""

    code: int
    reason: str
    took_ms: float
    server: str = ""  # what it calls itself
    codecs: tuple[str, ...] = ()  # when it said them
    seen_as: str = ""  # our address, as it saw it


def question(uri: str, here: tuple[str, int], transport: Transport, call_id: str) -> bytes:
    """An OPTIONS to `uri` from `here`."""
    host, port = here
    own = f"[{host}]" if ":" in host else host
    lines = [
        f"OPTIONS {uri} SIP/2.0",
        f"Via: SIP/2.0/{transport.upper()} {own}:{port};branch=z9hG4bK{secrets.token_hex(8)};rport",
        "Max-Forwards: 70",
        f"From: <sip:doctor@{own}:{port}>;tag={secrets.token_hex(6)}",
        f"To: <{uri}>",
        f"Call-ID: {call_id}",
        "CSeq: 1 OPTIONS",
        f"Contact: <sip:doctor@{own}:{port};transport={transport}>",
        "Accept: application/sdp",
        "User-Agent: Trunkline doctor",
        "Content-Length: 0",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def answer(data: bytes, call_id: str, took_ms: float) -> Answered | None:
    """A final response to that question; None for anything else."""
    text = SipText.of(data.decode("utf-8", "replace"))
    parts = text.start.split(" ", 2)
    if parts[0] != "SIP/2.0" or text.first("call-id") != call_id or not parts[1].isdecimal() or int(parts[1]) < 200:
        return None
    fields = dict(part.strip().partition("=")[::2] for part in text.first("via").split(";")[1:])
    server = text.first("server") or text.first("user-agent")
    return Answered(
        int(parts[1]), parts[2] if len(parts) > 2 else "", took_ms, server, codecs(text.body), _seen(fields)
    )


def _seen(fields: Mapping[str, str]) -> str:
    """RFC 3581: where the packet came from, when the server told."""
    return fields.get("received", "")


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, call_id: str) -> None:
        self.found: asyncio.Future[Answered] = asyncio.get_running_loop().create_future()
        self._call_id = call_id
        self._began = time.perf_counter()

    def datagram_received(self, data: bytes, addr: Any) -> None:
        found = answer(data, self._call_id, 1000 * (time.perf_counter() - self._began))
        if found is not None and not self.found.done():
            self.found.set_result(found)

    def error_received(self, exc: Exception) -> None:
        if not self.found.done():
            self.found.set_exception(exc)


async def ask(
    address: str, port: int, transport: Transport, uri: str, *, name: str = "", patience_s: float = PATIENCE_S
) -> Answered | None:
    """None: no answer in time. name: for TLS; the certificate is judged elsewhere. Raises OSError."""
    try:
        async with asyncio.timeout(patience_s):
            return await (_by_datagram if transport == "udp" else _by_stream)(address, port, transport, uri, name)
    except TimeoutError:
        return None


async def _by_datagram(address: str, port: int, transport: Transport, uri: str, name: str) -> Answered | None:
    call_id = secrets.token_hex(12)
    loop = asyncio.get_running_loop()
    channel, asking = await loop.create_datagram_endpoint(lambda: _Datagrams(call_id), remote_addr=(address, port))
    try:
        here = channel.get_extra_info("sockname")
        data = question(uri, (here[0], here[1]), transport, call_id)
        for wait_s in (*AGAIN_S, PATIENCE_S):
            channel.sendto(data)
            done, _ = await asyncio.wait({asking.found}, timeout=wait_s)
            if done:
                return asking.found.result()
    finally:
        channel.close()
    return None


async def _by_stream(address: str, port: int, transport: Transport, uri: str, name: str) -> Answered | None:
    context = None
    if transport == "tls":
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    call_id, began = secrets.token_hex(12), time.perf_counter()
    reader, writer = await asyncio.open_connection(
        address, port, ssl=context, server_hostname=(name or address) if context else None
    )
    try:
        here = writer.get_extra_info("sockname")
        writer.write(question(uri, (here[0], here[1]), transport, call_id))
        held = b""
        while (data := await reader.read(_MOST_BYTES)) and len(held) < _MOST_BYTES:
            held += data
            if b"\r\n\r\n" in held:
                return answer(held, call_id, 1000 * (time.perf_counter() - began))
    finally:
        writer.close()
    return None


def outward() -> str:
    """The address that this machine goes out with; "" without a way out. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # reserved for documentation: only the route is looked up
            return str(probe.getsockname()[0])
        except OSError:
            return ""
