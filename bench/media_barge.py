"""Barge-in, for `bench.media_path`: the caller's onset on the wire → the carrier's `clear` on the wire, less the time
the simulated Gemini took to notice and to say `interrupted`.

What is left is ours: the onset's way up and the interruption's way down. Each caller is greeted at length, speaks into
it, and goes on speaking; audio that comes after the `clear` is the dead reply's.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

import aiohttp
import numpy as np

from bench.media_callers import MESSAGE_MS, UP_S, Caller, Framing
from trunkline_sim import mulaw
from trunkline_sim.gemini import GeminiSim
from trunkline_sim.gemini_bench import LOUD
from trunkline_sim.gemini_log import SessionLog
from trunkline_sim.gemini_scenario import Scenario

GREETING = "I am saying something long so that there is time to speak into it. " * 4
SCENARIO = Scenario(
    hear="any", greeting=GREETING, setup_delay_s=0.0, first_audio_s=0.1, interrupt_s=0.0, stale_chunks=0
)
LISTENS_S = (0.6, 1.6)  # before the caller speaks: from, to
SPEAKS_S = 1.5  # the `clear` must have come within this
AFTER_S = 0.3  # watched for frames of the dead reply


@dataclass(frozen=True, slots=True)
class Barge:
    """One interruption. `ours_ms` is None when no `clear` came."""

    ours_ms: float | None
    whole_ms: float | None  # onset → clear, the detector's time included
    after: int  # messages of audio after the `clear`


class Interrupter(Caller):
    """One caller who interrupts once."""

    def __init__(self, framing: Framing, number: int) -> None:
        super().__init__(framing, number)
        self._clear_at: float | None = None
        self._after = 0

    async def interrupt(self) -> Barge:
        """Listen, speak up, and tell what came of it."""
        step_ms = MESSAGE_MS[self.framing]
        quiet = bytes((mulaw.SILENCE,)) * (step_ms * 8)
        samples = 12000 * np.sin(2 * np.pi * 500 * np.arange(step_ms * 8) / mulaw.RATE)
        loud = mulaw.encode(np.round(samples).astype(np.int16))
        zero, listens_s = time.monotonic(), random.uniform(*LISTENS_S)
        onset: float | None = None
        number = 0
        while (now := time.monotonic()) - zero < listens_s + SPEAKS_S:
            if self._clear_at is not None and now > self._clear_at + AFTER_S:
                break
            if now - zero >= listens_s and onset is None:
                onset = now
            number += 1
            await self.say(quiet if onset is None else loud, number * step_ms)
            await asyncio.sleep(max(0.0, zero + number * step_ms / 1000 - time.monotonic()))
        return self._judged(onset)

    def _judged(self, onset: float | None) -> Barge:
        arrived, told = onset_arrival(self.log), [event.at_s for event in self.log.of("interrupted")]
        if onset is None or self._clear_at is None or arrived is None or not told:
            return Barge(None, None, self._after)
        ours = arrived - onset + self._clear_at - told[0]
        return Barge(1000 * ours, 1000 * (self._clear_at - onset), self._after)

    def heard_text(self, text: str, now: float) -> None:
        """A `clear` is looked for; what follows it is counted."""
        if '"event":"clear"' in text.replace(" ", ""):
            self._clear_at = self._clear_at or now
        elif self._clear_at is not None and '"media"' in text:
            self._after += 1


def onset_arrival(log: SessionLog) -> float | None:
    """When the message with the first loud sample reached the model (monotonic s); None when none did."""
    loud = np.flatnonzero(np.abs(np.frombuffer(bytes(log.audio), "<i2").astype(np.int32)) > LOUD)
    if not loud.size:
        return None
    end = 0
    for at, samples in log.arrivals:
        end += samples
        if end > loud[0]:
            return at
    return None


async def interruptions(
    session: aiohttp.ClientSession, url: str, gemini: GeminiSim, framing: Framing, calls: int
) -> Sequence[Barge]:
    """So many callers at once, each of whom interrupts once."""
    callers = [Interrupter(framing, number) for number in range(calls)]
    for caller in callers:
        await caller.set_up(session, url, gemini)
    async with asyncio.timeout(UP_S + LISTENS_S[1] + SPEAKS_S + 30):
        found = await asyncio.gather(*(caller.interrupt() for caller in callers))
    for caller in callers:
        await caller.hang_up()
    return found
