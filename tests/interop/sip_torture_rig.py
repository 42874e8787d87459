"""What the hostile tests are made of: a network namespace, senders over UDP and TCP, a probe, a caller with a voice."""

import asyncio
import ctypes
import itertools
import os
import re
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

CLONE_NEWNET: Final = 0x40000000
PROBE_S: Final = 1.0  # within which an OPTIONS is answered, whatever came before it
_COPIED: Final = ("via", "from", "to", "call-id", "v", "f", "t", "i")


def in_namespace(body: Callable[[], Awaitable[None]]) -> None:
    """Run it in a thread of a network namespace that has loopback alone; processes it starts are in there too."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "unshare: a network namespace needs root")
            subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
            asyncio.run(body())  # type: ignore[arg-type]
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]


def code_of(message: bytes) -> int:
    """Of a response; 0 for anything else."""
    found = re.match(rb"SIP/2\.0 (\d{3}) ", message)
    return int(found[1]) if found else 0


def header(message: bytes, name: str) -> str:
    """The first one of that name, "" without it."""
    found = re.search(rb"(?im)^" + name.encode() + rb"[ \t]*:[ \t]*(.*?)\r?$", message)
    return found[1].decode("utf-8", "replace") if found else ""


def acknowledged(response: bytes) -> bytes | None:
    """The ACK for a final answer to an INVITE; None for another response."""
    if code_of(response) < 200 or not header(response, "CSeq").endswith("INVITE"):
        return None
    lines = response.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    kept = [line for line in lines if line.partition(b":")[0].strip().lower().decode("latin1") in _COPIED]
    number = header(response, "CSeq").split()[0]
    to = b"ACK sip:agent@127.0.0.1 SIP/2.0"
    rest = [b"Max-Forwards: 70", b"CSeq: %b ACK" % number.encode(), b"Content-Length: 0", b"", b""]
    return b"\r\n".join([to, *kept, *rest])


def agreed(request: bytes) -> bytes:
    """200 to a request of the gateway's."""
    lines = request.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]
    kept = [line for line in lines if line.partition(b":")[0].strip().lower().decode() in (*_COPIED, "cseq")]
    return b"\r\n".join([b"SIP/2.0 200 OK", *kept, b"Content-Length: 0", b"", b""])


class Datagrams(asyncio.DatagramProtocol):
    """A far end's socket: says ACK and 200 by itself, keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.news = asyncio.Event()
        self.polite = True
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, address: tuple[str, int]) -> None:
        assert self.transport is not None
        self.told.append(data)
        self.news.set()
        if not self.polite:
            return
        answer = acknowledged(data) if data.startswith(b"SIP/2.0") else agreed(data) if data[:4] == b"BYE " else None
        if answer is not None:
            self.transport.sendto(answer, address)

    async def final(self, seconds: float, wanted: Callable[[bytes], bool] = lambda _: True) -> int:
        """The first final answer's code, 0 when none came in time."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    for message in self.told:
                        if code_of(message) >= 200 and wanted(message):
                            return code_of(message)
                    self.news.clear()
                    await self.news.wait()
        except TimeoutError:
            return 0

    def close(self) -> None:
        assert self.transport is not None
        self.transport.close()


class Voice(asyncio.DatagramProtocol):
    """A far end's audio: when each packet came, and its number."""

    def __init__(self) -> None:
        self.arrivals: list[tuple[float, int]] = []  # seconds, sequence number
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, _address: tuple[str, int]) -> None:
        if len(data) >= 172:
            self.arrivals.append((time.monotonic(), struct.unpack_from(">H", data, 2)[0]))


async def datagrams(address: str = "127.0.0.1", port: int = 0) -> Datagrams:
    """Bound there."""
    loop = asyncio.get_running_loop()
    _, made = await loop.create_datagram_endpoint(Datagrams, local_addr=(address, port))
    return made


async def voice(address: str = "127.0.0.1") -> Voice:
    """Bound to a free port there."""
    loop = asyncio.get_running_loop()
    _, made = await loop.create_datagram_endpoint(Voice, local_addr=(address, 0))
    return made


@dataclass(frozen=True, slots=True)
class Heard:
    """Of one voice, for a while: packets, how many of them are missing, the longest gap, and how late they came."""

    packets: int
    missing: int
    gap_s: float
    late: float  # share of packets more than 20 ms behind the best one's schedule

    @classmethod
    def of(cls, arrivals: Sequence[tuple[float, int]]) -> "Heard":
        steps = [(after[1] - before[1]) & 0xFFFF for before, after in itertools.pairwise(arrivals)]
        gaps = [after[0] - before[0] for before, after in itertools.pairwise(arrivals)]
        first = arrivals[0][1] if arrivals else 0
        behind = [at - ((number - first) & 0xFFFF) * 0.02 for at, number in arrivals]
        best = min(behind, default=0.0)
        late = sum(at - best > 0.02 for at in behind) / max(1, len(behind))
        return cls(len(arrivals), sum(step - 1 for step in steps if 1 < step < 1000), max(gaps, default=0.0), late)


class Probe:
    """Asks OPTIONS and knows how long the answer took."""

    def __init__(self, far: Datagrams, port: int) -> None:
        self._far, self._port, self._number = far, port, 0
        self.slowest = 0.0

    @classmethod
    async def open(cls, port: int, address: str = "127.0.0.1") -> "Probe":
        return cls(await datagrams(address), port)

    async def ask(self, after: object) -> None:
        """Asserts the answer within a second."""
        assert self._far.transport is not None
        self._number += 1
        self._far.told.clear()
        address, own = self._far.transport.get_extra_info("sockname")
        message = (
            f"OPTIONS sip:agent@127.0.0.1:{self._port} SIP/2.0\r\nVia: SIP/2.0/UDP {address}:{own};rport;"
            f"branch=z9hG4bKprobe{self._number}\r\nMax-Forwards: 70\r\nFrom: <sip:probe@127.0.0.1>;tag=p\r\n"
            f"To: <sip:agent@127.0.0.1>\r\nCall-ID: probe{self._number}\r\nCSeq: {self._number} OPTIONS\r\n"
            "Content-Length: 0\r\n\r\n"
        )
        asked = time.monotonic()
        self._far.transport.sendto(message.encode(), ("127.0.0.1", self._port))
        code = await self._far.final(PROBE_S)
        self.slowest = max(self.slowest, time.monotonic() - asked)
        assert code == 200, f"no answer to OPTIONS within {PROBE_S} s after {after}"

    def close(self) -> None:
        self._far.close()


async def over_tcp(
    port: int, pieces: Sequence[bytes], seconds: float, gap_s: float = 0.0, source: str = "127.0.0.1"
) -> list[bytes]:
    """Send them one after the other on one connection; what came back until that time, message by message."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    except ConnectionResetError:
        return []
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    got: list[bytes] = []
    hear = asyncio.create_task(_hear(reader, writer, got))
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            if gap_s or len(pieces) > 2:
                await asyncio.sleep(gap_s)
        await asyncio.wait({hear}, timeout=seconds)
    except ConnectionError:
        pass  # it was closed: an answer too
    finally:
        hear.cancel()
        writer.transport.abort()
    return got


async def _hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, got: list[bytes]) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = int(header(head, "Content-Length") or 0)
            message = head + (await reader.readexactly(length) if length else b"")
            got.append(message)
            answer = acknowledged(message) if message.startswith(b"SIP/2.0") else agreed(message)
            if answer is not None:
                writer.write(answer)
            if code_of(message) >= 200:
                return
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return


@dataclass
class Caller:
    """One call with a voice: 20 ms of PCMA fifty times a second, and a record of what comes back."""

    port: int
    name: str
    sip: Datagrams
    rtp: Voice
    tag: str = ""
    call_id: str = ""
    remote: tuple[str, int] = ("", 0)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)
    cseq: int = 1

    @classmethod
    async def open(cls, port: int, name: str, address: str = "127.0.0.1") -> "Caller":
        sip, rtp = await datagrams(address), await voice(address)
        made = cls(port, name, sip, rtp, call_id=f"{name}-{time.monotonic_ns()}")
        await made._invite()
        made._tasks.append(asyncio.create_task(made._speak()))
        return made

    @property
    def own(self) -> tuple[str, int]:
        assert self.sip.transport is not None
        return self.sip.transport.get_extra_info("sockname")

    def request(self, method: str, body: str = "", *more: str) -> bytes:
        """One of this dialog."""
        self.cseq += method not in ("INVITE", "ACK")
        address, port = self.own
        lines = [
            f"{method} sip:agent@127.0.0.1:{self.port} SIP/2.0",
            f"Via: SIP/2.0/UDP {address}:{port};rport;branch=z9hG4bK{self.name}{method}{time.monotonic_ns()}",
            "Max-Forwards: 70",
            f"From: <sip:{self.name}@127.0.0.1>;tag=own",
            "To: <sip:agent@127.0.0.1>" + (f";tag={self.tag}" if self.tag else ""),
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} {method}",
            f"Contact: <sip:{self.name}@{address}:{port}>",
            *more,
            *(["Content-Type: application/sdp"] if body.startswith("v=") else []),
            f"Content-Length: {len(body)}",
        ]
        return ("\r\n".join([*lines, "", ""]) + body).encode()

    def sdp(self) -> str:
        assert self.rtp.transport is not None
        address, port = self.rtp.transport.get_extra_info("sockname")
        return f"v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\nm=audio {port} RTP/AVP 8\r\n"

    async def _invite(self) -> None:
        assert self.sip.transport is not None
        for _ in range(10):
            self.sip.told.clear()
            self.sip.transport.sendto(self.request("INVITE", self.sdp()), ("127.0.0.1", self.port))
            code = await self.sip.final(5.0)
            if code not in (486, 503):
                break
            self.call_id = f"{self.name}-{time.monotonic_ns()}"
            await asyncio.sleep(1.0)
        assert code == 200, f"{self.name} heard {code}"
        answer = next(message for message in self.sip.told if code_of(message) == 200)
        self.tag = header(answer, "To").partition("tag=")[2].partition(";")[0]
        found = re.search(rb"m=audio (\d+)", answer)
        assert found
        self.remote = ("127.0.0.1", int(found[1]))

    async def _speak(self) -> None:
        assert self.rtp.transport is not None
        number, begun = 0, time.monotonic()
        while True:
            packet = (
                struct.pack(">BBHII", 0x80, 8, number & 0xFFFF, number * 160, 77) + bytes([0x55 + number % 40]) * 160
            )
            self.rtp.transport.sendto(packet, self.remote)
            number += 1
            await asyncio.sleep(max(0.0, begun + number * 0.02 - time.monotonic()))

    @property
    def over(self) -> bool:
        """The gateway said BYE."""
        return any(message.startswith(b"BYE ") for message in self.sip.told)

    def heard(self, since: float = 0.0) -> Heard:
        """What came back, from a moment on."""
        return Heard.of([one for one in self.rtp.arrivals if one[0] >= since])

    async def bye(self) -> int:
        """Its answer's code."""
        assert self.sip.transport is not None
        self.sip.told.clear()
        bye = self.request("BYE")
        for _ in range(6):
            self.sip.transport.sendto(bye, ("127.0.0.1", self.port))
            if code := await self.sip.final(0.5, lambda told: header(told, "CSeq").endswith("BYE")):
                return code
        return 0

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.sip.close()
        assert self.rtp.transport is not None
        self.rtp.transport.close()


@dataclass(frozen=True, slots=True)
class Census:
    """What a process holds."""

    descriptors: int
    threads: int
    mib: float

    @classmethod
    def of(cls, pid: int) -> "Census":
        status = Path(f"/proc/{pid}/status").read_text()
        numbers = {key: int(re.search(rf"(?m)^{key}:\s+(\d+)", status)[1]) for key in ("VmRSS", "Threads")}  # type: ignore[index]
        return cls(len(os.listdir(f"/proc/{pid}/fd")), numbers["Threads"], numbers["VmRSS"] / 1024)
