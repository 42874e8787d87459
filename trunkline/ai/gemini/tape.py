"""The caller's last seconds, so that no word is lost between two connections."""

from collections import deque

BYTES_PER_S = 32_000  # s16le, 16 kHz
_MARGIN_S = 0.3  # before an onset: the soft beginning of a word
_KEPT_QUIET_S = 0.6  # of a caller who says nothing


class Tape:
    """What the caller said and how much of it went out. Positions are bytes of the stream, even.

    `most_s`: seconds kept; older sound is dropped first, and counted in `dropped_s` when it had not been sent.
    """

    __slots__ = ("_kept", "_most", "_pieces", "dropped_s", "end", "sent")

    def __init__(self, most_s: float) -> None:
        self._pieces: deque[bytes] = deque()
        self._kept = 0
        self._most = int(most_s * BYTES_PER_S)
        self.end = 0
        self.sent = 0
        self.dropped_s = 0.0

    @property
    def waiting_s(self) -> float:
        """Seconds that have not been sent."""
        return (self.end - self.sent) / BYTES_PER_S

    def push(self, pcm: bytes) -> None:
        """Some more of the caller. s16le, 16 kHz."""
        self._pieces.append(pcm)
        self._kept += len(pcm)
        self.end += len(pcm)
        while self._kept > self._most:
            self._forget()

    def rewind(self, position_s: float) -> None:
        """What was sent from shortly before `position_s` on is to be sent again, as far as it is still here."""
        wanted = max(0, int((position_s - _MARGIN_S) * BYTES_PER_S)) & ~1
        self.sent = max(self.end - self._kept, min(self.sent, wanted))

    def settle(self, position_s: float) -> None:
        """What lies before is understood: it will not be asked for again."""
        wanted = min(int((position_s - _KEPT_QUIET_S) * BYTES_PER_S), self.sent)
        while self._pieces and self.end - self._kept + len(self._pieces[0]) <= wanted:
            self._forget()

    def take(self, seconds: float) -> bytes:
        """Up to so much of what is to be sent next; it counts as sent."""
        at, wanted, found = self.end - self._kept, int(seconds * BYTES_PER_S), bytearray()
        for piece in self._pieces:
            if at + len(piece) > self.sent:
                found += piece[max(0, self.sent - at) :]
            at += len(piece)
            if len(found) >= wanted:
                break
        out = bytes(found[:wanted])
        self.sent += len(out)
        return out

    def _forget(self) -> None:
        piece = self._pieces.popleft()
        self._kept -= len(piece)
        begin = self.end - self._kept
        if begin > self.sent:
            self.dropped_s += (begin - self.sent) / BYTES_PER_S
            self.sent = begin
