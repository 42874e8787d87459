"""What every handler is made of: one table row (`Endpoint`), one question (`Ask`), one way to say no (`Problem`)."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import msgspec
from aiohttp import web

PROBLEM_TYPE = "application/problem+json"
BODY_TIMEOUT_S = 10.0  # a body that trickles in slower than this is refused, so that nobody holds a handler for long
SHOWN = 100  # characters of a wrong value that a problem repeats

Method: TypeAlias = Literal["GET", "POST"]
Scope: TypeAlias = Literal["calls:read", "calls:write", "events:read", "metrics:read", "keys:write"]


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """An error as RFC 9457 tells it. `field`, `value` and `allowed` name what was wrong and what would be right."""

    title: str
    status: int
    type: str = "about:blank"
    detail: str = ""
    instance: str = ""
    field: str = ""
    value: str = ""
    allowed: str = ""
    request_id: str = ""


class Refused(Exception):  # noqa: N818 - it is the answer, not a fault of ours
    """Carries a problem and its headers up to the one place that answers with it."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.title)
        self.problem = problem
        self.headers = dict(headers or {})


def refuse(
    status: int,
    title: str,
    detail: str = "",
    *,
    field: str = "",
    value: object = "",
    allowed: str = "",
    headers: Mapping[str, str] | None = None,
) -> Refused:
    """The exception to raise for an HTTP `status` with these words."""
    text = str(value)[:SHOWN]
    problem = Problem(title=title, status=status, detail=detail, field=field, value=text, allowed=allowed)
    return Refused(problem, headers)


def problem_response(refused: Refused, request: web.Request) -> web.Response:
    """The answer for a refusal: instance and request id filled in."""
    problem = refused.problem
    problem.instance = request.path
    problem.request_id = request.get(REQUEST_ID, "")
    body = msgspec.json.encode(problem)
    return web.Response(body=body, status=problem.status, content_type=PROBLEM_TYPE, headers=refused.headers)


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No query parameters, or an empty body."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks: a tenant with scopes, and how that was proven."""

    tenant: str
    scopes: frozenset[str]
    kind: str  # prod, test, admin, open
    via: Literal["open", "key", "ticket"]
    key_id: str = ""


Q = TypeVar("Q")
B = TypeVar("B")
Q_co = TypeVar("Q_co", covariant=True)
B_co = TypeVar("B_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Ask(Generic[Q_co, B_co]):
    """One request as its handler sees it: parsed, and allowed."""

    request: web.Request
    who: Identity
    query: Q_co
    body: B_co

    def path(self, name: str) -> str:
        """A variable of the path."""
        return self.request.match_info[name]


Answer: TypeAlias = msgspec.Struct | web.StreamResponse


@dataclass(frozen=True, slots=True)
class Endpoint(Generic[Q, B]):
    """One row of the API's only table: it registers the handler and describes it in OpenAPI."""

    method: Method
    path: str
    handler: Callable[[Ask[Q, B]], Awaitable[Answer]]
    summary: str
    query: type[Q]
    body: type[B]
    answers: Mapping[int, type[msgspec.Struct] | str]  # a struct, or the media type of something else
    scope: Scope | None = None  # None: anyone may ask (or the handler itself knows whom to let in)
    tag: str = "service"
    raw_body: bool = False  # the handler reads the body itself (webhooks: JSON, form or query)
    raw_query: bool = False  # carriers put what they like into the query
    description: str = ""
    problems: tuple[int, ...] = field(default=())


Row: TypeAlias = Endpoint[Any, Any]


async def read_body(request: web.Request) -> bytes:
    """The whole body, bounded in size (the application's `client_max_size`) and in time. Raises Refused."""
    encoding = request.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise refuse(415, "Compressed bodies are not taken", field="Content-Encoding", value=encoding,
                     allowed="identity")  # fmt: skip
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            return await request.read()
    except TimeoutError:
        raise refuse(408, "The request body did not arrive in time", allowed=f"{BODY_TIMEOUT_S:g} s") from None
    except web.HTTPRequestEntityTooLarge:
        limit = request.app.get(MAX_BODY, 0)
        raise refuse(413, "The request body is too large", field="body", allowed=f"at most {limit} bytes") from None
    except (web.RequestPayloadError, ValueError, RuntimeError) as wrong:  # broken chunks; a client that left
        raise refuse(400, "The request body could not be read", str(wrong)[:SHOWN], field="body") from None


MAX_BODY = web.AppKey("max_body", int)
REQUEST_ID = web.RequestKey("request_id", str)

_AT = re.compile(r" - at `(?:key in )?\$(?P<path>.*)`$", re.DOTALL)
_FIELD = re.compile(r"(?:required|unknown) field `(?P<name>[^`]*)`")


def complaint(error: Exception, given: object, kind: type) -> Refused:
    """A validation error of msgspec as a problem that names the field, its value and what is allowed."""
    text = str(error)
    at = _AT.search(text)
    path = at["path"].lstrip(".") if at else ""
    words = text[: at.start()] if at else text
    if named := _FIELD.search(words):
        path = f"{path}.{named['name']}".lstrip(".")
        names = ", ".join(f.encode_name for f in msgspec.structs.fields(kind)) if _is_struct(kind) else ""
        allowed = f"fields: {names}" if "unknown" in words else f"{named['name']} is required"
        return refuse(422, "A field is missing or unknown", words, field=path, allowed=allowed)
    allowed = words.split(", got")[0].replace("`", "")
    return refuse(422, "A value is not allowed", words, field=path or "body", value=_dig(given, path), allowed=allowed)


def _is_struct(kind: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _dig(given: object, path: str) -> object:
    for step in filter(None, re.split(r"[.\[\]]+", path)):
        if isinstance(given, Mapping) and step in given:
            given = given[step]
        elif isinstance(given, list) and step.isdigit() and int(step) < len(given):
            given = given[int(step)]
        else:
            return ""
    return given


def parse_json(data: bytes, kind: type[B]) -> B:
    """JSON bytes as `kind`. Raises Refused: 400 where it is no JSON, 422 where it is another shape."""
    try:
        given = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as wrong:
        raise refuse(400, "The body is not JSON", str(wrong), field="body", value=data[:SHOWN]) from None
    try:
        return msgspec.convert(given, kind)
    except (msgspec.ValidationError, RecursionError) as wrong:
        raise complaint(wrong, given, kind) from None


def parse_query(request: web.Request, kind: type[Q]) -> Q:
    """Query parameters as `kind`; numbers and booleans are read from their text. Raises Refused (422)."""
    given = {k: v for k, v in request.query.items() if k not in ("ticket", "secret")}
    for name, value in given.items():
        if "\x00" in value:  # databases cannot even compare it
            raise refuse(422, "A value is not allowed", field=name, value=value, allowed="text without NUL")
    try:
        return msgspec.convert(given, kind, strict=False)
    except msgspec.ValidationError as wrong:
        raise complaint(wrong, given, kind) from None
