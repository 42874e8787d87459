"""Gemini Live's messages (BidiGenerateContent) as the service reads and writes them. Pure.

Reading follows protobuf's JSON: camelCase and snake_case mean the same everywhere but inside free objects, base64 comes
in either alphabet. Writing is camelCase, standard base64, one payload key per message (usageMetadata may ride along).
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

INVALID = "Request contains an invalid argument."
_FREE = frozenset({"args", "response", "parameters", "parametersJsonSchema", "responseJsonSchema", "labels"})
_RATE = re.compile(r"^audio/pcm(?:;\s*rate=(\d{4,6}))?$")
_CLIENT_KEYS = ("setup", "realtimeInput", "clientContent", "toolResponse", "contextUpdate")


class Refused(Exception):  # noqa: N818 - the service's word for it
    """The client broke the protocol: the close code and reason that the service answers with."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class SetupMessage:
    """The first message; camelCase."""

    body: Json


@dataclass(frozen=True, slots=True)
class Audio:
    """The caller's voice: s16le at the rate its MIME type names (16 kHz where it names none)."""

    pcm: bytes
    rate: int


@dataclass(frozen=True, slots=True)
class Mark:
    """activityStart, activityEnd or audioStreamEnd."""

    name: str


@dataclass(frozen=True, slots=True)
class Text:
    """Realtime text: a turn of its own."""

    text: str


@dataclass(frozen=True, slots=True)
class Turns:
    """clientContent: (role, text) each, and whether an answer is wanted."""

    turns: tuple[tuple[str, str], ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class ToolResults:
    """toolResponse, one object per call; camelCase, `response` untouched."""

    results: tuple[Json, ...]


@dataclass(frozen=True, slots=True)
class ContextUpdate:
    """A change of prompt or tools in mid-call."""

    body: Json


ClientMessage: TypeAlias = SetupMessage | Audio | Mark | Text | Turns | ToolResults | ContextUpdate


def read(raw: str | bytes) -> ClientMessage:
    """One message of the client. Raises Refused (1007) for whatever the service does not take."""
    try:
        message = json.loads(raw)
    except ValueError as wrong:
        raise Refused(1007, f"Invalid JSON payload received. {wrong}") from wrong
    body = camel(message)
    if not isinstance(body, dict) or len(body) != 1:
        raise Refused(1007, f"{INVALID} One of {', '.join(_CLIENT_KEYS)} is expected.")
    ((key, value),) = body.items()
    if key not in _CLIENT_KEYS or not isinstance(value, dict):
        raise Refused(1007, f'Invalid JSON payload received. Unknown name "{key}": Cannot find field.')
    match key:
        case "setup":
            return SetupMessage(value)
        case "realtimeInput":
            return _realtime(value)
        case "clientContent":
            return _turns(value)
        case "toolResponse":
            return _results(value)
        case _:
            return ContextUpdate(value)


def camel(value: Any) -> Any:
    """Keys of both spellings → camelCase, all the way down but for free objects."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = ((_camel_key(key), item) for key, item in value.items())
    return {key: item if key in _FREE else camel(item) for key, item in named}


def _camel_key(key: str) -> str:
    head, *rest = key.split("_")
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def _realtime(body: Json) -> ClientMessage:
    if "mediaChunks" in body:
        raise Refused(1007, "realtime_input.media_chunks is deprecated. Use audio, video, or text instead.")
    if len(body) != 1:
        raise Refused(1007, INVALID)
    ((key, value),) = body.items()
    if key == "audio" and isinstance(value, dict):
        return _audio(value)
    if key in ("activityStart", "activityEnd") and isinstance(value, dict):
        return Mark(key)
    if key == "audioStreamEnd" and value is True:
        return Mark(key)
    if key == "text" and isinstance(value, str):
        return Text(value)
    raise Refused(1007, INVALID)


def _audio(blob: Json) -> Audio:
    mime, data = blob.get("mimeType", "audio/pcm"), blob.get("data")
    found = _RATE.match(mime) if isinstance(mime, str) else None
    if found is None or not isinstance(data, str):
        raise Refused(1007, INVALID)
    pcm = decode(data)
    if not pcm or len(pcm) % 2:
        raise Refused(1007, f"{INVALID} Audio of {len(pcm)} bytes is not whole samples.")
    return Audio(pcm, int(found[1] or 16_000))


def decode(data: str) -> bytes:
    """Base64 in the standard or the URL-safe alphabet. Raises Refused."""
    try:
        return base64.b64decode(data.translate(_STANDARD), validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise Refused(1007, f"{INVALID} Base64 decoding failed.") from wrong


_STANDARD = str.maketrans("-_", "+/")


def _turns(body: Json) -> Turns:
    turns, complete = body.get("turns", []), body.get("turnComplete", False)
    if not isinstance(turns, list) or not isinstance(complete, bool):
        raise Refused(1007, INVALID)
    return Turns(tuple(_turn(turn) for turn in turns), complete)


def _turn(turn: Any) -> tuple[str, str]:
    if not isinstance(turn, dict) or turn.get("role", "user") not in ("user", "model"):
        raise Refused(1007, f"{INVALID} Please use a valid role: user, model.")
    return turn.get("role", "user"), text_of(turn)


def text_of(content: Any) -> str:
    """The text of a content object: {"parts": [{"text": …}, …]}. Raises Refused."""
    parts = content.get("parts", []) if isinstance(content, dict) else None
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        raise Refused(1007, INVALID)
    return "".join(str(part.get("text", "")) for part in parts)


def _results(body: Json) -> ToolResults:
    results = body.get("functionResponses")
    if not isinstance(results, list) or not results:
        raise Refused(1007, INVALID)
    for result in results:
        named = isinstance(result, dict) and isinstance(result.get("id"), str) and isinstance(result.get("name"), str)
        if not named or not isinstance(result.get("response"), dict):
            raise Refused(1007, f"{INVALID} A function response needs id, name and response.")
    return ToolResults(tuple(results))


def write(**body: Any) -> bytes:
    """A server message: `write(setupComplete={})`."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def content(**body: Any) -> bytes:
    """A serverContent message."""
    return write(serverContent=body)


def audio_part(pcm: bytes, rate: int) -> Json:
    """One part of a modelTurn that holds audio."""
    return {"inlineData": {"mimeType": f"audio/pcm;rate={rate}", "data": base64.b64encode(pcm).decode("ascii")}}


def model_turn(parts: Sequence[Json]) -> Json:
    """What serverContent.modelTurn holds."""
    return {"role": "model", "parts": list(parts)}


def usage(heard_s: float, spoken_s: float) -> Json:
    """usageMetadata: 25 tokens for each second of audio, each way."""
    prompt, answer = round(25 * heard_s), round(25 * spoken_s)
    return {
        "promptTokenCount": prompt,
        "responseTokenCount": answer,
        "totalTokenCount": prompt + answer,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": prompt}],
        "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": answer}],
    }


def tool_call(calls: Sequence[tuple[str, str, Mapping[str, Any]]]) -> bytes:
    """toolCall; `calls` are (id, name, args)."""
    listed = [{"id": id_, "name": name, "args": dict(args)} for id_, name, args in calls]
    return write(toolCall={"functionCalls": listed})
