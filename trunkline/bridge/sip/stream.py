"""A stream's figures, asked of pjsua while it is there: in the callback of a call's end, they go right after it."""

import re
from dataclasses import dataclass
from typing import Any, Final

import pjsua2 as pj

from trunkline.bridge.sip.messages import Quality
from trunkline.bridge.sip.outcomes import mos

_SRTP: Final = re.compile(r"SRTP status: *Active +Crypto-suite: *(\S+)")  # in `dump`, the one place where pjsua2 tells


@dataclass(frozen=True, slots=True)
class Negotiated:
    """What both sides agreed on."""

    codec: str  # "PCMU/8000"
    srtp: str  # its suite, "AES_CM_128_HMAC_SHA1_80"; "": none
    digits: bool  # RFC 4733
    remote: str


def negotiated(call: Any, index: int) -> Negotiated | None:
    """Of the stream that is there; None without one."""
    try:
        stream = call.getStreamInfo(index)
    except pj.Error:
        return None
    suite = _SRTP.search(call.dump(True, ""))
    return Negotiated(
        f"{stream.codecName}/{stream.codecClockRate}",
        suite[1] if suite else "",
        stream.audTxEventPt >= 0,
        stream.remoteRtpAddress,
    )


def quality(call: Any, number: int, index: int) -> Quality | None:
    """Of the stream so far, `index` being the audio's in the SDP; None without one."""
    if index < 0:
        return None
    try:
        stream, stat = call.getStreamInfo(index), call.getStreamStat(index)
    except pj.Error:
        return None
    received, sent, jitter = stat.rtcp.rxStat, stat.rtcp.txStat, stat.jbuf
    rtt, codec = stat.rtcp.rttUsec.last / 1000, stream.codecName
    expected = received.pkt + received.loss
    gone = received.loss + jitter.discard  # what came too late was not heard either
    loss = min(1.0, gone / expected) if expected else 0.0
    return Quality(
        number,
        codec,
        received.pkt,
        received.loss,
        received.jitterUsec.mean / 1000,
        sent.pkt,
        sent.loss,
        sent.jitterUsec.mean / 1000,
        rtt,
        float(jitter.avgDelayMsec),
        mos(loss, rtt / 2 + jitter.avgDelayMsec + 20, codec=codec),
    )
