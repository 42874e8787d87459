"""The HTTP surface: one table of endpoints, the middlewares around it, and the application made of both."""

import re
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence

import msgspec
import structlog
from aiohttp import web

from trunkline import api_calls, api_docs, api_hooks, api_media, api_observe, api_ops
from trunkline.api_base import (
    MAX_BODY,
    REQUEST_ID,
    Ask,
    Identity,
    Nothing,
    Refused,
    Row,
    parse_json,
    parse_query,
    problem_response,
    read_body,
    refuse,
)
from trunkline.api_desk import DESK, DOCUMENT, Place, desk_of
from trunkline.api_visitor import carriers_only, prepare, visitor_of
from trunkline.config import Settings
from trunkline.openapi import describe

TABLE: tuple[Row, ...] = (
    *api_ops.ENDPOINTS,
    *api_media.ENDPOINTS,
    *api_hooks.ENDPOINTS,
    *api_calls.ENDPOINTS,
    *api_observe.ENDPOINTS,
    *api_docs.ENDPOINTS,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_NOBODY = Identity("", frozenset(), "", "open")
log = structlog.get_logger("trunkline.api")


def build_app(settings: Settings, extra: Iterable[web.AbstractRouteDef] = ()) -> web.Application:
    """The application of one worker, without its parts: those are put into `app[DESK]` when they are open."""
    limit = settings.limits.max_body_bytes
    app = web.Application(client_max_size=limit, middlewares=[_identified, _cors, _problems])
    app[DESK] = Place()
    app[MAX_BODY] = limit
    prepare(app, settings)
    app[DOCUMENT] = describe(TABLE, name=settings.name, url=settings.server.public_url)
    for row in TABLE:
        app.router.add_route(row.method, row.path, handler_of(row))
        if row.method == "GET" and 101 not in row.answers:
            app.router.add_route("HEAD", row.path, handler_of(row))
    app.add_routes(extra)
    return app


def handler_of(row: Row) -> Handler:
    """The aiohttp handler of one row: who may, what was asked, what is answered."""

    async def handle(request: web.Request) -> web.StreamResponse:
        if row.tag == "carriers":
            carriers_only(request)
        who = _NOBODY if row.scope is None else await desk_of(request).gate.admit(request, row.scope)
        query = Nothing() if row.raw_query else parse_query(request, row.query)
        body = Nothing() if row.raw_body else await _body(request, row)
        answer = await row.handler(Ask(request, who, query, body))
        if isinstance(answer, web.StreamResponse):
            return answer
        status = next(iter(row.answers))
        return web.Response(body=msgspec.json.encode(answer), status=status, content_type="application/json")

    return handle


async def _body(request: web.Request, row: Row) -> object:
    if row.method == "GET" or row.body is Nothing:
        return Nothing()
    return parse_json(await read_body(request), row.body)


@web.middleware
async def _identified(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Name the request, in the answer and in the log lines it leads to; count it by its row of the table."""
    given = request.headers.get("X-Request-Id", "")
    request[REQUEST_ID] = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    desk = request.app[DESK].desk
    if desk is None:
        starting = refuse(503, "The service is starting or has stopped", headers={"Retry-After": "5"})
        return problem_response(starting, request)
    with structlog.contextvars.bound_contextvars(request_id=request[REQUEST_ID], peer=visitor_of(request).shown):
        response = await handler(request)
    resource = request.match_info.route.resource
    route = resource.canonical if resource is not None else "unknown"
    desk.metrics.request(_method(request), route, response.status)
    if not response.prepared:
        if desk.state.leaving or "Upgrade" in request.headers:  # what follows a refused upgrade is no HTTP to aiohttp
            response.force_close()
        response.headers["X-Request-Id"] = request[REQUEST_ID]
    return response


def _method(request: web.Request) -> str:
    return request.method if request.method in ("GET", "HEAD", "POST", "OPTIONS", "PUT", "DELETE") else "other"


@web.middleware
async def _cors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Cross-origin headers for the configured origins, and their preflights."""
    origin = request.headers.get("Origin", "")
    allowed = _allowed_origin(origin, desk_of(request).settings.server.cors_origins)
    preflight = request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
    if preflight and allowed:
        response: web.StreamResponse = web.Response(status=204)
        response.headers["Access-Control-Allow-Methods"] = "GET, POST"
        response.headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, X-API-Key, X-Request-Id"
        response.headers["Access-Control-Max-Age"] = "600"
    else:
        response = await handler(request)
    if allowed and not response.prepared:
        response.headers["Access-Control-Allow-Origin"] = allowed
        response.headers["Access-Control-Expose-Headers"] = "X-Request-Id, Retry-After"
        response.headers["Vary"] = "Origin"
    return response


def _allowed_origin(origin: str, allowed: Sequence[str]) -> str:
    if not origin:
        return ""
    return "*" if "*" in allowed else origin if origin in allowed else ""


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever goes wrong is a problem document; what is our fault is logged once, and not shown."""
    try:
        return await handler(request)
    except Refused as refused:
        return problem_response(refused, request)
    except web.HTTPException as raised:
        if raised.status < 400:
            raise
        return problem_response(_of_http(raised, request), request)
    except Exception:
        log.exception("http.failed", method=request.method, path=request.path)
        return problem_response(refuse(500, "Something went wrong on our side", "It was logged."), request)


def _of_http(raised: web.HTTPException, request: web.Request) -> Refused:
    if isinstance(raised, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(raised.allowed_methods))
        return refuse(
            405, "This path does not take that method", field="method", value=request.method, allowed=allowed,
            headers={"Allow": allowed},
        )  # fmt: skip
    if raised.status == 404:
        return refuse(404, "There is nothing at this path", field="path", value=request.path, allowed="see /docs")
    return refuse(raised.status, raised.reason or "The request was refused")
