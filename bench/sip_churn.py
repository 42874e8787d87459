"""SIP calls of all kinds for hours, and what the processes hold meanwhile and afterwards.

    python -m bench.sip_churn --seconds 3600 --rate 1.5 --out FILE        one JSON object a line, written at once
    python -m bench.sip_churn --summary FILE                              what a run came to, finished or cut

Callers (`bench.sip_phone`, seeded) stay 5 to 20 s with a service whose agent echoes; some leave at once, cancel while
it rings, hold, are transferred or hung up over the API, vanish without a BYE, or never acknowledge. Every caller's own
account is compared with the store's record of the call. SIGTERM ends a run early and in order.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import aiohttp
import psutil
import uvloop

from bench.rig import ROOT
from bench.sip_media import PILOT, Media
from bench.sip_phone import Exchange, Phone, Refused
from bench.sip_rig import SipRig, sip_serving

WAYS: Final[Mapping[str, int]] = {  # in a hundred calls
    "talks": 30, "leaves at once": 12, "cancels": 14, "holds": 12, "is transferred": 10, "is not transferred": 6,
    "is hung up": 6, "vanishes": 6, "never acknowledges": 4,
}  # fmt: skip
TARGET: Final = "+919811111111"
SETTINGS: Final = {"sip.allow_transfer_to": "+9198*"}
SETTLE_S: Final = 45.0  # a call that is never acknowledged stays for 32 s
WARM_UP: Final = 60
WARM_RATE: Final = 4.0
RESERVE_S: Final = 3.0
SPEAKING_S: Final = 15.0  # a transfer waits for the end of what is said, and the echo always says something
SURE_S: Final = (
    5.0  # of talk, after which the echo's first second was heard to its end, also where the machine is starved
)
MOST_WRONG: Final = 50


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how many, how often looked at."""

    seconds: float = 3600.0
    rate: float = 1.5  # new calls per second
    stay_s: tuple[float, float] = (5.0, 20.0)
    every: float = 15.0  # s between samples
    seed: int = 1


@dataclass(slots=True)
class Lived:
    """One call as its caller lived it."""

    call_id: str
    way: str
    answered: bool = False
    ended_by: str = ""  # us (the caller), far, or "" when nobody told
    talked_s: float = 0.0
    code: int = 0  # of a refusal
    fault: str = ""  # what should not have happened

    def may_be(self) -> set[str]:
        """cause/fault that its record may have; empty: there is none."""
        if not self.answered or self.way == "never acknowledges":
            return set()
        done, left = "completed/caller", "abandoned/caller"
        match self.way:
            case "vanishes":
                return {"media_lost/carrier"}
            case "is transferred":
                return {"completed/nobody"}
            case "is hung up":
                return {"operator/us", "operator/nobody"}
        return {done} if self.talked_s >= SURE_S else {done, left}


def wrong_records(lived: Sequence[Lived], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every difference between what callers lived and what was recorded."""
    by_ref: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_ref.setdefault(record["carrier_ref"], []).append(record)
    wrong = []
    for call in lived:
        found, wanted = by_ref.pop(call.call_id, []), call.may_be()
        told = [f"{record['cause']}/{record['fault']}" for record in found]
        if len(told) != bool(wanted) or not set(told) <= wanted:
            wrong.append(f"{call.call_id} {call.way}, {call.talked_s:.1f} s: recorded {told}, wanted {sorted(wanted)}")
        wrong += [f"{call.call_id}: recorded, but not as over" for record in found if record["ended_at"] is None]
    return wrong + [f"{ref}: recorded, but never placed" for ref in by_ref]


class Churn:
    """The calls of one run."""

    def __init__(
        self, plan: Plan, rig: SipRig, exchange: Exchange, media: Media, client: aiohttp.ClientSession
    ) -> None:
        self.lived: list[Lived] = []
        self.live = 0
        self._plan, self._rig, self._exchange, self._media, self._client = plan, rig, exchange, media, client
        self._dice = random.Random(plan.seed)

    async def place(self, rate: float, seconds: float, stop: asyncio.Event, stay_s: tuple[float, float]) -> None:
        """New calls at that rate; returns when the last one is over."""
        began, number = time.monotonic(), 0
        async with asyncio.TaskGroup() as group:
            while (due := number / rate) < seconds and not stop.is_set():
                with suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), max(0.001, began + due - time.monotonic()))
                number += 1
                group.create_task(self._call(len(self.lived), random.Random(self._dice.random()), stay_s))
                await asyncio.sleep(0)

    async def _call(self, number: int, dice: random.Random, stay_s: tuple[float, float]) -> None:
        (way,) = dice.choices(list(WAYS), list(WAYS.values()))
        phone = Phone(self._exchange, self._media, f"+9198{number:08}", acknowledges=way != "never acknowledges")
        lived = Lived(phone.call_id, way)
        self.lived.append(lived)
        self.live += 1
        try:
            await self._live(phone, lived, dice, dice.uniform(*stay_s))
        except Refused as refused:
            lived.code = refused.code
            if lived.answered or refused.code not in ((487,) if way == "cancels" else ()):
                lived.fault = f"{'answered' if lived.answered else 'calling'}: {refused.code}"
        finally:
            lived.ended_by = phone.by
            phone.leave()
            self.live -= 1

    async def _live(self, phone: Phone, lived: Lived, dice: random.Random, stay_s: float) -> None:
        phone.stream.payload = lambda _: PILOT
        if lived.way == "cancels":
            await self._cancelled(phone, dice)
        else:
            await phone.call()
        lived.answered, began = True, time.monotonic()
        try:
            await self._talk(phone, lived, dice, stay_s)
        finally:
            lived.talked_s = (phone.times.ended or time.monotonic()) - began

    async def _cancelled(self, phone: Phone, dice: random.Random) -> None:
        """Raises Refused(487), unless the answer was quicker. A half does not even wait for the first word of it: the
        agent answers at once."""
        calling = asyncio.create_task(phone.call(), name="churn.calling")
        await asyncio.sleep(0)
        if dice.random() < 0.5:
            await asyncio.wait(
                {asyncio.ensure_future(phone.provisional.wait()), calling}, return_when="FIRST_COMPLETED"
            )
            await asyncio.sleep(dice.uniform(0.0, 0.03))
        if not calling.done():
            with suppress(Refused):  # 481: it was answered meanwhile
                await phone.cancel()
        await calling

    async def _talk(self, phone: Phone, lived: Lived, dice: random.Random, stay_s: float) -> None:
        match lived.way:
            case "leaves at once" | "cancels":
                await asyncio.sleep(dice.uniform(0.0, 2.0))
            case "holds":
                await self._held(phone, dice, stay_s)
            case "is transferred" | "is not transferred" | "is hung up":
                await self._steered(phone, lived, dice, stay_s)
                if lived.way != "is not transferred":
                    return
            case "vanishes" | "never acknowledges":
                await self._stay(phone, stay_s / 2)
                phone.silent, phone.stream.payload = True, None
                return
            case _:
                await self._stay(phone, stay_s)
        if phone.over.is_set():
            lived.fault = "ended by the service"
        await phone.hang_up()

    async def _stay(self, phone: Phone, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(phone.over.wait(), seconds)

    async def _held(self, phone: Phone, dice: random.Random, stay_s: float) -> None:
        before, while_s = stay_s * dice.uniform(0.2, 0.4), dice.uniform(1.0, 4.0)
        await self._stay(phone, before)
        await phone.hold(on=True)
        speech, phone.stream.payload = phone.stream.payload, None
        await self._stay(phone, while_s)
        await phone.hold(on=False)
        phone.stream.payload = speech
        await self._stay(phone, max(RESERVE_S, stay_s - before - while_s))

    async def _steered(self, phone: Phone, lived: Lived, dice: random.Random, stay_s: float) -> None:
        """Over the API: a transfer that works, one that the caller's telephone or the target refuses, a hang-up."""
        if lived.way == "is not transferred":
            phone.transfers_to = dice.choice((0, 486))
        await self._stay(phone, stay_s * 0.6)
        what = "hangup" if lived.way == "is hung up" else "transfer"
        body = {"json": {"target": TARGET}} if what == "transfer" else {}
        status = await self._order(phone.call_id, what, body)
        if status != 202:
            lived.fault = f"{what}: {status}"
        await self._stay(phone, SPEAKING_S if lived.way != "is not transferred" else stay_s * 0.4)
        if lived.way != "is not transferred" and not phone.over.is_set():
            lived.fault = f"{what}: no BYE"
            await phone.hang_up()

    async def _order(self, call_id: str, what: str, body: Mapping[str, Any]) -> int:
        """POST /calls/{id}/…; 0: the call is not in the list."""
        url = self._rig.rig.url
        async with self._client.get(f"{url}/calls", params={"live": "true", "limit": "200"}) as response:
            found = [call["id"] for call in (await response.json())["calls"] if call["carrier_ref"] == call_id]
        if not found:
            return 0
        async with self._client.post(f"{url}/calls/{found[0]}/{what}", **body) as response:
            return response.status


class Books:
    """The run's file: a line per sample, the books at the end."""

    def __init__(self, rig: SipRig, out: TextIO) -> None:
        self._rig, self._out, self._began = rig, out, time.monotonic()

    def write(self, kind: str, **what: Any) -> None:
        """One line, at once."""
        at = round(time.monotonic() - self._began, 2)
        self._out.write(json.dumps({"kind": kind, "at_s": at, **what}) + "\n")
        self._out.flush()

    async def sample(self, kind: str, churn: Churn) -> None:
        """What is held now."""
        told = await self._rig.rig.metrics()
        self.write(
            kind, calls=len(churn.lived), live=churn.live, held=self._rig.held(),
            tasks=told["trunkline_tasks_running"], slots=told["trunkline_sip_slots_taken"],
            sip_calls=told["trunkline_sip_calls"], late_beats=told["trunkline_sip_beats_late"],
            cpu_s={role: round(used, 2) for role, used in self._rig.cpu_s().items()}, own_cpu_s=time.process_time(),
            load=round(psutil.getloadavg()[0], 2),
        )  # fmt: skip

    async def keep(self, churn: Churn, every_s: float) -> None:
        """Until cancelled; a sample that cannot be had is told."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.sample("sample", churn)
            except (OSError, aiohttp.ClientError, TimeoutError, psutil.Error) as wrong:
                self.write("fault", error=f"sample: {wrong!r}"[:300])

    async def close(self, churn: Churn, exchange: Exchange) -> None:
        """Callers against records, and the gateway's own counters."""
        records = await self._rig.rig.records()
        wrong = wrong_records(churn.lived, records)
        faults = [f"{call.call_id} {call.way}: {call.fault}" for call in churn.lived if call.fault]
        told = await self._rig.rig.metrics()
        start = 'trunkline_sip_events_total{kind="'
        self.write(
            "books", calls=len(churn.lived), ways=dict(Counter(call.way for call in churn.lived)),
            answered=sum(call.answered for call in churn.lived), records=len(records),
            recorded=dict(Counter(f"{one['cause']}/{one['fault']}" for one in records)),
            wrong=wrong[:MOST_WRONG], wrong_count=len(wrong), faults=faults[:MOST_WRONG], faults_count=len(faults),
            again=exchange.again, strays=exchange.strays, complaints=self._rig.rig.complaints()[:MOST_WRONG],
            gateway={name.removeprefix(start)[:-2]: int(told[name]) for name in told if name.startswith(start)},
            gateway_starts=told["trunkline_sip_gateway_starts_total"],
        )  # fmt: skip


async def settled(rig: SipRig, before: Mapping[str, Mapping[str, int]]) -> Mapping[str, Mapping[str, int]]:
    """What is held once it is no more than before (memory left out), or after SETTLE_S."""
    end = time.monotonic() + SETTLE_S
    while left_behind(before, now := rig.held()) and time.monotonic() < end:  # noqa: ASYNC110 - other processes
        await asyncio.sleep(1.0)
    return now


def left_behind(before: Mapping[str, Mapping[str, int]], after: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """What is held now and was not then, by "role what"; memory is judged by its slope."""
    return {
        f"{role} {what}": more
        for role, held in after.items()
        for what, count in held.items()
        if what != "rss_kb" and (more := count - before[role][what]) > 0
    }


async def run(plan: Plan, folder: Path, out: TextIO) -> None:
    """The whole run; lines go to `out`."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with (
        sip_serving(folder, SETTINGS) as rig,
        Exchange(rig.there) as exchange,
        Media() as media,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True, limit=0)) as client,
    ):
        books, churn = Books(rig, out), Churn(plan, rig, exchange, media, client)
        books.write("plan", **asdict(plan), ways=dict(WAYS), pid=os.getpid(), log=str(rig.rig.log), unix_s=time.time())
        fresh = rig.held()
        await churn.place(WARM_RATE, WARM_UP / WARM_RATE, stop, (2.0, 4.0))
        before = await settled(rig, fresh)
        await books.sample("start", churn)
        keeping = asyncio.create_task(books.keep(churn, plan.every), name="churn.samples")
        await churn.place(plan.rate, plan.seconds, stop, plan.stay_s)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        after = await settled(rig, before)
        await books.sample("last", churn)
        await books.close(churn, exchange)
        books.write("end", before=before, after=after, left_behind=left_behind(before, after))


def main() -> None:
    """Run, or summarise a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="file for the samples, one JSON object a line; appended to")
    parser.add_argument("--keep", type=Path, help="leave database and log here")
    parser.add_argument("--summary", type=Path, metavar="FILE", help="tell what a run came to, and do nothing else")
    for name in ("seconds", "rate", "every"):
        parser.add_argument(f"--{name}", type=float, default=getattr(Plan(), name), help="see Plan")
    parser.add_argument("--seed", type=int, default=Plan().seed)
    given = parser.parse_args()
    if given.summary:
        from bench.sip_summary import told_churn

        print(told_churn(given.summary.read_text().splitlines()))
        return
    plan = Plan(given.seconds, given.rate, every=given.every, seed=given.seed)
    with tempfile.TemporaryDirectory() as folder, (given.out or Path(os.devnull)).open("a") as out:
        keep = given.keep or Path(folder)
        keep.mkdir(parents=True, exist_ok=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(plan, keep, out))


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
