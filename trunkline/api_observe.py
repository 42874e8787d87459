"""`GET /events`: server-sent events of live calls."""

import msgspec
from aiohttp import web

from trunkline.api_base import REQUEST_ID, Answer, Ask, Endpoint, Nothing, Row, refuse
from trunkline.api_desk import desk_of
from trunkline.api_events import Spectator

KEEP_ALIVE_S = 15.0  # a comment goes out this often, so that proxies keep an idle stream


class Watch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query of /events."""

    call: str = ""  # only this call's events


async def events(ask: Ask[Watch, Nothing]) -> Answer:
    hub = desk_of(ask.request).hub
    try:
        with hub.watch(ask.who.tenant, ask.query.call) as spectator:
            await hub.tell_peers()
            return await _stream(ask.request, spectator)
    except OverflowError as full:
        raise refuse(503, "Too many event streams are open", str(full), headers={"Retry-After": "10"}) from None
    finally:
        await hub.tell_peers()


async def _stream(request: web.Request, spectator: Spectator) -> web.StreamResponse:
    response = web.StreamResponse()
    response.content_type = "text/event-stream"
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"
    response.headers["X-Request-Id"] = request.get(REQUEST_ID, "")
    await response.prepare(request)
    try:
        await response.write(b": watching\n\n")
        while not spectator.closed:
            if taken := await spectator.take(KEEP_ALIVE_S):
                await response.write(b"".join(map(_line, taken)))
            elif not spectator.closed:
                await response.write(b": still here\n\n")
        await response.write_eof()
    except ConnectionError:
        pass  # the spectator left
    return response


def _line(item: tuple[str, bytes]) -> bytes:
    kind, data = item
    return b"event: %s\ndata: %s\n\n" % (kind.encode(), data)


ENDPOINTS: tuple[Row, ...] = (
    Endpoint(
        "GET", "/events", events, "What happens in calls, live", Watch, Nothing, {200: "text/event-stream"},
        scope="events:read", tag="calls", problems=(503,),
        description="One event per line of a call, `event:` its kind, `data:` JSON with `call_id`. A reader that is "
        "1,000 events behind loses the oldest and is told how many by an event `lost`.",
    ),
)  # fmt: skip
