"""Load, churn and abandonment on a real service, and what is left of it afterwards.

    python -m bench.leaks            50 calls for 60 s; 1,000 short ones at 10 per second; 1,000 abandoned ones
    python -m bench.leaks --small    50 for 15 s; 200; 200

The service is a process of its own with `[ai] profile = "echo"`, the callers are in this one. Every caller's own
account of its call (by callSid) is compared with the store's record of it.
"""

import argparse
import asyncio
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.rig import Footprint, Rig, misjudged, serving
from trunkline_sim.load import Load, LoadReport, Placed, run_load

HALF_OPEN_S = (
    18.0  # longer than the service takes to notice: 3 s echoed, 1 s of patience, 8 s for a goodbye, 2 s to close
)
LIMITS = {"limits.silence_prompt_s": 1, "limits.silence_prompts": 0}
RATE = 10.0  # calls per second
SHORT_S = 4.0  # the longest of the short calls; the shortest is half of it
WARM_UP = 200


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of each."""

    steady_s: float = 60.0
    steady_calls: int = 50
    churn: int = 1000
    seed: int = 1


FULL, SMALL = Plan(), Plan(steady_s=15.0, churn=200)


@dataclass(frozen=True, slots=True)
class Phase:
    """One load, and the service before and after it."""

    name: str
    report: LoadReport
    before: Footprint
    after: Footprint
    cpu_s: float
    wrong: Sequence[str]  # records that are not what the callers lived
    recorded: Counter[str]
    rss_kb_per_call: float

    @property
    def left_behind(self) -> dict[str, int]:
        """Tasks, descriptors, sockets, threads, children and calls that were not there before."""
        return self.after.beyond(self.before)

    @property
    def cpu_per_call(self) -> float:
        """Share of a core per live call."""
        return self.cpu_s / max(1e-9, self.report.sent_s)


@dataclass(slots=True)
class Ledger:
    """Everybody who called so far, so that the whole store can be compared with them."""

    placed: list[Placed]
    seen: set[str]


async def phase(rig: Rig, name: str, load: Load, ledger: Ledger, before: Footprint | None = None) -> Phase:
    """Place the calls, wait until the service has settled, compare."""
    before = before or await rig.footprint()
    rig.rss.clear()
    cpu = rig.cpu_s()
    sampling = asyncio.create_task(rig.sample(2.0), name="bench.sample")
    report = await run_load(load)
    cpu = rig.cpu_s() - cpu
    sampling.cancel()
    await asyncio.gather(sampling, return_exceptions=True)
    after = await rig.settled(before)
    ledger.placed += report.placed
    records = await rig.records()
    fresh = [record for record in records if record["id"] not in ledger.seen]
    ledger.seen.update(record["id"] for record in records)
    recorded = Counter(f"{record['cause']}/{record['fault']}" for record in fresh)
    return Phase(name, report, before, after, cpu, misjudged(ledger.placed, records), recorded, slope(rig))


def slope(rig: Rig) -> float:
    """kB of resident memory per call, least squares over the run."""
    if len(rig.rss) < 4:
        return 0.0
    _, calls, kb = np.array(rig.rss).T
    return float(np.polyfit(calls, kb, 1)[0]) if np.ptp(calls) else 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """All of it."""

    steady: Phase
    short: Phase
    abandoned: Phase
    not_described: int  # sockets that the service says it closed because nobody described a call on them
    complaints: Sequence[str]

    @property
    def phases(self) -> tuple[Phase, Phase, Phase]:
        """In the order in which they ran."""
        return self.steady, self.short, self.abandoned


async def measure(plan: Plan, folder: Path) -> Result:
    """The whole programme on one service."""
    async with serving(folder, settings=LIMITS) as rig:
        ledger = Ledger([], set())
        url = rig.socket_url
        warm = Load(url, calls=WARM_UP, seconds=1.0, rate=40.0, seed=plan.seed, half_open_s=HALF_OPEN_S)
        await phase(rig, "warm-up", warm, ledger)
        steady = await phase(
            rig, "at once", Load(url, calls=plan.steady_calls, seconds=plan.steady_s, seed=plan.seed + 1), ledger
        )
        base = await rig.footprint()
        churn = Load(url, calls=plan.churn, seconds=SHORT_S, rate=RATE, seed=plan.seed + 2)
        short = await phase(rig, "short", churn, ledger, base)
        leaving = Load(url, calls=plan.churn, seconds=SHORT_S, rate=RATE, abandon=True, seed=plan.seed + 3,
                       half_open_s=HALF_OPEN_S)  # fmt: skip
        abandoned = await phase(rig, "abandoned", leaving, ledger, base)
        refused = (await rig.metrics())['trunkline_calls_refused_total{carrier="smartflo",reason="no_start"}']
        complaints = rig.complaints()
    return Result(steady, short, abandoned, int(refused), complaints)


def told(phase: Phase) -> str:
    """One phase as text."""
    before, after = phase.before, phase.after
    held = ("tasks", "fds", "sockets", "threads", "children", "live")
    lines = [f"== {phase.name}", *(f"   {name}: {value}" for name, value in phase.report.rows())]
    lines += [f"   recorded as {how}: {count}" for how, count in sorted(phase.recorded.items())]
    lines.append(f"   records that contradict the caller: {len(phase.wrong)}")
    lines += [f"      {line}" for line in phase.wrong[:10]]
    lines.append("   held before/after: " + ", ".join(f"{k} {getattr(before, k)}/{getattr(after, k)}" for k in held))
    lines.append(
        f"   RSS {before.rss_kb / 1024:.1f} -> {after.rss_kb / 1024:.1f} MB, {phase.rss_kb_per_call:.2f} kB/call"
    )
    lines.append(f"   service: {100 * phase.cpu_per_call:.2f} % of a core per call, {phase.cpu_s:.1f} s in all")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--churn", type=int, help="short calls, and as many abandoned ones; 0: none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="leave database and log here")
    chosen = parser.parse_args()
    base = SMALL if chosen.small else FULL
    churn = base.churn if chosen.churn is None else chosen.churn
    plan = Plan(base.steady_s, base.steady_calls, churn, chosen.seed)
    with tempfile.TemporaryDirectory() as folder:
        result = asyncio.run(measure(plan, chosen.keep or Path(folder)))
    for one in result.phases:
        print(told(one))
    print(f"sockets on which no call was described: {result.not_described}")
    print(f"lines of the log that must not be there: {len(result.complaints)}")
    for line in result.complaints[:10]:
        print("  ", line)


if __name__ == "__main__":
    main()
