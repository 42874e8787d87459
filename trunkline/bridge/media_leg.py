"""A media websocket as a `CallLeg`: the shell around a pure dialect and two pure reckonings.

    socket ─► heard ─► dialect ─► Inbound ─► audio()          room(), send() ─► Outgoing ─► socket
                          └─────────────────► events() ◄── FarEnd (marks, unplayed) ◄───┘

No task per message: the socket tells the leg, the leg writes to the socket. One task, the writer's, waits for a far end
that does not read; a timer fills silence, settles marks and notices a far end that never will. How a leg ends:

- the carrier's goodbye (`stop`), or a close with a goodbye code (1000, 1001, 1005): completed, by the caller;
- a socket that vanished, broke, or does not take a message for `STALL_S`: media_lost, the carrier's fault;
- a far end that never stops flooding: carrier_failed; our own `end(cause)`: that cause.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import structlog

from trunkline.bridge.dialect import (
    MediaDialect,
    MediaProfile,
    Message,
    StreamStarted,
    StreamStopped,
    WireAudio,
    WireDigits,
    WireEvent,
    WireMark,
)
from trunkline.bridge.ear import Ear
from trunkline.bridge.far_end import FarEnd
from trunkline.bridge.leg import Answered, Digit, Ended, LegEvent, LegInfo, Oddity, Played
from trunkline.bridge.opening import close, facts, understood
from trunkline.bridge.outgoing import Outgoing
from trunkline.bridge.rate import RateLimit
from trunkline.bridge.telling import FAULTS, Telling
from trunkline.bridge.timers import Alarm, Naps
from trunkline.bridge.wire_socket import POLITE, Socket
from trunkline.clock import Clock
from trunkline.codecs.frame import AudioFrame
from trunkline.outcome import EndCause, Outcome

QUEUE_S = 1.0  # audio beyond the lead that may wait in front of a slow socket
MARKS = 256  # outstanding; later ones are timed by our clock alone
STALL_S = 5.0  # a message not taken for so long: the far end is gone
GOODBYE_S = 2.0  # hang-up and closing handshake
ECHO_S = 0.1  # the same key again within this is the same press
FLOOD_S = 5.0  # so many seconds' worth of refused messages in a row end the leg
TICK_S = 0.001  # what a timer may be early

_log = structlog.get_logger(__name__)


class MediaSocketLeg:
    """`CallLeg` over a media websocket. Made by `media_socket.open_media_leg`, for the loop that owns the call."""

    def __init__(
        self,
        socket: Socket,
        profile: MediaProfile,
        dialect: MediaDialect,
        early: Sequence[WireEvent],
        clock: Clock,
        max_message_bytes: int,
        rate: RateLimit,
    ) -> None:
        """early: the events up to and including the first `StreamStarted`."""
        self._socket = socket
        self._dialect = dialect
        self._now = clock.monotonic
        self._most = max_message_bytes
        self._rate = rate
        self._info = facts(profile, early)
        self._bytes_per_s = self._info.codec.bytes_per_second
        self._frame_bytes = max(1, self._bytes_per_s * profile.frame_ms // 1000)
        self._room_s = max(profile.lead_s - profile.frame_ms / 1000, 0.0)
        self._queue_s = profile.lead_s + QUEUE_S
        self._telling = Telling()
        self._tell, self._odd, self._count = self._telling.tell, self._telling.odd, self._telling.count
        self._far = FarEnd()
        self._has_marks = dialect.mark("") is not None
        self._out = Outgoing(socket, dialect, self._far, clock, self._mark_left, self._not_sent)
        self._rooms = Naps()
        self._last_keys = ("", float("-inf"))
        self._ending: Outcome | None = None  # ours, once we hang up
        self._over = False
        self._closed = asyncio.Event()
        self._alarm = Alarm(self._ring)
        now = clock.monotonic()
        self._ear = Ear(self._info.codec, self._telling, now)
        self._tell(Answered())
        self._alarm.by(self._ear.silence_at, now)
        started = False
        for event in early:
            if started or not isinstance(event, StreamStarted):
                self._happened(event, now)
            started = started or isinstance(event, StreamStarted)

    # -- what the call sees

    @property
    def info(self) -> LegInfo:
        """Facts, fixed once the leg is up."""
        return self._info

    @property
    def counters(self) -> Mapping[str, int]:
        """Everything dropped, filled in, concealed, odd, so far. Names: docs/carriers/smartflo.md."""
        far = {"early_marks": self._far.early_marks, "late_marks": self._far.late_marks}
        return self._telling.counters | {name: n for name, n in far.items() if n}

    def events(self) -> AsyncIterator[LegEvent]:
        """What happens on the leg, `Answered` first, `Ended` last; one consumer."""
        return self._telling.events

    def audio(self) -> AsyncIterator[AudioFrame]:
        """The caller's voice in pieces of 10 to 200 ms; one consumer; at most 1 s is held."""
        return self._ear.audio

    async def room(self) -> None:
        """Return once a frame may be sent and the far end still holds no more than the lead; or at the end."""
        while (wait := self._too_far()) > 0.0:
            await self._rooms.nap(wait)

    def has_room(self) -> bool:
        """Whether `room()` would return at once."""
        return self._too_far() <= 0.0

    def _too_far(self) -> float:
        """Seconds until the far end has room for another frame; 0.0 when it has, or when all is over."""
        wait = self._far.unplayed(self._now()) - self._room_s
        return 0.0 if self._over or wait <= TICK_S / 2 else wait

    def send(self, payload: bytes) -> None:
        """payload: whole frames of `info.codec`; a broken frame is filled up with silence and counted."""
        if self._over or self._ending is not None:
            self._count("sent_after_end")
            return
        if not payload:
            return
        if len(payload) % self._frame_bytes:
            payload = self._padded(payload)
        seconds = len(payload) / self._bytes_per_s
        if self._far.queued_s > self._queue_s:
            self._count("outgoing_dropped_ms", round(seconds * 1000))
            return
        self._out.audio(payload, seconds)

    def mark(self, label: str) -> None:
        """Ask to be told by `Played(label)`; exactly once, before `Ended`."""
        if self._over:
            self._count("marks_after_end")
            return
        echoes = self._has_marks and self._far.outstanding() < MARKS
        self._out.mark(self._far.mark(label, echoes=echoes), echoes=echoes)

    def flush(self) -> float:
        """Empty our own queue, then the far end's: seconds sent, not yet played, and now never will be."""
        if self._over:
            return 0.0
        lost, marks = self._far.flush(self._now())
        self._out.purge()
        if self._out.dirty and self._ending is None:
            self._out.control(self._dialect.clear())
            self._out.dirty = False
        for label, dropped in marks:
            self._tell(Played(label, dropped))
        self._count("flushes")
        self._rooms.wake()
        return lost

    def playing(self) -> bool:
        """True while the far end, or our queue to it, still holds audio of ours."""
        return self._far.unplayed(self._now()) > TICK_S

    async def end(self, cause: EndCause) -> None:
        """Hang up: the in-band message where there is one, then close; within GOODBYE_S. Idempotent."""
        if self._ending is not None:
            await self._closed.wait()
            return
        self._ending = Outcome(cause, FAULTS.get(cause, "nobody"))
        try:
            if not await self._hang_up():
                self._count("goodbye_timeouts")
        finally:
            self._finish(self._ending)
            self._closed.set()

    # -- in: what the socket tells

    def heard(self, message: Message) -> bool:
        """A message of the carrier; True when the ear should have its turn."""
        try:
            self._take(message, self._now())
        except Exception:
            self._broken("reader")
        return self._ear.behind

    def odd(self, oddity: Oddity) -> None:
        """Survived, or about to end the socket."""
        if not self._over:
            self._odd(oddity)

    def gone(self) -> None:
        """The socket is closed."""
        code = self._socket.close_code
        if code in POLITE:
            self._finish(Outcome(EndCause.COMPLETED, "caller", str(code)))
        else:
            self._finish(Outcome(EndCause.MEDIA_LOST, "carrier", str(code or "")))

    def _take(self, message: Message, now: float) -> None:
        if self._rate.admits(now):
            for event in understood(self._dialect, message, self._most):
                if type(event) is WireAudio and not self._over:  # nearly always
                    self._ear.heard(event, now)
                else:
                    self._happened(event, now)
            return
        self._happened(Oddity("flood"), now)
        if self._rate.refused > FLOOD_S * self._rate.per_s:
            self._finish(Outcome(EndCause.CARRIER_FAILED, "carrier", "flood"))

    def _happened(self, event: WireEvent, now: float) -> None:
        if self._over:
            return
        match event:
            case WireAudio():
                self._ear.heard(event, now)
            case WireMark(label):
                self._echoed(label, now)
            case WireDigits(keys):
                self._pressed(keys, now)
            case Oddity():
                self._odd(event)
            case StreamStarted():
                self._described_again(event)
            case StreamStopped(reason):
                self._finish(Outcome(EndCause.COMPLETED, "caller", reason))

    def _pressed(self, keys: str, now: float) -> None:
        last, at = self._last_keys
        if keys == last and now - at < ECHO_S:
            self._count("digits_repeated", len(keys))
            return
        self._last_keys = (keys, now)
        for key in keys:
            self._tell(Digit(key))

    def _echoed(self, name: str, now: float) -> None:
        if not self._far.echo(name, now):
            self._odd(Oddity("unknown_mark", name))
        self._settle(now)

    def _described_again(self, started: StreamStarted) -> None:
        """Same call, new ids (the dialect has them). A codec that changed is heard rightly from here on."""
        was, is_now = self._ear.codec, started.codec
        if (was.name, was.rate) != (is_now.name, is_now.rate):
            self._odd(Oddity("codec_changed", f"{was.name}/{was.rate} to {is_now.name}/{is_now.rate}"))
            self._ear.use(started.codec)

    # -- out

    async def write(self) -> None:
        """The writer's task, for as long as the leg is open."""
        try:
            await self._out.run()
        except Exception as error:
            self._not_sent(error)

    def _not_sent(self, error: Exception) -> None:
        if isinstance(error, OSError):
            self._finish(Outcome(EndCause.MEDIA_LOST, "carrier", str(error)[:200]))
        else:
            self._broken("writer")

    def _mark_left(self, now: float) -> None:
        self._alarm.by(self._far.next_settling(), now)

    def _padded(self, payload: bytes) -> bytes:
        """Only the end of an utterance may need this; in its middle it would be a gap."""
        missing = -len(payload) % self._frame_bytes
        self._count("padded_bytes", missing)
        silence = self._info.codec.silence
        return payload + (silence * missing)[:missing]

    # -- the end

    async def _hang_up(self) -> bool:
        """Say goodbye behind nothing but control messages, and close; False when the far end did not take it."""
        polite = True
        if not self._over:
            self._out.purge()
            self._out.control(self._dialect.hang_up())
            polite = await self._out.drain(GOODBYE_S / 2)
        return await close(self._socket, 1000, "", within_s=GOODBYE_S / 2) and polite

    def _finish(self, outcome: Outcome) -> None:
        """The one way out: outstanding marks, `Ended`, and everyone who waits is told. Our own hang-up wins."""
        if self._over:
            return
        self._over = True
        _, marks = self._far.flush(self._now())
        for label, dropped in marks:
            self._tell(Played(label, dropped))
        self._tell(Ended(self._ending or outcome))
        self._telling.events.close()
        self._ear.close()
        self._alarm.off()
        self._rooms.wake()
        self._out.over()

    def _broken(self, part: str) -> None:
        """A bug of ours ends this call and no other."""
        _log.exception("leg.broken", part=part, carrier=self._info.carrier)
        self._finish(Outcome(EndCause.INTERNAL, "us", part))

    # -- time

    def _ring(self) -> None:
        try:
            self._tick(self._now() + TICK_S)
        except Exception:
            self._broken("timer")

    def _tick(self, now: float) -> None:
        if self._over:
            return
        since = self._out.waiting_since
        if since is not None and now - since > STALL_S:
            self._finish(Outcome(EndCause.MEDIA_LOST, "carrier", "stalled"))
            return
        self._ear.fill(now)
        self._settle(now)
        self._alarm.by(self._ear.silence_at, now)

    def _settle(self, now: float) -> None:
        for label in self._far.settled(now):
            self._tell(Played(label))
        self._alarm.by(self._far.next_settling(), now)
