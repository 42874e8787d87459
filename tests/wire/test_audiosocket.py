"""Asterisk's AudioSocket against the real service: calls, who may in, no room, drain, and inherited listeners."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest

from tests.wire.service import PATIENCE_S, Running, running
from tests.wire.workers import node
from trunkline.ai.echo import EchoProvider
from trunkline.audiosocket_calls import AudioSocketCalls
from trunkline.bridge.audiosocket import AUDIO, DTMF, HANG_UP, HEADER, UUID_KIND, FrameReader, message

pytestmark = pytest.mark.wire

LISTEN = {"audiosocket": {"listen": "127.0.0.1:0"}}
TONE = bytes.fromhex("00400040004000c000c000c0") * 26 + bytes(8)  # 20 ms of something loud


@dataclass
class Stranger:
    """A connection of which only its address matters."""

    peer: str
    aborted: bool = False

    def abort(self) -> None:
        self.aborted = True


async def refused(run: Running, reason: str) -> float:
    """How many were, for this reason."""
    _, figures = await run.get("/metrics")
    lines = [line for line in figures.decode().splitlines() if f'reason="{reason}"' in line and "_total" in line]
    return sum(float(line.split()[-1]) for line in lines)


@dataclass
class Asterisk:
    """Asterisk's side of one connection, by hand."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    heard: list[bytes] = field(default_factory=list)  # whole messages of the service

    def say(self, kind: int, payload: bytes = b"") -> None:
        self.writer.write(message(kind, payload))

    async def speak(self, seconds: float) -> None:
        for _ in range(round(seconds * 50)):
            self.say(AUDIO, TONE)
            await asyncio.sleep(0.02)

    async def until_closed(self) -> list[int]:
        """Read to the end; the kinds that came."""
        frames = FrameReader()
        async with asyncio.timeout(PATIENCE_S):
            while piece := await self.reader.read(4096):
                self.heard += frames.feed(piece)
        assert not frames.held
        return [one[0] for one in self.heard]


@asynccontextmanager
async def dialled(address: str) -> AsyncIterator[Asterisk]:
    where = urlsplit(address)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        yield Asterisk(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def calling(address: str, uuid: UUID | None = None) -> AsyncIterator[Asterisk]:
    async with dialled(address) as asterisk:
        asterisk.say(UUID_KIND, (uuid or uuid4()).bytes)
        yield asterisk


async def test_a_call_is_heard_answered_and_recorded(tmp_path: Path) -> None:
    uuid = uuid4()
    async with (
        running(tmp_path, LISTEN, provider=EchoProvider()) as run,
        calling(run.service.audiosocket, uuid) as asterisk,
    ):
        await asterisk.speak(1.0)
        asterisk.say(DTMF, b"5")
        await asterisk.speak(0.2)
        (live,) = await run.calls(1, live=True)
        assert (live["carrier"], live["carrier_ref"], live["direction"]) == ("audiosocket", str(uuid), "inbound")
        asterisk.writer.write_eof()
        kinds = await asterisk.until_closed()
        (done,) = await run.calls(1, live=False)
        assert (done["cause"], done["fault"]) == ("completed", "caller")
        assert set(kinds) == {AUDIO}
        assert {len(one) - HEADER for one in asterisk.heard} == {320}
        assert any(any(one[HEADER:]) for one in asterisk.heard), "the echo is silent"
        _, page = await run.get(f"/calls/{done['id']}/timeline")
        assert '"5"' in json.dumps(page)


async def test_the_uuid_chooses_the_number_and_others_are_refused(tmp_path: Path) -> None:
    changes = {"audiosocket": {"listen": "127.0.0.1:0", "lines": ["*-000000000100=918069000000"]}}
    async with running(tmp_path, changes) as run:
        async with calling(run.service.audiosocket, UUID("12345678-1234-5678-1234-000000000100")):
            (live,) = await run.calls(1, live=True)
            assert live["to"] == "+918069000000"
        async with calling(run.service.audiosocket) as stranger:
            assert await stranger.until_closed() == [HANG_UP]
        assert await refused(run, "unknown_uuid") == 1
        assert len(await run.calls(1, live=False)) == 1


async def test_no_room_is_a_hang_up_that_the_dialplan_can_go_on_from(tmp_path: Path) -> None:
    async with (
        running(tmp_path, {**LISTEN, "limits": {"max_calls": 1}}) as run,
        calling(run.service.audiosocket) as first,
    ):
        await run.calls(1, live=True)
        async with calling(run.service.audiosocket) as second:
            assert await second.until_closed() == [HANG_UP]
        assert not first.reader.at_eof()


async def test_what_is_no_audiosocket_is_left_and_hurts_nobody(tmp_path: Path) -> None:
    async with (
        running(tmp_path, {**LISTEN, "limits": {"start_timeout_s": 0.3}}) as run,
        calling(run.service.audiosocket) as good,
        dialled(run.service.audiosocket) as silent,
        dialled(run.service.audiosocket) as web,
    ):
        web.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for stranger in (silent, web):
            await stranger.until_closed()
            stranger.writer.close()
        await good.speak(0.3)
        assert len(await run.calls(1, live=True)) == 1
        async with asyncio.timeout(PATIENCE_S):
            while await refused(run, "no_start") < 2:  # noqa: ASYNC110 - it is asked over HTTP
                await asyncio.sleep(0.05)


async def test_a_drain_ends_calls_with_a_hang_up(tmp_path: Path) -> None:
    async with running(tmp_path, LISTEN) as run, calling(run.service.audiosocket) as asterisk:
        await run.calls(1, live=True)
        await run.service.drain(0)
        assert (await asterisk.until_closed())[-1] == HANG_UP
        (done,) = await run.calls(1, live=False)
        assert done["cause"] == "drained"


async def test_stopping_the_service_records_live_calls(tmp_path: Path) -> None:
    async with running(tmp_path, LISTEN) as run, dialled(run.service.audiosocket) as asterisk:
        asterisk.say(UUID_KIND, uuid4().bytes)
        await run.calls(1, live=True)
        await run.service.__aexit__(None, None, None)
        assert (await asterisk.until_closed())[-1] == HANG_UP
    async with running(tmp_path) as again:
        (done,) = await again.calls(1, live=False)
        assert done["cause"] == "drained"


@pytest.mark.parametrize(
    ("peer", "may"),
    [
        ("127.0.0.1", True), ("::1", True), ("::ffff:127.0.0.1", True), ("192.0.2.7", True), ("::ffff:192.0.2.7", True),
        ("192.0.2.8", False), ("10.1.2.3", True), ("2001:db8::1", False), ("", False),
    ],
)  # fmt: skip
async def test_who_may_connect(tmp_path: Path, peer: str, may: bool) -> None:
    changes = {"audiosocket": {"allow": ["192.0.2.7", "10.0.0.0/8"]}}
    async with running(tmp_path, changes) as run:
        stranger = Stranger(peer)
        AudioSocketCalls(run.service.desk)._came(stranger)  # type: ignore[arg-type]
        assert stranger.aborted is not may
        assert await refused(run, "stranger") == (not may)


async def test_workers_inherit_the_listener_and_the_death_of_one_closes_it_for_nobody(tmp_path: Path) -> None:
    async with node(tmp_path, "--set", "audiosocket.listen=127.0.0.1:0") as run:
        (told, *_) = await run.told("audiosocket.listening")
        async with calling(told["address"]) as first:
            (live,) = await run.calls(1, live=True)
            assert live["carrier"] == "audiosocket"
            os.kill(run.pids[live["owner"]], signal.SIGKILL)
            await first.until_closed()
        await run.calls(0, live=True)
        async with calling(told["address"]):
            await run.calls(1, live=True)
