"""Smartflo's media socket as the platform speaks it: its messages, and its judgement of ours. Pure.

Written from the carrier's own pages, not from the product's dialect, so that each side checks the other.
"""

import base64
import binascii
import json
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

FRAME_BYTES = 160  # mu-law of 20 ms: what the platform wants multiples of


@dataclass(frozen=True, slots=True)
class CallFacts:
    """What the platform tells about a call in `start`."""

    from_: str = "919800000001"
    to: str = "918069000000"
    direction: Literal["inbound", "outbound"] = "inbound"
    stream_sid: str = field(default_factory=lambda: "S" + secrets.token_hex(8))
    call_sid: str = field(default_factory=lambda: f"h11.08-{secrets.randbelow(10**10)}.{secrets.randbelow(10**6):06d}")
    account_sid: str = "A1"
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Play:
    """Audio for the caller's ear: mu-law, whatever its size."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """Give this name back when everything before it was played."""

    name: str


@dataclass(frozen=True, slots=True)
class Clear:
    """Forget what has not been played."""


@dataclass(frozen=True, slots=True)
class HangUp:
    """The service ends the call."""


@dataclass(frozen=True, slots=True)
class Hello:
    """The service said `connected` first."""


Order: TypeAlias = Play | Mark | Clear | HangUp | Hello


class Speaker:
    """Builds the platform's messages; counts sequence numbers and media chunks from 1."""

    def __init__(self, facts: CallFacts) -> None:
        self.facts = facts
        self._sequence = 0
        self._chunk = 0

    @staticmethod
    def connected() -> str:
        """The first message, which has no other field."""
        return '{"event":"connected"}'

    def start(self) -> str:
        """Describes the call."""
        facts = self.facts
        body = {
            **self._ids(),
            "from": facts.from_,
            "to": facts.to,
            "direction": facts.direction,
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "bitRate": 64, "bitDepth": 8},
            "customParameters": dict(facts.parameters),
        }
        return self._message("start", start=body)

    def media(self, payload: bytes, at_ms: int) -> str:
        """The caller's voice; `at_ms` is stream time at the end of the payload."""
        self._chunk += 1
        self._sequence += 1
        return (
            f'{{"event":"media","sequenceNumber":"{self._sequence}","streamSid":"{self.facts.stream_sid}",'
            f'"media":{{"chunk":"{self._chunk}","timestamp":"{at_ms}",'
            f'"payload":"{base64.b64encode(payload).decode("ascii")}"}}}}'
        )

    def dtmf(self, digit: str) -> str:
        """One key press."""
        return self._message("dtmf", dtmf={"digit": digit})

    def mark(self, name: str) -> str:
        """A mark of the service, given back."""
        return self._message("mark", mark={"name": name})

    def stop(self, reason: str) -> str:
        """Goodbye."""
        facts = self.facts
        return self._message(
            "stop", stop={"accountSid": facts.account_sid, "callSid": facts.call_sid, "reason": reason}
        )

    def _ids(self) -> dict[str, str]:
        facts = self.facts
        return {"streamSid": facts.stream_sid, "accountSid": facts.account_sid, "callSid": facts.call_sid}

    def _message(self, event: str, **body: Mapping[str, Any]) -> str:
        self._sequence += 1
        message = {"event": event, "sequenceNumber": str(self._sequence), "streamSid": self.facts.stream_sid, **body}
        return json.dumps(message, separators=(",", ":"))


class Listener:
    """Reads what the service sends. Anything illegal is counted in `complaints` and survived where it can be."""

    orders = frozenset({"connected", "media", "mark", "clear", "end"})  # what the platform knows
    frame_bytes = FRAME_BYTES

    def __init__(self, stream_sid: str) -> None:
        self.complaints: Counter[str] = Counter()
        self.messages: Counter[str] = Counter()
        self._stream_sid = stream_sid
        self._chunk = 0

    def receive(self, text: str | bytes) -> Order | None:
        """One message of the service → what the platform is to do, or None where that is nothing."""
        message = self._object(text)
        if message is None:
            return None
        event = message.get("event")
        if event not in self.orders:
            self.complaints["unknown_event"] += 1
            return None
        if event == "connected":
            return self._seen("connected", Hello())
        self._check_stream(message)
        match event:
            case "media":
                return self._media(message.get("media"))
            case "mark":
                return self._mark(message.get("mark"))
            case "clear":
                return self._seen("clear", Clear())
            case _:
                return self._seen("end", HangUp())

    def _seen(self, name: str, order: Order) -> Order:
        self.messages[name] += 1
        return order

    def _object(self, text: str | bytes) -> dict[str, Any] | None:
        if isinstance(text, bytes):
            self.complaints["binary_message"] += 1
            return None
        try:
            message = json.loads(text)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            self.complaints["bad_json"] += 1
            return None
        return message

    def _check_stream(self, message: Mapping[str, Any]) -> None:
        given = message.get("streamSid")
        if given is None:
            self.complaints["missing_streamSid"] += 1
        elif given != self._stream_sid:
            self.complaints["wrong_streamSid"] += 1

    def _media(self, media: object) -> Order | None:
        payload = _payload(media)
        if payload is None:
            self.complaints["bad_payload"] += 1
            return None
        if not payload or len(payload) % self.frame_bytes:
            self.complaints["size_not_multiple_of_160"] += 1
        chunk = media.get("chunk") if isinstance(media, dict) else None
        if chunk is not None:
            self._check_chunk(chunk)
        return self._seen("media", Play(payload))

    def _check_chunk(self, chunk: object) -> None:
        self._chunk += 1
        if chunk != self._chunk:
            self.complaints["chunk_not_counting"] += 1
            self._chunk = chunk if isinstance(chunk, int) else self._chunk

    def _mark(self, mark: object) -> Order | None:
        name = mark.get("name") if isinstance(mark, dict) else None
        if not isinstance(name, str) or not name:
            self.complaints["mark_without_name"] += 1
            return None
        return self._seen("mark", Mark(name))


def _payload(media: object) -> bytes | None:
    text = media.get("payload") if isinstance(media, dict) else None
    if not isinstance(text, str):
        return None
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


@dataclass(frozen=True, slots=True)
class Wire:
    """How a platform speaks and hears."""

    speaker: Callable[[CallFacts], Speaker]
    listener: Callable[[str], Listener]
    clears: bool = True  # False: there is no `clear`; who stops sending has cut
    name: str = "Smartflo"
    endless: bool = False  # the service sends silence, too: an ear that is behind leaves some of it out


SMARTFLO = Wire(Speaker, Listener)
