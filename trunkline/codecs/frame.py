"""The one audio value inside Trunkline: mono s16le samples at a known rate and place in their stream."""

from typing import Final

SAMPLE_BYTES: Final = 2


class AudioFrame:
    """A run of samples, never changed. `start` is the index of the first one in its stream; a jump is a loss, never
    hidden.

    A class by hand, because a hundred and fifty of them are made per second of a call: compiled (ADR 0007), making one
    and reading it take no call of Python's.
    """

    __slots__ = ("pcm", "rate", "start")

    def __init__(self, pcm: bytes, rate: int, start: int = 0) -> None:
        """pcm: s16le, shape (samples,); rate: Hz; start: samples."""
        self.pcm: Final = pcm
        self.rate: Final = rate
        self.start: Final = start

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.pcm) // SAMPLE_BYTES

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.pcm) / (SAMPLE_BYTES * self.rate)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AudioFrame):
            return NotImplemented
        return self.pcm == other.pcm and self.rate == other.rate and self.start == other.start

    def __hash__(self) -> int:
        return hash((self.pcm, self.rate, self.start))

    def __repr__(self) -> str:
        return f"AudioFrame({self.samples} samples, {self.rate} Hz, from {self.start})"
