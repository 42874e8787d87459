"""What SIP calls cost and how well they are carried: `python -m bench.sip_load [--calls 100,200] [--out FILE]`.

    caller (RTP, mu-law, 20 ms) ─► gateway ─► ring ─► worker: a session that echoes ─► ring ─► gateway ─► caller

For each number of calls a run with the node as it is, and one in which the worker's interpreter is blocked for 20 ms
every 100 ms. Then so many calls a second for a minute, none of which may be lost. Callers are `bench.sip_phone`, in
this process; arrivals carry the kernel's time, so that our own lateness is no part of them. A run in which this process
used more than 70 % of a core says so, and so does one in which other programs had the processor.

*Delay*: a sample's way there and back, first packet in to packet out, to the sample. *Late*: packets that came more
than 20 ms behind the stream's best. *Holes*: packets of digital silence while the caller sends a tone without a pause;
each delays the echo by as much for the rest of the run, so a delay beside holes is that of the holes.
*Jitter of the media clock*: a packet's distance from the one before, beside 20 ms.
"""

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import psutil
import uvloop

from bench.rig import ROOT
from bench.sip_media import PILOT, PULSE, SILENCE, STEP_S, Media, Stream
from bench.sip_phone import Exchange, Phone, Refused
from bench.sip_rig import ROLES, SipRig, sip_serving
from trunkline_sim.load import RIG_LIMIT

BLOCKED = "20,100"  # ms: held, begun every
SET_UP_RATE = 40.0  # calls a second, before a run
QUIET_S = 4.5  # longer than the echo needs to fall silent and to let go of what it holds
WARM_S = 1.5
PER_WORKER = 100  # calls
PULSE_EVERY = 50  # frames
LATE_S = 0.02
STAY_S = 2.0  # of a call in the set-up run
OTHERS_LIMIT = 0.15  # share of the machine in other hands above which a run says so


@dataclass(frozen=True, slots=True)
class Run:
    """One run. Times in ms; shares of a core, or of the packets."""

    calls: int
    workers: int
    node: str  # idle, blocked
    cpu: dict[str, float]  # share of a core, by role
    delay: tuple[float, float, float]  # p50, p95, p99
    lost_pulses: int
    packets: int
    lost: int
    late: float  # share
    lateness: tuple[float, float, float]  # p50, p99, most
    jitter: tuple[float, float, float]  # p50, p99, most
    holes: float  # share
    late_beats: int  # of the worker
    rss_kb: dict[str, float]  # per call, by role
    wrong: list[str]
    rig: float
    rig_late: float  # p99
    own_delay: float  # p50 of a packet from this process to itself
    others: float  # share of the machine that other programs had

    @property
    def limited(self) -> str:
        """Why the figures are not the service's, "" when they are."""
        rig = "rig-limited" if self.rig > RIG_LIMIT else ""
        return rig or ("machine shared" if self.others > OTHERS_LIMIT else "")


@dataclass(frozen=True, slots=True)
class SetUps:
    """Calls set up at a rate."""

    rate: float
    seconds: float
    calls: int
    lost: int  # not answered, or ended by the other side
    faults: dict[str, int]
    answer: tuple[float, float, float]  # ms, INVITE to 200: p50, p99, most
    cpu_ms: dict[str, float]  # per call of STAY_S, by role
    recorded: dict[str, int]
    rig: float
    others: float


@dataclass(slots=True)
class Phase:
    """What all callers do now."""

    quiet: bool = False
    counting: bool = False


def speech(stream: Stream, offset: int, phase: Phase) -> None:
    """A tone without a pause, unless all are quiet; a louder one in every PULSE_EVERYth frame while it counts."""

    def payload(count: int) -> bytes:
        if phase.quiet:
            return SILENCE
        if (count + offset) % PULSE_EVERY or not phase.counting:
            return PILOT
        stream.pulse()
        return PULSE

    stream.payload = payload


async def own_delay(media: Media) -> float:
    """Median ms of a packet from one of our sockets to another."""
    one, two = media.open(), media.open()
    media.connect(one, ("127.0.0.1", two.local))
    media.connect(two, ("127.0.0.1", one.local))

    def payload(_: int) -> bytes:
        two.pulsed = time.time()
        return PULSE

    one.payload = payload
    await asyncio.sleep(1.0)
    for stream in (one, two):
        media.close(stream)
    return round(1000 * float(np.median(two.delays)), 2)


async def calls_up(exchange: Exchange, media: Media, count: int, phase: Phase) -> list[Phone]:
    """So many calls, answered and talking."""
    phones = [Phone(exchange, media, f"+9198{number:08}") for number in range(count)]
    tasks = []
    for number, phone in enumerate(phones):
        speech(phone.stream, number * 7, phase)
        tasks.append(asyncio.create_task(phone.call(), name="load.call"))
        await asyncio.sleep(1 / SET_UP_RATE)
    await asyncio.gather(*tasks)
    return phones


@asynccontextmanager
async def _service(folder: str, workers: int) -> AsyncIterator[tuple[SipRig, Exchange, Media]]:
    settings = {"server.workers": workers}
    async with sip_serving(Path(folder), settings) as rig, Exchange(rig.there) as exchange, Media() as media:
        yield rig, exchange, media


async def measure(count: int, node: str, seconds: float, workers: int) -> Run:
    """One run from start to stop."""
    _block(node == "blocked")
    with tempfile.TemporaryDirectory() as folder:
        async with _service(folder, workers) as (rig, exchange, media):
            own = await own_delay(media)
            before, phase = rig.held(), Phase()
            phones = await calls_up(exchange, media, count, phase)
            await _settle(phase)
            window = await _window(rig, phones, media, seconds, phase)
            rss = {role: round((held["rss_kb"] - before[role]["rss_kb"]) / count, 1)
                   for role, held in rig.held().items()}  # fmt: skip
            wrong = [f"call {at}: ended by the service" for at, phone in enumerate(phones) if phone.over.is_set()]
            await asyncio.gather(*(phone.hang_up() for phone in phones))
            await asyncio.sleep(1.0)
            wrong += await _books(rig, phones)
    cpu, rig_share, others, late_beats = window
    return Run(
        count, workers, node, cpu, _ms(_all(phone.stream.delays for phone in phones), 0.5, 0.95, 0.99),
        sum(phone.stream.lost for phone in phones), *_packets(phones), late_beats, rss, wrong, rig_share,
        round(1000 * float(np.quantile(media.late, 0.99)), 2), own, others,
    )  # fmt: skip


async def _settle(phase: Phase) -> None:
    """An echo keeps every delay that the set-up has brought it, until its caller is quiet for a while."""
    for phase.quiet, seconds in ((False, 0.5), (True, QUIET_S), (False, WARM_S)):
        await asyncio.sleep(seconds)


async def _window(
    rig: SipRig, phones: Sequence[Phone], media: Media, seconds: float, phase: Phase
) -> tuple[dict[str, float], float, float, int]:
    """Shares of a core by role, our own, that of others of the machine, and late beats, over so many seconds."""
    beats = (await rig.rig.metrics())["trunkline_sip_beats_late"]
    media.late = type(media.late)("d")
    phase.counting = True
    for phone in phones:
        phone.stream.keep = True
    cpu, own, machine, began = rig.cpu_s(), time.process_time(), _machine(), time.monotonic()
    await asyncio.sleep(seconds)
    wall, mine = time.monotonic() - began, time.process_time() - own
    used = {role: share - cpu[role] for role, share in rig.cpu_s().items()}
    others = max(0.0, _machine() - machine - mine - sum(used.values()))
    phase.counting = False
    await asyncio.sleep(0.3)  # for the last tones
    for phone in phones:
        phone.stream.keep = False
    late = (await rig.rig.metrics())["trunkline_sip_beats_late"] - beats
    shares = {role: round(used[role] / wall, 4) for role in ROLES}
    return shares, round(mine / wall, 3), round(others / wall / (os.cpu_count() or 1), 3), int(late)


def _packets(phones: Sequence[Phone]) -> tuple[int, int, float, tuple[float, ...], tuple[float, ...], float]:
    """Packets, lost ones, share that was late, lateness, jitter, share of holes."""
    lateness, jitter, lost, empty = [], [], 0, 0
    for phone in phones:
        at, number = np.array(phone.stream.arrivals), np.array(phone.stream.numbers)
        if len(at) < 2:
            continue
        behind = at - number * STEP_S
        lateness.append(behind - behind.min())
        steps = np.diff(number)
        jitter.append(np.abs(np.diff(at)[steps == 1] - STEP_S))
        lost += int((steps - 1).clip(0).sum())
        empty += phone.stream.empty
    late, uneven = np.concatenate(lateness), np.concatenate(jitter)
    count = len(late)
    share = round(float((late > LATE_S).mean()), 5)
    return count, lost, share, _ms(late, 0.5, 0.99, 1), _ms(uneven, 0.5, 0.99, 1), round(empty / count, 5)


async def _books(rig: SipRig, phones: Sequence[Phone]) -> list[str]:
    """What the records say against the callers, and the log."""
    records = {one["carrier_ref"]: f"{one['cause']}/{one['fault']}" for one in await rig.rig.records()}
    told = (records.get(phone.call_id, "no record") for phone in phones)
    return [one for one in told if one != "completed/caller"] + rig.rig.complaints()[:5]


async def set_ups(rate: float, seconds: float, workers: int) -> SetUps:
    """So many new calls a second, each for STAY_S."""
    _block(False)
    with tempfile.TemporaryDirectory() as folder:
        async with _service(folder, workers) as (rig, exchange, media):
            cpu, own, machine, began = rig.cpu_s(), time.process_time(), _machine(), time.monotonic()
            answers, faults = await _at_rate(exchange, media, rate, seconds)
            wall, mine = time.monotonic() - began, time.process_time() - own
            used = {role: now - cpu[role] for role, now in rig.cpu_s().items()}
            others = max(0.0, _machine() - machine - mine - sum(used.values()))
            await asyncio.sleep(2.0)
            records = await rig.rig.records()
    calls = round(rate * seconds)
    return SetUps(
        rate, seconds, calls, sum(faults.values()) + abs(calls - len(records)), dict(faults),
        _ms(answers, 0.5, 0.99, 1), {role: round(1000 * used[role] / calls, 2) for role in ROLES},
        dict(Counter(f"{one['cause']}/{one['fault']}" for one in records)), round(mine / wall, 3),
        round(others / wall / (os.cpu_count() or 1), 3),
    )  # fmt: skip


async def _at_rate(exchange: Exchange, media: Media, rate: float, seconds: float) -> tuple[list[float], Counter[str]]:
    answers: list[float] = []
    faults: Counter[str] = Counter()

    async def one(number: int) -> None:
        phone = Phone(exchange, media, f"+9198{number:08}")
        phone.stream.payload = lambda _: PILOT
        try:
            await phone.call(10.0)
            answers.append(phone.times.answered - phone.times.invited)
            await asyncio.sleep(STAY_S + random.uniform(-0.2, 0.2))
            faults["ended by the service"] += phone.over.is_set()
            await phone.hang_up()
        except Refused as refused:
            faults[f"{'BYE' if phone.times.answered else 'INVITE'} {refused.code}"] += 1
        phone.leave()

    began = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for number in range(round(rate * seconds)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            group.create_task(one(number), name="load.set_up")
    return answers, +faults


def _block(on: bool) -> None:
    """Of services started from now on."""
    os.environ["SIP_BLOCKED"] = BLOCKED if on else ""
    os.environ["PYTHONPATH"] = str(ROOT / "bench" / "sip_blocked") if on else ""


def _machine() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _all(arrays: Sequence[Sequence[float]]) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.concatenate([np.array(one, dtype=np.float64) for one in arrays])


def _ms(seconds: Sequence[float], *shares: float) -> tuple[float, ...]:
    some = seconds if len(seconds) else [float("nan")]
    return tuple(round(1000 * float(value), 2) for value in np.quantile(some, shares))


def table(runs: Sequence[Run]) -> str:
    """Markdown."""
    lines = [
        "| calls | workers | node | processor per call: gateway, worker | delay p50 / p95 / p99 ms "
        "| lost / late packets | lateness p50 / p99 / most ms | clock's jitter p50 / p99 / most ms | holes "
        "| late beats | RSS per call: gateway, worker kB | rig | others |",
        "|" + "---|" * 13,
    ]
    for run in runs:
        cpu = ", ".join(f"{100 * run.cpu[role] / run.calls:.2f} %" for role in ROLES[1:])
        rss = ", ".join(f"{run.rss_kb[role]:.0f}" for role in ROLES[1:])
        limited = f" {run.limited}" if run.limited else ""
        lines.append(
            f"| {run.calls} | {run.workers} | {run.node} | {cpu} | {_slashes(run.delay)} "
            f"| {run.lost} of {run.packets} / {run.late:.3%} "
            f"| {_slashes(run.lateness)} | {_slashes(run.jitter)} | {run.holes:.3%} | {run.late_beats} | {rss} "
            f"| {run.rig:.0%} | {run.others:.0%}{limited} |"
        )
    return "\n".join(lines)


def told(found: SetUps) -> str:
    """A line."""
    cpu = ", ".join(f"{role} {found.cpu_ms[role]:.1f}" for role in ROLES[1:])
    return (
        f"{found.rate:g} calls a second for {found.seconds:g} s, each of {STAY_S:g} s: {found.calls} calls, "
        f"{found.lost} lost {found.faults or ''}; INVITE to 200 p50 / p99 / most {_slashes(found.answer)} ms; "
        f"processor ms per call {cpu}; recorded {found.recorded}; callers {found.rig:.0%} of a core, others "
        f"{found.others:.0%} of the machine"
    )


def _slashes(values: Sequence[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)


async def main(given: argparse.Namespace) -> None:
    """All runs, then the table."""
    runs: list[Run] = []
    for count in (int(word) for word in given.calls.split(",") if word):
        for node in given.nodes.split(","):
            runs.append(await measure(count, node, given.seconds, given.workers or -(-count // PER_WORKER)))
            print(json.dumps(asdict(runs[-1])), flush=True)
    found = await set_ups(given.rate, given.set_up_seconds, given.workers or 1) if given.set_up_seconds else None
    if given.out is not None:
        made = {"runs": [{**asdict(run), "limited": run.limited} for run in runs], "set_ups": found and asdict(found)}
        await asyncio.to_thread(given.out.write_text, json.dumps(made, indent=1) + "\n")
    print("\n" + "\n\n".join([*([table(runs)] if runs else []), *([told(found)] if found else [])]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", default="100,200")
    parser.add_argument("--nodes", default="idle,blocked", help="of idle and blocked")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=0, help=f"0: one for {PER_WORKER} calls, one for the set-ups")
    parser.add_argument("--rate", type=float, default=50.0, help="calls a second that are set up")
    parser.add_argument("--set-up-seconds", type=float, default=60.0, help="0: none")
    parser.add_argument("--out", type=Path, help="JSON of all runs")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop_runner:
        loop_runner.run(main(parser.parse_args()))
