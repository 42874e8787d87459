"""Connections that are no good requests: closed in time, told in a line, and of no concern to others."""

import asyncio
from pathlib import Path

import pytest

from tests.wire.service import PATIENCE_S, running
from trunkline import http_connection

pytestmark = pytest.mark.wire


async def answered(port: int, *pieces: bytes, every_s: float = 0.0) -> bytes:
    """What the service says until it closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(PATIENCE_S):
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(every_s)
            return await reader.read()
    finally:
        writer.close()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_connection.connections, "__defaults__", (0.3,))


@pytest.mark.usefixtures("hurried")
async def test_a_head_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        port = port_of(run.url)
        assert await answered(port) == b"", "said nothing"
        assert await answered(port, b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-A: 1\r\n", every_s=0.1) == b""
        later = await answered(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTT", every_s=0.1)
        assert later.startswith(b"HTTP/1.1 200"), "the second request is no better"


@pytest.mark.usefixtures("hurried")
async def test_who_has_asked_may_stay_and_ask_again(tmp_path: Path) -> None:
    async with running(tmp_path) as run:
        reader, writer = await asyncio.open_connection("127.0.0.1", port_of(run.url))
        for _ in range(2):
            writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
            assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.5)
        writer.close()


@pytest.mark.parametrize(
    "nonsense", [b"FOO /calls HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\nno colon\r\n\r\n"]
)
async def test_nonsense_is_a_line_and_no_traceback(
    nonsense: bytes, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with running(tmp_path) as run:
        for _ in range(5):
            answer = await answered(port_of(run.url), nonsense)
            assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
            assert b"application/problem+json" in answer
        assert (await run.get("/health"))[0] == 200
    out, err = capfd.readouterr()
    told = out + err + caplog.text
    assert "Traceback" not in told
    assert 1 <= told.count("http.not_understood") < 5
