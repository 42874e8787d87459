"""What a call costs the service on its way between a carrier and Gemini Live, beside a bare relay in the same run.

    python -m bench.media_path [--calls 10,25,50] [--seconds 20] [--rounds 2] [--framings smartflo,twilio]
                               [--barge 10] [--search]

The service (or the relay) has core 0, the simulated Gemini and the callers have core 1. Runs alternate: relay, product,
relay, product. Processor time is that of the service's processes, supervisor included, over the seconds of talk, set-up
aside; a run in which the simulators used more than 70 % of their core says so. Set-up is that of calls made one after
the other and hung up again, so that nobody talks meanwhile. `--barge`: so many calls are interrupted, in three rounds.
`--search`: the highest load at p99 of 20 ms each way, and a run at half of it. Linux only.
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp
import numpy as np
import psutil
import uvloop

from bench import media_barge
from bench.media_callers import WARM_S, Caller, Framing, Heard
from bench.media_search import highest
from bench.rig import ROOT, serving
from trunkline_sim.gemini import GeminiSim
from trunkline_sim.gemini_scenario import Scenario
from trunkline_sim.load import RIG_LIMIT

SERVICE_CORE, RIG_CORE = 0, 1
GOOD_P99_MS = 20.0
FULL = 0.8  # share of a core that a service may use when calls per core are reckoned
SET_UPS = 20  # calls made one after the other, for what that costs
BARGE_ROUNDS = 3
MOST_CALLS = 400  # looked for


@dataclass(frozen=True, slots=True)
class Run:
    """One run. Times in ms, shares of a core."""

    who: str
    framing: str
    calls: int
    cost_ms: float  # processor time per second of a call
    supervisor_ms: float  # of that, not the worker's
    setup_ms: float  # processor time per call set up
    hang_up_ms: float  # and per call hung up and recorded
    up: tuple[float, float, float]  # p50, p95, p99
    down: tuple[float, float, float]
    tones: int
    tones_lost: int
    lost_frames: int
    late: int
    gone: int
    rss_kb: float  # per call
    busy: float
    rig: float
    rig_late_p99: float
    steal: float  # share of both cores that other processes had

    @property
    def rig_limited(self) -> bool:
        """Whether the figures are the rig's own."""
        return self.rig > RIG_LIMIT


def _on(core: int) -> None:
    os.sched_setaffinity(0, {core % (os.cpu_count() or 1)})


@asynccontextmanager
async def _pinned() -> AsyncIterator[None]:
    """Children started within run on the service's core."""
    _on(SERVICE_CORE)
    try:
        yield
    finally:
        _on(RIG_CORE)


@asynccontextmanager
async def _relay(gemini: GeminiSim, library: str) -> AsyncIterator[tuple[str, psutil.Process]]:
    async with _pinned():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.relay", "--gemini", gemini.url.replace("https", "wss") + "/bench",
            "--ca-file", str(gemini.ca_file), "--library", library, cwd=ROOT, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
    assert process.stdout is not None
    try:
        yield f"ws://127.0.0.1:{int(await process.stdout.readline())}", psutil.Process(process.pid)
    finally:
        process.kill()
        await process.wait()


@asynccontextmanager
async def _product(gemini: GeminiSim) -> AsyncIterator[tuple[str, psutil.Process]]:
    settings = {"ai.gemini.base_url": f"{gemini.url}/bench", "ai.gemini.ca_file": gemini.ca_file}
    os.environ["GEMINI_API_KEY"] = "any"
    os.environ["TRUNKLINE_SIP"] = "off"  # the gateway's process looks at its sockets all the time, call or no call
    with tempfile.TemporaryDirectory() as folder:
        _on(SERVICE_CORE)
        async with serving(Path(folder), profile="gemini", settings=settings) as rig:
            _on(RIG_CORE)
            yield rig.url.replace("http", "ws", 1), rig.process
            if complaints := rig.complaints():
                print("\n".join(complaints[:5]), file=sys.stderr)


def _cpu(processes: Sequence[psutil.Process]) -> float:
    """Seconds, to the nanosecond (what psutil reads has ticks of 10 ms). The clock's number: <linux/posix-timers.h>."""
    return sum(time.clock_gettime(~one.pid << 3 | 2) for one in processes)


def _machine() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _quantiles(values: Sequence[float]) -> tuple[float, float, float]:
    found = np.quantile(values or [float("nan")], (0.5, 0.95, 0.99))
    return (round(float(found[0]), 2), round(float(found[1]), 2), round(float(found[2]), 2))


async def measure(who: str, framing: Framing, calls: int, seconds: float) -> Run:
    """One run from start to stop. who: product, picows or aiohttp (relays)."""
    async with GeminiSim(scenarios={"bench": Scenario(mode="bench", setup_delay_s=0.0)}) as gemini:
        system = _product(gemini) if who == "product" else _relay(gemini, who)
        async with system as (url, process), aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await _one_call(session, url, gemini, framing)
            staff = [process, *process.children(recursive=True)]
            setup_ms, hang_up_ms = await _set_ups(staff, session, url, gemini, framing)
            rss = sum(one.memory_info().rss for one in staff)
            callers = [Caller(framing, number) for number in range(calls)]
            for caller in callers:
                await caller.set_up(session, url, gemini)
            heard, zero = Heard(), time.monotonic() + 0.05
            talking = [asyncio.create_task(caller.talk(seconds, zero, heard)) for caller in callers]
            await asyncio.sleep(WARM_S + 1.1)
            cpu, above = _cpu(staff), _cpu(staff[:-1])
            own, machine, began = time.process_time(), _machine(), time.monotonic()
            await asyncio.sleep(seconds - 1.2)
            used, mine, wall = _cpu(staff) - cpu, time.process_time() - own, time.monotonic() - began
            above = _cpu(staff[:-1]) - above
            others = _machine() - machine - used - mine
            grown = sum(one.memory_info().rss for one in staff) - rss
            await asyncio.gather(*talking)
            for caller in callers:
                await caller.hang_up()
    return Run(
        who, framing, calls, round(1000 * used / wall / calls, 3), round(1000 * above / wall / calls, 3),
        setup_ms, hang_up_ms,
        _quantiles(heard.up_ms), _quantiles(heard.down_ms), heard.tones, heard.tones_lost,
        round(heard.sent - heard.returned), heard.late, heard.gone, round(grown / 1024 / calls, 1),
        round(used / wall, 3), round(mine / wall, 3), _quantiles(heard.rig_late_ms)[2], round(others / wall / 2, 3),
    )  # fmt: skip


async def _one_call(session: aiohttp.ClientSession, url: str, gemini: GeminiSim, framing: Framing) -> None:
    """What is loaded or cached at first use is not a call's cost."""
    caller = Caller(framing, 0)
    await caller.set_up(session, url, gemini)
    await caller.talk(0.5, time.monotonic(), Heard())
    await caller.hang_up()
    await asyncio.sleep(0.3)


async def _set_ups(
    staff: Sequence[psutil.Process], session: aiohttp.ClientSession, url: str, gemini: GeminiSim, framing: Framing
) -> tuple[float, float]:
    """Processor ms per call: until the model hears, and from the hang-up until all is done."""
    up = down = 0.0
    for number in range(SET_UPS):
        caller, cpu = Caller(framing, number), _cpu(staff)
        await caller.set_up(session, url, gemini)
        cpu, up = _cpu(staff), up + _cpu(staff) - cpu
        await caller.hang_up()
        await asyncio.sleep(0.15)
        down += _cpu(staff) - cpu
    return round(1000 * up / SET_UPS, 2), round(1000 * down / SET_UPS, 2)


async def barge(framing: Framing, calls: int) -> str:
    """A line on what interruptions take, our own part of it. The relay knows none."""
    found: list[media_barge.Barge] = []
    async with (
        GeminiSim(scenarios={"bench": media_barge.SCENARIO}) as gemini,
        _product(gemini) as (url, _),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        for _ in range(BARGE_ROUNDS):
            found += await media_barge.interruptions(session, url, gemini, framing, calls)
    times = [one.ours_ms for one in found if one.ours_ms is not None]
    whole = [one.whole_ms for one in found if one.whole_ms is not None]
    ours, all_of_it = (" / ".join(f"{value:.1f}" for value in _quantiles(values)) for values in (times, whole))
    return (
        f"- {framing}, {calls} calls at once: onset → clear beyond the detector's own time, p50 / p95 / p99 {ours} ms "
        f"(with it {all_of_it}); {len(times)} of {len(found)} interruptions cleared, "
        f"{sum(one.after for one in found)} messages of a dead reply after a clear"
    )


async def search(framing: Framing, seconds: float) -> list[Run]:
    """The runs of a search for the highest sustained load, and the one at half of it, which is the last."""
    runs: list[Run] = []

    async def sustained(calls: int) -> bool:
        runs.append(await measure("product", framing, calls, seconds))
        last = runs[-1]
        good = max(last.up[2], last.down[2]) <= GOOD_P99_MS and not last.gone and not last.rig_limited
        print(json.dumps(asdict(last)), f"# {'sustained' if good else 'not sustained'}", flush=True)
        return good

    most = await highest(sustained, most=MOST_CALLS)
    if most > 1:
        print(f"# {framing}: highest sustained load {most} calls; half of it:", flush=True)
        await sustained(most // 2)
    return runs


def _spread(values: Sequence[float]) -> str:
    middle = statistics.median(values)
    return f"{middle:.2f}" if len(values) < 2 else f"{middle:.2f} ({min(values):.2f} to {max(values):.2f})"


def table(runs: Sequence[Run]) -> str:
    """Markdown: one line for each of who, framing and number of calls; medians, and the spread of the cost."""
    lines = [
        "| framing | calls | who | cost, ms per call-second | up p50 / p95 / p99 ms | down p50 / p95 / p99 ms "
        "| set-up, hang-up ms | lost / late frames | RSS per call, kB | core 0 | core 1 (rig) | others |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for framing, calls, who in dict.fromkeys((run.framing, run.calls, run.who) for run in runs):
        some = [run for run in runs if (run.framing, run.calls, run.who) == (framing, calls, who)]
        ways = (" / ".join(f"{v:.1f}" for v in np.median([getattr(r, way) for r in some], axis=0)) for way in WAYS)
        limited = " rig-limited" if any(run.rig_limited for run in some) else ""
        lines.append(
            f"| {framing} | {calls} | {who} | {_spread([run.cost_ms for run in some])} | {' | '.join(ways)} "
            f"| {_middle(some, 'setup_ms')}, {_middle(some, 'hang_up_ms')} "
            f"| {sum(run.lost_frames for run in some)} / {sum(run.late for run in some)} "
            f"| {statistics.median(run.rss_kb for run in some):.0f} | {_percent(some, 'busy')} "
            f"| {_percent(some, 'rig')}{limited} | {_percent(some, 'steal')} |"
        )
    return "\n".join(lines)


WAYS = ("up", "down")


def _middle(runs: Sequence[Run], name: str) -> str:
    return f"{statistics.median(getattr(run, name) for run in runs):.1f}"


def _percent(runs: Sequence[Run], name: str) -> str:
    return f"{statistics.median(getattr(run, name) for run in runs):.0%}"


def ratios(runs: Sequence[Run]) -> str:
    """Product over each relay, from neighbouring runs; and what a core would carry."""
    lines = []
    for framing, calls in dict.fromkeys((run.framing, run.calls) for run in runs):
        costs = {
            who: [run.cost_ms for run in runs if (run.framing, run.calls, run.who) == (framing, calls, who)]
            for who in dict.fromkeys(run.who for run in runs)
        }
        product = costs.pop("product", [])
        for who, cost in costs.items():
            pairs = [ours / theirs for ours, theirs in zip(product, cost, strict=False)]
            if pairs:
                lines.append(f"- {framing}, {calls} calls: product / {who} relay {_spread(pairs)}")
        ours_here = [run for run in runs if (run.framing, run.calls, run.who) == (framing, calls, "product")]
        if ours_here and all(run.up[2] + run.down[2] <= GOOD_P99_MS for run in ours_here):
            lines.append(
                f"- {framing}, {calls} calls: p99 up and down together within {GOOD_P99_MS:.0f} ms; at this cost "
                f"{FULL:.0%} of a core carry {1000 * FULL / statistics.median(product):.0f} calls (reckoned)"
            )
    return "\n".join(lines)


async def main(given: argparse.Namespace) -> None:
    """All runs, then the table."""
    _on(RIG_CORE)
    runs: list[Run] = []
    framings: Sequence[Framing] = given.framings.split(",")
    for framing in framings:
        for count in (int(word) for word in given.calls.split(",")):
            for _ in range(given.rounds):
                for name in given.who.split(","):
                    runs.append(await measure(name, framing, count, given.seconds))
                    print(json.dumps(asdict(runs[-1])), flush=True)
    lines = [table(runs), ratios(runs)]
    for framing in framings:
        if given.barge:
            lines.append(await barge(framing, given.barge))
        if given.search:
            found = await search(framing, given.seconds)
            runs += found
            lines.append(table(found))
    if given.out is not None:
        await asyncio.to_thread(given.out.write_text, json.dumps([asdict(run) for run in runs], indent=1))
    print("\n" + "\n\n".join(lines))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", default="10,25,50")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--framings", default="smartflo,twilio")
    parser.add_argument(
        "--who", default="picows,product", help="of picows, aiohttp (relays) and product, in this order"
    )
    parser.add_argument("--barge", type=int, default=10, help="calls that are interrupted at once; 0: none")
    parser.add_argument("--search", action="store_true", help="look for the highest sustained load")
    parser.add_argument("--out", type=Path, help="JSON of all runs")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop_runner:
        loop_runner.run(main(parser.parse_args()))
