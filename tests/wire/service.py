"""What the wire tests share: a real service on a free port, a client, and Smartflo's side of a socket, by hand."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from trunkline.ai.echo import EchoProvider
from trunkline.config import Settings
from trunkline.service import Service

SILENT = EchoProvider(silent=True)
TONE = bytes([0x10, 0x90] * 400)  # 100 ms of something loud in mu-law
PATIENCE_S = 60.0  # for what must come; a machine that others load comes late, and that is no fault of ours


async def until(true: Callable[[], bool]) -> None:
    """Return once it is true. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - it may be anything
            await asyncio.sleep(0.02)


def settings_of(tmp_path: Path, changes: Mapping[str, Any] | None = None) -> Settings:
    """Defaults, a free port, a folder of the test's own, and `changes` by section: {"limits": {"max_calls": 1}}."""
    tree: dict[str, Any] = {"server": {"port": 0, "data_dir": str(tmp_path / "data"), "drain_s": 5.0}}
    for section, values in (changes or {}).items():
        tree[section] = {**tree.get(section, {}), **values} if isinstance(values, Mapping) else values
    return msgspec.convert(tree, Settings)


@dataclass(slots=True)
class Running:
    """A service and a client that talks to it."""

    service: Service
    client: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return self.service.url

    @property
    def socket_url(self) -> str:
        return self.url.replace("http", "ws", 1)

    async def get(self, path: str, **more: Any) -> tuple[int, Any]:
        """Status and body, decoded where it is JSON."""
        return await self._ask("GET", path, **more)

    async def post(self, path: str, **more: Any) -> tuple[int, Any]:
        """The same by POST."""
        return await self._ask("POST", path, **more)

    async def _ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        async with self.client.request(method, self.url + path, **more) as response:
            body = await response.read()
            return response.status, json.loads(body) if "json" in response.content_type else body

    async def calls(self, count: int, *, live: bool) -> list[dict[str, Any]]:
        """The calls, once there are `count` of them in that state."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                _, page = await self.get(f"/calls?live={str(live).lower()}")
                if len(page["calls"]) == count:
                    return list(page["calls"])
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running(tmp_path: Path, changes: Mapping[str, Any] | None = None, **more: Any) -> AsyncIterator[Running]:
    """A service with a silent agent; `more` goes to Service."""
    more.setdefault("provider", SILENT)
    async with (
        Service(settings_of(tmp_path, changes), **more) as service,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as client,
    ):
        yield Running(service, client)


@dataclass(slots=True)
class Caller:
    """Smartflo's side of one media socket. `heard`: every message of the service, decoded."""

    socket: aiohttp.ClientWebSocketResponse
    sequence: int = 0
    heard: list[dict[str, Any]] = field(default_factory=list)

    async def start(self, call: str = "c-1", to: str = "918069000000", **extra: Any) -> None:
        """connected and start, as documented."""
        await self.socket.send_json({"event": "connected"})
        start = {
            "streamSid": "S1", "accountSid": "A1", "callSid": call, "from": "919800000001", "to": to,
            "direction": "inbound", "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000}, **extra,
        }  # fmt: skip
        await self._send("start", start=start)

    async def speak(self, seconds: float, payload: bytes = TONE) -> None:
        """100 ms messages in real time."""
        for number in range(round(seconds * 10)):
            audio = base64.b64encode(payload).decode()
            media = {"chunk": str(number + 1), "timestamp": str(100 * number), "payload": audio}
            await self._send("media", media=media)
            await asyncio.sleep(0.1)

    async def stop(self, reason: str = "Call ended") -> None:
        """The goodbye."""
        await self._send("stop", stop={"accountSid": "A1", "callSid": "c-1", "reason": reason})

    async def until_closed(self) -> int | None:
        """Read to the end; returns the close code."""
        async with asyncio.timeout(PATIENCE_S):
            async for message in self.socket:
                self.heard.append(json.loads(message.data))
        return self.socket.close_code

    async def _send(self, event: str, **body: Any) -> None:
        self.sequence += 1
        message = {"event": event, "sequenceNumber": str(self.sequence), "streamSid": "S1", **body}
        await self.socket.send_json(message)


@asynccontextmanager
async def calling(run: Running, path: str = "/smartflo/audio", **more: Any) -> AsyncIterator[Caller]:
    """A call that has been described; hung up on leaving."""
    async with run.client.ws_connect(run.socket_url + path, **more) as socket:
        caller = Caller(socket)
        await caller.start()
        yield caller
