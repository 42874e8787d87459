"""Callers for `bench.media_path`: one carrier's framing, a short tone each second, and each way timed on its own.

The simulated Gemini runs in the same process and notes when a tone reached it (one clock for both), so what a tone took
up and what its echo took down are told apart. Calls are set up one after the other; then all talk at once.
"""

import asyncio
import base64
import random
import time
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import aiohttp

from trunkline_sim import mulaw
from trunkline_sim.gemini import GeminiSim
from trunkline_sim.gemini_log import SessionLog
from trunkline_sim.load import tone_message
from trunkline_sim.twilio import TwilioSpeaker, call_facts
from trunkline_sim.wire import CallFacts, Speaker

Framing: TypeAlias = Literal["smartflo", "twilio"]
MESSAGE_MS = {"smartflo": 100, "twilio": 20}
PATHS = {"smartflo": "/smartflo/audio", "twilio": "/twilio/media"}
UP_S = 5.0  # a session must be there within this
PULSE_S = 1.0
LATE_S = 0.04  # of audio behind the ear: less is hidden by a jitter buffer
WARM_S = 1.5  # of talk before anything is counted
_PAYLOAD = '"payload":"'
_LOUD = bytes(int(abs(int(level)) > 2000) for level in mulaw.EXPAND)


@dataclass(slots=True)
class Heard:
    """What all callers of one run saw. Delays in ms, audio in frames of 20 ms."""

    up_ms: list[float] = field(default_factory=list)
    down_ms: list[float] = field(default_factory=list)
    rig_late_ms: list[float] = field(default_factory=list)
    tones: int = 0
    tones_lost: int = 0
    sent: int = 0
    returned: int = 0
    late: int = 0
    gone: int = 0  # calls that the service ended


class Caller:
    """One call."""

    def __init__(self, framing: Framing, number: int) -> None:
        facts = (
            call_facts("15005550006", "918069000000") if framing == "twilio" else CallFacts(from_=f"9198{number:08}")
        )
        self.framing = framing
        self._speaker = TwilioSpeaker(facts) if framing == "twilio" else Speaker(facts)
        self._step_ms = MESSAGE_MS[framing]
        self._path = PATHS[framing]
        self._tones: list[tuple[float, float]] = []  # (sent, heard again)
        self._tone_at: float | None = None
        self._counting = False
        self._ear_until = 0.0
        self._heard = Heard()
        self.log: SessionLog
        self._ws: aiohttp.ClientWebSocketResponse
        self._listening: asyncio.Task[None]

    async def set_up(self, session: aiohttp.ClientSession, url: str, gemini: GeminiSim) -> None:
        """Ring, and wait until the model hears."""
        known = len(gemini.sessions)
        self._ws = await session.ws_connect(url + self._path, compress=0, max_msg_size=1 << 20)
        await self._ws.send_str(self._speaker.connected())
        await self._ws.send_str(self._speaker.start())
        await gemini.until(lambda: len(gemini.sessions) > known and gemini.sessions[known].setup, UP_S)
        self.log = gemini.sessions[known]
        self._listening = asyncio.create_task(self._listen())

    async def talk(self, seconds: float, zero: float, heard: Heard) -> None:
        """In real time from `zero` (loop's clock) on."""
        step = self._step_ms / 1000
        silence, tone = bytes((mulaw.SILENCE,)) * (self._step_ms * 8), tone_message(self._step_ms)
        every, count, warm = round(PULSE_S / step), int((seconds + WARM_S) / step), int(WARM_S / step)
        zero += random.random() * PULSE_S  # so that neither messages nor tones march in step
        self._heard = heard
        for number in range(1, count + 1):
            due = zero + number * step
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if self._ws.closed:
                heard.gone += 1
                return
            self._counting = number > warm
            pulse = self._counting and number % every == 0
            if pulse:
                self._begin(heard)
            await self._ws.send_str(self._speaker.media(tone if pulse else silence, number * self._step_ms))
            if self._counting:
                heard.sent += self._step_ms // 20
                heard.rig_late_ms.append(1000 * (time.monotonic() - due))
        await asyncio.sleep(0.25)  # what is on its way comes back; from 0.3 s on the service fills the silence itself
        self._counting = False
        self._close_books(heard)

    def _begin(self, heard: Heard) -> None:
        heard.tones += 1
        heard.tones_lost += self._tone_at is not None
        self._tone_at = time.monotonic()

    def _close_books(self, heard: Heard) -> None:
        heard.tones_lost += self._tone_at is not None
        reached = iter(self.log.marks)
        mark = next(reached, None)
        for sent, back in self._tones:
            while mark is not None and mark < sent:
                mark = next(reached, None)
            if mark is not None and mark <= back:
                heard.up_ms.append(1000 * (mark - sent))
                heard.down_ms.append(1000 * (back - mark))

    async def _listen(self) -> None:
        async for message in self._ws:
            text, now = message.data, time.monotonic()
            self.heard_text(text, now)
            at = text.find(_PAYLOAD)
            if at < 0:
                await self._mark(text)
                continue
            payload = base64.b64decode(text[at + len(_PAYLOAD) : text.index('"', at + len(_PAYLOAD))])
            if self._counting:
                self._heard.returned += len(payload) / 160  # type: ignore[assignment]
                self._heard.late += now - self._ear_until > LATE_S
            self._ear_until = max(now, self._ear_until) + len(payload) / 8000
            if self._tone_at is not None and 1 in payload.translate(_LOUD):
                self._tones.append((self._tone_at, now))
                self._tone_at = None

    def heard_text(self, text: str, now: float) -> None:
        """Every message, as it comes, for whoever is interested."""

    async def say(self, payload: bytes, at_ms: int) -> None:
        """One message of the caller's voice: mu-law that ends `at_ms` into the call."""
        if not self._ws.closed:
            await self._ws.send_str(self._speaker.media(payload, at_ms))

    async def _mark(self, text: str) -> None:
        """Given back when what was sent before it has been played."""
        at = text.find('"name":"')
        if '"mark"' in text and at > 0:
            name = text[at + 8 : text.index('"', at + 8)]
            asyncio.get_running_loop().call_later(max(0.0, self._ear_until - time.monotonic()), self._give_back, name)

    def _give_back(self, name: str) -> None:
        if not self._ws.closed:
            task = asyncio.ensure_future(self._ws.send_str(self._speaker.mark(name)))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def hang_up(self) -> None:
        """Goodbye."""
        if not self._ws.closed:
            await self._ws.send_str(self._speaker.stop("Call ended"))
            await self._ws.close()
        self._listening.cancel()
