"""RFC 4475 at the real gateway, over UDP and TCP: whole, cut, byte by byte. Nothing dies, nothing is left."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.interop.sip_rfc4475 import NOTHING, SAYS, Message
from tests.interop.sip_rfc4475_wrong import MESSAGES
from tests.interop.sip_torture_rig import Census, Probe, code_of, datagrams, in_namespace, over_tcp
from tests.peers.sip.rig import Process, folder, gateway, needs, worker
from trunkline.bridge.sip import messages as wire

pytestmark = pytest.mark.interop
_ = folder
QUIET_S = 0.25  # after which nothing is taken for the answer
SAID_S = 2.0


@pytest.fixture(autouse=True)
def _needs() -> None:
    needs()


def test_there_are_49_with_their_sections() -> None:
    assert len(MESSAGES) == len({message.name for message in MESSAGES}) == len({one.section for one in MESSAGES}) == 49


def tortured(folder: Path, ordeal) -> dict[str, int]:
    """A gateway with a worker that refuses every call, and the ordeal; its figures at the end."""
    told = {}

    async def body() -> None:
        async with gateway(folder) as up, worker(up.options.socket) as here:
            here.verdict = lambda offer: wire.Refuse(offer.call, SAYS, "")
            probe = await Probe.open(up.port())
            try:
                await probe.ask("nothing")
                before = Census.of(up.process.pid)
                await ordeal(up, probe)
                await settled(up, probe)
                after = Census.of(up.process.pid)
                assert after.descriptors <= before.descriptors + 2
                assert after.threads == before.threads
            finally:
                probe.close()
            told.update(await up.stopped())

    in_namespace(body)
    assert told["live"] == 0
    assert told["callback_failures"] == 0
    return told


async def settled(up: Process, probe: Probe) -> None:
    """Connections that were aborted are gone."""
    await asyncio.sleep(1.0)
    await probe.ask("all")


async def said_over_udp(up: Process, at: int, message: Message) -> int:
    """Each has an address of its own, whose port is 5060: that is where an answer without rport goes."""
    far = await datagrams(f"127.0.1.{at + 1}", 5060)
    try:
        assert far.transport is not None
        far.transport.sendto(message.data, ("127.0.0.1", up.port()))
        return await far.final(QUIET_S if message.right == {NOTHING} else SAID_S)
    finally:
        await asyncio.sleep(0)
        far.close()


def wrong(found: dict[str, int], right) -> dict[str, tuple[int, list[int]]]:
    """What was said otherwise than it is right."""
    return {one.name: (found[one.name], sorted(right(one))) for one in MESSAGES if found[one.name] not in right(one)}


def test_over_udp_each_hears_what_is_right(folder: Path) -> None:
    found: dict[str, int] = {}

    async def ordeal(up: Process, probe: Probe) -> None:
        for at, message in enumerate(MESSAGES):
            found[message.name] = await said_over_udp(up, at, message)
            await probe.ask(message.name)

    tortured(folder, ordeal)
    assert wrong(found, lambda one: one.right) == {}


def test_over_tcp_each_hears_what_is_right(folder: Path) -> None:
    found: dict[str, int] = {}

    async def ordeal(up: Process, probe: Probe) -> None:
        for message in MESSAGES:
            nothing = message.right_over_tcp == {NOTHING}
            got = await over_tcp(up.port("tcp"), [message.over_tcp()], QUIET_S if nothing else SAID_S)
            found[message.name] = next((code_of(one) for one in got if code_of(one) >= 200), NOTHING)
            await probe.ask(message.name)

    tortured(folder, ordeal)
    assert wrong(found, lambda one: one.right_over_tcp) == {}


@pytest.mark.parametrize("how", ["cut", "byte by byte"])
def test_over_tcp_in_pieces_it_is_the_same_message(folder: Path, how: str) -> None:
    found: dict[str, int] = {}
    chance = random.Random(4475)

    async def ordeal(up: Process, probe: Probe) -> None:
        for message in MESSAGES:
            data = message.over_tcp()
            at = chance.randrange(1, len(data))
            pieces = [data[:at], data[at:]] if how == "cut" else [data[i : i + 1] for i in range(len(data))]
            nothing = message.right_over_tcp == {NOTHING}
            got = await over_tcp(up.port("tcp"), pieces, QUIET_S if nothing else SAID_S, 0.03 if how == "cut" else 0.0)
            found[message.name] = next((code_of(one) for one in got if code_of(one) >= 200), NOTHING)
            await probe.ask(message.name)

    tortured(folder, ordeal)
    assert wrong(found, lambda one: one.right_over_tcp) == {}


def test_datagrams_that_end_early_harm_nobody(folder: Path) -> None:
    """Every message, cut at eight places of a seed."""
    chance = random.Random(4475)
    codes: Counter[int] = Counter()

    async def ordeal(up: Process, probe: Probe) -> None:
        for message in MESSAGES:
            places = sorted(chance.sample(range(len(message.data)), 8))
            far = await datagrams("127.0.2.1")
            assert far.transport is not None
            for place in places:
                far.transport.sendto(message.data[:place], ("127.0.0.1", up.port()))
            await probe.ask((message.name, places))
            codes.update(code_of(one) for one in far.told)
            far.close()

    told = tortured(folder, ordeal)
    assert told["gate_malformed"] > 100
