"""The dialect that Smartflo and Twilio have in common: named events in JSON text frames, audio in base64. Pure.

Carrier → us: connected, start, media, dtmf, mark, stop. Us → carrier: media, mark, clear. A carrier's own file adds how
its media messages look, how a call is hung up, and who is who; everything that must survive odd input is here, once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from trunkline.bridge import json_dialect as js
from trunkline.bridge.dialect import (
    Message,
    StreamStarted,
    StreamStopped,
    WireAudio,
    WireDigits,
    WireEvent,
    WireMark,
)
from trunkline.bridge.leg import Direction, Oddity
from trunkline.bridge.sequence import Sequence as Numbers
from trunkline.bridge.stream_wire import read_media
from trunkline.codecs.codec import Codec
from trunkline.codecs.g711 import PCMU
from trunkline.codecs.table import codec_for

EARLY_S = 1.0  # media before `start` that is kept
MAX_KEYS = 32  # presses in one dtmf message

ODDITIES = frozenset(
    {
        "bad_json",  # not JSON
        "not_object",  # JSON, but no object
        "unknown_event",  # an event we do not know, or none named
        "binary_frame",  # a binary frame; read all the same if it holds JSON
        "wrong_stream",  # another stream's id: not ours to play
        "no_stream_id",  # `start` without one; the first id seen is taken
        "repeated_start",  # the stream was described anew
        "unknown_encoding",  # mediaFormat names no codec we have; mu-law is assumed
        "media_before_start",  # kept up to EARLY_S, then dropped
        "before_start",  # dtmf or mark of a stream nobody described
        "after_stop",  # anything but another `stop` after the goodbye
        "no_payload",  # media without audio text
        "bad_base64",
        "odd_size",  # ends within a 16-bit sample; the decoder keeps the odd byte for the next message
        "foreign_track",  # not the caller's voice
        "sequence_gap",
        "duplicate_sequence",  # same number, same content: dropped
        "late_sequence",  # came after its successor; delivered
        "sequence_restart",  # counted anew; delivered
        "bad_digit",  # dtmf without a key we know
        "oversized_name",  # an id, name or number above 256 characters: left out
    }
)

State: TypeAlias = Literal["waiting", "streaming", "stopped"]
_STREAM = ("streamSid", "stream_sid", "streamId", "stream_id")
_CALL = ("callSid", "call_sid", "callId", "call_id", "call_control_id", "ucid")
_SEQUENCE = ("sequenceNumber", "sequence_number", "sequence")
_CUSTOM = ("customParameters", "custom_parameters", "customParameter", "custom_params")
_IDENTIFIER = ("custom_identifier", "customIdentifier")
_TRACKS = frozenset({"", "inbound", "inbound_track"})


@dataclass(frozen=True, slots=True)
class Parties:
    """Who is who in a call, numbers normalised."""

    direction: Direction
    from_: str
    to: str


class StreamDialect:
    """One socket's translator but for what a carrier has of its own: base of the `MediaDialect`s of this family.

    A carrier's class gives `audio`, `hang_up`, `hello` and `parties`.
    """

    def __init__(self, query: Mapping[str, str]) -> None:
        """query: the handshake's parameters, merged below the in-band ones."""
        self.state: State = "waiting"
        self.call = ""  # the carrier's id of the call
        self.quoted = ""  # the stream's id as a JSON text
        self.media_head = ""  # a media message up to its base64
        self._query = dict(query)
        self._numbers = Numbers()
        self._odd: list[WireEvent] = []
        self._early: list[WireAudio] = []
        self._early_bytes = 0
        self._codec: Codec = PCMU
        self._wide = False  # two bytes a sample
        self._name_stream("")

    def parties(self, both: Sequence[js.JsonObject], parameters: Mapping[str, str]) -> Parties:
        """both: the inside of `start`, then the message around it."""
        raise NotImplementedError

    def receive(self, message: Message) -> Sequence[WireEvent]:
        """One wire message → events in order. Total: never raises, whatever comes."""
        if self.state != "streaming" or type(message) is not str:
            return self._leniently(message)
        try:
            fast = read_media(message)
        except js.UNREADABLE:
            return self._leniently(message)
        media, number = fast.media, fast.sequenceNumber
        if (
            fast.streamSid != self._stream
            or media.track not in _TRACKS
            or not media.payload
            or (self._wide and len(media.payload) & 1)
            or (number is not None and number != self._numbers.next)
        ):
            return self._leniently(message)
        if number is not None:
            self._numbers.expected(number, media.payload)
        return (WireAudio(media.payload, media.timestamp),)

    def mark(self, label: str) -> str:
        """`mark`: given back once the audio before it was played, at once on `clear`."""
        return f'{{"event":"mark","streamSid":{self.quoted},"mark":{{"name":{js.quote(label)}}}}}'

    def clear(self) -> str:
        """`clear`: drop what is buffered for the caller."""
        return f'{{"event":"clear","streamSid":{self.quoted}}}'

    def _leniently(self, message: Message) -> Sequence[WireEvent]:
        self._odd = []
        if isinstance(message, (bytes, bytearray, memoryview)):
            message = bytes(message)
            self._oddity("binary_frame")
            if message[:1] != b"{":
                return self._odd
        parsed = js.parse_object(message)
        if isinstance(parsed, str):
            self._oddity(parsed, message[:80] if isinstance(message, str) else "")
            return self._odd
        event = js.text(parsed.get("event")).strip().lower()
        handler = _HANDLERS.get(event)
        if handler is None:
            self._oddity("unknown_event", event)
        elif self.state == "stopped" and event != "stop":
            self._oddity("after_stop", event)
        else:
            understood = handler(self, parsed)
            return [*self._odd, *understood]
        return self._odd

    # -- one method per event; what is wrong goes to self._odd

    def _on_connected(self, _: js.JsonObject) -> Sequence[WireEvent]:
        return ()

    def _on_start(self, message: js.JsonObject) -> Sequence[WireEvent]:
        body = js.inner(message, "start")
        both = (body, message)
        stream = self.name((message, body), _STREAM)
        self._number_start(message, stream)
        if self.state == "streaming":
            self._oddity("repeated_start")
        if not stream:
            self._oddity("no_stream_id")
        self._name_stream(stream)
        self.call = self.name(both, _CALL)
        self._choose_codec(both)
        self.state = "streaming"
        return (self._started(both), *self._take_early())

    def _started(self, both: Sequence[js.JsonObject]) -> StreamStarted:
        parameters = self._parameters(both)
        who = self.parties(both, parameters)
        return StreamStarted(
            stream_id=self._stream,
            carrier_ref=self.call,
            direction=who.direction,
            from_=who.from_,
            to=who.to,
            codec=self._codec,
            parameters=parameters,
        )

    def _on_media(self, message: js.JsonObject) -> Sequence[WireEvent]:
        if not self._is_ours(message):
            return ()
        body = js.inner(message, "media")
        encoded = js.first((body, message), "payload", "data")
        payload = js.unbase64(encoded) if isinstance(encoded, str) else None
        if payload is None:
            self._oddity("bad_base64" if isinstance(encoded, str) else "no_payload")
        if not self._is_fresh(message, payload):
            return ()
        if js.text(js.first((body,), "track")).lower() not in _TRACKS:
            self._oddity("foreign_track")
            return ()
        return self._caller(payload or b"", js.whole(js.first((body, message), "timestamp")))

    def _on_dtmf(self, message: js.JsonObject) -> Sequence[WireEvent]:
        if not self._is_ours(message) or not self._is_described():
            return ()
        pressed = js.text(js.first((js.inner(message, "dtmf"), message), "digit", "digits", "dtmf")).strip()
        if not self._is_fresh(message, ("dtmf", pressed)):
            return ()
        keys = js.digits(pressed)[:MAX_KEYS]
        if not keys or len(keys) != len(pressed):
            self._oddity("bad_digit", pressed)
        return (WireDigits(keys),) if keys else ()

    def _on_mark(self, message: js.JsonObject) -> Sequence[WireEvent]:
        if not self._is_ours(message) or not self._is_described():
            return ()
        name = self.name((js.inner(message, "mark"), message), ("name", "label"))
        if not self._is_fresh(message, ("mark", name)):
            return ()
        return (WireMark(name),) if name else ()

    def _on_stop(self, message: js.JsonObject) -> Sequence[WireEvent]:
        if not self._is_ours(message) or self.state == "stopped":
            return ()
        self.state = "stopped"
        reason = js.text(js.first((js.inner(message, "stop"), message), "reason", "cause"))
        return (StreamStopped(reason[: js.MAX_ID]),)

    # -- parts

    def _oddity(self, kind: str, detail: str = "") -> None:
        self._odd.append(Oddity(kind, detail[:200]))

    def name(self, objects: Sequence[js.JsonObject], names: Sequence[str]) -> str:
        """An id, a name or a number from wherever it stands; "" and an oddity when it is beyond all measure."""
        value = js.text(js.first(objects, *names))
        if len(value) <= js.MAX_ID:
            return value
        self._oddity("oversized_name", f"{names[0]}: {len(value)} characters")
        return ""

    def _name_stream(self, stream: str) -> None:
        self._stream = stream
        self.quoted = js.quote(stream)
        self.media_head = f'{{"event":"media","streamSid":{self.quoted},"media":{{"payload":"'

    def _is_ours(self, message: js.JsonObject) -> bool:
        stream = js.text(js.first((message,), *_STREAM))
        if not stream or stream == self._stream or self.state == "waiting":
            return True
        if not self._stream and len(stream) <= js.MAX_ID:
            self._name_stream(stream)
            return True
        self._oddity("wrong_stream", stream)
        return False

    def _is_described(self) -> bool:
        if self.state == "waiting":
            self._oddity("before_start")
        return self.state != "waiting"

    def _is_fresh(self, message: js.JsonObject, content: object) -> bool:
        """Take note of the message's number; False for a repetition, which is to be dropped."""
        verdict = self._numbers.judge(js.whole(js.first((message,), *_SEQUENCE)), content)
        if verdict:
            self._oddity(verdict, str(self._numbers.lost) if verdict == "sequence_gap" else "")
        return verdict != "duplicate_sequence"

    def _number_start(self, message: js.JsonObject, stream: str) -> None:
        """A `start` may come after its first media, or again in mid-stream: neither is a gap."""
        number = js.whole(js.first((message,), *_SEQUENCE))
        expected = self._numbers.next
        if self.state == "streaming" and stream != self._stream:
            self._numbers.restart()
            expected = None
        if number is not None and (expected is None or number >= expected):
            self._numbers.expected(number, "start")

    def _caller(self, payload: bytes, at_ms: int | None) -> Sequence[WireAudio]:
        lost = self._numbers.lost
        if not payload:
            return ()
        if self._wide and len(payload) & 1:
            self._oddity("odd_size", str(len(payload)))
        audio = WireAudio(payload, at_ms, lost)
        if self.state == "streaming":
            return (audio,)
        self._oddity("media_before_start")
        if self._early_bytes + len(payload) <= EARLY_S * 48000:  # the widest codec; cut to the codec's at `start`
            self._early_bytes += len(payload)
            self._early.append(audio)
        return ()

    def _take_early(self) -> Sequence[WireAudio]:
        early, self._early, self._early_bytes = self._early, [], 0
        room = int(EARLY_S * self._codec.bytes_per_second)
        kept: list[WireAudio] = []
        for audio in early:
            room -= len(audio.payload)
            if room >= 0:
                kept.append(audio)
        return kept

    def _choose_codec(self, both: Sequence[js.JsonObject]) -> None:
        described = js.decoded(js.first(both, "mediaFormat", "media_format"))
        body: js.JsonObject = described if isinstance(described, dict) else {"encoding": described}
        encoding = js.text(js.first((body,), "encoding", "codec", "format"))
        rate = js.whole(js.first((body,), "sampleRate", "sample_rate", "rate"))
        codec = codec_for(encoding, rate) if encoding else PCMU
        if codec is None:
            self._oddity("unknown_encoding", f"{encoding} at {rate}")
        self._codec = codec or PCMU
        self._wide = self._codec.bytes_per_second == 2 * self._codec.rate

    def _parameters(self, both: Sequence[js.JsonObject]) -> Mapping[str, str]:
        found = js.parameters(js.first(both, *_CUSTOM))
        identifier = js.first(both, *_IDENTIFIER)
        if identifier is not None:
            found = js.parameters({"custom_identifier": identifier}) | found
        return {k: v for k, v in self._query.items() if len(k) <= js.MAX_ID and len(v) <= js.MAX_VALUE} | found


_HANDLERS: Mapping[str, Callable[[StreamDialect, js.JsonObject], Sequence[WireEvent]]] = {
    "connected": StreamDialect._on_connected,
    "start": StreamDialect._on_start,
    "media": StreamDialect._on_media,
    "dtmf": StreamDialect._on_dtmf,
    "mark": StreamDialect._on_mark,
    "stop": StreamDialect._on_stop,
}
