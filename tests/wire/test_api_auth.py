"""Who may do what: keys, scopes, tenants, tickets, and what is open on this machine only."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.wire.service import Running, calling, running, settings_of
from trunkline import keys
from trunkline.calls.store_sql import open_store
from trunkline.config_load import database_url
from trunkline.errors import ConfigError

pytestmark = pytest.mark.wire

GUARDED = [
    ("GET", "/calls", "calls:read"),
    ("GET", "/calls/x", "calls:read"),
    ("GET", "/calls/x/timeline", "calls:read"),
    ("GET", "/calls/x/transcript", "calls:read"),
    ("GET", "/calls/x/recording", "calls:read"),
    ("POST", "/calls/x/hangup", "calls:write"),
    ("POST", "/calls/x/say", "calls:write"),
    ("GET", "/events", "events:read"),
    ("GET", "/metrics", "metrics:read"),
    ("POST", "/tickets", "events:read"),
]
OPEN = ["/", "/health", "/ready", "/openapi.json", "/docs", "/docs/start.js"]


async def key_of(run: Running, kind: str = "prod", *scopes: str, tenant: str = "default") -> dict[str, str]:
    text, key = keys.make(kind, tenant=tenant, scopes=scopes, now=datetime.now(UTC))
    await run.service.desk.store.add_key(key)
    return {"Authorization": f"Bearer {text}"}


async def status_of(run: Running, method: str, path: str, **more: Any) -> int:
    async with run.client.request(method, run.url + path, **more) as response:
        return response.status


async def test_a_service_with_keys_asks_for_one_everywhere_but_where_anybody_may_look(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        await key_of(run)
        run.service.desk.gate._keys_until = 0.0
        for method, path, _ in GUARDED:
            async with run.client.request(method, run.url + path) as response:
                assert response.status == 401, path
                assert response.headers["WWW-Authenticate"].startswith("Bearer")
                assert "sk_" in (await response.json())["allowed"]
        for path in OPEN:
            assert await status_of(run, "GET", path) == 200, path


async def test_each_endpoint_wants_its_own_scope(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        scopes = sorted({scope for _, _, scope in GUARDED})
        with_scope = {scope: await key_of(run, "prod", scope) for scope in scopes}
        admin = await key_of(run, "admin")
        for method, path, needed in GUARDED:
            for scope, headers in with_scope.items():
                got = await status_of(run, method, path, headers=headers)
                assert (got == 403) == (scope != needed), (method, path, scope, got)
            assert await status_of(run, method, path, headers=admin) not in (401, 403), path


async def test_bad_keys_are_nobody_even_where_the_api_is_open(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        assert await status_of(run, "GET", "/calls") == 200
        for header in ("Bearer nonsense", "Bearer sk_prod_" + "x" * 38, "bearer " + "y" * 5000):
            assert await status_of(run, "GET", "/calls", headers={"Authorization": header}) == 401
        assert await status_of(run, "GET", "/calls", headers={"X-API-Key": "sk_admin_zzz"}) == 401


async def test_a_revoked_key_dies(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        text, key = keys.make("prod", now=datetime.now(UTC))
        store = run.service.desk.store
        await store.add_key(key)
        await store.revoke_key(key.id, datetime.now(UTC))
        assert await status_of(run, "GET", "/calls", headers={"X-API-Key": text}) == 401


async def test_the_open_api_is_not_open_through_a_tunnel_a_proxy_or_a_strange_page(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        for headers in (
            {"Host": "abc.tunnel.example"},
            {"X-Forwarded-For": "203.0.113.7"},
            {"Forwarded": "for=203.0.113.7"},
        ):
            assert await status_of(run, "GET", "/calls", headers=headers) == 401
            async with run.client.request("GET", run.url + "/smartflo/audio", headers=headers) as response:
                assert response.status == 403
            assert await status_of(run, "POST", "/webhook", json={"call_id": "1", "event": "x"}, headers=headers) == 403
        assert await status_of(run, "POST", "/calls/x/hangup", headers={"Origin": "https://evil.example"}) == 403
        assert await status_of(run, "GET", "/calls", headers={"Origin": run.url}) == 200


async def test_tenants_do_not_see_each_other(tmp_path: Path) -> None:
    async with running(tmp_path) as run, calling(run):
        ours = await key_of(run, "prod", "calls:read", "calls:write")
        theirs = await key_of(run, "prod", "calls:read", "calls:write", tenant="other")
        _, page = await run.get("/calls", headers=ours)
        call_id = page["calls"][0]["id"]
        assert (await run.get("/calls", headers=theirs))[1]["calls"] == []
        for method, path in (("GET", ""), ("GET", "/timeline"), ("GET", "/transcript"), ("POST", "/hangup")):
            assert await status_of(run, method, f"/calls/{call_id}{path}", headers=theirs) == 404
        assert await status_of(run, "GET", f"/calls/{call_id}", headers=ours) == 200


async def test_a_ticket_lets_a_browser_in_for_what_it_was_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        headers = await key_of(run, "prod", "calls:read", "events:read")
        run.service.desk.gate._keys_until = 0.0
        status, ticket = await run.post("/tickets", headers=headers, json={"scopes": ["events:read"]})
        assert (status, ticket["scopes"]) == (200, ["events:read"])
        query = f"?ticket={ticket['ticket']}"
        async with run.client.get(run.url + "/events" + query) as response:
            assert (response.status, response.content_type) == (200, "text/event-stream")
        assert await status_of(run, "GET", "/calls" + query) == 403
        assert await status_of(run, "GET", "/events?ticket=forged") == 401
        assert await status_of(run, "POST", "/tickets" + query, json={}) == 403
        assert await status_of(run, "POST", "/tickets", headers=headers, json={"scopes": ["calls:write"]}) == 403


async def test_beyond_this_machine_it_does_not_start_without_a_key(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="trunkline keys create"):
        async with running(tmp_path, {"server": {"host": "0.0.0.0"}}):
            pass


async def test_beyond_this_machine_nothing_is_open_but_what_is_listed(tmp_path: Path) -> None:
    changes = {"server": {"host": "0.0.0.0"}, "auth": {"allow_unauthenticated": ["/webhook"]}}
    (tmp_path / "data").mkdir()
    async with open_store(database_url(settings_of(tmp_path, changes))) as store:
        await store.add_key(keys.make("prod", now=datetime.now(UTC))[1])
    async with running(tmp_path, changes) as run:
        assert await status_of(run, "GET", "/calls") == 401
        assert await status_of(run, "GET", "/smartflo/audio") == 403
        fact = {"call_id": "1", "event": "hangup"}
        assert await status_of(run, "POST", "/webhook", json=fact) == 200
        assert await status_of(run, "POST", "/webhooks/smartflo", json=fact) == 403


async def test_an_operator_may_open_the_api_to_everybody(tmp_path: Path) -> None:
    changes = {"server": {"host": "0.0.0.0"}, "auth": {"allow_unauthenticated": ["*"]}}
    async with running(tmp_path, changes) as run:
        assert await status_of(run, "GET", "/calls", headers={"Host": "bot.example.com"}) == 200
        async with calling(run, headers={"Host": "bot.example.com"}) as caller:
            await caller.stop()
            assert await caller.until_closed() == 1000
