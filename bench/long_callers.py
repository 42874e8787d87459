"""Callers for hours: recorded sentences through Smartflo's framing, and an account of what came back to each ear.

A caller sends 100 ms a message without a pause: silence, and a sentence every few seconds. Sound that comes back
between two sentences is the answer to the first of them; it is counted in frames of 20 ms, whose number is known.
"""

import asyncio
import base64
import contextlib
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from trunkline_sim import mulaw
from trunkline_sim.wire import CallFacts, Speaker

MESSAGE_MS = 100
STEP_S = MESSAGE_MS / 1000
MESSAGE = 8 * MESSAGE_MS  # bytes of mu-law
FRAME = 160  # bytes: 20 ms
LATE_S = 0.04  # of audio behind the ear: less is hidden by a jitter buffer
TAIL_S = 6.0  # a caller listens for so long after the last sentence
EDGE_FRAMES = 2  # of a reply, at its faded ends, may fall below the threshold
ANSWERED = 0.5  # share of a reply's frames that makes it an answer
_PAYLOAD = '"payload":"'
_LOUD = bytes(int(abs(int(level)) > 1000) for level in mulaw.EXPAND)
_QUIET = bytes((mulaw.SILENCE,)) * MESSAGE


@dataclass(frozen=True, slots=True)
class Sentence:
    """Something to say: its text, and its mu-law in whole messages."""

    text: str
    messages: Sequence[bytes]
    seconds: float  # of speech

    @classmethod
    def of(cls, text: str, clip: bytes) -> "Sentence":
        """From a clip at 8 kHz."""
        padded = clip + _QUIET[: -len(clip) % MESSAGE]
        return cls(text, [padded[at : at + MESSAGE] for at in range(0, len(padded), MESSAGE)], len(clip) / 8000)


@dataclass(slots=True)
class Account:
    """What callers did and heard. Summed over all calls of a run."""

    sent_s: float = 0.0
    spoken: int = 0  # sentences
    answered: int = 0
    unanswered: int = 0
    frames_heard: int = 0  # loud ones, in answers
    frames_short: int = 0  # that answers lacked
    frames_over: int = 0  # that answers had too many: something was said twice, or unasked
    late: int = 0  # messages of a reply that came when the ear had run dry
    late_s: float = 0.0  # the longest of these
    clears: int = 0
    rung: int = 0  # calls
    gone: int = 0  # calls that the service ended
    unreached: int = 0  # calls that could not be set up
    broken: int = 0  # calls that this program lost by a fault of its own
    response_s: list[float] = field(default_factory=list)  # end of a sentence → first sound of its answer
    own_late_s: list[float] = field(default_factory=list)  # our own lateness with each message


@dataclass(slots=True)
class _Turn:
    ended_at: float  # of the sentence
    first_at: float = 0.0
    frames: int = 0


class LongCaller:
    """One call of any length. `spoken`: the texts said so far, in order; `unasked_frames`: loud ones that answered none
    of them, a greeting's for example, heard to their end at `unasked_until` (monotonic)."""

    def __init__(self, number: int, sentences: Sequence[Sentence], account: Account, answer_s: float) -> None:
        self.spoken: list[str] = []
        self.unasked_frames = 0
        self.unasked_until = 0.0
        self.facts = CallFacts(from_=f"9198{number:08}")
        self._dice = random.Random(number)
        self._sentences = sentences
        self._account = account
        self._answer_frames = round(answer_s * 50)
        self._speaker = Speaker(self.facts)
        self._at_ms = 0
        self._turn: _Turn | None = None
        self._ear_until = 0.0
        self._ws: aiohttp.ClientWebSocketResponse
        self._listening: asyncio.Task[None]

    async def ring(self, session: aiohttp.ClientSession, url: str) -> None:
        """Connect and describe the call."""
        self._ws = await session.ws_connect(url, compress=0, max_msg_size=1 << 20)
        await self._ws.send_str(self._speaker.connected())
        await self._ws.send_str(self._speaker.start())
        self._listening = asyncio.create_task(self._listen(), name=f"long.{self.facts.call_sid}")

    async def talk(self, pause_s: tuple[float, float], over: Callable[[], bool]) -> None:
        """Until `over()` and the last answer, or the service's end. `pause_s`: between the starts of two sentences."""
        zero = time.monotonic() + self._dice.random() * STEP_S  # so that calls do not march in step
        number, queue, next_at = 0, list[bytes](), zero + self._dice.uniform(*pause_s)
        end: float | None = None
        while end is None or time.monotonic() < end:
            number += 1
            due = zero + number * STEP_S
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if end is None and over():
                end = time.monotonic() + TAIL_S
            if not queue and due >= next_at and end is None:
                queue = self._say(due)
                next_at = due + self._dice.uniform(*pause_s)
            if not await self._send(queue.pop(0) if queue else _QUIET, due):
                self._account.gone += 1
                break
        self._close_turn()

    async def say_once(self, quiet_s: float, seconds: float) -> bool:
        """Be quiet, say one sentence or as much of it as the time allows; in all for `seconds`. False: the service
        ended the call before."""
        zero, queue = time.monotonic(), list[bytes]()
        for number in range(1, round(seconds / STEP_S) + 1):
            due = zero + number * STEP_S
            if (wait := due - time.monotonic()) > 0:
                await asyncio.sleep(wait)
            if not self.spoken and due - zero >= quiet_s:
                queue = self._say(due)
            if not await self._send(queue.pop(0) if queue else _QUIET, due):
                self._account.gone += 1
                return False
        return True

    async def hang_up(self) -> None:
        """Goodbye."""
        with contextlib.suppress(ConnectionError, aiohttp.ClientError):  # the service was quicker
            await self._ws.send_str(self._speaker.stop("Call ended"))
        await self._ws.close()
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    def _say(self, now: float) -> list[bytes]:
        self._close_turn()
        sentence = self._sentences[len(self.spoken) % len(self._sentences)]
        self.spoken.append(sentence.text)
        self._account.spoken += 1
        self._turn = _Turn(now + sentence.seconds)
        return list(sentence.messages)

    def _close_turn(self) -> None:
        """The answer to the last sentence is complete, or will never be."""
        turn, account, wanted = self._turn, self._account, self._answer_frames
        self._turn = None
        if turn is None:
            return
        answered = turn.frames >= ANSWERED * wanted
        account.answered += answered
        account.unanswered += not answered
        account.frames_heard += turn.frames
        account.frames_short += max(0, wanted - EDGE_FRAMES - turn.frames)
        account.frames_over += max(0, turn.frames - wanted - EDGE_FRAMES)
        if turn.first_at:
            account.response_s.append(turn.first_at - turn.ended_at)

    async def _send(self, payload: bytes, due: float) -> bool:
        if self._ws.closed or self._listening.done():
            return False
        self._at_ms += MESSAGE_MS
        try:
            await self._ws.send_str(self._speaker.media(payload, self._at_ms))
        except (ConnectionError, aiohttp.ClientError):
            return False
        self._account.sent_s += STEP_S
        self._account.own_late_s.append(time.monotonic() - due)
        return True

    async def _listen(self) -> None:
        async for message in self._ws:
            text = message.data
            at = text.find(_PAYLOAD)
            if at >= 0:
                self._heard(base64.b64decode(text[at + len(_PAYLOAD) : text.index('"', at + len(_PAYLOAD))]))
            elif '"mark"' in text:
                self._mark(text)
            elif '"clear"' in text:
                self._account.clears += 1
                self._ear_until = time.monotonic()

    def _heard(self, payload: bytes) -> None:
        now, behind = time.monotonic(), time.monotonic() - self._ear_until
        self._ear_until = max(now, self._ear_until) + len(payload) / 8000
        marks = payload.translate(_LOUD)
        frames = sum(1 in marks[at : at + FRAME] for at in range(0, len(marks), FRAME)) if 1 in marks else 0
        if not frames:
            return
        turn = self._turn
        if turn is None:
            self.unasked_frames += frames
            self.unasked_until = self._ear_until
            return
        if behind > LATE_S and 0 < turn.frames < self._answer_frames - EDGE_FRAMES:
            self._account.late += 1
            self._account.late_s = max(self._account.late_s, behind)
        turn.first_at = turn.first_at or now
        turn.frames += frames

    def _mark(self, text: str) -> None:
        """Given back when what was sent before it has been played."""
        at = text.find('"name":"')
        if at > 0:
            name = text[at + 8 : text.index('"', at + 8)]
            wait = max(0.0, self._ear_until - time.monotonic())
            asyncio.get_running_loop().call_later(wait, self._give_back, name)

    def _give_back(self, name: str) -> None:
        if not self._ws.closed:
            task = asyncio.ensure_future(self._send_mark(name))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _send_mark(self, name: str) -> None:
        await self._ws.send_str(self._speaker.mark(name))  # numbered only now: else a media message could overtake it
