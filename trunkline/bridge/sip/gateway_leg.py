"""One call in the gateway: what is known of it, and what can be done to it. Choosing is `gateway`'s."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pjsua2 as pj

from trunkline.bridge.sip import messages as wire
from trunkline.bridge.sip.callbacks import GatewayCall
from trunkline.bridge.sip.dialogs import Invite
from trunkline.bridge.sip.hub import WorkerLink
from trunkline.bridge.sip.ports import RingPort
from trunkline.bridge.sip.sip_text import SipText
from trunkline.bridge.sip.stream import Negotiated

By = Literal["far", "us", "gateway"]
SAME_KEY_S: Final = 1.0  # a key told by RFC 4733 and by INFO is one key
PAUSE_S: Final = 0.5  # a "," among keys
KEY_S: Final = 0.25  # a key with its gap
MOST_KEYS: Final = 100  # at a time, and runs of them that wait


@dataclass(slots=True)
class Leg:
    """Owned by the gateway's registry from the INVITE to its destruction."""

    number: int
    call: GatewayCall
    inbound: bool
    call_id: str
    trunk: str = ""
    text: SipText = field(default_factory=lambda: SipText(""))  # the INVITE that came
    source: str = ""
    link: WorkerLink | None = None  # to whom it is on offer, or who has taken it
    taken: bool = False
    refused_by: set[int] = field(default_factory=set)  # ids of links that have had their chance
    offer: wire.Offer | None = None
    deadline: float | None = None  # of the offer, or of the ringing
    answered: bool = False
    told_up: bool = False
    told_gone: bool = False
    media: bool = False
    stream: Negotiated | None = None
    invite: Invite | None = None  # of ours, as it went out
    held: bool = False
    by: By = "far"
    code: int = 0  # to be told instead of pjsip's
    note: str = ""
    headers: dict[str, str] = field(default_factory=dict)  # of the far end's 200
    rx_packets: int = -1
    rx_changed: float = 0.0
    referred_at: float | None = None  # the far end took our REFER then; its last word on it has not come
    quality_at: float = 0.0
    quality: wire.Quality | None = None
    last_key: tuple[str, bool, float] = ("", False, -10.0)
    keys: list[tuple[float, str, str]] = field(default_factory=list)  # due, digits, method
    can: tuple[bool, bool] = (True, False)  # REFER, Replaces: by what the far end said
    confirmed: bool = False  # the ACK is there
    reason: str = ""  # to be told instead of pjsip's
    ending: float | None = None  # seconds left for the far end's word on our BYE, once it was said
    looked: float = 0.0
    refers: "Leg | None" = None  # the call that its REFER has made, until the target is there or is not
    referrer: "Leg | None" = None  # the other way round
    target: str = ""  # of a call that a REFER has made
    was_up: bool = False  # its worker's call was answered before it was this one
    goodbye_at: float = float("inf")  # it has handed the call on: BYE, if it says none itself


def operation(code: int = 0, reason: str = "", headers: Iterable[tuple[str, str]] = ()) -> Any:
    """A `CallOpParam`: audio only."""
    prm = pj.CallOpParam(True)
    prm.statusCode, prm.reason = code, reason
    prm.opt.audioCount, prm.opt.videoCount, prm.opt.textCount = 1, 0, 0
    add_headers(prm.txOption, headers)
    return prm


def add_headers(option: Any, headers: Iterable[tuple[str, str]]) -> None:
    """Line ends cannot get in: what follows one would be a header of somebody else's choice."""
    for name, value in headers:
        header = pj.SipHeader()
        header.hName, header.hValue = _one_line(name), _one_line(value)
        if header.hName:
            option.headers.append(header)


def _one_line(text: str) -> str:
    return "".join(character for character in text if character >= " " and character != "\x7f")


def attach(leg: Leg, link: WorkerLink, slot: int) -> None:
    """Rings for it, in that worker's memory. Raises IndexError for a slot that is none."""
    assert link.memory is not None
    memory = link.memory
    leg.call.port = RingPort(f"call{leg.number}", memory.layout.rate, memory.slot(slot))


def silence(leg: Leg) -> None:
    """No frame of it moves any more once this returns; the worker may use the slot again."""
    port, leg.call.port = leg.call.port, None
    if port is not None:
        port.destroy()


def hang_up(leg: Leg, code: int = 0, headers: Iterable[tuple[str, str]] = (), reason: str = "") -> None:
    """A final answer, CANCEL or BYE, by its state; nothing for a call that is over, whose number may be another's."""
    if not leg.call.over:
        with suppress(pj.Error):
            leg.call.hangup(operation(code, reason, headers))


def key_of(leg: Leg, key: str, info: bool, now: float) -> wire.Digit | None:
    """A key that was pressed; None when it is the same one, told the other way."""
    last, was_info, at = leg.last_key
    if key == last and info != was_info and now - at < SAME_KEY_S:
        return None
    leg.last_key = (key, info, now)
    return wire.Digit(leg.number, key, "info" if info else "rfc4733")


def keep_keys(leg: Leg, message: wire.SendDigits, now: float) -> bool:
    """For `send_keys`, each run when it is due. False: there is no room for all of them."""
    method: str = message.method
    if method == "auto":
        method = "rfc4733" if leg.stream is not None and leg.stream.digits else "info"
    due = max([now, *(at for at, _, _ in leg.keys)])
    for part in message.digits[:MOST_KEYS].replace(",", " , ").split():
        if len(leg.keys) >= MOST_KEYS:
            return False
        if part == ",":
            due += PAUSE_S
            continue
        leg.keys.append((due, part, method))
        due += KEY_S * len(part)
    return True


def send_keys(leg: Leg, digits: str, method: str) -> None:
    """A run of keys without pauses. Raises pj.Error when the far end can take neither kind."""
    prm = pj.CallSendDtmfParam()
    prm.digits, prm.duration = digits, 160
    prm.method = pj.PJSUA_DTMF_METHOD_RFC2833 if method == "rfc4733" else pj.PJSUA_DTMF_METHOD_SIP_INFO
    leg.call.sendDtmf(prm)
