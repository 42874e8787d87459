"""What carriers ask and tell over HTTP: what to do with a call (answer document), what became of it (web hooks).

Web hooks are hints (DESIGN 4.9): kept once, answered at once, and never the reason for a second anything.
"""

from collections.abc import Awaitable, Callable
from urllib.parse import quote, urlencode

import msgspec
import structlog
from aiohttp import web

from trunkline.api_base import Answer, Ask, Endpoint, Nothing, Refused, Row, read_body, refuse
from trunkline.api_desk import Desk, desk_of
from trunkline.bridge.carrier_http import CallQuestion, CarrierHttp, CarrierRequest, Document, Ways
from trunkline.bridge.webhook import WebhookFact
from trunkline.errors import AdmissionError, ProtocolError, StoreError

ENDPOINT = "/smartflo/endpoint"
SMARTFLO = "smartflo"
log = structlog.get_logger("trunkline.api")


class Taken(msgspec.Struct, frozen=True):
    """The web hook arrived. `known`: it was there before, and changed nothing."""

    status: str
    known: bool


class Where(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where the carrier shall connect the call; `success` false: there is no room."""

    success: bool
    wss_url: str = ""
    message: str = ""


async def smartflo_endpoint(ask: Ask[Nothing, Nothing]) -> Answer:
    return await _connect(ask.request, SMARTFLO)


async def answer(ask: Ask[Nothing, Nothing]) -> Answer:
    return await _connect(ask.request, ask.path("carrier"))


async def _connect(request: web.Request, carrier: str) -> Answer:
    """The document that leads a call to its media socket, or says busy: never an error where a call waits."""
    desk = desk_of(request)
    http = _http(desk, carrier)
    asked = http.question(await _proven(desk, request, http, calling=True))
    if asked.left_out:
        log.warning("answer.left_out", carrier=carrier, carrier_ref=asked.call_ref, parameters=asked.left_out)
    try:
        desk.has_room(carrier, asked.to)
    except AdmissionError as full:
        return _response(http.busy(asked, str(full)))
    return _response(http.connect(asked, _ways(desk, request, http, asked)))


def _ways(desk: Desk, request: web.Request, http: CarrierHttp, asked: CallQuestion) -> Ways:
    """Where the carrier finds us: as configured, else as it found us now. A call that can has a token of its own."""
    token = desk.gate.invite(http.name, asked.call_ref) if http.invites and asked.call_ref else desk.secrets.media_token
    here = request.path.removesuffix(ENDPOINT).removesuffix(f"/answer/{http.name}")  # where an application is mounted
    base = desk.public_url(request) + ("" if desk.settings.server.public_url else here)
    secret = request.query.get("secret", "")
    webhook = f"{base}/webhooks/{http.name}" + (f"?{urlencode({'secret': secret})}" if secret else "")
    return Ways(f"ws{base.removeprefix('http')}/media/{http.name}/{quote(token)}", webhook)


def _http(desk: Desk, carrier: str) -> CarrierHttp:
    http = desk.carriers_http.get(carrier)
    if http is None:
        raise refuse(404, "No such carrier", field="carrier", value=carrier, allowed=", ".join(desk.carriers_http))
    return http


async def _proven(desk: Desk, request: web.Request, http: CarrierHttp, *, calling: bool) -> CarrierRequest:
    """The request with its body, from whom it must be: by signature where the carrier signs, else by secret."""
    if http.unsigned is None:
        desk.gate.webhook(request)
    body = await read_body(request) if request.body_exists else b""
    return desk.asked(request, http, body, calling=calling)


def _response(document: Document) -> web.Response:
    return web.Response(body=document.body, content_type=document.content_type)


async def webhook(ask: Ask[Nothing, Nothing]) -> Answer:
    return await _take(ask.request, SMARTFLO)


async def carrier_webhook(ask: Ask[Nothing, Nothing]) -> Answer:
    return await _take(ask.request, ask.path("carrier"))


async def _take(request: web.Request, carrier: str) -> Answer:
    desk = desk_of(request)
    http = _http(desk, carrier)
    try:
        fact = _read(http, await _proven(desk, request, http, calling=False))
    except Refused as refused:
        desk.metrics.webhook(carrier, "refused" if refused.problem.status == 403 else "unreadable")
        raise
    return await _keep(desk, carrier, fact)


def _read(http: CarrierHttp, request: CarrierRequest) -> WebhookFact:
    try:
        return http.webhook(request)
    except ProtocolError as wrong:
        log.warning("webhook.unreadable", carrier=http.name, reason=str(wrong))
        raise refuse(
            422, "The web hook could not be understood", str(wrong), field="body",
            value=wrong.data.decode("utf-8", "replace") if isinstance(wrong.data, bytes) else wrong.data,
            allowed="JSON, form or query with a call id (call_id, CallSid) and an event (event, CallStatus)",
        ) from None  # fmt: skip


async def _keep(desk: Desk, carrier: str, fact: WebhookFact) -> Answer:
    try:
        new = await desk.store.webhook(carrier, fact.fact_id, _row(fact))
    except StoreError as down:
        log.error("webhook.lost", carrier=carrier, carrier_ref=fact.call_ref, event_name=fact.event, error=str(down))
        desk.metrics.webhook(carrier, "lost")
        raise refuse(503, "The web hook could not be kept; send it again", headers={"Retry-After": "5"}) from None
    desk.metrics.webhook(carrier, "new" if new else "known")
    log.info("webhook.taken", carrier=carrier, carrier_ref=fact.call_ref, event_name=fact.event, known=not new)
    return Taken("ok", not new)


def _row(fact: WebhookFact) -> dict[str, str]:
    """What is kept: the statement's own pairs, and ours beside them."""
    ours = {"call_ref": fact.call_ref, "ref_id": fact.ref_id, "event": fact.event, "status": fact.status}
    ours |= {"sequence": "" if fact.sequence is None else str(fact.sequence)}
    return {**fact.raw, **{name: value for name, value in ours.items() if value}}


_HOW = (
    "Carriers that sign (Twilio) must have signed it, others bear the secret: header `X-Webhook-Secret` or `?secret=`. "
    "JSON, form or query; names may carry a leading `$`."
)


def _both(
    path: str,
    handler: Callable[[Ask[Nothing, Nothing]], Awaitable[Answer]],
    summary: str,
    answer: type[msgspec.Struct] | str,
) -> tuple[Row, ...]:
    return tuple(
        Endpoint(
            method,
            path,
            handler,
            summary,
            Nothing,
            Nothing,
            {200: answer},
            tag="carriers",
            raw_body=True,
            raw_query=True,
            description=_HOW,
            problems=(403, 422),
        )
        for method in ("GET", "POST")
    )


ENDPOINTS: tuple[Row, ...] = (
    *_both(ENDPOINT, smartflo_endpoint, "Where Smartflo shall connect this call", Where),
    *_both(
        "/answer/{carrier}",
        answer,
        "What a carrier shall do with this call: TwiML, or its socket's address",
        "application/xml",
    ),
    *_both("/webhook", webhook, "A Smartflo call event", Taken),
    *_both("/webhooks/{carrier}", carrier_webhook, "A carrier's call event", Taken),
)
