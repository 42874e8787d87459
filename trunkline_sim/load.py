"""Many calls at once from one process: lean callers without ears, for measuring a service.

A caller sends silence with a short tone each second. Where the service echoes, the tone comes back, and the time there
and back is taken. Our own lateness and processor share are reported too: above 70 % of a core the run measures us.
"""

import asyncio
import base64
import os
import random
import socket
import struct
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import aiohttp
import msgspec
import numpy as np
from rich.table import Table

from trunkline_sim import mulaw
from trunkline_sim.errors import SimError
from trunkline_sim.wire import CallFacts, Speaker

Way: TypeAlias = Literal["stop", "close", "reset", "before start", "mid-message", "in handshake", "half-open"]
WAYS: Sequence[Way] = ("stop", "close", "reset", "before start", "mid-message", "in handshake", "half-open")
RIG_LIMIT = 0.7  # share of a core above which the figures are ours
_PULSE_S = 1.0
_LAST_TONE_S = 0.5  # a call goes on for so long after its last tone, which may still come back
_LOUD = bytes(int(abs(int(level)) > 2000) for level in mulaw.EXPAND)
_LATE_S = 0.040  # of audio behind the ear before it counts as a gap: less is hidden by a jitter buffer
_CLOSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Load:
    """What to do to a service. `seconds` is the length of a call; with `rate` a random half to whole of it."""

    url: str
    calls: int = 50
    seconds: float = 20.0
    rate: float = 0.0  # new calls per second; 0: all at once
    abandon: bool = False
    echo: bool = True
    message_ms: int = 100
    seed: int = 0
    half_open_s: float = 2.0  # a half-open call says and reads nothing for so long, then it is reset


@dataclass(slots=True)
class Placed:
    """One call as its caller lived it: what the service's record of it can be compared with."""

    call_sid: str
    way: Way
    described: bool = False  # `start` was sent: the service must have a record
    sent_s: float = 0.0
    outcome: str = ""  # "" while it goes on


@dataclass(slots=True)
class LoadReport:
    """What came of it. Times in ms, audio in s."""

    load: Load
    placed: list[Placed] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    delays_ms: list[float] = field(default_factory=list)
    setup_ms: list[float] = field(default_factory=list)
    own_late_ms: list[float] = field(default_factory=list)
    pulses: int = 0
    pulses_lost: int = 0
    gaps: int = 0
    sent_s: float = 0.0
    returned_s: float = 0.0
    wall_s: float = 0.0
    cpu_s: float = 0.0

    @property
    def rig_limited(self) -> bool:
        """True when our own processor share makes the figures ours."""
        return self.cpu_s > RIG_LIMIT * self.wall_s

    @property
    def good(self) -> bool:
        """True when every call ended as it was meant to, and nothing illegal was sent to us."""
        return not self.errors and not any(name.startswith("failed") for name in self.outcomes)

    def table(self) -> Table:
        """For a terminal."""
        load = self.load
        how = f"at {load.rate:g} per second" if load.rate else "at once"
        title = f"{load.calls} calls {how}, {load.seconds:g} s each" + (", abandoned at random" if load.abandon else "")
        table = Table("what", "value", title=title, title_justify="left")
        for name, value in self.rows():
            table.add_row(name, value)
        return table

    def rows(self) -> list[tuple[str, str]]:
        """The same as text."""
        rows = [(f"outcome: {name}", str(count)) for name, count in sorted(self.outcomes.items())]
        rows += [(f"error: {name}", str(count)) for name, count in sorted(self.errors.items())]
        rows += [("set-up p50 / p99", _quantiles(self.setup_ms, 0.5, 0.99))]
        if self.load.echo and not self.load.abandon:
            rows += [
                ("there and back p50 / p95 / p99", _quantiles(self.delays_ms, 0.5, 0.95, 0.99)),
                ("tones sent / lost", f"{self.pulses} / {self.pulses_lost}"),
                ("audio sent / returned", f"{self.sent_s:.1f} s / {self.returned_s:.1f} s"),
                ("gaps (audio late for the ear)", str(self.gaps)),
            ]
        limited = " (rig-limited)" if self.rig_limited else ""
        rows += [("our own lateness p50 / p99", _quantiles(self.own_late_ms, 0.5, 0.99))]
        return [*rows, ("our processor share", f"{self.cpu_s / max(self.wall_s, 1e-9):.0%} of a core{limited}")]


def _quantiles(values: Sequence[float], *shares: float) -> str:
    if not values:
        return "-"
    return " / ".join(f"{value:.1f}" for value in np.quantile(values, shares)) + " ms"


def tone_message(message_ms: int) -> bytes:
    """Mu-law of one message: silence, and a tone in its last 20 ms."""
    samples = np.round(12000 * np.sin(2 * np.pi * 500 * np.arange(160) / mulaw.RATE)).astype(np.int16)
    return bytes((mulaw.SILENCE,)) * (message_ms * 8 - 160) + mulaw.encode(samples)


async def run_load(load: Load) -> LoadReport:
    """Place all calls; returns when the last one is over. Raises SimError when nothing listens at all."""
    report = LoadReport(load)
    dice = random.Random(load.seed)
    began, cpu = _now(), time.process_time()
    async with asyncio.TaskGroup() as group:
        for number in range(load.calls):
            if load.rate:
                await asyncio.sleep(max(0.0, began + number / load.rate - _now()))
            call = _LeanCall(load, report, random.Random(dice.random()))
            group.create_task(call.run(), name=f"sim.load.{number}")
    report.wall_s, report.cpu_s = _now() - began, time.process_time() - cpu
    if report.outcomes and all("refused connection" in name for name in report.outcomes):
        raise SimError(f"nothing listens at {load.url}")
    return report


class _LeanCall:
    def __init__(self, load: Load, report: LoadReport, dice: random.Random) -> None:
        self._load = load
        self._report = report
        self._dice = dice
        self._seconds = load.seconds * (dice.uniform(0.5, 1.0) if load.rate else 1.0)
        self._way: Way = dice.choice(WAYS) if load.abandon else "stop"
        if load.abandon:
            self._seconds *= dice.random()
        self._facts = CallFacts(from_=f"91{dice.randint(7000000000, 9999999999)}")
        self._speaker = Speaker(self._facts)
        self._placed = Placed(self._facts.call_sid, self._way)
        report.placed.append(self._placed)
        self._pulse_at: float | None = None
        self._play_end = 0.0
        self._marks: deque[tuple[float, str]] = deque()

    async def run(self) -> None:
        """The whole call; whatever happens becomes an outcome."""
        try:
            if self._way == "in handshake":
                outcome = await self._half_a_handshake()
            else:
                async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
                    outcome = await self._call(session)
        except aiohttp.WSServerHandshakeError as refused:
            outcome = f"refused {refused.status}"
        except aiohttp.ClientConnectorError as refused:
            outcome = f"failed: refused connection ({type(refused.os_error).__name__})"
        except (aiohttp.ClientError, OSError) as wrong:
            outcome = f"failed: {type(wrong).__name__}"
        self._placed.outcome = outcome
        self._report.outcomes[outcome] += 1

    async def _call(self, session: aiohttp.ClientSession) -> str:
        began = _now()
        ws = await session.ws_connect(self._load.url, max_msg_size=1 << 20, timeout=_PATIENCE)
        self._report.setup_ms.append(1000 * (_now() - began))
        await ws.send_str(Speaker.connected())
        if self._way == "before start":
            await asyncio.sleep(self._dice.random())
            await ws.close()
            return "left before start"
        await ws.send_str(self._speaker.start())
        self._placed.described = True
        return await self._talk(ws, session)

    async def _talk(self, ws: aiohttp.ClientWebSocketResponse, session: aiohttp.ClientSession) -> str:
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen(ws), name="sim.load.listen")
            alive = await self._speak(ws, listening)
            if alive:
                await self._leave(ws, session, listening)
            listening.cancel()
        if not alive:
            return f"failed: the service closed ({ws.close_code})"
        return "completed" if self._way == "stop" else f"left by {self._way}"

    async def _speak(self, ws: aiohttp.ClientWebSocketResponse, listening: "asyncio.Task[None]") -> bool:
        """Send in real time; False when the service closed first."""
        load, report = self._load, self._report
        step = load.message_ms / 1000
        silence, tone = bytes((mulaw.SILENCE,)) * (load.message_ms * 8), tone_message(load.message_ms)
        every = max(1, round(_PULSE_S / step))
        zero = _now() + self._dice.random() * step  # so that calls do not march in step
        count = int(self._seconds / step + 1e-6)
        for number in range(1, count + 1):
            await asyncio.sleep(max(0.0, zero + number * step - _now()))
            if listening.done():
                return False
            report.own_late_ms.append(1000 * max(0.0, _now() - zero - number * step))
            pulse = load.echo and number % every == 0 and (count - number) * step >= _LAST_TONE_S
            message = self._speaker.media(tone if pulse else silence, number * load.message_ms)
            if pulse:
                self._begin_pulse()
            await ws.send_str(message)
            await self._give_back(ws)
            report.sent_s += step
            self._placed.sent_s += step
        if not load.abandon:
            report.pulses_lost += self._pulse_at is not None
        return True

    def _begin_pulse(self) -> None:
        if self._pulse_at is not None:
            self._report.pulses_lost += 1
        self._report.pulses += 1
        self._pulse_at = _now()

    async def _listen(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        async for message in ws:
            if message.type is not aiohttp.WSMsgType.TEXT:
                self._report.errors["binary message"] += 1
                continue
            try:
                told = _DECODER.decode(message.data)
            except msgspec.MsgspecError:
                self._report.errors["bad message"] += 1
                continue
            if told.media is not None:
                self._heard(base64.b64decode(told.media.payload))
            elif told.mark is not None and told.event == "mark":  # back when all before it has been played
                self._marks.append((self._play_end, told.mark.name))

    def _heard(self, payload: bytes) -> None:
        now, report = _now(), self._report
        report.returned_s += len(payload) / mulaw.RATE
        if not payload or len(payload) % 160:
            report.errors["size not a multiple of 160"] += 1
        if _LATE_S < now - self._play_end < 0.5:
            report.gaps += 1
        self._play_end = max(now, self._play_end) + len(payload) / mulaw.RATE
        if self._pulse_at is not None and 1 in payload.translate(_LOUD):
            report.delays_ms.append(1000 * (now - self._pulse_at))
            self._pulse_at = None

    async def _give_back(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        while self._marks and self._marks[0][0] <= _now():
            await ws.send_str(self._speaker.mark(self._marks.popleft()[1]))

    async def _leave(
        self, ws: aiohttp.ClientWebSocketResponse, session: aiohttp.ClientSession, listening: "asyncio.Task[None]"
    ) -> None:
        if self._way == "stop":
            await ws.send_str(self._speaker.stop("Call ended"))
            await asyncio.wait([listening], timeout=_CLOSE_S)
            await ws.close()
        elif self._way == "close":
            await ws.close()
        else:
            if self._way == "half-open":  # neither reads nor writes any more; in the end its network says so
                listening.cancel()
                await asyncio.sleep(self._load.half_open_s)
            sock = ws.get_extra_info("socket")
            if sock is not None and self._way == "mid-message":
                os.write(sock.fileno(), _half_a_message())
            elif sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await session.close()

    async def _half_a_handshake(self) -> str:
        host, port = _address(self._load.url)
        _, writer = await asyncio.open_connection(host, port)
        writer.write(b"GET /smartflo/audio HTTP/1.1\r\nHost: x\r\nUpgr")
        await asyncio.sleep(self._dice.random())
        writer.transport.abort()
        return "left in handshake"


def _now() -> float:
    return asyncio.get_running_loop().time()


class _Audio(msgspec.Struct, frozen=True):
    payload: str


class _Name(msgspec.Struct, frozen=True):
    name: str = ""


class _Told(msgspec.Struct, frozen=True):
    event: str
    media: _Audio | None = None
    mark: _Name | None = None


_DECODER = msgspec.json.Decoder(_Told)
_PATIENCE = aiohttp.ClientWSTimeout(ws_close=_CLOSE_S)


def _half_a_message() -> bytes:
    """A masked text frame of 1,000 bytes that breaks off after 400 (RFC 6455, 5.2)."""
    return struct.pack("!BBH4s", 0x81, 0x80 | 126, 1000, b"\0\0\0\0") + b'{"event":"media"'.ljust(400)


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "127.0.0.1", parts.port or 80
