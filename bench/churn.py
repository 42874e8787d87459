"""Ten thousand short calls to a service whose Gemini is simulated: each is greeted, says something, and hangs up.

    python -m bench.churn --out FILE [--calls 10000] [--rate 10]
    python -m bench.churn --summary FILE

Every caller's own account is compared with the store's record of the call and with what the model saw; what the service
holds is compared with what it held after a warm-up, and its memory is taken against the calls that are over.
"""

import argparse
import asyncio
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import aiohttp
import uvloop

import trunkline
from bench.long_callers import Account, LongCaller
from bench.long_model import ModelWatch
from bench.rig import ROOT, Rig
from bench.rotation import RING_S, Course, beside, gemini_service, patient, sentences
from trunkline_sim.gemini_scenario import Scenario

GREETING = "Good morning."
CHAR_S = 0.06
GREETING_FRAMES = 40  # of 20 ms, as the simulator speaks it: 0.8 s
EDGE_FRAMES = 2
SURE_S = 0.4  # a greeting that was over for the ear so long before the hang-up was heard to its end
QUIET_S = 1.4  # of the caller, at first
MOST_WRONG = 50  # records told one by one


@dataclass(frozen=True, slots=True)
class Plan:
    """How many, how long, how fast."""

    calls: int = 10_000
    rate: float = 10.0  # new calls per second
    seconds: tuple[float, float] = (2.0, 4.0)  # of a call
    warm_up: int = 200
    every: float = 10.0  # s between samples
    patience: float = 0.0  # as of bench.rotation
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Lived:
    """One call as its caller lived it."""

    call_sid: str
    caller: str
    way: str  # "hung up", "cut off" by the service, "not set up"
    greeting: str  # "heard", "part", "none"
    spoke: bool  # began a sentence, which the service may take for a turn

    def may_be(self) -> set[str]:
        """cause/fault that its record may have; empty: none at all."""
        if self.way == "not set up":
            return set()
        if self.way == "cut off":  # counted by itself; its record must tell whose fault it was
            return {"provider_failed/provider", "internal/us", "media_lost/carrier"}
        done, left = {"completed/caller"}, {"abandoned/caller", "abandoned/provider"}
        if self.greeting == "heard":
            return done
        return left if self.greeting == "none" and not self.spoke else done | left


def wrong_records(lived: Sequence[Lived], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every difference between what callers lived and what was recorded."""
    by_sid: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_sid.setdefault(record["carrier_ref"], []).append(record)
    wrong = []
    for call in lived:
        found, wanted = by_sid.pop(call.call_sid, []), call.may_be()
        told = [f"{record['cause']}/{record['fault']}" for record in found]
        if len(told) > 1 or (bool(told) != bool(wanted) and call.way != "not set up") or not set(told) <= wanted:
            wrong.append(
                f"{call.call_sid} {call.way}, greeting {call.greeting}: recorded {told}, wanted {sorted(wanted)}"
            )
        wrong += [f"{call.call_sid}: recorded, but not as over" for record in found if record["ended_at"] is None]
    return wrong + [f"{sid}: recorded, but never placed" for sid in by_sid]


class Churn:
    """The calls of one run."""

    def __init__(self, plan: Plan, course: Course) -> None:
        self.lived: list[Lived] = []
        self._plan, self._course, self._said = plan, course, sentences()
        self._dice = random.Random(plan.seed)
        self._number = 0

    async def place(self, calls: int, session: aiohttp.ClientSession, stopped: Callable[[], bool]) -> None:
        """So many, at the plan's rate; returns when the last one is over."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in range(calls):
                await asyncio.sleep(max(0.0, began + number / self._plan.rate - time.monotonic()))
                if stopped():
                    return
                self._number += 1
                group.create_task(self._call(self._number, session), name=f"churn.{self._number}")

    async def _call(self, number: int, session: aiohttp.ClientSession) -> None:
        account = self._course.account
        sentence = self._said[number % len(self._said)]
        caller = LongCaller(number, [sentence], account, 0.0)
        seconds = self._dice.uniform(*self._plan.seconds)
        account.rung += 1
        way = "not set up"
        try:
            async with asyncio.timeout(RING_S):
                await caller.ring(session, self._course.rig.socket_url)
            way = "cut off"
            stayed = await caller.say_once(QUIET_S, seconds)
            left_at = time.monotonic()
            await caller.hang_up()
            way = "hung up" if stayed else "cut off"
        except (TimeoutError, OSError, aiohttp.ClientError) as wrong:
            account.unreached += way == "not set up"
            self._course.write("fault", error=f"{way}: {wrong!r}"[:300])
            left_at = time.monotonic()
        facts, spoke = caller.facts, bool(caller.spoken)
        self.lived.append(Lived(facts.call_sid, facts.from_, way, _greeting(caller, left_at), spoke))


def _greeting(caller: LongCaller, left_at: float) -> str:
    if not caller.unasked_frames:
        return "none"
    whole = caller.unasked_frames >= GREETING_FRAMES - EDGE_FRAMES
    return "heard" if whole and left_at - caller.unasked_until >= SURE_S else "part"


async def run(plan: Plan, folder: Path, out: TextIO) -> None:
    """The whole run; lines go to `out`."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    scenario = Scenario(greeting=GREETING, char_s=CHAR_S)
    async with (
        gemini_service(folder, scenario, patient(plan.patience)) as (rig, gemini),
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        course = Course(rig, ModelWatch(gemini), Account(), out)
        course.write("plan", **asdict(plan), trunkline=trunkline.__file__, pid=os.getpid(), service=rig.process.pid,
                     log=str(rig.log), unix_s=time.time())  # fmt: skip
        churn = Churn(plan, course)
        idle = await rig.footprint()
        async with beside(course, plan.every):
            await churn.place(plan.warm_up, session, stop.is_set)
            before = await rig.settled(idle)
            await course.sample("start")
            await churn.place(plan.calls, session, stop.is_set)
        after = await rig.settled(before)
        await course.sample("last")
        await _close_books(course, churn, rig)
        course.write("end", before=asdict(before), after=asdict(after), left_behind=after.beyond(before))


async def _close_books(course: Course, churn: Churn, rig: Rig) -> None:
    course.watch.collect()
    records = await rig.records()
    wrong = wrong_records(churn.lived, records)
    unseen = [call for call in churn.lived if call.way != "not set up" and call.caller not in course.watch.calls]
    course.write(
        "books", calls=len(churn.lived), ways=dict(Counter(call.way for call in churn.lived)),
        greetings=dict(Counter(call.greeting for call in churn.lived)), records=len(records),
        recorded=dict(Counter(f"{record['cause']}/{record['fault']}" for record in records)),
        wrong=wrong[:MOST_WRONG], wrong_count=len(wrong), unseen_by_model=len(unseen), complaints=course.complaints,
    )  # fmt: skip


def main() -> None:
    """Run, or summarise a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file for the samples, one JSON object a line; appended to")
    parser.add_argument("--keep", type=Path, help="leave database and log here")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="tell what a run came to, and do nothing else")
    parser.add_argument("--calls", type=int, default=Plan().calls)
    for name in ("rate", "every", "patience"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Plan(), name), help="see Plan")
    given = parser.parse_args()
    if given.summary:
        from bench.long_summary import told_churn

        print(told_churn(given.summary.read_text().splitlines()))
        return
    plan = Plan(given.calls, given.rate, every=given.every, patience=given.patience)
    with tempfile.TemporaryDirectory() as folder, (given.out or Path(os.devnull)).open("a") as out:
        keep = given.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(plan, keep, out))


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
