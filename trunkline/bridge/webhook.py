"""A carrier's word about a call, brought by HTTP: what all carriers' web hooks have in common. Pure.

Web hooks are hints: they come twice, late, in any order, or not at all (DESIGN 4.9).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias
from urllib.parse import parse_qsl

from trunkline.bridge import json_dialect as js
from trunkline.errors import ProtocolError

CallStatus: TypeAlias = Literal[
    "", "queued", "ringing", "answered", "completed", "busy", "no_answer", "rejected", "failed", "canceled"
]  # "": says nothing about the call's state (key presses, dispositions)
FINAL: frozenset[CallStatus] = frozenset({"completed", "busy", "no_answer", "rejected", "failed", "canceled"})
MAX_PAIRS = 200
_RANK: Mapping[CallStatus, int] = {"": 0, "queued": 1, "ringing": 2, "answered": 3, **dict.fromkeys(FINAL, 4)}
_SECRETS = frozenset({"secret", "token", "api_key"})


@dataclass(frozen=True, slots=True)
class WebhookFact:
    """One statement of a carrier about one call."""

    carrier: str
    fact_id: str  # the same for the same statement, however often it is delivered
    call_ref: str  # the carrier's id of the call, "" if it named none
    ref_id: str  # the carrier's id of our request to place the call, "" if none
    event: str  # the operator's or carrier's word for it, lower case with underscores: "hangup"
    status: CallStatus
    from_: str = ""  # E.164
    to: str = ""
    duration_s: float | None = None  # of the talk, where the carrier tells it apart from the ringing
    parameters: Mapping[str, str] = field(default_factory=dict)  # custom identifiers, opened up
    raw: Mapping[str, str] = field(default_factory=dict)  # all pairs as delivered; absent ones left out
    sequence: int | None = None  # the carrier's own order of its statements about this call, where it counts them


def state_of(statements: Iterable[tuple[int | None, CallStatus]]) -> CallStatus:
    """A call's state after all statements, (sequence, status) each, in whatever order they arrived.

    Numbered ones are taken in the carrier's order, the others as they came. A state moves forward only: `ringing`
    after `completed` says nothing, and of two ends the first one holds.
    """
    state: CallStatus = ""
    for _, status in sorted(statements, key=lambda said: -1 if said[0] is None else said[0]):
        if _RANK[status] > _RANK[state]:
            state = status
    return state


def pairs(body: bytes, content_type: str = "", query: Mapping[str, str] | None = None) -> dict[str, str]:
    """The pairs of a web hook: JSON object, form, or query string; the body wins over the query.

    A leading `$` of a key is dropped; unfilled template variables (empty, null, a literal `$name`) count as absent.
    Values that are objects or lists stay JSON texts. Secrets of the query are left out.
    Raises ProtocolError when a body is there and is neither JSON nor a form.
    """
    found = {key: value for key, value in (query or {}).items() if key.lower() not in _SECRETS}
    found = _filled(found)
    if body.strip():
        found |= _filled(_read(body, content_type))
    return dict(list(found.items())[:MAX_PAIRS])


def fact_id(*parts: str) -> str:
    """A stable id of a statement, from what identifies it."""
    return hashlib.sha256("\x1f".join(parts).encode("utf-8", "replace")).hexdigest()[:32]


def _read(body: bytes, content_type: str) -> Mapping[str, js.Json]:
    looks_json = "json" in content_type.lower() or body.lstrip()[:1] in (b"{", b"[", b'"')
    if looks_json:
        try:
            value = js.decoded(body.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise ProtocolError("web hook: the body is not UTF-8", data=body) from error
        if isinstance(value, list) and value:
            value = value[0]
        if not isinstance(value, dict):
            raise ProtocolError("web hook: the body is not a JSON object", data=body)
        return value
    form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)[:MAX_PAIRS])
    if not form or set(form.values()) == {""}:
        raise ProtocolError("web hook: the body is neither JSON nor a form", data=body)
    return form


def _filled(found: Mapping[str, js.Json]) -> dict[str, str]:
    filled = {}
    for key, value in found.items():
        name = js.text(key).strip().lstrip("$")
        said = js.scalar_or_json(value).strip()
        if name and len(name) <= js.MAX_ID and said and said.lower() != "null" and not _is_template(said):
            filled[name] = said[: js.MAX_VALUE]
    return filled


def _is_template(value: str) -> bool:
    name = value[1:].replace("_", "")
    return value.startswith("$") and name.isalnum() and not name.isdigit()
