"""Calls seen and steered: list, record, timeline, transcript, recording, hang up, say, transfer, keys."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from trunkline.api_base import Answer, Ask, Endpoint, Nothing, Refused, Row, refuse
from trunkline.api_desk import desk_of
from trunkline.calls.record import CallRecord
from trunkline.calls.record import timeline as timeline_of
from trunkline.calls.timeline import Timeline
from trunkline.calls.turns import Turn
from trunkline.peers import Peers, UnreachableError

MAX_PAGE = 200


class CallsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query of /calls."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = 50
    cursor: Annotated[str, msgspec.Meta(max_length=64)] = ""  # `next` of the page before
    live: bool | None = None  # only live calls, or only those that are over


class CallPage(msgspec.Struct, frozen=True):
    """Newest first; `next` is the cursor of the following page, null on the last."""

    calls: list[CallRecord]
    next: str | None


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing somebody said, as far as it was heard, or a key they pressed. What was meant: the timeline."""

    who: Literal["caller", "agent", "key"]
    text: str
    at_s: float | None = None
    turn: int = 0
    interrupted: bool = False  # agent: cut by the caller


class Transcript(msgspec.Struct, frozen=True):
    """A call as text."""

    call_id: str
    lines: list[Line]


class As(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Query of /calls/{id}/transcript."""

    format: Literal["json", "text"] = "json"


class SayBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the agent shall say now, word for word."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=2000)]


class TransferBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the caller goes once what is being said was heard: a number or a SIP address. Warm: the person there hears
    `brief` first, and takes the call or declines it; the caller stays with the agent until then."""

    target: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    mode: Literal["blind", "warm"] = "blind"
    brief: Annotated[str, msgspec.Meta(max_length=1000)] = ""  # of a warm one


class KeysBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keys for the far end, in order."""

    keys: Annotated[str, msgspec.Meta(pattern=r"^[0-9*#A-D]{1,32}$")]


class Done(msgspec.Struct, frozen=True):
    """The call was told."""

    call_id: str
    status: str


async def calls(ask: Ask[CallsQuery, Nothing]) -> Answer:
    page, tenant = ask.query, ask.who.tenant
    store = desk_of(ask.request).store
    found = list(await store.calls(tenant, limit=page.limit + 1, before=page.cursor, live=page.live))
    more = len(found) > page.limit
    shown = found[: page.limit]
    desk = desk_of(ask.request)
    elsewhere = await desk.peers.records(_by_owner(shown))
    fresh = [desk.calls.record(record.id) or elsewhere.get(record.id, record) for record in shown]
    return CallPage(fresh, shown[-1].id if more else None)


def _by_owner(records: Iterable[CallRecord]) -> dict[str, list[str]]:
    """Live calls' ids by the worker that carries them."""
    owners: dict[str, list[str]] = {}
    for record in records:
        if record.ended_at is None:
            owners.setdefault(record.owner, []).append(record.id)
    return owners


async def call(ask: Ask[Nothing, Nothing]) -> Answer:
    return await _record(ask)


async def timeline(ask: Ask[Nothing, Nothing]) -> Answer:
    record = await _record(ask)
    return timeline_of(record, desk_of(ask.request).clock.utcnow())


async def transcript(ask: Ask[As, Nothing]) -> Answer:
    record = await _record(ask)
    lines = [line for turn in record.turns for line in _lines(turn)]
    if ask.query.format == "json":
        return Transcript(record.id, lines)
    text = "".join(f"{line.who}: {line.text}{' —' if line.interrupted else ''}\n" for line in lines)
    return web.Response(text=text, content_type="text/plain")


async def recording(ask: Ask[Nothing, Nothing]) -> Answer:
    record = await _record(ask)
    folder = Path(desk_of(ask.request).settings.server.data_dir) / "recordings"
    file = folder / Path(record.recording).name
    if not record.recording or not file.is_file():
        raise refuse(404, "Nothing was recorded of this call", field="id", value=record.id,
                     allowed="calls of an agent with record = true, once they are over")  # fmt: skip
    return web.FileResponse(file, headers={"Content-Type": "audio/wav", "Cache-Control": "no-store"})


async def hangup(ask: Ask[Nothing, Nothing]) -> Answer:
    record, desk = await _live(ask), desk_of(ask.request)
    if not desk.calls.hang_up(record.id):
        with _reaching(record):
            if not await desk.peers.hang_up(record.owner, record.id):
                raise _over(record)
    return Done(record.id, "ending")


async def say(ask: Ask[Nothing, SayBody]) -> Answer:
    record, desk = await _live(ask), desk_of(ask.request)
    own = desk.calls.record(record.id) is not None
    with _reaching(record):
        said = await (
            desk.calls.say(record.id, ask.body.text) if own else desk.peers.say(record.owner, record.id, ask.body.text)
        )
    if not said:
        raise _over(record)
    return Done(record.id, "saying")


async def transfer(ask: Ask[Nothing, TransferBody]) -> Answer:
    record, desk = await _live(ask), desk_of(ask.request)
    brief = ask.body.brief if ask.body.mode == "warm" else None
    refusal = desk.calls.transfer(record.id, ask.body.target, brief)
    if refusal is None:
        with _reaching(record):
            refusal = await desk.peers.transfer(record.owner, record.id, ask.body.target, brief)
    if refusal is None:
        raise _over(record)
    if refusal:
        raise refuse(409, "The call cannot be transferred there", refusal, field="target", value=ask.body.target,
                     allowed="a call on a telephone line (SIP), to a target of [sip] allow_transfer_to")  # fmt: skip
    return Done(record.id, "transferring")


async def dtmf(ask: Ask[Nothing, KeysBody]) -> Answer:
    record, desk = await _live(ask), desk_of(ask.request)
    refusal = desk.calls.send_digits(record.id, ask.body.keys)
    if refusal is None:
        with _reaching(record):
            refusal = await desk.peers.send_digits(record.owner, record.id, ask.body.keys)
    if refusal is None:
        raise _over(record)
    if refusal:
        raise refuse(409, "Keys cannot be sent now", refusal, field="keys", value=ask.body.keys,
                     allowed="a call that was answered, is with the agent, and is not on hold")  # fmt: skip
    return Done(record.id, "sending")


@contextmanager
def _reaching(record: CallRecord) -> Iterator[None]:
    try:
        yield
    except UnreachableError as away:
        raise refuse(503, "The call's worker cannot be reached", str(away), field="id", value=record.id,
                     headers={"Retry-After": "2"}) from None  # fmt: skip


async def _record(ask: Ask[object, object]) -> CallRecord:
    """The call that the path names. Raises Refused (404), also for another tenant's."""
    call_id, desk = ask.path("id"), desk_of(ask.request)
    live = desk.calls.record(call_id)
    found = live if live and live.tenant == ask.who.tenant else await desk.store.call(ask.who.tenant, call_id)
    if live is None and (found is None or found.ended_at is None):
        found = await _elsewhere(desk.peers, found, call_id)
    if found is None or found.tenant != ask.who.tenant:
        raise refuse(404, "No such call", field="id", value=call_id, allowed="an id from GET /calls")
    return found


async def _elsewhere(peers: Peers, found: CallRecord | None, call_id: str) -> CallRecord | None:
    """What its worker knows of a live call; without a row yet, whichever worker has it."""
    if found is None:
        return await peers.find(call_id)
    return (await peers.records({found.owner: [call_id]})).get(call_id, found)


async def _live(ask: Ask[object, object]) -> CallRecord:
    record = await _record(ask)
    if record.ended_at is not None:
        raise _over(record)
    return record


def _over(record: CallRecord) -> Refused:
    return refuse(409, "The call is over", f"It ended as {record.cause or 'unknown'}.", field="id", value=record.id,
                  allowed="a live call: GET /calls?live=true")  # fmt: skip


def _lines(turn: Turn) -> Iterator[Line]:
    if turn.caller_text:
        yield Line("caller", turn.caller_text, turn.caller_from_s, turn.turn)
    for key in turn.keys:
        yield Line("key", key, turn.caller_from_s, turn.turn)
    if turn.agent_text:
        text = turn.heard_text if turn.interrupted else turn.agent_text
        yield Line("agent", text, turn.agent_from_s, turn.turn, turn.interrupted)


_NO = (401, 403, 404)
ENDPOINTS: tuple[Row, ...] = (
    Endpoint("GET", "/calls", calls, "Calls, newest first", CallsQuery, Nothing, {200: CallPage},
             scope="calls:read", tag="calls", problems=(401, 403, 422)),
    Endpoint("GET", "/calls/{id}", call, "One call", Nothing, Nothing, {200: CallRecord},
             scope="calls:read", tag="calls", problems=_NO),
    Endpoint("GET", "/calls/{id}/timeline", timeline, "Its turns, with the stages of each answer's delay", Nothing,
             Nothing, {200: Timeline}, scope="calls:read", tag="calls", problems=_NO),
    Endpoint("GET", "/calls/{id}/transcript", transcript, "Who said what, as far as it was heard", As, Nothing,
             {200: Transcript}, scope="calls:read", tag="calls", problems=_NO),
    Endpoint("GET", "/calls/{id}/recording", recording, "Two-channel WAV: caller left, agent right", Nothing, Nothing,
             {200: "audio/wav"}, scope="calls:read", tag="calls", problems=_NO),
    Endpoint("POST", "/calls/{id}/hangup", hangup, "End a live call", Nothing, Nothing, {202: Done},
             scope="calls:write", tag="calls", problems=(*_NO, 409, 503)),
    Endpoint("POST", "/calls/{id}/say", say, "Have the agent say something now", Nothing, SayBody, {202: Done},
             scope="calls:write", tag="calls", problems=(*_NO, 409, 422, 503)),
    Endpoint("POST", "/calls/{id}/transfer", transfer, "Hand the caller to a person", Nothing, TransferBody,
             {202: Done}, scope="calls:write", tag="calls", problems=(*_NO, 409, 422, 503)),
    Endpoint("POST", "/calls/{id}/dtmf", dtmf, "Send keys to the far end", Nothing, KeysBody, {202: Done},
             scope="calls:write", tag="calls", problems=(*_NO, 409, 422, 503)),
)  # fmt: skip
