"""The doctor goes the carrier's way: against a real service, and against everything that can stand there instead."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.wire.service import Running, running, settings_of
from tests.wire.test_tls import program
from trunkline import doctor_public
from trunkline.config import Settings
from trunkline.config_load import Configuration
from trunkline.doctor_finding import Finding
from trunkline.doctor_keys import VENDORS, keys
from trunkline_sim.certs import make_certificates

pytestmark = pytest.mark.wire


async def look(settings: Settings) -> dict[str, Finding]:
    """The findings from outside, by part."""
    return {found.part: found for found in await doctor_public.from_outside(Configuration(settings))}


def at(run: Running, tmp_path: Path, url: str = "", **auth: Any) -> Settings:
    """What the service's own configuration says, with `url` as its public address."""
    port = int(run.url.rpartition(":")[2])
    return settings_of(tmp_path, {"server": {"port": port, "public_url": url or run.url}, "auth": auth})


@asynccontextmanager
async def stranger(*routes: web.RouteDef, **headers: str) -> AsyncIterator[str]:
    """Another web server; its address."""

    async def signed(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers.update(headers)

    app = web.Application()
    app.add_routes(routes)
    app.on_response_prepare.append(signed)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def says(path: str, status: int, body: object) -> web.RouteDef:
    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    return web.get(path, answer)


async def test_the_way_to_a_running_service(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        found = await look(at(run, tmp_path))
        _, figures = await run.get("/metrics")
    assert found["name"].status == "warn"  # 127.0.0.1 is not on the internet, and it says so
    assert (found["reached"].status, found["socket"].status) == ("ok", "ok"), found
    assert (found["strangers"].status, "this machine" in found["strangers"].text) == ("ok", True)
    assert b'trunkline_calls_refused_total{carrier="smartflo",reason="no_start"} 1.0' in figures
    assert b"trunkline_calls_total{" not in figures


async def test_another_services_token_is_noticed(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        found = await look(at(run, tmp_path, media_token="of-another-service-123"))
    assert (found["socket"].status, "token" in found["socket"].text) == ("fail", True)


async def test_where_the_world_does_not_lead_back_inside_it_says_how_to_find_out(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    outside = f"http://127.0.0.1:{unused_tcp_port}"
    async with running(tmp_path) as run:
        found = await look(at(run, tmp_path, outside))
        settings = at(run, tmp_path, outside)
    assert found["reached"].status == "warn"
    assert "hairpin" in found["reached"].then
    assert f"curl {outside}/health" in found["reached"].then
    assert "socket" not in found
    nobody = await look(settings)
    assert (nobody["reached"].status, "trunkline serve" in nobody["reached"].then) == ("fail", True)


async def test_a_proxy_with_nothing_behind_it_and_a_stranger_are_told_apart(tmp_path: Path) -> None:
    for route, words in (
        (says("/health", 502, None), "reaches no service"),
        (says("/health", 200, {"status": "ok"}), "something else answers"),
        (says("/other", 200, None), "something else answers"),
    ):
        async with stranger(route) as url:
            found = await look(settings_of(tmp_path, {"server": {"public_url": url}}))
        assert (found["reached"].status, words in found["reached"].text) == ("fail", True), found


async def test_a_proxy_that_passes_no_websockets_and_is_not_trusted_is_found(tmp_path: Path) -> None:
    health = {"status": "ok", "version": "0.1.0", "uptime_s": 1.0}
    routes = (
        says("/health", 200, health),
        says("/media/smartflo/{token}", 426, None),
        says("/calls", 200, {"calls": []}),
    )
    async with stranger(*routes, Server="Caddy") as url:
        found = await look(settings_of(tmp_path, {"server": {"public_url": url}}))
    assert (found["reached"].status, "Caddy" in found["reached"].text) == ("warn", True)
    assert "trusted_proxies" in found["reached"].then
    assert (found["socket"].status, "Upgrade" in found["socket"].then) == ("fail", True)


async def test_a_name_that_leads_nowhere_ends_the_look(tmp_path: Path) -> None:
    found = await look(settings_of(tmp_path, {"server": {"public_url": "https://nowhere.invalid"}}))
    assert [one.part for one in found.values()] == ["name"]
    assert found["name"].status == "fail"


@pytest.mark.parametrize(
    ("host", "trusted", "status", "words"),
    [("localhost", True, "ok", "for localhost"), ("localhost", False, "fail", "does not trust"),
     ("ip6-localhost", True, "fail", "not for ip6-localhost")],
)  # fmt: skip
async def test_the_certificate_as_a_carrier_sees_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool, status: str, words: str
) -> None:
    made = make_certificates(tmp_path / "tls")
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(made.ca_file))
    tls = {"tls_cert": str(made.chain_file), "tls_key": str(made.key_file)}
    async with running(tmp_path, {"server": tls}) as run:
        port = int(run.url.rpartition(":")[2])
        facts, why = await asyncio.to_thread(doctor_public.shown_to_a_stranger, host, port, "127.0.0.1")
    found = doctor_public.certificate_finding("certificate", facts, host, datetime.now(UTC), why)
    assert (found.status, words in found.text) == (status, True), found


async def test_the_program_over_tls(tmp_path: Path) -> None:
    """All of it, as a person runs it; the authority is known to it as to any program."""
    made = make_certificates(tmp_path / "tls")
    tls = {"tls_cert": str(made.chain_file), "tls_key": str(made.key_file)}
    async with running(tmp_path, {"server": tls, "auth": {"webhook_secret": "sesame-1234567890"}}) as run:
        url = run.url.replace("127.0.0.1", "localhost")
        settings = {f"server.{name}": value for name, value in tls.items()}
        settings |= {"server.port": url.rpartition(":")[2], "server.public_url": url}
        settings |= {"server.data_dir": str(tmp_path / "data")}
        words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
        async with program("doctor", "--profile", "echo", *words, SSL_CERT_FILE=str(made.ca_file)) as process:
            out, _ = await asyncio.wait_for(process.communicate(), 60)
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.decode())
    lines = ("port         127.0.0.1:", "TLS files    for localhost", "certificate  for localhost", "reached", "socket")
    for line in (*(f"✓ {line}" for line in (*lines, "strangers")), f"wss://{url[8:]}/media/smartflo/TOKEN"):
        assert line in text, text
    assert process.returncode == 0


async def test_clocks_are_compared_by_the_date_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = format_datetime(datetime.now(UTC) - timedelta(seconds=90), usegmt=True)
    for date, status in (("", "ok"), (late, "fail"), ("yesterday", None)):
        async with stranger(says("/", 200, None), **({"Date": date} if date else {})) as url:
            monkeypatch.setattr(doctor_public, "REFEREES", (url,))
            found = await doctor_public.clock(Configuration(settings_of(tmp_path)), online=True)
        assert (found.status if found else None) == status
    assert await doctor_public.clock(Configuration(settings_of(tmp_path)), online=False) is None


async def test_vendors_are_shown_their_own_key_only_when_asked_to() -> None:
    seen: list[str] = []

    async def models(request: web.Request) -> web.Response:
        seen.append(request.headers.get("x-goog-api-key", ""))
        return web.json_response({}, status=200 if seen[-1].endswith("y") else 400, reason="API key not valid")

    async def account(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization", ""))
        return web.json_response({"sid": request.match_info["sid"]})

    env = {"GEMINI_API_KEY": "AIza" + "x" * 34 + "y", "TWILIO_AUTH_TOKEN": "0" * 32, "TWILIO_ACCOUNT_SID": "AC1"}
    async with stranger(web.get("/gemini", models), web.get("/twilio/{sid}", account)) as url:
        gemini, twilio = (next(one for one in VENDORS if one.name == name) for name in ("Gemini", "Twilio"))
        here = [replace(gemini, url=f"{url}/gemini"), replace(twilio, url=f"{url}/twilio/{{account}}")]
        assert {one.status for one in await keys(env, online=False, vendors=here)} == {"ok"}
        assert seen == []
        assert [one.status for one in await keys(env, online=True, vendors=here)] == ["ok", "ok"]
        assert seen == [env["GEMINI_API_KEY"], "Basic " + "QUMxOjAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw"]
    gone = await keys(env, online=True, vendors=here)
    assert [one.status for one in gone] == ["warn", "warn"]
    assert env["GEMINI_API_KEY"] not in str(gone)
