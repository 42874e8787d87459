"""A SIP call as a `CallLeg`: audio over the rings it shares with the gateway, everything else by messages.

    rx ring ─► tick ─► Ear ─► audio()            room(), send() ─► tx ring          end(), transfer() ─► message

How a leg ends: BYE of the far end (completed), the gateway's own reasons (`profile.of_gone`), a gateway that is gone or
takes nothing for `STALL_S` (media_lost, ours), our own `end(cause)`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Literal, Protocol

import structlog

from trunkline.bridge.dialect import WireAudio
from trunkline.bridge.ear import Ear
from trunkline.bridge.leg import (
    Answered,
    CallLeg,
    Digit,
    Ended,
    Held,
    LegEvent,
    LegInfo,
    Moved,
    Oddity,
    Played,
    Resumed,
    Ringing,
)
from trunkline.bridge.sip import messages as sip
from trunkline.bridge.sip import profile
from trunkline.bridge.sip.ring import FRAME_MS, Slot
from trunkline.bridge.sip.speaking import Speaking
from trunkline.bridge.telephony import LineQuality, Transferred
from trunkline.bridge.telling import FAULTS, Telling
from trunkline.bridge.timers import Naps
from trunkline.clock import Clock
from trunkline.codecs.frame import AudioFrame
from trunkline.errors import CarrierError
from trunkline.outcome import EndCause, Outcome

GOODBYE_S = 2.0  # from our BYE to the gateway's last word
STALL_S = 5.0  # nothing of ours was taken for so long: nobody plays it
TRANSFER_S = 65.0  # from the far end's 202; the gateway has the last word after `Options.refer_s`, 60 s
REFER_ANSWER_S = 5.0  # from our REFER to its 202; SIP itself would wait for 32 s
_NAP_S = 1.0  # the beat wakes who waits for room; this is for a beat that is gone

_log = structlog.get_logger(__name__)


class Line(Protocol):
    """What a leg needs of the connection to the gateway."""

    def send(self, message: sip.ToGateway) -> None:
        """Hand over; nothing when the gateway is away."""
        ...

    async def dial(self, to: str, *, trunk: str = "", display: str = "") -> "SipLeg":
        """Place a call. Raises AdmissionError and CarrierError."""
        ...


class SipLeg:
    """`CallLeg` and `TelephonyLeg`. Made by `GatewayLine`, for the loop that owns the call."""

    def __init__(
        self,
        call: int,
        slot: Slot,
        info: LegInfo,
        line: Line,
        clock: Clock,
        *,
        overrides: Mapping[int, EndCause] | None = None,
        domain: str = "",
        refer: bool = True,
        dtmf: Literal["auto", "rfc4733", "info", "inband"] = "auto",
        refer_answer_s: float = REFER_ANSWER_S,
    ) -> None:
        """Of its trunk: overrides: meanings of codes; domain: where numbers that a call is transferred to live; refer:
        it may be asked for transfers; dtmf: how it takes keys, "auto": events if the call has them, else tones.
        refer_answer_s: for its answer to REFER, before it counts as one that takes none."""
        self.call = call
        self._info = info
        self._line = line
        self._clock = clock
        self._overrides = overrides
        self._domain = domain
        self._able = (refer, False)  # to take REFER, to have a call of ours replaced
        self._dtmf = dtmf
        self._digits = True  # RFC 4733 was negotiated
        self._partner: SipLeg | None = None  # joined with it: what is said here is not ours any more
        self._accepted = False  # our REFER was
        self._refer_answer_s = refer_answer_s
        self._patience: asyncio.Timeout | None = None  # with the REFER that runs
        self._slot = slot
        self._frame_bytes = info.codec.bytes_per_second * FRAME_MS // 1000
        self._most = round(info.lead_s * 1000) // FRAME_MS - 1  # frames that may wait while another is sent
        self._speaking = Speaking(slot, self._frame_bytes)
        self._telling = Telling()
        self._tell, self._count = self._telling.tell, self._telling.count
        self._ear = Ear(info.codec, self._telling, clock.monotonic())
        self._rooms = Naps()
        self._dropped = 0  # of the rx ring, as last seen
        self._held = False
        self._quality: LineQuality | None = None
        self._srtp = ""
        self._refer: asyncio.Future[Transferred] | None = None
        self._ending: Outcome | None = None  # ours, once we hang up
        self._over = False
        self._done = asyncio.Event()  # no more events
        self._closed = asyncio.Event()  # `end` is through
        self._settled = asyncio.Event()  # it is up, or it never will be
        self.answered = False

    # -- what the call sees

    @property
    def info(self) -> LegInfo:
        """Facts."""
        return self._info

    @property
    def counters(self) -> Mapping[str, int]:
        """Everything dropped, filled in, odd, so far. Names: docs/sip.md."""
        return self._telling.counters

    def quality(self) -> LineQuality | None:
        """As the gateway last reported it."""
        return self._quality

    def events(self) -> AsyncIterator[LegEvent]:
        """What happens on the leg, `Ended` last; one consumer."""
        return self._telling.events

    def audio(self) -> AsyncIterator[AudioFrame]:
        """The far end's voice; one consumer; at most 1 s is held."""
        return self._ear.audio

    async def room(self) -> None:
        """Return once a frame may be sent and the ring still holds no more than the lead; or at the end."""
        while not self.has_room():
            await self._rooms.nap(_NAP_S)

    def has_room(self) -> bool:
        """Whether `room()` would return at once."""
        return self._over or self._slot.waiting <= self._most

    def send(self, payload: bytes) -> None:
        """payload: whole frames; a broken one is filled up with silence and counted."""
        if self._over or self._ending is not None or self._partner is not None:
            self._count("sent_after_join" if self._partner else "sent_after_end")
            return
        if missing := -len(payload) % self._frame_bytes:
            self._count("padded_bytes", missing)
            payload += bytes(missing)
        if lost := self._speaking.say(payload):
            self._count("outgoing_dropped_ms", lost * FRAME_MS)

    def mark(self, label: str) -> None:
        """Ask to be told by `Played(label)`; exactly once, before `Ended`."""
        if self._over:
            self._count("marks_after_end")
        elif (early := self._speaking.mark(label)) is not None:
            self._count("marks_settled_early")
            self._tell(Played(early))

    def flush(self) -> float:
        """Empty the ring: seconds that nobody will hear."""
        if self._over:
            return 0.0
        lost_s = self._cut()
        self._count("flushes")
        self._rooms.wake()
        return lost_s

    def playing(self) -> bool:
        """True while something of ours waits for the phone."""
        return not self._over and self._partner is None and self._slot.waiting > 0

    async def end(self, cause: EndCause) -> None:
        """CANCEL, a final answer or BYE, by the call's state; within GOODBYE_S. Idempotent."""
        if self._ending is not None:
            await self._closed.wait()
            return
        self._ending = Outcome(cause, FAULTS.get(cause, "nobody"))
        try:
            if not self._over:
                self._cut()
                self._line.send(sip.Hangup(self.call, 0 if self.answered else profile.code_for(cause)))
                async with asyncio.timeout(GOODBYE_S):
                    await self._done.wait()
        except TimeoutError:
            self._count("goodbye_timeouts")
        finally:
            self._finish(self._ending)
            self._closed.set()

    async def transfer(self, target: str) -> Transferred:
        """REFER the far end to `target`; when it has called it, or could not."""
        try:
            return await self._ask(sip.Refer(self.call, profile.target_uri(target, self._domain)))
        except ValueError as wrong:
            return Transferred(False, reason=str(wrong))

    async def place(self, target: str) -> "SipLeg":
        """A second call, by the same trunk; the caller's number is its display name there."""
        trunk = self._info.parameters.get("trunk", "")
        try:
            to = profile.trunk_target(target) if trunk else profile.target_uri(target, self._domain)
        except ValueError as wrong:
            raise CarrierError(str(wrong), code="484") from None
        return await self._line.dial(to, trunk=trunk, display=self._info.from_ if trunk else "")

    async def join(self, other: CallLeg) -> Transferred:
        """By REFER with Replaces where both far ends know them, else in the gateway, which carries both on."""
        if not isinstance(other, SipLeg) or self._over or other._over:
            return Transferred(False, reason="one of the two lines is gone")
        if other._able[1]:
            result = await self._ask(sip.Refer(self.call, "", replaces=other.call))
            if result.done or self._over or other._over:
                return replace(result, how="replaces") if result.done else result
        for one, two in ((self, other), (other, self)):
            one._cut()
            one._partner = two
        self._line.send(sip.Join(self.call, other.call))
        return Transferred(True, how="bridged")

    async def _ask(self, refer: sip.Refer) -> Transferred:
        if self._over or self._refer is not None:
            return Transferred(False, reason="the call is over" if self._over else "a transfer is going on")
        if not self._able[0]:
            return Transferred(False, reason="the far end takes no REFER", refused=True)
        self._refer, self._accepted = asyncio.get_running_loop().create_future(), False
        try:
            self._line.send(refer)
            async with asyncio.timeout(self._refer_answer_s) as self._patience:
                return await self._refer
        except TimeoutError:
            if self._accepted:
                return Transferred(False, reason=f"no word of it within {TRANSFER_S:g} s")
            self._able = (False, self._able[1])  # what it may yet say of this one is no answer to another
            return Transferred(False, reason=f"no answer to REFER within {self._refer_answer_s:g} s", refused=True)
        finally:
            self._refer = self._patience = None

    def send_digits(self, keys: str) -> bool:
        """Keys for the far end, by events or INFO. False: it takes neither."""
        if self._dtmf == "inband" or (self._dtmf != "info" and not self._digits):
            return False
        if not self._over:
            self._count("digits_sent", len(keys))
            self._line.send(sip.SendDigits(self.call, keys, "info" if self._dtmf == "info" else "auto"))
        return True

    async def up(self) -> bool:
        """Once it is answered: True; False when it ended before."""
        await self._settled.wait()
        return self.answered

    # -- what the gateway tells

    def told(self, message: sip.ToWorker) -> None:
        """One message about this call."""
        if self._over:
            return
        match message:
            case sip.Up():
                self._srtp = message.srtp
                self._answered(message)
            case sip.Progress(code=code):
                self._progress(code)
            case sip.Digit(key=key, method=method):
                self._count(f"digits_{method}")
                self._tell(Digit(key))
            case sip.Held(on=on):
                self._hold(on=on)
            case sip.Quality():
                self._quality = profile.line_quality(message, self._srtp)
            case sip.ReferProgress():
                self._refer_progress(message)
            case sip.Gone():
                self._gone(message)
            case _:
                self._telling.odd(Oddity("unexpected_message", type(message).__name__))

    def moved(self, call: int, target: str) -> None:
        """The far end is another: `target`, by the number `call`."""
        self.call = call
        self._count("handed_on")
        self._tell(Moved(target))

    def lost(self) -> None:
        """The gateway is gone."""
        self._finish(profile.GATEWAY_LOST)

    def beat(self, now: float) -> None:
        """Every 10 ms: what came from the phone, what it has taken of ours."""
        if self._over:
            return
        try:
            self._hear(now)
            for label in self._speaking.settled(now):
                self._tell(Played(label))
            if self._slot.waiting <= self._most:
                self._rooms.wake()
            elif not self._held and self._speaking.stuck_s(now) > STALL_S:
                self._finish(profile.STALLED)
                self._line.send(sip.Hangup(self.call))
        except Exception:  # a bug of ours ends this call and no other
            _log.exception("leg.broken", part="beat", carrier=profile.CARRIER)
            self._finish(Outcome(EndCause.INTERNAL, "us", "beat"))
            self._line.send(sip.Hangup(self.call))

    def _hear(self, now: float) -> None:
        slot, ear = self._slot, self._ear
        while (pcm := slot.take()) is not None:
            dropped = slot.dropped
            lost, self._dropped = dropped - self._dropped, dropped
            ear.heard(WireAudio(pcm, lost=lost), now)
        ear.fill(now)

    def _answered(self, up: sip.Up) -> None:
        self._digits, self._able = up.digits, (self._able[0] and up.refer, up.replaces)
        if self.answered:  # told again after a re-INVITE
            return
        self.answered = True
        self._settled.set()
        self._tell(Answered())

    def _progress(self, code: int) -> None:
        if code in (180, 183) and not self.answered and not self._telling.counters.get("ringing"):
            self._count("ringing")
            self._tell(Ringing())

    def _hold(self, *, on: bool) -> None:
        if on != self._held:
            self._held = on
            self._speaking.begin()
            self._count("holds", int(on))
            self._tell(Held() if on else Resumed())

    def _refer_progress(self, progress: sip.ReferProgress) -> None:
        if not progress.final:
            if self._patience is not None and not self._accepted and not self._patience.expired():
                self._patience.reschedule(asyncio.get_running_loop().time() + TRANSFER_S)
            self._accepted = True
        elif self._refer is not None and not self._refer.done():
            done = 200 <= progress.code < 300
            refused = not done and not self._accepted
            if progress.code == sip.UNCONFIRMED:
                self._count("transfers_unconfirmed")
            self._refer.set_result(Transferred(done, progress.code, progress.reason, "refer" if done else "", refused))

    def _gone(self, gone: sip.Gone) -> None:
        if gone.retry_after_s:
            self._count("retry_after_s", gone.retry_after_s)
        self._finish(
            profile.of_gone(gone, inbound=self._info.direction == "inbound", overrides=self._overrides),
            by_far=gone.by == "far",
        )

    # -- the end

    def _cut(self) -> float:
        """Nothing that waits is played any more, and its marks are told. Seconds that nobody will hear."""
        lost_s, marks = self._speaking.flush()
        for label, dropped in marks:
            self._tell(Played(label, dropped))
        return lost_s

    def _finish(self, outcome: Outcome, *, by_far: bool = False) -> None:
        """The one way out. Our own hang-up wins. by_far: the far end said BYE, which answers a
        transfer that it has agreed to."""
        if self._over:
            return
        self._cut()
        self._over = True
        self._slot.release()  # whoever still holds the leg shall not hold the memory of a gateway that is gone
        if self._refer is not None and not self._refer.done():  # before `Ended`, after which nobody listens
            gone_there = by_far and self._accepted
            self._refer.set_result(Transferred(gone_there, reason=outcome.code, how="refer" if gone_there else ""))
        self._tell(Ended(self._ending or outcome))
        self._telling.events.close()
        self._ear.close()
        self._rooms.wake()
        if self._partner is not None and not self._partner._over:
            self._line.send(sip.Hangup(self._partner.call))  # as the gateway does; it may not have joined them
        self._settled.set()
        self._done.set()
