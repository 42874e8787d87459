"""The least service that a simulated call can be tried against: it beeps when called, and beeps in answer to speech."""

import asyncio
import base64
import json
import math
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import WSMsgType, web

from trunkline_sim import mulaw

QUIET = 0.5  # s of the caller's silence after which it answers


def tone(seconds: float, hz: float = 440.0) -> bytes:
    """Mu-law, about -15 dBov."""
    samples = [round(8000 * math.sin(2 * math.pi * hz * n / 8000)) for n in range(int(8000 * seconds))]
    return mulaw.encode(mulaw.np.frombuffer(struct.pack(f"<{len(samples)}h", *samples), "<i2"))


class TinyService:
    """`seen`: every message of the platform. `stop_on_speech`: obeys a barge-in; `dead`: goes on with the cut reply."""

    def __init__(self, *, stop_on_speech: bool = True, dead: bool = False, reply_s: float = 1.0, end_after: int = 99):
        self.seen: list[dict[str, Any]] = []
        self.closed: list[int | None] = []
        self._stop_on_speech = stop_on_speech
        self._dead = dead
        self._reply_s = reply_s
        self._end_after = end_after

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        sid, replies, quiet, spoken = "", 0, 0.0, False
        mouth: asyncio.Task[None] | None = None
        async for message in ws:
            if message.type != WSMsgType.TEXT:
                continue
            told = json.loads(message.data)
            self.seen.append(told)
            if told["event"] == "start":
                sid = told["streamSid"]
                mouth = asyncio.create_task(self._say(ws, sid))
            if told["event"] == "dtmf":
                spoken, quiet = True, QUIET
            if told["event"] == "media":
                payload = base64.b64decode(told["media"]["payload"])
                loud = mulaw.level_dbov(payload) > -40
                if loud and mouth is not None and not mouth.done() and self._stop_on_speech:
                    if not self._dead:
                        mouth.cancel()
                    await ws.send_json({"event": "clear", "streamSid": sid})
                spoken, quiet = spoken or loud, 0.0 if loud else quiet + len(payload) / 8000
            if spoken and quiet >= QUIET:
                spoken, replies = False, replies + 1
                if replies >= self._end_after:
                    await ws.send_json({"event": "end", "streamSid": sid})
                else:
                    mouth = asyncio.create_task(self._say(ws, sid))
        if mouth is not None:
            mouth.cancel()
        self.closed.append(ws.close_code)
        return ws

    async def _say(self, ws: web.WebSocketResponse, sid: str) -> None:
        audio = tone(self._reply_s)
        for start in range(0, len(audio), 160):
            text = base64.b64encode(audio[start : start + 160]).decode()
            await ws.send_json({"event": "media", "streamSid": sid, "media": {"payload": text}})
            if start > 1600:
                await asyncio.sleep(0.02)
        await ws.send_json({"event": "mark", "streamSid": sid, "mark": {"name": "end"}})

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Listen on loopback; the media socket's address."""
        app = web.Application()
        app.router.add_get("/smartflo/audio", self.socket)
        runner = web.AppRunner(app, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            yield f"ws://127.0.0.1:{port}/smartflo/audio"
        finally:
            await runner.cleanup()
