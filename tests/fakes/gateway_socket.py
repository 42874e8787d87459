"""The gateway's end of a worker's line: a unix socket that says what the test tells it and keeps what it hears."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TypeVar

from trunkline.bridge.sip import messages as sip
from trunkline.bridge.sip.ring import RingMemory, Slot

T = TypeVar("T")
WELCOME = sip.Welcome(sip.VERSION, 8000, 4, ("udp 127.0.0.1:5060",))


class FakeGateway:
    """One worker's connection at a time; `hello` makes it answer."""

    def __init__(self, path: Path, *, welcome: sip.Welcome | None) -> None:
        self.heard: list[object] = []
        self.memory: RingMemory | None = None
        self.slots: list[Slot] = []
        self.connections = 0
        self._path = path
        self._welcome = welcome
        self._listener: socket.socket | None = None
        self._peer: socket.socket | None = None
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen."""
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.setblocking(False)
        with suppress(FileNotFoundError):
            os.unlink(self._path)
        self._listener.bind(str(self._path))
        self._listener.listen(5)
        self._task = asyncio.get_running_loop().create_task(self._serve(self._listener))

    async def stop(self) -> None:
        """As if killed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        for one in (self._peer, self._listener):
            if one is not None:
                one.close()
        self._peer = self._listener = None

    def tell(self, *messages: sip.ToWorker) -> None:
        """To the worker, in one piece."""
        self.raw(b"".join(map(sip.encode, messages)))

    def raw(self, data: bytes) -> None:
        """Bytes as they are."""
        assert self._peer is not None
        self._peer.sendall(data)

    async def until(self, kind: type[T], count: int = 1) -> T:
        """The `count`-th message of a kind."""
        async with asyncio.timeout(20):
            while len(found := [one for one in self.heard if isinstance(one, kind)]) < count:
                self._news.clear()
                await self._news.wait()
        return found[count - 1]

    async def _serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._peer, _ = await loop.sock_accept(listener)
            self.connections += 1
            await self._talk(self._peer)

    async def _talk(self, peer: socket.socket) -> None:
        unpacker = sip.Unpacker("gateway")
        while True:
            data = await self._receive(peer)
            if not data:
                return
            for message in unpacker.feed(data):
                self.heard.append(message)
                if isinstance(message, sip.Hello) and self._welcome is not None:
                    self.tell(self._welcome)
                self._news.set()

    async def _receive(self, peer: socket.socket) -> bytes:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data, fds, _, _ = socket.recv_fds(peer, 1 << 16, 1)
            except BlockingIOError:
                ready = loop.create_future()
                loop.add_reader(peer, lambda ready=ready: ready.done() or ready.set_result(None))
                try:
                    await ready
                finally:
                    loop.remove_reader(peer)
                continue
            for fd in fds:
                self.memory = RingMemory.attach(fd)
                self.slots = [self.memory.slot(number) for number in range(self.memory.layout.slots)]
            return data


@asynccontextmanager
async def fake_gateway(path: Path, *, welcome: sip.Welcome | None = WELCOME) -> AsyncIterator[FakeGateway]:
    """A gateway that listens."""
    gateway = FakeGateway(path, welcome=welcome)
    await gateway.start()
    try:
        yield gateway
    finally:
        await gateway.stop()
