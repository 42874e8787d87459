"""The conversation on the real media-socket leg, against a Smartflo that honours, delays or ignores `clear`."""

import asyncio
from typing import Literal

import pytest

from tests.fakes.leg import smartflo_leg
from tests.unit.calls.fakes import FakeProvider, FakeStore, Seen, now, until, wire_byte
from tests.virtual_time import clock, run
from trunkline.calls.events import BargeIn
from trunkline.calls.switchboard import Switchboard
from trunkline.config import Agent, Limits

Clear = Literal["honoured", "late", "ignored"]
SENTENCE = "one two three four five six seven eight nine ten"


@pytest.mark.parametrize("clear", ["honoured", "late", "ignored"])
@pytest.mark.parametrize("echoes", [True, False])
def test_a_call_with_a_barge_in(clear: Clear, echoes: bool) -> None:
    async def call(cut_after: float) -> None:
        provider, store, seen = FakeProvider(), FakeStore(), Seen()
        board = Switchboard(
            limits=Limits(silence_prompt_s=60),
            agents={"receptionist": Agent(greeting="Hello")},
            providers={"fake": provider},
            store=store,  # type: ignore[arg-type]
            clock=clock(),
            observers=[seen],
        )
        async with smartflo_leg(clear, echoes=echoes) as (leg, far), asyncio.TaskGroup() as group:
            attending = group.create_task(board.attend(leg))
            session = await provider.session()
            await until(now() + 0.02)
            session.say(1, "Hello there.", 0.6)
            await until(now() + 3.0)
            assert session.heard_replies == ["r1"]
            session.say(2, SENTENCE, 4.0, 1)
            began = now()
            await until(began + cut_after)
            session.caller_speaks(2)
            await until(now() + 0.002)
            cut_at = now()
            for _ in range(3):
                session.late(2)
                await until(now() + 0.1)
            session.say(3, "Yes?", 0.5, 2)
            await until(now() + 4.0)
            far.hang_up()
            record = await attending
        dead = [arrival.at for arrival in far.arrivals if wire_byte(2) in arrival.payload]
        assert dead
        assert max(dead) <= cut_at, "a frame of the dead reply after the cut"
        assert len(far.flushed_at) == 1
        assert session.interrupted == [("r2", pytest.approx(cut_after, abs=0.08))]
        assert session.heard_replies == ["r1", "r3"]
        (stop,) = seen.of(BargeIn)
        assert stop.stop_ms < 5
        assert SENTENCE.startswith(record.turns[1].heard_text)
        assert record.turns[1].interrupted
        assert (record.cause, record.counters["late_audio"]) == ("completed", 3)
        assert store.finished == [record]

    for step in range(10):
        run(call(0.3 + 0.0613 * step))
