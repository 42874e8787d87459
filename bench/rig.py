"""A real `trunkline serve` in a process of its own, watched from outside: what it holds, what it logs, what it records.

Used by `bench/leaks.py`, `bench/offline_capacity.py` and `tests/soak`. Linux only (/proc).
"""

import asyncio
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from trunkline_sim.load import Placed

ROOT = Path(__file__).resolve().parent.parent
START_S = 60.0
SETTLE_S = 20.0
PAGE = 200
SURELY_HEARD_S = 1.8  # a caller who sent so much has heard the echo's first second to its end,
SURELY_UNHEARD_S = 1.0  # and one who sent no more than this cannot have
_WRONG = re.compile(
    r"traceback|never retrieved|never awaited|unclosed|\"level\":\s*\"(error|critical)\"", re.IGNORECASE
)
_SAMPLE = re.compile(r"^(\w+)(\{.*\})? (\S+)$")


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a service's processes hold at one moment."""

    tasks: int
    fds: int
    sockets: int
    threads: int
    children: int
    live: int  # calls
    rss_kb: int

    def beyond(self, before: "Footprint") -> dict[str, int]:
        """What is held now and was not before, memory left out: it is judged by its slope."""
        kinds = ("tasks", "fds", "sockets", "threads", "children", "live")
        return {kind: more for kind in kinds if (more := getattr(self, kind) - getattr(before, kind)) > 0}


@dataclass(slots=True)
class Rig:
    """A running service and a client that asks it things."""

    url: str
    process: psutil.Process
    log: Path
    client: aiohttp.ClientSession
    rss: list[tuple[float, int, int]] = field(default_factory=list)  # (monotonic s, calls over, kB)

    @property
    def socket_url(self) -> str:
        """Where callers go."""
        return self.url.replace("http", "ws", 1) + "/smartflo/audio"

    async def get(self, path: str) -> Any:
        """JSON of the API."""
        async with self.client.get(self.url + path) as response:
            response.raise_for_status()
            return await response.json()

    async def metrics(self) -> Counter[str]:
        """Every sample of /metrics: `name` summed over its labels, and `name{labels}`."""
        async with self.client.get(self.url + "/metrics") as response:
            text = await response.text()
        found: Counter[str] = Counter()
        for line in text.splitlines():
            if match := _SAMPLE.match(line):
                name, labels, value = match.groups()
                found[name] += float(value)  # type: ignore[assignment]
                if labels:
                    found[name + labels] = float(value)  # type: ignore[assignment]
        return found

    async def records(self) -> list[dict[str, Any]]:
        """Every call of the store, newest first."""
        records: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await self.get(f"/calls?limit={PAGE}" + (f"&cursor={cursor}" if cursor else ""))
            records += page["calls"]
            cursor = page["next"] or ""
            if not cursor:
                return records

    async def footprint(self) -> Footprint:
        """What it holds now."""
        told, each = await self.metrics(), self.processes()
        return Footprint(
            tasks=int(told["trunkline_tasks_running"]),
            fds=sum(one.num_fds() for one in each),
            sockets=sum(len(one.net_connections("all")) for one in each),
            threads=sum(one.num_threads() for one in each),
            children=len(each) - 1,
            live=int((await self.get("/"))["active_calls"]),
            rss_kb=self.rss_kb(),
        )

    async def settled(self, before: Footprint, within_s: float = SETTLE_S) -> Footprint:
        """What it holds once it holds no more than before, or after `within_s`."""
        deadline = time.monotonic() + within_s
        while True:
            now = await self.footprint()
            if not now.beyond(before) or time.monotonic() > deadline:
                return now
            await asyncio.sleep(0.2)

    def processes(self) -> list[psutil.Process]:
        """The one that was started (a supervisor where there are workers) and everything below it."""
        return [self.process, *self.process.children(recursive=True)]

    def rss_kb(self) -> int:
        """Resident memory of all of them; what they share counts for each."""
        return sum(one.memory_info().rss for one in self.processes()) // 1024

    def cpu_s(self) -> float:
        """Processor time of all of them so far."""
        return float(sum(times.user + times.system for times in (one.cpu_times() for one in self.processes())))

    async def sample(self, every_s: float) -> None:
        """Until cancelled: resident memory against the calls that are over."""
        while True:
            over = int((await self.metrics())["trunkline_calls_total"])
            self.rss.append((time.monotonic(), over, self.rss_kb()))
            await asyncio.sleep(every_s)

    def complaints(self) -> list[str]:
        """Lines of the log that must not be there."""
        return complaints_in(_lines(self.log))


def complaints_in(lines: Sequence[str]) -> list[str]:
    """Those that must not be in a log: errors, tracebacks, and what Python says of things nobody cleaned up."""
    return [line[:500] for line in lines if _WRONG.search(line)]


@asynccontextmanager
async def serving(
    folder: Path, *, profile: str = "echo", settings: Mapping[str, object] | None = None
) -> AsyncIterator[Rig]:
    """A service with data and log in `folder`, which is there; ready to take calls, stopped politely at the end."""
    log = folder / "service.log"
    wanted = {"ai.profile": profile, "server.port": 0, "server.data_dir": folder / "data", "log.format": "json",
              "server.drain_s": 5, "limits.max_calls": 500, **(settings or {})}  # fmt: skip
    options = [word for name, value in wanted.items() for word in ("--set", f"{name}={value}")]
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "trunkline", "serve", *options, cwd=ROOT, stdout=out, stderr=out,
            env={"TRUNKLINE_SIP": "off", **os.environ},  # a gateway that carries nothing is no part of the figures
        )  # fmt: skip
    try:
        url = await _ready(log, process)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as client:
            rig = Rig(url, psutil.Process(process.pid), log, client)
            await rig.metrics()  # its connection is open from now on
            yield rig
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(30):
            await process.wait()
    assert process.returncode == 0, f"the service ended with {process.returncode}"


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines()


async def _ready(log: Path, process: asyncio.subprocess.Process) -> str:
    async with asyncio.timeout(START_S):
        while True:
            lines = _lines(log)
            for line in lines:
                if '"service.ready"' in line:
                    return str(json.loads(line)["addresses"][0])
            if process.returncode is not None:
                raise RuntimeError("\n".join(["the service did not come up:", *lines[-20:]]))
            await asyncio.sleep(0.05)


def expected(call: Placed) -> set[tuple[str, str]]:
    """(cause, fault) that the record of a call may have; empty: it must not be recorded. Of echo calls."""
    if not call.described or call.outcome.startswith("refused"):
        return set()
    match call.way:
        case "stop" | "close":
            done, left = ("completed", "caller"), ("abandoned", "caller")
            if call.sent_s >= SURELY_HEARD_S:
                return {done}
            return {left} if call.sent_s <= SURELY_UNHEARD_S else {done, left}
        case "half-open":
            return {("silence", "caller")}
        case _:
            return {("media_lost", "carrier")}


def misjudged(placed: Sequence[Placed], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every difference between what callers lived and what was recorded, in words."""
    by_sid: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_sid.setdefault(record["carrier_ref"], []).append(record)
    wrong = []
    for call in placed:
        found, wanted = by_sid.pop(call.call_sid, []), expected(call)
        told = [(record["cause"], record["fault"]) for record in found]
        if len(told) != bool(wanted) or any(one not in wanted for one in told):
            wrong.append(f"{call.way}, {call.sent_s:.1f} s sent, {call.outcome!r}: {told} recorded, {wanted} wanted")
        wrong += [f"{call.call_sid}: recorded, but not as over" for record in found if record["ended_at"] is None]
    return wrong + [f"{sid}: recorded, but never placed" for sid in by_sid]
