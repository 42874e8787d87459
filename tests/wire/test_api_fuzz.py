"""Whatever is sent over HTTP: answered below 500 with a problem document, no traceback, and the service lives on."""

import asyncio
import json
import random
from pathlib import Path

import pytest
import structlog

from tests.wire.service import Running, running
from trunkline.api import TABLE

pytestmark = pytest.mark.wire

BODIES: list[bytes] = [
    b"", b"{", b"null", b"0", b"[]", b'""', b"{}", b'{"text":', b'{"text":{"text":1}}', b'{"scopes":"all"}',
    b'{"text":"\\ud800"}', b"\xff\xfe\x00", b"\x00" * 2000, b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5000, b"1e999",
    b'{"text":"' + b"x" * 3000 + b'"}', b'{"text":null}', b'{"scopes":[1,2]}', b"a=1&b=%zz&c", b"--x\r\n\r\n--x--",
]  # fmt: skip
TYPES = ["", "application/json", "application/x-www-form-urlencoded", "multipart/form-data", "text/html; charset=xyz"]
METHODS = ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"]
SEGMENTS = ["x", "%00", "..%2f..", "%F0%9F%98%80", "call_" + "0" * 500, "'--", "%25s", "{id}", "a:b", "~"]
QUERIES = ["", "limit=-1", "limit=1e9", "live=maybe", "cursor=" + "z" * 100, "ticket=.", "ticket=a.b", "secret=x",
           "call=%00", "format=", "a=1&a=2&a=3", "%zz=%zz", "&&&", "limit=" + "9" * 400, "version=3"]  # fmt: skip
HEADERS = [
    {}, {"Authorization": "Bearer"}, {"Authorization": "Basic Zm9v"}, {"X-Request-Id": "\u00e9"},
    {"Origin": "null"}, {"Host": "\u00e9vil"}, {"Content-Encoding": "gzip"}, {"Accept": "nothing/*"},
    {"Range": "bytes=9-1"}, {"Upgrade": "websocket", "Connection": "Upgrade"}, {"Expect": "something"},
]  # fmt: skip


async def one(run: Running, dice: random.Random) -> str:
    row = dice.choice(TABLE)
    path = row.path
    while "{" in path:
        path = path[: path.index("{")] + dice.choice(SEGMENTS) + path[path.index("}") + 1 :]
    method = dice.choice([row.method, row.method, dice.choice(METHODS)])
    url = f"{run.url}{path}?{dice.choice(QUERIES)}"
    headers = {"Content-Type": dice.choice(TYPES), **dice.choice(HEADERS)}
    told = f"{method} {path} {headers}"
    body = dice.choice(BODIES)
    told += f" {body[:20]!r}"
    try:
        return await asyncio.wait_for(_answered(run, method, url, body, headers, row.path, told), 15)
    except TimeoutError:
        raise AssertionError(f"no answer: {told}") from None


async def _answered(
    run: Running, method: str, url: str, body_: bytes, headers: dict[str, str], path: str, told: str
) -> str:
    async with run.client.request(method, url, data=body_, headers=headers) as response:
        assert response.status < 500 or response.status in (503,), (told, response.status)
        if response.status >= 400 and method != "HEAD":
            assert response.content_type in ("application/problem+json", "text/plain"), told
            body = await response.read()
            assert b"Traceback" not in body, told
            if response.content_type == "application/problem+json":
                assert json.loads(body)["status"] == response.status
        return f"{path} {response.status}"


async def test_no_request_is_answered_with_a_fault_of_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    dice = random.Random(8)
    with structlog.testing.capture_logs() as lines:
        async with running(tmp_path) as run:
            seen = set()
            for _ in range(1500):
                row = await one(run, dice)
                seen.add(row)
            assert await run.get("/") == (200, {"status": "running", "service": "Trunkline", "active_calls": 0})
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    assert [line for line in lines if line["log_level"] == "error"] == []
    assert len(seen) > 80


async def test_bytes_that_are_no_http_at_all_are_survived(tmp_path: Path) -> None:
    dice = random.Random(9)
    async with running(tmp_path) as run:
        host, port = run.url.removeprefix("http://").split(":")
        for garbage in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\r\n" * 50,
                        b"POST /calls/x/say HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
                        b"POST /webhook HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
                        dice.randbytes(5000)):  # fmt: skip
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(garbage)
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 10)
            assert b"Traceback" not in answer
            writer.close()
        assert (await run.get("/health"))[0] == 200
