"""A call's audio between pjsua2's bridge and its ring slot. Runs on pjmedia's clock thread; ten lines, no waiting.

Frames are copied between the `ByteVector` and the mapped memory: `assign_from_bytes` and `copy_to_bytearray` take any
buffer, the usual ways through lists cost fifty times more (reference/pjsua2.md 4.1).
"""

import ctypes
import threading
from typing import Any, Final

import pjsua2 as pj

from trunkline.bridge.sip.ring import FRAME_MS, Slot

_NONE: Final = pj.PJMEDIA_FRAME_TYPE_NONE
_AUDIO: Final = pj.PJMEDIA_FRAME_TYPE_AUDIO
_pinned: set[int] = set()
_ensure = ctypes.pythonapi.PyGILState_Ensure


def pin() -> None:
    """Keep this thread's Python state: pjmedia's threads would build and free one per callback, half of the cost."""
    thread = threading.get_ident()
    if thread not in _pinned:
        _pinned.add(thread)
        _ensure()


class RingPort(pj.AudioMediaPort):  # type: ignore[misc]
    """One call's port. `failures` counts what went wrong in a callback; nothing is ever raised there."""

    def __init__(self, name: str, rate: int, slot: Slot | None) -> None:
        super().__init__()
        self.slot = slot
        self.failures = 0
        self.heard = 0  # frames from the phone
        self._bytes = rate * FRAME_MS // 1000 * 2
        form = pj.MediaFormatAudio()
        form.init(pj.PJMEDIA_FORMAT_PCM, rate, 1, FRAME_MS * 1000, 16)
        self.createPort(name, form)

    def onFrameRequested(self, frame: Any) -> None:  # noqa: N802
        """The bridge wants 20 ms for the phone."""
        try:
            pin()
            slot = self.slot
            audio = slot.tx_next() if slot is not None else None
            if audio is None:
                frame.type, frame.size = _NONE, 0
                return
            frame.buf.assign_from_bytes(audio)
            frame.type, frame.size = _AUDIO, self._bytes
            slot.tx_done()  # type: ignore[union-attr]
        except BaseException:
            self.failures += 1

    def onFrameReceived(self, frame: Any) -> None:  # noqa: N802
        """20 ms from the phone; empty ones come while there is nothing to hear."""
        try:
            pin()
            slot = self.slot
            if slot is None or frame.size != self._bytes:
                return
            self.heard += 1
            room = slot.rx_room()
            if room is not None:
                frame.buf.copy_to_bytearray(room)
                slot.rx_done()
        except BaseException:
            self.failures += 1

    def destroy(self) -> None:
        """Out of the bridge, at once: no callback comes after it. Never left to a reference that goes."""
        pj.AudioMediaPort.__swig_destroy__(self)
        self.slot = None
