"""Everything that can go wrong with Gemini Live, one whole call each, as its caller lives it: `python -m bench.faults`.

    python -m bench.faults [--only rst_caller --only mute] [--network twilio] [--at-once 4] [--markdown faults.md]

What a hole, "beyond the model" and lost words are: `bench.fault_judge`; the call and the faults: `bench.fault_rows`.
A row whose loop was late is done once more, and both its figures of lateness are printed.
"""

import asyncio
import gc
import logging
import resource
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvloop
from rich.console import Console
from rich.table import Table

from bench.fault_call import Lag, Observed, observe, vendor
from bench.fault_judge import HONEST_S, LEAST_S, SILENCE_S, Verdict, judge
from bench.fault_rows import ORDER_TURN, ROWS, SCRIPT, TWILIO, WARM_UP, Network, Row, named, normal_s
from trunkline_sim.script import Script

_PLAIN = named("none")
_NORMAL = (
    f"{normal_s(_PLAIN, 0):.2f} s for the greeting, {normal_s(_PLAIN, 1):.2f} s for a reply, "
    f"{normal_s(_PLAIN, ORDER_TURN):.2f} s with a tool and that tool's time"
)
_HEAD = (
    "fault", "what happens", "longest silence, s", "beyond the model, s", "own word after, s",
    "answer after, s", "words lost / again, ms",
    "understood", "greetings", "orders", "connections (resumed)", "recorded", "verdict",
)  # fmt: skip
_DEFINITION = f"""\
silence: holes of at least {LEAST_S} s at the caller's ear while the agent owes speech (from the answer to the end of
the greeting; from the caller's last sample to the end of a reply). Beyond the model: less what the simulated model is
configured to take for a normal turn, once per turn, whoever ends the hole: {_NORMAL}.
At most {SILENCE_S} s where a session can be had; where none can, our own word within {HONEST_S} s of silence. Answer
after: the longest wait for the model's own speech. Words: 20 ms blocks of the caller's sentences, aligned with what
each connection received; lost: reached none; again: reached one after another."""


def cells(told: Verdict) -> list[str]:
    """One row of the table."""
    words, call = told.words, told.call
    sayings = f"{words.understood} of {words.said}" + (f", {words.repeated} twice" if words.repeated else "")
    return [
        call.row.name,
        call.row.about,
        f"{told.longest_s:.2f}",
        f"{told.worst.beyond_s:.2f}",
        "" if told.honest_s is None else f"{told.honest_s:.2f}",
        f"{told.answer_s:.2f}" if call.row.kind == "healed" else "",
        f"{words.lost_ms} / {words.again_ms}" + (f", {words.doubled_ms} doubled" if words.doubled_ms else ""),
        sayings if call.logs else "",
        str(told.greetings),
        str(len(call.orders)),
        f"{len(call.logs)} ({told.resumed})",
        told.outcome,
        "; ".join(told.wrong) or "good",
    ]


async def run(rows: Sequence[Row], at_once: int, say: Console) -> list[Verdict]:
    """All rows, `at_once` side by side, each in a process of its own: a neighbour's work is nobody's delay."""
    done, loop = 0, asyncio.get_running_loop()
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn"), initializer=_warm) as pool:

        async def one(row: Row) -> Verdict:
            nonlocal done
            told = await loop.run_in_executor(pool, _twice_if_late, row)
            done += 1
            verdict = "; ".join(told.wrong) or "good"
            say.print(f"[{done}/{len(rows)}] {row.name}: {verdict} ({_lateness(told.call.lag)})", highlight=False)
            return told

        return list(await asyncio.gather(*map(one, rows)))


def _warm() -> None:
    """The first call of a process pays for what is loaded then; and, as in a worker, what is there by then stays out of
    the garbage collector's sight."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    _play(named("none"), 0, WARM_UP)
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 3)


def _twice_if_late(row: Row) -> Verdict:
    told = judge(_play(row, 1))
    return judge(_play(row, 2)) if told.call.lag.late else told


def _play(row: Row, attempt: int, script: Script = SCRIPT) -> Observed:
    async def call() -> Observed:
        async with vendor() as sim:
            return await observe(row, sim, Path(folder), attempt, script)

    with (
        tempfile.TemporaryDirectory(prefix="trunkline-faults-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(call())


def _lateness(lag: Lag) -> str:
    late = ", the rig was late" if lag.late else ""
    return f"loop late p99 {1000 * lag.p99_s:.0f} ms, most {1000 * lag.max_s:.0f} ms{late}"


def table(verdicts: Sequence[Verdict]) -> Table:
    """Aligned, for a terminal."""
    shown = Table(*_HEAD, box=None, pad_edge=False)
    for told in verdicts:
        shown.add_row(*cells(told))
    return shown


def markdown(verdicts: Sequence[Verdict]) -> str:
    """The same for a page."""
    lines = ["| " + " | ".join(_HEAD) + " |", "|" + "---|" * len(_HEAD)]
    return "\n".join([*lines, *("| " + " | ".join(cells(told)) + " |" for told in verdicts)]) + "\n"


def main(
    only: Annotated[list[str] | None, typer.Option(help="names of faults; all of them unless told")] = None,
    network: Annotated[Network, typer.Option(help="whose framing; twilio: fewer rows")] = "smartflo",
    at_once: Annotated[int, typer.Option(min=1, max=8, help="calls side by side")] = 4,
    out: Annotated[Path | None, typer.Option("--markdown", help="write the table here too")] = None,
) -> None:
    """Play every fault and tell what its caller lived."""
    unknown = set(only or ()) - {row.name for row in ROWS}
    if unknown:
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: unknown; there are {', '.join(r.name for r in ROWS)}")
    console, began = Console(width=250), time.monotonic()
    names = only or (TWILIO if network == "twilio" else [row.name for row in ROWS])
    rows = [replace(named(name), network=network) for name in names]
    verdicts = asyncio.run(run(rows, at_once, console))
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = f"{time.monotonic() - began:.0f} s, {spent.ru_utime + spent.ru_stime:.0f} s of processor"
    late = sum(told.call.lag.late for told in verdicts)
    bad = [told.call.row.name for told in verdicts if told.wrong]
    console.print(_DEFINITION, table(verdicts), sep="\n", highlight=False)
    console.print(f"{len(verdicts)} faults, {len(bad)} not as they should be; {took}; rig late in {late}")
    if out is not None:
        out.write_text(markdown(verdicts))
    raise typer.Exit(1 if bad else 0)


if __name__ == "__main__":
    typer.run(main)
