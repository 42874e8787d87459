"""Who a request comes from, worked out once: behind trusted proxies it is not the connection's other end."""

import structlog
from aiohttp import web

from trunkline.api_auth import is_local
from trunkline.api_base import refuse
from trunkline.config import Settings
from trunkline.proxies import Network, Visitor, among, networks, visitor

VISITOR = web.RequestKey("visitor", Visitor)
TRUSTED = web.AppKey("trusted_proxies", tuple[Network, ...])
CARRIERS_FROM = web.AppKey("carriers_from", tuple[Network, ...])
FORWARDING = ("X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded")
log = structlog.get_logger("trunkline.api")


def prepare(app: web.Application, settings: Settings) -> None:
    """Keep the networks with the application. Raises ValueError for what is no network (the loader has checked)."""
    app[TRUSTED] = networks(settings.server.trusted_proxies)
    app[CARRIERS_FROM] = networks(settings.auth.allow_carriers_from)


def visitor_of(request: web.Request) -> Visitor:
    """Where the request comes from and how it addressed us."""
    if VISITOR in request:
        return request[VISITOR]
    trusted = request.app[TRUSTED]
    peer = request.transport.get_extra_info("peername") if request.transport else None
    headers = {name.lower(): request.headers.getall(name, []) for name in FORWARDING}
    found = visitor(str(peer[0]) if isinstance(peer, tuple) else None, request.scheme, request.host, headers, trusted)
    if found.odd:
        log.warning("proxy.bad_header", part=found.odd, peer=found.shown, then="what does the proxy write there?")
    request[VISITOR] = found
    return found


def carriers_only(request: web.Request) -> None:
    """[auth] allow_carriers_from: let in who comes from there, or from this machine. Raises Refused (403)."""
    allowed = request.app[CARRIERS_FROM]
    if not allowed or is_local(request):
        return
    found = visitor_of(request)
    if not among(found.address, allowed):
        log.warning("carrier.elsewhere", peer=found.shown, relayed=found.relayed, path=request.path)
        raise refuse(
            403, "Carriers are not expected from this address", field="address", value=found.shown,
            allowed="[auth] allow_carriers_from; behind a proxy [server] trusted_proxies must name it",
        )  # fmt: skip
