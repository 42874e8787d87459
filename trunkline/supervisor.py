"""`trunkline serve`: opens the listeners once, starts, watches, restarts and drains the workers; carries no call.

The listeners stay open here as long as the service lives, so that a worker that comes or goes refuses nobody: who
connects meanwhile waits in the one accept queue. It imports little, so that it starts and stays small.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import structlog

from trunkline import bus_wire as wire
from trunkline.bus_redis import RedisBus
from trunkline.config import Settings
from trunkline.errors import ConfigError, TrunklineError
from trunkline.node_board import Phase
from trunkline.supervisor_child import Child, Heritage, start_worker
from trunkline.supervisor_gateway import GatewayKeeper, RunFolder
from trunkline.supervisor_hub import Hub
from trunkline.supervisor_policy import Restarts

POLL_S = 5.0  # figures are asked for so often: those of a worker that dies are at most so old
HUNG = 6  # times in a row that it did not answer: it is killed
UP_S = 300.0  # a worker that is not ready by then is killed (the first start builds the recogniser's language)
AFTER_S = 20.0  # beyond a drain's limit, before a worker is killed
log = structlog.get_logger("trunkline.supervisor")


@dataclass(slots=True)
class Post:
    """A place that is to be held by one worker at any time."""

    number: int  # from 1
    holder: Child | None = None
    restarts: Restarts = field(default_factory=Restarts)
    closed: bool = False  # to be held no more: there are fewer workers now


class Supervisor:
    """`async with asyncio.TaskGroup() as group: Supervisor(…, group)`; start, then roll, then stop."""

    def __init__(
        self,
        settings: Settings,
        heritage: Heritage,
        group: asyncio.TaskGroup,
        far: RedisBus | None = None,
        folder: RunFolder | None = None,
    ) -> None:
        """far: the bus to other nodes; ours to run and to close. folder: the SIP gateway's; None: there is none."""
        self._settings = settings
        self._heritage = heritage
        self._group = group
        self._far = far
        self._hub = Hub(self._own, self._phases, far)
        self.sip = GatewayKeeper(settings, folder, self._own) if folder is not None else None
        if self.sip is not None:
            self._hub.beside = self.sip.figures
        self._posts: list[Post] = []
        self._children: set[Child] = set()
        self._stopping = asyncio.Event()
        self._empty = asyncio.Event()
        self._rolling = asyncio.Lock()
        self._started = False

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        self._group.create_task(self._guarded(work))

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """A worker of another release may say what we do not understand: that is no reason to end all calls."""
        try:
            await work
        except Exception:
            log.exception("supervisor.failed")

    # ── start ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def start(self, workers: int) -> wire.Ready:
        """All posts held; the first worker's word when it is ready (it migrates the store and makes the secrets, so
        it is alone in that). Raises ConfigError or TrunklineError when that one cannot start."""
        self._posts = [Post(number) for number in range(1, workers + 1)]
        first = await self._hire(self._posts[0])
        if self.sip is not None:
            await self.sip.start()
        await first.up.wait()
        if first.ready is None:
            self._stopping.set()
            if self.sip is not None:
                await self.sip.stop(0)
            raise _cannot_start(first)
        self._started = True
        if self._far is not None:
            self._own(self._far.run(self._hub))
        await asyncio.gather(*(self._hold(post) for post in self._posts[1:]))
        self._own(self._poll())
        return first.ready

    async def _hold(self, post: Post) -> None:
        child = await self._hire(post)
        await child.up.wait()

    async def _hire(self, post: Post) -> Child:
        """A worker for a post that nobody holds."""
        child = await self._new(post)
        post.holder = child
        return child

    async def _new(self, post: Post) -> Child:
        child = await start_worker(post.number, self._settings, self._heritage)
        self._children.add(child)
        self._empty.clear()
        log.info("worker.started", worker=child.name, pid=child.process.pid)
        self._own(self._live(post, child))
        self._own(self._in_time(child))
        return child

    async def _in_time(self, child: Child) -> None:
        try:
            async with asyncio.timeout(UP_S):
                await child.up.wait()
        except TimeoutError:
            log.error("worker.not_ready", worker=child.name, after_s=UP_S)
            child.kill()

    # ── a worker's life ─────────────────────────────────────────────────────────────────────────────────────────

    async def _live(self, post: Post, child: Child) -> None:
        """From its first word to its end, and what follows from that."""
        await self._listen(child)
        how = await child.gone()
        self._hub.leave(child.member)
        self._heritage.board.clear(child.row)
        self._children.discard(child)
        child.up.set()
        await child.member.link.close()
        if not self._children:
            self._empty.set()
        expected = child.dismissed and how == "0"
        self._hub.exits["asked" if expected else how] += 1
        (log.info if expected else log.error)("worker.ended", worker=child.name, how=how, lived_s=round(child.lived_s))
        if not expected:
            await self._died(post, child)

    async def _listen(self, child: Child) -> None:
        try:
            while (message := await child.member.link.receive()) is not None:
                self._heard(child, message)
        except (TrunklineError, msgspec.MsgspecError) as wrong:
            log.error("bus.broken", worker=child.name, error=str(wrong))
            child.kill()

    def _heard(self, child: Child, message: wire.Message) -> None:
        match message:
            case wire.Ready():
                child.ready = message
                self._hub.join(child.member)
                child.up.set()
                log.info("worker.ready", worker=child.name, after_s=round(child.lived_s, 1))
            case wire.Failed():
                child.failed = message
            case _:
                self._hub.take(child.member, message)

    async def _died(self, post: Post, child: Child) -> None:
        """Close its calls, by any worker that lives (where there is none, the next one does it when it starts), and
        fill its post."""
        self._own(self._buried(child.name))
        if not self._started or self._stopping.is_set() or post.holder is not child:
            return
        post.holder = None
        now = time.monotonic()
        delay = post.restarts.died(now, child.lived_s)
        if post.restarts.looping(now):
            why = child.failed.why if child.failed else "see its lines above"
            log.error("supervisor.crash_loop", post=post.number, why=why, next_try_in_s=delay)
        await self._refill(post, delay)

    async def _refill(self, post: Post, delay_s: float) -> None:
        while not await self._stopped_within(delay_s) and post.holder is None and not post.closed:
            try:
                await self._hire(post)
            except (OSError, OverflowError) as wrong:  # no process to be had just now
                log.error("worker.not_started", post=post.number, error=str(wrong))
                delay_s = post.restarts.died(time.monotonic(), 0.0)

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _buried(self, name: str) -> None:
        await self._hub.bury(name)

    async def _poll(self) -> None:
        """Keep figures fresh, and notice who hangs."""
        while not await self._stopped_within(POLL_S):
            await self._hub.refresh()
            for child in self._children:
                if child.member.silent >= HUNG:
                    log.error("worker.hangs", worker=child.name, for_s=HUNG * POLL_S)
                    child.kill()

    def _phases(self) -> Mapping[str, int]:
        """The workers by phase, for the figures."""
        phases = (self._heritage.board.phase(child.row) for child in self._children)
        counted = Counter(phase.name.lower() for phase in phases)
        names = (phase.name.lower() for phase in Phase if phase is not Phase.FREE)
        return {name: counted.get(name, 0) for name in names}

    # ── change ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def roll(self, settings: Settings, workers: int) -> None:
        """Every worker replaced by one with these settings: first the new one is ready, then the old one steps aside
        and has as long as a call may last. One that does not come up changes nothing: the old one stays."""
        async with self._rolling:
            if self.sip is not None and settings.sip != self._settings.sip:
                log.warning("supervisor.sip_unchanged", hint="[sip] is in force after a restart of the service")
            self._settings = settings
            have = len(self._posts)
            for number in range(have + 1, workers + 1):
                self._posts.append(Post(number))
            for post in self._posts[:workers]:
                if self._stopping.is_set() or not await self._replace(post):
                    return
            for post in self._posts[workers:]:
                post.closed = True
                self._dismiss_aside(post.holder)
            del self._posts[workers:]
            log.info("supervisor.rolled", workers=workers)

    async def _replace(self, post: Post) -> bool:
        new = await self._new(post)
        await new.up.wait()
        if new.ready is None:
            why = new.failed.why if new.failed else "it ended before it was ready"
            log.error("supervisor.not_rolled", post=post.number, why=why, hint="the workers from before go on")
            return False
        old, post.holder = post.holder, new
        self._dismiss_aside(old)
        return True

    def _dismiss_aside(self, child: Child | None) -> None:
        if child is not None:
            child.dismiss(self._settings.limits.longest_call_s, aside=True)

    async def stop(self, limit_s: float) -> None:
        """Drain all; returns when every worker is gone. Called again with a shorter limit, that one counts."""
        self._stopping.set()
        for child in self._children:
            child.dismiss(limit_s)
        if self._children:
            try:
                async with asyncio.timeout(limit_s + AFTER_S):
                    await self._empty.wait()
            except TimeoutError:
                log.error("supervisor.killing", workers=[child.name for child in self._children])
                for child in self._children:
                    child.kill()
                await self._empty.wait()
        if self.sip is not None:
            await self.sip.stop(0)
        if self._far is not None:
            await self._far.close()

    @property
    def active(self) -> int:
        """Live calls of all workers."""
        return self._heritage.board.total(2)


def _cannot_start(child: Child) -> Exception:
    if child.failed is None:
        return TrunklineError(f"the first worker ({child.name}) ended before it was ready: see its lines above")
    return (ConfigError if child.failed.code == 2 else TrunklineError)(child.failed.why)
