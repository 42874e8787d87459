"""A telephone that calls the service over SIP: INVITE, audio over RTP, keys as events, BYE.

For the shell of a call it looks like any other line: `Stream` makes messages and passes messages on. Here a message is
"R" and packets of RTP, each behind its length, one character per byte; "H1", "H0": hold; "T…": transfer.
"""

import asyncio
import secrets
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

from trunkline_sim import rtp, sip_sdp
from trunkline_sim.audiosocket import CLOSE, Heard
from trunkline_sim.errors import SimError
from trunkline_sim.sip_dialog import Dialog
from trunkline_sim.sip_events import Answered, Event, Left, Me, Offered, Rang, Referred, Refused, Replied
from trunkline_sim.sip_message import Message, host_port, response, user_of
from trunkline_sim.sip_socket import Hop, RtpPort, SipSocket, near
from trunkline_sim.wire import CallFacts, HangUp, Listener, Order, Play, Speaker, Wire

SCHEME = "sip:"
DEFAULT_URL = "sip:agent@127.0.0.1:5060"
RING_S = 60.0  # a caller's patience until somebody answers
GOODBYE_S = 2.0  # for the answer to our BYE
_LEFT = b"B"
_HEARD_MOST = 1000  # packets that wait for the call's shell: beyond that it is dead


class SipSpeaker(Speaker):
    """Packs the caller's voice."""

    def __init__(self, facts: CallFacts, session: "Session") -> None:
        super().__init__(facts)
        self._session = session

    @staticmethod
    def connected() -> str:
        """The INVITE has said it all."""
        return ""

    def start(self) -> str:
        """The same."""
        return ""

    def media(self, payload: bytes, at_ms: int) -> str:
        """20 ms, or the part of a key that takes their place."""
        packets = [packet for frame in _frames(payload) for packet in self._session.talker.frame(self._hush(frame))]
        return "R" + b"".join(len(packet).to_bytes(2, "big") + packet for packet in packets).decode("latin-1")

    def _hush(self, frame: bytes) -> bytes:
        return b"" if self._session.hushed else frame

    def dtmf(self, digit: str) -> str:
        """Goes out with what follows."""
        if not self._session.talker.press(digit):
            self._session.complaints["no_telephone_event"] += 1
        return ""

    def stop(self, reason: str) -> str:
        """BYE."""
        return CLOSE


class SipListener(Listener):
    """Reads the agent's packets."""

    def __init__(self, session: "Session") -> None:
        super().__init__("")
        self._session = session
        self.messages, self.complaints = session.messages, session.complaints

    def receive(self, text: str | bytes) -> Order | None:
        """A packet, or the end."""
        data = text.encode("latin-1") if isinstance(text, str) else text
        if data == _LEFT:
            return self._seen("bye", HangUp())
        payload, key = self._session.listener.packet(data)
        if key:
            self.messages["key"] += 1
        return self._seen("media", Play(payload)) if payload else None


class Session:
    """One call, before and after it has a line. `wire`, `facts`: for the `Stream`; `dial`: places it."""

    def __init__(
        self, url: str, from_: str, headers: Mapping[str, str], credentials: tuple[str, str] | None, seed: int = 0
    ) -> None:
        """url: sip:USER@HOST[:PORT][;transport=tcp]; headers: X-… of the INVITE. Raises SimError."""
        self._url, self._from, self._credentials = url, from_, credentials
        self.host, self.port, self.tcp = _place(url)
        if odd := [name for name in headers if not name.lower().startswith("x-")]:
            raise SimError(f"--param {odd[0]}: over SIP these are headers of the INVITE, X-…")
        self._headers = tuple(headers.items())
        self.call_id = f"{secrets.token_hex(8)}@trunkline-sim"
        self.facts = CallFacts(from_=from_, to=user_of(url) or "agent", stream_sid=self.call_id, call_sid=self.call_id)
        self.messages: Counter[str] = Counter()  # that came: media, key, bye, and answers to requests of ours
        self.complaints: Counter[str] = Counter()
        quiet = sip_sdp.Audio("", 0, ("PCMU",), None)
        self.talker, self.listener = rtp.Talker(quiet, seed or 1), rtp.Listener(quiet)
        self._seed = seed or 1
        self.hushed = False  # the agent's side holds us, and wants to hear nothing
        self.wire = Wire(
            lambda facts: SipSpeaker(facts, self), lambda _: SipListener(self), clears=False, name="SIP", endless=True
        )

    async def dial(self) -> "SipLine":
        """Ring until it is answered. Raises SimError when it is not."""
        line = SipLine(self)
        try:
            await line.open()
            async with asyncio.timeout(RING_S):
                await line.answered
        except TimeoutError:
            await line.close()
            raise SimError(f"{self._url}: nobody answered within {RING_S:g} s") from None
        except BaseException:
            await line.close()
            raise
        return line

    def dialog(self, me: Me, *, reliable: bool) -> Dialog:
        """The call's own, before its INVITE."""
        address = f"<sip:{self._from}@{me.host}>;tag={secrets.token_hex(6)}"
        return Dialog(me, self.call_id, reliable=reliable, local=address, remote=f"<{self._url}>", target=self._url)

    def invite(self, dialog: Dialog, offer: bytes, now: float) -> None:
        """With its headers and, should they be asked for, credentials."""
        dialog.invite(offer, now, self._headers, self._credentials)

    def heard_of(self, far: sip_sdp.Audio) -> None:
        """How the far end wants to be talked to."""
        self.talker, self.listener = rtp.Talker(far, self._seed), rtp.Listener(far)

    def refused(self, event: Refused) -> SimError:
        """For the person at the terminal."""
        if not event.code:
            return SimError(f"no SIP at {self._url}: {event.reason} (is the service running? try: make run)")
        hint = ""
        if event.code in (401, 407):
            hint = (
                " (--user: the name or the password is wrong)" if self._credentials else " (give --user NAME:PASSWORD)"
            )
        return SimError(f"{self._url}: the service answered {event.code} {event.reason}{hint}")


class SipLine:
    """The call on its wires, with what the shell of a call uses of a websocket."""

    close_code: int | None = None

    def __init__(self, session: Session) -> None:
        self._session = session
        self._socket = SipSocket(self._arrived)
        self._loop = asyncio.get_running_loop()
        self.answered: asyncio.Future[None] = self._loop.create_future()
        self._over = asyncio.Event()
        self._heard: asyncio.Queue[bytes] = asyncio.Queue(_HEARD_MOST)
        self._rtp: RtpPort | None = None
        self._hop: Hop | None = None
        self._dialog: Dialog | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._versions = 1
        self._codecs: tuple[str, ...] = tuple(sip_sdp.CODECS)
        self._keys: int | None = sip_sdp.KEYS

    async def open(self) -> None:
        """The INVITE leaves. Raises SimError."""
        session = self._session
        try:
            found = await self._loop.getaddrinfo(
                session.host, session.port, family=socket.AF_INET, type=socket.SOCK_DGRAM
            )
        except OSError as wrong:
            raise SimError(f"{session.host}: no such host: {wrong.strerror or wrong}") from wrong
        far = (str(found[0][4][0]), session.port)
        try:
            here = near(far[0])
        except OSError as wrong:
            raise SimError(f"no way to {far[0]}: {wrong.strerror or wrong}") from wrong
        if not session.tcp and await _nobody(far):
            raise SimError(
                f"no SIP at {far[0]}:{far[1]}: nothing listens there (is the service running? try: make run)"
            )
        await self._socket.open(here, 0)
        self._hop = await self._socket.hop(far, tcp=session.tcp)
        self._rtp = RtpPort(here)
        self._loop.add_reader(self._rtp.sock, self._audio)
        me = Me(here, self._socket.port, "TCP" if session.tcp else "UDP", "caller")
        self._dialog = session.dialog(me, reliable=self._hop.reliable)
        session.invite(self._dialog, sip_sdp.write(here, self._rtp.port), self._loop.time())
        self._flush()

    # -- what the shell of a call asks for

    async def send_str(self, data: str) -> None:
        """One message of `Stream`, see the module."""
        dialog, now = self._dialog, self._loop.time()
        if not data or dialog is None or self._rtp is None:
            return
        if data == CLOSE:
            dialog.bye(now)
        elif data[0] == "R":
            for packet in _unpacked(data[1:].encode("latin-1")):
                self._rtp.send(packet)
        elif data[0] == "H":
            dialog.offer(self._sdp("sendonly" if data[1] == "1" else "sendrecv"), now)
        elif data[0] == "T":
            dialog.ask("REFER", now, [("Refer-To", f"<{data[1:]}>")])
        self._flush()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[Heard]:
        while not self._over.is_set() or not self._heard.empty():
            data = await self._heard.get()
            yield Heard(data)
            if data == _LEFT:
                return

    async def close(self) -> bool:
        """BYE or CANCEL, unless that has been said; then the wires are gone."""
        dialog, now = self._dialog, self._loop.time()
        if dialog is not None and dialog.state in ("up", "calling", "early"):
            dialog.bye(now) if dialog.state == "up" else dialog.cancel(now)
            self._flush()
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_S if dialog is not None and self._hop is not None else 0):
                await self._over.wait()
        if self._timer is not None:
            self._timer.cancel()
        if self._rtp is not None:
            self._loop.remove_reader(self._rtp.sock)
            self._rtp.close()
            self._rtp = None
        if not self.answered.done():
            self.answered.cancel()
        await self._socket.close()
        return True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Nothing: a fault that resets ends this call by silence."""
        return default

    # -- the wires

    def _arrived(self, message: Message, hop: Hop) -> None:
        dialog = self._dialog
        if dialog is None or message.call_id != dialog.call_id:
            if message.method and message.method != "ACK":
                hop.send(response(message, 481, "No such call"))
            return
        self._hop = hop
        for event in dialog.receive(message, self._loop.time()):
            self._take(event)
        if message.code >= 200 and message.cseq[1] == "BYE":
            self._left()
        self._flush()

    def _take(self, event: Event) -> None:
        dialog, now = self._dialog, self._loop.time()
        assert dialog is not None
        match event:
            case Answered(message=message) | Rang(message=message):
                self._sound(message)
                if isinstance(event, Answered) and not self.answered.done():
                    self.answered.set_result(None)
            case Refused():
                if not self.answered.done():
                    self.answered.set_exception(self._session.refused(event))
                self._left()
            case Left():
                self._left()
            case Offered(message=message):
                far = self._sound(message)
                self._session.hushed = far is not None and far.direction in ("sendonly", "inactive")
                dialog.accept(self._sdp(sip_sdp.turned(far.direction) if far else "sendrecv"), now)
            case Replied(method=method, code=code):
                self._session.messages[f"{method} {code}"] += 1
            case Referred(target=target):  # the caller goes there, as far as the service can tell
                self._session.messages[f"transferred to {target}"] += 1
                dialog.referred(202, "Accepted", 200, now)
            case _:
                pass

    def _sound(self, message: Message) -> sip_sdp.Audio | None:
        """Where they hear, when they said so."""
        far = sip_sdp.read(message.body) if message.body else None
        if far is not None and far.codec and self._rtp is not None:
            if (far.codecs[:1], far.keys) != (self._codecs, self._keys):
                self._session.heard_of(far)
                self._codecs, self._keys = far.codecs[:1], far.keys
            self._rtp.far = (far.host, far.port)
        return far

    def _sdp(self, direction: str) -> bytes:
        assert self._rtp is not None
        self._versions += 1
        here = self._socket.host
        return sip_sdp.write(
            here, self._rtp.port, codecs=self._codecs, keys=self._keys, direction=direction, version=self._versions
        )

    def _audio(self) -> None:
        for packet in self._rtp.packets() if self._rtp is not None else ():
            self._put(packet)

    def _put(self, data: bytes) -> None:
        if self._heard.full():
            self._heard.get_nowait()
            self._session.complaints["unread_packet"] += 1
        self._heard.put_nowait(data)

    def _left(self) -> None:
        if not self._over.is_set():
            self._over.set()
            self._put(_LEFT)

    def _flush(self) -> None:
        """What the dialog has to say leaves; it is asked again when it wants to be."""
        dialog = self._dialog
        assert dialog is not None
        assert self._hop is not None
        for data in dialog.out:
            self._hop.send(data)
        dialog.out.clear()
        if self._timer is not None:
            self._timer.cancel()
        if (at := dialog.deadline()) is not None:
            self._timer = self._loop.call_at(at, self._tick)

    def _tick(self) -> None:
        assert self._dialog is not None
        for event in self._dialog.tick(self._loop.time()):
            self._take(event)
        self._flush()


def _place(url: str) -> tuple[str, int, bool]:
    """Host, port and whether by TCP. Raises SimError for an address that we cannot call."""
    try:
        host, port = host_port(url)
    except ValueError:
        raise SimError(f"{url}: must be sip:USER@HOST[:PORT], a port from 1 to 65535") from None
    if ":" in host:
        raise SimError(f"{url}: this telephone speaks IPv4 alone")
    if any(not " " < c < "\x7f" or c in '<>"' for c in url):
        raise SimError(f"{url!r}: an address has no spaces, no quotes and no letters beyond ASCII")
    transport = url.lower().partition(";transport=")[2].partition(";")[0]
    if transport not in ("", "udp", "tcp"):
        raise SimError(f"{url}: transport={transport}: must be udp or tcp")
    return host, port, transport == "tcp"


async def _nobody(far: tuple[str, int]) -> bool:
    """True when that machine says at once that nothing listens; a keep-alive (RFC 5626) is all that asks it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.setblocking(False)
        probe.connect(far)
        try:
            probe.send(b"\r\n\r\n")
            await asyncio.sleep(0.05)
            probe.recv(1)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _frames(payload: bytes) -> list[bytes]:
    return [payload[at : at + 160] for at in range(0, len(payload), 160)]


def _unpacked(data: bytes) -> list[bytes]:
    found, at = [], 0
    while at + 2 <= len(data):
        length = int.from_bytes(data[at : at + 2], "big")
        found.append(data[at + 2 : at + 2 + length])
        at += 2 + length
    return found
