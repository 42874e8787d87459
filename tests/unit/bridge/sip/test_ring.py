"""The rings: order, bounds, flush, a counter's end, and memory that is not one."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.bridge.sip.ring import FRAMES, RingMemory, Slot
from trunkline.errors import ProtocolError

FRAME = 320


@pytest.fixture
def memory() -> RingMemory:
    return RingMemory.make(slots=3, rate=8000)


def _heard(slot: Slot, mark: int) -> bool:
    room = slot.rx_room()
    if room is None:
        return False
    room[:] = bytes([mark]) * FRAME
    slot.rx_done()
    return True


def _played(slot: Slot) -> int | None:
    there = slot.tx_next()
    if there is None:
        return None
    mark = there[0]
    assert bytes(there) == bytes([mark]) * FRAME
    slot.tx_done()
    return mark


def test_frames_come_in_order_on_both_sides_of_the_memory(memory: RingMemory) -> None:
    other = RingMemory.attach(os.dup(memory.fd))
    worker, gateway = memory.slot(1), other.slot(1)
    for mark in range(5):
        assert worker.put(bytes([mark]) * FRAME)
        assert _heard(gateway, mark + 100)
    assert [_played(gateway) for _ in range(6)] == [0, 1, 2, 3, 4, None]
    assert [(pcm or b"x")[0] for pcm in (worker.take() for _ in range(6))] == [100, 101, 102, 103, 104, ord("x")]
    assert memory.slot(0).take() is None
    assert memory.slot(2).waiting == 0


def test_a_full_ring_refuses_the_new_and_counts_it(memory: RingMemory) -> None:
    slot = memory.slot(0)
    assert [_heard(slot, n) for n in range(FRAMES + 2)] == [True] * FRAMES + [False] * 2
    assert slot.dropped == 2
    assert [slot.put(bytes([n]) * FRAME) for n in range(FRAMES + 1)] == [True] * FRAMES + [False]
    assert (slot.take() or b"?")[0] == 0
    assert _heard(slot, 7)


def test_what_was_flushed_is_never_played_and_what_follows_is(memory: RingMemory) -> None:
    slot = memory.slot(0)
    for mark in range(4):
        slot.put(bytes([mark]) * FRAME)
    assert _played(slot) == 0
    assert slot.flush() == 3
    assert slot.waiting == 0
    slot.put(bytes([9]) * FRAME)
    assert slot.waiting == 1
    assert [_played(slot), _played(slot)] == [9, None]
    assert slot.flush() == 0


def test_a_flush_between_looking_and_taking_harms_nothing(memory: RingMemory) -> None:
    slot = memory.slot(0)
    for mark in (1, 2, 3):
        slot.put(bytes([mark]) * FRAME)
    assert slot.tx_next() is not None
    assert slot.flush() == 3
    slot.tx_done()
    slot.put(bytes([4]) * FRAME)
    assert [_played(slot), _played(slot)] == [4, None]


_STEPS = st.lists(st.sampled_from(["put", "play", "flush", "hear", "take"]), max_size=200)


@given(steps=_STEPS, begins=st.sampled_from([0, 0xFFFFFFF0, 0xFFFFFFFF, 0x7FFFFFFF]))
def test_as_a_queue_would_do(steps: list[str], begins: int) -> None:
    memory = RingMemory.make(1, 8000)
    slot = memory.slot(0)
    for place in range(5):
        slot._count[place] = begins
    out: list[int] = []
    heard: list[int] = []
    for number, step in enumerate(steps):
        mark = number % 256
        match step:
            case "put":
                if slot.put(bytes([mark]) * FRAME):
                    out.append(mark)
                else:
                    assert len(out) == FRAMES
            case "play":
                assert _played(slot) == (out.pop(0) if out else None)
            case "flush":
                assert slot.flush() == len(out)
                out.clear()
            case "hear":
                assert _heard(slot, mark) == (len(heard) < FRAMES)
                heard += [mark] if len(heard) < FRAMES else []
            case "take":
                pcm = slot.take()
                assert (pcm[0] if pcm else None) == (heard.pop(0) if heard else None)
        assert slot.waiting == len(out)
    slot.release()
    memory.close()


def test_memory_that_is_none_of_ours_is_refused() -> None:
    for content in (b"", b"\0" * 64, b"x" * 100_000):
        fd = os.memfd_create("odd")
        os.write(fd, content)
        with pytest.raises(ProtocolError):
            RingMemory.attach(fd)
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(fd)


def test_memory_cannot_be_made_smaller_under_the_other(memory: RingMemory) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(memory.fd, 64)


def test_closing_frees_the_descriptor_even_while_a_slot_is_held(memory: RingMemory) -> None:
    slot = memory.slot(0)
    fd = memory.fd
    memory.close()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)
    assert slot.take() is None
