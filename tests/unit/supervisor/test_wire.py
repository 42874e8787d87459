"""Messages between supervisor and workers: whole whatever the pieces, refused when they are none."""

import asyncio
import random
import socket
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline import bus_wire as wire
from trunkline.errors import ProtocolError

SOME = [wire.Drain(3.0, aside=True), wire.Ask(7, "w1", b"x" * 5000), wire.Event("t", "call_1", "note", b"{}")]


@given(st.integers())
def test_any_cutting_gives_the_same_messages(seed: int) -> None:
    dice = random.Random(seed)
    stream, frames, got = b"".join(map(wire.framed, SOME)), wire.Frames(), []
    while stream:
        size = dice.randint(1, 2000)
        got += frames.feed(stream[:size])
        stream = stream[size:]
    assert got == SOME


@given(st.binary(max_size=200))
def test_bytes_from_anywhere_are_messages_or_a_protocol_error(data: bytes) -> None:
    with suppress(ProtocolError):
        list(wire.Frames().feed(data))


def test_a_message_that_is_too_large_is_refused_on_both_sides() -> None:
    with pytest.raises(ProtocolError, match="16777216"):
        list(wire.Frames().feed((wire.MOST_FRAME + 1).to_bytes(4, "big")))
    with pytest.raises(ProtocolError, match="16777216"):
        wire.framed(wire.Ask(1, "", bytes(wire.MOST_FRAME)))


async def linked() -> tuple[wire.Link, wire.Link]:
    one, other = socket.socketpair()
    return await wire.Link.over(one), await wire.Link.over(other)


async def test_an_answer_finds_its_question_and_silence_is_told() -> None:
    one, other = await linked()

    async def answers() -> None:
        held: list[wire.Ask] = []
        while (message := await other.receive()) is not None:
            assert isinstance(message, wire.Ask)
            held.append(message)
            if len(held) == 2:
                for ask in reversed(held):
                    other.send(wire.Reply(ask.id, ask.body))

    async with asyncio.TaskGroup() as group:
        group.create_task(answers())
        reading = group.create_task(one.receive())
        first, second = await asyncio.gather(one.ask("a", b"1", 5), one.ask("b", b"2", 5))
        assert first is not None
        assert second is not None
        assert (first.body, second.body) == (b"1", b"2")
        assert await one.ask("c", b"3", 0.01) is None
        await one.close()
        reading.cancel()
    await other.close()


async def test_a_reader_that_is_too_slow_loses_events_and_they_are_counted() -> None:
    one, other = await linked()
    event = wire.Event("t", "c", "note", bytes(1 << 20))
    offered = [one.offer(event) for _ in range(20)]
    assert offered[0]
    assert not offered[-1]
    assert one.lost == offered.count(False)
    await other.close()
    await one.close()


async def test_who_waits_is_told_when_the_other_end_dies() -> None:
    one, other = await linked()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(one.ask("", b"?", 60))
        await asyncio.sleep(0)
        await other.close()
        assert await one.receive() is None
    reply = asked.result()
    assert reply is not None
    assert reply.gone
    await one.close()
