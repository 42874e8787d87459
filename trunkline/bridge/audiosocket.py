"""Asterisk AudioSocket: its framing and the dialect of its messages. Pure.

Wire: TCP, Asterisk calls us; each message is one byte of kind, two of length (big-endian), the payload. First the
call's UUID, then linear audio in pieces of 20 ms both ways; keys towards us; hang-up both ways. No clear, no marks:
what is sent is played, so little is sent ahead.
Two generations: until October 2025 audio of every rate was kind 0x10, since then each rate has a kind of its own.
Source: asterisk/asterisk `res/res_audiosocket.c`, `apps/app_audiosocket.c`, `channels/chan_audiosocket.c`; quirks:
docs/carriers/audiosocket.md.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import partial
from uuid import UUID

from trunkline.bridge.dialect import (
    MediaProfile,
    Message,
    StreamStarted,
    StreamStopped,
    WireAudio,
    WireDigits,
    WireEvent,
)
from trunkline.bridge.leg import Oddity
from trunkline.bridge.numbers import international
from trunkline.codecs.codec import Codec
from trunkline.codecs.l16 import L16_8K, L16_16K, L16_24K
from trunkline.config import AudioSocket as Settings

NAME = "audiosocket"
FRAME_MS = 20
LEAD_S = 0.04  # nothing between us and the caller's phone queues more than its jitter buffer
HEADER = 3  # bytes in front of each payload
MOST = HEADER + 0xFFFF  # bytes of the largest message

HANG_UP, UUID_KIND, DTMF, AUDIO, ERROR = 0x00, 0x01, 0x03, 0x10, 0xFF
RATES: Mapping[int, int] = {  # kinds of the newer generation: Hz
    0x11: 12_000,
    0x12: 16_000,
    0x13: 24_000,
    0x14: 32_000,
    0x15: 44_100,
    0x16: 48_000,
    0x17: 96_000,
    0x18: 192_000,
}
CODECS: Mapping[int, Codec] = {codec.rate: codec for codec in (L16_8K, L16_16K, L16_24K)}
HUNG_UP = 0x01  # of the bits that ERROR carries
KEYS = frozenset("0123456789*#ABCD")
ODDITIES = frozenset(
    (
        *("unknown_kind", "uuid_again", "bad_uuid", "early_message"),
        *("unsupported_rate", "empty_audio", "bad_digit", "far_error"),
    )
)


def message(kind: int, payload: bytes = b"") -> bytes:
    """One message, as it stands on the wire."""
    return bytes((kind,)) + len(payload).to_bytes(2, "big") + payload


class FrameReader:
    """Bytes in, whole messages out, header included; holds at most one that is not yet whole."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that these bytes complete, in order."""
        held = self._held
        held += data
        found, at, end = [], 0, len(held)
        while end - at >= HEADER:
            upto = at + HEADER + (held[at + 1] << 8 | held[at + 2])
            if upto > end:
                break
            found.append(bytes(held[at:upto]))
            at = upto
        del held[:at]
        return found

    @property
    def held(self) -> int:
        """Bytes of a message that is not yet whole."""
        return len(self._held)


class AudioSocketDialect:
    """One connection's translator: `MediaDialect`. A message is one of the wire's, header and all."""

    def __init__(self, rate: int = 8000, lines: Mapping[str, str] | None = None) -> None:
        """rate: Hz of kind 0x10 both ways. lines: UUID or pattern of UUIDs → the number that it stands for."""
        self._codec = CODECS[rate]
        self._hears = self._codec
        self._lines = lines or {}
        self._uuid = ""
        self._kind = AUDIO  # of what we send: the one that no generation refuses, until the far end shows another
        self._bytes = self._codec.bytes_per_second * FRAME_MS // 1000

    def receive(self, message: Message) -> Sequence[WireEvent]:
        """One message of Asterisk's."""
        if isinstance(message, str) or len(message) < HEADER:
            return (Oddity("unknown_kind", "no message"),)
        kind, payload = message[0], message[HEADER:]
        if kind == UUID_KIND:
            return self._named(payload)
        if kind == HANG_UP:
            return (StreamStopped(),)
        if not self._uuid:
            return (Oddity("early_message", f"kind {kind:#04x} before the UUID"),)
        if kind == AUDIO:
            return self._heard(self._codec, kind, payload)
        if kind in RATES:
            return self._rated(kind, payload)
        if kind == DTMF:
            return _pressed(payload)
        if kind == ERROR:
            return _failed(payload)
        return (Oddity("unknown_kind", f"{kind:#04x}, {len(payload)} bytes"),)

    def audio(self, payload: bytes) -> bytes:
        """payload: whole frames → one message per 20 ms, since Asterisk plays a message as one frame."""
        size = self._bytes
        if len(payload) == size:
            return message(self._kind, payload)
        return b"".join(message(self._kind, payload[at : at + size]) for at in range(0, len(payload), size))

    def mark(self, label: str) -> None:
        """There is none: our own clock tells."""

    def clear(self) -> None:
        """There is none: whoever stops sending is silent."""

    def hang_up(self) -> bytes:
        """`kind 0x00`."""
        return message(HANG_UP)

    def hello(self) -> None:
        """Nothing: Asterisk speaks first."""

    def _named(self, payload: bytes) -> Sequence[WireEvent]:
        if len(payload) != 16:
            return (Oddity("bad_uuid", f"{len(payload)} bytes, not 16"),)
        if self._uuid:
            return (Oddity("uuid_again", str(UUID(bytes=payload))),)
        self._uuid = str(UUID(bytes=payload))
        return (self._started(self._codec),)

    def _started(self, codec: Codec) -> StreamStarted:
        number = number_of(self._uuid, self._lines)
        known = {} if number is None else {"line": number}
        return StreamStarted("", self._uuid, "inbound", "", number or "", codec, known)

    def _rated(self, kind: int, payload: bytes) -> Sequence[WireEvent]:
        codec = CODECS.get(RATES[kind])
        if codec is None:
            return (Oddity("unsupported_rate", f"{kind:#04x}: {RATES[kind]} Hz"),)
        if codec is self._codec:
            self._kind = kind
        return self._heard(codec, kind, payload)

    def _heard(self, codec: Codec, kind: int, payload: bytes) -> Sequence[WireEvent]:
        if not payload:
            return (Oddity("empty_audio", f"kind {kind:#04x}"),)
        audio = WireAudio(payload)
        if codec is self._hears:
            return (audio,)
        self._hears = codec
        return (self._started(codec), audio)


def number_of(uuid: str, lines: Mapping[str, str]) -> str | None:
    """The number that this UUID stands for, by the first line that matches it; None: no line does."""
    return next((number for pattern, number in lines.items() if fnmatchcase(uuid, pattern)), None)


def parse_lines(texts: Sequence[str]) -> dict[str, str]:
    """`["UUID=NUMBER", …]`, as the configuration checks them → {pattern: number}."""
    lines = {}
    for text in texts:
        pattern, _, number = text.partition("=")
        lines[pattern.strip().lower()] = international(number)
    return lines


def profile(settings: Settings) -> MediaProfile:
    """The facts, with the settings of `[audiosocket]`."""
    made = partial(AudioSocketDialect, settings.rate, parse_lines(settings.lines))
    return MediaProfile(
        name=NAME, dialect=lambda query: made(), frame_ms=FRAME_MS, lead_s=LEAD_S, max_message_bytes=MOST
    )


def _pressed(payload: bytes) -> Sequence[WireEvent]:
    keys = payload.decode("latin-1").upper()
    if not keys or set(keys) - KEYS:
        return (Oddity("bad_digit", ascii(keys)[:200]),)
    return (WireDigits(keys),)


def _failed(payload: bytes) -> Sequence[WireEvent]:
    code = payload[0] if payload else 0
    if code & HUNG_UP:
        return (StreamStopped(f"error {code:#04x}"),)
    return (Oddity("far_error", f"{code:#04x}"),)
