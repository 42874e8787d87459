"""`CODECS`: every codec there is, written out; and the lookup by the many names carriers give them."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from trunkline.codecs.codec import Codec
from trunkline.codecs.g711 import PCMA, PCMU
from trunkline.codecs.l16 import L16_8K, L16_16K, L16_24K, RTP_L16_8K, RTP_L16_16K, RTP_L16_24K

CODECS: Final[Mapping[str, Codec]] = MappingProxyType(
    {
        "pcmu": PCMU,
        "pcma": PCMA,
        "l16/8000": L16_8K,
        "l16/16000": L16_16K,
        "l16/24000": L16_24K,
        "rtp-l16/8000": RTP_L16_8K,
        "rtp-l16/16000": RTP_L16_16K,
        "rtp-l16/24000": RTP_L16_24K,
    }
)

# Names seen on the wire (Smartflo, Twilio, Exotel, Plivo, Telnyx, Vonage, Genesys, Asterisk), lower case,
# without "audio/" and "x-".
_MULAW = {"pcmu", "mulaw", "ulaw", "mu-law", "u-law", "g711_ulaw", "g711u", "g.711u", "g711"}
_ALAW = {"pcma", "alaw", "a-law", "g711_alaw", "g711a", "g.711a"}
_LINEAR = {"l16", "slin", "raw", "linear16", "linear", "lpcm", "pcm", "pcm16", "pcm_s16le", "s16le", "slin8"}
_LINEAR_RATES = {"slin16": 16000, "slin24": 24000}


def codec_for(encoding: str, rate: int | None = None, *, rtp: bool = False) -> Codec | None:
    """The codec a carrier means by `encoding` ("audio/x-mulaw", "PCMU", "audio/l16;rate=16000", …), None if unknown.

    rate: Hz, wins over a rate in the name; 8000 where nobody says. rtp: linear samples are big-endian.
    A G.711 name with a rate other than 8000 is unknown, not guessed.
    """
    name, named_rate = _split(encoding)
    rate = rate or named_rate or _LINEAR_RATES.get(name, 8000)
    if name in _MULAW:
        return PCMU if rate == PCMU.rate else None
    if name in _ALAW:
        return PCMA if rate == PCMA.rate else None
    if name in _LINEAR or name in _LINEAR_RATES:
        return CODECS.get(f"{'rtp-' if rtp else ''}l16/{rate}")
    return None


def _split(encoding: str) -> tuple[str, int | None]:
    """ "audio/x-L16;rate=16000" or "L16/16000/1" → ("l16", 16000)."""
    name, _, parameters = encoding.strip().lower().partition(";")
    name = name.strip().removeprefix("audio/").removeprefix("x-")
    name, _, rate = name.partition("/")
    for parameter in parameters.split(";"):
        key, _, value = parameter.partition("=")
        if key.strip() == "rate":
            rate = value.strip()
    digits = rate.partition("/")[0]
    return name, int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 6 else None
