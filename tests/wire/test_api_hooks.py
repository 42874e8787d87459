"""Web hooks and the dynamic endpoint: whatever the operator typed, once, quickly, and only from who may."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.wire.service import calling, running
from trunkline import api_base

pytestmark = pytest.mark.wire
SECRET = {"auth": {"webhook_secret": "a-webhook-secret-12345"}}
GOOD = {"X-Webhook-Secret": "a-webhook-secret-12345"}


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("POST", {"json": {"event": "hangup", "call_id": "17.1", "call_status": "Answered"}}),
        ("POST", {"json": {"$event": "hangup", "$call_id": "17.1", "$call_status": "Answered"}}),
        ("POST", {"data": {"event": "hangup", "call_id": "17.1"}}),
        ("POST", {"params": {"event": "hangup", "call_id": "17.1"}}),
        ("GET", {"params": {"$event": "hangup", "$call_id": "17.1"}}),
        ("POST", {"json": {"event_type": "HANGUP", "call_id": "17.1"}}),
        ("POST", {"data": b'{"event":"hangup","call_id":"17.1"}', "headers": {"Content-Type": "text/plain"}}),
    ],
)
@pytest.mark.parametrize("path", ["/webhook", "/webhooks/smartflo"])
async def test_every_form_of_a_web_hook_is_kept_once(tmp_path: Path, path: str, method: str, more: Any) -> None:
    async with running(tmp_path) as run:
        for known in (False, True, True):
            async with run.client.request(method, run.url + path, **more) as response:
                assert response.status == 200
                assert await response.json() == {"status": "ok", "known": known}
        (kept,) = await run.service.desk.store.webhooks("smartflo", "17.1")
        assert kept["event"] == "hangup"


async def test_what_is_no_web_hook_is_told_what_is_missing(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        for body in (b"", b"{", b"[1,2]", b"\xff\xfe", b'{"event":"hangup"}', b'{"call_id":"1"}', b"\x00" * 1000):
            status, problem = await run.post("/webhook", data=body)
            assert (status, problem["field"]) == (422, "body"), body
            assert "call_id" in problem["allowed"]
        status, problem = await run.post("/webhook", data=b"x" * (2 << 20))
        assert (status, problem["field"]) == (413, "body")
        assert (await run.post("/webhooks/nobody", json={}))[0] == 404


async def test_the_secret_is_asked_for_in_header_or_query(tmp_path: Path) -> None:
    fact = {"event": "hangup", "call_id": "1"}
    async with running(tmp_path, SECRET) as run:
        for path in ("/webhook", "/webhooks/smartflo", "/smartflo/endpoint"):
            assert (await run.post(path, json=fact))[0] == 403
            assert (await run.post(path, json=fact, headers={"X-Webhook-Secret": "wrong"}))[0] == 403
            assert (await run.post(path, json=fact, headers=GOOD))[0] == 200
            assert (await run.post(path + "?secret=a-webhook-secret-12345", json=fact))[0] == 200
        (kept,) = await run.service.desk.store.webhooks("smartflo", "1")
        assert "a-webhook-secret-12345" not in str(kept)


async def test_the_dynamic_endpoint_leads_to_a_socket_that_works(tmp_path: Path) -> None:
    changes = SECRET | {"server": {"public_url": "https://bot.example.com"}}
    async with running(tmp_path, changes) as run:
        began = time.monotonic()
        body = {"$callId": "17.5", "$fromNumber": "9800000001", "$toNumber": "8069000000", "campaign": "a b"}
        status, answer = await run.post("/smartflo/endpoint", json=body, headers=GOOD)
        assert time.monotonic() - began < 2.0
        assert (status, answer["success"]) == (200, True)
        base = "wss://bot.example.com"
        assert answer["wss_url"].startswith(f"{base}/media/smartflo/")
        assert answer["wss_url"].endswith("?campaign=a+b")
        async with calling(run, answer["wss_url"].removeprefix(base)) as caller:
            await caller.stop()
            assert await caller.until_closed() == 1000


async def test_the_dynamic_endpoint_answers_odd_questions_too(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        for body in (b"", b"{", b"[]", b"\xff", b'{"a":' * 3000):
            status, answer = await run.post("/smartflo/endpoint", data=body)
            assert (status, answer["success"]) == (200, True)
        status, answer = await run.get("/smartflo/endpoint?callId=1&fromNumber=2")
        assert answer["wss_url"].startswith(run.socket_url + "/media/smartflo/")


async def test_a_draining_service_sends_new_calls_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await run.service.drain(1)
        _, answer = await run.post("/smartflo/endpoint", json={"callId": "1"})
        assert answer == {"success": False, "message": "no new calls: the service is draining"}
        assert (await run.post("/webhook", json={"event": "hangup", "call_id": "1"}))[0] == 200


async def test_a_body_that_trickles_in_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_base, "BODY_TIMEOUT_S", 0.2)

    async def trickle() -> AsyncIterator[bytes]:
        yield b'{"call_id":'
        await asyncio.sleep(3)
        yield b'"1"}'

    async with running(tmp_path) as run, run.client.post(run.url + "/webhook", data=trickle()) as response:
        assert response.status == 408
        assert (await response.json())["allowed"] == "0.2 s"
