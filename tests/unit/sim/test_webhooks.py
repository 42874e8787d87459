"""Smartflo's HTTP side against a small real server."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.virtual_time import virtual
from trunkline_sim.errors import EndpointError
from trunkline_sim.spectator import Spectator, http_base
from trunkline_sim.webhooks import HANGUP, Body, ask_endpoint, call_values, fill, notify
from trunkline_sim.wire import CallFacts

FACTS = CallFacts(call_sid="h11.08-1776875353.216650")


@asynccontextmanager
async def _server(handler: web.RequestHandler) -> AsyncIterator[str]:  # type: ignore[type-arg]
    app = web.Application()
    app.router.add_route("*", "/x", handler)  # type: ignore[arg-type]
    app.router.add_route("GET", "/events", handler)  # type: ignore[arg-type]
    runner = web.AppRunner(app, shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def test_a_template_is_filled_and_what_is_unknown_stays_literal() -> None:
    body = fill(HANGUP, call_values(FACTS, seconds=12))
    assert body["event"] == "hangup"
    assert body["call_id"] == "1776875353.216650"
    assert body["duration"] == "12"
    assert body["recording_url"] == "$recording_url"


@pytest.mark.parametrize("shape", ["json", "form", "query"])
def test_webhooks_come_as_the_operator_set_them_up(shape: Body) -> None:
    seen: list[dict[str, str]] = []

    async def handler(request: web.Request) -> web.Response:
        assert request.method == ("GET" if shape == "query" else "POST")
        given = {"json": request.json, "form": request.post}.get(shape)
        seen.append(dict(await given() if given else request.query))
        return web.Response(status=204)

    async def main() -> None:
        async with _server(handler) as base:  # type: ignore[arg-type]
            assert await notify(f"{base}/x", {"event": "hangup", "n": "1"}, shape) == 204

    virtual(main)()
    assert seen == [{"event": "hangup", "n": "1"}]


@virtual
async def test_the_dynamic_endpoint_names_the_socket() -> None:
    async def handler(request: web.Request) -> web.Response:
        asked = await request.json()
        assert asked == {"callId": FACTS.call_sid, "fromNumber": FACTS.from_, "toNumber": FACTS.to, "status": "ringing"}
        return web.json_response({"success": True, "wss_url": "wss://bridge.example.com/media/smartflo?sid=abc"})

    async with _server(handler) as base:  # type: ignore[arg-type]
        assert (await ask_endpoint(f"{base}/x", FACTS)).endswith("?sid=abc")


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (500, "", "answered 500"),
        (200, "hello", "no JSON"),
        (200, '{"success": false, "wss_url": "wss://x"}', "wanted"),
        (200, '{"success": true, "wss_url": "https://x"}', "wanted"),
    ],
)
def test_a_wrong_answer_fails_the_call(status: int, body: str, told: str) -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    async def main() -> None:
        async with _server(handler) as base:  # type: ignore[arg-type]
            with pytest.raises(EndpointError, match=told):
                await ask_endpoint(f"{base}/x", FACTS)

    virtual(main)()


@virtual
async def test_an_endpoint_that_takes_longer_than_2_s_fails_the_call() -> None:
    async def handler(request: web.Request) -> web.Response:
        await asyncio.sleep(2.5)
        return web.json_response({"success": True, "wss_url": "wss://x"})

    async with _server(handler) as base:  # type: ignore[arg-type]
        with pytest.raises(EndpointError, match="within 2 s"):
            await ask_endpoint(f"{base}/x", FACTS)


@virtual
async def test_a_spectator_follows_its_own_call_only() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await stream.prepare(request)
        for call, event in (
            ("b", '"event":"call_started","from":"+919999999999"'),
            ("a", '"event":"call_started","from":"+919800000001"'),
            ("b", '"event":"reply_saying","reply":"r","text":"not ours"'),
            ("a", '"event":"reply_saying","reply":"r","text":"ours","turn":0'),
            ("a", '"event":"call_ended","cause":"completed","fault":"nobody"'),
        ):
            await stream.write(b'event: x\ndata: {"call_id":"%s",%s}\n\n' % (call.encode(), event.encode()))
        await stream.write(b"data: no json\n\n: a comment\n\n")
        return stream

    async with _server(handler) as base:  # type: ignore[arg-type]
        spectator = Spectator(base, "919800000001")
        async with spectator.watching():
            await spectator.last()
    assert spectator.call_id == "a"
    assert [event.event for event in spectator.events] == ["call_started", "reply_saying", "call_ended"]


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("ws://127.0.0.1:8006/smartflo/audio", "http://127.0.0.1:8006"),
        ("wss://x.example/media/a/b?c", "https://x.example"),
    ],
)
def test_the_services_http_address_is_that_of_its_socket(url: str, base: str) -> None:
    assert http_base(url) == base
