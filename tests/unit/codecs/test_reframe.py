"""Frames of exactly n bytes, and nothing lost on the way."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.codecs.reframe import Reframer, Windows
from trunkline.errors import UsageError


@given(st.lists(st.binary(max_size=500), max_size=20), st.integers(1, 400))
def test_frames_are_the_stream_in_order(chunks: list[bytes], size: int) -> None:
    reframer = Reframer(size, b"\xff")
    frames = [frame for chunk in chunks for frame in reframer.push(chunk)]
    stream = b"".join(chunks)
    assert reframer.held == len(stream) % size
    last = reframer.flush()
    assert all(len(frame) == size for frame in frames)
    assert len(last) in (0, size)
    assert (b"".join(frames) + last).startswith(stream)
    assert set((b"".join(frames) + last)[len(stream) :]) <= {0xFF}
    assert (reframer.held, reframer.flush()) == (0, b"")


def test_the_pad_keeps_its_place_within_the_frame() -> None:
    reframer = Reframer(6, b"\x01\x02")
    reframer.push(b"abc")
    assert reframer.flush() == b"abc\x02\x01\x02"


def test_clear_forgets_and_says_how_much() -> None:
    reframer = Reframer(160, b"\xff")
    reframer.push(bytes(170))
    assert (reframer.clear(), reframer.flush()) == (10, b"")


@pytest.mark.parametrize(("size", "pad", "field"), [(0, b"\0", "frame_bytes"), (160, b"", "pad"), (3, b"\0\0", "pad")])
def test_impossible_frames_are_refused(size: int, pad: bytes, field: str) -> None:
    with pytest.raises(UsageError, match=field):
        Reframer(size, pad)


@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=6), st.integers(1, 90), st.integers(1, 90))
def test_windows_do_not_depend_on_the_chunks(data: bytes, cuts: list[int], one: int, other: int) -> None:
    window, hop = max(one, other), min(one, other)
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    windows = Windows(window, hop)
    cut = [piece for a, b in pairwise(edges) for piece in windows.push(data[a:b])]
    assert cut == [data[at : at + window] for at in range(0, len(data) - window + 1, hop)]


def test_impossible_windows_are_refused() -> None:
    with pytest.raises(UsageError, match="hop_bytes"):
        Windows(10, 11)
