"""The load generator against small services: its figures must be true, and no way of leaving may hurt it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import WSMsgType, web

from tests.virtual_time import virtual
from trunkline_sim import mulaw
from trunkline_sim.errors import SimError
from trunkline_sim.load import WAYS, Load, run_load, tone_message


@asynccontextmanager
async def _echo(*, delay_s: float = 0.0, drop: bool = False, close_after: int = 10**9) -> AsyncIterator[str]:
    async def socket(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        count = 0
        async for message in ws:
            told = message.json() if message.type == WSMsgType.TEXT else {}
            count += 1
            if told.get("event") == "stop" or count > close_after:
                await ws.close()
            elif told.get("event") == "media" and not drop:
                await asyncio.sleep(delay_s)
                media = {"payload": told["media"]["payload"]}
                await ws.send_json({"event": "media", "streamSid": told["streamSid"], "media": media})
        return ws

    app = web.Application()
    app.router.add_get("/smartflo/audio", socket)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"ws://127.0.0.1:{runner.addresses[0][1]}/smartflo/audio"
    finally:
        await runner.cleanup()


def test_a_tone_lies_in_the_last_20_ms_of_its_message() -> None:
    message = tone_message(100)
    assert len(message) == 800
    assert message[:640] == b"\xff" * 640
    assert mulaw.level_dbov(message[640:]) > -15


@virtual
async def test_every_tone_that_comes_back_is_timed() -> None:
    async with _echo(delay_s=0.03) as url:
        report = await run_load(Load(url, calls=3, seconds=1.6))
    assert report.outcomes == {"completed": 3}
    assert (report.pulses, report.pulses_lost, len(report.delays_ms)) == (3, 0, 3)
    assert min(report.delays_ms) >= 29
    assert report.sent_s == pytest.approx(4.8, abs=0.01)
    assert report.returned_s == pytest.approx(4.8, abs=0.4)
    assert report.good
    assert dict(report.rows())["tones sent / lost"] == "3 / 0"


@virtual
async def test_a_service_that_returns_nothing_is_seen_to() -> None:
    async with _echo(drop=True) as url:
        report = await run_load(Load(url, calls=1, seconds=2.6))
    assert not report.delays_ms
    assert report.pulses_lost == 2
    assert report.returned_s == 0


@virtual
async def test_a_service_that_closes_first_is_a_failure() -> None:
    async with _echo(close_after=4) as url:
        report = await run_load(Load(url, calls=2, seconds=2))
    assert not report.good
    assert report.outcomes == {"failed: the service closed (1000)": 2}


@virtual
async def test_calls_are_abandoned_in_every_way() -> None:
    async with _echo() as url:
        report = await run_load(Load(url, calls=40, seconds=0.4, rate=100, abandon=True, seed=5))
    assert sum(report.outcomes.values()) == 40
    assert report.good, report.outcomes
    assert len(report.outcomes) == len(WAYS)


@virtual
async def test_nothing_there_is_an_error_of_its_own() -> None:
    with pytest.raises(SimError, match="nothing listens"):
        await run_load(Load("ws://127.0.0.1:1/smartflo/audio", calls=2, seconds=1))
