"""Chunks of any size → frames of exactly one size, or windows that overlap."""

from trunkline.errors import UsageError


class Reframer:
    """One direction's remainder. Holds less than one frame.

    frame_bytes: size of every frame given. pad: what `flush` fills the last one with, repeated (`Codec.silence`).
    """

    __slots__ = ("_held", "_pad", "frame_bytes")

    def __init__(self, frame_bytes: int, pad: bytes) -> None:
        if frame_bytes < 1:
            raise UsageError(f"frame_bytes: {frame_bytes} is not allowed; at least 1")
        if not pad or frame_bytes % len(pad):
            raise UsageError(f"pad: {len(pad)} bytes do not fill frames of {frame_bytes}")
        self.frame_bytes = frame_bytes
        self._pad = pad
        self._held = b""

    @property
    def held(self) -> int:
        """Bytes that wait for the rest of their frame."""
        return len(self._held)

    def push(self, data: bytes) -> list[bytes]:
        """The frames that are complete with `data`, in order; often none or several."""
        size = self.frame_bytes
        if not self._held and len(data) == size:
            return [data]
        data = self._held + data
        whole = len(data) - len(data) % size
        self._held = data[whole:]
        return [data[at : at + size] for at in range(0, whole, size)]

    def flush(self) -> bytes:
        """What is held, padded to one frame; empty if nothing is held."""
        if not self._held:
            return b""
        last, missing = self._held, self.frame_bytes - len(self._held)
        self._held = b""
        # the pad is laid from the frame's start, so that two-byte silence never starts in its middle
        return last + (self._pad * (self.frame_bytes // len(self._pad)))[self.frame_bytes - missing :]

    def clear(self) -> int:
        """Forget what is held; how many bytes that were."""
        dropped = len(self._held)
        self._held = b""
        return dropped


class Windows:
    """One direction's overlapping windows of `window_bytes`, one every `hop_bytes`, for detectors."""

    __slots__ = ("_held", "hop_bytes", "window_bytes")

    def __init__(self, window_bytes: int, hop_bytes: int) -> None:
        if not 0 < hop_bytes <= window_bytes:
            raise UsageError(f"hop_bytes: {hop_bytes} is not allowed; 1 to the window's {window_bytes}")
        self.window_bytes = window_bytes
        self.hop_bytes = hop_bytes
        self._held = b""

    def push(self, data: bytes) -> list[bytes]:
        """The windows that are complete with `data`, in order."""
        data = self._held + data
        starts = range(0, len(data) - self.window_bytes + 1, self.hop_bytes)
        self._held = data[len(starts) * self.hop_bytes :]
        return [data[at : at + self.window_bytes] for at in starts]
