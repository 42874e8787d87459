"""The simulated telephone network: answers SIP calls as people do, thousands in a process, and writes down each.

Why not pjsua2: it takes slots and media ports at the INVITE, before anybody has decided anything: a person who is
busy costs as much as one who talks; a thousand calls are its compiled limit; and the product is made of it: both sides
would share its faults. Here a call that is not talked in is a few objects and a timer, and audio is G.711, moved by one
clock for all calls (a socket per call, read when the clock comes round).

What it is: a user agent server for INVITE and all that follows within the dialog, over UDP and TCP, with digest where
users are given; a registrar that takes whoever knows a password. What it is not: TLS, SRTP, IPv6, video, a proxy.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from trunkline_sim import report
from trunkline_sim.ears import FRAME_S
from trunkline_sim.errors import SimError
from trunkline_sim.pstn_account import Account, Entry
from trunkline_sim.pstn_call import Callee
from trunkline_sim.pstn_people import Cast, People
from trunkline_sim.script import Script, Speech
from trunkline_sim.sip_dialog import ALLOW, Dialog
from trunkline_sim.sip_digest import Doorman
from trunkline_sim.sip_events import Me
from trunkline_sim.sip_message import Header, Message, response, tag_of, uri_of, user_of
from trunkline_sim.sip_socket import Hop, RtpPort, SipSocket, near
from trunkline_sim.voices import Voices

MOST_CALLS = 10_000  # at once
LINGER_S = 8.0  # for the last words of a call to be asked for again
LATE_S = 0.1  # a clock that is this late skips what it missed
EXPIRES_S = 3600  # a registration's longest
TAG = "pstn"
ANY = "0.0.0.0"  # noqa: S104 - listening everywhere: each caller is told our address on the way to them


class Pstn:
    """`async with Pstn(people) as network:` it listens at `network.host`:`network.port`."""

    def __init__(
        self,
        people: People,
        account: Account | None = None,
        *,
        users: Mapping[str, str] | None = None,
        voices: Voices | None = None,
        recordings: Path | None = None,
        most_calls: int = MOST_CALLS,
        most_per_s: float = 0.0,
    ) -> None:
        """users: name → password, asked for by REGISTER and INVITE; most_per_s: new calls, beyond them 503; 0: any."""
        self.people, self.account = people, account or Account()
        self.bindings: dict[str, str] = {}  # address of record → contact
        self.live = 0  # calls that are not over
        self.peak = 0  # most of them at once
        self._doorman = Doorman(users) if users else None
        self._voices, self._recordings = voices or Voices(), recordings
        self._most, self._rate, self._tokens, self._tokens_at = most_calls, most_per_s, max(1.0, most_per_s), 0.0
        self._clips: dict[int, dict[Speech, bytes]] = {}
        self._calls: dict[str, _Live] = {}
        self._sounding: set[_Live] = set()
        self._socket = SipSocket(self._arrived)
        self.counts = self._socket.counts  # what was answered outside calls, dropped, late
        self._clock: asyncio.Task[None] | None = None
        self._wanted = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def open(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Make every voice, then listen. Raises SimError."""
        await asyncio.to_thread(self._prepare)
        await self._socket.open(host, port)
        self._clock = self._loop.create_task(self._beat(), name="sim.pstn.clock")
        self._clock.add_done_callback(self._stopped)

    async def __aenter__(self) -> Self:
        if not self._socket.port:
            await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Everybody hangs up."""
        for live in tuple(self._calls.values()):
            live.callee.abandon(self._loop.time())
            self._settle(live)
            live.forget()
        if self._clock is not None:
            self._clock.cancel()
            await asyncio.wait({self._clock})
        await asyncio.sleep(0.05)  # the last datagrams
        await self._socket.close()
        if self._clock is not None and not self._clock.cancelled() and (broken := self._clock.exception()):
            raise broken

    def _stopped(self, clock: asyncio.Task[None]) -> None:
        """Without its clock nobody is heard any more: that is said at once, not only at the end."""
        if not clock.cancelled():
            what = {"message": "the simulated network's clock broke", "exception": clock.exception()}
            self._loop.call_exception_handler(what)

    @property
    def host(self) -> str:
        """Where it listens."""
        return self._socket.host

    @property
    def port(self) -> int:
        """Of UDP and of TCP."""
        return self._socket.port

    def _prepare(self) -> None:
        for cast in self.people.cast:
            try:
                self._clips[cast.index] = self._clips_of(cast)
            except SimError as wrong:
                raise SimError(f"{cast.where}: {wrong}") from wrong

    def _clips_of(self, cast: Cast) -> dict[Speech, bytes]:
        found = self._voices.clips(cast.script)
        if cast.early is not None:
            one = Script("early", (), voice=cast.script.voice, folder=cast.script.folder)
            found[cast.early] = self._voices.clip(one, cast.early)
        return found

    # -- signalling

    def _arrived(self, message: Message, hop: Hop) -> None:
        live = self._calls.get(message.call_id)
        if live is not None:
            live.hop = hop
            live.callee.receive(message, self._loop.time())
            self._settle(live)
        elif message.method == "INVITE" and not tag_of(message.first("to")):
            self._invited(message, hop)
        elif message.method == "REGISTER":
            self._registered(message, hop)
        elif message.method == "OPTIONS":
            self._answer(message, hop, 200, "OK", [ALLOW])
        elif message.method and message.method != "ACK":
            self._answer(message, hop, 481, "Call/Transaction Does Not Exist")

    def _answer(self, message: Message, hop: Hop, code: int, reason: str, more: list[Header] | None = None) -> None:
        method = message.method if message.method in ALLOW[1].split(", ") or message.method == "REGISTER" else "other"
        self.counts[f"{method} {code}"] += 1
        hop.send(response(message, code, reason, more or [], tag=TAG))

    def _invited(self, invite: Message, hop: Hop) -> None:
        now = self._loop.time()
        if self.live >= self._most or not self._may(now):
            self._answer(invite, hop, 503, "Service Unavailable", [("Retry-After", "1")])
            return
        if invite.first("require"):
            self._answer(invite, hop, 420, "Bad Extension", [("Unsupported", invite.first("require"))])
            return
        if not self._known(invite, hop, 407):
            return
        number = user_of(invite.uri)
        chosen = self.people.choose(number)
        if chosen is None:
            self._answer(invite, hop, 404, "Not Found")
            return
        extra = {name: value for name, value in invite.headers if name.startswith("x-")}
        from_ = user_of(uri_of(invite.first("from")))
        entry = Entry(invite.call_id, number, from_, chosen.attempt, chosen.cast.name, extra)
        self.account.invited(entry)
        here = near(hop.far) if self.host == ANY else self.host
        me = Me(here, self.port, "TCP" if hop.reliable else "UDP", TAG)
        dialog = Dialog.called(invite, me, reliable=hop.reliable)
        clips = self._clips[chosen.cast.index]
        callee = Callee(invite, dialog, chosen, entry, clips, lambda: RtpPort(self.host), now)
        live = self._calls[invite.call_id] = _Live(callee, hop)
        self.live += 1
        self.peak = max(self.peak, self.live)
        self._settle(live)

    def _may(self, now: float) -> bool:
        """One more call this second: a bucket of tokens."""
        if not self._rate:
            return True
        self._tokens = min(max(1.0, self._rate), self._tokens + (now - self._tokens_at) * self._rate)
        self._tokens_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

    def _known(self, message: Message, hop: Hop, code: int) -> bool:
        if self._doorman is None:
            return True
        ask, give = (
            ("Proxy-Authenticate", "proxy-authorization") if code == 407 else ("WWW-Authenticate", "authorization")
        )
        if self._doorman.lets_in(message.first(give), message.method):
            return True
        self._answer(message, hop, code, "Who are you?", [(ask, self._doorman.challenge())])
        return False

    def _registered(self, message: Message, hop: Hop) -> None:
        if not self._known(message, hop, 401):
            return
        name, contact = uri_of(message.first("to")), message.first("contact")
        asked = message.first("expires") or "3600"
        if "expires=" in contact:
            asked = contact.partition("expires=")[2].partition(";")[0]
        seconds = min(EXPIRES_S, int(asked)) if asked.isdecimal() else EXPIRES_S
        if seconds and contact:
            self.bindings[name] = uri_of(contact)
        else:
            self.bindings.pop(name, None)
        kept = [("Contact", f"<{self.bindings[name]}>;expires={seconds}")] if name in self.bindings else []
        self._answer(message, hop, 200, "OK", [*kept, ("Expires", str(seconds))])

    # -- a call's time

    def _settle(self, live: "_Live") -> None:
        """After anything happened to a call: what it says leaves, and its next moment is set."""
        callee = live.callee
        if not callee.vanished:
            for data in callee.dialog.out:
                live.hop.send(data)
        callee.dialog.out.clear()
        if callee.sounding and live not in self._sounding:
            self._sounding.add(live)
            self._wanted.set()
        elif not callee.sounding:
            self._sounding.discard(live)
        if callee.over and not live.told:
            live.told = True
            self._over(live)
        live.wake(self._loop, lambda: self._tick(live))

    def _tick(self, live: "_Live") -> None:
        live.callee.tick(self._loop.time())
        self._settle(live)

    def _over(self, live: "_Live") -> None:
        callee = live.callee
        self.live -= 1
        if callee.tracks is not None and self._recordings is not None:
            name = f"{int(time.time() * 1000)}-{_safe(callee.entry.number)}.wav"
            callee.entry.recording = name
            wav = report.stereo(bytes(callee.tracks.agent), bytes(callee.tracks.person))
            try:
                (self._recordings / name).write_bytes(wav)
            except OSError:
                self.counts["recordings not written"] += 1
        self.account.over(callee.entry)
        self._loop.call_later(LINGER_S, self._calls.pop, callee.entry.call_id, None)

    async def _beat(self) -> None:
        """20 ms at a step on absolute deadlines, while anybody is heard; else it sleeps."""
        while True:
            self._wanted.clear()
            if not self._sounding:
                await self._wanted.wait()
            due = self._loop.time()
            while self._sounding:
                due += FRAME_S
                late = self._loop.time() - due
                if late > LATE_S:
                    self.counts["late_beats"] += int(late / FRAME_S)
                    due += late
                await asyncio.sleep(max(0.0, -late))
                self._beat_once(due)

    def _beat_once(self, now: float) -> None:
        for live in tuple(self._sounding):
            if live.callee.sounding:
                live.callee.beat(now)
            if live.callee.dialog.out or not live.callee.sounding:
                self._settle(live)


class _Live:
    """A call, where it is reached, and when it is looked at next."""

    __slots__ = ("_timer", "callee", "hop", "told")

    def __init__(self, callee: Callee, hop: Hop) -> None:
        self.callee, self.hop, self.told = callee, hop, False
        self._timer: asyncio.TimerHandle | None = None

    def wake(self, loop: asyncio.AbstractEventLoop, then: Callable[[], None]) -> None:
        """At its deadline, whatever was said before."""
        self.forget()
        if (at := self.callee.deadline()) is not None:
            self._timer = loop.call_at(at, then)

    def forget(self) -> None:
        """Not any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _safe(number: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in number)[:32]
