"""The shell of a simulated call of any carrier: dials the service's media socket and keeps real time."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import aiohttp

from trunkline_sim import audiosocket
from trunkline_sim.caller import Act, HangUp, Hold, PressKey, Speak, Transfer
from trunkline_sim.errors import SimError
from trunkline_sim.stream import Stream

CLOSE_S = 3.0  # how long the platform waits for the service to close after `stop`
_TRANSIENT = (aiohttp.ClientError, OSError, asyncio.TimeoutError)


class Party(Protocol):
    """Whoever holds the phone: `trunkline_sim.caller.Caller`, or a test."""

    def hear(self, payload: bytes) -> None:
        """20 ms of mu-law that reached the ear."""
        ...

    def tick(self, now: float) -> Sequence[Act]:
        """What to do at `now` (s of the call)."""
        ...

    def closed(self) -> None:
        """The service ended the call."""
        ...


class Line(Protocol):
    """What a call needs of its wire: a client's websocket, or something that looks like one."""

    @property
    def close_code(self) -> int | None:
        """Of the far end, once closed."""
        ...

    async def send_str(self, data: str) -> None:
        """One message."""
        ...

    def __aiter__(self) -> AsyncIterator[Any]: ...

    async def close(self) -> bool:
        """Say goodbye and close."""
        ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the transport."""
        ...


class Closing(Protocol):
    """What is closed to vanish without a word."""

    async def close(self) -> Any:
        """Now."""
        ...


@dataclass(frozen=True, slots=True)
class Ending:
    """How the call ended: who did it, the close code of the socket if any, and when; and when it had begun."""

    by: Literal["caller", "service", "fault"]
    reason: str
    at_s: float
    code: int | None = None
    zero: float = 0.0  # the loop's time at which the call's second 0 was


async def place_call(
    url: str,
    stream: Stream,
    party: Party,
    *,
    headers: Mapping[str, str] | None = None,
    dial: Callable[[], Awaitable[Line]] | None = None,
) -> Ending:
    """Play one call against the service at `url` (ws://, wss:// or audiosocket://), or on the line that `dial` gets.
    Raises SimError when it cannot be had."""
    if dial is not None or url.startswith(audiosocket.SCHEME):
        line = await (dial() if dial is not None else audiosocket.dial(url))
        try:
            return await _Call(line, line, stream, party).run()
        finally:
            await line.close()
    connector = aiohttp.TCPConnector(limit=1)
    async with aiohttp.ClientSession(connector=connector) as session:
        try:
            ws = await session.ws_connect(url, headers=headers, max_msg_size=1 << 20, timeout=_patience())
        except _TRANSIENT as wrong:
            raise SimError(f"no media socket at {url}: {_why(wrong)}") from wrong
        call = _Call(ws, session, stream, party)
        try:
            return await call.run()
        finally:
            await ws.close()


class _Call:
    def __init__(self, ws: Line, session: Closing, stream: Stream, party: Party) -> None:
        self._ws = ws
        self._session = session
        self._stream = stream
        self._party = party
        self._loop = asyncio.get_running_loop()
        self._zero = self._loop.time()

    async def run(self) -> Ending:
        stream = self._stream
        for message in stream.opening():
            await self._ws.send_str(message)
        self._zero = self._loop.time()
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(self._listen(), name="sim.listen")
            ending = await self._speak(listening)
            listening.cancel()
        return ending

    def _now(self) -> float:
        return self._loop.time() - self._zero

    async def _listen(self) -> None:
        """Until the service closes the socket."""
        async for message in self._ws:
            if message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                await self._send(self._stream.receive(message.data, self._now()))

    async def _speak(self, listening: "asyncio.Task[None]") -> Ending:
        """Real time, 20 ms at a step, until somebody ends the call."""
        stream, faults = self._stream, self._stream.faults
        while True:
            await asyncio.sleep(max(0.0, stream.next_tick_s() - self._now()))
            now = self._now()
            if listening.done() or stream.hung_up:
                return await self._service_left(listening)
            if faults.reset_at_s is not None and now >= faults.reset_at_s:
                return await self._reset()
            await self._send(stream.tick(now))
            for frame in stream.heard():
                self._party.hear(frame)
            for act in self._party.tick(now):
                if isinstance(act, HangUp):
                    return await self._leave(listening)
                await self._do(act, now)

    async def _do(self, act: Act, now: float) -> None:
        match act:
            case Speak():
                self._stream.mic.speak(act.payload)
            case PressKey():
                await self._send(self._stream.press(act.key, now))
            case Hold(on=on):
                await self._send([f"H{on:d}"])
            case Transfer(target=target):
                await self._send([f"T{target}"])

    async def _send(self, messages: Sequence[str]) -> None:
        for message in messages:
            try:
                await self._ws.send_str(message)
            except (ConnectionError, aiohttp.ClientError):
                return  # the reader sees the same end of the socket, and tells

    async def _leave(self, listening: "asyncio.Task[None]") -> Ending:
        at_s = self._now()
        goodbye = self._stream.goodbye("Call ended")
        if goodbye is not None:
            await self._send([goodbye])
            await asyncio.wait([listening], timeout=CLOSE_S)
        await self._ws.close()
        return Ending("caller", "stop" if goodbye else "closed without stop", at_s, self._ws.close_code, self._zero)

    async def _service_left(self, listening: "asyncio.Task[None]") -> Ending:
        at_s = self._now()
        self._party.closed()
        if not listening.done():
            goodbye = self._stream.goodbye("Call ended")
            await self._send([goodbye] if goodbye else [])
            await asyncio.wait([listening], timeout=CLOSE_S)
        reason = "end" if self._stream.hung_up else "socket closed"
        return Ending("service", reason, at_s, self._ws.close_code, self._zero)

    async def _reset(self) -> Ending:
        """Vanish as a crashed platform does: a TCP reset, no close frame."""
        at_s = self._now()
        sock = self._ws.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await self._session.close()
        return Ending("fault", "reset", at_s, zero=self._zero)


def _patience() -> aiohttp.ClientWSTimeout:
    return aiohttp.ClientWSTimeout(ws_close=CLOSE_S)


def _why(wrong: BaseException) -> str:
    if isinstance(wrong, aiohttp.WSServerHandshakeError):
        return f"the service answered {wrong.status} {wrong.message}"
    if isinstance(wrong, ConnectionRefusedError) or isinstance(
        getattr(wrong, "os_error", None), ConnectionRefusedError
    ):
        return "nothing listens there (is the service running? try: make run)"
    return str(wrong) or type(wrong).__name__
