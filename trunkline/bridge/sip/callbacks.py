"""pjsua2's `Call` and `Account` with callbacks that only copy what they are told into one queue, as plain values.

They run inside `Library.poll`, some (keys) on a media thread. What must be said in the callback itself is here: whether
a REFER is followed (pjsua dials when this returns, unless it was refused), that an INVITE with Replaces is not, and
audio is connected each time it changes.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final, TypeVar

import pjsua2 as pj

from trunkline.bridge.sip.codec_order import ordered
from trunkline.bridge.sip.messages import Quality
from trunkline.bridge.sip.ports import RingPort
from trunkline.bridge.sip.sip_text import clean
from trunkline.bridge.sip.stream import Negotiated, negotiated, quality

DISCONNECTED: Final = int(pj.PJSIP_INV_STATE_DISCONNECTED)
CONFIRMED: Final = int(pj.PJSIP_INV_STATE_CONFIRMED)
EARLY: Final = int(pj.PJSIP_INV_STATE_EARLY)
_REMOTE_HOLD: Final = int(pj.PJSUA_CALL_MEDIA_REMOTE_HOLD)
_LOCAL_HOLD: Final = int(pj.PJSUA_CALL_MEDIA_LOCAL_HOLD)
_ACTIVE: Final = int(pj.PJSUA_CALL_MEDIA_ACTIVE)


@dataclass(frozen=True, slots=True)
class Invited:
    """An INVITE came: its text, where from, and the call object that must now be answered."""

    call: "GatewayCall"
    text: str
    source: str  # "192.0.2.1:5060"


@dataclass(frozen=True, slots=True)
class State:
    """A call's state is another."""

    state: int
    code: int
    reason: str
    text: str = ""  # of the message that did it, as long as the dialog's addresses matter
    sent: bool = False  # that message was ours
    quality: Quality | None = None  # of the stream, at the end


@dataclass(frozen=True, slots=True)
class Media:
    """Its audio is another, or none."""

    active: bool
    held: bool  # by the far end
    stream: Negotiated | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """A key was pressed."""

    key: str
    info: bool  # INFO, else RFC 4733


@dataclass(frozen=True, slots=True)
class Referred:
    """A REFER of ours goes on."""

    code: int
    reason: str
    final: bool


@dataclass(frozen=True, slots=True)
class ReferAsked:
    """The far end wanted us to call somebody: what was answered, and the call that pjsua has placed if it was 202."""

    code: int
    child: int = 0


@dataclass(frozen=True, slots=True)
class Referral:
    """The answer to a REFER; with 202 goes the object for the call that pjsua places next."""

    code: int
    call: "ReferredCall | None" = None


@dataclass(frozen=True, slots=True)
class Sent:
    """An INVITE of ours is on the wire: its text."""

    text: str


@dataclass(frozen=True, slots=True)
class Registered:
    """Answer to a REGISTER."""

    trunk: str
    code: int
    reason: str
    active: bool


@dataclass(frozen=True, slots=True)
class Pinged:
    """Answer to an OPTIONS; `source` is who gave it, "" for pjsip itself."""

    trunk: str
    code: int
    reason: str
    source: str = ""


CallEvent = State | Media | Key | Referred | ReferAsked | Sent


class Queue:
    """What callbacks have seen, in order, with the number of the call; appended from any thread."""

    def __init__(self) -> None:
        self.events: deque[tuple[int, Any]] = deque()
        self.failures = 0
        self.last_failure = ""
        self.refer: Callable[[GatewayCall, str], Referral] = lambda _call, _text: Referral(603)

    def put(self, number: int, event: Any) -> None:
        """By a callback."""
        self.events.append((number, event))


_F = TypeVar("_F", bound=Callable[..., None])


def _guarded(callback: _F) -> _F:
    """Nothing is raised into C: it is counted, and told later."""

    @wraps(callback)
    def safe(self: Any, prm: Any) -> None:
        try:
            callback(self, prm)
        except BaseException as error:
            self.queue.failures += 1
            self.queue.last_failure = f"{callback.__name__}: {type(error).__name__}: {error}"

    return safe  # type: ignore[return-value]


class GatewayCall(pj.Call):  # type: ignore[misc]
    """One call. `port` hears and speaks; `partner`: the call it is joined with, whose phone it hears instead."""

    def __init__(self, account: Any, queue: Queue, number: int, call_id: int = -1) -> None:
        super().__init__(account, call_id)
        self.account = account
        self.queue = queue
        self.number = number
        self.codecs: tuple[str, ...] = ()  # of our offer; (): all that the endpoint has, in its order
        self.port: RingPort | None = None
        self.partner: GatewayCall | None = None
        self.index = -1  # of the audio in the SDP
        self.last: Quality | None = None  # of a stream that is gone
        self.over = False  # pjsua has said so: its number there may be another call's by now
        self.request = ""  # the REFER that pjsua handles as soon as `onCallTsxState` returns

    @_guarded
    def onCallState(self, prm: Any) -> None:  # noqa: N802
        info = self.getInfo()
        self.over = info.state == DISCONNECTED
        text, sent = _text_of(prm.e)
        self.queue.put(
            self.number, State(info.state, info.lastStatusCode, clean(info.lastReason), text, sent, self.last)
        )

    @_guarded
    def onCallTsxState(self, prm: Any) -> None:  # noqa: N802
        transaction = prm.e.body.tsxState.tsx
        if transaction.method == "REFER" and transaction.role == pj.PJSIP_ROLE_UAS:
            self.request = _text_of(prm.e)[0] or self.request
        if transaction.method == "INVITE" and transaction.state == pj.PJSIP_TSX_STATE_CALLING:
            text, sent = _text_of(prm.e)
            if sent:
                self.queue.put(self.number, Sent(text))

    @_guarded
    def onCallSdpCreated(self, prm: Any) -> None:  # noqa: N802
        if self.codecs and not prm.remSdp.wholeSdp:
            prm.sdp.wholeSdp = ordered(prm.sdp.wholeSdp, self.codecs)

    @_guarded
    def onCallMediaState(self, _prm: Any) -> None:  # noqa: N802
        self.wire()

    def wire(self) -> None:
        """Connect what should hear what; again each time, since a re-INVITE may have made a new bridge slot."""
        info = self.getInfo()
        media = list(info.media)  # of an object that is kept: the temporary's list would be empty
        for found in media:
            if found.type != pj.PJMEDIA_TYPE_AUDIO or found.status not in (_ACTIVE, _REMOTE_HOLD, _LOCAL_HOLD):
                continue
            self.index = found.index
            self._connect(found)
            self.queue.put(self.number, Media(True, found.status == _REMOTE_HOLD, negotiated(self, found.index)))
            return
        self.queue.put(self.number, Media(False, False))

    def _connect(self, found: Any) -> None:
        if found.audioConfSlot < 0:
            return
        own = self.getAudioMedia(found.index)
        if self.partner is not None and self.partner.index >= 0:
            other = self.partner.getAudioMedia(self.partner.index)
            own.startTransmit(other)
            other.startTransmit(own)
        elif self.port is not None:
            own.startTransmit(self.port)
            self.port.startTransmit(own)

    def unwire(self) -> None:
        """Nothing hears it, and it hears nothing, until `wire`."""
        own = self.getAudioMedia(self.index)
        for other in (self.port, self.partner and self.partner.getAudioMedia(self.partner.index)):
            if other is not None:
                own.stopTransmit(other)
                other.stopTransmit(own)

    @_guarded
    def onStreamDestroyed(self, _prm: Any) -> None:  # noqa: N802
        self.last = quality(self, self.number, self.index)

    @_guarded
    def onDtmfDigit(self, prm: Any) -> None:  # noqa: N802
        self.queue.put(self.number, Key(prm.digit, prm.method == pj.PJSUA_DTMF_METHOD_SIP_INFO))

    def onCallTransferRequest(self, prm: Any) -> None:  # noqa: N802
        prm.statusCode = 603
        self._transfer(prm)

    @_guarded
    def _transfer(self, prm: Any) -> None:
        request, self.request = self.request, ""
        answer = self.queue.refer(self, request)
        self.queue.put(self.number, ReferAsked(answer.code, answer.call.number if answer.call else 0))
        if answer.call is not None:
            prm.newCall = answer.call  # no customCallId: pjsua2 would read it after it is gone
            prm.opt.audioCount, prm.opt.videoCount, prm.opt.textCount = 1, 0, 0
        prm.statusCode = answer.code

    def onCallReplaceRequest(self, prm: Any) -> None:  # noqa: N802
        prm.statusCode = 603

    @_guarded
    def onCallTransferStatus(self, prm: Any) -> None:  # noqa: N802
        self.queue.put(self.number, Referred(prm.statusCode, clean(prm.reason), prm.finalNotify))

    def destroy(self, *, at_the_end: bool = False) -> bool:
        """For ever; hangs up what is still up. Never inside a callback, never left to a reference that goes.

        False: not now. pjsua gives its number to the next INVITE as soon as it is over, maybe before we have heard of
        either; what is still up by that number is then another call, which nobody may hang up, but at the very end.
        """
        self.partner = self.port = None
        if self.over and not at_the_end and self.isActive():
            return False
        pj.Call.__swig_destroy__(self)
        return True


class ReferredCall(GatewayCall):
    """A call that pjsua places because of a REFER. `leaves(Call-ID)` is called before its INVITE is made."""

    def __init__(self, account: Any, queue: Queue, number: int, leaves: Callable[[str], None]) -> None:
        super().__init__(account, queue, number)
        self.leaves: Callable[[str], None] | None = leaves

    @_guarded
    def onCallSdpCreated(self, _prm: Any) -> None:  # noqa: N802
        leaves, self.leaves = self.leaves, None
        if leaves is not None:
            leaves(self.getInfo().callIdString)


def _text_of(event: Any) -> tuple[str, bool]:
    """The message behind an event, and whether we sent it."""
    kind = event.type
    if kind == pj.PJSIP_EVENT_TSX_STATE:
        kind = event.body.tsxState.type
        source = event.body.tsxState.src
    else:
        source = event.body.rxMsg if kind == pj.PJSIP_EVENT_RX_MSG else event.body.txMsg
    if kind == pj.PJSIP_EVENT_RX_MSG:
        return source.rdata.wholeMsg, False
    return (source.tdata.wholeMsg, True) if kind == pj.PJSIP_EVENT_TX_MSG else ("", False)


class GatewayAccount(pj.Account):  # type: ignore[misc]
    """A trunk, or "" for everybody else."""

    def __init__(self, queue: Queue, trunk: str, numbers: Callable[[], int], calls: dict[int, GatewayCall]) -> None:
        super().__init__()
        self.queue = queue
        self.trunk = trunk
        self._numbers = numbers
        self._calls = calls

    @_guarded
    def onIncomingCall(self, prm: Any) -> None:  # noqa: N802
        number = self._numbers()
        call = GatewayCall(self, self.queue, number, prm.callId)
        self._calls[number] = call  # before anything can raise: an object that goes by itself takes a call with it
        self.queue.put(number, Invited(call, prm.rdata.wholeMsg, prm.rdata.srcAddress))

    @_guarded
    def onRegState(self, prm: Any) -> None:  # noqa: N802
        active = prm.code // 100 == 2 and prm.expiration > 0
        self.queue.put(0, Registered(self.trunk, prm.code, clean(prm.reason), active))

    @_guarded
    def onSendRequest(self, prm: Any) -> None:  # noqa: N802
        transaction = prm.e.body.tsxState.tsx
        if transaction.state >= pj.PJSIP_TSX_STATE_COMPLETED and transaction.method == "OPTIONS":
            state = prm.e.body.tsxState
            source = state.src.rdata.srcAddress if state.type == pj.PJSIP_EVENT_RX_MSG else ""
            self.queue.put(0, Pinged(self.trunk, transaction.statusCode, clean(transaction.statusText), source))

    def destroy(self) -> None:
        """Unregistered, and gone."""
        self.shutdown()
        pj.Account.__swig_destroy__(self)
