"""`GET /events`: what happens in calls, live, for spectators, who may lose events but never slow a call."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import msgspec

from trunkline.calls.events import CallEnded, CallEvent, CallStarted
from trunkline.peers import Alone, Peers

QUEUE = 1000  # events a spectator may be behind
MAX_SPECTATORS = 100
DEFAULT_TENANT = "default"


@dataclass(slots=True, eq=False)
class Spectator:
    """One reader's bounded queue. The oldest event gives way, and the reader is told how many did."""

    tenant: str
    call_id: str = ""  # "" for all calls
    _queue: deque[tuple[str, bytes]] = field(default_factory=deque)
    _lost: int = 0
    _some: asyncio.Event = field(default_factory=asyncio.Event)
    _closed: bool = False

    def offer(self, kind: str, data: bytes) -> int:
        """Put one event in; returns how many had to go for it (0 or 1)."""
        gone = 0
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            self._lost += 1
            gone = 1
        self._queue.append((kind, data))
        self._some.set()
        return gone

    def close(self) -> None:
        """No more events: the reader ends after what is queued."""
        self._closed = True
        self._some.set()

    @property
    def closed(self) -> bool:
        """True once nothing more will come."""
        return self._closed and not self._queue

    async def take(self, wait_s: float) -> list[tuple[str, bytes]]:
        """What is there, oldest first, after waiting for the first at most `wait_s`; a notice of loss leads."""
        try:
            async with asyncio.timeout(wait_s):
                await self._some.wait()
        except TimeoutError:
            return []
        if not self._closed:
            self._some.clear()
        taken, lost = list(self._queue), self._lost
        self._queue.clear()
        self._lost = 0
        if lost:
            taken.insert(0, ("lost", msgspec.json.encode({"event": "lost", "lost": lost})))
        return taken


class Hub:
    """Hands each call's events to the spectators who may see it. An `Observer`."""

    def __init__(
        self, tenant_of: Callable[[str], str | None], on_lost: Callable[[int], None], peers: Peers | None = None
    ) -> None:
        self._peers: Peers = peers or Alone()
        self._tenant_of = tenant_of
        self._on_lost = on_lost
        self._spectators: set[Spectator] = set()
        self._tenants: dict[str, str] = {}  # of live calls

    @property
    def spectators(self) -> int:
        """How many watch."""
        return len(self._spectators)

    async def tell_peers(self) -> None:
        """After a spectator came or went: returns once the other workers know whether to send us their events."""
        await self._peers.watch(bool(self._spectators))

    @contextmanager
    def watch(self, tenant: str, call_id: str = "") -> Iterator[Spectator]:
        """A spectator for as long as the block lasts. Raises OverflowError when there are too many."""
        if len(self._spectators) >= MAX_SPECTATORS:
            raise OverflowError(f"{MAX_SPECTATORS} event streams are open")
        spectator = Spectator(tenant, call_id)
        self._spectators.add(spectator)
        try:
            yield spectator
        finally:
            self._spectators.discard(spectator)

    def close(self) -> None:
        """End all streams."""
        for spectator in self._spectators:
            spectator.close()

    def notify(self, call_id: str, event: CallEvent) -> None:
        """Queue the event for everybody who may see it. Returns at once, never raises."""
        if isinstance(event, CallStarted):
            self._tenants[call_id] = self._tenant_of(call_id) or DEFAULT_TENANT
        tenant = self._tenants.get(call_id, DEFAULT_TENANT)
        if isinstance(event, CallEnded):
            self._tenants.pop(call_id, None)
        if self._spectators or self._peers.watched:
            self._spread(tenant, call_id, event)

    def _spread(self, tenant: str, call_id: str, event: CallEvent) -> None:
        data = msgspec.json.encode({"call_id": call_id, **msgspec.to_builtins(event)})
        kind = str(type(event).__struct_config__.tag)
        if self._peers.watched:
            self._peers.relay(tenant, call_id, kind, data)
        self.deliver(tenant, call_id, kind, data)

    def deliver(self, tenant: str, call_id: str, kind: str, data: bytes) -> None:
        """Queue an event, ours or another worker's, for our own spectators."""
        for spectator in self._spectators:
            if spectator.tenant == tenant and spectator.call_id in ("", call_id):
                self._on_lost(spectator.offer(kind, data))
