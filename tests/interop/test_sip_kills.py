"""A process of ours is killed under 50 live SIP calls: whose calls end, how soon, who is told, and what is left."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.sip_media import PILOT, Media
from bench.sip_phone import Exchange, Phone
from bench.sip_rig import held_by
from tests.peers.sip.rig import TALK, folder, free_port, needs, ok, recv, sipp
from tests.wire.service import PATIENCE_S
from tests.wire.workers import Node, node, until_dead

pytestmark = pytest.mark.interop
OURS, OF_SIPP, OVER_SOCKETS = 40, 10, 4
CALLS = OURS + OF_SIPP
OUTCOME_S = 2.0
BYE_S = 15.0  # by a successor once it is up: 1 s, or 5 on a starved machine; a media timeout would be 30
_ = folder


@pytest.fixture(autouse=True)
def _sip(monkeypatch: pytest.MonkeyPatch) -> None:
    needs()
    monkeypatch.setenv("TRUNKLINE_SIP", "on")


@dataclass(slots=True)
class Rig:
    run: Node
    port: int
    exchange: Exchange
    media: Media
    phones: list[Phone]
    sipps: "asyncio.Task[None] | None" = None

    async def call(self, folder: Path) -> None:
        """CALLS of them, talking: telephones of ours, and SIPp, which waits for BYE."""
        self.phones = [Phone(self.exchange, self.media, f"+9198{at:08}") for at in range(OURS)]
        many = ("-m", str(OF_SIPP), "-r", "20", "-l", str(OF_SIPP), "-timeout", "90s")
        self.sipps = asyncio.create_task(sipp([*TALK, recv("BYE"), ok()], folder, self.port, more=many))
        for phone in self.phones:
            phone.stream.payload = lambda _: PILOT
            await phone.call()

    async def told(self, since: float, phones: Sequence[Phone]) -> float:
        """Seconds until the last of these telephones, and of SIPp's, had its BYE."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.gather(*(phone.over.wait() for phone in phones))
        assert {phone.by for phone in phones} == {"far"}
        return max(phone.times.ended for phone in phones) - since

    def staff(self, role: str) -> list[psutil.Process]:
        return [one for one in psutil.Process(self.run.process.pid).children() if role in one.cmdline()]

    async def idle(self) -> None:
        """No ring, no port of a call, no memory of the dead is held any more."""
        wanted = {"gateways": 1, "sockets": 1, "gateway's rings": 2, "workers": 2, "workers' rings": 2}
        for _ in range(round(PATIENCE_S * 2)):
            if self._held() == wanted:
                return
            await asyncio.sleep(0.5)
        assert self._held() == wanted

    def _held(self) -> dict[str, int]:
        """A mapped file shows as two descriptors, one of them Python's own of the mapping."""
        gateway, workers = held_by(self.staff("gateway")), held_by(self.staff("worker"))
        return {"gateways": gateway["processes"], "sockets": gateway["udp"], "gateway's rings": gateway["memfds"] / 2,
                "workers": workers["processes"], "workers' rings": workers["memfds"] / 2}  # fmt: skip

    async def answered(self) -> None:
        """A new call is."""
        phone = Phone(self.exchange, self.media, "+4912345")
        phone.stream.payload = lambda _: PILOT
        await phone.call(PATIENCE_S)
        await phone.hang_up()


@asynccontextmanager
async def rig(folder: Path, port: int = 0) -> AsyncIterator[Rig]:
    """Two workers and a gateway."""
    place = f"udp:127.0.0.1:{port or free_port()}"
    more = ("--set", f"sip.listen={place}", "--set", "sip.rtp_ports=22000-29999")
    async with AsyncExitStack() as stack:
        run = await stack.enter_async_context(node(folder, *more, workers=2))
        (listening,) = await run.told("gateway.listening")
        await run.told("sip.gateway", 2)
        there = str(listening["addresses"][0]).rpartition(" ")[2]
        exchange = await stack.enter_async_context(Exchange(there))
        media = await stack.enter_async_context(Media())
        yield Rig(run, int(there.rpartition(":")[2]), exchange, media, [])


def seconds_after(killed: datetime, calls: Sequence[dict[str, Any]]) -> float:
    """Until the last of these calls was recorded as over."""
    return max((datetime.fromisoformat(call["ended_at"]) - killed).total_seconds() for call in calls)


def sip(calls: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [call for call in calls if call["carrier"] == "sip"]


async def kill(pid: int) -> tuple[float, datetime]:
    os.kill(pid, signal.SIGKILL)
    return time.monotonic(), datetime.now(UTC)


async def test_a_gateway_killed_under_fifty_calls(folder: Path) -> None:
    async with rig(folder) as here, here.run.calling(OVER_SOCKETS):
        await here.call(folder)
        await here.run.calls(CALLS + OVER_SOCKETS, live=True)
        at, moment = await kill(here.staff("gateway")[0].pid)
        over = await here.run.calls(CALLS, live=False)
        assert {(call["cause"], call["fault"], call["code"]) for call in over} == {("media_lost", "us", "gateway lost")}
        outcome_s, bye_s = seconds_after(moment, over), await here.told(at, here.phones)
        assert here.sipps is not None
        await here.sipps
        assert {call["carrier"] for call in await here.run.calls(OVER_SOCKETS, live=True)} == {"smartflo"}
        await here.run.told("sip.gateway", 4)
        await here.answered()
        await here.idle()
    print(f"gateway killed, {CALLS} SIP calls: outcomes after {outcome_s:.2f} s, BYE after {bye_s:.2f} s")
    assert outcome_s < OUTCOME_S
    assert bye_s < BYE_S


async def test_a_worker_killed_under_fifty_calls(folder: Path) -> None:
    async with rig(folder) as here, here.run.calling(OVER_SOCKETS):
        await here.call(folder)
        live = await here.run.calls(CALLS + OVER_SOCKETS, live=True)
        victim, pid = next(iter(here.run.pids.items()))
        lost = {call["carrier_ref"] for call in sip(live) if call["owner"] == victim}
        stay = [call for call in live if call["owner"] != victim]
        assert len(lost) >= CALLS // 3, "offered in turn"
        at, moment = await kill(pid)
        over = await here.run.calls(len(live) - len(stay), live=False)
        outcome_s = seconds_after(moment, sip(over))
        bye_s = await here.told(at, [phone for phone in here.phones if phone.call_id in lost])
        assert {call["cause"] for call in sip(over)} == {"internal"}
        left = [phone for phone in here.phones if phone.call_id not in lost]
        assert not any(phone.over.is_set() for phone in left)
        assert len(await here.run.calls(len(stay), live=True)) == len(stay)
        await here.run.told("sip.gateway", 3)
        await here.answered()
        await asyncio.gather(*(phone.hang_up() for phone in left))
        mine = {phone.call_id for phone in here.phones}
        for call in sip(stay):
            if call["carrier_ref"] not in mine:  # SIPp waits for our BYE
                await here.run.ask("POST", f"/calls/{call['id']}/hangup")
        assert here.sipps is not None
        await here.sipps
        await here.idle()
    print(f"worker killed, {len(lost)} SIP calls: outcomes after {outcome_s:.2f} s, BYE after {bye_s:.2f} s")
    assert outcome_s < OUTCOME_S
    assert bye_s < BYE_S


async def test_a_supervisor_killed_under_fifty_calls(folder: Path) -> None:
    async with rig(folder) as here:
        await here.call(folder)
        await here.run.calls(CALLS, live=True)
        pids = [one.pid for one in psutil.Process(here.run.process.pid).children(recursive=True)]
        at, moment = await kill(here.run.process.pid)
        bye_s = await here.told(at, here.phones)
        assert here.sipps is not None
        await here.sipps
        await until_dead(*pids)
        gone_s, port = time.monotonic() - at, here.port
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
    async with rig(folder, port) as here:
        await here.answered()
        over = await here.run.calls(CALLS + 1, live=False)
        outcome_s = seconds_after(moment, [call for call in over if call["from"] != "+4912345"])
        await here.idle()
    print(
        f"supervisor killed, {CALLS} SIP calls: outcomes after {outcome_s:.2f} s, BYE after {bye_s:.2f} s, all "
        f"processes gone after {gone_s:.2f} s"
    )
    assert bye_s < BYE_S
