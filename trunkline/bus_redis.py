"""The bus between nodes: questions, events and signs of life over Redis. Held by the supervisor.

Only what may be lost travels: a question has a second, an event is for spectators. Calls and facts are in the store. So
an outage of Redis costs the reach to other nodes' calls, is counted, and ends by itself.
"""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import Any

import structlog

from trunkline import bus_far as far
from trunkline.bus_wire import Event, Reply
from trunkline.errors import ConfigError, ProtocolError
from trunkline.metrics_sum import Family, counter, gauge

BEAT_S = 3.0
ALIVE_S = 10.0  # a node whose sign is older is gone for whoever asks
DEAD_S = 60.0  # and its calls are closed: a node that is merely cut off has the last word on them when it is back
LINE_S = 30.0  # a line of a node that is gone is free again
ANSWER_S = 0.8  # for another node's answer: less than a worker waits for ours
REPLY_S = 2.0  # for Redis itself
MOST_ASKED = 1000  # questions without an answer, each way
MOST_EVENTS = 5000  # that wait for Redis; more are dropped and counted
FIRST_S, MOST_S = 0.1, 5.0  # between tries to connect
_CLAIM = """local held = redis.call('get', KEYS[1])
if held and held ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1"""
_RELEASE = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
log = structlog.get_logger("trunkline.bus")


def connect(url: str) -> Any:
    """A client, not connected yet. Raises ConfigError for a URL that is none, or without the package."""
    try:
        from redis.asyncio import BlockingConnectionPool, Redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff
    except ImportError as wrong:
        raise ConfigError("redis_url is set: install the package for it: pip install 'trunkline[redis]'") from wrong
    options = {"socket_timeout": REPLY_S, "socket_connect_timeout": REPLY_S, "retry": Retry(NoBackoff(), 0)}
    try:
        pool = BlockingConnectionPool.from_url(url, max_connections=16, timeout=REPLY_S, **options)
    except ValueError as wrong:
        raise ConfigError(
            "redis_url (REDIS_URL) is no address of a Redis: redis://HOST:6379/0, rediss:// with TLS, unix:///PATH"
        ) from wrong
    return Redis(connection_pool=pool)


def _faults() -> tuple[type[BaseException], ...]:
    from redis.exceptions import RedisError

    return (RedisError, OSError, TimeoutError)


class RedisBus:
    """One node's end. `await check()`, then `run` as a task for as long as the node lives, then `close`."""

    def __init__(self, url: str, node: str) -> None:
        self.node = node
        self.up = False
        self._redis = connect(url)
        self._faults = _faults()
        base = f"trunkline:{self._redis.connection_pool.connection_kwargs.get('db') or 0}"  # channels know no numbers
        self._nodes, self._all = f"{base}:nodes", f"{base}:all"
        self._base = base
        self._asked: dict[int, asyncio.Future[Reply]] = {}
        self._last = 0
        self._events: asyncio.Queue[bytes] = asyncio.Queue(MOST_EVENTS)
        self._answering: set[asyncio.Task[None]] = set()
        self._alive: dict[str, bool] = {}  # other nodes → whether somebody watches there
        self._missed: dict[str, float] = {}  # nodes without a sign of life → since when
        self._crew_told: frozenset[str] = frozenset()
        self._since = 0.0  # when Redis was lost
        self._counts: Counter[str] = Counter()
        self._results: Counter[str] = Counter()
        self._running: asyncio.Task[Any] | None = None
        self._closed = False

    async def check(self) -> None:
        """Raises ConfigError when no Redis answers."""
        try:
            async with asyncio.timeout(2 * REPLY_S):
                await self._redis.ping()
        except self._faults as wrong:
            await self._redis.aclose()
            raise ConfigError(
                f"redis_url (REDIS_URL): no Redis answers there ({wrong or type(wrong).__name__}). Start it, or leave "
                "the setting away: one node needs none."
            ) from wrong

    # ── life ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def run(self, home: far.Home) -> None:
        """Be part of the bus until `close`, through outages."""
        self._running, delay = asyncio.current_task(), FIRST_S
        while True:
            try:
                await self._session(home)
            except* self._faults as wrong:
                delay = self._lost(str(wrong.exceptions[0]), delay)
            except* Exception as bug:
                log.error("bus.redis_failed", exc_info=bug)
                delay = self._lost("see the line before", delay)
            self._down(home)
            _obey()
            await asyncio.sleep(delay)

    def _lost(self, why: str, delay_s: float) -> float:
        """Seconds to wait before the next try."""
        if not self.up:
            return min(2 * delay_s, MOST_S)
        self._since = time.monotonic()
        self._counts["lost"] += 1
        log.error("bus.redis_lost", error=why, hint="calls of other nodes are out of reach until it is back")
        return FIRST_S

    def _down(self, home: far.Home) -> None:
        self.up = False
        self._alive.clear()
        self._missed.clear()
        home.far_watching(False)
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_result(Reply(0, gone=True, why=_DOWN))

    async def _session(self, home: far.Home) -> None:
        async with self._redis.pubsub() as channels, asyncio.TaskGroup() as group:
            await channels.subscribe(self._channel(self.node), self._all)
            await self._beat(home)
            self.up = True
            down_s = round(time.monotonic() - self._since, 1) if self._since else 0.0
            log.info("bus.redis_up", node=self.node, others=sorted(self._alive), down_s=down_s)
            group.create_task(self._listen(channels, home), name="bus.listen")
            group.create_task(self._publish(), name="bus.publish")
            while True:
                await asyncio.sleep(BEAT_S)
                await self._beat(home)
                _obey()

    async def close(self) -> None:
        """Say goodbye; our sign of life is taken away. Idempotent."""
        if self._closed:
            return
        self._closed = True
        tasks = {*self._answering, *filter(None, [self._running])}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        with suppress(*self._faults):
            async with asyncio.timeout(REPLY_S):
                await self._goodbye()
        await self._redis.aclose()

    async def _goodbye(self) -> None:
        async with self._redis.pipeline(transaction=False) as talk:
            talk.srem(self._nodes, self.node)
            talk.delete(self._sign(self.node), self._crew(self.node))
            await talk.execute()

    def _channel(self, node: str) -> str:
        return f"{self._base}:to:{node}"

    def _sign(self, node: str) -> str:
        return f"{self._base}:node:{node}"

    def _crew(self, node: str) -> str:
        return f"{self._base}:crew:{node}"

    def _line(self, carrier: str, call: str) -> str:
        return f"{self._base}:line:{carrier}:{call}"

    # ── signs of life ───────────────────────────────────────────────────────────────────────────────────────────

    async def _beat(self, home: far.Home) -> None:
        """Ours is renewed, the others' are read, lines are kept, the dead are buried."""
        async with self._redis.pipeline(transaction=False) as talk:
            talk.sadd(self._nodes, self.node)
            talk.set(self._sign(self.node), int(home.watched), px=round(1000 * ALIVE_S))
            if home.crew:
                talk.sadd(self._crew(self.node), *home.crew)
            if left := self._crew_told - home.crew:
                talk.srem(self._crew(self.node), *left)
            for line in home.lines:
                talk.eval(_CLAIM, 1, self._line(*line), self.node, round(1000 * LINE_S))
            talk.smembers(self._nodes)
            crew, found = home.crew, (await talk.execute())[-1]
        self._crew_told = crew
        await self._look(home, [name.decode() for name in found])

    async def _look(self, home: far.Home, nodes: list[str]) -> None:
        signs = await self._redis.mget([self._sign(name) for name in nodes])
        self._alive = {
            name: sign == b"1"
            for name, sign in zip(nodes, signs, strict=True)
            if sign is not None and name != self.node
        }
        home.far_watching(any(self._alive.values()))
        now = time.monotonic()
        self._missed = {
            name: self._missed.get(name, now)
            for name, sign in zip(nodes, signs, strict=True)
            if sign is None and name != self.node
        }
        for name in [name for name, since in self._missed.items() if now - since >= DEAD_S]:
            await self._bury(home, name)

    async def _bury(self, home: far.Home, node: str) -> None:
        """By one node, which takes the name off the list; put back where it could not be done."""
        if not await self._redis.srem(self._nodes, node):
            return
        crew = [name.decode() for name in await self._redis.smembers(self._crew(node))]
        done = [name for name in crew if await home.bury(name)]
        log.warning("node.found_dead", dead=node, workers=len(crew), closed=len(done))
        if done:
            await self._redis.srem(self._crew(node), *done)
        if len(done) < len(crew):
            await self._redis.sadd(self._nodes, node)

    # ── asking ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def ask(self, to: str, body: bytes) -> Reply:
        """A question to another node's worker; `gone` with the reason when there is no answer."""
        node = far.node_of(to)
        reply = await self._ask(node, to, body)
        self._results[_result(reply)] += 1
        return reply

    async def _ask(self, node: str, to: str, body: bytes) -> Reply:
        if not node or node == self.node:
            return Reply(0, gone=True)
        if not self.up or len(self._asked) >= MOST_ASKED:
            return Reply(0, gone=True, why=_BUSY if self.up else _DOWN)
        self._last += 1
        number = self._last
        self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ANSWER_S):
                if not await self._say(node, far.FarAsk(self.node, number, to, body)):
                    return Reply(0, gone=True, why=f"node {node} is gone")
                return await self._asked[number]
        except TimeoutError:
            return Reply(0, gone=True, why=f"node {node} does not answer")
        except self._faults:
            return Reply(0, gone=True, why=_DOWN)
        finally:
            del self._asked[number]

    async def _say(self, node: str, message: far.FarMessage) -> int:
        """How many heard it: 0 where nobody of that name listens."""
        return int(await self._redis.publish(self._channel(node), far.encode(message)))

    # ── answering ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _listen(self, channels: Any, home: far.Home) -> None:
        while True:
            message = await channels.get_message(ignore_subscribe_messages=True, timeout=None)
            _obey()
            if message is not None and message["type"] == "message":
                try:
                    self._take(far.decode(message["data"]), home)
                except ProtocolError:
                    self._counts["nonsense"] += 1

    def _take(self, message: far.FarMessage, home: far.Home) -> None:
        match message:
            case far.FarAsk():
                self._begin(message, home)
            case far.FarReply(id=number, body=body, gone=gone):
                if (waiting := self._asked.get(number)) is not None and not waiting.done():
                    waiting.set_result(Reply(0, body, gone))
            case far.FarEvent(node=node, event=event):
                if node != self.node:
                    home.told(event)
            case far.FarWatch(node=node, on=on):
                if node != self.node:
                    self._alive[node] = on
                    home.far_watching(any(self._alive.values()))

    def _begin(self, ask: far.FarAsk, home: far.Home) -> None:
        if len(self._answering) >= MOST_ASKED:
            self._counts["unanswered"] += 1
            return
        task = asyncio.get_running_loop().create_task(self._answer(ask, home), name="bus.answer")
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, ask: far.FarAsk, home: far.Home) -> None:
        reply = await home.asked(ask.to, ask.body)
        try:
            await self._say(ask.node, far.FarReply(ask.id, reply.body, reply.gone))
        except self._faults:
            self._counts["unanswered"] += 1

    # ── spectators ──────────────────────────────────────────────────────────────────────────────────────────────

    async def watch(self, on: bool) -> None:
        """Tell the other nodes that somebody watches here; those that miss it read it from our sign of life, which says
        the same from now on: an older one would take it back."""
        if self.up:
            with suppress(*self._faults):
                await self._redis.set(self._sign(self.node), int(on), px=round(1000 * ALIVE_S))
                await self._redis.publish(self._all, far.encode(far.FarWatch(self.node, on)))

    def offer(self, event: Event) -> None:
        """For spectators at other nodes; dropped and counted when Redis is away or too slow."""
        try:
            if not self.up:
                raise asyncio.QueueFull
            self._events.put_nowait(far.encode(far.FarEvent(self.node, event)))
        except asyncio.QueueFull:
            self._counts["events"] += 1

    async def _publish(self) -> None:
        while True:
            waiting = [await self._events.get()]
            while len(waiting) < 100 and not self._events.empty():
                waiting.append(self._events.get_nowait())
            async with self._redis.pipeline(transaction=False) as talk:
                for one in waiting:
                    talk.publish(self._all, one)
                await talk.execute()
            _obey()

    # ── lines ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def claim(self, carrier: str, call: str) -> bool:
        """Whether this node may hold the only live stream of a carrier's call. True, counted, while Redis is away."""
        if self.up:
            with suppress(*self._faults):
                name, most = self._line(carrier, call), round(1000 * LINE_S)
                return bool(await self._redis.eval(_CLAIM, 1, name, self.node, most))
        self._counts["unclaimed"] += 1
        return True

    async def release(self, carrier: str, call: str) -> None:
        """It is over."""
        with suppress(*self._faults):
            await self._redis.eval(_RELEASE, 1, self._line(carrier, call), self.node)

    # ── figures ─────────────────────────────────────────────────────────────────────────────────────────────────

    def figures(self) -> list[Family]:
        """For the node's scrape."""
        told, asked = self._counts, (({"result": name}, n) for name, n in sorted(self._results.items()))
        return [
            gauge("bus_redis_up", "Whether the bus between nodes works.", [({}, int(self.up))]),
            gauge("bus_nodes", "Nodes that show signs of life, this one included.", [({}, len(self._alive) + 1)]),
            counter("bus_redis_lost", "Times that Redis was lost.", [({}, told["lost"])]),
            counter("bus_far_asked", "Questions to other nodes' workers.", asked),
            counter("bus_far_unanswered", "Questions of other nodes left without answer.", [({}, told["unanswered"])]),
            counter("bus_far_events_lost", "Events that other nodes' spectators did not get.", [({}, told["events"])]),
            counter("bus_far_nonsense", "Messages that were none.", [({}, told["nonsense"])]),
            counter("bus_lines_unclaimed", "Streams not checked against other nodes.", [({}, told["unclaimed"])]),
        ]


_DOWN = "the bus between nodes is down: Redis does not answer"
_BUSY = "too many questions wait for other nodes"


def _obey() -> None:
    """End a task that was told to end: the client swallows a cancellation that meets it amid a pipeline (redis 8.1),
    and a group that fails while it is cancelled tells of the failure alone."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _result(reply: Reply) -> str:
    if not reply.gone:
        return "answered"
    return "nobody" if not reply.why else "failed"
