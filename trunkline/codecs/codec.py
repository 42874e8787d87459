"""A codec is a value; encoder and decoder state are made per direction, per call."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Encoder(Protocol):
    """One direction's encoder state."""

    def encode(self, pcm: bytes) -> bytes:
        """pcm: s16le at the codec's rate, any number of whole samples → the wire's payload."""
        ...


class Decoder(Protocol):
    """One direction's decoder state."""

    def decode(self, payload: bytes) -> bytes:
        """Payload, any size → s16le at the codec's rate."""
        ...

    def conceal(self, samples: int) -> bytes:
        """s16le for `samples` lost samples, continued from what was decoded last and faded to silence."""
        ...


@dataclass(frozen=True, slots=True)
class Codec:
    """What a wire calls it, its rates, and how to make encoders and decoders."""

    name: str  # SDP encoding name
    rate: int  # Hz of the samples
    clock: int  # Hz of RTP timestamps (G.722: 8000 although the rate is 16000)
    payload_type: int | None  # RTP; None: dynamic
    bytes_per_second: int  # of payload
    silence: bytes  # payload of one sample of silence
    level: Callable[[bytes], float]  # of a payload, dBov; -127 for silence
    encoder: Callable[[], Encoder]
    decoder: Callable[[], Decoder]

    def seconds(self, payload: bytes) -> float:
        """Duration of a payload in seconds."""
        return len(payload) / self.bytes_per_second
