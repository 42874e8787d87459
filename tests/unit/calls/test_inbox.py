"""The inbox says when its reader has nothing to do: only then may speech go past the mind."""

import asyncio

from trunkline.calls.inbox import Inbox


async def test_idle_only_while_the_reader_waits_and_nothing_waits_for_it() -> None:
    inbox: Inbox[int] = Inbox()
    assert not inbox.idle, "nobody reads"
    reading = asyncio.create_task(inbox.get(10.0))
    await asyncio.sleep(0)
    assert inbox.idle
    inbox.post(1)
    assert not inbox.idle, "what came later must not overtake it, though the reader has not run yet"
    assert await reading == 1
    assert not inbox.idle, "the reader decides"


async def test_not_idle_after_a_poke_or_when_the_time_is_over() -> None:
    inbox: Inbox[int] = Inbox()
    reading = asyncio.create_task(inbox.get(10.0))
    await asyncio.sleep(0)
    inbox.poke()
    assert not inbox.idle
    assert await reading is None
    assert await inbox.get(0.0) is None
    assert not inbox.idle
