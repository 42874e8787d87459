"""The HTTP surface of a real service: exact shapes, problems, ids, the description that is true to the routes."""

import asyncio
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from tests.wire.service import calling, running
from trunkline.api_docs import ASSETS

pytestmark = pytest.mark.wire


async def test_the_root_says_exactly_what_earlier_clients_know(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        assert await run.get("/") == (200, {"status": "running", "service": "Trunkline", "active_calls": 0})
        async with calling(run):
            await run.calls(1, live=True)
            assert (await run.get("/"))[1]["active_calls"] == 1
    async with running(tmp_path, {"name": "Spice Garden"}) as run:
        assert (await run.get("/"))[1]["service"] == "Spice Garden"


async def test_health_and_readiness(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        status, health = await run.get("/health")
        assert (status, health["status"]) == (200, "ok")
        assert await run.get("/ready") == (200, {"ready": True, "phase": "ready", "reasons": {}})
        draining = asyncio.create_task(run.service.drain(5))
        await draining
        status, ready = await run.get("/ready")
        assert (status, ready["ready"], ready["phase"]) == (503, False, "draining")
        assert (await run.get("/health"))[0] == 200


async def test_every_answer_names_its_request(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        async with run.client.get(run.url + "/health", headers={"X-Request-Id": "mine-1"}) as response:
            assert response.headers["X-Request-Id"] == "mine-1"
        for strange in ("a b", "x" * 65, "é"):
            async with run.client.get(run.url + "/nothing", headers={"X-Request-Id": strange}) as response:
                given = response.headers["X-Request-Id"]
                assert re.fullmatch(r"[0-9a-f]{32}", given)
                assert (await response.json())["request_id"] == given


async def test_wrong_paths_and_methods_are_problems_that_say_what_is_allowed(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        async with run.client.get(run.url + "/nothing") as response:
            assert (response.status, response.content_type) == (404, "application/problem+json")
        async with run.client.post(run.url + "/calls") as response:
            problem = await response.json()
            assert (response.status, problem["field"], problem["value"]) == (405, "method", "POST")
            assert "GET" in problem["allowed"]
            assert "GET" in response.headers["Allow"]
        async with run.client.head(run.url + "/health") as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("path", "field", "allowed"),
    [
        ("/calls?limit=x", "limit", "int"),
        ("/calls?limit=0", "limit", ">= 1"),
        ("/calls?limit=5000", "limit", "<= 200"),
        ("/calls?live=perhaps", "live", "bool"),
        ("/calls?limt=5", "limt", "limit"),
        ("/openapi.json?version=2.0", "version", "3.0 or 3.1"),
    ],
)
async def test_a_wrong_parameter_is_named_with_what_is_allowed(
    tmp_path: Path, path: str, field: str, allowed: str
) -> None:
    async with running(tmp_path) as run:
        status, problem = await run.get(path)
        assert (status, problem["field"]) == (422, field)
        assert allowed in problem["allowed"]


async def test_the_description_is_valid_and_complete(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        _, document = await run.get("/openapi.json")
        OpenAPIV31SpecValidator(document).validate()
        _, older = await run.get("/openapi.json?version=3.0")
        OpenAPIV30SpecValidator(older).validate()
        described = {(method.upper(), path) for path, row in document["paths"].items() for method in row}
        routes = {(r.method, r.resource.canonical) for r in run.service.app.router.routes() if r.resource}
        assert described == {(method, path) for method, path in routes if method != "HEAD"}
        operations = [op["operationId"] for row in document["paths"].values() for op in row.values()]
        assert len(operations) == len(set(operations))


async def test_the_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        status, page = await run.get("/docs")
        assert status == 200
        assert b"://" not in page
        for name in (*ASSETS, "start.js"):
            status, body = await run.get(f"/docs/{name}")
            assert (status, bool(body)) == (200, True)
        for name in ("..%2f..%2fapi.py", "swagger-ui.js", "swagger_ui_bundle"):
            assert (await run.get(f"/docs/{name}"))[0] == 404


async def test_origins_that_are_configured_may_read_and_others_not(tmp_path: Path) -> None:
    async with running(tmp_path, {"server": {"cors_origins": ["https://shop.example"]}}) as run:
        asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
        async with run.client.options(run.url + "/calls/x/hangup", headers=asked) as response:
            assert response.status == 204
            assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"
        async with run.client.options(
            run.url + "/calls", headers=asked | {"Origin": "https://evil.example"}
        ) as response:
            assert "Access-Control-Allow-Origin" not in response.headers
        async with run.client.get(run.url + "/health", headers={"Origin": "https://shop.example"}) as response:
            assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"


async def test_promtool_accepts_the_figures_of_a_service_that_worked(tmp_path: Path) -> None:
    promtool = shutil.which("promtool") or ".cache/tools/promtool"
    async with running(tmp_path) as run:
        async with calling(run) as caller:
            await caller.speak(0.3)
            await caller.socket.send_str("not json")
            await caller.stop()
            await caller.until_closed()
        await run.calls(1, live=False)
        status, text = await run.get("/metrics")
    assert status == 200
    assert b'trunkline_media_oddities_total{carrier="smartflo",kind="bad_json"} 1.0' in text
    assert b"919800000001" not in text
    try:
        done = await asyncio.to_thread(
            subprocess.run, [promtool, "check", "metrics"], input=text, capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("promtool is not installed (scripts/promtool.sh gets it)")
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


async def test_figures_can_have_an_address_of_their_own(tmp_path: Path, unused_tcp_port: int) -> None:
    bind = f"127.0.0.1:{unused_tcp_port}"
    async with (
        running(tmp_path, {"server": {"metrics_bind": bind}}) as run,
        run.client.get(f"http://{bind}/metrics") as response,
    ):
        assert response.status == 200
        assert "trunkline_build_info" in await response.text()
