"""What every `CallLeg` must do, in virtual time. A test module gives a fixture `legs` and inherits `LegSuite`.

    class TestMine(LegSuite):
        @pytest.fixture
        def legs(self) -> Legs:
            return my_rig  # an async context manager function that yields a Rig

The far end is scripted through `Far`; it must show what arrived on its side of the wire, and when.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from tests.virtual_time import virtual
from trunkline.bridge.leg import Answered, CallLeg, Digit, Ended, LegEvent, Oddity, Played
from trunkline.codecs.frame import AudioFrame
from trunkline.outcome import EndCause, Outcome

FRAMES = 50
SLACK_S = 0.002


@dataclass(frozen=True, slots=True)
class Arrival:
    """A payload of ours reached the far end's wire."""

    at: float  # loop time, s
    payload: bytes


class Far(Protocol):
    """The other end of the leg's wire."""

    arrivals: Sequence[Arrival]
    flushed_at: Sequence[float]  # when it was told to forget; ignored where the leg has no such message

    def say(self, payload: bytes) -> None:
        """One wire message of the caller's voice."""
        ...

    def press(self, keys: str) -> None:
        """Key presses."""
        ...

    def hang_up(self) -> None:
        """A polite goodbye."""
        ...

    def vanish(self) -> None:
        """The wire breaks."""
        ...


@dataclass(frozen=True, slots=True)
class Rig:
    """A leg that is up, and its far end."""

    leg: CallLeg
    far: Far
    flushes: bool = True  # the wire has a message that empties the far end's buffer
    digits: bool = True


Legs: TypeAlias = Callable[[], AbstractAsyncContextManager[Rig]]


def frame(leg: CallLeg, number: int, frames: int = 1) -> bytes:
    """A payload of `frames` frames, told apart by `number`."""
    return bytes([number % 250 + 1]) * (leg.info.codec.bytes_per_second * leg.info.frame_ms // 1000 * frames)


async def until_ended(leg: CallLeg) -> list[LegEvent]:
    """All events there are; fails if the leg does not end."""
    async with asyncio.timeout(60):
        return [event async for event in leg.events()]


async def speak(leg: CallLeg, seconds: float, *, first: int = 0) -> None:
    """Send audio as the mouth does: `room()`, then `send()`."""
    for number in range(round(seconds * 1000 / leg.info.frame_ms)):
        await leg.room()
        leg.send(frame(leg, first + number))


def marks(events: Sequence[LegEvent]) -> list[tuple[str, bool]]:
    return [(event.label, event.dropped) for event in events if isinstance(event, Played)]


class LegSuite:
    """The suite. `now` is the virtual loop's time."""

    @virtual
    async def test_answered_comes_first_and_ended_last_once(self, legs: Legs) -> None:
        async with legs() as rig:
            rig.far.say(frame(rig.leg, 1))
            await asyncio.sleep(0.1)
            rig.far.hang_up()
            events = await until_ended(rig.leg)
            assert isinstance(events[0], Answered)
            assert [e for e in events if isinstance(e, Ended)] == [events[-1]]
            assert not [e for e in events if isinstance(e, Oddity)]
            ended = events[-1]
            assert isinstance(ended, Ended)
            assert (ended.outcome.cause, ended.outcome.fault) == (EndCause.COMPLETED, "caller")

    @virtual
    async def test_a_wire_that_breaks_is_media_lost(self, legs: Legs) -> None:
        async with legs() as rig:
            await asyncio.sleep(0.1)
            rig.far.vanish()
            ended = (await until_ended(rig.leg))[-1]
            assert isinstance(ended, Ended)
            assert ended.outcome.cause is EndCause.MEDIA_LOST

    @virtual
    async def test_never_further_ahead_than_the_lead(self, legs: Legs) -> None:
        async with legs() as rig:
            info = rig.leg.info
            began = asyncio.get_running_loop().time()
            await speak(rig.leg, 3.0)
            await asyncio.sleep(info.lead_s + 0.01)  # what shares memory with its far end arrives when it is taken
            given = 0.0
            for arrival in rig.far.arrivals:
                given += info.codec.seconds(arrival.payload)
                ahead = given - (arrival.at - began)
                assert ahead <= max(info.lead_s, info.frame_ms / 1000) + SLACK_S
            assert abs(given - 3.0) < SLACK_S
            taken = rig.far.arrivals[-1].at - began
            assert taken >= 3.0 - info.lead_s - SLACK_S, "faster than real time"
            assert taken <= 3.0 + SLACK_S, "slower than real time: the caller hears gaps"

    @virtual
    async def test_has_room_says_whether_room_would_wait(self, legs: Legs) -> None:
        async with legs() as rig:
            leg, loop = rig.leg, asyncio.get_running_loop()
            for number in range(2 * FRAMES):
                free, before = leg.has_room(), loop.time()
                await leg.room()
                assert free == (loop.time() == before)
                assert leg.has_room()
                leg.send(frame(leg, number))
            assert not leg.has_room()
            leg.flush()
            assert leg.has_room()

    @virtual
    async def test_flush_tells_the_seconds_nobody_will_hear(self, legs: Legs) -> None:
        async with legs() as rig:
            leg = rig.leg
            await leg.room()
            frames = max(1, round(leg.info.lead_s * 1000 / leg.info.frame_ms))
            leg.send(frame(leg, 1, frames))
            assert leg.playing()
            await asyncio.sleep(0.015)
            lead = frames * leg.info.frame_ms / 1000
            assert abs(leg.flush() - (lead - 0.015)) <= leg.info.frame_ms / 1000 + SLACK_S
            assert not leg.playing()
            assert leg.flush() == 0.0

    @virtual
    async def test_flush_reaches_the_far_end(self, legs: Legs) -> None:
        async with legs() as rig:
            await speak(rig.leg, 0.5)
            await asyncio.sleep(0)
            cut = asyncio.get_running_loop().time()
            rig.leg.flush()
            await asyncio.sleep(0.01)
            assert not rig.flushes or [at for at in rig.far.flushed_at if cut <= at <= cut + SLACK_S]

    @virtual
    async def test_no_frame_of_the_dead_reply_after_a_flush(self, legs: Legs) -> None:
        async with legs() as rig:
            leg = rig.leg
            await speak(leg, 0.3)
            await leg.room()
            leg.send(frame(leg, 200))  # and in the same breath, before any writer could run:
            leg.flush()
            before = len(rig.far.arrivals)
            await asyncio.sleep(1.0)
            assert [a.payload for a in rig.far.arrivals[before:]] == []
            await speak(leg, 0.1, first=100)
            await asyncio.sleep(0.5)
            alive = {frame(leg, 100 + n)[0] for n in range(FRAMES)}
            assert {a.payload[0] for a in rig.far.arrivals[before:]} <= alive

    @virtual
    async def test_a_flush_makes_room_at_once(self, legs: Legs) -> None:
        async with legs() as rig:
            leg = rig.leg
            await leg.room()
            leg.send(frame(leg, 1, max(2, round(leg.info.lead_s * 1000 / leg.info.frame_ms))))
            async with asyncio.TaskGroup() as tasks:
                waiting = tasks.create_task(leg.room())
                await asyncio.sleep(0.001)
                assert not waiting.done()
                leg.flush()
                await asyncio.sleep(0.001)
                assert waiting.done()

    @virtual
    async def test_marks_come_back_once_and_when_heard(self, legs: Legs) -> None:
        async with legs() as rig:
            leg = rig.leg
            seen: list[tuple[str, float]] = []

            async def watch() -> None:
                async for event in leg.events():
                    if isinstance(event, Played):
                        assert not event.dropped
                        seen.append((event.label, asyncio.get_running_loop().time()))

            began = asyncio.get_running_loop().time()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(watch())
                for part in range(3):
                    await speak(leg, 0.4)
                    leg.mark(f"part-{part}")
                await asyncio.sleep(5)
                rig.far.hang_up()
            assert [label for label, _ in seen] == ["part-0", "part-1", "part-2"]
            for part, (_, at) in enumerate(seen):
                heard = began + 0.4 * (part + 1)
                assert heard - 0.05 <= at <= heard + 2.5

    @virtual
    async def test_marks_overtaken_by_a_flush_come_back_as_dropped_once(self, legs: Legs) -> None:
        async with legs() as rig:
            leg = rig.leg
            await speak(leg, 0.2)
            leg.mark("one")
            leg.mark("two")
            leg.flush()
            await speak(leg, 0.1)
            leg.mark("three")
            await asyncio.sleep(5)
            rig.far.hang_up()
            assert marks(await until_ended(leg)) == [("one", True), ("two", True), ("three", False)]

    @virtual
    async def test_marks_that_were_heard_before_a_flush_are_not_dropped(self, legs: Legs) -> None:
        async with legs() as rig:
            leg = rig.leg
            await speak(leg, 0.1)
            leg.mark("heard")
            await asyncio.sleep(0.5)
            leg.flush()
            rig.far.hang_up()
            assert marks(await until_ended(leg)) == [("heard", False)]

    @virtual
    async def test_outstanding_marks_come_back_before_the_end(self, legs: Legs) -> None:
        async with legs() as rig:
            await speak(rig.leg, 0.2)
            rig.leg.mark("cut off")
            await rig.leg.end(EndCause.COMPLETED)
            events = await until_ended(rig.leg)
            assert marks(events) == [("cut off", True)]
            assert isinstance(events[-1], Ended)

    @virtual
    async def test_keys_in_order(self, legs: Legs) -> None:
        async with legs() as rig:
            if not rig.digits:
                return
            for key in "1590*#55":
                rig.far.press(key)
                await asyncio.sleep(0.3)
            rig.far.hang_up()
            events = await until_ended(rig.leg)
            assert "".join(e.key for e in events if isinstance(e, Digit)) == "1590*#55"

    @virtual
    async def test_the_caller_is_heard_sample_for_sample(self, legs: Legs) -> None:
        async with legs() as rig:
            codec = rig.leg.info.codec
            said = [frame(rig.leg, number) for number in range(FRAMES)]
            for payload in said:
                rig.far.say(payload)
                await asyncio.sleep(rig.leg.info.frame_ms / 1000)
                if rig.leg.info.frame_ms * (said.index(payload) + 1) >= 900:
                    break
            rig.far.hang_up()
            frames = [f async for f in rig.leg.audio()]
            decoder = codec.decoder()
            whole = b"".join(decoder.decode(payload) for payload in said)
            heard = b"".join(f.pcm for f in frames)
            assert heard
            assert whole.startswith(heard)
            assert all(f.rate == codec.rate for f in frames)
            assert [f.start for f in frames] == [sum(g.samples for g in frames[:n]) for n in range(len(frames))]

    @virtual
    async def test_an_ear_that_is_late_gets_the_last_second(self, legs: Legs) -> None:
        async with legs() as rig:
            codec = rig.leg.info.codec
            count = round(3000 / rig.leg.info.frame_ms)
            for number in range(count):
                rig.far.say(frame(rig.leg, number))
                await asyncio.sleep(rig.leg.info.frame_ms / 1000)
            rig.far.hang_up()
            frames = [f async for f in rig.leg.audio()]
            assert sum(f.seconds for f in frames) <= 1.0 + SLACK_S
            newest = codec.decoder().decode(frame(rig.leg, count - 1))
            assert frames[-1].pcm[-2:] == newest[-2:]
            assert frames[0].start >= 1.9 * codec.rate, "what was dropped must show as a jump"
            assert rig.leg.counters["audio_dropped_ms"] >= 1900

    @virtual
    async def test_a_silent_wire_is_filled(self, legs: Legs) -> None:
        async with legs() as rig:
            frames: list[AudioFrame] = []

            async def listen() -> None:
                frames.extend([f async for f in rig.leg.audio()])

            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(listen())
                rig.far.say(frame(rig.leg, 1))
                await asyncio.sleep(2.0)
                rig.far.hang_up()
            filled = sum(f.seconds for f in frames if not any(f.pcm))
            assert 1.4 <= filled <= 2.0
            assert abs(rig.leg.counters["silence_filled_ms"] - filled * 1000) <= 1

    @virtual
    async def test_ending_twice_is_ending_once(self, legs: Legs) -> None:
        async with legs() as rig:
            began = asyncio.get_running_loop().time()
            await asyncio.gather(rig.leg.end(EndCause.TOO_LONG), rig.leg.end(EndCause.OPERATOR))
            await rig.leg.end(EndCause.INTERNAL)
            assert asyncio.get_running_loop().time() - began <= 2.0 + SLACK_S
            ended = [e for e in await until_ended(rig.leg) if isinstance(e, Ended)]
            assert [e.outcome for e in ended] == [Outcome(EndCause.TOO_LONG, "nobody")]

    @virtual
    async def test_after_the_end_nothing_is_sent_and_nothing_raises(self, legs: Legs) -> None:
        async with legs() as rig:
            rig.far.hang_up()
            await until_ended(rig.leg)
            arrived = len(rig.far.arrivals)
            async with asyncio.timeout(0.1):
                await rig.leg.room()
            rig.leg.send(frame(rig.leg, 1))
            rig.leg.mark("late")
            assert rig.leg.flush() == 0.0
            await rig.leg.end(EndCause.COMPLETED)
            assert len(rig.far.arrivals) == arrived
            assert rig.leg.counters["sent_after_end"] == 1

    @virtual
    async def test_streams_end_with_the_leg(self, legs: Legs) -> None:
        async with legs() as rig, asyncio.TaskGroup() as tasks:

            async def listen() -> None:
                async for _ in rig.leg.audio():
                    pass

            tasks.create_task(listen())
            tasks.create_task(speak(rig.leg, 5.0))
            await asyncio.sleep(1.0)
            rig.far.vanish()
            async with asyncio.timeout(1.0):
                await until_ended(rig.leg)
