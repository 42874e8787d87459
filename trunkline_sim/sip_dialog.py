"""One call's signalling, from INVITE to BYE, called or calling: RFC 3261 sections 12 to 17. Pure: time is handed in.

`receive` and the verbs put bytes into `out`; whoever owns the dialog sends them to where the far end's packets come
from (a proxy that recorded its route included) and calls `tick` when `deadline` is over. Not there: forking, 100rel,
session timers, UPDATE with an offer of ours, 491.
"""

import secrets
from collections.abc import Sequence
from typing import Literal

from trunkline_sim import sip_digest
from trunkline_sim.sip_events import (
    Answered,
    Cancelled,
    Confirmed,
    Event,
    Left,
    Me,
    Offered,
    Rang,
    Referred,
    Refused,
    Repeats,
    Replied,
    Told,
)
from trunkline_sim.sip_message import Header, Message, render, response, tag_of, uri_of

ALLOW: Header = ("Allow", "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, REFER, NOTIFY, UPDATE")
_REMEMBERED = 16  # requests of theirs that may be asked again
_BACKWARDS = 1000  # our requests in a dialog that we did not begin are counted from here: seen at once in a trace


class Dialog:
    """See the module. `state`: calling or called, then early, then up, then over."""

    def __init__(self, me: Me, call_id: str, *, reliable: bool, local: str, remote: str, target: str) -> None:
        """local, remote: values of From and To; target: the far end's URI."""
        self.me = me
        self.call_id = call_id
        self.out: list[bytes] = []
        self.state: Literal["calling", "called", "early", "up", "over"] = "calling"
        self._repeats = Repeats(reliable=reliable)
        self._local, self._remote, self._target = local, remote, target
        self._cseq = 0
        self._route: list[Header] = []
        self._invite: Message | None = None  # theirs
        self._offer: Message | None = None  # theirs, within the call, not answered yet
        self._answers: dict[tuple[int, str], bytes] = {}  # the last to each request of theirs
        self._body: bytes | None = None  # of our INVITE
        self._branch = ""  # of our first INVITE
        self._again = ""  # of our last re-INVITE
        self._extra: Sequence[Header] = ()
        self._ack = b""
        self._credentials: tuple[str, str] | None = None
        self._cancelling = False
        self._asked = False  # who we are

    # -- called

    @classmethod
    def called(cls, invite: Message, me: Me, *, reliable: bool) -> "Dialog":
        """By this INVITE, which is answered by `progress`, `answer` or `refuse`."""
        local = f"{invite.first('to')};tag={secrets.token_hex(6)}"
        made = cls(
            me, invite.call_id, reliable=reliable, local=local, remote=invite.first("from"),
            target=uri_of(invite.first("contact")) or uri_of(invite.first("from")),
        )  # fmt: skip
        made.state, made._invite, made._cseq = "called", invite, _BACKWARDS
        made._route = [("Route", value) for _, value in invite.every("record-route")]
        return made

    def progress(self, code: int, reason: str, body: bytes = b"") -> None:
        """100, 180, 183."""
        if self.state in ("called", "early"):
            self.state = "early" if code > 100 else self.state
            self._reply(self._theirs, code, reason, [self.me.contact] if code > 100 else [], body)

    def answer(self, body: bytes, now: float, more: Sequence[Header] = ()) -> None:
        """200, until it is acknowledged."""
        if self.state in ("called", "early"):
            self.state = "up"
            data = self._reply(self._theirs, 200, "OK", [self.me.contact, ALLOW, *more], body)
            self._repeats.put("200", data, now, always=True)

    def refuse(self, code: int, reason: str, now: float, more: Sequence[Header] = ()) -> None:
        """A final answer of 300 and more, until it is acknowledged."""
        if self.state in ("called", "early"):
            self.state = "over"
            self._repeats.put("refusal", self._reply(self._theirs, code, reason, more), now)

    def accept(self, body: bytes, now: float) -> None:
        """200 to the offer that stands."""
        if self._offer is not None:
            offer, self._offer = self._offer, None
            data = self._reply(offer, 200, "OK", [self.me.contact, ALLOW], body)
            if offer.method == "INVITE":
                self._repeats.put("200", data, now, always=True)

    # -- calling

    def invite(
        self, body: bytes, now: float, more: Sequence[Header] = (), credentials: tuple[str, str] | None = None
    ) -> None:
        """Call. credentials: name and password, for a far end that asks."""
        self._credentials, self._extra = credentials, more
        self._send_invite(body, now)

    def _send_invite(self, body: bytes, now: float, more: Sequence[Header] = ()) -> None:
        self._cseq += 1
        self._branch = _branch()
        data = self._request("INVITE", self._branch, [self.me.contact, ALLOW, *self._extra, *more], body)
        self._body = body
        self.out.append(data)
        self._repeats.put("INVITE", data, now, slow=False)

    def cancel(self, now: float) -> None:
        """Give up an INVITE of ours; once something came back, as RFC 3261 9.1 wants it."""
        self._cancelling = True
        if self.state == "early" and self._body is not None:
            data = self._request("CANCEL", self._branch, [], cseq=(self._cseq, "CANCEL"))
            self.out.append(data)
            self._repeats.put("CANCEL", data, now)

    # -- in the call

    def bye(self, now: float, more: Sequence[Header] = ()) -> None:
        """The end."""
        if self.state == "up":
            self.state = "over"
            self._repeats.stop("200")
            self.ask("BYE", now, more)

    def ask(
        self, method: str, now: float, more: Sequence[Header] = (), body: bytes = b"", kind: str = "application/sdp"
    ) -> None:
        """A request within the call; `Replied` tells what came of it."""
        self._cseq += 1
        contact = [self.me.contact] if method != "BYE" else []
        branch = _branch()
        data = self._request(method, branch, [*contact, *more], body, kind)
        if method == "INVITE":
            self._branch, self._again = "", branch
        self.out.append(data)
        self._repeats.put(f"{self._cseq} {method}", data, now, slow=method != "INVITE")

    def offer(self, body: bytes, now: float) -> None:
        """Another SDP of ours: a re-INVITE."""
        self.ask("INVITE", now, [ALLOW], body)

    def referred(self, code: int, reason: str, last: int, now: float) -> None:
        """To a REFER: code at once; then, unless it was refused, the end of what we are supposed to have done."""
        if self._offer is None:
            return
        request, self._offer = self._offer, None
        self._reply(request, code, reason, [self.me.contact])
        if code < 300:
            state = ("Subscription-State", "terminated;reason=noresource")
            body = f"SIP/2.0 {last} {'OK' if last < 300 else 'Failed'}\r\n".encode()
            self.ask("NOTIFY", now, [("Event", "refer"), state], body, "message/sipfrag")

    # -- what comes

    def receive(self, message: Message, now: float) -> list[Event]:
        """One message of this call."""
        return self._asked_of_us(message) if message.method else self._response(message, now)

    def deadline(self) -> float | None:
        """When `tick` is due; None: not before something comes."""
        return self._repeats.deadline()

    def tick(self, now: float) -> list[Event]:
        """Say again what is due; give up what nobody answered."""
        again, over = self._repeats.due(now)
        self.out += again
        return [event for key in over if (event := self._unanswered(key)) is not None]

    def _unanswered(self, key: str) -> Event | None:
        if key == "INVITE":
            self.state = "over"
            return Refused(0, "nobody answered")
        if key == "200":
            self.state = "over"
            return Left("no ACK")
        if key in ("refusal", "CANCEL"):
            return None
        return Replied(key.partition(" ")[2], 0)

    @property
    def _theirs(self) -> Message:
        assert self._invite is not None
        return self._invite

    def _asked_of_us(self, request: Message) -> list[Event]:
        key = request.cseq
        if request.method == "ACK":
            self._repeats.stop("refusal")
            return [Confirmed()] if self._repeats.stop("200") else []
        if (said := self._answers.get(key)) is not None:
            self.out.append(said)
            return []
        match request.method:
            case "CANCEL":
                return self._cancel_comes(request)
            case "BYE":
                self._reply(request, 200, "OK")
                was, self.state = self.state, "over"
                self._repeats.clear()
                return [Left(request.first("reason") or "BYE")] if was != "over" else []
            case "INVITE" | "UPDATE" if self._invite is None or request.cseq != self._invite.cseq:
                return self._offer_comes(request)
            case "REFER":
                self._offer = request
                return [Referred(uri_of(request.first("refer-to")))]
            case "INFO" | "NOTIFY":
                self._reply(request, 200, "OK")
                return [Told(request)]
            case "OPTIONS" | "MESSAGE":
                self._reply(request, 200, "OK", [ALLOW])
            case "INVITE":
                pass  # said again while nothing was answered yet
            case _:
                self._reply(request, 405, "Method Not Allowed", [ALLOW])
        return []

    def _cancel_comes(self, request: Message) -> list[Event]:
        if self._invite is None or self.state not in ("called", "early"):
            self._reply(request, 200 if self._invite is not None else 481, "OK")
            return []
        self._reply(request, 200, "OK")
        return [Cancelled()]

    def _offer_comes(self, request: Message) -> list[Event]:
        if self.state != "up":
            self._reply(request, 481, "No such call")
            return []
        if request.method == "UPDATE" and not request.body:
            self._reply(request, 200, "OK", [self.me.contact])
            return []
        self._offer = request
        return [Offered(request)]

    def _reply(self, request: Message, code: int, reason: str, more: Sequence[Header] = (), body: bytes = b"") -> bytes:
        data = response(request, code, reason, more, body, tag_of(self._local))
        self._answers[request.cseq] = data
        if len(self._answers) > _REMEMBERED:
            del self._answers[next(iter(self._answers))]
        self.out.append(data)
        return data

    def _response(self, message: Message, now: float) -> list[Event]:
        number, method = message.cseq
        if method == "INVITE" and message.branch == self._branch and self._invite is None:
            return self._to_invite(message, now)
        if method == "CANCEL":
            if message.code >= 200:
                self._repeats.stop("CANCEL")
            return []
        if message.code < 200:
            return []
        first = self._repeats.stop(f"{number} {method}")
        if method == "INVITE":
            branch = _branch() if message.code < 300 else self._again
            self.out.append(self._request("ACK", branch, [], cseq=(number, "ACK")))
        return [Replied(method, message.code, message)] if first else []

    def _to_invite(self, message: Message, now: float) -> list[Event]:
        if message.code < 200:
            self._repeats.stop("INVITE")
            if self.state == "calling":
                self.state = "early"
                if self._cancelling:
                    self.cancel(now)
            return [Rang(message)]
        if self.state in ("up", "over"):  # said again: so is the ACK
            self.out += [self._ack] if self._ack else []
            return []
        self._repeats.stop("INVITE")
        return self._taken(message, now) if message.code < 300 else self._turned_down(message, now)

    def _taken(self, message: Message, now: float) -> list[Event]:
        self._remote = message.first("to")
        self._target = uri_of(message.first("contact")) or self._target
        self._route = [("Route", value) for _, value in reversed(message.every("record-route"))]
        self._ack = self._request("ACK", _branch(), [], cseq=(self._cseq, "ACK"))
        self.out.append(self._ack)
        self.state = "up"
        if self._cancelling:  # they crossed
            self.bye(now)
            return [Refused(487, "given up as it was answered")]
        return [Answered(message)]

    def _turned_down(self, message: Message, now: float) -> list[Event]:
        to, self._remote = self._remote, message.first("to")
        self._ack = self._request("ACK", self._branch, [], cseq=(self._cseq, "ACK"))
        self._remote = to
        self.out.append(self._ack)
        if message.code in (401, 407) and self._credentials and not self._asked and self._body is not None:
            ask, give = (
                ("www-authenticate", "Authorization")
                if message.code == 401
                else ("proxy-authenticate", "Proxy-Authorization")
            )
            name, word = self._credentials
            answers = (sip_digest.answer(v, "INVITE", self._target, name, word) for _, v in message.every(ask))
            if value := next(filter(None, answers), ""):
                self._asked = True
                self._send_invite(self._body, now, [(give, value)])
                return []
        self.state = "over"
        return [Refused(message.code, message.reason)]

    def _request(
        self,
        method: str,
        branch: str,
        more: Sequence[Header],
        body: bytes = b"",
        kind: str = "application/sdp",
        cseq: tuple[int, str] | None = None,
    ) -> bytes:
        number, of = cseq or (self._cseq, method)
        headers = [
            self.me.via(branch),
            ("Max-Forwards", "70"),
            *self._route,
            ("From", self._local),
            ("To", self._remote),
            ("Call-ID", self.call_id),
            ("CSeq", f"{number} {of}"),
            ("User-Agent", "trunkline-sim"),
            *more,
        ]
        return render(f"{method} {self._target} SIP/2.0", headers + ([("Content-Type", kind)] if body else []), body)


def _branch() -> str:
    return "z9hG4bK" + secrets.token_hex(8)
