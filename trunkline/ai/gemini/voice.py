"""The caller's words on their way up: at once while a connection takes them, else kept and sent later, and faster."""

import asyncio
from collections import Counter

from trunkline.ai.gemini.faults import Broken
from trunkline.ai.gemini.link import Link
from trunkline.ai.gemini.tape import BYTES_PER_S, Tape

REPLAY_S = 0.1  # of kept audio per message
REPLAY_SPEED = 8.0  # times real time


class Voice:
    """One call's. `most_s`: seconds kept; what is dropped of them is counted by `tape`, what fails in `counters`."""

    def __init__(self, most_s: float, counters: Counter[str]) -> None:
        self.tape = Tape(most_s)
        self._counters = counters
        self._link: Link | None = None  # takes words as they come; None: the tape keeps them
        self._behind = asyncio.Event()

    def push(self, pcm: bytes) -> None:
        """Some more of the caller, s16le at 16 kHz. Never waits."""
        tape, link = self.tape, self._link
        tape.push(pcm)
        if link is None:
            return
        try:
            if link.audio(pcm):
                tape.sent = tape.end
                return
        except Broken:
            self._counters["sends_failed"] += 1  # `follow` says why
        self._link = None
        self._behind.set()

    def hold(self) -> None:
        """From here on the tape keeps what the caller says, until another connection is there."""
        self._link = None

    async def serve(self, link: Link) -> None:
        """While there is this connection: what was kept first, then words as they come, and again when it lags."""
        try:
            while True:
                self._behind.clear()
                await self._replay(link)
                self._link = link
                await self._behind.wait()
                self._counters["sends_held"] += 1
        except Broken:
            self._counters["sends_failed"] += 1  # `follow` says why; the tape keeps the rest
        finally:
            self._link = None

    async def _replay(self, link: Link) -> None:
        tape = self.tape
        if tape.waiting_s >= 2 * REPLAY_S:
            self._counters["replays"] += 1
        while tape.waiting_s > 0:
            await link.room()
            sent, pcm = tape.sent, tape.take(REPLAY_S)
            try:
                taken = link.audio(pcm)
            except Broken:
                tape.sent = sent
                raise
            if not taken:
                tape.sent = sent
            elif tape.waiting_s > 0:
                await asyncio.sleep(len(pcm) / BYTES_PER_S / REPLAY_SPEED)
