"""A far end that answers every request as it is told, and a name server; both in this process, over UDP."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from tests.peers.sip.rig import Worker
from trunkline.bridge.sip import dns_wire as dns
from trunkline.bridge.sip import messages as wire


def trunk(port: int, **fields: object) -> dict[str, object]:
    """One at a far end of this machine."""
    return {"name": "carrier", "host": f"127.0.0.1:{port}", "user": "4980", **fields}


class Zone(asyncio.DatagramProtocol):
    """A name server that knows one service: `_sip._udp.pbx.test` on these ports of this machine, in this order."""

    def __init__(self, ports: Sequence[int]) -> None:
        self._ports = ports

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        records = b""
        count = 0
        if b"\x04_sip\x04_udp\x03pbx\x04test\0" + struct.pack(">H", dns.SRV) in data:
            for priority, port in enumerate(self._ports):
                host = bytes([2, ord("s"), ord("0") + priority]) + b"\x03pbx\x04test\0"
                value = struct.pack(">HHH", priority, 0, port) + host
                records += b"\xc0\x0c" + struct.pack(">HHIH", dns.SRV, 1, 60, len(value)) + value
                records += host + struct.pack(">HHIH", dns.A, 1, 60, 4) + bytes([127, 0, 0, 1])
                count += 2
        head = data[:2] + struct.pack(">HHHHH", 0x8180, 1, count, 0, 0)
        self._transport.sendto(head + data[12:] + records, addr)  # type: ignore[attr-defined]


@asynccontextmanager
async def zone(*ports: int) -> AsyncIterator[str]:
    loop = asyncio.get_running_loop()
    transport, _zone = await loop.create_datagram_endpoint(lambda: Zone(ports), local_addr=("127.0.0.1", 0))
    yield f"127.0.0.1:{transport.get_extra_info('sockname')[1]}"
    transport.close()


class Peer(asyncio.DatagramProtocol):
    """Answers each request as it is told, keeps what it was sent. `answers`: method → codes, the last one for ever."""

    def __init__(self, **answers: list[int]) -> None:
        self.answers = answers
        self.got: list[tuple[float, str]] = []
        self.news = asyncio.Event()
        self.more: dict[str, str] = {"REGISTER": "Expires: 300"}  # headers, by method
        self.deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.port = int(transport.get_extra_info("sockname")[1])

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        text = data.decode()
        method = text.partition(" ")[0]
        if self.deaf or len(data) < 20 or method == "ACK":
            return
        self.got.append((time.monotonic(), text))
        self.news.set()
        codes = self.answers.get(method, [200])
        code = codes.pop(0) if len(codes) > 1 else codes[0]
        self.last_from = addr
        if not code:
            return  # the test answers
        self.reply(text, code, addr)

    def reply(self, text: str, code: int, addr: tuple[str, int], body: str = "") -> None:
        """An answer to a request."""
        method = text.partition(" ")[0]
        head, _, _body = text.partition("\r\n\r\n")
        kept = [
            line + (";tag=x" if line.startswith("To:") and "tag=" not in line else "")
            for line in head.split("\r\n")[1:]
            if line.partition(":")[0] in ("Via", "From", "To", "Call-ID", "CSeq")
        ]
        contact = [line for line in head.split("\r\n") if line.startswith("Contact:")]
        lines = [f"SIP/2.0 {code} x", *kept, *(contact if code == 200 else []), self.more.get(method, "X-N: 0")]
        lines += [f"Contact: <sip:far@127.0.0.1:{self.port}>", "Content-Type: application/sdp"] if body else []
        self._transport.sendto("\r\n".join([*lines, f"Content-Length: {len(body)}", "", body]).encode(), addr)  # type: ignore[attr-defined]

    def of(self, method: str) -> list[tuple[float, str]]:
        return [(at, text) for at, text in self.got if text.startswith(f"{method} ")]

    async def until(self, method: str, count: int) -> list[tuple[float, str]]:
        async with asyncio.timeout(20):
            while len(self.of(method)) < count:
                self.news.clear()
                await self.news.wait()
        return self.of(method)


@asynccontextmanager
async def peer(port: int = 0, **answers: list[int]) -> AsyncIterator[tuple[Peer, int]]:
    loop = asyncio.get_running_loop()
    transport, made = await loop.create_datagram_endpoint(lambda: Peer(**answers), local_addr=("127.0.0.1", port))
    yield made, transport.get_extra_info("sockname")[1]
    transport.close()


async def trunk_is(here: Worker, state: str) -> None:
    """Once the only trunk's state is that: it may have been before the worker came."""
    if (await here.until(wire.Welcome)).trunks["carrier"] != state:
        await here.until(wire.TrunkState, state=state)
