"""One worker process, from its start to its end, as the supervisor holds it."""

import asyncio
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from trunkline import bus_wire as wire
from trunkline.bus_far import node_name, worker_name
from trunkline.config import Settings
from trunkline.node_board import NodeBoard
from trunkline.supervisor_hub import Member

EXIT_S = 10.0  # between the end of a worker's link and the end of its process


@dataclass(slots=True, eq=False)
class Child:
    """A worker."""

    name: str
    row: int
    process: Process
    member: Member
    began: float = field(default_factory=time.monotonic)
    up: asyncio.Event = field(default_factory=asyncio.Event)  # ready, or failed, or gone
    ready: wire.Ready | None = None
    failed: wire.Failed | None = None
    dismissed: bool = False  # it was told to go

    @property
    def lived_s(self) -> float:
        """How long it lives already."""
        return time.monotonic() - self.began

    def dismiss(self, limit_s: float, *, aside: bool = False) -> None:
        """Tell it to go, its calls within `limit_s`; `aside`: others take the connections."""
        self.dismissed = True
        self.member.link.send(wire.Drain(limit_s, aside))

    def kill(self) -> None:
        """At once, without a word."""
        with suppress(ProcessLookupError):
            self.process.kill()

    async def gone(self, within_s: float = EXIT_S) -> str:
        """How it ended: "0", an exit code, or the name of a signal. One that does not end by itself is killed."""
        try:
            async with asyncio.timeout(within_s):
                code = await self.process.wait()
        except TimeoutError:
            self.kill()
            code = await self.process.wait()
        return str(code) if code >= 0 else signal.Signals(-code).name


@dataclass(frozen=True, slots=True)
class Heritage:
    """What every worker inherits."""

    listeners: Sequence[socket.socket]
    metrics_listeners: Sequence[socket.socket]
    board: NodeBoard
    node: str = field(default_factory=node_name)  # part of every worker's name
    audiosocket_listeners: Sequence[socket.socket] = ()
    sip_socket: str = ""  # path of the SIP gateway's; "": there is none

    def numbers(self) -> tuple[int, ...]:
        """The descriptors."""
        sockets = (*self.listeners, *self.metrics_listeners, *self.audiosocket_listeners)
        return (*(one.fileno() for one in sockets), self.board.fd)


async def start_worker(
    post: int, settings: Settings, heritage: Heritage, environment: Mapping[str, str] | None = None
) -> Child:
    """A new process, already told who it is. Raises OSError, OverflowError."""
    name, row = worker_name(heritage.node, post), heritage.board.hire()
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "trunkline", "worker", "--link", str(theirs.fileno()),
                pass_fds=(*heritage.numbers(), theirs.fileno()), stdin=asyncio.subprocess.DEVNULL, env=environment,
            )  # fmt: skip
        link = await wire.Link.over(ours)
    except BaseException:
        heritage.board.clear(row)
        ours.close()
        raise
    groups = (heritage.listeners, heritage.metrics_listeners, heritage.audiosocket_listeners)
    fds = [tuple(one.fileno() for one in some) for some in groups]
    workers = settings.server.workers
    link.send(
        wire.Setup(name, settings, fds[0], fds[1], heritage.board.fd, row, post, workers, fds[2], heritage.sip_socket)
    )
    return Child(name, row, process, Member(name, link))
