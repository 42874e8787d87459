"""A far end that asks us to call somebody (REFER): the call it has with us goes on with whom it named.

    far end ── REFER ──► decide (inside pjsua's callback) ── 202 ──► pjsua: INVITE to the target, NOTIFY 100, 180, 200
                                                                         │
    the worker's call: held ◄────────────────────────────────────────────┤ rings
    the worker's call: `Moved`, with the same rings ◄────────────────────┘ answered, or the far end has left before

The target does not answer: the far end is told (NOTIFY), and has its call back. RFC 3515, RFC 5589 (blind transfer).
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import pjsua2 as pj
import structlog

from trunkline.bridge.sip import dialogs, refer
from trunkline.bridge.sip import messages as wire
from trunkline.bridge.sip.accounts import Accounts
from trunkline.bridge.sip.callbacks import CONFIRMED, GatewayCall, ReferAsked, Referral, ReferredCall
from trunkline.bridge.sip.gateway_leg import Leg
from trunkline.bridge.sip.journal import Journal
from trunkline.bridge.sip.registry import Registry
from trunkline.bridge.sip.sip_text import SipText, host_port

RING_S: Final = 45.0
LEAVE_S: Final = 2.0  # for the far end's BYE after our last NOTIFY; then it is ours
log = structlog.get_logger("trunkline.sip.refer")


def _talks(call: GatewayCall) -> bool:
    """Answered, and with us: asked of pjsip, since its ACK may still wait to be told."""
    return call.partner is None and call.getInfo().state == CONFIRMED


class Referrals:
    """One per gateway. `decide` runs inside pjsua's callback, everything else after the poll."""

    def __init__(
        self,
        registry: Registry,
        accounts: Accounts,
        journal: Journal,
        count: Callable[[str], None],
        allowed: tuple[str, ...],
        room: Callable[[], bool],
    ) -> None:
        """allowed: who may be called; room: whether there is any for one call more."""
        self._registry = registry
        self._accounts = accounts
        self._journal = journal
        self._count = count
        self._allowed = allowed
        self._room = room

    def decide(self, call: GatewayCall, request: str) -> Referral:
        """At once: pjsua dials when this has returned 202. The new call's INVITE is in the journal by then."""
        leg = self._registry.legs.get(call.number)
        if leg is None or leg.link is None or leg.ending is not None or not _talks(call):
            return Referral(refer.DECLINED)
        if leg.refers is not None:
            return Referral(refer.PENDING)
        verdict = refer.judge(SipText.of(request), self._allowed, self._hosts(leg))
        if verdict.code == refer.ACCEPTED and not self._room():
            verdict = refer.Verdict(refer.FULL, why="no room")
        if verdict.code != refer.ACCEPTED:
            log.warning("refer.refused", call=leg.number, code=verdict.code, reason=verdict.why)
            return Referral(verdict.code)
        child = self._child(leg, verdict.target)
        return Referral(refer.ACCEPTED, child)

    def _hosts(self, leg: Leg) -> set[str]:
        """Where a number is one that the far end's own trunk would dial."""
        trunk = self._accounts.trunks.get(leg.trunk)
        if trunk is not None:
            return {host_port(trunk.host)[0]}
        return {host_port(leg.source or (leg.invite.target if leg.invite else ""))[0]} - {""}

    def _child(self, leg: Leg, target: str) -> ReferredCall:
        def leaves(call_id: str) -> None:
            child.call_id = call_id
            self._journal.note(dialogs.Invite(call_id))

        call = ReferredCall(leg.call.account, leg.call.queue, self._registry.number(), leaves)
        child = Leg(call.number, call, False, "", leg.trunk, referrer=leg, target=target)
        leg.refers = child
        self._registry.add(child)
        return call

    # -- after the poll

    def asked(self, leg: Leg, event: ReferAsked, now: float) -> None:
        """It was answered, and the target was dialled, or could not be."""
        child = self._registry.legs.get(event.child)
        if child is None:
            self._count("refer_refused")
            return
        self._count("refer_followed")
        child.deadline = now + RING_S
        log.info("refer.followed", call=leg.number, to=child.number)
        if child.call.getId() < 0:  # pjsua could not even send it, and has said so
            self.failed(child)
        elif leg.link is not None and not leg.held:
            leg.link.send(wire.Held(leg.number, on=True))

    def failed(self, child: Leg) -> None:
        """The target did not answer: what was goes on."""
        leg, child.referrer = child.referrer, None
        self._count("refer_failed")
        self._journal.note(dialogs.Over(child.call_id))
        self._registry.destroy(child)
        if leg is None:
            return
        leg.refers = None
        if leg.link is not None and not leg.held:
            leg.link.send(wire.Held(leg.number, on=False))

    def arrived(self, child: Leg, now: float) -> None:
        """The target is there. The far end says BYE when it has read our last NOTIFY."""
        leg = child.referrer
        if leg is not None:
            self.adopt(leg, child)
            leg.goodbye_at = now + LEAVE_S

    def adopt(self, leg: Leg, child: Leg) -> None:
        """The worker's call is `child` from now on."""
        leg.refers = child.referrer = None
        link, leg.link = leg.link, None
        if link is None:
            return
        with suppress(pj.Error):  # a stream that is gone hears nothing
            leg.call.unwire()
        leg.call.port, child.call.port = None, leg.call.port
        child.link, child.taken, child.was_up = link, True, True
        link.calls.discard(leg.number)
        link.calls.add(child.number)
        self._registry.move(leg.number, child.number)
        link.send(wire.Moved(leg.number, child.number, child.target))
        if child.media:
            child.call.wire()
