"""Asterisk's manager interface, as much of it as tests need: an action and its response, and all events that come."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeAlias

PATIENCE_S = 30.0
Event: TypeAlias = Mapping[str, str]


@dataclass(slots=True)
class Manager:
    """A connection that is logged in."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    events: list[Event] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    number: int = 0

    async def does(self, action: str, **fields: str) -> Event:
        """Its response; asserts that it is no error."""
        self.number += 1
        name = f"a{self.number}"
        lines = [f"Action: {action}", f"ActionID: {name}", *(f"{key}: {value}" for key, value in fields.items())]
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = await self.until(ActionID=name)
        assert answer["Response"] != "Error", answer
        return answer

    async def until(self, event: str = "", *, count: int = 1, **fields: str) -> Event:
        """The event (or response) with those fields, once it has come so often."""
        wanted = {**({"Event": event} if event else {}), **fields}

        def found() -> list[Event]:
            return [one for one in self.events if all(one.get(name) == value for name, value in wanted.items())]

        async with asyncio.timeout(PATIENCE_S):
            while len(found()) < count:
                self.news.clear()
                await self.news.wait()
        return found()[count - 1]

    async def pressed(self, channel: str, keys: str) -> None:
        """Once Asterisk has heard these on channels of that name, and no others."""

        def heard() -> str:
            told = [one for one in self.events if one.get("Event") == "DTMFEnd" and one["Direction"] == "Received"]
            return "".join(one["Digit"] for one in told if one["Channel"].startswith(channel))

        async with asyncio.timeout(PATIENCE_S):
            while heard() != keys:
                self.news.clear()
                await self.news.wait()

    async def listen(self) -> None:
        """Keep what comes."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                block = (await self.reader.readuntil(b"\r\n\r\n")).decode(errors="replace")
                pairs = (line.partition(": ") for line in block.splitlines() if ": " in line)
                self.events.append({name: value for name, _, value in pairs})
                self.news.set()


@asynccontextmanager
async def manager(port: int) -> AsyncIterator[Manager]:
    """Logged in as "test" on loopback."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await reader.readline()  # its greeting
    own = Manager(reader, writer)
    listening = asyncio.create_task(own.listen())
    try:
        await own.does("Login", Username="test", Secret="test")
        yield own
    finally:
        listening.cancel()
        writer.close()
