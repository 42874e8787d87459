"""Which codecs are offered, in which order. Pure: pjsua's names, and the text of an SDP. RFC 4566, RFC 3551."""

from collections.abc import Sequence
from typing import Final

from trunkline.bridge.sip.sip_text import STATIC

_EVENTS: Final = "TELEPHONE-EVENT"
_RATES: Final = {"L16": (8000, 16_000)}  # 44100 is nobody's telephone


def codec_rank(codec: str, wanted: Sequence[str]) -> int | None:
    """Where pjsua's "PCMU/8000/1" stands among the wanted names; None: it is not one of them."""
    name, _, rest = codec.partition("/")
    rate, _, channels = rest.partition("/")
    if channels not in ("", "1") and name.lower() != "opus":
        return None
    if int(rate) not in _RATES.get(name.upper(), (int(rate),)):
        return None
    return next((at for at, known in enumerate(wanted) if known.upper() == name.upper()), None)


def ordered(sdp: str, wanted: Sequence[str]) -> str:
    """The same offer with the wanted codecs alone, in their order; as it was where none of them is in it.

    Only the first audio stream is touched; telephone-event stays, at the end.
    """
    lines = sdp.splitlines()
    begins = next((at for at, line in enumerate(lines) if line.startswith("m=audio ")), None)
    if begins is None:
        return sdp
    ends = next((at for at in range(begins + 1, len(lines)) if lines[at].startswith("m=")), len(lines))
    media, stream = lines[begins].split(" "), lines[begins + 1 : ends]
    kept = _kept(media[3:], _names(stream), wanted)
    if kept is None:
        return sdp
    first = " ".join([*media[:3], *kept])
    stream = [line for line in stream if _type_of(line) in (None, *kept)]
    return "\r\n".join([*lines[:begins], first, *stream, *lines[ends:], ""])


def _names(stream: Sequence[str]) -> dict[str, str]:
    names = dict(STATIC)
    for line in stream:
        if line.startswith("a=rtpmap:"):
            number, _, name = line[9:].partition(" ")
            names[number] = name
    return {number: name.strip().upper() for number, name in names.items()}


def _kept(types: Sequence[str], names: dict[str, str], wanted: Sequence[str]) -> list[str] | None:
    by_name = {number: names.get(number, "").partition("/")[0] for number in types}
    chosen = [number for name in wanted for number in types if by_name[number] == name.upper()]
    if not chosen:
        return None
    return chosen + [number for number in types if by_name[number] == _EVENTS]


def _type_of(line: str) -> str | None:
    """The payload type that an attribute is about."""
    for attribute in ("a=rtpmap:", "a=fmtp:", "a=rtcp-fb:"):
        if line.startswith(attribute):
            return line[len(attribute) :].partition(" ")[0]
    return None
