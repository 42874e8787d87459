"""What a 20 ms frame costs all of the service's own code, in processor µs and in machine instructions: from a carrier's
bytes to Gemini's, and back. No kernel, no TLS, no event loop's turn between.

    python -m bench.frame_path [--frames 5000] [--rounds 5] [--who service,relay] [--kinds up,down,both] [--count]

Both transports count and forget, time is wound by hand, so the machine's load does not show in the number of
instructions. `--count` runs each once under `valgrind --tool=callgrind`, which looks only while frames pass, and prints
instructions per frame; `--keep DIR` leaves what it saw there, for `callgrind_annotate`. What the loop's turns cost with
no call at all is taken off. In the kinds "up" and "down" the service fills the other way's silence, so what compares is
"both". The relay is `bench.relay`'s, less the framing that picows does in C.
Twilio's framing: mu-law of 20 ms a message, 24 kHz from Gemini.
"""

import argparse
import asyncio
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.call_path import FRAME_S, TURNS, HandClock, NullStore
from bench.relay import Call as Relay
from trunkline.ai.gemini.channel import Channel
from trunkline.ai.gemini.sdk_link import SdkLink
from trunkline.ai.gemini.session import open_gemini
from trunkline.ai.session import Brief
from trunkline.bridge.carriers.twilio import profile
from trunkline.bridge.frame_socket import FrameSocket
from trunkline.bridge.media_socket import open_media_leg
from trunkline.calls.switchboard import Switchboard
from trunkline.cli_service import settle_garbage
from trunkline.codecs import fast
from trunkline.config import Agent, Failure, Gemini, Limits, Twilio
from trunkline.loops import loop_factory
from trunkline.websocket_frames import BINARY, TEXT, client_frame, server_frame
from trunkline_sim.twilio import TwilioSpeaker, call_facts

KINDS = ("none", "up", "down", "both")
PATIENT = Failure(honest_after_s=86_400, answer_within_s=86_400, give_up_s=86_400)  # nobody here answers anybody
WARM = 100  # frames before anything is counted


class NullTransport:
    """Counts what is written. Also aiohttp's protocol as far as the socket knows it."""

    writing_paused = False

    def __init__(self) -> None:
        self.messages = 0

    def write(self, data: bytes) -> None:
        self.messages += 1

    def _nothing(self, *_: Any, **__: Any) -> None: ...

    set_write_buffer_limits = pause_reading = resume_reading = close = abort = _nothing


class NullSdk:
    """Says nothing to the model."""

    async def send_realtime_input(self, **_: Any) -> None: ...


class Ends:
    """Both wires of one call."""

    def __init__(self) -> None:
        self.carrier, self.gemini = NullTransport(), NullTransport()
        self.speaker = TwilioSpeaker(call_facts("15005550006", "918069000000"))
        self.hello = [self.speaker.connected(), self.speaker.start()]
        self.from_carrier: Callable[[bytes], Any]
        self.from_gemini: Callable[[bytes], Any]
        self.linked = asyncio.Event()  # the service's connection to Gemini is there


class NullProvider:
    """Gemini, but for its connection."""

    name, capacity = "null", None

    def __init__(self, ends: Ends, clock: HandClock) -> None:
        self._ends, self._clock = ends, clock

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    @asynccontextmanager
    async def open(self, brief: Brief) -> AsyncIterator[Any]:
        @asynccontextmanager
        async def dial(handle: str, history: bool, limit_s: float) -> AsyncIterator[SdkLink]:
            channel = Channel(self._ends.gemini, lambda _: None)  # type: ignore
            self._ends.from_gemini = channel.data_received
            self._ends.linked.set()
            yield SdkLink(NullSdk(), channel)  # type: ignore

        async with open_gemini(Gemini(stall_s=1e6), brief, self._clock, dial) as session:
            yield session


@asynccontextmanager
async def service(ends: Ends, clock: HandClock) -> AsyncIterator[None]:
    """A whole call of the service between the two ends."""
    provider = NullProvider(ends, clock)
    board = Switchboard(
        limits=Limits(silence_prompt_s=3600, longest_call_s=86_400),
        agents={"receptionist": Agent(greeting="Hello")},
        providers={"null": provider}, store=NullStore(), clock=clock, data_dir=Path("nowhere"),  # type: ignore
        failure=PATIENT,
    )  # fmt: skip
    socket = FrameSocket(ends.carrier, ends.carrier, begin=lambda _: None, drain=None, most_bytes=1 << 16)  # type: ignore
    ends.from_carrier = socket.feed_data
    loop = asyncio.get_running_loop()
    for text in ends.hello:
        loop.call_soon(ends.from_carrier, client_frame(TEXT, text.encode()))
    async with open_media_leg(socket, profile(Twilio()), {}, clock=clock) as leg:
        call = loop.create_task(board.attend(leg))
        async with asyncio.timeout(30):
            await ends.linked.wait()
        await asyncio.sleep(0.4)
        yield
        call.cancel()
        await asyncio.wait([call])
        ends.from_carrier(client_frame(0x8, b"\x03\xe8"))


class HandLoop:
    """A loop's clock, wound by hand."""

    def __init__(self, clock: HandClock) -> None:
        self.time = clock.monotonic

    def call_later(self, delay: float, call: Callable[[], Any]) -> None:
        """Nobody is ahead of the clock for long: at the next frame."""
        asyncio.get_running_loop().call_soon(call)


@asynccontextmanager
async def relay(ends: Ends, clock: HandClock) -> AsyncIterator[None]:
    """The same of the bare relay, whose library hands out payloads."""
    call = Relay(HandLoop(clock))  # type: ignore
    call.to_carrier, call.to_gemini = ends.carrier.write, ends.gemini.write
    ends.from_carrier = lambda data: call.carrier_said(data)
    ends.from_gemini = lambda data: call.gemini_said(data)
    yield


def messages(ends: Ends, who: str, frames: int) -> tuple[list[bytes], list[bytes]]:
    """What the carrier and what Gemini send, as bytes of the wire (of the library, for the relay). Both as noise, the
    caller's too quiet to be speech, so that nobody waits for anybody."""
    voice = [np.random.default_rng(n).normal(0, 1, 480) for n in range(16)]
    said = [fast.mulaw_encode((60 * wave[:160]).astype("<i2").tobytes()) for wave in voice]
    carrier = [ends.speaker.media(said[n % 16], 20 * n).encode() for n in range(frames)]
    parts = [
        [{"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": (2000 * wave).astype("<i2").tobytes()}}]
        for wave in voice
    ]
    gemini = [msgspec.json.encode({"serverContent": {"modelTurn": {"parts": parts[n % 16]}}}) for n in range(frames)]
    if who == "relay":
        return carrier, gemini
    return [client_frame(TEXT, text) for text in carrier], [server_frame(BINARY, text) for text in gemini]


def look(on: bool) -> None:
    """Have callgrind count, or not."""
    word = ["callgrind_control", "-i", "on" if on else "off", str(os.getpid())]
    subprocess.run(word, check=True, stdout=subprocess.DEVNULL)


async def run(who: str, kind: str, frames: int, *, count: bool = False) -> float:
    """Processor µs per frame of one call. count: callgrind watches."""
    ends, clock = Ends(), HandClock()
    carrier, gemini = messages(ends, who, frames + WARM)
    settle_garbage()
    async with (service if who == "service" else relay)(ends, clock):
        ends.from_gemini(gemini[0])  # its reply to the prompt to greet; on the way down it lasts
        if kind in ("none", "up") and who == "service":
            ends.from_gemini(server_frame(BINARY, b'{"serverContent":{"generationComplete":true,"turnComplete":true}}'))
        await walk(ends, clock, kind, carrier[:WARM], gemini[:WARM])
        if count:
            look(True)
        before, began = ends.carrier.messages + ends.gemini.messages, time.process_time()
        await walk(ends, clock, kind, carrier[WARM:], gemini[WARM:])
        used = time.process_time() - began
        if count:
            look(False)
        moved = ends.carrier.messages + ends.gemini.messages - before
        assert kind == "none" or moved >= frames, f"{who}, {kind}: {moved} of {frames} came through"
    return used / frames * 1e6


async def walk(ends: Ends, clock: HandClock, kind: str, carrier: list[bytes], gemini: list[bytes]) -> None:
    """A frame each 20 ms, then what the loop has to do."""
    for said, answered in zip(carrier, gemini, strict=True):
        if kind in ("up", "both"):
            ends.from_carrier(said)
        if kind in ("down", "both"):
            ends.from_gemini(answered)
        clock.now += FRAME_S
        for _ in range(TURNS):
            await asyncio.sleep(0)


def once(who: str, kind: str, frames: int, *, count: bool = False) -> float:
    """In a loop of its own."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(run(who, kind, frames, count=count))


def instructions(who: str, kind: str, frames: int, keep: Path | None) -> float:
    """Per frame, by callgrind; what switching it costs included, also in the kind "none"."""
    out = "/dev/null" if keep is None else str(keep / f"{who}.{kind}.callgrind")
    command = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={out}"]
    command += [sys.executable, "-m", "bench.frame_path", "--one", who, "--kinds", kind, "--frames", str(frames)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    total = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode or total is None:
        raise SystemExit(done.stderr[-2000:])
    return int(total[1]) / frames


def main(given: argparse.Namespace) -> None:
    """Prints a line per kind."""
    kinds, whos = given.kinds.split(","), given.who.split(",")
    if given.one:
        once(given.one, kinds[0], given.frames, count=True)
        return
    found: dict[str, list[float]] = {}
    for _ in range(1 if given.count else given.rounds):
        for who, kind in [("relay", "none"), *((who, kind) for who in whos for kind in kinds)]:
            cost = instructions(who, kind, given.frames, given.keep) if given.count else once(who, kind, given.frames)
            found.setdefault(f"{who} {kind}", []).append(cost)
    print(json.dumps({name: [round(one, 1) for one in costs] for name, costs in found.items()}))
    unit = "instructions" if given.count else "µs (least, median)"
    for who in whos:
        for kind in kinds:
            costs = [a - b for a, b in zip(found[f"{who} {kind}"], found["relay none"], strict=True)]
            print(f"{who:8} {kind:5} {min(costs):9.1f} {statistics.median(costs):9.1f} {unit} a frame")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--who", default="service,relay")
    parser.add_argument("--kinds", default="up,down,both")
    parser.add_argument("--count", action="store_true", help="instructions, by callgrind")
    parser.add_argument("--keep", type=Path, help="folder for callgrind's files")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    main(parser.parse_args())
