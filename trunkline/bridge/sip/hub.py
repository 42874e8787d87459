"""The gateway's unix socket: one connection per worker, messages both ways, the worker's ring memory with its first.

Plain sockets with the loop's readiness callbacks, since a descriptor comes along (SCM_RIGHTS), which streams cannot
take. A worker that does not read loses its connection when `MOST_BACKLOG` bytes wait for it.
"""

import asyncio
import os
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import structlog

from trunkline.bridge.sip import messages as wire
from trunkline.bridge.sip.ring import RingMemory
from trunkline.errors import ProtocolError

MOST_BACKLOG: Final = 4 << 20  # bytes
MOST_WORKERS: Final = 256
_READ: Final = 64 << 10
_PEER = struct.Struct("=iII")
log = structlog.get_logger("trunkline.sip.hub")


class Owner(Protocol):
    """Who the hub tells."""

    def joined(self, link: "WorkerLink") -> None:
        """A worker said `Hello`."""

    def told(self, link: "WorkerLink", message: wire.ToGateway) -> None:
        """A worker said something else."""

    def lost(self, link: "WorkerLink") -> None:
        """A worker that had joined is gone."""


class WorkerLink:
    """One worker."""

    def __init__(self, sock: socket.socket, ended: Callable[["WorkerLink", str], None]) -> None:
        self.name = ""
        self.memory: RingMemory | None = None
        self.offers = True  # it may be asked
        self.calls: set[int] = set()  # taken by it, or on offer to it
        self._sock = sock
        self._ended = ended
        self._unpacker = wire.Unpacker("gateway")
        self._out = bytearray()
        self._open = True

    def send(self, message: wire.ToWorker) -> None:
        """At once, or when there is room; nothing once it is closed."""
        if not self._open:
            return
        waiting = bool(self._out)
        self._out += wire.encode(message)
        if len(self._out) > MOST_BACKLOG:
            self._ended(self, f"does not read: {len(self._out)} bytes wait")
        elif not waiting:
            self._flush()

    def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            sent = self._sock.send(self._out)
            del self._out[:sent]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError as error:
            self._ended(self, str(error))
            return
        if self._out:
            loop.add_writer(self._sock, self._flush)
        else:
            loop.remove_writer(self._sock)

    def read(self, owner: Owner) -> None:
        """What has come."""
        try:
            data, fds, _flags, _address = socket.recv_fds(self._sock, _READ, 4)
            self._take(fds)
            if not data:
                self._ended(self, "closed")
                return
            for message in self._unpacker.feed(data):
                self._hear(owner, message)
                if not self._open:
                    return
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, ProtocolError) as error:
            self._ended(self, str(error))

    def _take(self, fds: list[int]) -> None:
        for fd in fds:
            if self.memory is None:
                self.memory = RingMemory.attach(fd)
            else:
                os.close(fd)

    def _hear(self, owner: Owner, message: wire.ToGateway | wire.ToWorker) -> None:
        if isinstance(message, wire.Hello):
            if self.name or self.memory is None or message.version != wire.VERSION:
                raise ProtocolError("Hello: twice, without memory, or of another version", peer="worker")
            self.name = message.worker or "worker"
            owner.joined(self)
        elif isinstance(message, wire.Offers):
            self.offers = message.on
        elif self.name:
            owner.told(self, message)  # type: ignore[arg-type]
        else:
            raise ProtocolError("the first message is Hello", peer="worker")

    def close(self) -> None:
        """For good; the memory goes with its last user."""
        if not self._open:
            return
        self._open = False
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._sock)
        loop.remove_writer(self._sock)
        self._sock.close()
        if self.memory is not None:
            self.memory.close()


class Hub:
    """The listening socket and the workers that are there."""

    def __init__(self, path: str, owner: Owner) -> None:
        self._path = path
        self._owner = owner
        self._links: set[WorkerLink] = set()
        self._sock: socket.socket | None = None
        self._inode = 0

    def open(self) -> None:
        """Listen; a socket of a predecessor is taken over. Raises OSError."""
        place = Path(self._path)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = f"{self._path}.{os.getpid()}"
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._sock.setblocking(False)
        self._sock.bind(fresh)
        os.chmod(fresh, 0o600)
        self._sock.listen(MOST_WORKERS)
        self._inode = os.stat(fresh).st_ino
        os.replace(fresh, self._path)  # from now on it is there and it listens, never one without the other
        asyncio.get_running_loop().add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        assert self._sock is not None
        try:
            peer, _ = self._sock.accept()
        except OSError:
            return
        peer.setblocking(False)
        _pid, uid, _gid = _PEER.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
        if uid != os.getuid() or len(self._links) >= MOST_WORKERS:
            peer.close()
            return
        link = WorkerLink(peer, self._gone)
        self._links.add(link)
        asyncio.get_running_loop().add_reader(peer, link.read, self._owner)

    def _gone(self, link: WorkerLink, why: str) -> None:
        if link not in self._links:
            return
        self._links.discard(link)
        log.info("worker.left", worker=link.name, why=why, calls=len(link.calls))
        if link.name:
            self._owner.lost(link)
        link.close()

    @property
    def workers(self) -> list[WorkerLink]:
        """Who has said Hello."""
        return [link for link in self._links if link.name]

    def tell_all(self, message: wire.ToWorker) -> None:
        """To every worker."""
        for link in self.workers:
            link.send(message)

    def close(self) -> None:
        """All of them; the socket's path goes too, unless a successor has taken it."""
        for link in list(self._links):
            link.close()
        self._links.clear()
        sock, self._sock = self._sock, None
        if sock is not None:
            asyncio.get_running_loop().remove_reader(sock)
            sock.close()
            with suppress(OSError):
                if os.stat(self._path).st_ino == self._inode:
                    os.unlink(self._path)
