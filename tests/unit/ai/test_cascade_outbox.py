"""The way out of a session: order kept, the dead silent, nothing without bound."""

import asyncio

import pytest

from tests.virtual_time import virtual
from trunkline.ai.cascade.session_outbox import Outbox
from trunkline.ai.session import (
    CallerStartedSpeaking,
    ReplyAudio,
    ReplyEnded,
    ReplyId,
    ReplyStarted,
    ReplyText,
    SessionLost,
)
from trunkline.codecs.frame import AudioFrame

R1, R2 = ReplyId("r1"), ReplyId("r2")
HALF_S = AudioFrame(bytes(16000), 16000)


async def taken(outbox: Outbox) -> list[object]:
    outbox.finish()
    return [event async for event in outbox.events()]


@virtual
async def test_what_waits_of_a_killed_reply_is_taken_back_and_late_events_are_refused() -> None:
    outbox = Outbox()
    outbox.put(ReplyStarted(R1, 1))
    outbox.put(ReplyText(R1, "one"))
    await outbox.put_audio(ReplyAudio(R1, HALF_S))
    outbox.put(CallerStartedSpeaking(2, 0.5))
    outbox.kill(R1)
    await outbox.put_audio(ReplyAudio(R1, HALF_S))
    outbox.put(ReplyText(R1, "two"))
    outbox.put(ReplyEnded(R1))
    outbox.put(ReplyStarted(R2, 2))
    assert await taken(outbox) == [CallerStartedSpeaking(2, 0.5), ReplyStarted(R2, 2)]


@virtual
async def test_speech_waits_at_two_seconds_and_other_events_do_not() -> None:
    outbox = Outbox()
    for _ in range(4):
        await outbox.put_audio(ReplyAudio(R1, HALF_S))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(5):
            await outbox.put_audio(ReplyAudio(R1, HALF_S))
    outbox.put(CallerStartedSpeaking(1, 0.0))
    assert len(await taken(outbox)) == 5


@virtual
async def test_room_comes_back_when_speech_is_taken_killed_or_over() -> None:
    for release in ("take", "kill", "finish"):
        outbox = Outbox()
        for _ in range(4):
            await outbox.put_audio(ReplyAudio(R1, HALF_S))
        async with asyncio.TaskGroup() as group, asyncio.timeout(5):
            waiting = group.create_task(outbox.put_audio(ReplyAudio(R1, HALF_S)))
            await asyncio.sleep(0)
            assert not waiting.done()
            if release == "take":
                events = outbox.events()
                await anext(events)
                await waiting
                await events.aclose()  # type: ignore[attr-defined]
            elif release == "kill":
                outbox.kill(R1)
            else:
                outbox.finish()


@virtual
async def test_a_consumer_that_never_comes_loses_the_session() -> None:
    outbox = Outbox()
    for turn in range(3000):
        outbox.put(CallerStartedSpeaking(turn, 0.0))
    assert await taken(outbox) == [SessionLost("nobody took the last 2000 events")]


@virtual
async def test_nothing_follows_the_loss() -> None:
    outbox = Outbox()
    outbox.put(SessionLost("gone"))
    outbox.put(CallerStartedSpeaking(1, 0.0))
    assert [event async for event in outbox.events()] == [SessionLost("gone")]


@virtual
async def test_a_consumer_that_waits_is_woken_by_whatever_comes() -> None:
    for last in (ReplyStarted(R1, 1), ReplyAudio(R1, HALF_S), None):
        outbox = Outbox()
        events = outbox.events()
        waiting = asyncio.ensure_future(anext(events, None))
        await asyncio.sleep(1.0)
        assert not waiting.done()
        match last:
            case ReplyAudio():
                assert outbox.put_audio_now(last)
            case None:
                outbox.finish()
            case _:
                outbox.put(last)
        async with asyncio.timeout(5):
            assert await waiting == last
