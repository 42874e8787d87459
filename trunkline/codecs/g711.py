"""G.711 (RFC 3551 section 4.5.14): PCMU and PCMA as `Codec` values, and the way from one to the other.

Bit exact with ITU-T G.711 on 14-bit (mu-law) and 13-bit (A-law) samples; s16 is shifted down to those, as in every
telephone switch in software. Lost samples are concealed (`conceal.py`).
"""

from collections.abc import Callable

from trunkline.codecs import fast, pcm_tables
from trunkline.codecs.codec import Codec
from trunkline.codecs.conceal import Concealer
from trunkline.codecs.level import rms_dbov

RATE = 8000  # Hz
MULAW_SILENCE = b"\xff"
ALAW_SILENCE = b"\xd5"


class _Encoder:
    __slots__ = ("encode",)

    def __init__(self, encode: Callable[[bytes], bytes]) -> None:
        self.encode = encode


class _Decoder:
    __slots__ = ("_concealer", "_expand")

    def __init__(self, expand: Callable[[bytes], bytes]) -> None:
        self._expand = expand
        self._concealer = Concealer(RATE)

    def decode(self, payload: bytes) -> bytes:
        return self._concealer.heard(self._expand(payload))

    def conceal(self, samples: int) -> bytes:
        return self._concealer.lost(samples)


def _codec(
    name: str, payload_type: int, silence: bytes, encode: Callable[[bytes], bytes], decode: Callable[[bytes], bytes]
) -> Codec:
    return Codec(
        name=name,
        rate=RATE,
        clock=RATE,
        payload_type=payload_type,
        bytes_per_second=RATE,
        silence=silence,
        level=lambda payload: rms_dbov(decode(payload)),
        encoder=lambda: _Encoder(encode),
        decoder=lambda: _Decoder(decode),
    )


PCMU = _codec("PCMU", 0, MULAW_SILENCE, fast.mulaw_encode, fast.mulaw_decode)
PCMA = _codec("PCMA", 8, ALAW_SILENCE, fast.alaw_encode, fast.alaw_decode)

_MULAW_TO_ALAW = fast.alaw_encode(pcm_tables.mulaw_samples().tobytes())
_ALAW_TO_MULAW = fast.mulaw_encode(pcm_tables.alaw_samples().tobytes())


def mulaw_to_alaw(payload: bytes) -> bytes:
    """Mu-law bytes → A-law bytes, code by code by way of the linear sample."""
    return payload.translate(_MULAW_TO_ALAW)


def alaw_to_mulaw(payload: bytes) -> bytes:
    """A-law bytes → mu-law bytes, code by code by way of the linear sample."""
    return payload.translate(_ALAW_TO_MULAW)
