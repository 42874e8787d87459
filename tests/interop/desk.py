"""A service in this process with a gateway of its own, to place calls: who answers talks with the built-in agent."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.interop.service import GREETING
from tests.peers.sip.rig import Process, gateway
from tests.wire.service import Running, running, settings_of, until
from trunkline.bridge.sip.options import Options, options_of
from trunkline.calls.record import CallRecord
from trunkline.sip_calls import SipCalls

OWN = ("listen", "socket", "journal", "quality_s")  # of the rig's gateway


@dataclass(slots=True)
class Desk:
    """What there is."""

    run: Running
    gateway: Process
    calls: SipCalls

    def place(self, to: str, trunk: str, **more: Any) -> "asyncio.Task[CallRecord]":
        """A call of ours, to its end."""
        return asyncio.create_task(self.calls.place(to, trunk=trunk, **more))

    async def up(self, trunk: str) -> None:
        """Once that trunk is registered."""
        await until(lambda: self.calls.line.trunk_states.get(trunk) == "up")

    async def live(self) -> dict[str, Any]:
        """The only call, once it is live."""
        (call,) = await self.run.calls(1, live=True)
        return call


@asynccontextmanager
async def desk(folder: Path, sip: Mapping[str, Any]) -> AsyncIterator[Desk]:
    """sip: the section's settings. Calls are recorded."""
    changes = {
        "ai": {"profile": "offline", "offline": {"recognisers": 1}},
        "agents": {"receptionist": {"record": True, "greeting": GREETING}},
        "sip": sip,
    }
    options = options_of(settings_of(folder, changes).sip, "", "")
    chosen = {name: getattr(options, name) for name in Options.__struct_fields__ if name not in OWN}
    async with (
        gateway(folder, **chosen) as up,
        running(folder, changes, provider=None) as run,
        SipCalls(run.service.desk, up.options.socket, "w1") as calls,
    ):
        await until(lambda: calls.line.welcome is not None)
        yield Desk(run, up, calls)
