"""What a session works with: its agenda, what it may do to the socket, the memory that outlives it. Pure."""

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from trunkline_sim.gemini_log import SessionLog
from trunkline_sim.gemini_scenario import Scenario
from trunkline_sim.gemini_setup import Setup
from trunkline_sim.gemini_wire import Refused, write


@dataclass(frozen=True, slots=True)
class Send:
    """One message, in a binary frame as the service does."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """A close frame."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reset:
    """A TCP reset, no close frame."""


@dataclass(frozen=True, slots=True)
class Freeze:
    """Neither read nor write from here on; the connection stays."""


Action: TypeAlias = Send | Close | Reset | Freeze


class Agenda:
    """Things to do at a time, in groups that can be called off together."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, Callable[[float], None]]] = []
        self._count = itertools.count()

    def put(self, at: float, group: str, act: Callable[[float], None]) -> None:
        """`act(at)` is called by `run` once its time has come."""
        heapq.heappush(self._heap, (at, next(self._count), group, act))

    def cancel(self, group: str) -> None:
        """Forget a group."""
        self._heap = [item for item in self._heap if item[2] != group]
        heapq.heapify(self._heap)

    def clear(self) -> None:
        """Forget everything."""
        self._heap.clear()

    def has(self, group: str) -> bool:
        """True when something of the group is still to come."""
        return any(item[2] == group for item in self._heap)

    def delay(self, seconds: float) -> None:
        """Everything later by so much."""
        self._heap = [(at + seconds, number, group, act) for at, number, group, act in self._heap]

    def next_at(self) -> float | None:
        """When `run` is wanted next."""
        return self._heap[0][0] if self._heap else None

    def run(self, now: float) -> None:
        """Do what is due, each at its own time, in order."""
        while self._heap and self._heap[0][0] <= now:
            at, _, _, act = heapq.heappop(self._heap)
            act(at)


@dataclass(slots=True, eq=False)
class Memory:
    """A session: what a resumed connection restores."""

    turn: int = 0  # replies begun
    history: list[tuple[str, str]] = field(default_factory=list)  # (role, text)
    in_use: bool = True
    poisoned: bool = False
    handles: list[str] = field(default_factory=list)
    left_at: float = 0.0  # when its last connection ended


class Memories:
    """All sessions of a server, found by handle. A session keeps its last handles only."""

    _KEPT = 8
    _MOST = 20_000  # handles of all sessions; the oldest go first

    def __init__(self, seed: int = 0) -> None:
        self._by_handle: dict[str, Memory] = {}
        self._dice = random.Random(seed)

    def new_handle(self, memory: Memory) -> str:
        """Another handle of this session."""
        handle = f"sim-{self._dice.getrandbits(128):032x}"
        memory.handles.append(handle)
        self._by_handle[handle] = memory
        while len(memory.handles) > self._KEPT:
            self._by_handle.pop(memory.handles.pop(0), None)
        while len(self._by_handle) > self._MOST:
            del self._by_handle[next(iter(self._by_handle))]
        return handle

    def resume(self, handle: str, now: float, ttl_s: float, refuse_code: int) -> Memory:
        """The session of a handle, in use from now on. Raises Refused as the service does."""
        memory = self._by_handle.get(handle)
        if memory is not None and memory.in_use:
            raise Refused(1011, "The session is still in use by another connection.")
        if memory is None or now - memory.left_at > ttl_s:
            raise Refused(refuse_code, "Session not found: the resumption handle is invalid or expired.")
        memory.in_use = True
        return memory

    def forget(self, memory: Memory) -> None:
        """Make all handles of a session invalid."""
        for handle in memory.handles:
            self._by_handle.pop(handle, None)
        memory.handles.clear()


@dataclass(slots=True, eq=False)
class Stage:
    """What the parts of one connection share. Messages are queued in `actions` for the shell to carry out."""

    scenario: Scenario
    log: SessionLog
    setup: Setup = field(default_factory=lambda: Setup("", {}))
    memory: Memory = field(default_factory=Memory)
    agenda: Agenda = field(default_factory=Agenda)
    dice: random.Random = field(default_factory=random.Random)
    actions: list[Action] = field(default_factory=list)
    over: bool = False  # nothing more is done
    silent: bool = False  # nothing more is sent but the close
    spoken_s: float = 0.0

    def send(self, now: float, kind: str, /, **body: Any) -> None:
        """One server message; `kind` is its name in the log."""
        self.raw(now, kind, write(**body), body)

    def raw(self, now: float, kind: str, data: bytes, body: Any = None) -> None:
        """Any bytes as a message."""
        if self.over or self.silent:
            return
        self.log.add(now, "out", kind, _without_audio(body))
        self.actions.append(Send(data))

    def end(self, now: float, action: Close | Reset | Freeze) -> None:
        """The last thing done on this connection."""
        if self.over:
            return
        self.over = True
        self.agenda.clear()
        body = {"code": action.code, "reason": action.reason} if isinstance(action, Close) else None
        self.log.add(now, "out", type(action).__name__.lower(), body)
        self.actions.append(action)

    def violation(self, now: float, name: str, body: Any = None) -> None:
        """The client did what the protocol forbids."""
        self.log.violations[name] += 1
        self.log.add(now, "note", "violation", {"name": name, "about": body})


def _without_audio(body: Any) -> Any:
    """A message for the log: audio as its number of base64 characters."""
    if isinstance(body, dict):
        return {key: len(value) if key == "data" else _without_audio(value) for key, value in body.items()}
    return [_without_audio(item) for item in body] if isinstance(body, list) else body
