"""What a call's end on SIP means: status codes to `Outcome`, and a stream's figures to an estimate of MOS. Pure.

RFC 3261 section 21 names the codes; what a carrier uses them for is its own affair, so every trunk may override.
"""

from collections.abc import Mapping
from typing import Final

from trunkline.outcome import EndCause, Fault, Outcome

_Meaning = tuple[EndCause, Fault]

BUSY: Final[_Meaning] = (EndCause.BUSY, "callee")
NO_ANSWER: Final[_Meaning] = (EndCause.NO_ANSWER, "callee")
REJECTED: Final[_Meaning] = (EndCause.REJECTED, "callee")
CARRIER: Final[_Meaning] = (EndCause.CARRIER_FAILED, "carrier")
OURS: Final[_Meaning] = (EndCause.CARRIER_FAILED, "us")

MEANINGS: Final[Mapping[int, _Meaning]] = {
    400: OURS,  # bad request
    401: OURS,  # our credentials
    402: OURS,  # payment required
    403: CARRIER,  # the trunk forbids it
    404: REJECTED,  # no such number
    405: OURS,
    406: OURS,
    407: OURS,
    408: NO_ANSWER,
    410: REJECTED,  # gone
    413: OURS,
    415: OURS,
    420: OURS,
    480: NO_ANSWER,  # temporarily unavailable: the telephone is off
    481: CARRIER,
    482: CARRIER,  # loop
    483: CARRIER,  # too many hops
    484: REJECTED,  # address incomplete
    485: REJECTED,  # ambiguous
    486: BUSY,
    487: (EndCause.CANCELED, "us"),
    488: OURS,  # no common codec
    491: CARRIER,
    600: BUSY,
    603: REJECTED,
    604: REJECTED,
    606: OURS,
    607: REJECTED,  # unwanted (RFC 8197)
    608: REJECTED,  # rejected by an analytics engine (RFC 8688)
}
"""Final answers to an INVITE of ours. 4xx not listed: the carrier's fault, as are 5xx."""


def of_refusal(code: int, reason: str, overrides: Mapping[int, EndCause] | None = None) -> Outcome:
    """The outcome of an INVITE of ours that ended without an answer. code: the final status, 0 for none at all."""
    word = f"{code} {reason}".strip() if code else "no answer to the INVITE"
    cause, fault = MEANINGS.get(code, REJECTED if code >= 600 else CARRIER)
    if overrides and code in overrides:
        cause = overrides[code]
        fault = _fault(cause, fault)
    return Outcome(cause, fault, word)


def _fault(cause: EndCause, default: Fault) -> Fault:
    if cause in (EndCause.BUSY, EndCause.NO_ANSWER, EndCause.REJECTED, EndCause.MACHINE):
        return "callee"
    return "carrier" if cause is EndCause.CARRIER_FAILED else default


def mos(loss: float, delay_ms: float, *, codec: str = "PCMU") -> float:
    """An estimate of the mean opinion score, 1 to 4.5, by the E-model (ITU-T G.107) cut down to what we know.

    loss: share of frames lost, 0..1, after the jitter buffer; delay_ms: one way, mouth to ear, as far as known. The
    equipment impairment and its robustness against loss are those of G.113 (Appendix I) with concealment.
    """
    impairment, robustness = _IMPAIRMENT.get(codec.upper(), (0.0, 25.1))
    delay = 0.024 * delay_ms + (0.11 * (delay_ms - 177.3) if delay_ms > 177.3 else 0.0)
    percent = 100.0 * min(max(loss, 0.0), 1.0)
    rating = 93.2 - delay - (impairment + (95.0 - impairment) * percent / (percent + robustness))
    if rating <= 0:
        return 1.0
    if rating >= 100:
        return 4.5
    return round(1 + 0.035 * rating + rating * (rating - 60) * (100 - rating) * 7e-6, 2)


_IMPAIRMENT: Final[Mapping[str, tuple[float, float]]] = {
    "PCMU": (0.0, 25.1),
    "PCMA": (0.0, 25.1),
    "L16": (0.0, 25.1),
    "G722": (0.0, 25.1),
    "OPUS": (0.0, 20.0),
}
