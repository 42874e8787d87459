"""TLS end to end: a scripted Smartflo call over wss, and a certificate renewed under a live call."""

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from cryptography import x509

from tests.wire.service import PATIENCE_S, Caller, Running, calling, running
from trunkline.errors import ConfigError
from trunkline.tls import LOOK_EVERY_S
from trunkline_sim.certs import Certificates, make_certificates

pytestmark = pytest.mark.wire

SCRIPT = "wait for agent\nplay asterisk:hours\nwait for agent\nexpect /open|hour/\nhang up\n"


@asynccontextmanager
async def secured(tmp_path: Path, changes: dict[str, Any] | None = None, **more: Any) -> AsyncIterator[Running]:
    """A service that speaks TLS with the files in tmp_path/tls, and a client that trusts their authority."""
    made = make_certificates(tmp_path / "tls")
    server = {"tls_cert": str(made.chain_file), "tls_key": str(made.key_file)}
    changes = {**(changes or {}), "server": {**server, **(changes or {}).get("server", {})}}
    async with running(tmp_path, changes, **more) as run:
        await run.client.close()
        async with trusting(made) as run.client:
            yield run


def trusting(made: Certificates) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=made.client_context(), force_close=True))


def shown_by(port: int, name: str = "localhost") -> int:
    """Serial number of the certificate that a new connection is shown; blocks."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), 5) as raw, context.wrap_socket(raw, server_hostname=name) as tls:
        der = tls.getpeercert(True)
    assert der is not None
    return x509.load_der_x509_certificate(der).serial_number


async def shown_anew(port: int, before: int, within_s: float = PATIENCE_S) -> None:
    """Return once new connections see another certificate."""
    async with asyncio.timeout(within_s):
        while True:
            if await asyncio.to_thread(shown_by, port) != before:
                return
            await asyncio.sleep(0.05)


def port_of(run: Running) -> int:
    return int(run.url.rpartition(":")[2])


async def test_everything_is_served_over_tls_and_nothing_without(tmp_path: Path) -> None:
    async with secured(tmp_path) as run:
        assert run.url.startswith("https://")
        assert (await run.get("/health"))[0] == 200
        async with calling(run) as caller:
            await caller.speak(0.3)
            await caller.stop()
            assert await caller.until_closed() == 1000
        _, answer = await run.post("/smartflo/endpoint", json={"callId": "1"})
        assert answer["wss_url"].startswith(f"wss://127.0.0.1:{port_of(run)}/media/smartflo/")
        _, figures = await run.get("/metrics")
        assert b"trunkline_tls_certificate_left_seconds 6" in figures
        with pytest.raises(aiohttp.ClientError):
            await run.client.get(run.url.replace("https", "http") + "/health")


async def test_a_certificate_is_renewed_under_a_live_call(tmp_path: Path) -> None:
    async with secured(tmp_path) as run, calling(run) as caller:
        speaking = asyncio.create_task(caller.speak(3.0))
        await asyncio.sleep(0.5)
        before = await asyncio.to_thread(shown_by, port_of(run))
        renewed = make_certificates(tmp_path / "tls")
        run.service.renew_certificate()
        await shown_anew(port_of(run), before)
        async with trusting(renewed) as stranger:
            async with stranger.get(run.url + "/health") as response:
                assert response.status == 200
            async with stranger.ws_connect(run.socket_url + "/smartflo/audio") as socket_:
                second = Caller(socket_)
                await second.start("c-2")
                await second.speak(0.3)
                await second.stop()
                assert await second.until_closed() == 1000
            assert not speaking.done()
            await speaking
            await caller.stop()
            assert await caller.until_closed() == 1000
            run.client, old = stranger, run.client
            calls = await run.calls(2, live=False)
            run.client = old
    assert {call["carrier_ref"]: call["code"] for call in calls} == {"c-1": "Call ended", "c-2": "Call ended"}


async def test_a_bad_renewal_is_told_and_changes_nothing(tmp_path: Path) -> None:
    async with secured(tmp_path) as run:
        before = await asyncio.to_thread(shown_by, port_of(run))
        (tmp_path / "tls" / "server.pem").write_text("half a certifi")
        run.service.renew_certificate()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                _, figures = await run.get("/metrics")
                if b"trunkline_tls_certificates_refused 1" in figures:
                    break
                await asyncio.sleep(0.05)
        assert await asyncio.to_thread(shown_by, port_of(run)) == before


async def test_a_certificate_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    changes = {"server": {"tls_cert": str(tmp_path / "nowhere.pem"), "tls_key": str(tmp_path / "nowhere.key")}}
    with pytest.raises(ConfigError, match=r"server\.tls_cert"):
        async with running(tmp_path, changes):
            pass


@asynccontextmanager
async def program(*arguments: str, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`trunkline …` as its own process; ended on leaving."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trunkline", *arguments, env={**os.environ, **env},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()


async def test_a_scripted_smartflo_call_over_wss(tmp_path: Path) -> None:
    """The simulated carrier as a program of its own, trusting the authority as any program does: SSL_CERT_FILE."""
    (tmp_path / "hello.call").write_text(SCRIPT)
    async with secured(tmp_path, {"ai": {"profile": "offline"}}, provider=None) as run:
        told = await scripted(tmp_path, run.socket_url.replace("127.0.0.1", "localhost") + "/smartflo/audio")
        (call,) = await run.calls(1, live=False)
    assert (call["carrier"], call["cause"]) == ("smartflo", "completed"), told


async def scripted(tmp_path: Path, to: str, *more: str, ca_file: Path | None = None) -> str:
    """Play hello.call against `to`; what the program said. Raises AssertionError unless all expectations were met."""
    trust = str(ca_file or tmp_path / "tls" / "ca.pem")
    arguments = ("call", "--to", to, "--script", str(tmp_path / "hello.call"), "--out", str(tmp_path / "heard"), *more)
    async with program(*arguments, SSL_CERT_FILE=trust) as process:
        said, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, said.decode()
    return said.decode()


async def test_sighup_reads_the_files_again_and_stops_nothing(tmp_path: Path, unused_tcp_port: int) -> None:
    made = make_certificates(tmp_path / "tls")
    settings = (f"server.tls_cert={made.chain_file}", f"server.tls_key={made.key_file}")
    options = ("--profile", "echo", "--port", str(unused_tcp_port), "--data-dir", str(tmp_path / "data"))
    async with program("serve", *options, *(word for one in settings for word in ("--set", one))) as process:
        before = await _shown_once_up(unused_tcp_port, process)
        make_certificates(tmp_path / "tls")
        process.send_signal(signal.SIGHUP)
        await shown_anew(unused_tcp_port, before)
        assert process.returncode is None


async def _shown_once_up(port: int, process: asyncio.subprocess.Process) -> int:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return await asyncio.to_thread(shown_by, port)
            except OSError:
                assert process.returncode is None
                await asyncio.sleep(0.1)


async def test_every_worker_renews_by_itself_under_a_live_call(tmp_path: Path, unused_tcp_port: int) -> None:
    """Nobody sends a signal: certbot does not know us. Whichever worker takes a connection soon has the new one."""
    made = make_certificates(tmp_path / "tls")
    settings = (f"server.tls_cert={made.chain_file}", f"server.tls_key={made.key_file}")
    options = ("--profile", "echo", "--port", str(unused_tcp_port), "--data-dir", str(tmp_path / "data"))
    words = (*options, "--workers", "2", *(word for one in settings for word in ("--set", one)))
    async with program("serve", *words) as process, trusting(made) as client:
        before = await _shown_once_up(unused_tcp_port, process)
        async with client.ws_connect(f"wss://127.0.0.1:{unused_tcp_port}/smartflo/audio") as socket_:
            caller = Caller(socket_)
            await caller.start()
            make_certificates(tmp_path / "tls")
            await caller.speak(LOOK_EVERY_S + 1.0)
            shown = {await asyncio.to_thread(shown_by, unused_tcp_port) for _ in range(12)}
            assert before not in shown
            assert len(shown) == 1
            await caller.stop()
            assert await caller.until_closed() == 1000
