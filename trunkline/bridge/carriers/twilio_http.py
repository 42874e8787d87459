"""Twilio over HTTP: TwiML that connects a call to its socket, status callbacks, and signatures of all of it. Pure.

Source: twilio.com/docs: voice/twiml/stream, voice/twiml (request parameters), usage/webhooks/webhooks-security.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import parse_qs, parse_qsl, urlsplit, urlunsplit
from xml.sax.saxutils import escape, quoteattr

from trunkline.bridge import json_dialect as js
from trunkline.bridge.carrier_http import CallQuestion, CarrierHttp, CarrierRequest, Document, Ways
from trunkline.bridge.carriers.twilio import NAME
from trunkline.bridge.numbers import international
from trunkline.bridge.webhook import CallStatus, WebhookFact, fact_id, pairs
from trunkline.config import Twilio as TwilioSettings
from trunkline.errors import ProtocolError

SIGNATURE = "X-Twilio-Signature"
SETTINGS = "X-Twilio-Webhooks-Signature-Settings"  # names the algorithm, where it is not the old one
MAX_PARAMETER = 499  # characters of a custom parameter's name and value together
MAX_FIELDS = 1000
_DIGESTS = {"hmac_sha1": "sha1", "hmac_sha256": "sha256"}
_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_OURS = frozenset({"from", "to", "direction", "secret", "token", "ticket", "bodySHA256"})
_STATUSES: Mapping[str, CallStatus] = {
    "queued": "queued",
    "initiated": "queued",
    "ringing": "ringing",
    "in-progress": "answered",
    "answered": "answered",
    "completed": "completed",
    "busy": "busy",
    "no-answer": "no_answer",
    "failed": "failed",
    "canceled": "canceled",
}


def http(settings: TwilioSettings) -> CarrierHttp:
    """The carrier's row; with an auth token its signatures are demanded."""
    tokens = tuple(token for token in (settings.auth_token, settings.other_auth_token) if token)
    return CarrierHttp(
        name=NAME,
        question=question,
        connect=connect,
        busy=busy,
        webhook=webhook_fact,
        unsigned=(lambda request: unsigned(request, tokens)) if tokens else None,
        signature=SIGNATURE,
        invites=True,
    )


# -- signatures


def sign(token: str, url: str, fields: Iterable[tuple[str, str]] = (), digest: str = "sha1") -> str:
    """Twilio's signature of a request: base64 of the HMAC over the URL and the form's distinct fields, sorted."""
    text = url + "".join(name + value for name, value in sorted(set(fields)))
    return base64.b64encode(hmac.digest(token.encode(), text.encode("utf-8", "surrogatepass"), digest)).decode()


def unsigned(request: CarrierRequest, tokens: Sequence[str]) -> str:
    """What is wrong with the request's signature, in words that say what to check; "" when it is Twilio's.

    tokens: any of them may have made it. Takes the same time wherever two signatures differ.
    """
    given = request.header(SIGNATURE)
    if not given:
        return f"there is no header {SIGNATURE}: only Twilio may ask this, or whoever signs as Twilio does"
    if not request.url.startswith(tuple(f"{scheme}://" for scheme in _PORTS)):
        return "the address asked for is not one that Twilio would sign"
    digest = _DIGESTS.get(_algorithm(request.header(SETTINGS)))
    if digest is None:
        return f"{SETTINGS} names an algorithm unknown here; HMAC_SHA1 and HMAC_SHA256 are known"
    try:
        fields = _signed_fields(request)
    except ProtocolError as wrong:
        return str(wrong)
    expected = [sign(token, url, fields, digest) for token in tokens for url in spellings(request.url)]
    matches = [hmac.compare_digest(given.encode("utf-8", "replace"), one.encode()) for one in expected]
    if any(matches):
        return ""
    return (
        "the signature is not that of this request: check that [server] public_url is, with scheme, host and path, "
        "the address typed at Twilio, and [carriers.twilio] auth_token the account's primary token"
    )


def spellings(url: str) -> tuple[str, ...]:
    """The URL as it is, without a port, and with its scheme's own: Twilio signs one or the other."""
    parts = urlsplit(url)
    bare = re.sub(r":\d*$", "", parts.netloc)
    netlocs = (parts.netloc, bare, f"{bare}:{_PORTS.get(parts.scheme, 443)}")
    return tuple(dict.fromkeys((url, *(urlunsplit(parts._replace(netloc=netloc)) for netloc in netlocs))))


def _algorithm(header: str) -> str:
    named = dict(part.strip().partition("=")[::2] for part in header.split(","))
    return named.get("algorithm", "").strip().lower() or "hmac_sha1"


def _signed_fields(request: CarrierRequest) -> Sequence[tuple[str, str]]:
    """The form's fields; none where the body is vouched for by its hash in the query. Raises ProtocolError."""
    hashes = parse_qs(urlsplit(request.url).query).get("bodySHA256")
    if request.body and "form" not in request.content_type.lower():
        if not hashes:
            raise ProtocolError("a body that is no form must be vouched for by bodySHA256 in the query")
        if not hmac.compare_digest(hashlib.sha256(request.body).hexdigest().encode(), hashes[0].lower().encode()):
            raise ProtocolError("the body is not the one that bodySHA256 in the query vouches for")
        return ()
    if request.method == "GET":
        return ()
    try:
        text = request.body.decode("utf-8", "replace")
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise ProtocolError(f"the form has more than {MAX_FIELDS} fields") from error


# -- the answer document


def question(request: CarrierRequest) -> CallQuestion:
    """Twilio asks for TwiML. Its own names begin with a capital; the rest of the query the operator typed."""
    found = _found(request)
    typed = {name: value for name, value in request.query.items() if not name[:1].isupper() and name not in _OURS}
    fit = {name: value for name, value in typed.items() if _fits(name, value)}
    return CallQuestion(
        call_ref=found.get("CallSid", "")[: js.MAX_ID],
        from_=international(found.get("From", "")),
        to=international(found.get("To", "")),
        status=found.get("CallStatus", ""),
        direction=found.get("Direction", "")[: js.MAX_ID],
        parameters=fit,
        left_out=tuple(name[:80] for name in typed if name not in fit),
    )


def _found(request: CarrierRequest) -> dict[str, str]:
    try:
        return pairs(request.body, request.content_type, request.query)
    except ProtocolError:
        return pairs(b"", "", request.query)


def _fits(name: str, value: str) -> bool:
    return bool(name) and len(name) + len(value) <= MAX_PARAMETER and not _NOT_XML.search(name + value)


def connect(asked: CallQuestion, ways: Ways) -> Document:
    """TwiML that opens the two-way stream. `start` names nobody, so the numbers go along as parameters."""
    own = {"from": asked.from_, "to": asked.to, "direction": asked.direction}
    given = {**asked.parameters, **{name: value for name, value in own.items() if value and _fits(name, value)}}
    inside = "".join(f"<Parameter name={quoteattr(n)} value={quoteattr(v)}/>" for n, v in given.items())
    stream = f"<Stream url={quoteattr(ways.socket)} statusCallback={quoteattr(ways.webhook)}>{inside}</Stream>"
    return _twiml(f"<Connect>{stream}</Connect>")


def busy(asked: CallQuestion, why: str) -> Document:
    """TwiML for a call there is no room for: busy. One that we placed is answered already and can only be ended."""
    reason = f"<!-- {escape(_NOT_XML.sub('', why)).replace('--', '- -')} -->"
    return _twiml(reason + ("<Hangup/>" if asked.direction.startswith("outbound") else '<Reject reason="busy"/>'))


def _twiml(inside: str) -> Document:
    text = f'<?xml version="1.0" encoding="UTF-8"?><Response>{inside}</Response>'
    return Document(text.encode("utf-8", "replace"), "application/xml")


# -- callbacks


def webhook_fact(request: CarrierRequest) -> WebhookFact:
    """A status callback of a call or a stream, or the word of the answering machine detection.

    Raises ProtocolError, naming what is missing, when it names no call or says not what happened.
    """
    found = pairs(request.body, request.content_type, request.query)
    call, stream = found.get("CallSid", ""), found.get("StreamEvent", "")
    said, by = found.get("CallStatus", ""), found.get("AnsweredBy", "")
    if not call:
        raise ProtocolError("web hook: names no call; expected CallSid", peer=NAME, data=request.body)
    if not stream and not said and not by:
        raise ProtocolError(
            "web hook: says not what happened; expected CallStatus, StreamEvent or AnsweredBy",
            peer=NAME,
            data=request.body,
        )
    number = None if stream else js.whole(found.get("SequenceNumber"))
    event = stream or said or "answered-by"
    return WebhookFact(
        carrier=NAME,
        fact_id=_identity(found, event, number),
        call_ref=call,
        ref_id="",
        event=event.replace("-", "_")[: js.MAX_ID],
        status="" if stream else _STATUSES.get(said, ""),
        from_=international(found.get("From", "")),
        to=international(found.get("To", "")),
        duration_s=_seconds(found.get("CallDuration", "")),
        parameters={name: value for name, value in found.items() if not name[:1].isupper() and name not in _OURS},
        raw=found,
        sequence=number,
    )


def _identity(found: Mapping[str, str], event: str, number: int | None) -> str:
    """One statement, however often it comes: by stream and event, by call and number, else by all it says."""
    call = found.get("CallSid", "")
    if "StreamEvent" in found:
        return fact_id(NAME, call, found.get("StreamSid", ""), event, found.get("StreamError", ""))
    if number is not None:
        return fact_id(NAME, call, str(number), event)
    return fact_id(NAME, call, event, found.get("AnsweredBy", ""), found.get("Timestamp", ""))


def _seconds(value: str) -> float | None:
    number = js.whole(value)
    return float(number) if number is not None and number >= 0 else None
