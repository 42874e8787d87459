"""Behind a proxy: what its headers are believed for, and that nobody else may write them."""

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.wire.service import Running, calling, running
from tests.wire.test_media_socket import refused

pytestmark = pytest.mark.wire

TOKEN = "a-secret-token-1234567"
VIA = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "voice.example.com"}
CARRIER = "/media/smartflo/" + TOKEN


def changes(*, trusted: tuple[str, ...] = (), carriers: tuple[str, ...] = (), **server: Any) -> dict[str, Any]:
    auth = {"media_token": TOKEN, "webhook_secret": "sesame-1234567890", "allow_carriers_from": carriers}
    return {"server": {"trusted_proxies": trusted, **server}, "auth": auth}


async def asked(run: Running, headers: dict[str, str]) -> str:
    """Where the dynamic endpoint sends Smartflo."""
    _, answer = await run.post("/smartflo/endpoint?secret=sesame-1234567890", json={"callId": "1"}, headers=headers)
    return str(answer["wss_url"])


async def test_the_socket_is_where_the_proxy_was_found(tmp_path: Path) -> None:
    async with running(tmp_path, changes(trusted=("127.0.0.1",))) as run:
        assert await asked(run, VIA) == "wss://voice.example.com" + CARRIER
        assert (
            await asked(run, {"Forwarded": "for=203.0.113.7;proto=https;host=v.example"}) == f"wss://v.example{CARRIER}"
        )
    async with running(tmp_path, changes()) as run:
        assert await asked(run, VIA) == run.socket_url + CARRIER
    async with running(tmp_path, changes(public_url="https://configured.example/bot/")) as run:
        assert await asked(run, VIA) == "wss://configured.example/bot" + CARRIER


async def test_carriers_are_taken_from_their_addresses_only(tmp_path: Path) -> None:
    limits = changes(trusted=("127.0.0.1",), carriers=("203.0.113.0/24", "2001:db8::/32"))
    async with running(tmp_path, limits) as run:
        for address in ("203.0.113.7", "2001:db8::5", "127.0.0.1, 203.0.113.9"):
            async with calling(run, CARRIER, headers={"X-Forwarded-For": address}) as caller:
                await caller.stop()
                assert await caller.until_closed() == 1000
        for address in ("198.51.100.4", "203.0.113.7, 198.51.100.4", "nonsense"):
            with capture_logs() as lines:
                status, problem = await run.get(CARRIER, headers={"X-Forwarded-For": address})
            assert (status, problem["field"]) == (403, "address")
            assert "198.51.100.4" not in str(problem) + str(lines)
            assert "carrier.elsewhere" in [line["event"] for line in lines]
            for path in ("/webhook", "/webhooks/smartflo", "/smartflo/endpoint"):
                url = path + "?secret=sesame-1234567890"
                status, _ = await run.post(
                    url, json={"call_id": "1", "event": "x"}, headers={"X-Forwarded-For": address}
                )
                assert status == 403, path
        assert (await run.get("/health", headers={"X-Forwarded-For": "198.51.100.4"}))[0] == 200


async def test_nobody_writes_his_own_address(tmp_path: Path) -> None:
    async with running(tmp_path, changes(carriers=("203.0.113.0/24",))) as run:
        status, problem = await run.get(CARRIER, headers={"X-Forwarded-For": "203.0.113.7"})
        assert (status, problem["value"]) == (403, "127.0.0.x")


async def test_programs_on_the_machine_may_always_call(tmp_path: Path) -> None:
    async with running(tmp_path, changes(carriers=("203.0.113.0/24",))) as run, calling(run, CARRIER) as caller:
        await caller.stop()
        assert await caller.until_closed() == 1000


async def test_a_proxy_does_not_make_its_visitors_local(tmp_path: Path) -> None:
    """The API is open to this machine while there are no keys; to those who come through a trusted proxy it is not."""
    async with running(tmp_path, changes(trusted=("127.0.0.1",))) as run:
        assert (await run.get("/calls"))[0] == 200
        for headers in (VIA, {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}):
            assert (await run.get("/calls", headers=headers))[0] == 401
            assert (await run.get("/smartflo/audio", headers=headers))[0] == 403


@pytest.mark.parametrize("path", ["/smartflo/audio"])
async def test_a_bare_path_from_elsewhere_is_told_what_to_do(tmp_path: Path, path: str) -> None:
    async with running(tmp_path, changes()) as run:
        status, problem, _ = await refused_through(run, path)
        assert (status, problem["field"], problem["value"]) == (403, "path", path)
        assert "trunkline doctor" in problem["allowed"]
        assert "allow_unauthenticated" in problem["allowed"]


async def refused_through(run: Running, path: str) -> tuple[int, dict[str, str], str]:
    run.client.headers.update(VIA)
    return await refused(run, path)


async def test_the_log_knows_the_visitors_network_alone(tmp_path: Path) -> None:
    async with running(tmp_path, changes(trusted=("127.0.0.1",))) as run:
        with capture_logs() as lines:
            await run.get("/health", headers={"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Host": "a b"})
        (line,) = [line for line in lines if line["event"] == "proxy.bad_header"]
        assert (line["peer"], line["part"]) == ("203.0.113.x", "host")
