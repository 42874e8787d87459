"""How many callers the offline agent carries at once before quality falls: `python -m bench.offline_capacity`.

At each level so many scripted callers (voices other than the agent's) ask about hours, menu and prices and order, all
in real time, in lines that begin within three seconds of each other: everybody speaks about half of the time. The
service is a process of its own; the callers are in this one, on the same machine. A level is good while

- the share of right answers is that of the same voices when two call at once, within two standard errors,
- the 95th percentile of response (last speech sample to first answering sample, both on the wire) is at most 1.5 s,
- no frame is lost either way, and no reply is heard with a hole in it.

The largest good level below the first bad one is what one recogniser process carries.
"""

import argparse
import asyncio
import random
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.rig import Rig, serving
from trunkline_sim.account import Account
from trunkline_sim.errors import SimError
from trunkline_sim.mulaw import RATE
from trunkline_sim.phone import Plan, place
from trunkline_sim.script import parse
from trunkline_sim.voices import Voices

CALLERS = ("kal16", "slt", "awb", "kal")
SCRIPT = """
title: Capacity
voice: kal16

wait for agent
say "what are your opening hours"
wait for agent
expect /open|hour/
say "what pizzas do you have"
wait for agent
expect /margherita|pepperoni/
say "how much is the lasagna"
wait for agent
expect /dollar|lasagna/
say "two pepperoni pizzas please"
wait for agent
expect /name/
hang up
"""
LEVELS = (4, 6, 8, 10, 12, 16, 20, 24)
MOST_P95_S = 1.5
HOLE_S = 0.040  # of missing audio within a reply that a jitter buffer does not hide
STAGGER_S = 3.0


@dataclass(frozen=True, slots=True)
class Level:
    """So many callers at once, and how it was for them."""

    callers: int
    calls: int
    right: Mapping[str, tuple[int, int]]  # by voice: (right answers, questions)
    response_s: Sequence[float]
    lost: Counter[str]  # whatever is missing, either way
    lag_s: tuple[float, float]  # of the service's event loop: the bounds below which 95 % and 99.9 % lie
    cpu: float  # cores, service with its children
    own_cpu: float  # cores, these callers
    failed: int  # calls that were not carried to their end

    @property
    def share(self) -> float:
        """Of right answers."""
        asked = sum(asked for _, asked in self.right.values())
        return sum(right for right, _ in self.right.values()) / max(1, asked)

    def p(self, q: float) -> float:
        """Quantile of the response, s."""
        return float(np.quantile(self.response_s, q)) if self.response_s else float("inf")

    def good(self, alone: Mapping[str, float]) -> bool:
        """True while quality has not fallen; `alone`: share of right answers by voice when two call at once."""
        asked = sum(asked for _, asked in self.right.values())
        wanted = sum(alone[voice] * n for voice, (_, n) in self.right.items()) / max(1, asked)
        error = (max(wanted * (1 - wanted), 0.05) / max(1, asked)) ** 0.5
        return self.share >= wanted - 2 * error and self.p(0.95) <= MOST_P95_S and not self.lost and not self.failed


async def level(rig: Rig, voices: Voices, callers: int, rounds: int, seed: int = 0) -> Level:
    """So many lines at once, `rounds` calls on each, voices in turn."""
    known = {record["id"] for record in await rig.records()}
    before, cpu, own, began = await rig.metrics(), rig.cpu_s(), time.process_time(), time.monotonic()
    accounts: list[tuple[str, Account | None]] = []
    async with asyncio.TaskGroup() as group:
        for line in range(callers):
            group.create_task(_line(rig, voices, line, rounds, random.Random(seed + line), accounts))
    wall = time.monotonic() - began
    cpu, own, after = rig.cpu_s() - cpu, time.process_time() - own, await rig.metrics()
    records = [record for record in await rig.records() if record["id"] not in known]
    right: dict[str, tuple[int, int]] = {}
    for voice, account in accounts:
        met, asked = right.get(voice, (0, 0))
        judged = [one for one in account.judged if one.text != "script"] if account else []
        right[voice] = (met + sum(one.verdict == "met" for one in judged), asked + 4)
    done = [account for _, account in accounts if account is not None]
    responses = [answer.response_s for account in done for answer in account.answers[1:] if answer.response_s]
    return Level(
        callers, len(accounts), right, responses, _lost(records, done), _lag(before, after), cpu / wall, own / wall,
        len(accounts) - len(done) + sum(record["cause"] != "completed" for record in records),
    )  # fmt: skip


async def _line(
    rig: Rig, voices: Voices, line: int, rounds: int, dice: random.Random, accounts: list[tuple[str, Account | None]]
) -> None:
    await asyncio.sleep(dice.uniform(0, min(STAGGER_S, 0.3 * line)))
    for round_ in range(rounds):
        voice = CALLERS[(line * rounds + round_) % len(CALLERS)]
        try:
            account = await place(Plan(parse(SCRIPT), rig.socket_url, voice, seed=line), voices)
        except SimError:
            account = None
        accounts.append((voice, account))


def _lost(records: Sequence[Mapping[str, Any]], accounts: Sequence[Account]) -> Counter[str]:
    lost: Counter[str] = Counter()
    for record in records:
        lost.update({name: n for name, n in record["counters"].items() if "dropped" in name or "overflow" in name})
    for account in accounts:
        lost.update(account.stream.listener.complaints)
        lost["holes"] += _holes(account)
    return +lost


def _holes(account: Account) -> int:
    """Moments at which the ear ran dry within a reply."""
    holes, until, audible = 0, 0.0, False
    for arrival in account.stream.arrivals:
        holes += audible and arrival.audible and HOLE_S < arrival.at_s - until < 0.2
        until = max(until, arrival.at_s) + len(arrival.payload) / RATE
        audible = arrival.audible
    return holes


def _lag(before: Mapping[str, float], after: Mapping[str, float]) -> tuple[float, float]:
    """From the service's histogram: the buckets below which 95 % and 99.9 % of its wake-ups lie, s."""
    name = "trunkline_event_loop_lag_seconds_bucket{le="
    grown = {key: after[key] - before[key] for key in after if key.startswith(name)}
    bounds = sorted((float(key.removeprefix(name).strip('"}')), count) for key, count in grown.items())
    total = bounds[-1][1] if bounds else 0.0

    def below(q: float) -> float:
        return next((bound for bound, count in bounds if count >= q * total), float("inf"))

    return below(0.95), below(0.999)


def row(one: Level, alone: Mapping[str, float]) -> str:
    """A row of the table."""
    voices = ", ".join(f"{voice} {right}/{asked}" for voice, (right, asked) in sorted(one.right.items()))
    lost = ", ".join(f"{name} {count}" for name, count in sorted(one.lost.items())) or "0"
    return (
        f"| {one.callers} | {one.calls} | {100 * one.share:.0f} % ({voices}) | {one.p(0.5):.2f} / {one.p(0.95):.2f} s "
        f"| {lost} | <{1000 * one.lag_s[0]:g} / <{1000 * one.lag_s[1]:g} ms | {one.cpu:.2f} | {one.own_cpu:.2f} "
        f"| {'yes' if one.good(alone) else '**no**'} |"
    )


HEAD = """| callers | calls | right answers | response p50 / p95 | lost | lag p95 / p99.9 | cores | callers' | good |
|---|---|---|---|---|---|---|---|---|"""


async def measure(levels: Sequence[int], rounds: int, folder: Path, further: bool = False) -> int:
    """Print a row per level; returns the largest good one below the first bad one."""
    voices = Voices()
    for voice in CALLERS:
        await voices.prepare(parse(SCRIPT), voice)
    settings = {"ai.offline.recognisers": 1, "ai.offline.capacity": 100}
    async with serving(folder, profile="offline", settings=settings) as rig:
        single = await level(rig, voices, 2, len(CALLERS) // 2)
        alone = {voice: right / asked for voice, (right, asked) in single.right.items()}
        print(HEAD, row(single, alone), sep="\n", flush=True)
        best, fallen = 2, False
        for callers in levels:
            one = await level(rig, voices, callers, rounds, seed=callers)
            print(row(one, alone), flush=True)
            if one.good(alone) and not fallen:
                best = callers
            else:
                fallen = True
                if not further:
                    break
        for line in rig.complaints():
            print("log:", line)
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--levels", default=",".join(map(str, LEVELS)))
    parser.add_argument("--rounds", type=int, default=1, help="calls per line and level")
    parser.add_argument("--further", action="store_true", help="go on when quality has fallen")
    chosen = parser.parse_args()
    levels = [int(level) for level in chosen.levels.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        best = asyncio.run(measure(levels, chosen.rounds, Path(folder), chosen.further))
    print(f"One recogniser process carries {best} callers at once.")


if __name__ == "__main__":
    main()
