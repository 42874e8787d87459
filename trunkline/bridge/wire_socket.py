"""What a media leg needs of a websocket, and what the websocket tells it. No tasks and no futures per message."""

from typing import Protocol

from trunkline.bridge.dialect import Message
from trunkline.bridge.leg import Oddity

POLITE = frozenset({1000, 1001, 1005})  # close codes (RFC 6455, 7.4) of a far end that said goodbye


class Listener(Protocol):
    """Whom a socket tells, from the loop's callbacks: nothing here waits, nothing raises."""

    def heard(self, message: Message) -> bool:
        """A whole message. True: enough for now, let others have their turn before the next one."""
        ...

    def odd(self, oddity: Oddity) -> None:
        """The far end broke the framing, or something had to be dropped."""
        ...

    def gone(self) -> None:
        """The socket is closed, `close_code` says how; the last that is told."""
        ...


class Socket(Protocol):
    """A websocket after its handshake: whole messages, no fragments, pings answered by itself."""

    def listen(self, listener: Listener | None) -> None:
        """Tell this one from now on, what was held first. None: hold what comes, and read no more. None at first."""
        ...

    @property
    def full(self) -> bool:
        """The far end reads too slowly: what is sent now would wait where nobody can call it back."""
        ...

    def send(self, message: Message) -> None:
        """Hand a message to the transport, in order, at once. OSError when closed."""
        ...

    async def drained(self) -> None:
        """Wait until `full` is no longer so. OSError when the connection broke."""
        ...

    async def close(self, code: int, reason: str) -> None:
        """Closing handshake, bounded by the caller; harmless when closed already. Nothing is told any more."""
        ...

    @property
    def close_code(self) -> int | None:
        """None while open; the far end's close code, or 1006 when it vanished without one (RFC 6455, 7.1.5)."""
        ...


class _Nobody:
    """Listens to a socket that we are closing: what still comes is for nobody."""

    def heard(self, message: Message) -> bool:
        """Nothing."""
        return False

    def odd(self, oddity: Oddity) -> None:
        """Nothing."""

    def gone(self) -> None:
        """Nothing."""


NOBODY: Listener = _Nobody()
