"""The wires under simulated SIP calls: UDP and TCP for messages, a UDP socket per call for its audio."""

import asyncio
import errno
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from trunkline_sim.errors import SimError
from trunkline_sim.sip_message import Framer, Message, parse

Address: TypeAlias = tuple[str, int]
MOST_PACKETS = 25  # of one call, read at once: half a second that the machine stood still
MOST_STREAMS = 1000  # TCP connections at once
MOST_UNSENT = 1 << 20  # bytes that wait for one far end: beyond that it does not read
_TRIES = 20  # any port that is free for both UDP and TCP
_BUFFER = 4 << 20  # bytes: a burst of a thousand INVITEs waits in the kernel


class Hop(Protocol):
    """Where messages of one far end go."""

    @property
    def reliable(self) -> bool:
        """Whether what is sent arrives."""
        ...

    @property
    def far(self) -> str:
        """Their address."""
        ...

    def send(self, data: bytes) -> None:
        """One whole message, at once."""
        ...


@dataclass(frozen=True, slots=True)
class UdpHop:
    """A datagram each."""

    transport: asyncio.DatagramTransport
    address: Address
    reliable: bool = False

    @property
    def far(self) -> str:
        """Their address."""
        return self.address[0]

    def send(self, data: bytes) -> None:
        """One datagram."""
        self.transport.sendto(data, self.address)


@dataclass(frozen=True, slots=True)
class TcpHop:
    """A connection that is there."""

    writer: asyncio.StreamWriter
    counts: Counter[str]
    reliable: bool = True

    @property
    def far(self) -> str:
        """Their address."""
        return str(self.writer.get_extra_info("peername")[0])

    def send(self, data: bytes) -> None:
        """Nothing, once it is closed; who does not read is cut off."""
        if self.writer.is_closing():
            return
        if self.writer.transport.get_write_buffer_size() > MOST_UNSENT:
            self.counts["deaf_streams"] += 1
            self.writer.transport.abort()
            return
        self.writer.write(data)


OnMessage: TypeAlias = Callable[[Message, Hop], None]


class SipSocket:
    """`await open(…)`, then messages arrive at `on_message` and leave by hops. `counts`: what was no message."""

    def __init__(self, on_message: OnMessage) -> None:
        self.counts: Counter[str] = Counter()
        self.host, self.port = "", 0
        self._on_message = on_message
        self._udp: asyncio.DatagramTransport | None = None
        self._server: asyncio.Server | None = None
        self._readers: set[asyncio.Task[None]] = set()

    async def open(self, host: str, port: int, *, tcp: bool = True) -> None:
        """Listen on UDP and, on the same port, TCP; port 0: any free one. Raises SimError."""
        for left in reversed(range(1 if port else _TRIES)):
            try:
                await self._listen(host, port, tcp=tcp)
                return
            except OverflowError:
                raise SimError(f"cannot listen on {host}:{port}: a port is 0 to 65535") from None
            except OSError as wrong:
                if not left or wrong.errno != errno.EADDRINUSE:
                    raise SimError(f"cannot listen on {host}:{port}: {wrong.strerror or wrong}") from wrong

    async def _listen(self, host: str, port: int, *, tcp: bool) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            sock.setblocking(False)
            sock.bind((host, port))
            found = sock.getsockname()
            if tcp:
                self._server = await asyncio.start_server(self._accepted, host, found[1])
        except (OSError, OverflowError):
            sock.close()
            raise
        loop = asyncio.get_running_loop()
        self._udp, _ = await loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=sock)
        self.host, self.port = found

    async def hop(self, address: Address, *, tcp: bool = False) -> Hop:
        """A way to there. Raises SimError."""
        if not tcp:
            assert self._udp is not None
            return UdpHop(self._udp, address)
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(*address)
        except (OSError, TimeoutError) as wrong:
            raise SimError(f"no SIP at {address[0]}:{address[1]} over TCP: {wrong or type(wrong).__name__}") from wrong
        self._own(reader, writer)
        return TcpHop(writer, self.counts)

    async def close(self) -> None:
        """Nothing comes any more."""
        if self._udp is not None:
            self._udp.close()
        if self._server is not None:
            self._server.close()
        for task in self._readers:
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    def arrived(self, data: bytes, hop: Hop) -> None:
        """One message's bytes."""
        if not data.strip(b"\r\n\0 "):  # keep-alive
            self.counts["keepalives"] += 1
            return
        try:
            message = parse(data)
        except ValueError:
            self.counts["odd"] += 1
            return
        self._on_message(message, hop)

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._readers) >= MOST_STREAMS:
            self.counts["streams_turned_away"] += 1
            writer.close()
            return
        self._own(reader, writer)

    def _own(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        task = asyncio.get_running_loop().create_task(self._read(reader, writer), name="sim.sip.tcp")
        self._readers.add(task)
        task.add_done_callback(self._readers.discard)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer, hop = Framer(), TcpHop(writer, self.counts)
        try:
            while data := await reader.read(65_536):
                for whole in framer.feed(data):
                    self.arrived(whole, hop)
        except (OSError, ValueError):
            self.counts["broken_streams"] += 1
        finally:
            writer.close()


def near(far: str) -> str:
    """Our address on the way there. Raises OSError where there is no way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((far, 9))
        return str(probe.getsockname()[0])


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, owner: SipSocket) -> None:
        self._owner = owner
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._owner.arrived(data, UdpHop(self._transport, addr))

    def error_received(self, exc: Exception) -> None:
        self._owner.counts["unreachable"] += 1


class RtpPort:
    """The audio of one call. Read when its owner has time for it: the kernel keeps what came."""

    def __init__(self, host: str) -> None:
        """Raises SimError when there is no port or descriptor left."""
        try:
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.sock.setblocking(False)
            self.sock.bind((host, 0))
        except OSError as wrong:
            raise SimError(f"no RTP port: {wrong.strerror or wrong}") from wrong
        self.port = int(self.sock.getsockname()[1])
        self.far: Address | None = None

    def packets(self) -> Iterator[bytes]:
        """What has come since the last time; the far end is where it comes from (symmetric RTP)."""
        for _ in range(MOST_PACKETS):
            try:
                data, source = self.sock.recvfrom(2048)
            except (BlockingIOError, ConnectionRefusedError):
                return
            if len(data) >= 12:
                self.far = source
            yield data

    def send(self, packet: bytes) -> None:
        """To the far end, if it is known."""
        if self.far is not None and self.far[1]:
            with suppress(OSError):  # nobody listens there yet, or any more
                self.sock.sendto(packet, self.far)

    def close(self) -> None:
        """The port is free."""
        self.sock.close()
