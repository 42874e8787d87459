"""Gemini Live's messages as typed values: BidiGenerateContent over a websocket, JSON in text or binary frames.

https://ai.google.dev/api/live. A message may carry several fields at once; every one of them counts. What this
release does not know is ignored where it stands inside a known message, and counted where it is the whole message.
"""

import base64
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from trunkline.errors import ProtocolError

INPUT_RATE = 16_000  # Hz, s16le mono: what the model hears
OUTPUT_RATE = 24_000  # Hz, s16le mono: what it speaks unless the MIME type says otherwise


class _Message(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Base: camelCase on the wire, unknown keys ignored."""


class Blob(_Message, frozen=True):
    """Bytes and what they are: `audio/pcm;rate=24000`."""

    mime_type: str = ""
    data: bytes = b""


class Part(_Message, frozen=True):
    """A piece of what the model says; `thought` is not for the caller."""

    inline_data: Blob | None = None
    text: str | None = None
    thought: bool | None = None


class ModelTurn(_Message, frozen=True):
    """What the model says."""

    parts: tuple[Part, ...] | None = None


class Transcription(_Message, frozen=True):
    """A fragment of either side's words; in no fixed order to the audio."""

    text: str | None = None
    finished: bool | None = None


class ServerContent(_Message, frozen=True):
    """One step of the conversation."""

    model_turn: ModelTurn | None = None
    input_transcription: Transcription | None = None
    output_transcription: Transcription | None = None
    interrupted: bool | None = None
    generation_complete: bool | None = None
    turn_complete: bool | None = None
    turn_complete_reason: str | None = None
    interaction_status: str | None = None
    interim_input_transcription: Transcription | None = None
    waiting_for_input: bool | None = None


class _Alone(_Message, frozen=True, forbid_unknown_fields=True):
    """Base: nothing else beside it."""


class VoicePart(_Alone, frozen=True):
    """Speech."""

    inline_data: Blob


class _VoiceTurn(_Alone, frozen=True):
    parts: tuple[VoicePart, ...]
    role: str = ""


class _VoiceContent(_Alone, frozen=True):
    model_turn: _VoiceTurn


class VoiceMessage(_Alone, frozen=True):
    """A message of nothing but speech, as nearly all are: a third of a ServerMessage's work, for it has no fields that
    are not there."""

    server_content: _VoiceContent


class FunctionCall(_Message, frozen=True):
    """The model wants a function run."""

    id: str | None = None
    name: str | None = None
    args: dict[str, Any] | None = None


class ToolCalls(_Message, frozen=True):
    """Several requests at once."""

    function_calls: tuple[FunctionCall, ...] | None = None


class Cancellation(_Message, frozen=True):
    """Requests that are no longer wanted and must not be answered."""

    ids: tuple[str, ...] | None = None


class GoAway(_Message, frozen=True):
    """The connection ends soon."""

    time_left: str | None = None


class Resumption(_Message, frozen=True):
    """A handle for another connection of the same session, when `resumable`."""

    new_handle: str | None = None
    resumable: bool | None = None


class VoiceActivity(_Message, frozen=True):
    """`ACTIVITY_START` or `ACTIVITY_END`."""

    type: str | None = None


class Tokens(_Message, frozen=True):
    """Usage so far of this turn."""

    prompt_token_count: int | None = None
    response_token_count: int | None = None
    candidates_token_count: int | None = None
    total_token_count: int | None = None


class ServerMessage(_Message, frozen=True):
    """Everything one message may hold."""

    server_content: ServerContent | None = None
    tool_call: ToolCalls | None = None
    tool_call_cancellation: Cancellation | None = None
    usage_metadata: Tokens | None = None
    go_away: GoAway | None = None
    session_resumption_update: Resumption | None = None
    voice_activity: VoiceActivity | None = None
    setup_complete: dict[str, Any] | None = None
    code: int | None = None  # an error in band
    message: str | None = None
    error: dict[str, Any] | None = None

    @property
    def known(self) -> bool:
        """Whether it holds anything that this release understands and that is no error."""
        return not (
            self.server_content is None
            and self.tool_call is None
            and self.tool_call_cancellation is None
            and self.usage_metadata is None
            and self.go_away is None
            and self.session_resumption_update is None
            and self.voice_activity is None
            and self.setup_complete is None
        )

    @property
    def complaint(self) -> str:
        """The text of an error in band; empty when there is none."""
        if self.error is not None:
            return f"{self.error.get('code', '')} {self.error.get('message', '')}".strip() or "an error without words"
        return f"{self.code} {self.message or ''}".strip() if self.code is not None else ""


_decoder = msgspec.json.Decoder(ServerMessage)
read_voice = msgspec.json.Decoder(VoiceMessage).decode  # raises NO_VOICE for what holds anything else
NO_VOICE = (msgspec.DecodeError, UnicodeError, RecursionError)


def decode(raw: bytes | str) -> ServerMessage:
    """A server's message. Raises ProtocolError for anything that is none; the connection is still good then."""
    try:
        return _decoder.decode(raw)
    except NO_VOICE as error:
        return _tolerant(raw, error)


def _tolerant(raw: bytes | str, error: Exception) -> ServerMessage:
    """The same for base64 in the URL alphabet or without padding, which the typed decoder refuses."""
    try:
        tree = msgspec.json.decode(raw)
        for part in tree["serverContent"]["modelTurn"]["parts"]:
            blob = part.get("inlineData")
            if blob is not None:
                blob["data"] = _standard(blob["data"])
        return msgspec.convert(tree, ServerMessage)
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError, ValueError, RecursionError):
        sample = raw if isinstance(raw, str) else raw[:200]
        raise ProtocolError(f"not a message of Gemini Live: {error}", peer="gemini", data=sample) from error


def _standard(text: str) -> str:
    plain = text.translate({ord("-"): "+", ord("_"): "/"})
    padded = plain + "=" * (-len(plain) % 4)
    return base64.b64encode(base64.b64decode(padded, validate=True)).decode()


def text_message(text: str) -> bytes:
    """Words that are to be acted on at once."""
    return msgspec.json.encode({"realtimeInput": {"text": text}})


@lru_cache(maxsize=16)
def rate_of(mime_type: str) -> int:
    """Hz that `audio/pcm;rate=24000` names; 24 kHz where it names none."""
    for parameter in mime_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "rate" and value.strip().isascii() and value.strip().isdigit():
            return int(value)
    return OUTPUT_RATE


def seconds_of(duration: str | None) -> float:
    """A protobuf duration ("50s", "1.5s") in seconds; 0 for what is none."""
    text = (duration or "").strip()
    try:
        return max(0.0, min(float(text.removesuffix("s")), 86_400.0)) if text.endswith("s") else 0.0
    except ValueError:
        return 0.0


def usage_units(tokens: Tokens) -> Mapping[str, float]:
    """Token counts by our names."""
    named = {
        "prompt_tokens": tokens.prompt_token_count,
        "response_tokens": tokens.response_token_count or tokens.candidates_token_count,
        "total_tokens": tokens.total_token_count,
    }
    return {name: float(count) for name, count in named.items() if count is not None}
