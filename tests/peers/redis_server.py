"""A private Redis on a free port, gone afterwards; none of yours is used."""

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass(slots=True)
class RedisServer:
    """One that can be stopped and started again, with nothing in it."""

    port: int
    folder: Path
    password: str = ""
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """With the password, if there is one."""
        return f"redis://{f':{self.password}@' if self.password else ''}127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        """Returns once it answers."""
        binary = shutil.which("redis-server")
        if binary is None:
            pytest.skip("Redis is not installed (Debian package: redis-server)")
        more = ("--requirepass", self.password) if self.password else ()
        self.process = await asyncio.create_subprocess_exec(
            binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir",
            str(self.folder), *more, stdout=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        async with asyncio.timeout(30):
            while True:
                with suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """At once."""
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()


@asynccontextmanager
async def redis_server(folder: Path, password: str = "") -> AsyncIterator[RedisServer]:
    """It runs for as long as the block lasts."""
    server = RedisServer(free_port(), folder, password)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
