"""What a 20 ms frame costs on its way to Gemini Live and an audio message on its way back, in processor microseconds,
beside google-genai's own `send_realtime_input` and `receive` in the same run, against the simulator in another process.

    python bench/gemini_path.py [--frames 4000] [--rounds 5] [--loop asyncio|uvloop|served]

Rounds of both kinds alternate; the figure is the least of rounds (contention only adds), medians are in the JSON.
`served` is the loop of `trunkline serve` (uvloop, TLS by aiofastnet). `hear` is the whole of `GeminiSession.hear` (ear,
tape, frame, socket, TLS); "down" is the whole way to the `ReplyAudio` in the consumer's hand, less the sending.
"""

import argparse
import asyncio
import json
import multiprocessing as mp
import ssl
import statistics
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from typing import Any

import uvloop
from google import genai
from google.genai import types

from trunkline.ai.gemini.link import connected, make_client
from trunkline.ai.gemini.provider import GeminiProvider
from trunkline.ai.gemini.setup import make_config
from trunkline.ai.session import Brief, ReplyAudio
from trunkline.cli_service import settle_garbage
from trunkline.clock import SystemClock
from trunkline.codecs.frame import AudioFrame
from trunkline.config import Gemini
from trunkline.loops import loop_factory

PCM = bytes(640)
NEVER = 1_000_000_000
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop, "served": loop_factory()}


def serve(pipe: Connection) -> None:
    """The simulator, until told to stop."""
    from trunkline_sim.gemini import GeminiSim
    from trunkline_sim.gemini_scenario import Scenario

    async def main() -> None:
        scenarios = {
            "mute": Scenario(mode="bench", setup_delay_s=0.0, bench_frames=NEVER),
            "echo": Scenario(mode="bench", setup_delay_s=0.0),
        }
        async with GeminiSim(scenarios=scenarios) as sim:
            pipe.send((sim.url, str(sim.ca_file)))
            await asyncio.to_thread(pipe.recv)

    asyncio.run(main())


class Arrivals:
    """Messages that came back; waiting for them costs no processor time of its own."""

    def __init__(self) -> None:
        self.count = 0
        self._wanted = 0
        self._there = asyncio.Event()

    def add(self) -> None:
        """One more."""
        self.count += 1
        if self.count >= self._wanted:
            self._there.set()

    async def reach(self, wanted: int) -> None:
        """Until so many came."""
        self._wanted = wanted
        if self.count < wanted:
            self._there.clear()
            await self._there.wait()


BURST = 5  # frames sent before the answers are waited for


async def cost(frames: int, send: Callable[[], Awaitable[Any]], arrived: Arrivals | None = None) -> float:
    """Processor µs per frame sent; with `arrived`, until as many messages came back."""
    base = arrived.count if arrived else 0
    began = time.process_time()
    for number in range(1, frames + 1):
        await send()
        if number % BURST == 0:
            await (arrived.reach(base + number) if arrived else asyncio.sleep(0))
    return (time.process_time() - began) / frames * 1e6


async def ours(settings: Gemini, frames: int, *, echo: bool) -> float:
    """Our path; with `echo`, both ways."""
    provider = GeminiProvider(settings, {"GEMINI_API_KEY": "any"}, SystemClock())
    await provider.start()
    arrivals = Arrivals()
    try:
        async with provider.open(Brief("bench", "a")) as session:

            async def take() -> None:
                async for event in session.events():
                    if isinstance(event, ReplyAudio):
                        arrivals.add()

            taker = asyncio.create_task(take())
            frame = AudioFrame(PCM, 16_000)
            await asyncio.sleep(0.3)
            await cost(50, lambda: session.hear(frame), arrivals if echo else None)
            figure = await cost(frames, lambda: session.hear(frame), arrivals if echo else None)
            taker.cancel()
    finally:
        await provider.close()
    return figure


async def theirs(settings: Gemini, frames: int, *, echo: bool) -> float:
    """The SDK's own way, on its own websocket library; with `echo`, both ways."""
    trust = ssl.create_default_context(cafile=settings.ca_file)
    own = {"ssl": trust, "compression": None, "ping_interval": None, "max_size": None, "proxy": None}
    options = types.HttpOptions(base_url=settings.base_url, api_version="v1beta", async_client_args=own)
    client = genai.Client(api_key="any", http_options=options)
    config = make_config(settings, Brief("bench", "a"), "", history=False)
    arrivals = Arrivals()
    async with client.aio.live.connect(model=settings.model, config=config) as session:

        async def take() -> None:
            while True:
                async for message in session.receive():
                    if message.data:
                        arrivals.add()

        taker = asyncio.create_task(take())

        async def send() -> None:
            await session.send_realtime_input(audio=types.Blob(data=PCM, mime_type="audio/pcm;rate=16000"))

        await cost(50, send, arrivals if echo else None)
        figure = await cost(frames, send, arrivals if echo else None)
        taker.cancel()
    await client.aio.aclose()
    return figure


async def bare(settings: Gemini, frames: int) -> float:
    """The link alone: base64, frame, socket, TLS."""
    client = make_client("any", base_url=settings.base_url, api_version="v1beta", ca_file=settings.ca_file, open_s=5.0)
    config = make_config(settings, Brief("bench", "a"), "", history=False)
    async with connected(client, settings.model, config, 5.0) as link:

        async def send() -> None:
            link.audio(PCM)

        return await cost(frames, send)


async def main(frames: int, rounds: int, url: str, ca_file: str) -> dict[str, list[float]]:
    """Each round's figures by name."""
    mute, echo = (Gemini(base_url=f"{url}/{name}", ca_file=ca_file) for name in ("mute", "echo"))
    found: dict[str, list[float]] = {name: [] for name in ("hear", "link", "sdk_up", "both", "sdk_both")}
    for _ in range(rounds):
        found["hear"].append(await ours(mute, frames, echo=False))
        found["sdk_up"].append(await theirs(mute, frames, echo=False))
        found["link"].append(await bare(mute, frames))
        found["both"].append(await ours(echo, frames, echo=True))
        found["sdk_both"].append(await theirs(echo, frames, echo=True))
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--loop", choices=sorted(LOOPS), default="served")
    given = parser.parse_args()
    here, there = mp.Pipe()
    process = mp.get_context("spawn").Process(target=serve, args=(there,), daemon=True)
    process.start()
    settle_garbage()
    with asyncio.Runner(loop_factory=LOOPS[given.loop]) as runner:
        found = runner.run(main(given.frames, given.rounds, *here.recv()))
    print(json.dumps({name: round(statistics.median(values), 1) for name, values in found.items()}))
    least = {name: min(values) for name, values in found.items()}
    print(f"up   {least['hear']:6.1f} µs a frame (the link alone {least['link']:.1f}), the SDK {least['sdk_up']:.1f}")
    down, sdk_down = least["both"] - least["hear"], least["sdk_both"] - least["sdk_up"]
    print(f"down {down:6.1f} µs a message, the SDK {sdk_down:.1f}")
    here.send("stop")
    process.join(5)
