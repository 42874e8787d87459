"""What a second worker brings: `python bench/workers.py --calls 20 --seconds 8`.

N calls over one worker, 2N over two, each with the echo profile, from one load generator on the same machine. Where the
cores are shared with the generator the delay tells little; what tells is that a call costs a worker the same however
many workers there are, and that both carry their half: then two workers on two free cores carry twice the calls.
"""

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

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


def main(
    calls: Annotated[int, typer.Option(help="At once, per worker.")] = 20,
    seconds: Annotated[float, typer.Option(help="Length of each.")] = 8.0,
    most: Annotated[int, typer.Option(help="Workers in the last run.")] = 2,
) -> None:
    """Print the table."""
    table = Table("workers", "calls", "cores used", "per call-second", "supervisor", "there and back p50 / p99",
                  "generator", "outcomes", title=f"{psutil.cpu_count()} cores, generator included")  # fmt: skip
    for workers in range(1, most + 1):
        table.add_row(*asyncio.run(measure(workers, workers * calls, seconds)).cells())
    Console(width=170).print(table)


if __name__ == "__main__":
    typer.run(main)
