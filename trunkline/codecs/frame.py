"""The one audio value inside Trunkline: mono s16le samples at a known rate and place in their stream."""

import msgspec

SAMPLE_BYTES = 2


class AudioFrame(msgspec.Struct, frozen=True, gc=False):
    """A run of samples. `start` is the index of the first one in its stream; a jump is a loss, never hidden.

    A struct, because a hundred of them are made per second of a call: a fifth of a frozen dataclass' cost, and nothing
    that the garbage collector has to look at.
    """

    pcm: bytes  # s16le, shape (samples,)
    rate: int  # Hz
    start: int = 0  # samples

    @property
    def samples(self) -> int:
        """Number of samples."""
        return len(self.pcm) // SAMPLE_BYTES

    @property
    def seconds(self) -> float:
        """Duration in seconds."""
        return len(self.pcm) / (SAMPLE_BYTES * self.rate)
