"""One whole call with one fault in it: simulated carrier and caller → real service → google-genai → simulated Gemini.

All in one process and one loop, in real time; how late that loop was is part of what is observed. Judged afterwards
(`bench.fault_judge`), so that the arithmetic disturbs nobody's call.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from bench.fault_rows import GREETING, PATIENCE_S, SCRIPT, SENTENCES, TOOL_S, WAITING_S, Network, Row
from trunkline.ai.business import load_business
from trunkline.ai.toolbox import toolbox
from trunkline.ai.tools import Json, ToolRequest
from trunkline.calls.events import CallEvent, Note, ReplyOnWire, ReplySaying
from trunkline.calls.record import CallRecord
from trunkline.calls.store import Order
from trunkline.config import Settings
from trunkline.service import Service
from trunkline_sim import twilio
from trunkline_sim.caller import Act, Caller, Did, Missed
from trunkline_sim.gemini import GeminiSim
from trunkline_sim.gemini_log import SessionLog
from trunkline_sim.phone import some_number
from trunkline_sim.script import Script
from trunkline_sim.smartflo import Ending, place_call
from trunkline_sim.stream import Stream
from trunkline_sim.voices import Voices
from trunkline_sim.wire import CallFacts

LONGEST_S = 120.0  # a call that is not over by then never will be
_SETTLE_S = 10.0  # for the record, behind the call
_LOOK_S = 0.02
_STARTING = asyncio.Lock()
LATE_P99_S, LATE_MAX_S = 0.1, 0.18  # a loop that was later than this: then the figures are its own


@dataclass(slots=True)
class Lag:
    """How late the loop was, looked at each 20 ms."""

    late_s: list[float] = field(default_factory=list)

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            due = time.monotonic() + _LOOK_S
            await asyncio.sleep(_LOOK_S)
            self.late_s.append(max(0.0, time.monotonic() - due))

    @property
    def p99_s(self) -> float:
        """Of all looks."""
        return sorted(self.late_s)[int(0.99 * len(self.late_s))] if self.late_s else 0.0

    @property
    def max_s(self) -> float:
        """The worst look."""
        return max(self.late_s, default=0.0)

    @property
    def late(self) -> bool:
        """True when the figures are the machine's and not the service's."""
        return self.p99_s > LATE_P99_S or self.max_s > LATE_MAX_S


@dataclass(frozen=True, slots=True)
class Observed:
    """What one call left. `zero`: monotonic time of the call's second 0; `heard`: mu-law at the caller's ear."""

    row: Row
    heard: bytes
    did: Sequence[Did]
    missed: Sequence[Missed]
    ending: Ending
    zero: float
    logs: Sequence[SessionLog]
    record: CallRecord
    events: Sequence[CallEvent]
    orders: Sequence[Order]
    clips: Mapping[str, bytes]
    lag: Lag


class _Party:
    """The caller, who waits when asked to; and the moment at which their call's clock stood at 0."""

    def __init__(self, caller: Caller, events: Sequence[CallEvent]) -> None:
        self._caller = caller
        self._events = events
        self.zero = 0.0

    def hear(self, payload: bytes) -> None:
        self._caller.hear(payload)

    def tick(self, now: float) -> Sequence[Act]:
        self.zero = self.zero or time.monotonic() - now
        told = next((event for event in reversed(self._events) if _speaks(event)), None)
        self._caller.reaction_s = WAITING_S if isinstance(told, Note) else PATIENCE_S
        return self._caller.tick(now)

    def closed(self) -> None:
        self._caller.closed()


def _speaks(event: CallEvent) -> bool:
    """Words of the model, which may go on behind ours in one reply; or our own, noted behind their text."""
    return isinstance(event, ReplyOnWire | ReplySaying) or (isinstance(event, Note) and event.kind == "own_words")


@asynccontextmanager
async def vendor() -> AsyncIterator[GeminiSim]:
    """One simulated Gemini for all rows, which knows the caller's sentences."""
    clips = await asyncio.to_thread(lambda: {text: Voices().say(text) for text in SENTENCES})
    async with GeminiSim(clips) as sim:
        yield sim


async def observe(row: Row, sim: GeminiSim, folder: Path, attempt: int = 1, script: Script = SCRIPT) -> Observed:
    """Place the row's call. `folder`: for the service's data; `attempt` keeps counts of connections apart."""
    scenario = f"{row.name}-{attempt}"
    sim.scenarios[scenario] = row.scenario
    clips = dict(sim.recordings.clips)
    events: list[CallEvent] = []
    lag = Lag()
    watching = asyncio.get_running_loop().create_task(lag.watch(), name="lag")
    try:
        async with _service(row, sim, scenario, folder, events) as service:
            lag.late_s.clear()
            caller = Caller(script, await Voices().prepare(script), PATIENCE_S)
            party = _Party(caller, events)
            path, stream = _line(row.network)
            async with asyncio.timeout(LONGEST_S):
                ending = await place_call(service.url.replace("http", "ws", 1) + path, stream, party)
            record = await _record(service)
            orders = await service.desk.store.orders("default")
    finally:
        watching.cancel()
    logs = [log for log in sim.sessions if log.scenario == scenario]
    return Observed(
        row, bytes(stream.playout.heard), caller.did, caller.missed, ending, party.zero, logs, record, events, orders,
        clips, lag,
    )  # fmt: skip


def _line(network: Network) -> tuple[str, Stream]:
    """Path of the media socket, and the carrier's side of it: messages of 100 ms, or Twilio's of 20 ms."""
    if network == "twilio":
        facts = twilio.call_facts(some_number(), some_number())
        return "/twilio/media", Stream(facts, message_ms=20, wire=twilio.WIRE)
    return "/smartflo/audio", Stream(CallFacts(from_=some_number()))


@asynccontextmanager
async def _service(
    row: Row, sim: GeminiSim, scenario: str, folder: Path, events: list[CallEvent]
) -> AsyncIterator[Service]:
    tree = {
        "server": {"port": 0, "data_dir": str(folder / scenario), "drain_s": 5.0},
        "ai": {"profile": "gemini", "gemini": {"base_url": f"{sim.url}/{scenario}", "ca_file": str(sim.ca_file)}},
        "agents": {"receptionist": {"greeting": GREETING}},
    }
    kitchen = _SlowKitchen()
    service = Service(
        msgspec.convert(tree, Settings),
        tools=(kitchen.tool,) if row.slow_tool else (),
        on_event=lambda call, event: events.append(event),
    )
    kitchen.service = service
    async with AsyncExitStack() as stack:
        async with _STARTING:  # the store's migrations have one context for the whole process; and so has the key
            with patch.dict(os.environ, {"GEMINI_API_KEY": "any"}):
                await stack.enter_async_context(service)
        yield service


class _SlowKitchen:
    """place_order as it is, `TOOL_S` slower. The service whose book it writes to is known only later."""

    def __init__(self) -> None:
        self.service: Service | None = None
        quick = toolbox(load_business(), self)["place_order"]
        self._func = quick.func
        self.tool = replace(quick, func=self._place)

    async def _place(self, request: ToolRequest) -> Json:
        await asyncio.sleep(TOOL_S)
        return await self._func(request)

    def __getattr__(self, name: str) -> Any:
        """The order book's methods."""
        if self.service is None:
            raise AttributeError(name)
        return getattr(self.service.desk.store, name)


async def _record(service: Service) -> CallRecord:
    """The call's record, once it is written. Raises TimeoutError."""
    async with asyncio.timeout(_SETTLE_S):
        while not (found := await service.desk.store.calls("default", live=False)):  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    return found[0]
