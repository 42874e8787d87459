"""A carrier's websocket on its transport: what is told, what is answered, who has his turn, and what is held back."""

import asyncio
import base64
import itertools
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.virtual_time import clock, run, virtual
from trunkline.bridge.carriers import CARRIERS
from trunkline.bridge.dialect import Message
from trunkline.bridge.frame_socket import SLICE, TURN, FrameSocket
from trunkline.bridge.leg import Ended, Oddity
from trunkline.bridge.media_socket import open_media_leg
from trunkline.outcome import EndCause, Outcome
from trunkline.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameReader,
    client_frame,
    close_of,
    close_payload,
)
from trunkline.websocket_frames import Message as Frame

MOST = 1 << 20


class Wire(asyncio.Transport):
    """A transport in memory, and its protocol's flow control."""

    def __init__(self) -> None:
        super().__init__()
        self.out = b""
        self.closed = False
        self.reading = True
        self.writing_paused = False
        self._may_write = asyncio.Event()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.out += bytes(data)

    def close(self) -> None:
        self.closed = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def stuck(self, full: bool) -> None:
        self.writing_paused = full
        if not full:
            self._may_write.set()

    async def drain(self) -> None:
        await self._may_write.wait()

    def sent(self) -> list[Frame]:
        """What went to the far end so far."""
        return list(FrameReader(masked=False, most_bytes=MOST).feed(self.out))


class Ear:
    """A listener; `enough` says of a message that no other should come at once."""

    def __init__(self, enough: Callable[[Message], bool] = lambda _: False) -> None:
        self.got: list[Message] = []
        self.oddities: list[str] = []
        self.ends = 0
        self._enough = enough

    def heard(self, message: Message) -> bool:
        assert not self.ends, "nothing comes after the end"
        self.got.append(message)
        return self._enough(message)

    def odd(self, oddity: Oddity) -> None:
        self.oddities.append(oddity.kind)

    def gone(self) -> None:
        self.ends += 1


def open_socket(ear: Ear | None, *, early: bytes = b"", most: int = MOST) -> tuple[FrameSocket, Wire]:
    """early: what the far end sent with its handshake."""
    wire = Wire()

    def begin(parser: FrameSocket) -> None:
        if early:
            parser.feed_data(early)

    socket = FrameSocket(wire, wire, begin=begin, drain=wire.drain, most_bytes=most)
    if ear is not None:
        socket.listen(ear)
    return socket, wire


def said(*texts: str) -> bytes:
    return b"".join(client_frame(TEXT, text.encode()) for text in texts)


# -- in


@virtual
async def test_messages_are_told_as_they_come() -> None:
    ear = Ear()
    socket, _ = open_socket(ear, early=said("with the handshake"))
    socket.feed_data(said("a", "ü") + client_frame(BINARY, b"\x00"))
    assert ear.got == ["with the handshake", "a", "ü", b"\x00"]


@virtual
async def test_a_ping_is_answered_in_its_place() -> None:
    ear = Ear()
    socket, wire = open_socket(ear)
    socket.feed_data(client_frame(TEXT, b"a") + client_frame(PING, b"now") + client_frame(PONG, b"unasked"))
    assert wire.sent() == [(PONG, b"now")]
    assert ear.got == ["a"]


@virtual
async def test_pings_to_one_who_does_not_read_the_answers_are_counted() -> None:
    ear = Ear()
    socket, wire = open_socket(ear)
    wire.stuck(True)
    socket.feed_data(client_frame(PING, b"x") * 3)
    assert wire.out == b""
    assert ear.oddities == ["ping_unanswered"] * 3


@virtual
async def test_a_burst_gives_way_and_stops_reading_meanwhile() -> None:
    ear = Ear()
    socket, wire = open_socket(ear)
    texts = [f"{n}" for n in range(3 * TURN + 5)]
    socket.feed_data(said(*texts))
    assert len(ear.got) == TURN
    assert not wire.reading
    socket.feed_data(said("more"))  # what the kernel had given already
    await asyncio.sleep(0)
    assert len(ear.got) == 2 * TURN
    await asyncio.sleep(0.001)
    assert ear.got == [*texts, "more"]
    assert wire.reading


@virtual
async def test_many_bytes_at_once_give_way_too() -> None:
    ear = Ear()
    socket, wire = open_socket(ear)
    big = ["x" * (SLICE - 100), "y" * SLICE, "z" * 10]
    socket.feed_data(said(*big))
    assert len(ear.got) == 1
    assert not wire.reading
    await asyncio.sleep(0.001)
    assert ear.got == big
    assert wire.reading


@virtual
async def test_a_listener_who_has_enough_is_left_alone_for_a_turn() -> None:
    ear = Ear(enough=lambda _: True)
    socket, wire = open_socket(ear)
    socket.feed_data(said("a", "b", "c"))
    for heard in (["a"], ["a", "b"]):
        assert ear.got == heard
        assert not wire.reading
        await asyncio.sleep(0)
    await asyncio.sleep(0.001)
    assert ear.got == ["a", "b", "c"]
    assert wire.reading


@virtual
async def test_between_two_listeners_nothing_is_lost() -> None:
    second = Ear()

    def leaves(message: Message) -> bool:
        if message == "start":
            socket.listen(None)
        return False

    first = Ear(leaves)
    socket, wire = open_socket(first)
    socket.feed_data(said("early", "start", "one", "two"))
    socket.feed_data(said("three"))
    socket.feed_eof()
    assert not wire.reading
    await asyncio.sleep(1)
    socket.listen(second)
    await asyncio.sleep(0)
    assert (first.got, first.ends) == (["early", "start"], 0)
    assert (second.got, second.ends) == (["one", "two", "three"], 1)


@virtual
async def test_the_end_comes_behind_what_came_before_it() -> None:
    ear = Ear(enough=lambda _: True)
    socket, _ = open_socket(ear)
    socket.feed_data(said("a", "stop"))
    socket.feed_eof()
    assert ear.ends == 0
    socket.send("into the void")  # nobody can know yet
    await asyncio.sleep(0.001)
    assert (ear.got, ear.ends, socket.close_code) == (["a", "stop"], 1, 1006)
    with pytest.raises(ConnectionResetError):
        socket.send("known now")


# -- ends


@pytest.mark.parametrize(("payload", "code"), [(close_payload(1000, "bye"), 1000), (b"", 1005), (b"\x0f\xa1", 4001)])
def test_their_goodbye_is_answered_with_its_code(payload: bytes, code: int) -> None:
    @virtual
    async def test() -> None:
        ear = Ear()
        socket, wire = open_socket(ear)
        socket.feed_data(said("a") + client_frame(CLOSE, payload) + said("too late"))
        assert (ear.got, ear.ends, socket.close_code) == (["a"], 1, code)
        assert wire.sent() == [(CLOSE, payload[:2])]
        assert wire.closed
        socket.feed_eof()
        assert (ear.ends, socket.close_code) == (1, code)
        await socket.close(1000, "")
        assert len(wire.sent()) == 1

    test()


@virtual
async def test_our_goodbye_waits_for_theirs() -> None:
    ear = Ear()
    socket, wire = open_socket(ear)
    closing = asyncio.ensure_future(socket.close(1000, "done"))
    await asyncio.sleep(1)
    assert wire.sent() == [(CLOSE, close_payload(1000, "done"))]
    assert not wire.closed
    socket.feed_data(said("whatever") + client_frame(CLOSE, close_payload(1000)))
    await closing
    assert wire.closed
    assert socket.close_code == 1000
    assert (ear.got, ear.ends) == ([], 0), "who closes is told nothing any more"
    assert len(wire.sent()) == 1, "no second close frame"


@virtual
async def test_a_goodbye_that_nobody_answers_ends_with_the_wait() -> None:
    socket, wire = open_socket(Ear())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):
            await socket.close(1000, "")
    assert wire.closed
    assert socket.close_code == 1006


@virtual
async def test_closing_reads_on_where_messages_were_held() -> None:
    socket, wire = open_socket(Ear())
    socket.listen(None)
    socket.feed_data(said("held") + client_frame(CLOSE, close_payload(1001)))
    assert not wire.reading
    async with asyncio.timeout(1):
        await socket.close(1002, "no start")
    assert socket.close_code == 1001


@pytest.mark.parametrize(
    ("wire_bytes", "code", "kind"),
    [
        (b"\x83\x80\x00\x00\x00\x00", 1002, "bad_frame"),
        (b"\x81\x01x", 1002, "bad_frame"),
        (client_frame(TEXT, b"\xff\xfe"), 1007, "bad_text"),
        (client_frame(CLOSE, b"\x03\xe8\xff"), 1007, "bad_text"),
        (client_frame(CLOSE, b"\x03"), 1002, "bad_frame"),
        (client_frame(TEXT, bytes(1001)), 1009, "too_large"),
        (b"\xc1" + client_frame(TEXT, b"compressed")[1:], 1002, "bad_frame"),
    ],
    ids=["opcode", "unmasked", "no text", "reason no text", "half a code", "too large", "reserved bit"],
)
def test_broken_framing_is_answered_counted_and_the_end(wire_bytes: bytes, code: int, kind: str) -> None:
    @virtual
    async def test() -> None:
        ear = Ear()
        socket, wire = open_socket(ear, most=1000)
        socket.feed_data(said("before") + wire_bytes + said("after"))
        await asyncio.sleep(0.001)
        ((opcode, payload),) = wire.sent()
        assert (opcode, close_of(payload)[0]) == (CLOSE, code)
        assert (ear.got, ear.oddities, ear.ends, socket.close_code) == (["before"], [kind], 1, code)
        assert wire.closed
        socket.feed_data(said("after"))
        assert ear.got == ["before"]

    test()


# -- out


@virtual
async def test_what_is_sent_is_on_the_wire_when_send_returns() -> None:
    socket, wire = open_socket(Ear())
    socket.send("text")
    socket.send(b"bytes")
    socket.send("x" * 300)
    assert wire.sent() == [(TEXT, b"text"), (BINARY, b"bytes"), (TEXT, b"x" * 300)]


@virtual
async def test_full_and_drained() -> None:
    socket, wire = open_socket(Ear())
    assert not socket.full
    wire.stuck(True)
    assert socket.full
    asyncio.get_running_loop().call_later(1, wire.stuck, False)
    async with asyncio.timeout(2):
        await socket.drained()
    assert not socket.full
    wire.stuck(True)
    socket.feed_eof()
    assert not socket.full, "nobody waits for one who is gone"


# -- whatever comes


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from((TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE, 3)), st.binary(max_size=200))
        | st.tuples(st.just(TEXT), st.text(max_size=50).map(str.encode)),
        max_size=20,
    ),
    st.lists(st.integers(0, 3000), max_size=5),
    st.booleans(),
)
def test_any_frames_cut_anywhere_end_in_order(frames: list[tuple[int, bytes]], cuts: list[int], noisy: bool) -> None:
    """Never an exception, one end at most, one close frame at most, and what was told was sent."""

    async def test() -> None:
        ear = Ear(enough=lambda message: len(message) % 3 == 0)
        socket, wire = open_socket(ear)
        data = b"".join(client_frame(*frame) for frame in frames) + (b"\xff\xff\xff" if noisy else b"")
        places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        for a, b in itertools.pairwise(places):
            socket.feed_data(data[a:b])
            if a % 2:
                await asyncio.sleep(0)
        socket.feed_eof()
        await asyncio.sleep(0.001)
        assert ear.ends == 1
        assert socket.close_code is not None
        assert [opcode for opcode, _ in wire.sent()].count(CLOSE) <= 1
        texts = [payload for opcode, payload in frames if opcode in (TEXT, BINARY)]
        heard = [message.encode() if isinstance(message, str) else message for message in ear.got]
        assert heard == texts[: len(heard)]
        assert len(ear.oddities) <= 1

    run(test())


# -- a leg on it


START = (
    '{"event":"start","streamSid":"S1","start":{"callSid":"c","mediaFormat":{"encoding":"audio/x-mulaw",'
    '"sampleRate":8000}}}'
)


def events(wire: Wire) -> list[str]:
    return [json.loads(payload)["event"] for opcode, payload in wire.sent() if opcode == TEXT]


@virtual
async def test_a_flush_calls_back_what_the_transport_did_not_take() -> None:
    socket, wire = open_socket(None, early=said(START))
    async with open_media_leg(socket, CARRIERS["smartflo"], {}, clock=clock()) as leg:
        leg.send(b"\x01" * 160)
        wire.stuck(True)
        for _ in range(5):
            leg.send(b"\x02" * 160)
            leg.mark("dead")
        assert events(wire) == ["media"], "in the same breath, and no more while the far end does not read"
        assert leg.flush() == pytest.approx(0.12)
        wire.stuck(False)
        await asyncio.sleep(1)
        assert events(wire) == ["media", "clear"]
        leg.send(b"\x03" * 160)
        assert events(wire) == ["media", "clear", "media"]
        socket.feed_data(client_frame(CLOSE, close_payload(1000)))


@virtual
async def test_a_carrier_that_vanishes_in_a_burst_is_heard_to_its_last_word() -> None:
    socket, _ = open_socket(None, early=said(START))
    media = [json.dumps({"event": "media", "media": {"payload": base64.b64encode(bytes([n] * 160)).decode()}})
             for n in range(90)]  # fmt: skip
    stop = '{"event":"stop","stop":{"reason":"Call ended"}}'
    async with open_media_leg(socket, CARRIERS["smartflo"], {}, clock=clock()) as leg:
        heard: list[bytes] = []

        async def listen() -> None:
            heard.extend([frame.pcm async for frame in leg.audio()])

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(listen())
            await asyncio.sleep(0)
            socket.feed_data(said(*media, stop))
            socket.feed_eof()
        assert len(b"".join(heard)) == 90 * 320
        *_, last = [event async for event in leg.events()]
        assert last == Ended(Outcome(EndCause.COMPLETED, "caller", "Call ended"))
        assert "audio_dropped_ms" not in leg.counters
