"""`GeminiSession`: one call's `AiSession` over as many connections as it takes.

`Turns` decides what messages mean, `Lease` when to leave a connection, `Tries` when to make another, and `Voice` keeps
the caller's words in between. Messages are worked through where they arrive, in the callback that reads the socket.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence

import structlog

from trunkline.ai.cascade.session_outbox import Outbox
from trunkline.ai.gemini import words
from trunkline.ai.gemini.faults import Broken, Fault, explained
from trunkline.ai.gemini.lease import Lease
from trunkline.ai.gemini.link import Dial, Link
from trunkline.ai.gemini.past import Role
from trunkline.ai.gemini.setup import current_model, traits
from trunkline.ai.gemini.tape import BYTES_PER_S
from trunkline.ai.gemini.tries import Tries
from trunkline.ai.gemini.turns import Turns
from trunkline.ai.gemini.voice import Voice
from trunkline.ai.gemini.wire import INPUT_RATE, NO_VOICE, OUTPUT_RATE, ServerMessage, decode, read_voice
from trunkline.ai.session import (
    SILENT_DBOV,
    AiEvent,
    Brief,
    Occasion,
    ReplyAudio,
    ReplyEnded,
    ReplyId,
    SessionLost,
    SpeechSink,
    Usage,
)
from trunkline.ai.tools import ToolResult
from trunkline.clock import Clock, until_beat
from trunkline.codecs.frame import AudioFrame
from trunkline.config import Gemini
from trunkline.errors import ProtocolError, UsageError

_log = structlog.get_logger(__name__)

TICK_S = 0.1
KEYS_S = 0.7  # keys pressed within this are one message
STUCK_S = 1.0  # a socket that takes nothing for so long is dead
MOST_AUDIO_S = 120.0  # of replies that nobody has taken


class GeminiSession:
    """An `AiSession`. Made by `open_gemini`. `counters`: what was odd, dropped or done again."""

    def __init__(self, settings: Gemini, brief: Brief, clock: Clock, dial: Dial) -> None:
        self._settings, self._brief, self._now, self._dial = settings, brief, clock.monotonic, dial
        self._turns = Turns(settings.stall_s)
        self._voice = Voice(settings.gap_audio_s, self._turns.counters)
        self._lease = Lease(settings.hand_over_margin_s)
        self._out = Outbox(MOST_AUDIO_S)
        self._tries = Tries(clock.monotonic(), settings.setup_timeout_s, settings.recover_s)
        self._link: Link | None = None
        self._complaint, self._keys, self._keys_at = "", "", 0.0
        self._first = asyncio.Event()
        self._lost: SessionLost | None = None
        self._closed = False
        self._overflowing: ReplyId | None = None
        self._turns.past.recall(brief.context.get("history"))
        if brief.greeting or not brief.context.get("resumed"):
            self._turns.ask(words.ask("greeting", brief.greeting), clock.monotonic())

    @property
    def input_rate(self) -> int:
        """16 kHz."""
        return INPUT_RATE

    @property
    def output_rate(self) -> int:
        """24 kHz."""
        return OUTPUT_RATE

    @property
    def connected(self) -> bool:
        """Whether the model hears the caller now; False while a connection is made or replaced."""
        return self._link is not None

    @property
    def waits_since(self) -> float | None:
        """Since when (clock, s) the model owes an answer, whether or not there is a connection; None: it does not."""
        return self._turns.waits_since()

    @property
    def caller_speaks(self) -> bool:
        """Whether our own ear hears the caller speak just now."""
        return self._turns.ear.speaking

    @property
    def counters(self) -> Counter[str]:
        """By name; nothing happens to a word or a message without one."""
        return self._turns.counters

    def events(self) -> AsyncIterator[AiEvent]:
        """See AiSession."""
        return self._out.events()

    def speak_to(self, sink: SpeechSink) -> None:
        """See SpeaksStraight."""
        self._out.speak_to(sink)

    async def opened(self, limit_s: float) -> SessionLost | None:
        """Wait for the first connection or its failure, at most `limit_s`."""
        try:
            async with asyncio.timeout(limit_s):
                await self._first.wait()
        except TimeoutError:
            return None
        return self._lost

    def close(self) -> None:
        """Events end; `run` is to be cancelled."""
        if not self._closed:
            self._closed = True
            self._account()
            self._out.finish()

    # ── the call's side ─────────────────────────────────────────────────────────────────────────────────────────

    async def hear(self, frame: AudioFrame, far_dbov: float = SILENT_DBOV) -> None:
        """See `hear_now`."""
        self.hear_now(frame)

    def hear_now(self, frame: AudioFrame) -> None:
        """Sent at once, or kept and sent later; never waits. UsageError for another rate."""
        if frame.rate != INPUT_RATE:
            raise UsageError(f"frame.rate: {frame.rate} Hz given, {INPUT_RATE} Hz wanted")
        if self._closed or self._out.over:
            return
        pcm = frame.pcm
        self._turns.ear.push(pcm, len(pcm) / BYTES_PER_S, self._now())
        self._voice.push(pcm)
        if self._link is None:
            self._emit(self._turns.overheard(self._now()))

    async def press(self, key: str) -> None:
        """Keys pressed in one go are told as one."""
        if not self._closed:
            self._keys += key
            self._keys_at = self._now()

    async def prompt(self, occasion: Occasion, text: str = "") -> None:
        """The model is told what to say; it says it in its own voice."""
        await self._say(words.ask(occasion, text))

    async def interrupt(self, reply: ReplyId, heard_s: float) -> None:
        """What still comes of this reply is dropped; the past keeps what was heard."""
        self._out.kill(reply)
        self._turns.cut(reply, heard_s)

    async def heard(self, reply: ReplyId) -> None:
        """As the past has it already."""

    async def resolve(self, result: ToolResult) -> None:
        """On the connection that asked, as a tool's answer; on a later one, in words, by the tool's name."""
        if self._closed:
            return
        asked = self._turns.resolve(result, self._now())
        if asked is None:
            self.counters["results_unwanted"] += 1
        elif self._link is not None and asked.link == self._turns.link:
            await self._send(self._link.answer(result))
        else:
            self.counters["results_in_words"] += 1
            await self._say(words.result(result, asked.arguments))

    async def _say(self, text: str) -> None:
        if self._closed:
            return
        self._turns.ask(text, self._now())  # a connection that comes up says it again
        if self._link is not None:
            await self._send(self._link.say(text))

    async def _send(self, sending: Awaitable[None]) -> None:
        try:
            await sending
        except Broken:
            self.counters["sends_failed"] += 1  # `follow` says why; what matters is said again

    # ── connections ─────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Keep a connection until the session is closed or no more can be had."""
        while True:
            fault = await self._try()
            now = self._now()
            if self._link is not None:  # it had been up
                self._link = None
                self._emit(self._turns.lost(now))
                self._tries.lost(now)
            if reason := self._hopeless(fault, now):
                self._give_up(reason)
                return

    async def _try(self) -> Fault:
        """One connection, from set-up to its end."""
        if wait_s := self._tries.wait_s(self._now()):
            await asyncio.sleep(wait_s)
        limit_s = self._tries.begin(self._now())
        if self._tries.fresh:
            self._tries.fresh = False
            self._lease.refused()
        history = not self._lease.handle and bool(self._turns.past.since())
        try:
            async with self._dial(self._lease.handle, history, limit_s) as link:
                return await self._live(link)
        except Broken as broken:
            return broken.fault

    def _hopeless(self, fault: Fault, now: float) -> SessionLost | None:
        """Why another try makes no sense; None: it does."""
        if self._tries.planned:
            self._tries.planned = False
            _log.info("gemini.handed_over", code=fault.code)
            return None
        _log.warning("gemini.connection_ended", reason=fault.reason, code=fault.code)
        if fault.action == "fresh":
            self.counters["handles_refused"] += bool(self._lease.handle)
        return self._tries.failed(fault, now)

    def _account(self) -> None:
        """The last words, and what was odd, for the call's record."""
        self._emit(self._turns.finish())
        counts = {name: float(count) for name, count in self.counters.items() if count}
        if dropped_s := self._voice.tape.dropped_s:
            counts["gap_audio_dropped_s"] = dropped_s
        if counts:
            self._out.put(Usage("gemini", counts))
        self.counters.clear()

    def _give_up(self, lost: SessionLost) -> None:
        self._lost = lost
        self._account()
        self._out.put(lost)
        self._out.finish()
        self._first.set()

    async def _live(self, link: Link) -> Fault:
        """Use the connection until it ends."""
        await self._greet(link)
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(self._tick(link), name="gemini-tick"),
                group.create_task(self._voice.serve(link), name="gemini-voice"),
            ]
            try:
                return await self._follow(link)
            finally:
                for task in beside:
                    task.cancel()

    async def _greet(self, link: Link) -> None:
        """Tell the new connection what it must know before the caller's voice goes through."""
        now, turns = self._now(), self._turns
        resumed = bool(self._lease.handle)
        if turns.link:
            self._emit([Usage("gemini", {"reconnects": 1.0, "gap_s": now - self._tries.since})])
        if turns.link and (replay_from := turns.replay_from()) is not None:
            self._voice.tape.rewind(replay_from)
        said = turns.connected(now)
        if past := self._unknown(resumed=resumed):
            await link.seed(past, first=not resumed)
        for text in said:
            await link.say(text)
        self._lease.renewed()
        self._link = link
        self._first.set()

    def _unknown(self, *, resumed: bool) -> Sequence[tuple[Role, str]]:
        """What the connection cannot know of the past."""
        mark = self._lease.handle_mark if resumed else 0
        if resumed and not traits(current_model(self._settings.model)).context:
            return []
        return self._turns.past.since(mark)

    async def _follow(self, link: Link) -> Fault:
        try:
            await link.follow(self._take)
        except Broken as broken:
            return explained(broken.fault, self._complaint)
        return Fault("nobody takes what the session says", "consumer", "stop", retryable=False)

    def _take(self, raw: bytes) -> bool:
        """One message, where it arrives; True when nobody wants another."""
        try:
            voice = read_voice(raw)
        except NO_VOICE:
            return self._take_any(raw)
        parts = voice.server_content.model_turn.parts
        if not parts:  # a sign of life, if no more
            return self._take_any(raw)
        events: list[AiEvent] = []
        for part in parts:
            self._turns.voice(part.inline_data, self._now(), events)
        self._emit(events)
        return self._out.over

    def _take_any(self, raw: bytes) -> bool:
        try:
            message = decode(raw)
        except ProtocolError as error:
            self.counters["odd_messages"] += 1
            _log.debug("gemini.odd_message", error=str(error)[:200])
            return False
        if not message.known:
            self._odd(message)
            return False
        now = self._now()
        self._about_connection(message, now)
        self._emit(self._turns.take(message, now))
        return self._out.over

    def _odd(self, message: ServerMessage) -> None:
        self.counters["odd_messages"] += 1
        if message.complaint:
            self._complaint = message.complaint
            _log.warning("gemini.error_in_band", error=message.complaint[:200])

    def _about_connection(self, message: ServerMessage, now: float) -> None:
        if message.go_away is not None:
            self._lease.ends(message.go_away, now)
        if message.session_resumption_update is not None:
            self._lease.update(message.session_resumption_update, self._turns.past.count)

    def _emit(self, events: Sequence[AiEvent]) -> None:
        for event in events:
            if isinstance(event, ReplyAudio):
                self._put_audio(event)
            else:
                self._out.put(event)

    def _put_audio(self, event: ReplyAudio) -> None:
        """The same socket brings "the caller speaks", so nothing waits here: what is too much ends its reply."""
        if self._out.put_audio_now(event) or self._overflowing == event.reply:
            return
        self._overflowing = event.reply
        self.counters["overflows"] += 1
        self._turns.cut(event.reply, event.frame.start / OUTPUT_RATE)
        self._out.put(ReplyEnded(event.reply))

    # ── beside a connection ─────────────────────────────────────────────────────────────────────────────────────

    async def _tick(self, link: Link) -> None:
        """What time brings about, whatever the server does."""
        while True:
            await asyncio.sleep(until_beat(self._now(), TICK_S))
            now = self._now()
            self._emit(self._turns.tick(now))
            self._voice.tape.settle(self._turns.settled_s)
            await self._tell_keys(now)
            if link.blocked_s > STUCK_S:
                self.counters["stuck_sockets"] += 1
                link.abort()
            elif self._lease.due(now, quiet=self._turns.quiet(now)):
                await self._hand_over(link)
            else:
                await self._watch(link, now)

    async def _hand_over(self, link: Link) -> None:
        """Close first: a resume beside the open connection is refused."""
        self.counters["hand_overs"] += 1
        self._lease.leave_at = None
        self._tries.planned = True
        self._voice.hold()
        await link.close()

    async def _watch(self, link: Link, now: float) -> None:
        if (due := self._turns.due(now)) == "nudge":
            self.counters["nudges"] += 1
            self._turns.nudged(now)
            await self._send(link.say(words.NUDGE))
        elif due:
            self.counters["replaced"] += 1
            self._tries.fresh = due == "fresh"
            self._voice.hold()
            link.abort()

    async def _tell_keys(self, now: float) -> None:
        if self._keys and now - self._keys_at >= KEYS_S:
            keys, self._keys = self._keys, ""
            await self._say(words.keys(keys))
