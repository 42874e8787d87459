"""A REFER that comes within a call: do we call its target, and what is answered if not? Pure.

RFC 3515 (one Refer-To, 2.4.2), RFC 3261 19.1 (a URI's parts), RFC 3891 (Replaces). pjsua dials whatever address stands
there, headers, `maddr` and all; so only a plain address is let through, and only one that the operator has named.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from trunkline.bridge.sip.sip_text import Address, SipText, host_port
from trunkline.bridge.targets import may_transfer

ACCEPTED: Final = 202
BAD: Final = 400
PENDING: Final = 491  # another REFER of this call is being followed
DECLINED: Final = 603
FULL: Final = 503
_HARMLESS: Final = ("transport=udp", "transport=tcp", "transport=tls", "user=phone", "user=ip", "lr")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`code` is answered; `target` is dialled when it is 202."""

    code: int
    target: str = ""
    why: str = ""  # for the log


def judge(text: SipText, allowed: Sequence[str], hosts: Collection[str]) -> Verdict:
    """allowed: as for transfers of our own; hosts: those of the caller's trunk, at which a number is a number."""
    named = text.all("refer-to")
    if len(named) != 1:
        return Verdict(BAD, why="there must be one Refer-To")
    uri = Address.of(named[0]).uri
    scheme, colon, rest = uri.partition(":")
    if not colon or not rest or any(not " " < c < "\x7f" or c in '<>"' for c in uri):
        return Verdict(BAD, why="Refer-To is no address")
    if scheme.lower() not in ("sip", "sips"):
        return Verdict(DECLINED, why=f"{scheme}: addresses are not followed")
    if not host_port(uri)[0]:
        return Verdict(BAD, why="Refer-To names no host")
    return _judge(uri, allowed, hosts)


def _judge(uri: str, allowed: Sequence[str], hosts: Collection[str]) -> Verdict:
    address, question, _ = uri.partition("?")
    if question:  # Replaces (RFC 3891) takes over a call that is not ours to judge; other headers are somebody's words
        return Verdict(DECLINED, why="an address with headers is not followed")
    address, _, parameters = address.partition(";")
    if any(one.lower() not in _HARMLESS for one in parameters.split(";") if one):
        return Verdict(DECLINED, why="an address with such parameters is not followed")
    user, at, _ = address.partition(":")[2].rpartition("@")
    own = at and host_port(address)[0].lower() in {host.lower() for host in hosts}
    if may_transfer(address, allowed) or (own and may_transfer(user, allowed)):
        return Verdict(ACCEPTED, uri)
    return Verdict(DECLINED, why="not in [sip] allow_transfer_to")
