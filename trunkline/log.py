"""The log: structlog and everything that uses `logging`, through one chain that masks numbers and secrets.

Events are `noun.verb` ("call.answered"), fields have units, the call's id is bound once by `call_bound`. Nothing per
frame above debug. Numbers and secrets do not leave the process: `Mask` is the last step before a line is rendered, so
that tracebacks and other libraries' lines pass it too.
"""

import logging
import logging.handlers
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

Format = Literal["auto", "json", "console"]
LEVELS: Mapping[str, int] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
HIDDEN = "***"
SHORT = 40  # characters of a text whose masking is remembered
_QUIET = ("aiohttp.access", "sqlalchemy", "alembic", "asyncio", "aiosqlite")  # below warning only when debugging

_PHONE = re.compile(
    r"""(?<![\w-])(?<!\d\.)(?:
        (?:\+|%2B)\d(?:[\s().-]?\d){6,14}      # +91 98123 45678
      | 00\d{8,13}                             # 00919812345678
      | \d{7,15}                               # 9812345678
      | 0\d{1,4}[\s-]\d{3,4}[\s-]?\d{3,4}      # 080 6900 0000
      | \(\d{2,5}\)\s?\d{3,4}[\s-]?\d{3,4}     # (415) 555-0100
      | \d{3}-\d{3}-\d{4}                      # 415-555-0100
      | \d{5}[\s-]\d{5}                        # 98123 45678
    )(?![\w-]|\.\d)""",
    re.VERBOSE | re.IGNORECASE,
)
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), shown)
    for pattern, shown in (
        (r"\bsk_(prod|test|admin)_[0-9A-Za-z]+", r"sk_\1_***"),
        (r"\b(sk-|gsk_|xai-|AIza|AC(?=[0-9a-f]{32}))[0-9A-Za-z_-]{16,}", r"\1***"),
        (r"\b(bearer|basic|token)\s+[A-Za-z0-9._~+/=-]{8,}", r"\1 ***"),
        (r"(://[^\s:/@]*):[^\s/@]+@", r"\1:***@"),
        (r"([?&](?:secret|ticket|token|key|api_key|access_token)=)[^&\s\"']+", r"\1***"),
        (
            r"(/(?:media/[\w-]+|smartflo|twilio|exotel|plivo|telnyx|vonage)/)(?!audio\b|endpoint\b|media\b)[\w-]{16,}",
            r"\1***",
        ),
    )
)
_SECRET_FIELD = re.compile(r"(token|secret|password|passwd|api_?key|authorization|cookie|ticket)$", re.IGNORECASE)
_NUMBER_FIELD = frozenset({"from", "from_", "to", "caller", "callee", "number", "phone", "phone_number", "customer"})
_ID_FIELD = frozenset({"call_id", "carrier_ref", "request_id", "key_id", "order_id", "revision", "version"})


def mask_number(number: str) -> str:
    """A phone number as it may be shown: "+919812345678" → "+91********78". Too short to be one: unchanged."""
    digits = sum(character.isdigit() for character in number)
    if digits < 7:
        return number
    keep_first, keep_last, seen, shown = 2, 2, 0, []
    for character in number:
        seen += character.isdigit()
        hide = character.isdigit() and keep_first < seen <= digits - keep_last
        shown.append("*" if hide else character)
    return "".join(shown)


def mask(text: str) -> str:
    """Free text with phone numbers and well-known secrets masked."""
    return _mask_short(text) if len(text) <= SHORT else _mask(text)


@lru_cache(maxsize=1024)
def _mask_short(text: str) -> str:
    """A line's words are nearly all from the line before, and seven patterns a word are most of what a line costs."""
    return _mask(text)


def _mask(text: str) -> str:
    for pattern, shown in _SECRETS:
        text = pattern.sub(shown, text)
    return _PHONE.sub(lambda match: mask_number(match.group()), text)


@lru_cache(maxsize=256)
def _is_secret(name: str) -> bool:
    return _SECRET_FIELD.search(name) is not None


class Mask:
    """The processor. `secrets`: exact texts (our tokens, the vendors' keys) that are hidden wherever they appear."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        known = sorted({secret for secret in secrets if len(secret) >= 6}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """The event with every value masked."""
        return {name: self._field(name, value) for name, value in event.items()}

    def _field(self, name: str, value: Any) -> Any:
        if name in _ID_FIELD or name.startswith("_"):
            return self._secret(value) if isinstance(value, str) else value
        if value and _is_secret(name):
            return HIDDEN
        if name in _NUMBER_FIELD and isinstance(value, (str, int)):
            return mask_number(mask(self._secret(str(value))))
        return self._value(value)

    def _value(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            return value
        if isinstance(value, Mapping):
            return {str(name): self._field(str(name), inner) for name, inner in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self._value(inner) for inner in value]
        return mask(self._secret(value if isinstance(value, str) else str(value)))

    def _secret(self, text: str) -> str:
        return self._known.sub(HIDDEN, text) if self._known else text


def set_up(
    level: str = "info",
    form: Format = "auto",
    file: str = "",
    *,
    secrets: Iterable[str] = (),
    stream: TextIO | None = None,
) -> None:
    """Direct all logging of the process to `stream` (default: standard error), or to `file` as JSON lines.

    `form` "auto": coloured lines on a terminal, JSON elsewhere. `level`: debug, info, warning, error. May be called
    again. Raises OSError when the file cannot be opened.
    """
    stream = stream or sys.stderr
    handler = _handler(stream, file)
    json = bool(file) or form == "json" or (form == "auto" and not stream.isatty())
    chain = _chain()
    last: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, Mask(secrets)]
    renderer = structlog.processors.JSONRenderer() if json else _console(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=chain, processors=[*last, _timed, renderer])
    )
    _route(handler, LEVELS[level])
    structlog.configure(
        processors=[*chain, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def call_bound(call_id: str, **more: str) -> AbstractContextManager[None]:
    """Every line logged inside carries the call's id."""
    return structlog.contextvars.bound_contextvars(call_id=call_id, **more)


def _chain() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _named,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,  # before the mask: a traceback holds values too
    ]


def _named(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    event["logger"] = record.name if record else getattr(logger, "name", "")
    return event


_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")


def _timed(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """After the mask, which would take a time for a number."""
    return _stamp(logger, method, event)


def _console(stream: TextIO) -> Callable[..., str]:
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), timestamp_key="at", exception_formatter=structlog.dev.plain_traceback
    )


def _handler(stream: TextIO, file: str) -> logging.Handler:
    # WatchedFileHandler follows logrotate
    where = logging.handlers.WatchedFileHandler(file, encoding="utf-8") if file else logging.StreamHandler(stream)
    where.set_name("trunkline")
    return where


def _route(handler: logging.Handler, level: int) -> None:
    """One handler at the root; libraries' own are taken away."""
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
        if old.name == handler.name:  # of an earlier set_up; a host's own handlers are the host's to close
            old.close()
    root.addHandler(handler)
    root.setLevel(level)
    for name in _QUIET:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(level if level <= logging.DEBUG else max(level, logging.WARNING))
    logging.captureWarnings(True)
