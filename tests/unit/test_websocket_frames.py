"""RFC 6455 frames: its own examples, every limit, and the `websockets` library's parser as the second opinion."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import CLIENT, OPEN, SERVER, Protocol

from trunkline.websocket_frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    FrameError,
    FrameReader,
    Message,
    client_frame,
    close_of,
    close_payload,
    server_frame,
)

MOST = 1000
MASK = bytes.fromhex("37fa213d")


def raw(first: int, payload: bytes, *, masked: bool = True, width: int = 0, size: int | None = None) -> bytes:
    """A frame by hand. width: bytes of the length field (0: the shortest); size: a length that is a lie."""
    said = len(payload) if size is None else size
    width = width or (0 if said < 126 else 2 if said < 65536 else 8)
    head = bytes([first, (0x80 if masked else 0) | {0: said, 2: 126, 8: 127}[width]]) + (
        said.to_bytes(width) if width else b""
    )
    if not masked:
        return head + payload
    return head + MASK + bytes(byte ^ MASK[at % 4] for at, byte in enumerate(payload))


def read(chunks: Sequence[bytes], *, masked: bool = True, most: int = MOST) -> tuple[list[Message], int]:
    """(messages, close code of the error that ended it or 0)."""
    found: list[Message] = []
    reader = FrameReader(masked=masked, most_bytes=most)
    try:
        for chunk in chunks:  # as both our sockets do it
            if (payload := reader.whole(chunk)) is not None:
                found.append(Message(chunk[0] & 0x0F, payload))
            else:
                found += reader.feed(chunk)
    except FrameError as error:
        return [*found, *error.before], error.close_code
    return found, 0


def refused(*frames: bytes, masked: bool = True, most: int = MOST) -> int:
    """The close code of a reader that must refuse these."""
    return read([b"".join(frames)], masked=masked, most=most)[1]


# -- the examples of section 5.7


@pytest.mark.parametrize(
    ("wire", "masked", "expected"),
    [
        ("810548656c6c6f", False, [(TEXT, b"Hello")]),
        ("818537fa213d7f9f4d5158", True, [(TEXT, b"Hello")]),
        ("010348656c80026c6f", False, [(TEXT, b"Hello")]),
        ("890548656c6c6f", False, [(PING, b"Hello")]),
        ("8a8537fa213d7f9f4d5158", True, [(PONG, b"Hello")]),
        ("827e0100" + "ab" * 256, False, [(BINARY, b"\xab" * 256)]),
        ("827f0000000000010000" + "ab" * 65536, False, [(BINARY, b"\xab" * 65536)]),
    ],
)
def test_the_examples_of_the_rfc(wire: str, masked: bool, expected: list[Message]) -> None:
    assert read([bytes.fromhex(wire)], masked=masked, most=1 << 20) == (expected, 0)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 70000])
def test_what_is_written_is_read_in_every_width(size: int) -> None:
    payload = random.Random(size).randbytes(size)
    assert read([server_frame(BINARY, payload)], masked=False, most=1 << 20) == ([(BINARY, payload)], 0)
    assert read([client_frame(BINARY, payload)], most=1 << 20) == ([(BINARY, payload)], 0)


def test_a_mask_of_its_own_for_every_frame() -> None:
    assert len({client_frame(TEXT, bytes(8))[2:6] for _ in range(50)}) > 45


def test_control_frames_between_fragments() -> None:
    wire = raw(0x01, b"a"), raw(0x89, b"p"), raw(0x00, b"b"), raw(0x8A, b""), raw(0x80, b"c"), raw(0x81, b"d")
    assert read([b"".join(wire)]) == ([(PING, b"p"), (PONG, b""), (TEXT, b"abc"), (TEXT, b"d")], 0)


# -- what must be refused


@pytest.mark.parametrize(
    "frame",
    [
        raw(0x81, b"x", masked=False),
        raw(0xC1, b"x"),  # compressed, and nobody agreed on it
        raw(0xA1, b"x"),
        raw(0x91, b"x"),
        raw(0x83, b""),
        raw(0x87, b""),
        raw(0x8B, b""),
        raw(0x8F, b""),
        raw(0x80, b"x"),  # continues nothing
        raw(0x00, b"x"),
        raw(0x09, b""),  # a control frame in fragments
        raw(0x89, bytes(126)),
        raw(0x88, bytes(65536)),
        raw(0x89, b"", width=2),  # not the shortest length (5.2)
        raw(0x89, b"", width=8),
        raw(0x01, b"x") + raw(0x81, b"y"),  # a new message within another
        raw(0x01, b"x") + raw(0x02, b"y"),
    ],
)
def test_broken_framing_is_1002(frame: bytes) -> None:
    assert refused(frame, most=1 << 20) == 1002


@pytest.mark.parametrize("size", [1, 200])
def test_the_usual_frame_is_judged_like_any_other(size: int) -> None:
    """A text in one packet takes a short cut."""
    usual = raw(0x81, bytes(size))
    assert read([usual, usual]) == ([(TEXT, bytes(size))] * 2, 0)
    assert read([raw(0x01, b"x"), usual]) == ([], 1002), "within another one's fragments"
    assert read([usual[:3], usual[3:]]) == ([(TEXT, bytes(size))], 0)
    assert read([raw(0x02, b"x")[:3], usual])[0] != [(TEXT, bytes(size))], "within a frame: it is payload"
    assert read([usual], most=size - 1) == ([], 1009)
    assert read([raw(0x81, bytes(size), masked=False)]) == ([], 1002)


def test_a_server_must_not_mask() -> None:
    assert refused(raw(0x81, b"x"), masked=False) == 1002


@pytest.mark.parametrize(
    "begun",
    [
        raw(0xC1, bytes(100))[:2],
        raw(0x83, bytes(100))[:2],
        raw(0x80, bytes(100))[:2],
        raw(0x88, bytes(126))[:2],
        raw(0x81, b"", masked=False)[:2],
        raw(0x82, b"", size=1 << 40)[:10],
    ],
)
def test_nothing_is_waited_for_that_will_be_refused(begun: bytes) -> None:
    assert refused(begun) in (1002, 1009)


def test_a_message_has_its_limit_whole_or_in_fragments() -> None:
    assert refused(raw(0x82, bytes(MOST))) == 0
    assert refused(raw(0x82, bytes(MOST + 1))) == 1009
    assert refused(raw(0x02, bytes(600)), raw(0x80, bytes(400))) == 0
    assert refused(raw(0x02, bytes(600)), raw(0x80, bytes(401))[:8]) == 1009, "before it is all there"
    assert refused(raw(0x02, bytes(MOST)), raw(0x89, bytes(125)), raw(0x80, b"")) == 0, "a ping is none of it"
    assert refused(*[raw(0x02, bytes(600)), raw(0x80, bytes(400))] * 3) == 0, "each message anew"


def test_crumbs_are_a_flood() -> None:
    assert refused(raw(0x02, b""), *[raw(0x00, b"")] * 60, raw(0x80, b"")) == 0
    assert refused(raw(0x02, b""), *[raw(0x00, b"")] * 1000) == 1009


def test_what_came_before_the_error_is_not_lost() -> None:
    assert read([raw(0x81, b"a") + raw(0x81, b"b") + raw(0x83, b"")]) == ([(TEXT, b"a"), (TEXT, b"b")], 1002)


# -- closing


def test_close_frames() -> None:
    assert close_of(b"") == (1005, "")
    assert close_of(close_payload(1000, "bye")) == (1000, "bye")
    assert close_of(close_payload(4999, "é" * 100)) == (4999, "é" * 61)
    assert len(close_payload(1002, "x" * 500)) == 125
    assert close_payload(1005) == b""
    assert close_of(close_payload(1002, "half a pair: \ud800")) == (1002, "half a pair: ?")


@pytest.mark.parametrize("payload", [b"\x03", *((c).to_bytes(2) for c in (0, 999, 1004, 1005, 1006, 1015, 2999, 5000))])
def test_close_codes_that_none_may_send(payload: bytes) -> None:
    with pytest.raises(FrameError) as caught:
        close_of(payload)
    assert caught.value.close_code == 1002


def test_a_reason_that_is_no_text() -> None:
    with pytest.raises(FrameError) as caught:
        close_of(b"\x03\xe8\xff")
    assert caught.value.close_code == 1007


# -- a second opinion


@dataclass(frozen=True, slots=True)
class Piece:
    """One frame, right or wrong."""

    first: int
    payload: bytes
    masked: bool
    width: int


@st.composite
def pieces(draw: st.DrawFn) -> Piece:
    opcode = draw(st.sampled_from((TEXT, TEXT, BINARY, CONTINUATION, CONTINUATION, PING, PONG, *range(3, 8))))
    first = draw(st.sampled_from((0x80, 0x80, 0x80, 0x00, 0x00, 0xC0, 0x10))) | opcode
    size = draw(st.sampled_from((0, 1, 5, 124, 125, 126, 127, 300, MOST, MOST + 1)))
    payload = draw(st.binary(min_size=min(size, 8), max_size=min(size, 8))) + bytes(max(0, size - 8))
    width = draw(st.sampled_from((0, 0, 0, 2, 8))) if opcode < CLOSE else 0  # websockets lets a ping have a long length
    return Piece(first, payload, draw(st.sampled_from((True,) * 15 + (False,))), width)


def second_opinion(wire: bytes, *, masked: bool) -> tuple[list[Message], int]:
    """What `websockets` makes of it: whole messages and control frames, and its close code or 0."""
    other = Protocol(SERVER if masked else CLIENT, state=OPEN, max_size=MOST)
    other.receive_data(wire)
    found: list[Message] = []
    parts: list[bytes] = []
    opcode = 0
    for event in other.events_received():
        assert isinstance(event, Frame)
        if event.opcode in (Opcode.PING, Opcode.PONG, Opcode.CLOSE):
            found.append(Message(int(event.opcode), bytes(event.data)))
            continue
        opcode = opcode or int(event.opcode)
        parts.append(bytes(event.data))
        if event.fin:
            found.append(Message(opcode, b"".join(parts)))
            opcode, parts = 0, []
    return found, int(other.close_sent.code) if other.parser_exc is not None and other.close_sent else 0


def cut(wire: bytes, places: Sequence[int]) -> list[bytes]:
    at = sorted({place % (len(wire) + 1) for place in places})
    return [wire[a:b] for a, b in zip([0, *at], [*at, len(wire)], strict=True)]


@settings(max_examples=400, deadline=None)
@given(st.lists(pieces(), max_size=8), st.lists(st.integers(0, 5000), max_size=12), st.booleans())
def test_frames_right_and_wrong_are_read_as_by_websockets(some: list[Piece], places: list[int], masked: bool) -> None:
    wire = b"".join(raw(p.first, p.payload, masked=p.masked is masked, width=p.width) for p in some)
    expected, code = second_opinion(wire, masked=masked)
    found, ours = read(cut(wire, places), masked=masked)
    assert found == expected
    if code != ours:  # a control frame beyond the limit of messages is named so there, and for what it is here
        assert (code, ours) == (1009, 1002)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from((TEXT, BINARY)), st.binary(max_size=300)), max_size=8), st.randoms())
def test_whatever_websockets_writes_is_read(messages: list[tuple[int, bytes]], dice: random.Random) -> None:
    wire, expected = bytearray(), []
    for opcode, payload in messages:
        at = dice.randrange(len(payload) + 1)
        if fragments := dice.random() < 0.5:
            wire += Frame(Opcode(opcode), payload[:at], fin=False).serialize(mask=True)
        if dice.random() < 0.3:
            wire += Frame(Opcode.PING, b"p").serialize(mask=True)
            expected.append((PING, b"p"))
        kind, rest = (Opcode.CONT, payload[at:]) if fragments else (Opcode(opcode), payload)
        wire += Frame(kind, rest).serialize(mask=True)
        expected.append((opcode, payload))
    assert read(cut(bytes(wire), [dice.randrange(5000) for _ in range(6)])) == (expected, 0)


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces(), max_size=5), st.binary(max_size=40), st.booleans())
def test_byte_by_byte_equals_whole_whatever_comes(some: list[Piece], noise: bytes, first: bool) -> None:
    frames = b"".join(raw(p.first, p.payload, masked=p.masked, width=p.width) for p in some)
    wire = noise + frames if first else frames + noise
    assert read([wire[at : at + 1] for at in range(len(wire))]) == read([wire])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from((TEXT, BINARY, PING, PONG, CLOSE)), st.binary(max_size=125), st.booleans())
def test_websockets_reads_what_we_write(opcode: int, payload: bytes, ours_is_server: bool) -> None:
    if opcode == CLOSE:
        payload = close_payload(1000, payload.decode(errors="replace"))
    frame = server_frame(opcode, payload) if ours_is_server else client_frame(opcode, payload)
    assert second_opinion(frame, masked=not ours_is_server) == ([(opcode, payload)], 0)


def test_a_long_message_in_many_packets_is_copied_once() -> None:
    """Work that grows with the square of the size would be a cheap attack: the reader keeps the packets apart."""
    wire, reader = client_frame(BINARY, bytes(1 << 20)), FrameReader(masked=True, most_bytes=1 << 20)
    packets = [wire[at : at + 100] for at in range(0, len(wire), 100)]
    assert not any(reader.feed(packet) for packet in packets[:-1])
    assert max(len(part) for part in reader._rest) == 100
    assert reader.feed(packets[-1]) == [(BINARY, bytes(1 << 20))]
