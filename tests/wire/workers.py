"""A real `trunkline serve` with workers, seen from outside: its processes, its log, calls held through it."""

import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from tests.wire.service import PATIENCE_S, Caller


@dataclass(slots=True)
class Node:
    """The supervisor's process and the way in. Every request has a connection of its own: any worker may get it."""

    process: asyncio.subprocess.Process
    url: str
    log: Path
    client: aiohttp.ClientSession

    async def ask(self, method: str, path: str, **more: Any) -> tuple[int, Any]:
        """Status and body, decoded where it is JSON."""
        async with self.client.request(method, self.url + path, **more) as response:
            body = await response.read()
            return response.status, json.loads(body) if "json" in response.content_type else body.decode()

    async def calls(self, count: int, *, live: bool) -> list[dict[str, Any]]:
        """The calls, once there are `count` of them in that state."""
        async with asyncio.timeout(PATIENCE_S):
            while len(found := await self._calls(live)) != count:  # noqa: ASYNC110 - another process has them
                await asyncio.sleep(0.05)
        return found

    async def _calls(self, live: bool) -> list[dict[str, Any]]:
        """All pages: a slow machine makes more calls than one page holds."""
        found: list[dict[str, Any]] = []
        cursor = ""
        while cursor is not None:
            _, page = await self.ask("GET", f"/calls?live={str(live).lower()}&limit=200&cursor={cursor}")
            found += page["calls"]
            cursor = page["next"]
        return found

    async def figure(self, name: str) -> float:
        """The sum of a figure's samples in a scrape."""
        _, text = await self.ask("GET", "/metrics")
        lines = [line for line in text.splitlines() if line.startswith((name + "{", name + " "))]
        return sum(float(line.split()[-1]) for line in lines)

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The log's lines of that event."""
        told = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return [line for line in told if line["event"] == event]

    async def told(self, event: str, count: int = 1) -> list[dict[str, Any]]:
        """The same, once there are so many."""
        async with asyncio.timeout(PATIENCE_S):
            while len(lines := self.lines(event)) < count:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
        return lines

    @property
    def pids(self) -> dict[str, int]:
        """Every worker that was ever started: name → process id."""
        return {line["worker"]: line["pid"] for line in self.lines("worker.started")}

    @asynccontextmanager
    async def calling(self, count: int) -> AsyncIterator[list[Caller]]:
        """So many calls at once, one after the other begun and seen live, cut at the end if still there."""
        async with AsyncExitStack() as stack:
            callers = []
            for number in range(count):
                socket = await stack.enter_async_context(
                    self.client.ws_connect(self.url.replace("http", "ws", 1) + "/smartflo/audio")
                )
                callers.append(Caller(socket))
                await callers[-1].start(call=f"c-{number}")
            await self.calls(count, live=True)
            yield callers


@asynccontextmanager
async def node(
    tmp_path: Path, *more: str, workers: int = 2, trust: ssl.SSLContext | bool = True
) -> AsyncIterator[Node]:
    """A node that is up; stopped at once at the end, if it still runs. trust: whose certificates are believed."""
    log = tmp_path / "log"
    arguments = ["serve", "--profile", "echo", "--port", "0", "--data-dir", str(tmp_path / "data"), "--workers"]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "trunkline", *arguments, str(workers), *more, cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE, stderr=log.open("wb"), env={**os.environ, "PYTHONPATH": str(Path.cwd())},
    )  # fmt: skip
    assert process.stdout is not None
    banner = await asyncio.wait_for(process.stdout.readline(), PATIENCE_S)
    connector = aiohttp.TCPConnector(force_close=True, limit=0, ssl=trust)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as client:
        try:
            yield Node(process, banner.decode().split()[-1], log, client)
        finally:
            for _ in range(2):
                if process.returncode is None:
                    process.send_signal(signal.SIGINT)
                    await asyncio.sleep(0.1)
            await asyncio.wait_for(process.wait(), PATIENCE_S)
    assert "Traceback" not in log.read_text()


def lives(pid: int) -> bool:
    """Whether the process runs (one that is dead and not yet waited for does not)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def until_dead(*pids: int) -> None:
    """Return once none of them runs."""
    async with asyncio.timeout(PATIENCE_S):
        while any(map(lives, pids)):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.05)
