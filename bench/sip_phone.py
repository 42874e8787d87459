"""A telephone for a bench: calls in over UDP by one socket, with audio by `sip_media`, many of them in one process.

    async with Exchange("127.0.0.1:5060") as exchange:
        phone = Phone(exchange, media, "+919800000001")
        await phone.call(); …; await phone.hang_up()

What the other side wants of a call (BYE, REFER) is answered by itself and noted. RFC 3261's timers where packets may
be lost: requests are sent again after 0.5, 1, 2 … s.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeAlias

from bench.sip_media import Media, Stream
from bench.sip_words import Dialog, answer, code_of, media_of, method_of, sdp
from trunkline.bridge.sip.sip_text import Address, SipText

T1_S = 0.5
GIVE_UP_S = 32.0
BYE_S = 8.0
Place: TypeAlias = tuple[str, int]


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A final answer of 300 and more; 408 without any."""

    def __init__(self, code: int, text: SipText | None = None) -> None:
        super().__init__(str(code))
        self.code = code
        self.retry_after = text.first("retry-after") if text is not None else ""


class Exchange:
    """The socket of all phones of a process. `there`: HOST:PORT of the service."""

    def __init__(self, there: str, host: str = "127.0.0.1") -> None:
        self.there = there
        self.host = host
        self.here = ""
        self.phones: dict[str, Phone] = {}
        self.strays = 0  # requests of calls that are none
        self.again = 0  # requests sent again
        place, _, port = there.rpartition(":")
        self._to: Place = (place, int(port))
        self._transport: asyncio.DatagramTransport | None = None

    async def __aenter__(self) -> "Exchange":
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(self._heard), local_addr=(self.host, 0)
        )
        _, own = self._transport.get_extra_info("sockname")[:2]
        self.here = f"{self.host}:{own}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._transport is not None
        self._transport.close()

    def send(self, text: str, to: Place | None = None) -> None:
        """One message. to: where a request came from, which is not the service's usual port when a gateway's successor
        says what that could not say any more."""
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.sendto(text.encode(), to or self._to)

    def _heard(self, data: bytes, source: Place) -> None:
        text = SipText.of(data.decode(errors="replace"))
        phone = self.phones.get(text.first("call-id"))
        if phone is not None:
            phone.told(text, source)
        elif not code_of(text) and text.method != "ACK":
            self.strays += 1
            self.send(answer(text, 481, "Call/Transaction Does Not Exist"), source)


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, heard: Callable[[bytes, Place], None]) -> None:
        self._heard = heard

    def datagram_received(self, data: bytes, address: Place) -> None:
        self._heard(data, address)

    def error_received(self, _error: Exception) -> None:
        """Nobody listens there for a moment: the request is sent again."""


@dataclass(slots=True)
class Times:
    """Of `time.monotonic()`; 0: never."""

    invited: float = 0.0
    trying: float = 0.0
    answered: float = 0.0
    ended: float = 0.0  # BYE seen, or answered


@dataclass(slots=True, eq=False)
class Phone:
    """One call."""

    exchange: Exchange
    media: Media
    caller: str
    callee: str = "agent"
    payloads: str = "0"
    silent: bool = False  # answers nothing that comes, as one whose network is gone
    acknowledges: bool = True  # a 200 of an INVITE
    transfers_to: int = 200  # what the last NOTIFY of a REFER says; 0: the REFER is refused
    times: Times = field(default_factory=Times)
    by: str = ""  # who ended it: "us", "far"
    referred: str = ""  # the target of a REFER that came
    stream: Stream = field(init=False)
    dialog: Dialog = field(init=False)
    provisional: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _waits: dict[tuple[int, str], "asyncio.Future[SipText]"] = field(default_factory=dict)
    _acks: dict[int, str] = field(default_factory=dict)  # of 200s, sent again with each of them
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _version: int = 0

    def __post_init__(self) -> None:
        self.dialog = Dialog(self.caller, self.callee, self.exchange.here, self.exchange.there)
        self.stream = self.media.open()
        self.exchange.phones[self.dialog.call_id] = self

    @property
    def call_id(self) -> str:
        """As the service's record has it for a reference."""
        return self.dialog.call_id

    # -- what its user does

    async def call(self, patience_s: float = GIVE_UP_S) -> None:
        """Returns once it is answered. Raises Refused."""
        self.times.invited = time.monotonic()
        await self._invite("sendrecv", patience_s)
        self.times.answered = time.monotonic()

    async def cancel(self) -> None:
        """While `call` waits: it raises Refused(487), or the answer was quicker."""
        await self._ask(self.dialog.cancel(), (self.dialog.cseq, "CANCEL"), BYE_S)

    async def hold(self, *, on: bool) -> None:
        """A re-INVITE. Raises Refused."""
        await self._invite("sendonly" if on else "sendrecv", GIVE_UP_S)

    async def request(self, method: str, body: str = "", kind: str = "application/sdp", *more: str) -> int:
        """Within the call: the code of its answer. Raises Refused."""
        text = self.dialog.request(method, body, kind, *more)
        return code_of(await self._ask(text, (self.dialog.cseq, method), BYE_S))

    async def hang_up(self) -> None:
        """BYE, unless it is over already. Raises Refused when nobody answers it."""
        if self.over.is_set():
            return
        self.by = "us"
        await self.request("BYE")
        self._ended()

    def leave(self) -> None:
        """No more of it: nothing is heard or sent. Without a BYE if there was none."""
        self.media.close(self.stream)
        self.exchange.phones.pop(self.call_id, None)
        for task in self._tasks:
            task.cancel()

    # -- requests

    async def _invite(self, way: str, patience_s: float) -> None:
        self._version += 1
        body = sdp(self.exchange.host, self.stream.local, way=way, version=self._version, payloads=self.payloads)
        text = self.dialog.invite(body)
        number = self.dialog.cseq
        try:
            found = await self._ask(text, (number, "INVITE"), patience_s)
        except Refused as refused:
            if refused.code != 408:
                self.exchange.send(self.dialog.ack(refused=True))
            raise
        if self.acknowledges:
            self._acks[number] = self.dialog.ack()
            self.exchange.send(self._acks[number])
        remote = media_of(found)
        if remote is not None:
            self.media.connect(self.stream, remote)

    async def _ask(self, text: str, key: tuple[int, str], patience_s: float) -> SipText:
        """Send it until a final answer is there (an INVITE: until any is)."""
        future = self._waits[key] = asyncio.get_running_loop().create_future()
        wait = T1_S
        self.exchange.send(text)
        try:
            async with asyncio.timeout(patience_s):
                while not future.done():
                    with suppress(TimeoutError):
                        return await asyncio.wait_for(asyncio.shield(future), wait)
                    wait = min(2 * wait, 4.0)
                    if key[1] != "INVITE" or not self.provisional.is_set():
                        self.exchange.again += 1
                        self.exchange.send(text)
                return future.result()
        except TimeoutError:
            raise Refused(408) from None
        finally:
            future.cancel()
            self._waits.pop(key, None)

    # -- what comes

    def told(self, text: SipText, source: Place) -> None:
        """One message of this call."""
        if self.silent:
            return
        code = code_of(text)
        if code:
            self._answered(text, code)
        elif text.method != "ACK":
            self._asked(text, source)

    def _answered(self, text: SipText, code: int) -> None:
        number, method = text.cseq, method_of(text)
        if method == "INVITE":
            self.provisional.set()
            self.times.trying = self.times.trying or time.monotonic()
            if code < 300:
                self.dialog.learn(text)
            else:
                self.dialog.to = text.first("to") if not self.times.answered else self.dialog.to
        if code < 200:
            return
        if code < 300 and method == "INVITE" and number in self._acks:
            self.exchange.send(self._acks[number])
            return
        future = self._waits.get((number, method))
        if future is not None and not future.done():
            if code < 300:
                future.set_result(text)
            else:
                future.set_exception(Refused(code, text))

    def _asked(self, text: SipText, source: Place) -> None:
        match text.method:
            case "BYE":
                self.exchange.send(answer(text, 200, "OK"), source)
                self.by = self.by or "far"
                self._ended()
            case "REFER" if self.transfers_to == 0:
                self.exchange.send(answer(text, 603, "Decline"), source)
            case "REFER":
                self.exchange.send(answer(text, 202, "Accepted"), source)
                if not self.referred:
                    self.referred = Address.of(text.first("refer-to")).uri
                    self._own(self._notify())
            case _:
                self.exchange.send(answer(text, 200, "OK"), source)

    def _ended(self) -> None:
        if not self.over.is_set():
            self.times.ended = time.monotonic()
            self.stream.payload = None
            self.over.set()

    async def _notify(self) -> None:
        """The transfer's progress, told twice: it rings, and what came of it."""
        for body, state in (("SIP/2.0 180 Ringing", "active;expires=60"),
                            (f"SIP/2.0 {self.transfers_to} Told", "terminated;reason=noresource")):  # fmt: skip
            with suppress(Refused):
                more = ("Event: refer", f"Subscription-State: {state}")
                await self.request("NOTIFY", body + "\r\n", "message/sipfrag", *more)
            await asyncio.sleep(0.2)

    def _own(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name="sip.phone")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
