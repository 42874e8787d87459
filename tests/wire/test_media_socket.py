"""Carriers' sockets: who may in, what is refused before the upgrade, and that odd carriers hurt nobody else."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
import structlog

from tests.wire.service import PATIENCE_S, Caller, Running, calling, running
from trunkline import api_media
from trunkline.ai.echo import EchoProvider
from trunkline.errors import AdmissionError

pytestmark = pytest.mark.wire


async def refused(run: Running, path: str, **more: object) -> tuple[int, dict[str, str], str]:
    """Status, problem and Retry-After of a handshake that is refused."""
    headers = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Version": "13",
               "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    async with run.client.get(run.url + path, headers=headers) as response:
        assert response.content_type == "application/problem+json"
        return response.status, await response.json(), response.headers.get("Retry-After", "")


async def seat_is_free(run: Running) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                return run.service.desk.calls.admit("smartflo").leave()
            except AdmissionError:
                await asyncio.sleep(0.01)


async def test_a_call_from_hello_to_record(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        async with calling(run) as caller:
            await caller.speak(0.5)
            await caller.stop("Call ended")
            assert await caller.until_closed() == 1000
        (call,) = await run.calls(1, live=False)
        assert (call["from"], call["to"], call["carrier_ref"]) == ("+919800000001", "+918069000000", "c-1")
        assert (call["carrier"], call["direction"], call["code"]) == ("smartflo", "inbound", "Call ended")
        assert call["fault"] == "caller"


async def test_the_token_opens_both_paths_and_nothing_else_does(tmp_path: Path) -> None:
    token = "a-secret-token-1234567"
    async with running(tmp_path, {"auth": {"media_token": token}}) as run:
        for path in (f"/media/smartflo/{token}", f"/smartflo/{token}"):
            async with calling(run, path, headers={"Host": "bot.example.com"}) as caller:
                await caller.stop()
                await caller.until_closed()
        for path in ("/media/smartflo/wrong", f"/media/smartflo/{token}x", "/smartflo/wrong", "/media/smartflo/%00"):
            status, problem, _ = await refused(run, path)
            assert status == 403
            assert "doctor" in problem["allowed"]
        status, problem, _ = await refused(run, f"/media/nobody/{token}")
        assert (status, problem["field"], problem["allowed"]) == (404, "carrier", "smartflo, twilio")


async def test_a_path_that_is_no_websocket_request_is_told_so(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        status, problem = await run.get("/smartflo/audio")
        assert (status, problem["allowed"]) == (426, "Upgrade: websocket")
        assert run.service.desk.calls.admit("smartflo").open


async def test_a_full_house_is_busy_before_the_upgrade_and_free_again_after(tmp_path: Path) -> None:
    async with running(tmp_path, {"limits": {"max_calls": 1}}) as run:
        async with calling(run) as caller:
            await run.calls(1, live=True)
            status, problem, after = await refused(run, "/smartflo/audio")
            assert (status, after) == (503, "5")
            assert "1 lines" in problem["detail"]
            _, answer = await run.post("/smartflo/endpoint", json={"callId": "1"})
            assert answer["success"] is False
            await caller.stop()
            await caller.until_closed()
        await run.calls(1, live=False)
        async with calling(run) as caller:
            await caller.stop()
            assert await caller.until_closed() == 1000


async def test_silent_sockets_take_no_agent_from_a_caller(tmp_path: Path) -> None:
    alone = EchoProvider(silent=True)
    alone.capacity = 1
    async with running(tmp_path, provider=alone) as run, AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(run.client.ws_connect(run.socket_url + "/smartflo/audio"))
        async with calling(run) as caller:
            await run.calls(1, live=True)
            status, problem, _ = await refused(run, "/smartflo/audio")
            assert (status, "carries 1" in problem["detail"]) == (503, True)
            await caller.stop()
            assert await caller.until_closed() == 1000


async def test_a_handshake_that_fails_gives_its_seat_back(tmp_path: Path) -> None:
    async with running(tmp_path, {"limits": {"max_calls": 1, "start_timeout_s": 0.2}}) as run:
        for _ in range(3):
            async with run.client.ws_connect(run.socket_url + "/smartflo/audio") as socket:
                async with asyncio.timeout(PATIENCE_S):
                    async for _message in socket:
                        pass
                assert socket.close_code == 1002
            await seat_is_free(run)


async def test_odd_messages_are_counted_and_the_call_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        async with calling(run) as caller:
            for odd in ("not json", "[]", '{"event":"surprise"}', '{"event":"media"}', '{"event":1e400}', "{" * 5000):
                await caller.socket.send_str(odd)
            await caller.socket.send_bytes(b"\x00\xff")
            await caller.speak(0.2)
            await caller.stop()
            assert await caller.until_closed() == 1000
        (call,) = await run.calls(1, live=False)
        assert call["cause"] in ("completed", "abandoned")
        _, text = await run.get("/metrics")
        for kind in (b"bad_json", b"unknown_event", b"binary_frame"):
            assert b'kind="' + kind + b'"' in text


async def test_a_message_beyond_all_measure_ends_that_socket_only(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        async with calling(run) as other, calling(run) as caller:
            await caller.socket.send_str("x" * (2 << 20))
            await caller.until_closed()
            await run.calls(1, live=False)
            await other.speak(0.2)
            await other.stop()
            assert await other.until_closed() == 1000
        await run.calls(2, live=False)


async def test_a_carrier_that_vanishes_is_recorded_as_lost(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        async with aiohttp.ClientSession() as client:
            socket = await client.ws_connect(run.socket_url + "/smartflo/audio")
            await Caller(socket).start()
            await run.calls(1, live=True)
            assert socket._response.connection is not None
            assert socket._response.connection.transport is not None
            socket._response.connection.transport.abort()
        (call,) = await run.calls(1, live=False)
        assert (call["cause"], call["fault"]) == ("media_lost", "carrier")


async def test_a_client_that_leaves_during_the_handshake_is_no_fault_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(*_: object, **__: object) -> None:
        raise ConnectionResetError("the client left during the handshake")

    monkeypatch.setattr(api_media, "upgraded", gone)
    async with running(tmp_path, {"limits": {"max_calls": 1}}) as run:
        with structlog.testing.capture_logs() as lines:
            status, _, _ = await refused(run, "/smartflo/audio")
        assert status == 400
        assert [line for line in lines if line["log_level"] in ("error", "critical")] == []
        _, text = await run.get("/metrics")
        assert b'trunkline_calls_refused_total{carrier="smartflo",reason="left"} 1.0' in text
        await seat_is_free(run)
