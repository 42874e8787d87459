"""The bare relay: the yardstick beside which the service is measured, and no product at all.

A carrier's websocket on one side, Gemini Live's on the other; per message the payload is found without parsing, mu-law
becomes 16 kHz PCM by the same codec and resampler as in the service, and goes out behind a prepared prefix; back the
same at 24 kHz, never more than 200 ms ahead. No turns, marks, barge-in, reconnection, records, limits, or checks.

    python -m bench.relay --gemini wss://… --ca-file ca.pem [--library picows|aiohttp]     prints its port
"""

import argparse
import asyncio
import ssl
from binascii import a2b_base64, b2a_base64
from collections import deque
from collections.abc import Callable
from typing import Any

import aiohttp
import uvloop
from aiohttp import web

from trunkline.codecs.fast import mulaw_decode, mulaw_encode
from trunkline.codecs.resample import Resampler

LEAD_S = 0.2
PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent?key=any"
SETUP = b'{"setup":{"model":"models/gemini-2.5-flash-native-audio-preview-12-2025",' \
        b'"generationConfig":{"responseModalities":["AUDIO"]}}}'  # fmt: skip
UP_HEAD = b'{"realtimeInput":{"audio":{"mimeType":"audio/pcm;rate=16000","data":"'
UP_TAIL = b'"}}}'
DOWN_TAIL = b'"}}'


class Call:
    """Both directions of one call, between two functions that send."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.to_carrier: Callable[[bytes], Any]
        self.to_gemini: Callable[[bytes], Any] | None = None
        self._loop = loop
        self._up, self._down = Resampler(8000, 16_000), Resampler(24_000, 8000)
        self._head = b'{"event":"media","media":{"payload":"'
        self._until = 0.0
        self._waiting: deque[bytes] = deque()

    def carrier_said(self, text: bytes) -> None:
        """A message of the carrier."""
        at = text.find(b'"payload":"')
        if at < 0:
            at = text.find(b'"streamSid":"')
            if at >= 0:
                self._head = b'{"event":"media",' + text[at : text.index(b'"', at + 13) + 1] + b',"media":{"payload":"'
            return
        if self.to_gemini is None:
            return
        pcm = self._up.push(mulaw_decode(a2b_base64(text[at + 11 : text.index(b'"', at + 11)])))
        self.to_gemini(UP_HEAD + b2a_base64(pcm, newline=False) + UP_TAIL)

    def gemini_said(self, text: bytes) -> None:
        """A message of Gemini."""
        at = text.find(b'"data":')
        if at < 0:
            return
        at = text.index(b'"', at + 7) + 1
        self._waiting.append(mulaw_encode(self._down.push(a2b_base64(text[at : text.index(b'"', at)]))))
        if len(self._waiting) == 1:
            self._give()

    def _give(self) -> None:
        waiting, now = self._waiting, self._loop.time()
        while waiting:
            if self._until - now > LEAD_S:
                self._loop.call_later(self._until - now - LEAD_S, self._give)
                return
            payload = waiting.popleft()
            self._until = max(self._until, now) + len(payload) / 8000
            self.to_carrier(self._head + b2a_base64(payload, newline=False) + DOWN_TAIL)


async def serve_picows(gemini: str, trust: ssl.SSLContext) -> int:
    """On picows: frames by callback, no task per message. The port."""
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect, ws_create_server

    loop = asyncio.get_running_loop()
    text = WSMsgType.TEXT

    class Gemini(WSListener):
        def __init__(self, call: Call) -> None:
            self.call = call

        def on_ws_connected(self, transport: WSTransport) -> None:
            transport.send(text, SETUP)
            self.call.to_gemini = lambda message: transport.send(text, message)

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            self.call.gemini_said(frame.get_payload_as_bytes())

    class Carrier(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            self.call = Call(loop)
            self.call.to_carrier = lambda message: transport.send(text, message)
            self.opening = loop.create_task(ws_connect(lambda: Gemini(self.call), gemini, ssl_context=trust))

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.disconnect()
            else:
                self.call.carrier_said(frame.get_payload_as_bytes())

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            self.opening.result()[0].disconnect()

    server = await ws_create_server(lambda _: Carrier(), "127.0.0.1", 0)
    return int(server.sockets[0].getsockname()[1])


async def serve_aiohttp(gemini: str, trust: ssl.SSLContext) -> int:
    """On aiohttp: a task per socket. The port."""

    async def relay(request: web.Request) -> web.WebSocketResponse:
        carrier = web.WebSocketResponse(compress=False)
        await carrier.prepare(request)
        call, loop = Call(asyncio.get_running_loop()), asyncio.get_running_loop()
        out: set[asyncio.Task[None]] = set()

        def eagerly(coroutine: Any) -> None:
            """A send finishes at once unless the socket is full: step it here instead of making a task."""
            try:
                coroutine.send(None)
            except StopIteration:
                return
            raise ConnectionError("the far end does not read")

        call.to_carrier = lambda message: eagerly(carrier.send_frame(message, aiohttp.WSMsgType.TEXT))

        async with aiohttp.ClientSession() as session, session.ws_connect(gemini, ssl=trust, max_msg_size=0) as link:
            await link.send_frame(SETUP, aiohttp.WSMsgType.TEXT)
            call.to_gemini = lambda message: eagerly(link.send_frame(message, aiohttp.WSMsgType.TEXT))

            async def back() -> None:
                async for message in link:
                    call.gemini_said(message.data)

            task = loop.create_task(back())
            out.add(task)
            async for message in carrier:
                call.carrier_said(message.data.encode())
            task.cancel()
        return carrier

    app = web.Application()
    app.router.add_get("/{path:.*}", relay)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return int(runner.addresses[0][1])


async def main(gemini: str, ca_file: str, library: str) -> None:
    """Serve until killed."""
    trust = ssl.create_default_context(cafile=ca_file)
    serve = serve_picows if library == "picows" else serve_aiohttp
    print(await serve(gemini + PATH, trust), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gemini", required=True)
    parser.add_argument("--ca-file", required=True)
    parser.add_argument("--library", choices=("picows", "aiohttp"), default="picows")
    given = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop_runner:
        loop_runner.run(main(given.gemini, given.ca_file, given.library))
