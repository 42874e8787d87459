"""RTP of many calls from one process: mu-law packets of 20 ms on time, and when each that came back was there.

A few sockets are shared by all calls (a call is known by the port that its packets come from); packets carry the
kernel's time of arrival, so that our own lateness is no part of what is measured.
"""

import asyncio
import itertools
import socket
import struct
import time
from array import array
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from trunkline_sim import mulaw

STEP_S = 0.02
SPOKES = 10  # calls are spread over the 20 ms
FRAME = 160  # bytes of mu-law
SOCKETS = 8
BUFFER = 4 << 20
HEAD = struct.Struct("!BBHII")
_STAMP = struct.Struct("@qq")
_SO_TIMESTAMPNS = 35  # <asm-generic/socket.h>
_MOST_READ = 256  # packets of a socket in one go
_LOUD = bytes(int(abs(int(level)) > 4000) for level in mulaw.EXPAND)
_QUIET = bytes(int(abs(int(level)) < 40) for level in mulaw.EXPAND)


def tone(hz: float, amplitude: float, frames: int = 1) -> list[bytes]:
    """Mu-law of so many frames; whole periods fit into one where 20 ms hold them."""
    at = np.arange(FRAME * frames)
    wave = mulaw.encode(np.round(amplitude * np.sin(2 * np.pi * hz * at / mulaw.RATE)).astype(np.int16))
    return [wave[begins : begins + FRAME] for begins in range(0, len(wave), FRAME)]


SILENCE = bytes((mulaw.SILENCE,)) * FRAME
(PILOT,) = tone(400, 1000)  # what a line that is alive sounds like: a frame of digital silence is a hole then
(PULSE,) = tone(500, 16_000)


@dataclass(slots=True)
class Stream:
    """One call's audio. Times are of `time.time()`, in s."""

    local: int  # port that we send from and hear on
    index: int  # of its socket
    remote: tuple[str, int] | None = None
    payload: Callable[[int], bytes] | None = None  # what to say in the nth frame; None: nothing is sent
    line: Callable[[], float | None] | None = None  # of each packet: how late it leaves, in s; None: it is lost
    sent: int = 0
    received: int = 0
    foreign: int = 0  # packets of another source than the one that was told, or of no audio
    empty: int = 0  # frames of digital silence
    keep: bool = False  # note the next two
    arrivals: "array[float]" = field(default_factory=lambda: array("d"))
    numbers: "array[int]" = field(default_factory=lambda: array("q"))  # extended sequence numbers
    pulsed: float = 0.0  # when the pulse that is on its way was sent; 0: none is
    pulses: int = 0
    lost: int = 0
    delays: "array[float]" = field(default_factory=lambda: array("d"))  # s, sample by sample
    heard: Callable[[bytes], None] | None = None  # each payload, for whoever wants the sound
    _head: int = 0
    _last: int = -1

    def pulse(self) -> None:
        """The frame that is sent now is one."""
        self.lost += self.pulsed > 0
        self.pulses += 1
        self.pulsed = time.time()


class Media:
    """`async with Media(host) as media:` sends for all streams that are open. One per process."""

    def __init__(self, host: str = "127.0.0.1", sockets: int = SOCKETS) -> None:
        self._host = host
        self._sockets = [_socket(host) for _ in range(sockets)]
        self._next = itertools.count()
        self._spokes: list[set[int]] = [set() for _ in range(SPOKES)]
        self._streams: dict[int, Stream] = {}
        self._by_source: list[dict[int, Stream]] = [{} for _ in range(sockets)]
        self._clock: asyncio.Task[None] | None = None
        self.late: array[float] = array("d")  # our own lateness with each spoke, s
        self.strange = 0  # packets of no call

    async def __aenter__(self) -> "Media":
        loop = asyncio.get_running_loop()
        for index, sock in enumerate(self._sockets):
            loop.add_reader(sock, self._read, index)
        self._clock = loop.create_task(self._turn(), name="sip.media")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._clock is not None
        self._clock.cancel()
        await asyncio.gather(self._clock, return_exceptions=True)
        for sock in self._sockets:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()

    def open(self) -> Stream:
        """A new one, silent until it has `remote` and `payload`."""
        number = next(self._next)
        index = number % len(self._sockets)
        stream = Stream(self._sockets[index].getsockname()[1], index)
        self._streams[number] = stream
        self._spokes[number % SPOKES].add(number)
        return stream

    def connect(self, stream: Stream, remote: tuple[str, int]) -> None:
        """Where its packets go, and come from."""
        self._forget(stream)
        stream.remote = remote
        self._by_source[stream.index][remote[1]] = stream

    def close(self, stream: Stream) -> None:
        """Nothing is sent or heard any more."""
        self._forget(stream)
        for number, known in list(self._streams.items()):
            if known is stream:
                del self._streams[number]
                self._spokes[number % SPOKES].discard(number)

    def _forget(self, stream: Stream) -> None:
        if stream.remote is not None and self._by_source[stream.index].get(stream.remote[1]) is stream:
            del self._by_source[stream.index][stream.remote[1]]

    # -- out

    async def _turn(self) -> None:
        """One spoke after the other, 2 ms apart; what was slept through is sent at once."""
        zero = time.monotonic()
        for beat in itertools.count(1):
            due = zero + beat * STEP_S / SPOKES
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            elif beat % SPOKES == 0:
                await asyncio.sleep(0)
            spoke = self._spokes[beat % SPOKES]
            if spoke:
                self.late.append(time.monotonic() - due)
            for number in spoke:
                self._send(self._streams[number])

    def _send(self, stream: Stream) -> None:
        if stream.payload is None or stream.remote is None:
            return
        count = stream.sent
        stream.sent = count + 1
        payload = stream.payload(count)
        if payload:
            head = HEAD.pack(0x80, 0x80 * (not count), count & 0xFFFF, count * FRAME & 0xFFFFFFFF, stream.local)
            self._leave(stream, head + payload)

    def _leave(self, stream: Stream, packet: bytes) -> None:
        delay = stream.line() if stream.line is not None else 0.0
        if delay:
            asyncio.get_running_loop().call_later(delay, self._out, stream, packet)
        elif delay is not None:
            self._out(stream, packet)

    def _out(self, stream: Stream, packet: bytes) -> None:
        sock = self._sockets[stream.index]
        if sock.fileno() >= 0 and stream.remote is not None:
            with suppress(BlockingIOError, ConnectionError):
                sock.sendto(packet, stream.remote)

    # -- in

    def _read(self, index: int) -> None:
        sock, sources = self._sockets[index], self._by_source[index]
        for _ in range(_MOST_READ):
            try:
                data, told, _, source = sock.recvmsg(2048, 64)
            except (BlockingIOError, ConnectionError):
                return
            stream = sources.get(source[1])
            if stream is None:
                self.strange += 1
                continue
            seconds, nanos = _STAMP.unpack_from(told[0][2]) if told else (time.time(), 0)
            _heard(stream, data, seconds + nanos / 1e9)


def _heard(stream: Stream, data: bytes, at: float) -> None:
    if len(data) != FRAME + HEAD.size or data[1] & 0x7F:
        stream.foreign += 1
        return
    stream.received += 1
    payload = data[HEAD.size :]
    if stream.heard is not None:
        stream.heard(payload)
    if stream.keep:
        stream.numbers.append(_extended(stream, data[2] << 8 | data[3]))
        stream.arrivals.append(at)
        stream.empty += 0 not in payload.translate(_QUIET)
    if stream.pulsed:
        onset = payload.translate(_LOUD).find(1)
        if onset >= 0:
            stream.delays.append(at + onset / mulaw.RATE - stream.pulsed)
            stream.pulsed = 0.0


def _extended(stream: Stream, number: int) -> int:
    """A sequence number of 16 bits, told beyond its rounds."""
    if stream._last >= 0:
        step = (number - stream._last + 0x8000) & 0xFFFF
        stream._head += step - 0x8000
    else:
        stream._head = number
    stream._last = number
    return stream._head


def _socket(host: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
    sock.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    sock.bind((host, 0))
    sock.setblocking(False)
    return sock
