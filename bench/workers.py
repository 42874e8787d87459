"""What a second worker brings: `python -m bench.workers` (about four minutes; as root, on a machine that does nothing
else). What a call costs with one and two: `--what scale --calls 20 --seconds 8`; what a killed one costs: `--what
kill`; what a rolling restart costs: `--what roll`.

Twice the calls need twice the processor, and on two cores the generator needs one too. So each worker is held to a
share of a core by the kernel's quota (`bench.quota`), small enough that two of them and the generator have room, and
the most calls are looked for that one worker, and then two, carry with p99 of the added delay (there and back by the
echo profile, less the median of a few calls without a quota) at most 20 ms. What it shows: that nothing but its own
share limits a worker, and nothing that both share limits two. What it does not: two whole cores, caches and memory in
contention.
"""

import asyncio
import json
import signal
import tempfile
import time
from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from rich.console import Console
from rich.table import Table

from bench.quota import NoQuotaError, held
from bench.rig import Rig, serving
from trunkline_sim.load import Load, LoadReport, run_load

MOST_ADDED_MS = 20.0  # p99, beyond what a few calls have
STEP, MOST_PER_WORKER = 4, 124  # calls


@dataclass(frozen=True, slots=True)
class Row:
    """One run."""

    workers: int
    report: LoadReport
    cpu_s: list[float]  # of each worker
    supervisor_s: float

    @property
    def p50_ms(self) -> float:
        """There and back."""
        return float(np.quantile(self.report.delays_ms or [float("inf")], 0.5))

    @property
    def p99_ms(self) -> float:
        """There and back."""
        return float(np.quantile(self.report.delays_ms or [float("inf")], 0.99))

    def cells(self) -> list[str]:
        """For the table."""
        load, wall = self.report.load, self.report.wall_s
        return [
            str(self.workers), f"{load.calls}", " + ".join(f"{one / wall:.0%}" for one in self.cpu_s),
            f"{1000 * sum(self.cpu_s) / self.report.sent_s:.2f} ms", f"{self.supervisor_s / wall:.1%}",
            f"{self.p50_ms:.1f} / {self.p99_ms:.1f} ms",
            f"{self.report.cpu_s / wall:.0%}" + " (rig-limited)" * self.report.rig_limited,
            f"{dict(self.report.outcomes)}",
        ]  # fmt: skip


async def measure(workers: int, calls: int, seconds: float, share: float = 0.0) -> Row:
    """One run of so many calls. share: of a core, to which each worker is held; 0: to none."""
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder), settings={"server.workers": workers}) as rig:
            while len(staff := _staff(rig)) < workers or (await rig.metrics())["trunkline_workers"] < workers:  # noqa: ASYNC110
                await asyncio.sleep(0.1)  # the rig is there as soon as the first worker is
            await asyncio.sleep(2.0)
            before, above = [_cpu(one) for one in staff], _cpu(rig.process)
            with held([one.pid for one in staff], share) if share else nullcontext():
                report = await run_load(Load(rig.socket_url, calls, seconds))
            used = [_cpu(one) - was for one, was in zip(staff, before, strict=True)]
            return Row(workers, report, used, _cpu(rig.process) - above)


@dataclass(frozen=True, slots=True)
class Capacity:
    """The most calls that so many workers carried, and what was tried."""

    workers: int
    most: int
    tried: list[tuple[Row, bool]]


async def capacity(workers: int, seconds: float, share: float, floor_ms: float) -> Capacity:
    """By halving, in steps of 4 calls per worker; what is carried once is taken to be carried whenever it is less."""
    tried: list[tuple[Row, bool]] = []
    least, beyond = 0, MOST_PER_WORKER // STEP + 1
    while beyond - least > 1:
        middle = (least + beyond) // 2
        row = await measure(workers, STEP * middle * workers, seconds, share)
        good = row.p99_ms - floor_ms <= MOST_ADDED_MS and row.report.good and not row.report.rig_limited
        tried.append((row, good))
        least, beyond = (middle, beyond) if good else (least, middle)
    return Capacity(workers, STEP * least * workers, tried)


def _staff(rig: Rig) -> list[psutil.Process]:
    return [one for one in rig.process.children() if "worker" in one.cmdline()]


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


@dataclass(frozen=True, slots=True)
class Killed:
    """A worker killed with -9 under calls."""

    ended: Counter[str]  # causes and faults of the dead one's calls in the store
    others: Counter[str]  # outcomes of all calls as their callers saw them
    tones: tuple[int, int]  # of all callers: sent, lost by those whose call went on
    gaps: int
    back_s: float  # until the new worker was ready
    start_s: float  # what the first worker needed for that


async def kill(calls: int, seconds: float) -> Killed:
    """Two workers with so many calls between them; after 40 % of the time one is killed."""
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder), settings={"server.workers": 2}) as rig:
            staff = await _ready(rig, 2)
            url = rig.url.replace("http", "ws", 1) + "/smartflo/audio"
            load = asyncio.create_task(run_load(Load(url, calls, seconds)))
            await asyncio.sleep(0.4 * seconds)
            began, victim = time.monotonic(), _name_of(rig, staff[0].pid)
            staff[0].kill()
            while len(_lines(rig, "worker.ready")) < 3:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)
            back, report = time.monotonic() - began, await load
            ended = Counter(f"{one['cause']}/{one['fault']}" for one in await rig.records() if one["owner"] == victim)
            tones = (report.pulses, report.pulses_lost)
            first = float(_lines(rig, "worker.ready")[0]["after_s"])
            return Killed(ended, report.outcomes, tones, report.gaps, back, first)


@dataclass(frozen=True, slots=True)
class Rolled:
    """A rolling restart under new connections."""

    new: LoadReport
    held: LoadReport
    took_s: float
    refused: float  # as the service counted


async def roll(rate: float, seconds: float, held: int) -> Rolled:
    """So many new calls a second for so long, beside calls that are held all the time; SIGHUP after 2 s."""
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder), settings={"server.workers": 2, "server.drain_s": 30}) as rig:
            await _ready(rig, 2)
            url = rig.url.replace("http", "ws", 1) + "/smartflo/audio"
            long = asyncio.create_task(run_load(Load(url, held, seconds + 5)))
            short = asyncio.create_task(run_load(Load(url, round(rate * seconds), 1.0, rate=rate, echo=False)))
            await asyncio.sleep(2)
            began = time.monotonic()
            rig.process.send_signal(signal.SIGHUP)
            while not _lines(rig, "supervisor.rolled"):  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.05)
            took, new, kept = time.monotonic() - began, await short, await long
            refused = sum(v for name, v in (await rig.metrics()).items() if name == "trunkline_calls_refused_total")
            return Rolled(new, kept, took, refused)


async def _ready(rig: Rig, workers: int) -> list[psutil.Process]:
    while len(_lines(rig, "worker.ready")) < workers:  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.05)
    return _staff(rig)


def _lines(rig: Rig, event: str) -> list[dict[str, Any]]:
    lines = [line for line in rig.log.read_text(errors="replace").splitlines() if line.startswith("{")]
    return [told for line in lines if (told := json.loads(line))["event"] == event]


def _name_of(rig: Rig, pid: int) -> str:
    return next(str(line["worker"]) for line in _lines(rig, "worker.started") if line["pid"] == pid)


def _show_capacity(seconds: float, share: float) -> None:
    console = Console(width=170)
    floor_ms = asyncio.run(measure(1, 5, seconds)).p50_ms
    console.print(
        f"5 calls, no quota: {floor_ms:.1f} ms there and back; each worker held to {share:.0%} of a core from here on"
    )
    table, most = _table(), list[int]()
    for workers in (1, 2):
        found = asyncio.run(capacity(workers, seconds, share, floor_ms))
        most.append(found.most)
        for row, good in found.tried:
            table.add_row(*row.cells(), "carried" if good else "not carried")
    console.print(table)
    ratio = f"{most[1] / most[0]:.2f} times as many" if most[0] else "nothing to compare"
    console.print(f"one worker carries {most[0]} calls, two carry {most[1]}: {ratio} (steps of {STEP} per worker)")


def _table() -> Table:
    names = ("workers", "calls", "cores used", "per call-second", "supervisor", "there and back p50 / p99")
    return Table(*names, "generator", "outcomes", "verdict", title=f"{psutil.cpu_count()} cores, generator included")


def _show_kill(calls: int, seconds: float) -> None:
    found, console = asyncio.run(kill(calls, seconds)), Console(width=120)
    sent, lost = found.tones
    console.print(f"callers saw: {dict(found.others)}")
    console.print(f"recorded of the dead worker's calls: {dict(found.ended)}")
    console.print(f"tones sent {sent}, lost by calls that went on {lost}; gaps over 40 ms {found.gaps}")
    console.print(f"the new worker was ready after {found.back_s:.1f} s (the first one's start: {found.start_s:.1f} s)")


def _show_roll(rate: float, seconds: float) -> None:
    found, console = asyncio.run(roll(rate, seconds, 10)), Console(width=120)
    console.print(f"{rate:g} new calls a second for {seconds:g} s: {dict(found.new.outcomes)}")
    console.print(
        f"10 held calls: {dict(found.held.outcomes)}, tones {found.held.pulses}, lost {found.held.pulses_lost}"
    )
    console.print(f"the restart took {found.took_s:.1f} s; refused, as the service counted: {found.refused:g}")


def main(
    what: Annotated[str, typer.Option(help="capacity, scale, kill or roll.")] = "capacity",
    calls: Annotated[int, typer.Option(help="At once, per worker.")] = 20,
    seconds: Annotated[float, typer.Option(help="Length of each.")] = 8.0,
    most: Annotated[int, typer.Option(help="Workers in the last run of scale.")] = 2,
    share: Annotated[float, typer.Option(help="Of a core, for each worker of capacity.")] = 0.15,
) -> None:
    """Print the table."""
    match what:
        case "kill":
            _show_kill(2 * calls, seconds)
        case "roll":
            _show_roll(20.0, seconds)
        case "scale":
            table = _table()
            for workers in range(1, most + 1):
                table.add_row(*asyncio.run(measure(workers, workers * calls, seconds)).cells(), "")
            Console(width=170).print(table)
        case "capacity":
            try:
                _show_capacity(seconds, share)
            except NoQuotaError as wrong:
                raise typer.BadParameter(f"{wrong}; --what scale needs none") from wrong
        case _:
            raise typer.BadParameter("--what is one of capacity, scale, kill, roll")


if __name__ == "__main__":
    typer.run(main)
