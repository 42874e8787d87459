"""What the call's own middle costs per 20 ms frame, in processor µs, between a leg and a session that do nothing.

    python -m bench.call_path [--frames 5000] [--rounds 7] [--profile up|down|burst]

Up: from the leg's `audio()` to the session's `hear()`. Down: from the session's `ReplyAudio` to the leg's `send()`, the
answers paced like the questions. Burst: a second's answers at once, as a model gives them, which wait for the far end's
room. The loop is the service's, the clock is wound by hand; what ticks without a frame cost is taken off.
Mu-law at 8 kHz, 16 kHz up, 24 kHz down.
"""

import argparse
import asyncio
import cProfile
import pstats
import statistics
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np

from trunkline.ai.cascade.session_outbox import Outbox
from trunkline.ai.session import Brief, ReplyAudio, ReplyId, ReplyStarted
from trunkline.bridge.channel import Channel
from trunkline.bridge.far_end import FarEnd
from trunkline.bridge.leg import Answered, LegEvent, LegInfo
from trunkline.calls.switchboard import Switchboard
from trunkline.cli_service import loop_factory
from trunkline.clock import SystemClock
from trunkline.codecs.frame import AudioFrame
from trunkline.codecs.g711 import PCMU
from trunkline.config import Agent, Limits
from trunkline.outcome import EndCause

FRAME_S = 0.02
LEAD_S = 0.2
BURST = 50  # frames
TURNS = 6  # of the loop, until a frame has passed everybody's hands
KINDS = ("up", "down", "burst")


class HandClock(SystemClock):
    """Wound by the bench."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class NullLeg:
    """A far end that plays what it gets; its wire costs nothing."""

    def __init__(self, clock: HandClock) -> None:
        self.info = LegInfo("inbound", "+15550100", "+15550101", "twilio", PCMU, 20, LEAD_S)
        self.counters: Mapping[str, int] = {}
        self.voice: Channel[AudioFrame] = Channel(1000)
        self.given = 0
        self._happens: Channel[LegEvent] = Channel(1000)
        self._happens.put(Answered())
        self._far = FarEnd()
        self._clock = clock
        self._waiter: asyncio.Future[None] | None = None

    def events(self) -> AsyncIterator[LegEvent]:
        return self._happens

    def audio(self) -> AsyncIterator[AudioFrame]:
        return self.voice

    async def room(self) -> None:
        while not self.has_room():
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter

    def has_room(self) -> bool:
        return self._far.unplayed(self._clock.now) - LEAD_S + FRAME_S < 0.0005

    def tick(self) -> None:
        if self._waiter is not None and self.has_room():
            self._waiter.set_result(None)
            self._waiter = None

    def send(self, payload: bytes) -> None:
        self.given += len(payload)
        self._far.sent(len(payload) / 8000, self._clock.now)

    def mark(self, label: str) -> None: ...

    def flush(self) -> float:
        return self._far.flush(self._clock.now)[0]

    def playing(self) -> bool:
        return self._far.unplayed(self._clock.now) > 0.001

    async def end(self, cause: EndCause) -> None: ...


class NullSession:
    """Takes what it hears, says what it is told to."""

    input_rate, output_rate = 16_000, 24_000

    def __init__(self) -> None:
        self.said = Outbox(20.0)
        self.events, self.speak_to = self.said.events, self.said.speak_to
        self.frames = 0

    async def hear(self, frame: AudioFrame, far_dbov: float = 0.0) -> None:
        self.frames += 1

    def hear_now(self, frame: AudioFrame) -> None:
        self.frames += 1

    async def _word(self, *_: Any) -> None: ...

    press = prompt = interrupt = heard = resolve = _word


class NullProvider:
    """One session."""

    name, capacity = "null", None

    def __init__(self) -> None:
        self.session = NullSession()

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    @asynccontextmanager
    async def open(self, brief: Brief) -> AsyncIterator[NullSession]:
        yield self.session


class NullStore:
    """Forgets."""

    async def begin(self, record: Any) -> None: ...

    async def finish(self, record: Any) -> None: ...


async def ticks(frames: int, kind: str, profile: cProfile.Profile | None = None) -> float:
    """Processor seconds of so many ticks of one call. kind: of KINDS, or "none"."""
    clock = HandClock()
    leg, provider = NullLeg(clock), NullProvider()
    board = Switchboard(
        limits=Limits(silence_prompt_s=3600, longest_call_s=86_400), agents={"receptionist": Agent(greeting="Hello")},
        providers={"null": provider}, store=NullStore(), clock=clock, data_dir=Path("nowhere"),  # type: ignore
    )  # fmt: skip
    call = asyncio.get_running_loop().create_task(board.attend(leg))
    await asyncio.sleep(0.05)
    provider.session.said.put(ReplyStarted(ReplyId("r1"), 0))
    await tick(clock, leg, provider.session, 100, kind)
    before, began = leg.given, time.process_time()
    if profile is not None:
        profile.enable()
    await tick(clock, leg, provider.session, frames, kind)
    used = time.process_time() - began
    if profile is not None:
        profile.disable()
    assert kind in ("up", "none") or abs(leg.given - before - 160 * frames) <= 160 * BURST, "not all was said"
    assert kind != "up" or provider.session.frames == frames + 100, "not all was heard"
    call.cancel()
    await asyncio.wait([call])
    return used


async def tick(clock: HandClock, leg: NullLeg, session: NullSession, frames: int, kind: str) -> None:
    """A frame each 20 ms, or a second's at once."""
    voice, said = (np.random.default_rng(1).normal(0, 2000, size).astype("<i2").tobytes() for size in (160, 480))
    for number in range(frames):
        if kind == "up":
            leg.voice.put(AudioFrame(voice, 8000, 160 * number))
        elif kind == "down":
            session.said.put_audio_now(ReplyAudio(ReplyId("r1"), AudioFrame(said, 24_000)))
        elif kind == "burst" and number % BURST == 0:
            for _ in range(min(BURST, frames - number)):
                session.said.put_audio_now(ReplyAudio(ReplyId("r1"), AudioFrame(said, 24_000)))
        clock.now += FRAME_S
        leg.tick()
        for _ in range(TURNS):
            await asyncio.sleep(0)


def run(frames: int, kind: str, profile: cProfile.Profile | None = None) -> float:
    """The same in a loop of its own."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        return runner.run(ticks(frames, kind, profile))


def main(frames: int, rounds: int) -> dict[str, float]:
    """µs a frame by kind, medians; rounds of all kinds alternate."""
    used: dict[str, list[float]] = {kind: [] for kind in ("none", *KINDS)}
    for _ in range(rounds):
        for kind, found in used.items():
            found.append(run(frames, kind) / frames * 1e6)
    print({kind: [round(one, 1) for one in found] for kind, found in used.items()})
    return {kind: statistics.median(a - b for a, b in zip(used[kind], used["none"], strict=True)) for kind in KINDS}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--profile", choices=KINDS, help="where the time of one kind goes")
    given = parser.parse_args()
    if given.profile:
        watched = cProfile.Profile()
        run(given.frames, given.profile, watched)
        pstats.Stats(watched).sort_stats("tottime").print_stats(25)
    else:
        for name, cost in main(given.frames, given.rounds).items():
            print(f"{name:6} {cost:6.1f} µs a frame")
