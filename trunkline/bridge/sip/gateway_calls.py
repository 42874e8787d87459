"""What happens to calls that have an owner: callbacks' news become messages, messages become requests.

A call's end is told once (`Gone`), after its last frame; its object goes when pjsip has confirmed the end, or after
`CONFIRM_S` without one (a BYE that nobody answers takes 32 s to time out, and the worker need not wait for that).
"""

import uuid
from collections.abc import Callable
from typing import Final

import pjsua2 as pj
import structlog

from trunkline.bridge.sip import dialogs, silence
from trunkline.bridge.sip import gateway_leg as legs
from trunkline.bridge.sip import messages as wire
from trunkline.bridge.sip.accounts import Accounts, target
from trunkline.bridge.sip.callbacks import (
    CONFIRMED,
    DISCONNECTED,
    EARLY,
    CallEvent,
    GatewayCall,
    Key,
    Media,
    ReferAsked,
    Referred,
    Sent,
    State,
)
from trunkline.bridge.sip.gateway_leg import By, Leg
from trunkline.bridge.sip.gateway_refer import Referrals
from trunkline.bridge.sip.hub import WorkerLink
from trunkline.bridge.sip.identity import shown
from trunkline.bridge.sip.journal import Journal
from trunkline.bridge.sip.options import Options, Trunk
from trunkline.bridge.sip.registry import Registry
from trunkline.bridge.sip.sip_text import SipText, able, last_word, told
from trunkline.bridge.sip.stream import quality
from trunkline.errors import ConfigError

FORGET_S: Final = 60.0  # after that its object goes although pjsip never said that it is over
CONFIRM_S: Final = 2.0  # for the far end's word on our BYE, before the worker is told that it is over
log = structlog.get_logger("trunkline.sip.calls")


class Calls:
    """One per gateway; runs in its thread."""

    def __init__(
        self,
        registry: Registry,
        accounts: Accounts,
        journal: Journal,
        count: Callable[[str], None],
        referrals: Referrals,
    ) -> None:
        self._registry = registry
        self._referrals = referrals
        self._accounts = accounts
        self._journal = journal
        self._count = count

    # -- a worker's verdict on an offer

    def take(self, leg: Leg, link: WorkerLink, message: wire.Take) -> None:
        """Rings, and 200 or 180."""
        try:
            legs.attach(leg, link, message.slot)
        except (IndexError, pj.Error) as error:
            self._count("failed")
            log.error("call.no_rings", slot=message.slot, reason=str(error))
            self.end(leg, "gateway", 500, "no rings")
            return
        leg.taken = True
        self._count("taken")
        try:
            leg.call.answer(legs.operation(200 if message.answer else 180, "", message.headers.items()))
        except pj.Error as error:  # its SDP cannot be used: pjsip finds out when it opens the stream
            self._count("unusable")
            self.end(leg, "gateway", 488, error.reason)

    def refuse(self, leg: Leg, link: WorkerLink, message: wire.Refuse) -> None:
        """A final answer; the worker has had its say and hears no more of it."""
        link.calls.discard(leg.number)
        leg.link = None
        leg.ending = CONFIRM_S
        self._count("refused")
        retry = [("Retry-After", str(message.retry_after_s))] if message.retry_after_s else []
        legs.hang_up(leg, message.code if 400 <= message.code < 700 else 480, retry, message.reason)

    # -- a worker's wishes

    def command(self, leg: Leg, message: wire.ToGateway, now: float) -> None:
        """pjsip's refusals are the log's: a wish that came too late is none."""
        try:
            self._command(leg, message, now)
        except (pj.Error, ConfigError) as error:
            reason = error.reason if isinstance(error, pj.Error) else str(error)
            self._count("wishes_failed")
            log.warning("call.wish_failed", wish=type(message).__name__, reason=reason, call=leg.number)
            if isinstance(message, wire.Refer):
                self._tell(leg, wire.ReferProgress(leg.number, 500, reason, final=True))
            elif isinstance(message, wire.Join):
                self.end(leg, "gateway", 0, "not joined")

    def _command(self, leg: Leg, message: wire.ToGateway, now: float) -> None:
        match message:
            case wire.Answer():
                leg.call.answer(legs.operation(183 if message.early else 200))
            case wire.Hangup():
                self.end(leg, "us", message.code, "", dict(message.headers))
            case wire.SendDigits():
                if not legs.keep_keys(leg, message, now):
                    self._count("keys_dropped")
            case wire.Hold():
                self._hold(leg, message.on)
            case wire.Refer():
                self._refer(leg, message)
            case wire.Join():
                self._join(leg, message)

    def _hold(self, leg: Leg, on: bool) -> None:
        prm = legs.operation()
        if on:
            leg.call.setHold(prm)
            return
        prm.opt.flag = pj.PJSUA_CALL_UNHOLD
        leg.call.reinvite(prm)

    def _refer(self, leg: Leg, message: wire.Refer) -> None:
        prm = pj.CallOpParam()
        legs.add_headers(prm.txOption, message.headers.items())
        if message.replaces:
            other = self._registry.find(message.replaces)
            if other is None or other.link is not leg.link:
                raise ConfigError("the call that is to be replaced is gone")
            leg.call.xferReplaces(other.call, prm)
        else:
            leg.call.xfer(target(message.target, self._accounts.trunks.get(leg.trunk)), prm)

    def _join(self, leg: Leg, message: wire.Join) -> None:
        other = self._registry.find(message.other)
        if other is None or other.link is not leg.link or other is leg or not (leg.media and other.media):
            self._count("late")
            self.end(leg, "gateway", 0, "not joined")  # their worker has let go of both
            return
        for one in (leg, other):
            self._take_back(one, "us", "joined")
            one.call.unwire()
        leg.call.partner, other.call.partner = (other.call, leg.call) if message.on else (None, None)
        for one in (leg, other):
            one.call.wire()
        self._count("joined")

    def _part(self, leg: Leg) -> None:
        """Who is joined with it goes with it."""
        partner = leg.call.partner
        other = self._registry.legs.get(partner.number) if partner is not None else None
        if other is not None:
            self.end(other, "us", 0, "joined")

    # -- calls of ours

    def dial(self, link: WorkerLink, message: wire.Dial, now: float, draining: bool) -> None:
        """An INVITE, in the journal before it leaves."""
        trunk = self._accounts.trunks.get(message.trunk)
        try:
            if draining:
                raise ConfigError("the gateway goes")
            if message.trunk and trunk is None:
                raise ConfigError(f"no trunk is called {message.trunk!r}")
            uri = target(message.to, trunk)
        except ConfigError as error:
            link.send(wire.Placed(message.ask, 0, code=503 if draining else 404, reason=str(error)))
            return
        leg = self._leg(link, message, now)
        try:
            legs.attach(leg, link, message.slot)
            self._journal.note(dialogs.Invite(leg.call_id))
            leg.call.makeCall(uri, self._invite(leg, message, trunk))
        except (IndexError, pj.Error) as error:
            reason = error.reason if isinstance(error, pj.Error) else "no such slot"
            link.calls.discard(leg.number)
            self._journal.note(dialogs.Over(leg.call_id))
            self._registry.destroy(leg)
            link.send(wire.Placed(message.ask, 0, code=500, reason=reason))
            return
        self._count("dialled")
        link.send(wire.Placed(message.ask, leg.number, leg.call_id))

    def _leg(self, link: WorkerLink, message: wire.Dial, now: float) -> Leg:
        number = self._registry.number()
        account = self._accounts.account(message.trunk)
        call = GatewayCall(account, account.queue, number)
        call.codecs = self._accounts.codecs(message.trunk)
        leg = Leg(number, call, False, f"{uuid.uuid4()}", message.trunk, link=link, taken=True)
        leg.deadline = now + message.ring_s
        self._registry.add(leg)
        link.calls.add(number)
        return leg

    def _invite(self, leg: Leg, message: wire.Dial, trunk: Trunk | None) -> "pj.CallOpParam":
        prm = legs.operation(headers=[*(trunk.headers if trunk else ()), *message.headers.items()])
        prm.opt.customCallId = leg.call_id
        host = trunk.host if trunk else self._accounts.account("").getInfo().uri.partition("@")[2].rstrip(">")
        who = shown(trunk, message.from_, message.display, host)
        prm.txOption.localUri = who.local_uri
        legs.add_headers(prm.txOption, who.headers)
        return prm

    # -- what callbacks saw

    def event(self, leg: Leg, event: CallEvent, now: float) -> None:
        """One piece of news about a call."""
        match event:
            case State():
                self._state(leg, event, now)
            case Media():
                self._media(leg, event, now)
            case Key():
                key = legs.key_of(leg, event.key, event.info, now)
                self._tell(leg, key) if key else self._count("keys_twice")
            case Referred():
                code = 202 if event.code == 100 and not event.final else event.code
                silence.referred(leg, now, final=event.final)
                self._tell(leg, wire.ReferProgress(leg.number, code, event.reason, event.final))
            case ReferAsked():
                self._referrals.asked(leg, event, now)
            case Sent():
                if not leg.inbound and not leg.answered:
                    leg.invite = dialogs.invited(SipText.of(event.text))
                    self._journal.note(leg.invite)

    def _state(self, leg: Leg, event: State, now: float) -> None:
        text = SipText.of(event.text)
        if event.state == DISCONNECTED:
            self._over(leg, event, now)
            return
        if event.state == EARLY and not leg.inbound:
            self._tell(leg, wire.Progress(leg.number, event.code, leg.media))
            if leg.invite is not None and event.text and not event.sent:
                leg.invite = dialogs.ringing(leg.invite, text)
                self._journal.note(leg.invite)
        elif event.state > EARLY and event.text and not leg.answered:
            leg.answered, leg.deadline = True, None
            leg.headers = {} if leg.inbound else told(text)
            leg.can = able(leg.text if leg.inbound else text)
            leg.rx_changed = now
            self._journal.note(dialogs.called(leg.text, text, leg.source) if leg.inbound else dialogs.placed(text))
        if event.state == CONFIRMED:
            self._up(leg, now, confirmed=True)

    def _media(self, leg: Leg, event: Media, now: float) -> None:
        leg.media = event.active
        leg.stream = event.stream or leg.stream
        leg.rx_changed = now
        if event.held != leg.held:
            leg.held = event.held
            if leg.refers is None:  # told to wait anyway
                self._tell(leg, wire.Held(leg.number, event.held))
        if event.active and not leg.inbound and not leg.answered:
            self._tell(leg, wire.Progress(leg.number, 183, media=True))
        self._up(leg, now, confirmed=False)

    def _up(self, leg: Leg, now: float, *, confirmed: bool) -> None:
        """Once, when it has been confirmed and has audio, whichever comes last."""
        leg.confirmed = leg.confirmed or confirmed
        if leg.confirmed and leg.media and not leg.told_up and not leg.told_gone:
            self._referrals.arrived(leg, now)
            leg.told_up = True
            self._tell(leg, self._told_up(leg))
            if leg.was_up:
                self._tell(leg, wire.Held(leg.number, leg.held))

    def _told_up(self, leg: Leg) -> wire.Up:
        found = leg.stream
        refer, replaces = leg.can
        if found is None:
            return wire.Up(leg.number, "", digits=False, headers=leg.headers, refer=refer, replaces=replaces)
        return wire.Up(leg.number, found.codec, found.srtp, found.digits, found.remote, leg.headers, refer, replaces)

    def _tell(self, leg: Leg, message: wire.ToWorker) -> None:
        if leg.link is not None and leg.taken and not leg.told_gone:
            leg.link.send(message)

    # -- its end

    def end(self, leg: Leg, by: By, code: int, note: str, headers: dict[str, str] | None = None) -> None:
        """Our own wish to end it. code: of a final answer to an INVITE that came, 0: 480."""
        if leg.ending is not None:
            return
        self._take_back(leg, by, note)
        leg.ending, leg.by, leg.note = CONFIRM_S, by, note
        unanswered = leg.inbound and not leg.answered
        code = 0 if not unanswered else code if 400 <= code < 700 else 480
        legs.hang_up(leg, code, (headers or {}).items())
        self._part(leg)

    def _take_back(self, leg: Leg, by: By, note: str) -> None:
        """It goes nowhere: what rings because of its REFER is ended."""
        if leg.refers is not None:
            leg.refers.referrer, child, leg.refers = None, leg.refers, None
            self.end(child, by, 0, note)

    def _over(self, leg: Leg, event: State, now: float) -> None:
        """pjsip knows of it no more."""
        if leg.referrer is not None:
            self._referrals.failed(leg)
            return
        if leg.refers is not None:
            self._referrals.adopt(leg, leg.refers)  # it has left, as one may who has handed a call on
        if leg.by == "far" and leg.answered and event.code == 408:
            leg.by, leg.note = "gateway", "session timer" if leg.confirmed else "no ACK"
        self._part(leg)
        leg.quality = event.quality or leg.quality
        if not leg.inbound and (leg.answered or leg.by == "far"):
            code = 200 if leg.answered else event.code
            self._accounts.called(leg.trunk, code, now, silent=not event.text)
        self._gone(leg, event.code, *last_word(SipText.of("" if event.sent else event.text), event.reason))
        self._journal.note(dialogs.Over(leg.call_id))
        if leg.link is not None:
            leg.link.calls.discard(leg.number)
        self._registry.destroy(leg)

    def _gone(self, leg: Leg, code: int, reason: str, retry_after_s: int = 0) -> None:
        if leg.told_gone or leg.link is None:
            return
        if leg.quality is not None:
            self._tell(leg, leg.quality)
        legs.silence(leg)
        code, reason = leg.code or (200 if leg.answered else code), leg.reason or reason
        if leg.was_up and not leg.answered:  # the far end left it to somebody who did not answer
            leg.link.send(wire.Gone(leg.number, 200, f"BYE, handed on: {code} {reason}", "far", answered=True))
        else:
            leg.link.send(wire.Gone(leg.number, code, reason, leg.by, leg.answered, leg.note, retry_after_s))
        leg.told_gone = True
        leg.link.calls.discard(leg.number)

    # -- what time brings

    def look(self, leg: Leg, now: float, options: Options) -> None:
        """Ten times a second."""
        if leg.ending is not None:
            leg.ending -= 0.1
            if leg.ending <= 0:
                self._gone(leg, 487 if not leg.answered else 200, "")
            if leg.ending < -FORGET_S:
                self._count("forgotten")
                self._over(leg, State(DISCONNECTED, 408, ""), now)
            return
        if leg.deadline is not None and now >= leg.deadline and not leg.answered:
            leg.code, leg.reason = 408, "nobody answered"
            self.end(leg, "gateway", 0, "ring time")
            return
        if now >= leg.goodbye_at:
            self.end(leg, "us", 0, "handed on")
            return
        if (word := silence.no_word(leg, now, options)) is not None:
            self._count("refer_unconfirmed")
            self._tell(leg, word)
        while leg.keys and leg.keys[0][0] <= now:
            _, keys, method = leg.keys.pop(0)
            legs.send_keys(leg, keys, method)
        if leg.told_up and now - leg.looked >= 1.0:
            leg.looked = now
            self._listen(leg, now, options)

    def _listen(self, leg: Leg, now: float, options: Options) -> None:
        """Every second of a call that is up: is anything heard of it?"""
        found = quality(leg.call, leg.number, leg.call.index)
        if found is None:
            return
        leg.quality = found
        if silence.lost(leg, found.rx_packets, now, options.media_timeout_s):
            self._count("media_timeouts")
            self.end(leg, "gateway", 0, "media timeout")
            return
        if now - leg.quality_at >= options.quality_s:
            leg.quality_at = now
            self._tell(leg, found)
