"""AudioSocket: the framing, the dialect's table, the leg suite, mutations, and a good call beside hostile ones."""

import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.leg import Legs, LegSuite, Rig, speak, until_ended
from tests.fakes.audiosocket import ID, FakeAsterisk, audiosocket_leg
from tests.fakes.socket import FakeSocket
from tests.unit.bridge.fuzzing import MESSAGES, check
from tests.virtual_time import clock, virtual
from trunkline.bridge import audiosocket as wire
from trunkline.bridge import leg as legs_
from trunkline.bridge.audiosocket import AudioSocketDialect, FrameReader, message
from trunkline.bridge.dialect import StreamStarted, StreamStopped, WireAudio, WireDigits
from trunkline.bridge.leg import Ended, Oddity
from trunkline.bridge.media_socket import open_media_leg
from trunkline.codecs.l16 import L16_8K, L16_16K, L16_24K
from trunkline.config import AudioSocket
from trunkline.errors import ProtocolError
from trunkline.outcome import EndCause

NAMED = message(wire.UUID_KIND, ID.bytes)


def rig_of(kind: int = wire.AUDIO, *, closes: bool = True, **more: Any) -> Legs:
    @asynccontextmanager
    async def rig() -> AsyncIterator[Rig]:
        async with audiosocket_leg(FakeAsterisk(kind=kind, closes=closes), more) as (leg, far):
            yield Rig(leg, far, flushes=False)

    return rig


class TestAnAsteriskThatCloses(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return rig_of()


class TestOneThatSaysItHangsUp(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return rig_of(closes=False)


class TestOneOfTheNewerGenerationAt16KHz(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return rig_of(0x12, rate=16000)


class TestOneOfTheOlderGenerationAt16KHz(LegSuite):
    @pytest.fixture
    def legs(self) -> Legs:
        return rig_of(wire.AUDIO, rate=16000)


def test_the_bytes_of_the_reference() -> None:
    assert NAMED.hex(" ") == "01 00 10 12 34 56 78 12 34 56 78 12 34 56 78 12 34 56 78"
    assert message(wire.DTMF, b"5").hex(" ") == "03 00 01 35"
    assert AudioSocketDialect().audio(bytes(320))[:3].hex(" ") == "10 01 40"
    assert AudioSocketDialect().hang_up().hex(" ") == "00 00 00"


@settings(deadline=None)
@given(payloads=st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=700)), max_size=8), data=st.data())
def test_however_it_is_cut_the_messages_are_the_same(payloads: list[tuple[int, bytes]], data: st.DataObject) -> None:
    messages = [message(kind, payload) for kind, payload in payloads]
    stream, reader, found = b"".join(messages) + b"\x10\xff", FrameReader(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        found += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert found == messages
    assert reader.held == 2


def test_the_largest_message_byte_by_byte() -> None:
    reader, whole = FrameReader(), message(wire.AUDIO, bytes(0xFFFF))
    assert [found for at in range(len(whole)) for found in reader.feed(whole[at : at + 1])] == [whole]


def named(rate: int = 8000, **lines: str) -> AudioSocketDialect:
    dialect = AudioSocketDialect(rate, {k.replace("_", "*"): v for k, v in lines.items()})
    (started,) = dialect.receive(NAMED)
    assert isinstance(started, StreamStarted)
    return dialect


TWO = b"\x01\x02"


@pytest.mark.parametrize(
    ("sent", "event"),
    [
        (message(wire.AUDIO, TWO), WireAudio(TWO)),
        (message(wire.AUDIO), Oddity("empty_audio", "kind 0x10")),
        (message(0x11, TWO), Oddity("unsupported_rate", "0x11: 12000 Hz")),
        (message(0x18, TWO), Oddity("unsupported_rate", "0x18: 192000 Hz")),
        (message(wire.DTMF, b"#"), WireDigits("#")),
        (message(wire.DTMF, b"a"), WireDigits("A")),
        (message(wire.DTMF, b"E"), Oddity("bad_digit", "'E'")),
        (message(wire.DTMF), Oddity("bad_digit", "''")),
        (message(wire.HANG_UP), StreamStopped()),
        (message(wire.ERROR, b"\x01"), StreamStopped("error 0x01")),
        (message(wire.ERROR, b"\x05"), StreamStopped("error 0x05")),
        (message(wire.ERROR, b"\x02"), Oddity("far_error", "0x02")),
        (message(wire.ERROR), Oddity("far_error", "0x00")),
        (message(wire.UUID_KIND, ID.bytes), Oddity("uuid_again", str(ID))),
        (message(wire.UUID_KIND, b"short"), Oddity("bad_uuid", "5 bytes, not 16")),
        (message(0x02, b"abc"), Oddity("unknown_kind", "0x02, 3 bytes")),
        ("text", Oddity("unknown_kind", "no message")),
    ],
)
def test_what_a_message_means(sent: bytes | str, event: Any) -> None:
    assert list(named().receive(sent)) == [event]


def test_nothing_counts_before_the_uuid() -> None:
    dialect = AudioSocketDialect()
    for kind in (wire.AUDIO, 0x12, wire.DTMF, wire.ERROR, 0x7F):
        (odd,) = dialect.receive(message(kind, b"1"))
        assert isinstance(odd, Oddity)
        assert odd.kind == "early_message"
    assert isinstance(dialect.receive(NAMED)[0], StreamStarted)


def test_the_uuid_is_the_call_and_stands_for_a_number() -> None:
    lines = wire.parse_lines(["*-567812345678 = 918069000000", "12345678-* = 100"])
    assert lines == {"*-567812345678": "+918069000000", "12345678-*": "100"}
    (started,) = AudioSocketDialect(8000, lines).receive(NAMED)
    assert started == StreamStarted("", str(ID), "inbound", "", "+918069000000", L16_8K, {"line": "+918069000000"})
    assert wire.number_of("ffffffff-0000-0000-0000-000000000000", lines) is None


def test_a_newer_kind_is_heard_at_its_own_rate() -> None:
    dialect = named()
    for kind, codec in ((0x12, L16_16K), (0x13, L16_24K), (wire.AUDIO, L16_8K)):
        started, audio = dialect.receive(message(kind, TWO))
        assert isinstance(started, StreamStarted)
        assert started.codec is codec
        assert audio == WireAudio(TWO)
        assert list(dialect.receive(message(kind, TWO))) == [WireAudio(TWO)]


def test_our_kind_is_the_old_one_until_theirs_is_known() -> None:
    dialect = named(16000)
    assert dialect.audio(bytes(640))[0] == wire.AUDIO
    dialect.receive(message(0x13, TWO))  # another rate says nothing of what they make of ours
    assert dialect.audio(bytes(640))[0] == wire.AUDIO
    dialect.receive(message(0x12, TWO))
    assert dialect.audio(bytes(640))[:3].hex(" ") == "12 02 80"


def test_several_frames_leave_as_several_messages() -> None:
    first, second = bytes([1]) * 320, bytes([2]) * 320
    assert FrameReader().feed(named().audio(first + second)) == [message(wire.AUDIO, one) for one in (first, second)]


@virtual
async def test_hang_up_is_said_before_the_close() -> None:
    async with audiosocket_leg() as (leg, far):
        await leg.end(EndCause.COMPLETED)
    assert far.socket.sent[-1][1] == message(wire.HANG_UP)
    assert far.socket.closed_with is not None


@virtual
async def test_at_most_two_frames_are_sent_ahead() -> None:
    async with audiosocket_leg() as (leg, far):
        await speak(leg, 0.02)
        await speak(leg, 0.02)
        assert len(far.arrivals) == 2
        assert not leg.has_room()


@virtual
async def test_a_far_end_without_uuid_gets_no_leg() -> None:
    socket = FakeSocket()
    socket.say(message(wire.AUDIO, TWO))
    with pytest.raises(ProtocolError, match="no `start` within 10 s"):
        async with open_media_leg(socket, wire.profile(AudioSocket()), {}, clock=clock()):
            pass


# -- mutations

KINDS = (wire.HANG_UP, wire.UUID_KIND, 0x02, wire.DTMF, wire.AUDIO, 0x11, 0x12, 0x13, 0x18, 0x7F, wire.ERROR)
SEEN = (StreamStarted, WireAudio, WireDigits, StreamStopped, Oddity)


def call(rng: random.Random) -> list[bytes]:
    """A valid call of about 25 messages."""
    inside = [
        message(rng.choice((0x10, 0x10, 0x12)), rng.randbytes(320))
        if rng.random() < 0.9
        else message(wire.DTMF, rng.choice("0123456789*#").encode())
        for _ in range(rng.randrange(50))
    ]
    return [message(wire.UUID_KIND, UUID(int=rng.getrandbits(128)).bytes), *inside, message(wire.HANG_UP)]


def mutated(rng: random.Random) -> bytes:
    messages = call(rng)
    for _ in range(rng.choice((0, 1, 2, 4, 8))):
        at = rng.randrange(len(messages))
        roll = rng.random()
        if roll < 0.2:
            messages[at] = message(rng.choice(KINDS), rng.randbytes(rng.choice((0, 1, 2, 16, 17, 321))))
        elif roll < 0.4:
            messages[at] = messages[at][: rng.randrange(len(messages[at]) + 1)]
        elif roll < 0.6:
            messages.insert(rng.randrange(len(messages)), rng.choice(messages))
        elif roll < 0.8:
            where = rng.randrange(len(messages[at]) + 1)
            messages[at] = messages[at][:where] + rng.randbytes(2) + messages[at][where:]
        else:
            messages.append(message(wire.ERROR, rng.randbytes(rng.randrange(3))))
    return b"".join(messages)


def pieces(stream: bytes, rng: random.Random) -> list[bytes]:
    found = []
    while stream:
        cut = rng.choice((1, 2, 3, 323, 1460))
        found.append(stream[:cut])
        stream = stream[cut:]
    return found


def test_mutated_calls_reach_everything_and_break_nothing() -> None:
    seen: Counter[Any] = Counter()
    rng, read = random.Random(20260301), 0
    while read < MESSAGES:
        dialect, reader = AudioSocketDialect(), FrameReader()
        for piece in pieces(mutated(rng), rng):
            for one in reader.feed(piece):
                read += 1
                for event in dialect.receive(one):
                    seen[type(event)] += 1
                    if isinstance(event, Oddity):
                        assert event.kind in wire.ODDITIES
                        assert len(event.detail) <= 200
                        seen[event.kind] += 1
                    else:
                        check(event, seen)
        assert reader.held <= wire.MOST
    assert [kind for kind in SEEN if not seen[kind]] == []
    assert sorted(kind for kind in wire.ODDITIES if not seen[kind]) == [], "an oddity that no mutation reached"


@virtual
async def test_mutated_calls_end_in_order() -> None:
    rng = random.Random(8)
    for _ in range(max(100, MESSAGES // 200)):
        socket, reader = FakeSocket(), FrameReader()
        socket.say(*reader.feed(mutated(rng)))
        socket.shut(rng.choice((1005, 1006)))
        try:
            async with open_media_leg(socket, wire.profile(AudioSocket()), {}, clock=clock()) as leg:
                leg.send(bytes(320))
                events = await until_ended(leg)
                assert [type(event) for event in events].count(Ended) == 1
                assert isinstance(events[0], legs_.Answered)
                ended = events[-1]
                assert isinstance(ended, Ended)
                assert ended.outcome.cause in (EndCause.COMPLETED, EndCause.MEDIA_LOST)
        except ProtocolError:
            continue
