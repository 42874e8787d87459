"""Accepting connections from listeners that several workers share: one at a time, the least busy worker first.

An event loop's own server takes all that waits in the queue, so that a burst lands on one worker. Here a worker that
carries more calls than another steps back for a moment; if nobody took the connection by then, it does.
"""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

import structlog

STEP_S = 0.01
PATIENCE = 10  # steps that a less busy worker has to take a connection
FRESH_S = 0.5  # until a connection has become a call, or is none
TIRED_S = 0.5  # after the system refused a descriptor
_TIRED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
TLS_S = 10.0
log = structlog.get_logger("trunkline.service")


class Door:
    """`async with Door(…)`: connections are taken until `shut`; what it took goes on. Owns its tasks."""

    def __init__(
        self,
        protocol: Callable[[], asyncio.BaseProtocol],
        sockets: Sequence[socket.socket],
        *,
        step_back: Callable[[], bool] = lambda: False,
        arrived: Callable[[int], None] = lambda _: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """protocol: makes one per connection. step_back: asked before each. arrived: told 1 for each and, a little
        later, -1.

        The sockets are the giver's until entered, then ours to close.
        """
        self._protocol = protocol
        self._sockets = list(sockets)
        self._step_back = step_back
        self._arrived = arrived
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self._later: dict[socket.socket, asyncio.TimerHandle] = {}
        self._open = False
        self._waited = 0

    async def __aenter__(self) -> Self:
        self._open = True
        for listener in self._sockets:
            listener.setblocking(False)
            self._watch(listener)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shut()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    def shut(self) -> None:
        """Take no more. The listeners are closed here and stay open wherever else they are. Idempotent."""
        if not self._open:
            return
        self._open = False
        loop = asyncio.get_running_loop()
        for timer in self._later.values():
            timer.cancel()
        for listener in self._sockets:
            loop.remove_reader(listener)
            listener.close()

    def _watch(self, listener: socket.socket) -> None:
        self._later.pop(listener, None)
        asyncio.get_running_loop().add_reader(listener, self._knock, listener)

    def _knock(self, listener: socket.socket) -> None:
        if self._step_back() and self._waited < PATIENCE:
            self._waited += 1
            self._rest(listener, STEP_S, self._watch)
        else:
            self._waited = 0
            self._accept(listener)

    def _rest(self, listener: socket.socket, seconds: float, then: Callable[[socket.socket], None]) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        self._later[listener] = loop.call_later(seconds, then, listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            accepted, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was faster, or the client left
        except OSError as wrong:
            if wrong.errno not in _TIRED:
                raise
            log.error("door.tired", error=wrong.strerror, hint="too many open files? raise the limit (ulimit -n)")
            self._rest(listener, TIRED_S, self._watch)
            return
        accepted.setblocking(False)
        self._arrived(1)
        asyncio.get_running_loop().call_later(FRESH_S, self._arrived, -1)
        task = asyncio.get_running_loop().create_task(self._welcome(accepted), name="door.welcome")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _welcome(self, accepted: socket.socket) -> None:
        context = self._tls
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, accepted, ssl=context, ssl_handshake_timeout=TLS_S if context else None
            )
        except (OSError, TimeoutError) as gone:  # ssl.SSLError is an OSError: strangers, scanners, plain HTTP
            log.debug("door.not_welcome", error=str(gone))
            accepted.close()
