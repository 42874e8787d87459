"""The bus between nodes on a real Redis: questions, events, lines, the dead, and outages."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import pytest_asyncio

from tests.peers.redis_server import RedisServer, redis_server
from trunkline import bus_redis
from trunkline.bus_far import node_name, worker_name
from trunkline.bus_redis import RedisBus
from trunkline.bus_wire import Event, Reply
from trunkline.errors import ConfigError

pytestmark = pytest.mark.peers
PATIENCE_S = 30


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[RedisServer]:
    async with redis_server(tmp_path, password="hunter2-hunter2") as running:
        yield running


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs of life several times a second."""
    monkeypatch.setattr(bus_redis, "BEAT_S", 0.1)
    monkeypatch.setattr(bus_redis, "ALIVE_S", 1.0)
    monkeypatch.setattr(bus_redis, "DEAD_S", 0.5)
    monkeypatch.setattr(bus_redis, "ANSWER_S", 5.0)


@dataclass(slots=True)
class FakeHome:
    """A node without workers' processes: answers with what it was asked."""

    crew: frozenset[str]
    watched: bool = False
    lines: frozenset[tuple[str, str]] = frozenset()
    events: list[Event] = field(default_factory=list)
    elsewhere: bool = False  # somebody watches at other nodes
    buried: list[str] = field(default_factory=list)
    can_bury: bool = True

    async def asked(self, to: str, body: bytes) -> Reply:
        return Reply(0, b"echo " + body) if to in self.crew else Reply(0, gone=True)

    def told(self, event: Event) -> None:
        self.events.append(event)

    def far_watching(self, on: bool) -> None:
        self.elsewhere = on

    async def bury(self, worker: str) -> bool:
        if self.can_bury:
            self.buried.append(worker)
        return self.can_bury


@dataclass(slots=True)
class Node:
    """One node's end of the bus."""

    bus: RedisBus
    home: FakeHome
    task: "asyncio.Task[None]"

    @property
    def worker(self) -> str:
        return min(self.home.crew)

    def figure(self, name: str) -> float:
        families = {family.name: family for family in self.bus.figures()}
        return sum(sample.value for sample in families[f"trunkline_{name}"].samples)

    async def die(self) -> None:
        """Without a word."""
        self.task.cancel()
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([self.task])


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - another process decides
            await asyncio.sleep(0.02)


@asynccontextmanager
async def nodes(url: str, count: int) -> AsyncIterator[list[Node]]:
    """Nodes that know of each other."""
    made: list[Node] = []
    for _ in range(count):
        bus = RedisBus(url, name := node_name())
        await bus.check()
        home = FakeHome(frozenset({worker_name(name, 1), worker_name(name, 2)}))
        made.append(Node(bus, home, asyncio.create_task(bus.run(home))))
    try:
        await until(lambda: all(one.bus.up and one.figure("bus_nodes") == count for one in made))
        yield made
    finally:
        for one in made:
            await one.bus.close()


async def test_a_question_reaches_the_owner_s_node_and_its_answer_comes_back(server: RedisServer) -> None:
    async with nodes(server.url, 3) as (one, two, three):
        assert await one.bus.ask(two.worker, b"x") == Reply(0, b"echo x")
        answers = await asyncio.gather(*(two.bus.ask(three.worker, b"%d" % n) for n in range(200)))
        assert [reply.body for reply in answers] == [b"echo %d" % n for n in range(200)]
        nobody = await one.bus.ask(worker_name(two.bus.node, 9), b"x")
        assert (nobody.gone, nobody.why) == (True, "")
        assert one.figure("bus_far_asked") == 2


async def test_a_node_that_is_gone_is_said_so_and_its_calls_are_closed_by_one_other(server: RedisServer) -> None:
    async with nodes(server.url, 3) as (one, two, dead):
        await dead.die()
        await until(lambda: len(one.home.buried + two.home.buried) == 2)
        await asyncio.sleep(1.0)
        assert sorted(one.home.buried + two.home.buried) == sorted(dead.home.crew)  # once each
        reply = await one.bus.ask(dead.worker, b"x")
        assert reply.gone
        assert f"node {dead.bus.node} is gone" in reply.why
        await until(lambda: one.figure("bus_nodes") == 2)


async def test_calls_that_could_not_be_closed_are_tried_again(server: RedisServer) -> None:
    async with nodes(server.url, 2) as (one, dead):
        one.home.can_bury = False
        await dead.die()
        await until(lambda: one.figure("bus_nodes") == 1)
        await asyncio.sleep(1.0)
        one.home.can_bury = True
        await until(lambda: sorted(one.home.buried) == sorted(dead.home.crew))


async def test_a_node_that_leaves_politely_is_not_buried(server: RedisServer) -> None:
    async with nodes(server.url, 2) as (one, two):
        await two.bus.close()
        await until(lambda: one.figure("bus_nodes") == 1)
        await asyncio.sleep(1.0)
        assert one.home.buried == []


async def test_events_go_where_somebody_watches(server: RedisServer) -> None:
    async with nodes(server.url, 3) as (one, two, three):
        assert not one.home.elsewhere
        two.home.watched = True
        await two.bus.watch(True)
        await until(lambda: one.home.elsewhere and three.home.elsewhere)
        for number in range(300):
            one.bus.offer(Event("default", f"call_{number}", "note", b"{}"))
        await until(lambda: len(two.home.events) == 300)
        assert [event.call_id for event in two.home.events] == [f"call_{number}" for number in range(300)]
        assert one.home.events == []
        two.home.watched = False
        await two.bus.watch(False)
        await until(lambda: not one.home.elsewhere)


async def test_a_sign_of_life_from_before_takes_no_watcher_back(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with nodes(server.url, 2) as (one, two):
        monkeypatch.setattr(bus_redis, "BEAT_S", 60.0)  # from now on for whoever beats next: the two of us, once more
        await asyncio.sleep(0.3)
        two.home.watched = True
        await two.bus.watch(True)
        await until(lambda: one.home.elsewhere)
        await one.bus._beat(one.home)  # the other looks
        assert one.home.elsewhere


async def test_events_beyond_the_bound_are_dropped_and_counted(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_redis, "MOST_EVENTS", 10)
    async with nodes(server.url, 1) as (one,):
        for _ in range(25):
            one.bus.offer(Event("default", "call_1", "note", b"{}"))
        assert one.figure("bus_far_events_lost") == 15


async def test_one_live_stream_of_a_call_over_all_nodes(server: RedisServer) -> None:
    async with nodes(server.url, 2) as (one, two):
        claims = await asyncio.gather(*(node.bus.claim("twilio", "CA1") for node in (one, two)))
        assert sorted(claims) == [False, True]
        holder, other = (one, two) if claims[0] else (two, one)
        await other.bus.release("twilio", "CA1")  # not its own to give back
        assert not await other.bus.claim("twilio", "CA1")
        assert await other.bus.claim("twilio", "CA2")
        await holder.bus.release("twilio", "CA1")
        assert await other.bus.claim("twilio", "CA1")


async def test_a_live_line_is_kept_and_a_dead_node_s_is_free_again(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_redis, "LINE_S", 1.0)
    async with nodes(server.url, 2) as (one, two):
        assert await one.bus.claim("twilio", "CA1")
        one.home.lines = frozenset({("twilio", "CA1")})
        await asyncio.sleep(1.5)
        assert not await two.bus.claim("twilio", "CA1")
        await one.die()
        async with asyncio.timeout(PATIENCE_S):
            while not await two.bus.claim("twilio", "CA1"):  # noqa: ASYNC110 - another process decides
                await asyncio.sleep(0.1)


async def test_an_outage_is_counted_and_over_when_redis_is_back(server: RedisServer) -> None:
    async with nodes(server.url, 2) as (one, two):
        await server.stop()
        await until(lambda: one.figure("bus_redis_up") == two.figure("bus_redis_up") == 0)
        reply = await one.bus.ask(two.worker, b"x")
        assert (reply.gone, reply.why) == (True, "the bus between nodes is down: Redis does not answer")
        one.bus.offer(Event("default", "call_1", "note", b"{}"))
        assert one.figure("bus_far_events_lost") == 1
        assert await one.bus.claim("twilio", "CA1")  # no call is refused for it
        assert one.figure("bus_lines_unclaimed") == 1
        one.home.lines = frozenset({("twilio", "CA1")})
        await server.start()
        await until(lambda: one.figure("bus_nodes") == two.figure("bus_nodes") == 2)
        assert await one.bus.ask(two.worker, b"x") == Reply(0, b"echo x")
        assert not await two.bus.claim("twilio", "CA1")  # told again
        assert one.figure("bus_redis_lost") == 1


async def test_nonsense_on_a_channel_is_counted_and_harms_nobody(server: RedisServer) -> None:
    async with nodes(server.url, 2) as (one, two):
        for junk in (b"", b"\xff" * 10, b"\x81\xa4type\xa7Unknown"):
            await one.bus._redis.publish(one.bus._channel(two.bus.node), junk)
        await until(lambda: two.figure("bus_far_nonsense") == 3)
        assert (await one.bus.ask(two.worker, b"x")).body == b"echo x"


async def test_without_redis_the_start_fails_and_says_what_to_do(server: RedisServer) -> None:
    wrong = RedisBus(server.url.replace("hunter2-hunter2", "another-one"), "node")
    with pytest.raises(ConfigError, match="no Redis answers there") as told:
        await wrong.check()
    assert "another-one" not in str(told.value)
    await server.stop()
    away = RedisBus(server.url, "node")
    with pytest.raises(ConfigError, match=r"no Redis answers there.*Start it, or leave the setting away") as told:
        await away.check()
    assert "hunter2" not in str(told.value)
