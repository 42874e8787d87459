"""What a worker's handlers may ask of the node's other workers: a protocol, and the answer of one that is alone."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from trunkline.calls.record import CallRecord
from trunkline.errors import TrunklineError
from trunkline.metrics_sum import Family


class UnreachableError(TrunklineError):
    """The worker that carries the call did not answer in time, or is none of this node's."""


class Peers(Protocol):
    """The other workers. Every method is bounded in time; what cannot be had is left out unless it says it raises."""

    def node_ready(self) -> bool | None:
        """Whether any worker of the node takes calls; None: ask yourself."""
        ...

    def node_active(self) -> int | None:
        """Live calls of the node; None: count your own."""
        ...

    async def records(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, CallRecord]:
        """Live calls' records so far: owner → call ids in, call id → record out."""
        ...

    async def find(self, call_id: str) -> CallRecord | None:
        """A live call's record, whoever carries it."""
        ...

    async def hang_up(self, owner: str, call_id: str) -> bool:
        """False: no such live call there. Raises UnreachableError."""
        ...

    async def say(self, owner: str, call_id: str, text: str) -> bool:
        """False: no such live call there, or no voice on it. Raises UnreachableError."""
        ...

    async def transfer(self, owner: str, call_id: str, target: str, brief: str | None = None) -> str | None:
        """Why it cannot be, "" when it is tried, None: no such live call there. Raises UnreachableError."""
        ...

    async def send_digits(self, owner: str, call_id: str, keys: str) -> str | None:
        """As `transfer`: why they cannot be sent, "", or None. Raises UnreachableError."""
        ...

    async def claim(self, carrier: str, call: str) -> bool:
        """Take the only live stream that a carrier's call may have. False: it has one, at whichever worker of whichever
        node. To be released."""
        ...

    async def release(self, carrier: str, call: str) -> None:
        """That stream is over."""
        ...

    async def figures(self, own: list[Family]) -> list[Family]:
        """The node's figures, `own` included."""
        ...

    async def watch(self, on: bool) -> None:
        """Spectators are here (or none any more): returns once the others know."""
        ...

    def relay(self, tenant: str, call_id: str, kind: str, data: bytes) -> None:
        """A call's event, for spectators elsewhere. Returns at once."""
        ...

    @property
    def watched(self) -> bool:
        """Whether there are spectators elsewhere."""
        ...


class Alone:
    """No other workers."""

    watched = False

    def __init__(self, name: str = "") -> None:
        self._name = name
        self._lines: set[tuple[str, str]] = set()

    def node_ready(self) -> None:
        """Ask yourself."""

    def node_active(self) -> None:
        """Count your own."""

    async def records(self, wanted: Mapping[str, Sequence[str]]) -> dict[str, CallRecord]:
        """None."""
        return {}

    async def find(self, call_id: str) -> None:
        """Nobody."""

    async def hang_up(self, owner: str, call_id: str) -> bool:
        """Our own call is over. Raises UnreachableError for any other: no worker of this node carries it."""
        if owner == self._name:
            return False
        raise UnreachableError(f"{owner or 'nobody'} carries the call; it is no worker of this node")

    async def say(self, owner: str, call_id: str, text: str) -> bool:
        """Raises UnreachableError, likewise."""
        return await self.hang_up(owner, call_id)

    async def transfer(self, owner: str, call_id: str, target: str, brief: str | None = None) -> str | None:
        """Raises UnreachableError, likewise."""
        await self.hang_up(owner, call_id)
        return None

    async def send_digits(self, owner: str, call_id: str, keys: str) -> str | None:
        """Raises UnreachableError, likewise."""
        await self.hang_up(owner, call_id)
        return None

    async def claim(self, carrier: str, call: str) -> bool:
        """By our own list."""
        free = (carrier, call) not in self._lines
        self._lines.add((carrier, call))
        return free

    async def release(self, carrier: str, call: str) -> None:
        """From our own list."""
        self._lines.discard((carrier, call))

    async def figures(self, own: list[Family]) -> list[Family]:
        """Ours are all."""
        return own

    async def watch(self, on: bool) -> None:
        """There is nobody to tell."""

    def relay(self, tenant: str, call_id: str, kind: str, data: bytes) -> None:
        """There is nobody to tell."""
