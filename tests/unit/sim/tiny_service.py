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
    """`seen`: every message of the platform. `stop_on_speech`: obeys a barge-in; `dead`: goes on with the cut reply.
    `late_s`: its own count of the call's seconds begins so long after `start`."""

    def __init__(
        self,
        *,
        stop_on_speech: bool = True,
        dead: bool = False,
        reply_s: float = 1.0,
        end_after: int = 99,
        late_s: float = 0.0,
    ):
        self.seen: list[dict[str, Any]] = []
        self.closed: list[int | None] = []
        self._stop_on_speech = stop_on_speech
        self._dead = dead
        self._reply_s = reply_s
        self._end_after = end_after
        self._late_s = late_s
        self._zero = 0.0
        self._said = 0
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

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
                self._zero = asyncio.get_running_loop().time() + self._late_s
                self._tell("call_started", **{"from": told["start"]["from"]})
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
        self._tell("call_ended", cause="completed")
        return ws

    async def events(self, request: web.Request) -> web.StreamResponse:
        """`GET /events`, for one spectator."""
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        told = {"event": ""}
        while told["event"] != "call_ended":
            told = await self._events.get()
            await stream.write(b"data: " + json.dumps(told).encode() + b"\n\n")
        return stream

    def _tell(self, event: str, **more: Any) -> None:
        at_s = asyncio.get_running_loop().time() - self._zero
        self._events.put_nowait({"event": event, "call_id": "tiny", "at_s": at_s, **more})

    async def _say(self, ws: web.WebSocketResponse, sid: str) -> None:
        self._tell("reply_saying", reply=f"r{self._said}", text=f"beep {self._said}")
        self._said += 1
        audio = tone(self._reply_s)
        for start in range(0, len(audio), 160):
            text = base64.b64encode(audio[start : start + 160]).decode()
            await ws.send_json({"event": "media", "streamSid": sid, "media": {"payload": text}})
            if start > 1600:
                await asyncio.sleep(0.02)
        await ws.send_json({"event": "mark", "streamSid": sid, "mark": {"name": "end"}})

    @asynccontextmanager
    async def serve(self, *, events: bool = False) -> AsyncIterator[str]:
        """Listen on loopback; the media socket's address. `events`: it can be watched."""
        app = web.Application()
        app.router.add_get("/smartflo/audio", self.socket)
        if events:
            app.router.add_get("/events", self.events)
        runner = web.AppRunner(app, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            yield f"ws://127.0.0.1:{port}/smartflo/audio"
        finally:
            await runner.cleanup()
