"""A service with SIP for the benches: `bench.rig`'s, with its processes told apart and a port to call."""

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.rig import START_S, Rig, serving

ROLES = ("supervisor", "gateway", "worker")
SETTINGS = {"sip.media_timeout_s": 5, "sip.max_calls": 400, "limits.max_calls": 500, "sip.rtp_ports": "22000-29999"}


@dataclass(slots=True)
class SipRig:
    """`there`: HOST:PORT for callers."""

    rig: Rig
    there: str

    def staff(self) -> dict[str, list[psutil.Process]]:
        """By role."""
        found: dict[str, list[psutil.Process]] = {role: [] for role in ROLES}
        found["supervisor"] = [self.rig.process]
        for child in self.rig.process.children(recursive=True):
            with suppress(psutil.Error):
                words = child.cmdline()
                for role in ROLES[1:]:
                    if role in words:
                        found[role].append(child)
        return found

    def cpu_s(self) -> dict[str, float]:
        """Processor time so far, by role. The clock's number: <linux/posix-timers.h>."""
        return {role: sum(time.clock_gettime(~one.pid << 3 | 2) for one in each) for role, each in self.staff().items()}

    def held(self) -> dict[str, dict[str, int]]:
        """By role: memory (kB, its own part), descriptors, UDP sockets, memory files, threads."""
        return {role: held_by(each) for role, each in self.staff().items()}


def held_by(each: list[psutil.Process]) -> dict[str, int]:
    """What they hold together."""
    found = {"rss_kb": 0, "fds": 0, "udp": 0, "memfds": 0, "threads": 0, "processes": len(each)}
    for one in each:
        found["rss_kb"] += one.memory_info().rss // 1024
        found["threads"] += one.num_threads()
        udp, links = _udp(one.pid), _links(one.pid)
        found["fds"] += len(links)
        found["udp"] += sum(link in udp for link in links)
        found["memfds"] += sum("memfd:trunkline-rings" in link for link in links)
    return found


def _links(pid: int) -> list[str]:
    folder, found = Path(f"/proc/{pid}/fd"), []
    for name in os.listdir(folder):
        with suppress(OSError):
            found.append(os.readlink(folder / name))
    return found


def _udp(pid: int) -> set[str]:
    """The sockets of its network, as its descriptors show them."""
    rows = Path(f"/proc/{pid}/net/udp").read_text().splitlines()[1:]
    return {f"socket:[{row.split()[9]}]" for row in rows}


def free_port(host: str = "127.0.0.1") -> int:
    """Of UDP; a socket is bound to it soon."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((host, 0))
        return int(sock.getsockname()[1])


@asynccontextmanager
async def sip_serving(
    folder: Path, settings: Mapping[str, object] | None = None, *, profile: str = "echo", host: str = "127.0.0.1"
) -> AsyncIterator[SipRig]:
    """Ready for calls; `folder` must be a short path."""
    os.environ["TRUNKLINE_SIP"] = "on"
    wanted = {**SETTINGS, "sip.listen": f"udp:{host}:{free_port(host)}", **(settings or {})}
    async with serving(folder, profile=profile, settings=wanted) as rig:
        yield SipRig(rig, await _listening(rig))


async def _listening(rig: Rig) -> str:
    async with asyncio.timeout(START_S):
        while True:
            lines = [json.loads(line) for line in rig.log.read_text().splitlines() if line.startswith("{")]
            up = [line for line in lines if line["event"] == "gateway.listening"]
            if up and any(line["event"] == "sip.gateway" for line in lines):
                return str(up[-1]["addresses"][0]).rpartition(" ")[2]
            await asyncio.sleep(0.1)
