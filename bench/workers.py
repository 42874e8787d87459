"""What a second worker brings: `python -m bench.workers --calls 20 --seconds 8`.
What a killed one costs: `--what kill`; what a rolling restart costs: `--what roll`.

N calls over one worker, 2N over two, each with the echo profile, from one load generator on the same machine. Where the
cores are shared with the generator the delay tells little; what tells is that a call costs a worker the same however
many workers there are, and that both carry their half: then two workers on two free cores carry twice the calls.
"""

import asyncio
import json
import signal
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import psutil
import typer
from rich.console import Console
from rich.table import Table

from bench.rig import Rig, serving
from trunkline_sim.load import Load, LoadReport, run_load


@dataclass(frozen=True, slots=True)
class Row:
    """One run."""

    workers: int
    report: LoadReport
    cpu_s: list[float]  # of each worker
    supervisor_s: float

    def cells(self) -> list[str]:
        """For the table."""
        load, wall = self.report.load, self.report.wall_s
        p50, p99 = np.quantile(self.report.delays_ms or [float("nan")], (0.5, 0.99))
        return [
            str(self.workers), f"{load.calls}", " + ".join(f"{one / wall:.0%}" for one in self.cpu_s),
            f"{1000 * sum(self.cpu_s) / self.report.sent_s:.2f} ms", f"{self.supervisor_s / wall:.1%}",
            f"{p50:.1f} / {p99:.1f} ms", f"{self.report.cpu_s / wall:.0%}" + " (rig-limited)" * self.report.rig_limited,
            f"{dict(self.report.outcomes)}",
        ]  # fmt: skip


async def measure(workers: int, calls: int, seconds: float) -> Row:
    """One run of so many calls."""
    with tempfile.TemporaryDirectory() as folder:
        async with serving(Path(folder), settings={"server.workers": workers}) as rig:
            while len(staff := _staff(rig)) < workers or (await rig.metrics())["trunkline_workers"] < workers:  # noqa: ASYNC110
                await asyncio.sleep(0.1)  # the rig is there as soon as the first worker is
            await asyncio.sleep(2.0)
            before, above = [_cpu(one) for one in staff], _cpu(rig.process)
            report = await run_load(Load(rig.url.replace("http", "ws", 1) + "/smartflo/audio", calls, seconds))
            used = [_cpu(one) - was for one, was in zip(staff, before, strict=True)]
            return Row(workers, report, used, _cpu(rig.process) - above)


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
    what: Annotated[str, typer.Option(help="scale, kill or roll.")] = "scale",
    calls: Annotated[int, typer.Option(help="At once, per worker.")] = 20,
    seconds: Annotated[float, typer.Option(help="Length of each.")] = 8.0,
    most: Annotated[int, typer.Option(help="Workers in the last run.")] = 2,
) -> None:
    """Print the table."""
    if what == "kill":
        _show_kill(2 * calls, seconds)
        return
    if what == "roll":
        _show_roll(20.0, seconds)
        return
    table = Table("workers", "calls", "cores used", "per call-second", "supervisor", "there and back p50 / p99",
                  "generator", "outcomes", title=f"{psutil.cpu_count()} cores, generator included")  # fmt: skip
    for workers in range(1, most + 1):
        table.add_row(*asyncio.run(measure(workers, workers * calls, seconds)).cells())
    Console(width=170).print(table)


if __name__ == "__main__":
    typer.run(main)
