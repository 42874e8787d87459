"""The leg back to back with the simulated platform, in virtual time: two readings of one wire, and its faults."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.conformance.leg import marks, speak, until_ended
from tests.fakes.socket import FakeSocket
from tests.virtual_time import clock, virtual
from trunkline.bridge.carriers import CARRIERS
from trunkline.bridge.dialect import Message
from trunkline.bridge.media_socket import MediaSocketLeg, open_media_leg
from trunkline.codecs.g711 import PCMU
from trunkline_sim import twilio
from trunkline_sim.faults import Faults
from trunkline_sim.stream import Stream
from trunkline_sim.wire import SMARTFLO, CallFacts, Wire

WIRES = {"smartflo": SMARTFLO, "twilio": twilio.WIRE}


class Platform:
    """The simulator's pure stream on a socket in memory."""

    def __init__(self, faults: Faults, wire: Wire) -> None:
        self.stream = Stream(CallFacts(), faults, message_ms=20, seed=1, wire=wire)
        self.socket = FakeSocket(self._taken)
        self._began = asyncio.get_running_loop().time()
        self.socket.say(*self.stream.opening())

    def now(self) -> float:
        return asyncio.get_running_loop().time() - self._began

    async def run(self) -> None:
        while True:
            await asyncio.sleep(max(0.0, self.stream.next_tick_s() - self.now()))
            self.socket.say(*self.stream.tick(self.now()))

    def hang_up(self) -> None:
        goodbye = self.stream.goodbye("Call ended")
        if goodbye is not None:
            self.socket.say(goodbye)
        self.socket.shut(1000)

    def _taken(self, message: Message) -> None:
        self.socket.say(*self.stream.receive(message, self.now()))


@asynccontextmanager
async def call(
    faults: Faults | None = None, carrier: str = "smartflo"
) -> AsyncIterator[tuple[MediaSocketLeg, Platform]]:
    platform = Platform(faults or Faults(), WIRES[carrier])
    async with asyncio.TaskGroup() as tasks:
        ticking = tasks.create_task(platform.run())
        async with open_media_leg(platform.socket, CARRIERS[carrier], {}, clock=clock()) as leg:
            yield leg, platform
        ticking.cancel()
    assert platform.stream.listener.complaints == {}, "we said something illegal"


def speech(seconds: float) -> bytes:
    """Mu-law in which no two neighbouring frames are alike and none is silence."""
    return b"".join(bytes([number % 100 + 1]) * 160 for number in range(round(seconds * 50)))


async def hear(leg: MediaSocketLeg) -> bytes:
    return b"".join([frame.pcm async for frame in leg.audio()])


def frames_of(pcm: bytes) -> list[bytes]:
    return [pcm[at : at + 320] for at in range(0, len(pcm), 320)]


async def heard_under(
    faults: Faults, seconds: float = 10.0, carrier: str = "smartflo"
) -> tuple[bytes, bytes, MediaSocketLeg]:
    """(said, heard, leg): s16le of a caller who talks for so long, and what the leg made of it."""
    async with call(faults, carrier) as (leg, platform), asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(hear(leg))
        platform.stream.mic.speak(speech(seconds))
        await asyncio.sleep(seconds + 3.0)
        platform.hang_up()
        heard = await listening
    return PCMU.decoder().decode(speech(seconds)), heard, leg


@pytest.mark.parametrize("carrier", WIRES)
def test_a_clean_line_is_heard_sample_for_sample(carrier: str) -> None:
    @virtual
    async def listen() -> None:
        said, heard, leg = await heard_under(Faults(), carrier=carrier)
        assert heard.startswith(said)
        assert leg.counters == {}

    listen()


@pytest.mark.parametrize(
    "faults",
    [
        Faults(duplicate=10),
        Faults(jitter_ms=200),
        Faults(burst_ms=900, burst_every_s=2.0),
        Faults(stall_at_s=3.0, stall_s=5.0),
        Faults(odd=20),
    ],
    ids=["duplicate", "jitter", "bursts", "stall", "nonsense"],
)
def test_no_word_is_lost_doubled_or_swapped(faults: Faults) -> None:
    @virtual
    async def listen() -> None:
        said, heard, leg = await heard_under(faults)
        words = [frame for frame in frames_of(heard) if any(frame)]
        expected = frames_of(said)
        assert words[: len(expected)] == expected
        assert "audio_dropped_ms" not in leg.counters

    listen()


@pytest.mark.parametrize("faults", [Faults(late=5), Faults(reorder=5)], ids=["late", "reordered"])
def test_words_out_of_order_are_still_heard(faults: Faults) -> None:
    @virtual
    async def listen() -> None:
        said, heard, leg = await heard_under(faults)
        assert set(frames_of(said)) <= set(frames_of(heard))
        assert leg.counters["late_sequence"] > 0

    listen()


@virtual
async def test_losses_are_concealed_and_counted() -> None:
    said, heard, leg = await heard_under(Faults(loss=5))
    lost = leg.counters["lost_messages"]
    assert 5 <= lost <= 50
    assert leg.counters["concealed_ms"] >= 20 * lost * 0.8
    assert abs(len(heard) - len(said)) / 16000 < 4.0
    missing = [frame for frame in frames_of(said) if frame not in set(frames_of(heard))]
    assert len(missing) <= lost


@virtual
async def test_a_line_that_vanishes_without_a_word_is_filled_with_silence() -> None:
    async with call(Faults(vanish_at_s=1.0)) as (leg, _), asyncio.TaskGroup() as tasks:
        listening = tasks.create_task(hear(leg))
        await asyncio.sleep(11.0)
        assert leg.counters["silence_filled_ms"] >= 9000
        listening.cancel()


@pytest.mark.parametrize("carrier", WIRES)
@pytest.mark.parametrize("clear", ["honoured", "late", "ignored"])
def test_after_a_cut_nothing_of_the_dead_reply_is_sent(clear: str, carrier: str) -> None:
    @virtual
    async def barge_in() -> None:
        async with call(Faults(clear=clear), carrier) as (leg, platform):  # type: ignore[arg-type]
            await speak(leg, 2.0)
            leg.mark("dead")
            cut, dropped = platform.now(), leg.flush()
            assert 0.15 < dropped <= 0.201
            await speak(leg, 1.0, first=150)
            leg.mark("alive")
            await asyncio.sleep(4.0)
            platform.hang_up()
            after = [a.payload[0] for a in platform.stream.arrivals if a.at_s > cut]
            assert set(after) <= set(range(151, 201))
            assert marks(await until_ended(leg)) == [("dead", True), ("alive", False)]
            assert platform.stream.listener.messages["clear"] == 1
            if clear == "honoured":
                ear = bytes(platform.stream.playout.heard)
                assert platform.stream.playout.dropped == pytest.approx(dropped * 8000, abs=200)
                assert ear.index(151) / 8000 == pytest.approx(cut, abs=0.03), "the new reply starts at once"

    barge_in()


@virtual
async def test_a_platform_without_marks() -> None:
    async with call(Faults(no_marks=True)) as (leg, platform):
        await speak(leg, 1.0)
        leg.mark("end")
        await asyncio.sleep(4.0)
        platform.hang_up()
        assert marks(await until_ended(leg)) == [("end", False)]
