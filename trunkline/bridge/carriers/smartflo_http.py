"""Smartflo over HTTP: the dynamic endpoint it asks for a socket address, and the web hooks its operators type. Pure.

Source: docs.smartflo.tatatelebusiness.com, "dynamic and static websocket options" and "webhook".
"""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import msgspec

from trunkline.bridge import json_dialect as js
from trunkline.bridge.carrier_http import CallQuestion, CarrierHttp, CarrierRequest, Document, Ways
from trunkline.bridge.numbers import indian, ours
from trunkline.bridge.webhook import CallStatus, WebhookFact, fact_id, pairs
from trunkline.config import Smartflo as SmartfloSettings
from trunkline.errors import ProtocolError

CARRIER = "smartflo"
ANSWER_WITHIN_S = 2.0  # later than this and the call fails
MOST_ADDED = 4096  # characters of all parameters in the address that is answered
MOST_TOLD = 16  # names of parameters that were left out, for the log
SHOWN = 100  # characters of such a name

_CALL = ("call_id", "callId", "callSid", "call_sid", "uuid")
_REF = ("ref_id", "refId")
_EVENT = ("event", "event_type", "eventType", "trigger", "type")
_FROM = ("fromNumber", "from_number", "from", "caller_id_number", "callerNumber")
_TO = ("toNumber", "to_number", "to", "call_to_number", "did")
_CUSTOMER = (
    "customer_number_with_prefix",
    "customer_no_with_prefix",
    "customer_number",
    "phone_number",
    "destination_number",
)
_STAMPS = ("start_stamp", "answer_stamp", "end_stamp", "digits_dialed", "digits", "timestamp")
_CAUSES: Mapping[str, CallStatus] = {
    "user_busy": "busy",
    "busy": "busy",
    "17": "busy",
    "call_rejected": "rejected",
    "rejected": "rejected",
    "21": "rejected",
    "originator_cancel": "canceled",
    "cancel": "canceled",
    "487": "canceled",
    "no_answer": "no_answer",
    "no_user_response": "no_answer",
    "allotted_timeout": "no_answer",
    "timeout": "no_answer",
    "normal_clearing": "no_answer",  # with "Missed": rang until somebody gave up
    "18": "no_answer",
    "19": "no_answer",
    "16": "no_answer",
    "": "no_answer",
}


def http(settings: SmartfloSettings) -> CarrierHttp:
    """The carrier's row. It signs nothing, so the shared secret decides who may ask."""

    def webhook(request: CarrierRequest) -> WebhookFact:
        return webhook_fact(request.body, request.content_type, request.query, dids=settings.dids)

    return CarrierHttp(name=CARRIER, question=_question, connect=_connect, busy=_busy, webhook=webhook)


def _question(request: CarrierRequest) -> CallQuestion:
    return endpoint_request(request.query, request.body, request.content_type)


def _connect(asked: CallQuestion, ways: Ways) -> Document:
    return _json(endpoint_answer(ways.socket, asked.parameters))


def _busy(asked: CallQuestion, why: str) -> Document:
    return _json({"success": False, "message": why})


def _json(body: Mapping[str, object]) -> Document:
    return Document(msgspec.json.encode(body), "application/json")


def endpoint_request(query: Mapping[str, str], body: bytes = b"", content_type: str = "") -> CallQuestion:
    """The dynamic endpoint's request, GET or POST. Total: a call must not fail for an odd body, so that is left out."""
    try:
        found = pairs(body, content_type, query)
    except ProtocolError:
        found = pairs(b"", "", query)
    known = {*_CALL, *_FROM, *_TO, "status", "call_status"}
    given = {key: value for key, value in found.items() if key not in known}
    parameters = _carried(given)
    return CallQuestion(
        call_ref=_first(found, _CALL)[: js.MAX_ID],
        from_=indian(_first(found, _FROM)[: js.MAX_ID]),
        to=indian(_first(found, _TO)[: js.MAX_ID]),
        status=_first(found, ("status", "call_status"))[: js.MAX_ID],
        parameters=parameters,
        left_out=tuple(key[:SHOWN] for key in given if key not in parameters)[:MOST_TOLD],
    )


def _carried(given: Mapping[str, str]) -> dict[str, str]:
    """What fits into an address that comes back as one line of a handshake (8 kB at most HTTP servers)."""
    fitting: dict[str, str] = {}
    room = MOST_ADDED
    for key, value in given.items():
        size = len(urlencode({key: value})) + 1
        if key and len(key) <= js.MAX_ID and len(value) <= js.MAX_VALUE and size <= room:
            if len(fitting) == js.MAX_PARAMETERS:
                break
            fitting[key] = value
            room -= size
    return fitting


def endpoint_answer(wss_url: str, parameters: Mapping[str, str] | None = None) -> dict[str, object]:
    """The body to answer with, status 200. parameters: added to the address; they reach the socket's handshake."""
    parts = urlsplit(wss_url)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), *(parameters or {}).items()])
    return {"success": True, "wss_url": urlunsplit(parts._replace(query=query))}


def webhook_fact(
    body: bytes, content_type: str = "", query: Mapping[str, str] | None = None, *, dids: Sequence[str] = ()
) -> WebhookFact:
    """A web hook, whatever its template: JSON, form or query; `$` before names or not; the earlier bodies too.

    Raises ProtocolError, naming what is missing, when it is unreadable or says neither which call nor what happened.
    """
    found = pairs(body, content_type, query)
    call, ref, event = _first(found, _CALL), _first(found, _REF), _word(_first(found, _EVENT))
    if not call and not ref:
        raise ProtocolError("web hook: names no call; expected call_id, uuid or ref_id", peer=CARRIER, data=body)
    status = _status(event, found)
    if not event and not status:
        raise ProtocolError("web hook: says not what happened; expected event or call_status", peer=CARRIER, data=body)
    from_, to = _numbers(found, dids)
    return WebhookFact(
        carrier=CARRIER,
        fact_id=fact_id(CARRIER, call, ref, event, status, *(found.get(stamp, "") for stamp in _STAMPS)),
        call_ref=call,
        ref_id=ref,
        event=event or status,
        status=status,
        from_=from_,
        to=to,
        duration_s=_seconds(_first(found, ("billsec", "duration", "call_duration"))),
        parameters=_parameters(found),
        raw=found,
    )


def _first(found: Mapping[str, str], names: Sequence[str]) -> str:
    return next((found[name] for name in names if name in found), "")


def _word(event: str) -> str:
    """ "Call hangup (Missed)" → "call_hangup_missed"."""
    return "_".join("".join(c if c.isalnum() else " " for c in event.lower()).split())[: js.MAX_ID]


def _status(event: str, found: Mapping[str, str]) -> CallStatus:
    """The state of the call after this event : operators name events, with the words of Tata's triggers."""
    said = _word(found.get("call_status", found.get("status", "")))
    if any(word in event for word in ("dtmf", "digit", "disposition")):
        return ""
    if any(word in event for word in ("hangup", "hang_up", "missed", "ended", "completed", "disconnect")):
        return _ended(event, said, found)
    if "answered" in event or event in ("answer", "connected") or "connected_to_agent" in event:
        return "answered"
    if any(word in event for word in ("ringing", "dialed", "received", "initiated")):
        return "ringing"
    return _said(said, found)


def _said(said: str, found: Mapping[str, str]) -> CallStatus:
    """Where the event says nothing of the state: the call's own status."""
    if said in ("answered", "missed"):
        over = said == "missed" or "end_stamp" in found or "hangup_cause_key" in found
        return _ended("", said, found) if over else "answered"
    return "ringing" if said == "ringing" else ""


def _ended(event: str, said: str, found: Mapping[str, str]) -> CallStatus:
    missed, answered = "missed" in event, "answered" in event
    if missed == answered:  # the event names neither, or both
        missed = said in ("missed", "no_answer", "busy", "failed") or (not said and found.get("billsec") == "0")
    if not missed:
        return "completed"
    cause = _word(_first(found, ("hangup_cause_key", "hangup_cause_code", "hangup_cause", "reason_key")))
    return _CAUSES.get(cause.removeprefix("hangup_cause_"), "failed")


def _numbers(found: Mapping[str, str], dids: Sequence[str]) -> tuple[str, str]:
    """(from, to) in E.164. The customer is whichever is not one of ours; Tata names him apart."""
    from_, to, customer = (indian(_first(found, names)) for names in (_FROM, _TO, _CUSTOMER))
    outbound = _word(found.get("direction", "")) in ("outbound", "outgoing", "clicktocall", "click_to_call", "2")
    if customer and outbound:
        return (from_ if from_ != customer else to), customer
    if customer:
        return customer, (to if to != customer else from_)
    if ours(to, dids) and not ours(from_, dids) and outbound:
        return to, from_
    return from_, to


def _seconds(value: str) -> float | None:
    """ "75" and "00:01:15" are 75 s."""
    try:
        seconds = 0.0
        for part in value.split(":"):
            seconds = seconds * 60 + float(part)
    except ValueError:
        return None
    return seconds if 0 <= seconds < 1e7 else None


def _parameters(found: Mapping[str, str]) -> Mapping[str, str]:
    identifier = found.get("custom_identifier", found.get("customIdentifier"))
    return {} if identifier is None else js.parameters({"custom_identifier": identifier})
