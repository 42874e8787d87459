"""Carriers' media sockets: who may in, whether there is room, and the call that follows."""

import asyncio
import struct
from collections.abc import Awaitable, Callable
from socket import SO_LINGER, SOL_SOCKET
from typing import cast

import structlog
from aiohttp import web

from trunkline.api_base import Answer, Ask, Endpoint, Nothing, Row, refuse
from trunkline.api_desk import Desk, desk_of
from trunkline.bridge.dialect import MediaProfile
from trunkline.bridge.frame_socket import FrameSocket
from trunkline.bridge.json_dialect import whole
from trunkline.bridge.leg import LegInfo
from trunkline.bridge.media_socket import MediaSocketLeg, open_media_leg
from trunkline.bridge.upgrade import is_upgrade, upgraded
from trunkline.bridge.webhook import FINAL, CallStatus, fact_id, state_of
from trunkline.calls.switchboard import Seat
from trunkline.errors import AdmissionError, ProtocolError, StoreError
from trunkline.outcome import EndCause

HIDDEN = frozenset({"secret", "ticket", "token"})  # of a handshake's query: not the call's business
log = structlog.get_logger("trunkline.api")


async def smartflo_audio(ask: Ask[Nothing, Nothing]) -> Answer:
    return await _answer(ask.request, "smartflo", None)


async def smartflo_media(ask: Ask[Nothing, Nothing]) -> Answer:
    return await _answer(ask.request, "smartflo", ask.path("token"))


async def media(ask: Ask[Nothing, Nothing]) -> Answer:
    return await _answer(ask.request, ask.path("carrier"), ask.path("token"))


async def bare_media(ask: Ask[Nothing, Nothing]) -> Answer:
    return await _answer(ask.request, ask.path("carrier"), None)


async def twilio_media(ask: Ask[Nothing, Nothing]) -> Answer:
    return await _answer(ask.request, "twilio", None)


async def _answer(request: web.Request, carrier: str, token: str | None) -> Answer:
    """Everything that can be refused is refused before the upgrade, as HTTP that a person can read."""
    desk = desk_of(request)
    profile = desk.carriers.get(carrier)
    if profile is None:
        raise refuse(404, "No such carrier", field="carrier", value=carrier, allowed=", ".join(desk.carriers))
    invited = desk.gate.media(request, carrier, token)
    desk.asked(request, desk.carriers_http[carrier])
    if not is_upgrade(request):
        raise refuse(
            426, "This address speaks websocket", allowed="Upgrade: websocket", headers={"Upgrade": "websocket"}
        )
    try:
        seat = desk.knock(carrier)
    except AdmissionError as full:
        after = f"{max(1, round(full.retry_after_s))}"
        raise refuse(503, "No room for another call", str(full), headers={"Retry-After": after}) from None
    transport = request.transport
    with seat:
        if invited and token:
            await _only_once(desk, carrier, token, invited)
        try:
            response, socket = await _upgraded(desk, request, profile)
            await _hold(desk, request, socket, profile, seat, invited)
        finally:
            _let_go(transport)
    return response


async def _upgraded(desk: Desk, request: web.Request, profile: MediaProfile) -> tuple[web.StreamResponse, FrameSocket]:
    """Raises Refused, which nobody reads, when the client left during the handshake: no fault of ours, no call."""
    try:
        return await upgraded(request, most_bytes=profile.max_message_bytes)
    except ConnectionError:
        desk.metrics.refused(profile.name, "left")
        raise refuse(400, "The client left during the handshake") from None


def _let_go(transport: asyncio.Transport | None) -> None:
    """After the call: a far end that does not read what is left for it could otherwise hold our socket for ever."""
    if transport is None or not (unread := transport.get_write_buffer_size()):
        return
    log.warning("media.reset", unread_bytes=unread)
    if (own := transport.get_extra_info("socket")) is not None:
        own.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))  # a reset: the kernel need not keep it either
    transport.abort()


async def _hold(
    desk: Desk,
    request: web.Request,
    socket: FrameSocket,
    profile: MediaProfile,
    seat: Seat,
    invited: str,
) -> None:
    """The call, from the upgraded socket to its end. A carrier that never describes the stream is told and left."""
    query = {name: value for name, value in request.query.items() if name not in HIDDEN}
    start_s = desk.settings.limits.start_timeout_s
    with desk.handshakes.one() as begun:
        try:
            async with open_media_leg(socket, profile, query, clock=desk.clock, start_timeout_s=start_s) as leg:
                begun()
                await _admitted(desk, leg, seat, profile, invited)
        except ProtocolError as wrong:
            desk.metrics.refused(profile.name, "no_start")
            log.warning("media.no_start", carrier=profile.name, reason=str(wrong))


async def _only_once(desk: Desk, carrier: str, token: str, call_ref: str) -> None:
    """An invitation is used up by its first socket, at whichever worker. Raises Refused (403) for a second one."""
    if not await _new(desk, carrier, "socket_opened", call_ref, token):
        desk.metrics.refused(carrier, "replayed")
        log.warning("media.replayed", carrier=carrier, carrier_ref=call_ref)
        raise refuse(
            403, "This address was used already: it was for one socket of one call", field="token",
            allowed="the address that the answer document gives to a call that is asked about now",
        )  # fmt: skip


async def _new(desk: Desk, carrier: str, event: str, call_ref: str, *what: str) -> bool:
    """Note that this happened; False when it had happened before. A store that is down costs no call."""
    try:
        return await desk.store.webhook(
            carrier, fact_id(carrier, event, *what), {"event": event, "call_ref": call_ref, "by": "trunkline"}
        )
    except StoreError as down:
        log.error("media.unnoted", carrier=carrier, carrier_ref=call_ref, event_name=event, error=str(down))
        return True


async def _admitted(desk: Desk, leg: MediaSocketLeg, seat: Seat, profile: MediaProfile, invited: str) -> None:
    """The conversation, unless the stream is a replay of another one or not the one that was invited."""
    if not profile.once:
        await _talk(desk, leg, seat)
    elif wrong := _uninvited(leg.info, invited):
        await _refused(desk, leg, wrong)
    else:
        await _alone(desk, leg, seat, invited)


async def _alone(desk: Desk, leg: MediaSocketLeg, seat: Seat, invited: str) -> None:
    """The conversation, if its call has no other live stream at whichever worker of whichever node."""
    carrier, call = leg.info.carrier, leg.info.carrier_ref
    if not await desk.peers.claim(carrier, call):
        await _refused(desk, leg, "the call has a live stream already")
        return
    try:
        wrong = "" if invited else await _replayed(desk, leg.info)
        await (_refused(desk, leg, wrong) if wrong else _talk(desk, leg, seat))
    finally:
        await asyncio.shield(desk.peers.release(carrier, call))


async def _refused(desk: Desk, leg: MediaSocketLeg, wrong: str) -> None:
    carrier = leg.info.carrier
    desk.metrics.refused(carrier, "replayed")
    log.warning("media.replayed", carrier=carrier, carrier_ref=leg.info.carrier_ref, reason=wrong)
    await leg.end(EndCause.REJECTED)


def _uninvited(info: LegInfo, invited: str) -> str:
    """Why this stream is not the one that its address was made for, "" when it may be."""
    if not info.carrier_ref or not info.stream_ref:
        return "names no call or no stream"
    return "the address was for another call" if invited and info.carrier_ref != invited else ""


async def _replayed(desk: Desk, info: LegInfo) -> str:
    """Why this stream was here before, "" when it was not.

    An address without an invitation is the same for all calls, and so is its signature: then the ids decide.
    """
    carrier, call, stream = info.carrier, info.carrier_ref, info.stream_ref
    if not await _new(desk, carrier, "stream_opened", call, stream):
        return "the stream was here before"
    return "the call is over, says the carrier" if await _over(desk, carrier, call) else ""


async def _over(desk: Desk, carrier: str, call: str) -> bool:
    try:
        rows = await desk.store.webhooks(carrier, call)
    except StoreError:  # told by `_new` just before
        return False
    return state_of((whole(row.get("sequence")), cast(CallStatus, row.get("status", ""))) for row in rows) in FINAL


async def _talk(desk: Desk, leg: MediaSocketLeg, seat: Seat) -> None:
    if desk.state.shut:  # the goodbye came between the handshake and the carrier's first words
        desk.metrics.refused(leg.info.carrier, "draining")
        await leg.end(EndCause.DRAINED)
    else:
        await desk.calls.attend(leg, seat)


_SOCKET = "A websocket. Refusals come before the upgrade, as problem documents."


def _socket(path: str, handler: Callable[[Ask[Nothing, Nothing]], Awaitable[Answer]], summary: str) -> Row:
    return Endpoint(
        "GET", path, handler, summary, Nothing, Nothing, {101: ""}, tag="carriers", raw_query=True,
        description=_SOCKET, problems=(403, 404, 426, 503),
    )  # fmt: skip


ENDPOINTS: tuple[Row, ...] = (
    _socket("/smartflo/audio", smartflo_audio, "Smartflo's media socket, on this machine or where it is allowed"),
    _socket("/media/{carrier}/{token}", media, "A carrier's media socket, with the secret token"),
    _socket("/media/{carrier}", bare_media, "A carrier's media socket, on this machine or where it is allowed"),
    _socket("/twilio/media", twilio_media, "The same for Twilio, under its earlier name"),
    _socket("/smartflo/{token}", smartflo_media, "The same for Smartflo, shorter"),
)
