"""Audio between the gateway and one worker: a piece of shared memory with two rings per call.

    phone ─► pjsua2 ─► rx ring ─► worker            worker ─► tx ring ─► pjsua2 ─► phone

Each ring has one producer and one consumer and free-running counters of 32 bits, so that neither side ever waits for
the other: no socket, no lock, no wake-up per frame. The worker makes the memory (a memfd, handed over with SCM_RIGHTS:
it goes with its last descriptor, whoever dies first) and looks at all its slots every 10 ms. A frame is 20 ms of s16le.

A full rx ring means a worker that stands still: the new frame is dropped and counted, so that what is heard later is a
gap and not a delay that stays for ever. An empty tx ring is silence.
"""

import fcntl
import mmap
import os
import struct
from dataclasses import dataclass
from typing import Final

from trunkline.errors import ProtocolError

FRAME_MS: Final = 20
FRAMES: Final = 16  # in each ring: 320 ms
_MAGIC: Final = 0x544C5031  # "TLP1"
_HEAD: Final = 64  # bytes of the file's head, and of each slot's
_head = struct.Struct("=IIII")
RATES: Final = (8000, 16_000)

# Places of a slot's counters. Written by: g the gateway, w the worker.
_RX_PUT, _RX_TAKEN, _TX_PUT, _TX_TAKEN, _TX_FLUSHED, _RX_DROPPED, _TX_MISSED = range(7)  # g w w g w g g


@dataclass(frozen=True, slots=True)
class Layout:
    """What both sides must agree on."""

    slots: int  # calls at most
    rate: int  # Hz: 8000 or 16000

    @property
    def frame_bytes(self) -> int:
        """Of one frame."""
        return self.rate * FRAME_MS // 1000 * 2

    @property
    def slot_bytes(self) -> int:
        """Of one call: counters and two rings."""
        return _HEAD + 2 * FRAMES * self.frame_bytes

    @property
    def size(self) -> int:
        """Of the whole."""
        return _HEAD + self.slots * self.slot_bytes


class RingMemory:
    """The mapped memory of one worker, seen from either side. Close it when no slot is in use any more."""

    def __init__(self, fd: int, layout: Layout) -> None:
        self.layout = layout
        self.fd = fd
        self._map = mmap.mmap(fd, layout.size)
        self._view = memoryview(self._map)

    @classmethod
    def make(cls, slots: int, rate: int) -> "RingMemory":
        """New memory, by the worker. Raises OSError when none can be had."""
        layout = Layout(slots, rate)
        fd = os.memfd_create("trunkline-rings", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, layout.size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)  # no SIGBUS for the other
            os.pwrite(fd, _head.pack(_MAGIC, slots, rate, FRAMES), 0)
            return cls(fd, layout)
        except BaseException:
            os.close(fd)
            raise

    @classmethod
    def attach(cls, fd: int) -> "RingMemory":
        """The memory behind a descriptor that a worker sent; owns it from now on, also when it raises.

        Raises ProtocolError for anything that is no ring memory of this release: a mapped file that is shorter than
        it says would end the process with SIGBUS.
        """
        try:
            layout = _layout_of(fd)
            return cls(fd, layout)
        except (OSError, struct.error, ValueError) as error:
            os.close(fd)
            raise ProtocolError(f"not a memory of rings: {error}", peer="worker") from error

    def slot(self, number: int) -> "Slot":
        """The rings of one call, as they are. Raises IndexError beyond `layout.slots`."""
        if not 0 <= number < self.layout.slots:
            raise IndexError(f"slot {number} of {self.layout.slots}")
        begins = _HEAD + number * self.layout.slot_bytes
        return Slot(self._view[begins : begins + self.layout.slot_bytes], self.layout.frame_bytes)

    def close(self) -> None:
        """Give it back. Slots must not be used afterwards; one that is still held keeps the memory until it goes."""
        os.close(self.fd)
        self._view.release()
        try:
            self._map.close()
        except BufferError:  # a slot still looks at it
            return


def _layout_of(fd: int) -> Layout:
    magic, slots, rate, frames = _head.unpack(os.pread(fd, _head.size, 0))
    layout = Layout(slots, rate)
    if magic != _MAGIC or frames != FRAMES or rate not in RATES or not 0 < slots <= 4096:
        raise ValueError("another release made it, or nobody")
    if os.fstat(fd).st_size < layout.size:
        raise ValueError(f"{layout.size} bytes are promised, {os.fstat(fd).st_size} are there")
    return layout


class Slot:
    """Two rings. `rx…` is from the phone, `tx…` to the phone; the gateway and the worker each use their half."""

    __slots__ = ("_count", "_frame", "_rx", "_tx", "_view")

    def __init__(self, view: memoryview, frame_bytes: int) -> None:
        self._view = view
        self._frame = frame_bytes
        self._count = view[:_HEAD].cast("I")
        half = FRAMES * frame_bytes
        self._rx = view[_HEAD : _HEAD + half]
        self._tx = view[_HEAD + half : _HEAD + 2 * half]

    def clear(self) -> None:
        """Before a call uses the slot, by the worker, before the gateway is told of it."""
        for place in range(_HEAD // 4):
            self._count[place] = 0

    def release(self) -> None:
        """Not used any more."""
        for view in (self._count, self._rx, self._tx, self._view):
            view.release()

    # -- the gateway's half

    def rx_room(self) -> memoryview | None:
        """Where the next frame from the phone goes, to be followed by `rx_done`; None (counted) when it is full."""
        count = self._count
        put = count[_RX_PUT]
        if (put - count[_RX_TAKEN]) & 0xFFFFFFFF >= FRAMES:
            count[_RX_DROPPED] = (count[_RX_DROPPED] + 1) & 0xFFFFFFFF
            return None
        return self._at(self._rx, put)

    def rx_done(self) -> None:
        """The frame is there."""
        self._count[_RX_PUT] = (self._count[_RX_PUT] + 1) & 0xFFFFFFFF

    def tx_next(self) -> memoryview | None:
        """The next frame for the phone, to be followed by `tx_done`, or None. What was flushed is skipped."""
        count = self._count
        taken, flushed = count[_TX_TAKEN], count[_TX_FLUSHED]
        if 0 < (flushed - taken) & 0xFFFFFFFF <= FRAMES:
            taken = count[_TX_TAKEN] = flushed
        if taken == count[_TX_PUT]:
            return None
        return self._at(self._tx, taken)

    def tx_done(self) -> None:
        """It is on its way."""
        self._count[_TX_TAKEN] = (self._count[_TX_TAKEN] + 1) & 0xFFFFFFFF

    def tx_missed(self) -> None:
        """Nothing was there although the agent was in the middle of something: heard as a hole."""
        self._count[_TX_MISSED] = (self._count[_TX_MISSED] + 1) & 0xFFFFFFFF

    # -- the worker's half

    def take(self) -> bytes | None:
        """The next frame from the phone, None when there is none."""
        count = self._count
        taken = count[_RX_TAKEN]
        if taken == count[_RX_PUT]:
            return None
        pcm = bytes(self._at(self._rx, taken))
        count[_RX_TAKEN] = (taken + 1) & 0xFFFFFFFF
        return pcm

    def put(self, frame: bytes) -> bool:
        """One frame for the phone, `frame_bytes` long; False when the ring is full and it was not taken."""
        count = self._count
        put = count[_TX_PUT]
        if self.waiting >= FRAMES:
            return False
        self._at(self._tx, put)[:] = frame
        count[_TX_PUT] = (put + 1) & 0xFFFFFFFF
        return True

    def flush(self) -> int:
        """Nothing that waits for the phone will be played: how many frames that were."""
        lost = self.waiting
        self._count[_TX_FLUSHED] = self._count[_TX_PUT]
        return lost

    @property
    def waiting(self) -> int:
        """Frames that wait for the phone."""
        count = self._count
        taken, flushed, put = count[_TX_TAKEN], count[_TX_FLUSHED], count[_TX_PUT]
        if 0 < (flushed - taken) & 0xFFFFFFFF <= FRAMES:
            taken = flushed
        return int((put - taken) & 0xFFFFFFFF)

    @property
    def sent(self) -> int:
        """Frames given to the phone so far, flushed ones among them (32 bits, free-running)."""
        return int(self._count[_TX_TAKEN])

    @property
    def dropped(self) -> int:
        """Frames from the phone that found the ring full."""
        return int(self._count[_RX_DROPPED])

    @property
    def missed(self) -> int:
        """Holes in what the phone heard."""
        return int(self._count[_TX_MISSED])

    def _at(self, ring: memoryview, count: int) -> memoryview:
        begins = count % FRAMES * self._frame
        return ring[begins : begins + self._frame]
