"""A connection's frames on a transport: what is handed over when, what is answered, and how it ends."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.virtual_time import virtual
from trunkline.ai.gemini.channel import CLOSE_S, LOST, MOST_BYTES, MOST_KEPT, Channel, Closing, Ended
from trunkline.websocket_frames import BINARY, CLOSE, PING, PONG, TEXT, FrameReader, close_payload, server_frame


class Wire(asyncio.Transport):
    """The far end is the test."""

    def __init__(self) -> None:
        super().__init__()
        self.reading = True
        self.lost: Callable[[Exception | None], None] = lambda _: None
        self._server = FrameReader(masked=True, most_bytes=MOST_BYTES)
        self.written: list[tuple[int, bytes]] = []

    def write(self, data: Any) -> None:
        self.written += [tuple(message) for message in self._server.feed(bytes(data))]

    def pause_reading(self) -> None:
        assert self.reading
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading = True

    def abort(self) -> None:
        asyncio.get_running_loop().call_soon(self.lost, None)


def made() -> tuple[Channel, Wire, list[Exception | None]]:
    wire, told = Wire(), list[Exception | None]()
    channel = Channel(wire, told.append)
    wire.lost = channel.connection_lost
    return channel, wire, told


def text(word: str) -> bytes:
    return server_frame(TEXT, word.encode())


async def following(channel: Channel, taken: list[bytes], last: bytes = b"last") -> asyncio.Task[None]:
    def take(message: bytes) -> bool:
        taken.append(message)
        return message == last

    task = asyncio.create_task(channel.follow(take))
    await asyncio.sleep(0)
    return task


@virtual
async def test_what_came_before_the_follower_is_first_and_the_rest_comes_where_it_arrives() -> None:
    channel, _, _ = made()
    stream = text("ack") + text("1") + server_frame(BINARY, b"2") + text("3")
    channel.data_received(stream[:-2])
    assert await channel.message() == b"ack"
    taken: list[bytes] = []
    task = await following(channel, taken)
    assert taken == [b"1", b"2"]
    channel.data_received(stream[-2:] + text("last") + text("too late"))
    assert taken == [b"1", b"2", b"3", b"last"]  # already, without another turn of the loop
    await task
    channel.data_received(text("much too late"))
    assert len(taken) == 4


@virtual
@pytest.mark.parametrize("size", [1, 2, 3, 7])
async def test_pieces_of_any_size_are_the_same_messages(size: int) -> None:
    channel, _, _ = made()
    stream = text("ack") + b"\x01\x02on\x00\x00\x89\x01p\x80\x01e" + text("x" * 200) + text("last")
    taken: list[bytes] = []
    task = await following(channel, taken)
    for at in range(0, len(stream), size):
        channel.data_received(stream[at : at + size])
    await task
    assert taken == [b"ack", b"one", b"x" * 200, b"last"]


@virtual
async def test_before_anybody_takes_them_only_so_many_messages_are_read() -> None:
    channel, wire, _ = made()
    for number in range(MOST_KEPT):
        assert wire.reading
        channel.data_received(text(str(number)))
    assert not wire.reading
    assert await channel.message() == b"0"
    assert wire.reading
    channel.data_received(text("last"))
    taken: list[bytes] = []
    await (await following(channel, taken))
    assert len(taken) == MOST_KEPT
    assert wire.reading


@virtual
async def test_what_the_follower_raises_is_its_own_and_not_the_sockets() -> None:
    channel, _, _ = made()

    def take(_: bytes) -> bool:
        raise ValueError("mine")

    task = asyncio.create_task(channel.follow(take))
    await asyncio.sleep(0)
    channel.data_received(text("1") + text("2"))
    with pytest.raises(ValueError, match="mine"):
        await task


@virtual
async def test_a_ping_is_answered_at_once_or_the_newest_one_when_something_can_be_written() -> None:
    channel, wire, _ = made()
    channel.data_received(server_frame(PING, b"1"))
    assert wire.written == [(PONG, b"1")]
    channel.pause_writing()
    await asyncio.sleep(0.7)
    assert (channel.blocked, channel.blocked_s) == (True, pytest.approx(0.7))
    for number in b"23":
        channel.data_received(server_frame(PING, bytes([number])))
    waiting = asyncio.create_task(channel.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    channel.resume_writing()
    await waiting
    assert wire.written == [(PONG, b"1"), (PONG, b"3")]
    assert (channel.blocked, channel.blocked_s) == (False, 0.0)


@virtual
@pytest.mark.parametrize(
    ("payload", "closing"),
    [
        (close_payload(1011, "Deadline expired"), Closing(1011, "Deadline expired", told=True)),
        (b"", Closing(1005, "", told=True)),
        (b"\x00", Closing(1002, "a close frame holds a code that none may hold")),
    ],
)
async def test_the_far_ends_goodbye_is_answered_and_told_when_the_socket_is_gone(
    payload: bytes, closing: Closing
) -> None:
    channel, wire, told = made()
    taken: list[bytes] = []
    task = await following(channel, taken)
    channel.data_received(text("1") + server_frame(CLOSE, payload) + text("2"))
    assert [opcode for opcode, _ in wire.written] == [CLOSE]
    assert wire.written[0][1] == (payload if closing.told else close_payload(*closing[:2]))
    with pytest.raises(Ended):
        channel.text(b"{}")
    assert not task.done()
    wire.lost(None)
    with pytest.raises(Ended) as ended:
        await task
    assert (ended.value.closing, taken, told) == (closing, [b"1"], [None])
    with pytest.raises(Ended):
        await channel.message()


@virtual
async def test_a_far_end_that_says_goodbye_and_stays_is_cut() -> None:
    channel, _, told = made()
    task = await following(channel, [])
    channel.data_received(server_frame(CLOSE, close_payload(1000)))
    with pytest.raises(Ended):
        await task
    assert asyncio.get_running_loop().time() == CLOSE_S
    assert told == [None]


@virtual
async def test_our_goodbye_waits_for_its_answer_but_not_for_ever() -> None:
    for answers in (True, False):
        channel, wire, _ = made()
        taken: list[bytes] = []
        task = await following(channel, taken)
        began = asyncio.get_running_loop().time()
        closing = asyncio.create_task(channel.close(1000, "over"))
        await asyncio.sleep(0.1)
        assert wire.written == [(CLOSE, close_payload(1000, "over"))]
        channel.data_received(text("still"))
        assert taken == [b"still"]
        if answers:
            channel.data_received(server_frame(CLOSE, close_payload(1001, "bye")))
            wire.lost(None)
        await closing
        assert asyncio.get_running_loop().time() - began == pytest.approx(0.1 if answers else CLOSE_S)
        with pytest.raises(Ended) as ended:
            await task
        assert ended.value.closing == (Closing(1001, "bye", told=True) if answers else Closing(1000, "over"))
        assert len(wire.written) == 1
        await channel.close()


@virtual
@pytest.mark.parametrize("second", [0xFF, 0x7F])  # masked; longer than we take
async def test_broken_framing_ends_the_connection_after_what_was_whole(second: int) -> None:
    channel, wire, _ = made()
    stream = bytes([0x81, second]) + (MOST_BYTES + 1).to_bytes(8)
    taken: list[bytes] = []
    task = await following(channel, taken)
    channel.data_received(text("1") + stream)
    channel.data_received(text("2"))
    with pytest.raises(Ended) as ended:
        await task
    assert taken == [b"1"]
    assert ended.value.closing.code == (1002 if second & 0x80 else 1009)
    assert wire.written == [(CLOSE, close_payload(*ended.value.closing[:2]))]


@virtual
async def test_a_socket_that_is_lost_wakes_everybody() -> None:
    channel, wire, told = made()
    channel.pause_writing()
    task, room = await following(channel, []), asyncio.create_task(channel.room())
    await asyncio.sleep(0)
    wrong = ConnectionResetError()
    wire.lost(wrong)
    await room
    with pytest.raises(Ended) as ended:
        await task
    assert (ended.value.closing, told) == (Closing(LOST, ""), [wrong])
