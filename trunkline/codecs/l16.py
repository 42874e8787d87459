"""Linear 16-bit audio: little-endian on websockets whatever they call it, big-endian in RTP (RFC 3551 section 4.5.11).

A payload may end in the middle of a sample (a carrier's chunks need not be even); the odd byte waits for the next one.
"""

from trunkline.codecs import fast
from trunkline.codecs.codec import Codec
from trunkline.codecs.conceal import Concealer
from trunkline.codecs.frame import SAMPLE_BYTES
from trunkline.codecs.level import rms_dbov

RATES = (8000, 16000, 24000)  # Hz


class _Encoder:
    __slots__ = ("_swap",)

    def __init__(self, swap: bool) -> None:
        self._swap = swap

    def encode(self, pcm: bytes) -> bytes:
        if self._swap:
            return fast.byteswap(pcm)
        if len(pcm) % SAMPLE_BYTES:
            raise fast.odd_bytes(pcm)
        return pcm


class _Decoder:
    __slots__ = ("_concealer", "_odd", "_swap")

    def __init__(self, rate: int, swap: bool) -> None:
        self._swap = swap
        self._odd = b""
        self._concealer = Concealer(rate)

    def decode(self, payload: bytes) -> bytes:
        whole = self._whole(payload)
        return self._concealer.heard(fast.byteswap(whole) if self._swap else whole)

    def conceal(self, samples: int) -> bytes:
        self._odd = b""  # its other half was in what is lost
        return self._concealer.lost(samples)

    def _whole(self, payload: bytes) -> bytes:
        if self._odd:
            payload = self._odd + payload
        odd = len(payload) % SAMPLE_BYTES
        self._odd = payload[len(payload) - odd :]
        return payload[:-1] if odd else payload


def _codec(rate: int, *, swap: bool) -> Codec:
    return Codec(
        name="L16",
        rate=rate,
        clock=rate,
        payload_type=None,
        bytes_per_second=SAMPLE_BYTES * rate,
        silence=b"\0\0",
        level=lambda payload: rms_dbov(fast.byteswap(payload) if swap else payload),
        encoder=lambda: _Encoder(swap),
        decoder=lambda: _Decoder(rate, swap),
    )


L16_8K, L16_16K, L16_24K = (_codec(rate, swap=False) for rate in RATES)
RTP_L16_8K, RTP_L16_16K, RTP_L16_24K = (_codec(rate, swap=True) for rate in RATES)
