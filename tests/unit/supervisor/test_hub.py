"""The supervisor between workers: questions passed on, figures kept."""

import asyncio
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from trunkline import bus_wire as wire
from trunkline.metrics_sum import Family, Sample
from trunkline.supervisor_hub import Hub, Member


class Far:
    """A worker's end, by hand."""

    def __init__(self, link: wire.Link, member: Member) -> None:
        self.link = link
        self.member = member

    async def next(self) -> wire.Message:
        async with asyncio.timeout(2):
            while isinstance(message := await self.link.receive(), wire.Watchers):
                pass
        assert message is not None
        return message


@asynccontextmanager
async def hub_of(*names: str) -> AsyncIterator[tuple[Hub, list[Far]]]:
    async with asyncio.TaskGroup() as group:

        def own(work: Coroutine[Any, Any, None]) -> None:
            group.create_task(work)

        hub, ends, readers = Hub(own, dict), [], []
        for name in names:
            ours, theirs = socket.socketpair()
            member = Member(name, await wire.Link.over(ours))
            hub.join(member)
            ends.append(Far(await wire.Link.over(theirs), member))
            readers.append(group.create_task(reading(hub, member)))
        yield hub, ends
        for reader, end in zip(readers, ends, strict=True):
            reader.cancel()
            await end.link.close()
            await end.member.link.close()


async def reading(hub: Hub, member: Member) -> None:
    while (message := await member.link.receive()) is not None:
        hub.take(member, message)


async def listen(link: wire.Link) -> None:
    """Somebody must read for answers to arrive."""
    while await link.receive() is not None:
        pass


def counted(value: float) -> list[Family]:
    return [Family("trunkline_calls", "Calls.", "counter", [Sample("trunkline_calls_total", {}, value)])]


def value_of(figures: list[Family]) -> float:
    return next(family.samples[0].value for family in figures if family.name == "trunkline_calls")


async def test_a_question_reaches_its_worker_and_the_answer_comes_back() -> None:
    async with hub_of("a", "b") as (_, (a, b)):
        a.link.send(wire.Ask(1, "b", b"how?"))
        asked = await b.next()
        assert isinstance(asked, wire.Ask)
        asked_by_hand = asyncio.create_task(a.link.ask("b", b"and now?", 2))
        listening = asyncio.create_task(listen(a.link))
        again = await b.next()
        assert isinstance(again, wire.Ask)
        b.link.send(wire.Reply(again.id, b"so"))
        reply = await asked_by_hand
        assert reply is not None
        assert (again.body, reply.body) == (b"and now?", b"so")
        listening.cancel()


async def test_of_all_who_are_asked_the_one_that_knows_answers() -> None:
    async with hub_of("a", "b", "c") as (_, (a, b, c)):
        asking = asyncio.create_task(a.link.ask("*", b"who?", 2))
        listening = asyncio.create_task(listen(a.link))
        for end, knows in ((b, False), (c, True)):
            asked = await end.next()
            assert isinstance(asked, wire.Ask)
            end.link.send(wire.Reply(asked.id, b"me" if knows else b"", gone=not knows))
        reply = await asking
        assert reply is not None
        assert (reply.body, reply.gone) == (b"me", False)
        listening.cancel()


async def test_a_question_to_nobody_or_to_one_who_dies_is_answered_at_once() -> None:
    async with hub_of("a", "b") as (hub, (a, b)):
        listening = asyncio.create_task(listen(a.link))
        reply = await a.link.ask("nobody", b"?", 2)
        assert reply is not None
        assert reply.gone
        asking = asyncio.create_task(a.link.ask("b", b"?", 2))
        await b.next()
        hub.leave(b.member)
        reply = await asking
        assert reply is not None
        assert reply.gone
        listening.cancel()


async def test_counters_of_the_dead_stay_and_the_silent_count_as_last_told() -> None:
    async with hub_of("a", "b") as (hub, (a, b)):
        a.member.figures, b.member.figures = counted(3), counted(4)
        hub.leave(b.member)
        assert value_of(await hub.figures(a.member)) == 7
        refreshing = asyncio.create_task(hub.figures())
        asked = await a.next()
        assert isinstance(asked, wire.Ask)
        a.link.send(wire.Reply(asked.id, wire.encode(wire.Figures(counted(5)))))
        assert value_of(await refreshing) == 9
        assert value_of(await hub.figures()) == 9  # a says nothing this time
        assert a.member.silent == 1


async def test_events_go_where_somebody_watches_and_nowhere_else() -> None:
    async with hub_of("a", "b", "c") as (_, (a, b, c)):
        listening = asyncio.create_task(listen(b.link))
        reply = await b.link.ask("", wire.encode(wire.Watch(True)), 2)
        assert reply is not None
        assert msgspec.msgpack.decode(reply.body, type=wire.Yes).done
        listening.cancel()
        await asyncio.wait({listening})
        event = wire.Event("t", "call_1", "note", b"{}")
        a.link.send(event)
        assert await b.next() == event
        c.link.send(event)
        assert await b.next() == event
        a.link.send(wire.Ask(1, "c", b"?"))
        assert isinstance(await c.next(), wire.Ask)  # and not the event, which came first


async def lined(far: Far, call: str, *, on: bool) -> bool:
    reply = await far.link.ask("", wire.encode(wire.Line("twilio", call, on)), 5)
    assert reply is not None
    return msgspec.msgpack.decode(reply.body, type=wire.Yes).done


async def test_a_call_has_one_live_stream_whichever_workers_are_asked() -> None:
    async with hub_of("a", "b") as (hub, (a, b)), asyncio.TaskGroup() as group:
        readers = [group.create_task(listen(one.link)) for one in (a, b)]
        assert await lined(a, "CA1", on=True)
        assert not await lined(b, "CA1", on=True)
        assert not await lined(a, "CA1", on=True)
        assert not await lined(b, "CA1", on=False)  # not its own
        assert await lined(b, "CA2", on=True)
        assert await lined(a, "CA1", on=False)
        assert await lined(b, "CA1", on=True)
        hub.leave(b.member)  # dead: its lines are free
        assert await lined(a, "CA1", on=True)
        for reader in readers:
            reader.cancel()
