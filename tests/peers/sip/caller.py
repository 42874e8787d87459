"""A telephone of few words: a call over UDP with audio of any codec, packet by packet; and a bad line to put between.

SIPp plays recordings; this one says what is in each packet, what is lost and what is late.
"""

import asyncio
import math
import re
import statistics
import struct
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from trunkline.codecs.codec import Codec

PATIENCE_S = 10.0
_RTP = struct.Struct(">BBHII")
Address = tuple[str, int]


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, heard: Callable[[bytes, Address], None]) -> None:
        self._heard = heard
        self.transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: Address) -> None:
        self._heard(data, addr)

    @property
    def port(self) -> int:
        assert self.transport is not None
        return int(self.transport.get_extra_info("sockname")[1])

    def send(self, data: bytes, to: Address) -> None:
        assert self.transport is not None
        if not self.transport.is_closing():
            self.transport.sendto(data, to)


async def _socket(heard: Callable[[bytes, Address], None]) -> _Socket:
    loop = asyncio.get_running_loop()
    _transport, made = await loop.create_datagram_endpoint(lambda: _Socket(heard), local_addr=("127.0.0.1", 0))
    return made


def sdp(port: int, *codecs: str, more: str = "") -> str:
    """codecs: "0" or "96 L16/16000"; telephone-event is offered beside them."""
    kinds = " ".join(codec.partition(" ")[0] for codec in codecs)
    maps = "".join(f"a=rtpmap:{codec}\r\n" for codec in codecs if " " in codec)
    return (
        "v=0\r\no=u 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
        f"m=audio {port} RTP/AVP {kinds} 101\r\n{maps}a=rtpmap:101 telephone-event/8000\r\n{more}"
    )


def audio_of(text: str) -> tuple[Address, list[str]]:
    """Where the far end wants its audio, and the payload types that it named."""
    host, port, kinds = (
        re.search(pattern, text) for pattern in (r"c=IN IP4 (\S+)", r"m=audio (\d+)", r"m=audio \d+ \S+ (.*)")
    )
    if host is None or port is None or kinds is None:
        raise AssertionError(text)
    return (host[1], int(port[1])), kinds[1].split()


def tone(hz: float, frames: int, rate: int = 8000) -> list[bytes]:
    """20 ms each, s16 little-endian."""
    size = rate // 50
    samples = [round(8000 * math.sin(2 * math.pi * hz * at / rate)) for at in range(size * frames)]
    return [struct.pack(f"<{size}h", *samples[at : at + size]) for at in range(0, len(samples), size)]


def strength(pcm: bytes, hz: float, rate: int = 8000) -> float:
    """Share of the energy at that frequency: the median over pieces of 50 ms, since a hole moves the phase."""
    size = rate // 20
    samples = struct.unpack(f"<{len(pcm) // 2}h", pcm)
    pieces = [samples[at : at + size] for at in range(0, len(samples) - size + 1, size)]
    return statistics.median(_strength(piece, hz, rate) for piece in pieces) if pieces else 0.0


def _strength(samples: Sequence[int], hz: float, rate: int) -> float:
    energy = sum(sample * sample for sample in samples) or 1
    turns = [2 * math.pi * hz * at / rate for at in range(len(samples))]
    real = sum(sample * math.cos(turn) for sample, turn in zip(samples, turns, strict=True))
    imaginary = sum(sample * math.sin(turn) for sample, turn in zip(samples, turns, strict=True))
    return 2 * (real * real + imaginary * imaginary) / (energy * max(1, len(samples)))


def encoded(codec: Codec, frames: int, hz: float = 440) -> list[bytes]:
    """A tone, one packet's payload each."""
    encode = codec.encoder().encode
    return [encode(frame) for frame in tone(hz, frames)]


@dataclass(eq=False)
class Caller:
    """One call. `heard`: packets of the far end's audio (type, sequence, payload)."""

    gateway: Address
    sip: _Socket = field(init=False)
    rtp: _Socket = field(init=False)
    heard: list[tuple[int, int, bytes]] = field(default_factory=list)
    heard_from: set[Address] = field(default_factory=set)
    ssrc: int = 0  # the far end's
    far: Address = ("", 0)  # its audio
    ended: bool = False
    _answers: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    call_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    _cseq: int = 0
    _to_tag: str = ""
    _sequence: int = 100
    _at: int = 0

    async def open(self) -> "Caller":
        self.sip = await _socket(self._signalled)
        self.rtp = await _socket(self._sounded)
        return self

    def close(self) -> None:
        for one in (self.sip, self.rtp):
            assert one.transport is not None
            one.transport.close()

    def _signalled(self, data: bytes, addr: Address) -> None:
        text = data.decode()
        if text.startswith("SIP/2.0"):
            self._answers.put_nowait(text)
            return
        self.ended = self.ended or text.startswith("BYE ")
        kept = [
            line for line in text.split("\r\n") if line.partition(":")[0] in ("Via", "From", "To", "Call-ID", "CSeq")
        ]
        if not text.startswith("ACK "):
            self.sip.send("\r\n".join(["SIP/2.0 200 OK", *kept, "Content-Length: 0", "", ""]).encode(), addr)

    def _sounded(self, data: bytes, addr: Address) -> None:
        if len(data) > _RTP.size:
            _, kind, sequence, _at, self.ssrc = _RTP.unpack_from(data)
            self.heard.append((kind & 0x7F, sequence, data[_RTP.size :]))
            self.heard_from.add(addr)

    def _send(self, method: str, body: str = "", cseq: int | None = None) -> None:
        own, far = f"127.0.0.1:{self.sip.port}", f"{self.gateway[0]}:{self.gateway[1]}"
        lines = [
            f"{method} sip:agent@{far} SIP/2.0",
            f"Via: SIP/2.0/UDP {own};branch=z9hG4bK{uuid.uuid4().hex}",
            "Max-Forwards: 70",
            f"From: <sip:+919800000001@{own}>;tag=t{self.call_id[:8]}",
            f"To: <sip:agent@{far}>{self._to_tag}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq or self._cseq} {method}",
            f"Contact: <sip:c@{own}>",
            *(["Content-Type: application/sdp"] if body else []),
            f"Content-Length: {len(body)}",
        ]
        self.sip.send("\r\n".join([*lines, "", body]).encode(), self.gateway)

    async def _final(self, method: str) -> str:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                text = await self._answers.get()
                if f"CSeq: {self._cseq} {method}" in text and not text.startswith("SIP/2.0 1"):
                    return text

    async def invite(self, offer: str = "", answer: str = "") -> str:
        """INVITE, or a new one in the call; answer: goes with the ACK, to an offer of the far end. Its final answer."""
        self._cseq += 1
        self._send("INVITE", offer)
        text = await self._final("INVITE")
        tag = re.search(r"\r\nTo:[^\r]*(;tag=[^;\r]+)", text)
        self._to_tag = tag[1] if tag else ""
        self._send("ACK", answer)
        if "m=audio" in text:
            self.far = audio_of(text)[0]
        return text

    async def bye(self) -> None:
        self._cseq += 1
        self._send("BYE")
        await self._final("BYE")

    def packet(self, payload: bytes, kind: int, samples: int) -> bytes:
        """The next one of audio."""
        self._sequence, self._at = (self._sequence + 1) & 0xFFFF, (self._at + samples) & 0xFFFFFFFF
        return _RTP.pack(0x80, kind, self._sequence, self._at, 0x1234) + payload

    async def talk(self, payloads: Iterable[bytes], kind: int, samples: int = 160, to: Address | None = None) -> None:
        """One packet each 20 ms; an empty one is time without a packet."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        for payload in payloads:
            packet = self.packet(payload, kind, samples)
            if payload:
                self.rtp.send(packet, to or self.far)
            else:
                self._sequence -= 1
            due += 0.02
            await asyncio.sleep(max(0.0, due - loop.time()))

    def report(self, lost: int, fraction: float) -> None:
        """RTCP to the port after the audio's: what of the far end's did not arrive here (RFC 3550 6.4.2)."""
        highest = self.heard[-1][1] if self.heard else 0
        block = struct.pack(">IIIIII", self.ssrc, (round(fraction * 256) << 24) | lost, highest, 0, 0, 0)
        self.rtp.send(struct.pack(">BBHI", 0x81, 201, 7, 0x1234) + block, (self.far[0], self.far[1] + 1))


def echo_of(caller: Caller, codec: Codec, kind: int) -> bytes:
    """What came back, as samples."""
    decode = codec.decoder().decode
    return b"".join(decode(payload) for found, _sequence, payload in caller.heard if found == kind)


@asynccontextmanager
async def calling(port: int) -> AsyncIterator[Caller]:
    """A telephone whose calls go to the gateway at that port."""
    made = await Caller(("127.0.0.1", port)).open()
    try:
        yield made
    finally:
        made.close()


class BadLine:
    """Passes packets on to `far`, but each `every`-th (0: all), and those later by what `delay_s` says, in order."""

    def __init__(self, far: Address, every: int, delay_s: Callable[[int], float] = lambda _number: 0.0) -> None:
        self._far, self._every, self._delay_s = far, every, delay_s
        self._number = 0
        self._last = 0.0
        self.dropped = 0
        self.socket: _Socket

    async def open(self) -> Address:
        self.socket = await _socket(self._heard)
        return ("127.0.0.1", self.socket.port)

    def _heard(self, data: bytes, addr: Address) -> None:
        if addr == self._far:
            return
        self._number += 1
        if self._every and self._number % self._every == 0:
            self.dropped += 1
            return
        loop = asyncio.get_running_loop()
        self._last = max(self._last + 1e-4, loop.time() + self._delay_s(self._number))
        loop.call_at(self._last, self.socket.send, data, self._far)
