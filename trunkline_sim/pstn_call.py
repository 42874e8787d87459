"""One call that reaches a simulated person: it rings, is answered or not, is talked in, ends. Pure but for its RTP.

Times are handed in. `receive`, `tick` at `deadline`, `beat` every 20 ms while `sounding`; then `dialog.out` leaves.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from zlib import crc32

from trunkline_sim import rtp, sip_sdp
from trunkline_sim.caller import Act, Caller, HangUp, Hold, PressKey, Speak, Transfer
from trunkline_sim.ears import FRAME, FRAME_S
from trunkline_sim.errors import SimError
from trunkline_sim.pstn_account import By, Entry
from trunkline_sim.pstn_people import REASONS, Chosen
from trunkline_sim.script import Speech
from trunkline_sim.sip_dialog import Dialog
from trunkline_sim.sip_events import GIVE_UP_S, Cancelled, Event, Left, Offered, Referred, Refused, Replied, Told
from trunkline_sim.sip_message import Message
from trunkline_sim.sip_socket import RtpPort

COMFORT = 50  # frames between two packets of a telephone that suppresses silence
PAUSE_S = 1.0  # before an announcement or a tone in early media begins anew


@dataclass(frozen=True, slots=True)
class Tracks:
    """What a recorded call sounded like, mu-law from the answer on."""

    agent: bytearray
    person: bytearray


class Callee:
    """See the module. `over` when nothing but repeats of the last word may follow."""

    def __init__(
        self,
        invite: Message,
        dialog: Dialog,
        chosen: Chosen,
        entry: Entry,
        clips: Mapping[Speech, bytes],
        port: Callable[[], RtpPort],
        now: float,
    ) -> None:
        self.dialog, self.entry = dialog, entry
        self.over = False
        self.vanished = chosen.cast.person.code == 0
        self.tracks: Tracks | None = None
        self._person, self._cast, self._clips, self._open = chosen.cast.person, chosen.cast, clips, port
        self._began = now
        self._final_at: float | None = now + (GIVE_UP_S if self.vanished else chosen.ring_s)
        self._up_at: float | None = None
        self._caller: Caller | None = None
        self._rtp: RtpPort | None = None
        self._talker: rtp.Talker | None = None
        self._listener: rtp.Listener | None = None
        self._ear = rtp.Ear()
        self._speech = bytearray()  # still to be said
        self._quiet = 0  # frames of silence in a row
        self._versions = 1
        self._hushed = False  # the agent holds us, and wants to hear nothing
        self._offer = sip_sdp.read(invite.body) if invite.body else None
        if not self.vanished:
            self._ring(now)

    @property
    def sounding(self) -> bool:
        """Whether `beat` is wanted."""
        return self._rtp is not None

    def deadline(self) -> float | None:
        """When `tick` is due."""
        said = None if self.vanished else self.dialog.deadline()
        return min((at for at in (self._final_at, said) if at is not None), default=None)

    def receive(self, message: Message, now: float) -> None:
        """A message of the caller; one that has vanished hears nothing."""
        if self.vanished:
            if message.method in ("CANCEL", "BYE"):
                self._end("caller", now, 0 if self._up_at is None else 200, message.first("reason"))
            return
        for event in self.dialog.receive(message, now):
            self._take(event, now)

    def tick(self, now: float) -> None:
        """Whatever is due."""
        for event in self.dialog.tick(now) if not self.vanished else ():
            self._take(event, now)
        if self._final_at is not None and now >= self._final_at:
            self._final_at = None
            self._final(now)

    def beat(self, now: float) -> None:
        """20 ms of audio, both ways."""
        assert self._rtp is not None
        self._hear(self._rtp)
        frame = self._ear.take()
        if self._caller is not None and self._up_at is not None:
            self._caller.hear(frame)
            for act in self._caller.tick(now - self._up_at):
                self._do(act, now)
            if self._person.vanish_s and now - self._up_at >= self._person.vanish_s:
                self.vanished = True
                self._end("network", now, 200)
        if self._rtp is not None:
            self._say(self._rtp, frame)

    def abandon(self, now: float) -> None:
        """The network goes down: BYE, or 503."""
        if not self.over:
            self.dialog.bye(now)
            self.dialog.refuse(503, "Service Unavailable", now)
            self._end("network", now, 0 if self.vanished else 200 if self._up_at is not None else 503)

    # -- before the answer

    def _ring(self, now: float) -> None:
        self.dialog.progress(100, "Trying")
        if self._offer is None or not self._offer.codec:
            self._refuse(488, "Not Acceptable Here", now)
        elif self._cast.early is not None:
            self._early(now)
        elif self._person.code == 200 or self._final_at is None or self._final_at - now > 1.0:
            self.entry.rang_s = 0.0
            self.dialog.progress(180, "Ringing")

    def _early(self, now: float) -> None:
        assert self._cast.early is not None
        if not self._sound(now):
            return
        self.entry.rang_s = 0.0
        self.dialog.progress(183, "Session Progress", self._sdp("sendrecv"))
        self._speech += self._clips[self._cast.early]

    def _sound(self, now: float) -> bool:
        """Open the audio; False when there is none to be had, and the call was refused."""
        if self._rtp is not None:
            return True
        assert self._offer is not None
        try:
            self._rtp = self._open()
        except SimError:
            self._refuse(503, "Service Unavailable", now)
            return False
        self._rtp.far = (self._offer.host, self._offer.port)
        self._talker = rtp.Talker(self._offer, crc32(self.entry.call_id.encode()))
        self._listener = rtp.Listener(self._offer)
        return True

    def _final(self, now: float) -> None:
        code = self._person.code
        if self.vanished:
            self._end("network", now, code)
        elif code != 200:
            self._refuse(code, REASONS.get(code, "Refused"), now)
        elif self._sound(now):
            self._speech.clear()
            self.dialog.answer(self._sdp("sendrecv"), now)
            self._up_at = now
            self.entry.answered_s, self.entry.code = now - self._began, 200
            self._caller = Caller(self._cast.script, self._clips)
            if self._person.record:
                self.tracks = Tracks(bytearray(), bytearray())

    def _refuse(self, code: int, reason: str, now: float) -> None:
        again = self._person.retry_after_s
        self.dialog.refuse(code, reason, now, [("Retry-After", str(again))] if again else [])
        self._end("network" if code in (404, 408, 410, 484, 488) or 500 <= code < 600 else "callee", now, code)

    # -- what comes

    def _take(self, event: Event, now: float) -> None:
        if isinstance(event, Replied) and not self.over:
            answer = f"{event.method} {event.code}"
            self.entry.replies[answer] = self.entry.replies.get(answer, 0) + 1
        match event:
            case Cancelled():
                self.dialog.refuse(487, "Request Terminated", now)
                self._end("caller", now, 487)
            case Left(reason=reason):
                self._end("caller", now, self.entry.code, reason)
            case Offered(message=message):
                self._offered(message, now)
            case Referred(target=target):
                self.entry.referred_to = target
                last = self._person.transferred
                refused = last == 603
                self.dialog.referred(603 if refused else 202, "Decline" if refused else "Accepted", last, now)
            case Told(message=message) if message.body.startswith(b"SIP/2.0 "):
                self.entry.transfer = int(message.body[8:11]) if message.body[8:11].isdigit() else 0
            case Replied(method="REFER", code=code):
                self.entry.transfer = code
            case Replied(code=0) | Refused():
                self._end("network", now, self.entry.code, "no answer to a request")
            case _:
                pass

    def _offered(self, message: Message, now: float) -> None:
        far = sip_sdp.read(message.body) if message.body else None
        if far is not None and self._rtp is not None and far.host != "0.0.0.0":  # noqa: S104 - an old way to hold
            self._rtp.far = (far.host, far.port)
        if far is not None:
            self._hushed = far.direction in ("sendonly", "inactive")
        self.dialog.accept(self._sdp(sip_sdp.turned(far.direction) if far is not None else "sendrecv"), now)

    def _hear(self, port: RtpPort) -> None:
        assert self._listener is not None
        for packet in port.packets():
            payload, key = self._listener.packet(packet)
            if payload:
                self._ear.put(payload)
            if key:
                self.entry.keys += key
                if self._caller is not None:
                    self._caller.keyed(key)

    # -- what they do

    def _do(self, act: Act, now: float) -> None:
        match act:
            case Speak(payload=payload):
                self._speech += payload
                self.entry.spoke_s += len(payload) * FRAME_S / FRAME
            case PressKey(key=key):
                assert self._talker is not None
                self._talker.press(key)
            case Hold(on=on):
                self.dialog.offer(self._sdp("sendonly" if on else "sendrecv"), now)
            case Transfer(target=target):
                self.dialog.ask("REFER", now, [("Refer-To", f"<{target}>")])
            case HangUp():
                self.dialog.bye(now)
                self._end("callee", now, 200)

    def _say(self, port: RtpPort, heard: bytes) -> None:
        assert self._talker is not None
        frame = bytes(self._speech[:FRAME]).ljust(FRAME, b"\xff")
        if self._speech:
            del self._speech[:FRAME]
            self._quiet = 0
        else:
            self._quiet += 1
            self._early_again()
        if self.tracks is not None:
            self.tracks.agent.extend(heard)
            self.tracks.person.extend(frame)
        suppressed = self._person.vad and self._quiet % COMFORT != 0
        for packet in self._talker.frame(b"" if suppressed or self._hushed else frame):
            port.send(packet)

    def _early_again(self) -> None:
        if self._up_at is None and self._cast.early is not None and self._quiet * FRAME_S >= PAUSE_S:
            self._speech += self._clips[self._cast.early]

    def _sdp(self, direction: str) -> bytes:
        assert self._rtp is not None
        assert self._offer is not None
        self._versions += 1
        return sip_sdp.write(
            self.dialog.me.host, self._rtp.port, codecs=self._offer.codecs[:1], keys=self._offer.keys,
            direction=direction, version=self._versions,
        )  # fmt: skip

    # -- the end

    def _end(self, by: By, now: float, code: int, reason: str = "") -> None:
        if self.over:
            return
        self.over, self._final_at = True, None
        entry = self.entry
        entry.ended_s, entry.by, entry.code, entry.reason = now - self._began, by, code, reason
        if self._caller is not None:
            self._caller.closed()
            runs = self._caller.ears.runs
            entry.heard_s = sum(run.to_s - run.from_s for run in runs)
            entry.heard_first_s = runs[0].from_s if runs else None
            entry.script_missed = [f"line {missed.line}: {missed.reason}" for missed in self._caller.missed]
        if self._listener is not None:
            entry.packets, entry.packets_lost = self._listener.counts.received, self._listener.counts.lost
        if self._rtp is not None:
            self._rtp.close()
            self._rtp = None
