"""What carriers that speak JSON over a websocket have in common: reading leniently, writing compactly.

Every function here is total: it takes whatever came off the wire and never raises. Values that cannot be
understood come back as "absent" (None, "" or an empty mapping), and the dialect decides what that means.
"""

import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import parse_qsl

import msgspec

Json: TypeAlias = Any  # lives only in files that parse a wire format
JsonObject: TypeAlias = Mapping[str, Json]

MAX_ID = 256  # characters of an id, a name, a number
MAX_VALUE = 4096  # characters of one custom parameter
MAX_PARAMETERS = 64
KEYS = frozenset("0123456789*#ABCD")
_NOTHING: JsonObject = {}

# What JSON readers of this project may raise on hostile input: bad syntax, lone surrogates, nesting bombs,
# and integers of thousands of digits.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError)


def parse_object(message: str | bytes) -> JsonObject | str:
    """The JSON object in a message, or why there is none: "bad_json" or "not_object"."""
    try:
        value = msgspec.json.decode(message)
    except UNREADABLE:
        return "bad_json"
    return value if isinstance(value, dict) else "not_object"


def inner(message: JsonObject, *names: str) -> JsonObject:
    """The event's own object (`"start": {…}`); empty when it is missing or no object."""
    for name in names:
        value = message.get(name)
        if isinstance(value, dict):
            return value
    return _NOTHING


def first(objects: Sequence[JsonObject], *names: str) -> Json:
    """The first value that is present and not null: objects in their order, then names in theirs."""
    for obj in objects:
        for name in names:
            value = obj.get(name)
            if value is not None:
                return value
    return None


def text(value: Json) -> str:
    """A scalar as text ("5", 5 and 5.0 all become "5"); "" for anything else."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e18 else repr(value)
    try:
        return str(value) if isinstance(value, int) else ""
    except ValueError:  # more digits than Python prints
        return ""


def whole(value: Json) -> int | None:
    """A count or a time: 7, 7.0 and "7" are 7; anything else, or beyond 2**53, is None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if -(1 << 53) < number < (1 << 53) else None


def truth(value: Json) -> bool:
    """`true`, 1, "true", "1", "yes" are true; all else is not."""
    return value is True or value == 1 or (isinstance(value, str) and value.strip().lower() in ("true", "1", "yes"))


def unbase64(value: str) -> bytes | None:
    """Standard or URL-safe base64; missing padding and line breaks are forgiven, anything else is None."""
    try:
        data = "".join(value.split()).rstrip("=").replace("-", "+").replace("_", "/").encode("ascii")
        return binascii.a2b_base64(data + b"=" * (-len(data) % 4), strict_mode=True)
    except ValueError:  # binascii.Error and UnicodeEncodeError are both ValueErrors
        return None


def base64_text(payload: bytes) -> str:
    """Standard base64 with padding, no line breaks."""
    return binascii.b2a_base64(payload, newline=False).decode("ascii")


def quote(value: str) -> str:
    """A JSON string literal, quotes included."""
    try:
        return msgspec.json.encode(value).decode()
    except UnicodeError:  # a lone surrogate from an escape: ids go back exactly as they came
        return json.dumps(value)


def decoded(value: Json) -> Json:
    """A JSON text decoded, up to twice (some carriers encode what is encoded already); other values as they are."""
    for _ in range(2):
        if not isinstance(value, str) or value.strip()[:1] not in ("{", "[", '"'):
            break
        try:
            value = msgspec.json.decode(value)
        except UNREADABLE:
            break
    return value


def parameters(value: Json) -> dict[str, str]:
    """Custom parameters from any shape seen on a wire: object, JSON text (once or twice), `k=v` list or text.

    Values that are objects themselves stay as their JSON text and are also opened up: their pairs are added
    where no pair of that name is there already. Names above MAX_ID and values above MAX_VALUE are left out.
    """
    pairs: dict[str, str] = {}
    _collect(decoded(value), pairs, depth=3)
    return pairs


def _collect(value: Json, pairs: dict[str, str], depth: int) -> None:
    if depth == 0:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            _put(pairs, text(key), item if isinstance(item, str) else scalar_or_json(item))
        for item in value.values():
            _collect(_opened(item), pairs, depth - 1)
    elif isinstance(value, list):
        for item in value[:MAX_PARAMETERS]:
            _collect(decoded(item) if isinstance(item, str) else item, pairs, depth - 1)
    elif isinstance(value, str) and "=" in value:
        for key, item in parse_qsl(value.replace(";", "&").replace(",", "&"), max_num_fields=None)[:MAX_PARAMETERS]:
            _put(pairs, key.strip(), item)


def _opened(item: Json) -> Json:
    """A parameter's value, if it hides further pairs: an object, or text that is JSON of one."""
    opened = decoded(item)
    return opened if isinstance(opened, (dict, list)) else None


def _put(pairs: dict[str, str], key: str, value: str) -> None:
    if key and len(key) <= MAX_ID and len(value) <= MAX_VALUE and len(pairs) < MAX_PARAMETERS:
        pairs.setdefault(key, value)


def scalar_or_json(item: Json) -> str:
    """A scalar as `text`, null as "", an object or list as compact JSON."""
    if item is None or isinstance(item, (str, int, float)):
        return text(item)
    try:
        return msgspec.json.encode(item).decode()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return ""


def digits(value: str) -> str:
    """The key presses in a text, upper-cased; what is no key is left out."""
    return "".join(key for key in value.upper() if key in KEYS)
