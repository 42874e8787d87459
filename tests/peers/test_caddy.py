"""docker/Caddyfile, run by Caddy with an authority of its own: calls through it, a certificate renewed under one."""

import asyncio
import os
import shutil
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from tests.wire.service import PATIENCE_S, Caller, Running, running
from tests.wire.test_tls import SCRIPT, scripted, shown_anew, shown_by

pytestmark = pytest.mark.peers

ROOT = Path(__file__).parents[2]
LIFE_S = 9  # Caddy renews when two thirds are over


def caddy() -> str:
    """Path of the program."""
    kept = ROOT / ".cache" / "tools" / "caddy"
    found = os.environ.get("CADDY") or shutil.which("caddy") or (str(kept) if kept.exists() else None)
    if found is None:
        pytest.skip("caddy is not there (scripts/caddy.sh takes it out of Debian's package)")
    return found


def free_ports(count: int) -> list[int]:
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in taken]
    for one in taken:
        one.close()
    return ports


@dataclass(slots=True)
class Front:
    """Caddy in front of a service."""

    run: Running
    port: int
    ca_file: Path
    client: aiohttp.ClientSession

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def socket_url(self) -> str:
        return f"wss://localhost:{self.port}"


def configuration(folder: Path, https: int, http: int) -> str:
    """The sample with an authority of Caddy's own in place of Let's Encrypt, on free ports; nothing else is changed."""
    sample = (ROOT / "docker" / "Caddyfile").read_text()
    internal = f"\n\ttls {{\n\t\tissuer internal {{\n\t\t\tlifetime {LIFE_S}s\n\t\t}}\n\t}}\n\treverse_proxy"
    assert sample.count("\n\treverse_proxy") == 1
    options = (
        "admin off", f"https_port {https}", f"http_port {http}", "auto_https disable_redirects", "skip_install_trust",
        "default_bind 127.0.0.1", f"storage file_system {folder / 'store'}", "renew_interval 500ms",
    )  # fmt: skip
    return (
        "{\n" + "".join(f"\t{option}\n" for option in options) + "}\n" + sample.replace("\n\treverse_proxy", internal)
    )


@asynccontextmanager
async def fronted(folder: Path, upstream: str) -> AsyncIterator[tuple[int, Path]]:
    """Caddy as a process; gives its port and its authority's file."""
    https, http = free_ports(2)
    (folder / "Caddyfile").write_text(configuration(folder, https, http))
    env = {"TRUNKLINE_HOST": "localhost", "TRUNKLINE_UPSTREAM": upstream, "HOME": str(folder),
           "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}  # fmt: skip
    with (folder / "caddy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            caddy(), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile",
            env={**os.environ, **env}, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        await _up(https, process)
        yield https, folder / "store" / "pki" / "authorities" / "local" / "root.crt"
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _up(port: int, process: asyncio.subprocess.Process) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            assert process.returncode is None, "Caddy ended; see caddy/caddy.log in the test's folder"
            try:
                await asyncio.to_thread(shown_by, port)
                return
            except OSError:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def front(tmp_path: Path, profile: str = "echo", **more: object) -> AsyncIterator[Front]:
    """A service as docs/public-address.md sets it up, and Caddy before it."""
    settings = {"server": {"trusted_proxies": ["127.0.0.1", "::1"]}, "ai": {"profile": profile}}
    async with running(tmp_path, settings, **more) as run:
        folder = tmp_path / "caddy"
        folder.mkdir()
        async with fronted(folder, run.url.removeprefix("http://")) as (port, ca_file):
            connector = aiohttp.TCPConnector(ssl=ssl.create_default_context(cafile=ca_file), force_close=True)
            async with aiohttp.ClientSession(connector=connector) as client:
                yield Front(run, port, ca_file, client)


async def test_a_scripted_smartflo_call_through_caddy(tmp_path: Path) -> None:
    (tmp_path / "hello.call").write_text(SCRIPT)
    async with front(tmp_path, "offline", provider=None) as way:
        token = way.run.service.desk.secrets.media_token
        told = await scripted(
            tmp_path, f"{way.socket_url}/media/smartflo/{token}", "--api", way.run.url, ca_file=way.ca_file
        )
        (call,) = await way.run.calls(1, live=False)
    assert (call["carrier"], call["cause"]) == ("smartflo", "completed"), told


async def test_a_certificate_is_renewed_under_a_live_call(tmp_path: Path) -> None:
    async with front(tmp_path) as way:
        path = f"{way.socket_url}/media/smartflo/{way.run.service.desk.secrets.media_token}"
        async with way.client.ws_connect(path) as first:
            caller = Caller(first)
            await caller.start()
            before = await asyncio.to_thread(shown_by, way.port)
            speaking = asyncio.create_task(caller.speak(LIFE_S + 1.0))
            await shown_anew(way.port, before, within_s=LIFE_S)
            async with way.client.ws_connect(path) as second:
                other = Caller(second)
                await other.start("c-2")
                await other.stop()
                assert await other.until_closed() == 1000
            await speaking
            await caller.stop()
            assert await caller.until_closed() == 1000
        calls = await way.run.calls(2, live=False)
    assert [call["code"] for call in calls] == ["Call ended"] * 2


async def test_what_comes_through_is_what_the_world_may(tmp_path: Path) -> None:
    async with front(tmp_path) as way:
        secret = way.run.service.desk.secrets.webhook_secret
        forged = {"X-Forwarded-For": "127.0.0.1", "Forwarded": "for=127.0.0.1", "X-Forwarded-Host": "evil.example"}
        for headers in ({}, forged):
            url = f"{way.url}/smartflo/endpoint?secret={secret}"
            async with way.client.post(url, json={"callId": "1"}, headers=headers) as response:
                answer = await response.json()
            assert answer["wss_url"].startswith(f"wss://localhost:{way.port}/media/smartflo/")
            for path, status in (("/calls", 401), ("/smartflo/audio", 403), ("/metrics", 404), ("/health", 200)):
                async with way.client.get(way.url + path, headers=headers) as response:
                    assert response.status == status, path
        async with way.client.get(way.url + "/events?ticket=forged") as response:
            assert response.status == 401


async def test_events_come_through_as_they_happen(tmp_path: Path) -> None:
    async with front(tmp_path) as way:
        ticket = way.run.service.desk.gate.tickets.issue("default", ["events:read"])
        async with way.client.get(f"{way.url}/events?ticket={ticket}") as response:
            async with asyncio.timeout(PATIENCE_S):
                assert await response.content.readline() == b": watching\n"
