"""The TCP shell of AudioSocket over a real pair of sockets: cuts, closes, resets, slow ends."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest

from trunkline.bridge import audiosocket_connection as module
from trunkline.bridge.audiosocket import AUDIO, DTMF, HANG_UP, message
from trunkline.bridge.audiosocket_connection import BROKEN, GONE, TURN, AudioSocketConnection
from trunkline.bridge.dialect import Message
from trunkline.bridge.leg import Oddity

PATIENCE_S = 30.0
FIVE = [message(DTMF, str(n).encode()) for n in range(5)]


@dataclass
class Ear:
    """Listens; `enough`: says after each message that it has enough for now."""

    enough: bool = False
    messages: list[Message] = field(default_factory=list)
    oddities: list[str] = field(default_factory=list)
    over: int = 0

    def heard(self, message: Message) -> bool:
        self.messages.append(message)
        return self.enough

    def odd(self, oddity: Oddity) -> None:
        self.oddities.append(oddity.kind)

    def gone(self) -> None:
        self.over += 1


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[AudioSocketConnection, socket.socket]]:
    """Our end, connected, and the far end's socket."""
    came: list[AudioSocketConnection] = []
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: AudioSocketConnection(came.append), "127.0.0.1", 0)
    far = socket.create_connection(server.sockets[0].getsockname())
    far.setblocking(False)
    try:
        await until(lambda: bool(came))
        yield came[0], far
    finally:
        far.close()
        for one in came:
            one.abort()
        server.close()
        await server.wait_closed()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - it may be anything
            await asyncio.sleep(0.005)


async def test_messages_cut_anywhere_come_whole_and_in_order() -> None:
    async with pair() as (near, far):
        ear = Ear()
        near.listen(ear)
        far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in b"".join(FIVE):
            far.send(bytes([byte]))
            await asyncio.sleep(0)
        await until(lambda: len(ear.messages) == 5)
        assert ear.messages == FIVE
        assert near.close_code is None


@pytest.mark.parametrize("enough", [False, True])
async def test_closing_is_how_asterisk_hangs_up_and_comes_last(enough: bool) -> None:
    async with pair() as (near, far):
        ear = Ear(enough)
        far.sendall(b"".join(FIVE * TURN))
        far.close()
        await asyncio.sleep(0.01)
        near.listen(ear)
        await until(lambda: ear.over > 0)
        assert (near.close_code, len(ear.messages), ear.oddities, ear.over) == (GONE, 5 * TURN, [], 1)


async def test_a_close_within_a_message_is_a_wire_that_broke() -> None:
    async with pair() as (near, far):
        ear = Ear()
        near.listen(ear)
        far.sendall(FIVE[0] + message(AUDIO, bytes(320))[:100])
        far.close()
        await until(lambda: ear.over > 0)
        assert (near.close_code, ear.messages, ear.oddities) == (BROKEN, FIVE[:1], ["cut_message"])


async def test_a_reset_is_a_wire_that_broke() -> None:
    async with pair() as (near, far):
        ear = Ear()
        near.listen(ear)
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        far.close()
        await until(lambda: ear.over > 0)
        assert (near.close_code, ear.over) == (BROKEN, 1)
        with pytest.raises(OSError):
            near.send(FIVE[0])


async def test_nothing_is_told_while_nobody_listens() -> None:
    async with pair() as (near, far):
        first, second = Ear(), Ear()
        near.listen(first)
        far.sendall(FIVE[0])
        await until(lambda: len(first.messages) == 1)
        near.listen(None)
        far.sendall(FIVE[1])
        await asyncio.sleep(0.05)
        near.listen(second)
        await until(lambda: len(second.messages) == 1)
        assert (first.messages, second.messages) == (FIVE[:1], FIVE[1:2])


async def test_our_last_words_arrive_before_the_close() -> None:
    async with pair() as (near, far):
        loop = asyncio.get_running_loop()
        near.listen(Ear())
        far.sendall(message(AUDIO, bytes(320)) * 10)  # unread when we close: a close would reset the connection
        near.send(message(0))
        async with asyncio.TaskGroup() as group:
            closing = group.create_task(near.close(1000, ""))
            said = b""
            while piece := await asyncio.wait_for(loop.sock_recv(far, 100), PATIENCE_S):
                said += piece
            assert said == message(0)
            assert not closing.done()
            far.close()
        assert near.close_code is not None


async def test_a_far_end_that_does_not_read_makes_it_full_and_does_not_hold_the_close() -> None:
    async with pair() as (near, _):
        ear = Ear()
        near.listen(ear)
        async with asyncio.timeout(PATIENCE_S):
            while not near.full:
                near.send(message(AUDIO, bytes(0xFFFF)))
                await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await near.close(1000, "")
        assert near.close_code == BROKEN
        assert not near.full


@pytest.mark.parametrize("wide", [False, True])
async def test_silence_is_told_in_our_own_framing_while_they_speak(wide: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.0)
    kind, size = (0x12, 640) if wide else (AUDIO, 320)
    async with pair() as (near, far):
        near.listen(ear := Ear())
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(far, FIVE[0])
        await until(lambda: len(ear.messages) == 1)  # before our first word there is no silence
        near.send(message(kind, b"\x01\x02" * (size // 2)) * 2)
        await loop.sock_sendall(far, FIVE[1])
        await until(lambda: len(ear.messages) == 2)
        near.send(message(HANG_UP))
        await loop.sock_sendall(far, FIVE[2])
        await until(lambda: len(ear.messages) == 3)
        near.abort()
        said = b""
        with suppress(ConnectionResetError):
            while data := await loop.sock_recv(far, 65536):
                said += data
    assert said == message(kind, b"\x01\x02" * (size // 2)) * 2 + message(kind, bytes(size)) + message(HANG_UP)


async def test_silence_is_not_told_beside_speech() -> None:
    async with pair() as (near, far):
        near.listen(ear := Ear())
        near.send(message(AUDIO, bytes(range(64)) * 5))
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(far, FIVE[0])
        await until(lambda: len(ear.messages) == 1)
        assert len(await loop.sock_recv(far, 65536)) == len(message(AUDIO, bytes(320)))
