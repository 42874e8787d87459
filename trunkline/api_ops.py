"""State and figures: `/`, `/health`, `/ready`, `/metrics`; tickets for browsers."""

import time

import msgspec
from aiohttp import web

from trunkline import __version__
from trunkline.api_base import Answer, Ask, Endpoint, Nothing, Row, refuse
from trunkline.api_desk import DESK, Place, desk_of
from trunkline.keys import SCOPES
from trunkline.metrics import CONTENT_TYPE

_STARTED = time.monotonic()


class Running(msgspec.Struct, frozen=True):
    """Answer of GET /; earlier clients know exactly these three."""

    status: str
    service: str
    active_calls: int


class Health(msgspec.Struct, frozen=True):
    """The process lives."""

    status: str
    version: str
    uptime_s: float


class Ready(msgspec.Struct, frozen=True):
    """Whether new calls are taken, and if not, why."""

    ready: bool
    phase: str
    reasons: dict[str, str]


class SipView(msgspec.Struct, frozen=True):
    """The SIP gateway and its trunks, as the worker that was asked sees them."""

    connected: bool
    listening: tuple[str, ...]
    calls: int
    trunks: dict[str, str]


class TicketAsked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the ticket should allow; nothing named: all that the key may read."""

    scopes: tuple[str, ...] = ()


class Ticket(msgspec.Struct, frozen=True):
    """Put it into the query as `ticket`."""

    ticket: str
    scopes: tuple[str, ...]
    expires_in_s: float


async def running(ask: Ask[Nothing, Nothing]) -> Answer:
    desk = desk_of(ask.request)
    active = desk.peers.node_active()
    return Running("running", desk.settings.name, desk.calls.active if active is None else active)


async def health(ask: Ask[Nothing, Nothing]) -> Answer:
    return Health("ok", __version__, round(time.monotonic() - _STARTED, 3))


async def ready(ask: Ask[Nothing, Nothing]) -> Answer:
    """Of the node: a worker that steps aside for its successor says "ready" as long as another takes calls."""
    desk = desk_of(ask.request)
    state, node = desk.state, desk.peers.node_ready()
    yes = state.ready if node is None else node
    told = Ready(yes, "ready" if yes else state.phase, {} if yes else state.reasons)
    return web.Response(body=msgspec.json.encode(told), status=200 if yes else 503, content_type="application/json")


async def sip(ask: Ask[Nothing, Nothing]) -> Answer:
    look = desk_of(ask.request).sip
    if look is None:
        return SipView(False, (), 0, {})
    now = look()
    return SipView(now.connected, now.listening, now.calls, dict(now.trunks))


async def metrics(ask: Ask[Nothing, Nothing]) -> Answer:
    return await figures(ask.request)


async def figures(request: web.Request) -> web.Response:
    """The scrape's answer: the sum over all workers, whichever is asked."""
    desk = desk_of(request)
    node = await desk.peers.figures(desk.metrics.families())
    return web.Response(body=desk.metrics.render(node), headers={"Content-Type": CONTENT_TYPE})


def metrics_app(place: Place) -> web.Application:
    """`/metrics` alone, without a key, for an address of its own ([server] metrics_bind)."""

    async def scrape(request: web.Request) -> web.Response:
        return await figures(request)

    app = web.Application()
    app[DESK] = place
    app.router.add_get("/metrics", scrape)
    return app


async def tickets(ask: Ask[Nothing, TicketAsked]) -> Answer:
    if ask.who.via == "ticket":
        raise refuse(403, "A ticket cannot ask for another", allowed="an API key")
    held = ask.who.scopes
    wanted = frozenset(ask.body.scopes) or frozenset(scope for scope in held if scope.endswith(":read"))
    if beyond := sorted(wanted - held):
        raise refuse(403, "The key itself may not do that", field="scopes", value=" ".join(beyond),
                     allowed=" ".join(scope for scope in SCOPES if scope in held))  # fmt: skip
    gate = desk_of(ask.request).gate
    return Ticket(gate.tickets.issue(ask.who.tenant, wanted), tuple(sorted(wanted)), gate.tickets.ttl_s)


ENDPOINTS: tuple[Row, ...] = (
    Endpoint("GET", "/", running, "Is it running, and how many calls", Nothing, Nothing, {200: Running}),
    Endpoint("GET", "/health", health, "The process lives", Nothing, Nothing, {200: Health}),
    Endpoint(
        "GET", "/ready", ready, "New calls are taken (503: starting or draining)", Nothing, Nothing,
        {200: Ready, 503: Ready},
    ),
    Endpoint(
        "GET", "/metrics", metrics, "Figures for Prometheus", Nothing, Nothing, {200: "text/plain"},
        scope="metrics:read",
    ),
    Endpoint(
        "GET", "/sip", sip, "The SIP gateway and the state of its trunks", Nothing, Nothing, {200: SipView},
        scope="metrics:read",
    ),
    Endpoint(
        "POST", "/tickets", tickets, "A short-lived ticket for a browser", Nothing, TicketAsked, {200: Ticket},
        scope="events:read", problems=(401, 403),
    ),
)  # fmt: skip
