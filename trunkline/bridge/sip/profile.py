"""SIP's facts as a leg sees them: audio, who calls whom, which code an end has, which outcome a code. Pure."""

from collections.abc import Mapping
from typing import Final

from trunkline.bridge.leg import LegInfo
from trunkline.bridge.sip.messages import Dial, Gone, Offer, Quality
from trunkline.bridge.sip.outcomes import of_refusal
from trunkline.bridge.sip.ring import FRAME_MS
from trunkline.bridge.telephony import LineQuality
from trunkline.codecs.codec import Codec
from trunkline.codecs.l16 import L16_8K, L16_16K
from trunkline.outcome import EndCause, Outcome

CARRIER: Final = "sip"
LEAD_S: Final = 0.04  # one frame being taken, one to spare (DESIGN 4.4)
CODECS: Final[Mapping[int, Codec]] = {8000: L16_8K, 16_000: L16_16K}  # by the rings' rate

CODES: Final[Mapping[EndCause, int]] = {
    EndCause.BUSY: 486,
    EndCause.ADMISSION: 503,
    EndCause.DRAINED: 503,
    EndCause.REJECTED: 603,
    EndCause.NO_ANSWER: 480,
    EndCause.PROVIDER_FAILED: 503,
    EndCause.INTERNAL: 500,
}
"""Of the answer to an INVITE that we end before it was answered; 480 for what is not here. After it there is BYE."""

_GATEWAY_ENDS: Final[Mapping[str, Outcome]] = {
    "media timeout": Outcome(EndCause.MEDIA_LOST, "carrier", "media timeout"),
    "session timer": Outcome(EndCause.MEDIA_LOST, "carrier", "session timer"),
    "longest call": Outcome(EndCause.TOO_LONG, "nobody", "longest call"),
    "ring time": Outcome(EndCause.NO_ANSWER, "callee", "no answer"),
}
GATEWAY_LOST: Final = Outcome(EndCause.MEDIA_LOST, "us", "gateway lost")
STALLED: Final = Outcome(EndCause.MEDIA_LOST, "us", "stalled")


def code_for(cause: EndCause) -> int:
    """The final answer to an INVITE that is ended for this cause before it was answered."""
    return CODES.get(cause, 480)


def of_gone(gone: Gone, *, inbound: bool, overrides: Mapping[int, EndCause] | None = None) -> Outcome:
    """The outcome of a call that we did not end. overrides: the trunk's own meanings of codes."""
    if gone.by == "gateway":
        named = _GATEWAY_ENDS.get(gone.note)
        return named or Outcome(EndCause.MEDIA_LOST, "us", gone.note or f"{gone.code} {gone.reason}".strip())
    if gone.answered:
        if gone.code >= 300:  # a request within the call was refused: 408, 481
            return Outcome(EndCause.MEDIA_LOST, "carrier", f"{gone.code} {gone.reason}".strip())
        return Outcome(EndCause.COMPLETED, "caller" if inbound else "callee", gone.reason or "BYE")
    if inbound:
        return Outcome(EndCause.ABANDONED, "caller", f"{gone.code} {gone.reason}".strip())
    if gone.by == "us":
        return Outcome(EndCause.CANCELED, "us", f"{gone.code} {gone.reason}".strip())
    return of_refusal(gone.code, gone.reason, overrides)


def called(offer: Offer) -> tuple[str, ...]:
    """What an INVITE asks for, most exact first: the request's user (a DID, an extension), then the one of To."""
    scheme, _, rest = offer.request_uri.partition(":")
    user = rest.split("@", 1)[0] if "@" in rest else ""
    if scheme.lower() == "tel":
        user = rest
    user = user.split(";", 1)[0].split(":", 1)[0]
    return tuple(dict.fromkeys(number for name in (user, offer.to) if (number := plain(name))))


def plain(number: str) -> str:
    """A number as it is routed and shown: `+` for 00, no separators; a name stays as it is."""
    stripped = number.strip()
    digits = stripped.translate(_SEPARATORS)
    if not digits.lstrip("+").isdecimal() or not digits.isascii():
        return stripped
    return f"+{digits[2:]}" if digits.startswith("00") and len(digits) > 8 else digits


_SEPARATORS: Final = str.maketrans("", "", " -.()")


def inbound(offer: Offer, to: str, rate: int) -> LegInfo:
    """The facts of a call that is offered, for `to`."""
    context = dict(offer.headers)
    if offer.display:
        context["caller_name"] = offer.display
    if offer.trunk:
        context["trunk"] = offer.trunk
    return LegInfo(
        direction="inbound",
        from_=plain(offer.from_),
        to=to,
        carrier=CARRIER,
        codec=CODECS[rate],
        frame_ms=FRAME_MS,
        lead_s=LEAD_S,
        carrier_ref=offer.call_id,
        parameters=context,
    )


def outbound(dial: Dial, call_id: str, rate: int) -> LegInfo:
    """The facts of a call that we placed."""
    return LegInfo(
        direction="outbound",
        from_=dial.from_,
        to=dial.to,
        carrier=CARRIER,
        codec=CODECS[rate],
        frame_ms=FRAME_MS,
        lead_s=LEAD_S,
        carrier_ref=call_id,
        parameters={"trunk": dial.trunk} if dial.trunk else {},
    )


def line_quality(told: Quality, srtp: str = "") -> LineQuality:
    """The gateway's figures as those of a line. srtp: as `Up` told."""
    return LineQuality(
        told.codec, told.rx_packets, told.rx_lost, told.rx_jitter_ms, told.tx_lost, told.rtt_ms, told.mos, srtp
    )


def target_uri(target: str, domain: str = "") -> str:
    """A transfer's target as a SIP URI: as it stands, or a number at `domain`. Raises ValueError."""
    text = target.strip()
    if text.lower().startswith(("sip:", "sips:", "tel:")):
        if any(not " " < c < "\x7f" or c in '<>"' for c in text):
            raise ValueError(f"{target!r}: characters that a SIP URI cannot have")
        return text
    number = _user(text)
    return f"sip:{number}@{domain}" if domain else f"tel:{number}"


def trunk_target(target: str) -> str:
    """The same for a call by a trunk, which knows its own domain: a SIP URI, or a number. Raises ValueError."""
    text = target.strip()
    if text.lower().startswith("tel:"):
        text = text[4:]
    return target_uri(text) if text.lower().startswith(("sip:", "sips:")) else _user(text)


def _user(text: str) -> str:
    number = plain(text)
    if not number or not all(c.isascii() and (c.isalnum() or c in "+*#_.-") for c in number):
        raise ValueError(f"{text!r}: must be a number or a SIP URI")
    return number.replace("#", "%23")
