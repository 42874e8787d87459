"""The one audio value inside Trunkline: mono s16le samples at a known rate and place in their stream."""

from dataclasses import dataclass

SAMPLE_BYTES = 2


@dataclass(frozen=True, slots=True)
class AudioFrame:
    """A run of samples. `start` is the index of the first one in its stream; a jump is a loss, never hidden."""

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
