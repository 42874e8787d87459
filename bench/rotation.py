"""Calls that live for hours while the model's server sends every connection away each minute.

    python -m bench.rotation --out FILE              50 calls for two hours
    python -m bench.rotation --out FILE --seconds 40 --calls 10 --goaway 4 --left 3 --pause 4,6 --every 5
    python -m bench.rotation --summary FILE          what a run came to, finished or cut

The service is a process of its own; callers (Smartflo's framing, recorded sentences) and the simulated Gemini, which
answers only what it understood from the audio that arrived, are in this one. One JSON line per sample is written at
once, so that a run which is cut loses nothing but its end. SIGTERM ends a run early and in order.
"""

import argparse
import asyncio
import contextlib
import gc
import json
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence, Set
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO

import aiohttp
import numpy as np
import psutil
import uvloop

import trunkline
from bench.long_callers import Account, LongCaller, Sentence
from bench.long_ear import QuickEar
from bench.long_model import ModelWatch, differences
from bench.rig import ROOT, Footprint, Rig, complaints_in, serving
from trunkline_sim.gemini import GeminiSim
from trunkline_sim.gemini_scenario import Scenario
from trunkline_sim.voices import Voices

SAID = (
    "what are your opening hours",
    "do you have a table for four on friday evening",
    "how much is a large pizza with mushrooms",
    "can you tell me where you are",
    "please send the order to my office",
)
ANSWER = "Of course, let me see what we have."
CHAR_S = 0.06
ANSWER_S = 2.1  # of that, in whole tenths, as the simulator speaks it
COLLECT_S = 1.0
RING_S = 10.0  # a call must be set up within this
REDIAL_S = 1.0
WARM_UP, WARM_S = 20, 2.0  # calls, and how long they are
WARM_NUMBER = 900_000  # of the first of them
MOST_SPREAD = 0.25  # of the run, until the last call is set up
MOST_ODD = 100  # calls told one by one at the end
PATIENT = (
    "ai.gemini.setup_timeout_s", "ai.gemini.recover_s", "ai.gemini.stall_s",
    "failure.honest_after_s", "failure.answer_within_s", "failure.give_up_s",
)  # fmt: skip
CALM = {"limits.longest_call_s": 86_000, "limits.silence_prompt_s": 30}


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of it. Times in s."""

    seconds: float = 7200.0
    calls: int = 50
    goaway: float = 55.0  # after set-up
    left: float = 10.0  # from there to the end; the service leaves at a quiet point, 5 s before the end at the latest
    pause: tuple[float, float] = (8.0, 12.0)  # from the start of a sentence to the start of the next
    every: float = 30.0  # between samples
    patience: float = 0.0  # for PATIENT, where a busy machine must not be taken for a vendor's fault; 0: the defaults


class Course:
    """One run while it goes on: takes samples, writes them down."""

    def __init__(self, rig: Rig, watch: ModelWatch, account: Account, out: TextIO) -> None:
        self.rig, self.watch, self.account, self._out = rig, watch, account, out
        self._began = time.monotonic()
        self._cpu = (self._began, rig.cpu_s(), time.process_time())
        self._log_at = 0
        self.events: Counter[str] = Counter()  # of the service's log, warnings and worse, and hand-overs
        self.complaints: list[str] = []

    def write(self, kind: str, **what: Any) -> None:
        """One line, at once on its way to the disk."""
        self._out.write(json.dumps({"kind": kind, **what}) + "\n")
        self._out.flush()

    async def sample(self, kind: str = "sample") -> None:
        """What is held and what came of the calls so far; delays since the last sample."""
        self.watch.collect()
        self._read_log()
        held = asdict(await self.rig.footprint())
        account, watch = self.account, self.watch
        gaps, response, own = watch.gaps_s[:], account.response_s[:], account.own_late_s[:]
        for spent in (watch.gaps_s, account.response_s, account.own_late_s):
            spent.clear()
        totals = {name: value for name, value in asdict(account).items() if not isinstance(value, list)}
        self.write(
            kind, at_s=round(time.monotonic() - self._began, 1), **held, **self._shares(),
            load=round(os.getloadavg()[0], 2), rig_rss_kb=psutil.Process().memory_info().rss // 1024,
            rotations=watch.rotations, gap_s=_spread(gaps), heard=watch.heard,
            not_understood=watch.not_understood, afresh=watch.afresh, asked=dict(watch.asked),
            ends=dict(watch.ends), violations=dict(watch.violations), **_rounded(totals), response_s=_spread(response),
            own_late_s=_spread(own), events=dict(self.events), complaints=len(self.complaints),
        )  # fmt: skip

    def _shares(self) -> dict[str, float]:
        """Of a core, since the last sample."""
        now = (time.monotonic(), self.rig.cpu_s(), time.process_time())
        wall, service, own = (new - old for new, old in zip(now, self._cpu, strict=True))
        self._cpu = now
        return {"cpu_service": round(service / max(wall, 1e-9), 3), "cpu_rig": round(own / max(wall, 1e-9), 3)}

    def _read_log(self) -> None:
        with self.rig.log.open("rb") as log:
            log.seek(self._log_at)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._log_at += len(whole)
        lines = whole.decode(errors="replace").splitlines()
        self.complaints += complaints_in(lines)[: max(0, 50 - len(self.complaints))]
        self.events.update(name for line in lines if (name := _event(line)))


def _event(line: str) -> str:
    """A log line's name where it is worth counting: hand-overs, warnings and worse, and what is no JSON."""
    try:
        told = json.loads(line)
    except ValueError:
        return "not JSON"
    if told.get("level") in ("warning", "error", "critical"):
        return f"{told['level']} {told['event']}"
    return "gemini.handed_over" if told.get("event") == "gemini.handed_over" else ""


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Number, median, p99 and largest."""
    if not values:
        return {"n": 0}
    p50, p99 = np.quantile(values, (0.5, 0.99))
    return {"n": len(values), **_rounded({"p50": float(p50), "p99": float(p99), "max": max(values)})}


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def sentences(voice: str = "kal16") -> list[Sentence]:
    """What the callers say. Raises VoiceError where the synthesiser is missing."""
    voices = Voices()
    return [Sentence.of(text, voices.say(text, voice)) for text in SAID]


def recordings(voice: str = "kal16") -> dict[str, bytes]:
    """The same for the model's ear."""
    voices = Voices()
    return {text: voices.say(text, voice) for text in SAID}


def patient(seconds: float) -> dict[str, object]:
    """Settings by which the service waits so long for its vendor; 0: as it is."""
    return dict.fromkeys(PATIENT, seconds) if seconds else {}


@asynccontextmanager
async def gemini_service(
    folder: Path, scenario: Scenario, settings: Mapping[str, object]
) -> AsyncIterator[tuple[Rig, GeminiSim]]:
    """A service whose Gemini is simulated in this process."""
    os.environ["GEMINI_API_KEY"] = "any"
    async with GeminiSim(scenario=scenario) as gemini:
        gemini.recordings = QuickEar(recordings())
        chosen = {"ai.gemini.base_url": gemini.url, "ai.gemini.ca_file": gemini.ca_file, **settings}
        async with serving(folder, profile="gemini", settings=chosen) as rig:
            yield rig, gemini


class Line:
    """A call for the whole run, and another one where the service ended it. `calls`: all of them."""

    def __init__(self, number: int, plan: Plan, course: Course, said: Sequence[Sentence]) -> None:
        self.calls: list[LongCaller] = []
        self._number, self._plan, self._course, self._said = number, plan, course, said

    async def run(self, session: aiohttp.ClientSession, over: Callable[[], bool]) -> None:
        """Until `over()`."""
        spread_s = min(self._plan.goaway, MOST_SPREAD * self._plan.seconds)
        await asyncio.sleep(spread_s * self._number / self._plan.calls)  # so that not all rotate at once
        while not over():
            number = self._number + 1000 * len(self.calls)
            caller = LongCaller(number, self._said, self._course.account, ANSWER_S)
            self.calls.append(caller)
            try:
                if await self._ring(caller, session):
                    await caller.talk(self._plan.pause, over)
                    await caller.hang_up()
            except Exception as wrong:  # a run of hours must not end by one caller; it is counted and told
                self._course.account.broken += 1
                self._course.write("fault", error=repr(wrong)[:500])
            if not over():
                await asyncio.sleep(REDIAL_S)

    async def _ring(self, caller: LongCaller, session: aiohttp.ClientSession) -> bool:
        account = self._course.account
        account.rung += 1
        try:
            async with asyncio.timeout(RING_S):
                await caller.ring(session, self._course.rig.socket_url)
        except (TimeoutError, OSError, aiohttp.ClientError):
            account.unreached += 1
            return False
        return True


async def _collect(watch: ModelWatch) -> None:
    while True:
        watch.collect()
        await asyncio.sleep(COLLECT_S)


async def _sampling(course: Course, every_s: float) -> None:
    """A sample that cannot be had (the service does not answer) is told, and the next one is tried."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await course.sample()
        except (OSError, aiohttp.ClientError, TimeoutError, psutil.Error) as wrong:
            course.write("fault", error=repr(wrong)[:500])


async def run(plan: Plan, folder: Path, out: TextIO) -> None:
    """The whole run; lines go to `out`."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    scenario = Scenario(reply=ANSWER, char_s=CHAR_S, goaway_at_s=plan.goaway, goaway_left_s=plan.left)
    said, account = sentences(), Account()
    async with gemini_service(folder, scenario, {**CALM, **patient(plan.patience)}) as (rig, gemini):
        before, warm = await _warmed(rig, gemini, said)
        course = Course(rig, ModelWatch(gemini), account, out)
        course.write("plan", **asdict(plan), trunkline=trunkline.__file__, pid=os.getpid(), service=rig.process.pid,
                     log=str(rig.log), unix_s=time.time())  # fmt: skip
        lines = [Line(number, plan, course, said) for number in range(plan.calls)]
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await _calls(plan, course, lines, session, stop)
        after = await rig.settled(before)
        await _close_books(course, [call for line in lines for call in line.calls], warm)
        course.write("end", before=asdict(before), after=asdict(after), left_behind=after.beyond(before))


@asynccontextmanager
async def beside(course: Course, every_s: float) -> AsyncIterator[None]:
    """Samples are taken and the model's logs are read while the body runs."""
    tasks = [
        asyncio.create_task(_collect(course.watch), name="long.collect"),
        asyncio.create_task(_sampling(course, every_s), name="long.sample"),
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for done in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(done, Exception):
                raise done


async def _warmed(rig: Rig, gemini: GeminiSim, said: Sequence[Sentence]) -> tuple[Footprint, Set[str]]:
    """What is made at first use (threads above all) is no leak: what is held after a few calls, and their records."""
    idle = await rig.footprint()
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for number in range(WARM_UP):
            caller = LongCaller(WARM_NUMBER + number, said, Account(), ANSWER_S)
            group.create_task(_short_call(caller, rig, session))
    before = await rig.settled(idle)
    gemini.sessions.clear()
    return before, {record["id"] for record in await rig.records()}


async def _short_call(caller: LongCaller, rig: Rig, session: aiohttp.ClientSession) -> None:
    await caller.ring(session, rig.socket_url)
    await caller.say_once(WARM_S, WARM_S)
    await caller.hang_up()


async def _calls(
    plan: Plan, course: Course, lines: Sequence[Line], session: aiohttp.ClientSession, stop: asyncio.Event
) -> None:
    gc.collect()
    gc.freeze()
    await course.sample("start")
    over_at = time.monotonic() + plan.seconds
    async with beside(course, plan.every), asyncio.TaskGroup() as group:
        for line in lines:
            group.create_task(line.run(session, lambda: stop.is_set() or time.monotonic() > over_at))
    await course.sample("last")


async def _close_books(course: Course, calls: Sequence[LongCaller], warm: Set[str]) -> None:
    """Each call's sentences as spoken and as understood, and its record."""
    with contextlib.suppress(TimeoutError):
        await course.watch.sim.until(lambda: not any(log.open for log in course.watch.sim.sessions))
    course.watch.collect()
    records = {one["carrier_ref"]: one for one in await course.rig.records() if one["id"] not in warm}
    recorded, usage = Counter[str](), Counter[str]()
    lost, extra, odd = 0, 0, list[dict[str, Any]]()
    for caller in calls:
        seen = course.watch.calls.get(caller.facts.from_)
        missing, more = differences(caller.spoken, seen.heard if seen else [])
        lost, extra = lost + missing, extra + more
        record = records.pop(caller.facts.call_sid, None)
        if missing or more:
            odd.append({"call": (record or {}).get("id"), "spoken": len(caller.spoken), "lost": missing, "extra": more})
        recorded["none" if record is None else f"{record['cause']}/{record['fault']}"] += 1
        usage.update((await course.rig.get(f"/calls/{record['id']}")).get("usage", {}) if record else {})
    course.write(
        "books", calls=len(calls), spoken=sum(len(caller.spoken) for caller in calls), lost=lost, extra=extra,
        recorded=dict(recorded), strange_records=len(records), usage=_rounded(usage),
        calls_seen=len(course.watch.calls), odd=odd[:MOST_ODD], complaints=course.complaints,
    )  # fmt: skip


def main() -> None:
    """Run, or summarise a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file for the samples, one JSON object a line; appended to")
    parser.add_argument("--keep", type=Path, help="leave database and log here")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="tell what a run came to, and do nothing else")
    for name in ("seconds", "goaway", "left", "every", "patience"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Plan(), name), help="s; see Plan")
    parser.add_argument("--calls", type=int, default=Plan().calls)
    parser.add_argument("--pause", default="8,12", help="s between the starts of two sentences: least,most")
    given = parser.parse_args()
    if given.summary:
        from bench.long_summary import told

        print(told(given.summary.read_text().splitlines()))
        return
    least, most = map(float, given.pause.split(","))
    plan = Plan(given.seconds, given.calls, given.goaway, given.left, (least, most), given.every, given.patience)
    with tempfile.TemporaryDirectory() as folder, (given.out or Path(os.devnull)).open("a") as out:
        keep = given.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(plan, keep, out))


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
