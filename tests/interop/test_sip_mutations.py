"""Messages that went wrong, by the thousand, at the real gateway, before and inside a live call, over UDP and TCP.

What may not happen: a death, an OPTIONS that waits for more than a second, a call beside it that is disturbed, anything
left. `TRUNKLINE_MUTATIONS` is how many (20000 for the full figure), `TRUNKLINE_MUTATIONS_SEED` which; a failure names
the batch, and `KEPT` has what ever killed it.
"""

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.interop.sip_mutations import Dialog, Forge
from tests.interop.sip_rfc4475 import INVITE, SDP, TYPED, request
from tests.interop.sip_torture_rig import Caller, Census, Probe, datagrams, header, in_namespace, over_tcp
from tests.peers.sip.rig import Process, Worker, folder, gateway, needs, worker
from trunkline.bridge.sip import messages as wire

pytestmark = pytest.mark.interop
_ = folder
MANY = int(os.environ.get("TRUNKLINE_MUTATIONS", "4000"))
SEED = int(os.environ.get("TRUNKLINE_MUTATIONS_SEED", "1"))
BATCH = 50
BREATH_S = 0.03  # between batches
FORGOTTEN_S = 45.0  # after which no transaction of any mutant is left (RFC 3261: 64 × T1 = 32 s)


# What killed it once, as small as it gets, and what mended it.
KEPT = {
    "an SDP of nothing but line ends, in a multipart body (patches/0001)": request(
        "kept1",
        INVITE,
        "Content-Type: multipart/mixed;boundary=b",
        body=b"--b\r\nContent-Type: application/sdp\r\n\r\n\r\n\r\n--b--\r\n",
    ),
    "credentials of another scheme, in an INVITE that is cloned (patches/0003)": request(
        "kept2", INVITE, "Authorization: Basic x", TYPED, body=SDP
    ),
}


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


@pytest.mark.parametrize("what", KEPT)
def test_what_once_killed_it_does_not(folder: Path, what: str) -> None:
    async def body() -> None:
        async with gateway(folder) as up, worker(up.options.socket) as here:
            here.verdict = lambda offer: wire.Refuse(offer.call, 486, "")
            probe = await Probe.open(up.port())
            far = await datagrams("127.0.1.1", 5060)
            assert far.transport is not None
            far.transport.sendto(KEPT[what], ("127.0.0.1", up.port()))
            assert await far.final(2.0) in (400, 415, 486, 488)
            await probe.ask(what)
            far.close()

    in_namespace(body)


class Verdicts:
    """Calls of names are taken and kept; a mutant that gets through is refused, or taken and ended soon."""

    def __init__(self, here: Worker, chance: random.Random) -> None:
        self._here, self._chance, self._seen = here, chance, 0
        self._slots: dict[int, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.offers = 0

    def __call__(self, offer: wire.Offer) -> wire.Take | wire.Refuse:
        self.offers += 1
        for told in self._here.told[self._seen :]:
            if isinstance(told, wire.Gone) and told.call in self._slots:
                self._here.free.append(self._slots.pop(told.call))
        self._seen = len(self._here.told)
        named = offer.from_.startswith(("bystander", "target"))
        if not self._here.free or (not named and (len(self._here.free) < 6 or self._chance.random() < 0.7)):
            return wire.Refuse(offer.call, 486, "")
        self._slots[offer.call] = self._here.slot(offer.call)
        if not named:
            task = asyncio.create_task(self._end(offer.call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return wire.Take(offer.call, self._slots[offer.call])

    async def _end(self, call: int) -> None:
        await asyncio.sleep(0.2)
        await self._here.say(wire.Hangup(call))


class Ordeal:
    """Batches of mutants, and an OPTIONS after each."""

    def __init__(self, up: Process, probe: Probe, seed: int) -> None:
        self._up, self._probe = up, probe
        self._forge = Forge(seed)
        self._number = 0

    async def over_udp(self, count: int, dialog: "Target | None" = None) -> None:
        far = await datagrams()
        assert far.transport is not None
        for _ in range(count // BATCH):
            names = []
            for _ in range(BATCH):
                what, data = self._next(dialog)
                names.append(what)
                far.transport.sendto(data[:65_000], ("127.0.0.1", self._up.port()))
            await self._ask(names)
            far.told.clear()
            if dialog is not None:
                await dialog.again(self._forge.cseq)
        far.close()

    async def over_tcp(self, count: int, how: str, dialog: "Target | None" = None) -> None:
        for _ in range(count // BATCH):
            batch = [self._next(dialog, "TCP") for _ in range(BATCH)]
            async with asyncio.TaskGroup() as group:
                for _, data in batch:
                    group.create_task(self._connected(data, how))
            await self._ask([what for what, _ in batch])
            if dialog is not None:
                await dialog.again(self._forge.cseq)

    async def _connected(self, data: bytes, how: str) -> None:
        pieces = [data]
        if how == "cut":
            at = self._forge.chance.randrange(len(data) + 1)
            pieces = [data[:at], data[at:]]
        elif how == "byte by byte":
            pieces = [data[at : at + 1] for at in range(min(len(data), 1500))]
        await over_tcp(self._up.port("tcp"), pieces, 0.2, 0.01 if how == "cut" else 0.0)

    def _next(self, dialog: "Target | None", transport: str = "UDP") -> tuple[str, bytes]:
        inside = dialog is not None and self._forge.chance.random() < 0.8
        return self._forge.make(dialog.dialog if dialog and inside else None, transport)

    async def _ask(self, batch: list[str]) -> None:
        self._number += 1
        await self._probe.ask(f"batch {self._number} of seed {SEED}: {batch}")
        await asyncio.sleep(BREATH_S)


class Target:
    """A call that mutants belong to. Some of them are allowed to end it: then there is another."""

    def __init__(self, up: Process) -> None:
        self._up, self._caller, self.calls = up, None, 0

    async def again(self, number: int) -> None:
        """number: the highest CSeq so far."""
        if self._caller is None or self._caller.over or await self._gone(number):
            await self.close()
            self._caller = await Caller.open(self._up.port(), f"target{self.calls}")
            self.calls += 1

    async def _gone(self, number: int) -> bool:
        """Asked in the dialog: 481 when it has ended."""
        assert self._caller is not None
        assert self._caller.sip.transport is not None
        self._caller.cseq = max(self._caller.cseq, number)  # a lower one would hear 500
        self._caller.sip.told.clear()
        self._caller.sip.transport.sendto(self._caller.request("UPDATE"), ("127.0.0.1", self._up.port()))
        return await self._caller.sip.final(1.0, lambda told: header(told, "CSeq").endswith("UPDATE")) in (0, 481, 500)

    @property
    def dialog(self) -> Dialog:
        assert self._caller is not None
        return Dialog(self._caller.call_id, "own", self._caller.tag)

    async def close(self) -> None:
        if self._caller is not None:
            await self._caller.bye()
            await self._caller.close()


async def run(folder: Path) -> None:
    share = MANY // 8
    async with gateway(folder, media_timeout_s=5.0) as up, worker(up.options.socket) as here:
        here.verdict = verdicts = Verdicts(here, random.Random(SEED))
        probe = await Probe.open(up.port())
        bystander = await Caller.open(up.port(), "bystander")
        await probe.ask("nothing")
        before = Census.of(up.process.pid)
        ordeal, target = Ordeal(up, probe, SEED), Target(up)
        await ordeal.over_udp(2 * share)
        for how in ("whole", "cut", "byte by byte"):
            await ordeal.over_tcp(share // 2, how)
        await target.again(0)
        await ordeal.over_udp(3 * share, target)
        for how in ("whole", "cut", "byte by byte"):
            await ordeal.over_tcp(share // 2, how, target)
        await target.close()
        heard = bystander.heard()
        assert heard.packets > 100
        assert (heard.missing, bystander.over) == (0, False)
        await asyncio.sleep(FORGOTTEN_S)
        assert await bystander.bye() == 200
        await bystander.close()
        await probe.ask("all")
        after = Census.of(up.process.pid)
        print(f"\n{MANY} mutants, seed {SEED}: {verdicts.offers} offered, {target.calls} targets; slowest OPTIONS",
              f"{probe.slowest * 1000:.0f} ms; bystander {heard};",
              f"{before} → {after}")  # fmt: skip
        figures = await up.stopped()
        print({key: value for key, value in figures.items() if value})
        assert (
            figures["live"]
            == figures["callback_failures"]
            == figures.get("failed", 0)
            == figures.get("forgotten", 0)
            == 0
        )
        assert after.descriptors <= before.descriptors
        assert after.threads == before.threads
        assert after.mib - before.mib < 60  # what 32 s of transactions took stays malloc's (bench/results/sip.md)


def test_mutants_harm_nobody(folder: Path) -> None:
    in_namespace(lambda: run(folder))
