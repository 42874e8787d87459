"""RTP with G.711 and telephone events: RFC 3550 5.1, RFC 3551, RFC 4733. Pure: a packet each 20 ms, in and out.

Inside there is mu-law alone; a far end that wants A-law has it translated by table, written from ITU-T G.711.
"""

import struct
from collections import deque
from dataclasses import dataclass

import numpy as np

from trunkline_sim import mulaw
from trunkline_sim.ears import FRAME
from trunkline_sim.sip_sdp import CODECS, Audio

QUIET = bytes((mulaw.SILENCE,)) * FRAME
KEY_NAMES = "0123456789*#ABCD"
_HEAD = struct.Struct(">BBHII")
_EVENT = struct.Struct(">BBH")
_KEY_FRAMES, _KEY_ENDS, _KEY_PAUSE = 5, 3, 5  # packets: 100 ms of key, its end three times, 100 ms of nothing
_VOLUME = 10  # -dBm0
_MOST_LOST = 10  # frames that a hole is filled up with


def _expand_alaw(code: int) -> int:
    code ^= 0x55
    segment, step = (code >> 4) & 0x07, (code & 0x0F) << 4
    magnitude = step + 8 if segment == 0 else (step + 0x108) << (segment - 1)
    return magnitude if code & 0x80 else -magnitude


_ALAW = np.array([_expand_alaw(code) for code in range(256)], dtype=np.int16)
ALAW_TO_MULAW = mulaw.encode(_ALAW)
MULAW_TO_ALAW = bytes(int(np.abs(_ALAW.astype(np.int32) - int(value)).argmin()) for value in mulaw.EXPAND)


class Talker:
    """What we send: `frame` for each 20 ms; keys take the place of the voice, as on a telephone."""

    def __init__(self, far: Audio, seed: int = 1) -> None:
        self._type = CODECS[far.codec]
        self._keys = far.keys
        self._ssrc, self._sequence, self._at = seed & 0xFFFFFFFF, seed & 0x7FFF, 0
        self._pressed: deque[str] = deque()
        self._step = 0
        self._mark = True  # the next packet begins speech
        self.sent = 0

    def press(self, keys: str) -> bool:
        """Queue keys; False when the far end takes no events."""
        if self._keys is not None:
            self._pressed.extend(keys)
        return self._keys is not None

    def frame(self, payload: bytes) -> list[bytes]:
        """The packets of the next 20 ms; payload: mu-law, b"" for nothing at all."""
        if self._pressed:
            return self._key()
        found = []
        if payload:
            found = [self._packet(self._type, payload.translate(MULAW_TO_ALAW) if self._type else payload, self._at)]
        self._mark = not payload
        self._at += FRAME
        return found

    def _key(self) -> list[bytes]:
        key, began = KEY_NAMES.index(self._pressed[0]), self._at - self._step * FRAME
        self._step += 1
        self._at += FRAME
        if self._step > _KEY_FRAMES + 1:  # its pause
            if self._step > _KEY_FRAMES + 1 + _KEY_PAUSE:
                self._pressed.popleft()
                self._step = 0
            self._mark = True
            return []
        over = self._step > _KEY_FRAMES
        length = min(self._step, _KEY_FRAMES) * FRAME
        self._mark = self._step == 1
        event = _EVENT.pack(key, 0x80 * over | _VOLUME, length)
        return [self._packet(self._keys or 0, event, began) for _ in range(_KEY_ENDS if over else 1)]

    def _packet(self, kind: int, payload: bytes, at: int) -> bytes:
        head = _HEAD.pack(0x80, 0x80 * self._mark | kind, self._sequence, at & 0xFFFFFFFF, self._ssrc)
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._mark = False
        self.sent += 1
        return head + payload


@dataclass(slots=True)
class Counts:
    """What came."""

    received: int = 0
    lost: int = 0  # holes in the sequence
    late: int = 0  # behind their successor, or twice
    odd: int = 0  # no RTP, or nothing that was agreed


class Listener:
    """What we receive: packets as they come → voice and keys. Holes are filled with silence, late packets left out."""

    def __init__(self, far: Audio) -> None:
        self.counts = Counts()
        self._types = {CODECS[name]: name for name in far.codecs}
        self._keys = far.keys
        self._next: int | None = None
        self._event = -1  # timestamp of the key that was told last

    def packet(self, data: bytes) -> tuple[bytes, str]:
        """Voice (mu-law, any length) and a key; b"" and "" for none."""
        if len(data) < 12 or data[0] >> 6 != 2:
            self.counts.odd += 1
            return b"", ""
        _, kind, sequence, at, _ = _HEAD.unpack_from(data)
        body, kind = data[12 + 4 * (data[0] & 0x0F) :], kind & 0x7F
        hole = self._counted(sequence)
        if hole is None:
            return b"", ""
        if kind == self._keys and len(body) >= 4:
            return b"", self._key(body[0], at)
        if kind not in self._types:
            self.counts.odd += 1
            return b"", ""
        return QUIET * min(hole, _MOST_LOST) + (body.translate(ALAW_TO_MULAW) if kind else body), ""

    def _counted(self, sequence: int) -> int | None:
        """Packets that are missing before this one; None for one that is late."""
        ahead = 0 if self._next is None else (sequence - self._next) & 0xFFFF
        if ahead >= 0x8000:
            self.counts.late += 1
            return None
        self._next = (sequence + 1) & 0xFFFF
        self.counts.received += 1
        self.counts.lost += ahead
        return ahead

    def _key(self, event: int, at: int) -> str:
        if at == self._event or event >= len(KEY_NAMES):
            return ""
        self._event = at
        return KEY_NAMES[event]


class Ear:
    """Evens out what comes: exactly 20 ms each time it is asked, silence where there is nothing."""

    def __init__(self, most_frames: int = 5) -> None:
        self._most = most_frames * FRAME
        self._held = bytearray()

    def put(self, payload: bytes) -> None:
        """Voice arrives; what lies too far back is left out."""
        self._held += payload
        if len(self._held) > 2 * self._most:
            del self._held[: -self._most]

    def take(self) -> bytes:
        """The next 20 ms."""
        if len(self._held) < FRAME:
            return QUIET
        frame = bytes(self._held[:FRAME])
        del self._held[:FRAME]
        if len(self._held) > self._most and mulaw.level_dbov(frame) < -55:
            return self.take()  # behind: pauses are shortened
        return frame
