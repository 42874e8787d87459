"""A line on which nothing comes: is it lost, or has its far end gone where our REFER sent it? Pure.

A far end that takes a REFER need not talk to us any more: RFC 3515 has it send a NOTIFY at once, but some tell nothing
until the target speaks. So from its 202 on silence is no loss, until its last NOTIFY, its BYE, or `refer_s` after the
202: how long the subscription lasts would stand in the NOTIFY that has not come. What a line without a word is worth
then goes by what is heard: nothing for a while, and the far end is with the target, unconfirmed; anything, and it is
still with us.
"""

from trunkline.bridge.sip import messages as wire
from trunkline.bridge.sip.gateway_leg import Leg
from trunkline.bridge.sip.options import Options


def referred(leg: Leg, now: float, *, final: bool) -> None:
    """Our REFER goes on, or is over: then whoever comes back has the time of a fresh line to be heard."""
    if not final:
        leg.referred_at = now if leg.referred_at is None else leg.referred_at
    elif leg.referred_at is not None:
        leg.referred_at, leg.rx_changed = None, now


def lost(leg: Leg, packets: int, now: float, timeout_s: float) -> bool:
    """Each second of a call that is up. packets: heard so far; timeout_s: 0: silence is never a loss."""
    if packets != leg.rx_packets or leg.held or leg.refers is not None:
        leg.rx_packets, leg.rx_changed = packets, now
        return False
    return leg.referred_at is None and timeout_s > 0 and now - leg.rx_changed >= timeout_s


def no_word(leg: Leg, now: float, options: Options) -> wire.ReferProgress | None:
    """Our own last word on a REFER, once it is due."""
    if leg.referred_at is None or now - leg.referred_at < options.refer_s:
        return None
    enough_s = min(options.media_timeout_s, options.refer_s / 2)
    gone = enough_s > 0 and now - leg.rx_changed >= enough_s
    referred(leg, now, final=True)
    if gone:
        return wire.ReferProgress(leg.number, wire.UNCONFIRMED, "unconfirmed: no word, and nobody is heard", final=True)
    return wire.ReferProgress(leg.number, 408, f"no word of it within {options.refer_s:g} s", final=True)
