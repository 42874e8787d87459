"""What the agent knows of the business: `business_data.json`, read once, checked, errors naming the field.

The file has the fields of the earlier assistant (name, location, phone, hours, menu[], orders[]); hours may be one
sentence or a map of days, a menu item a bare name or an object, a price a number or "$12.50".
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec

from trunkline.ai.tools import Json
from trunkline.errors import ConfigError

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_GROUPS = {
    "daily": DAYS,
    "everyday": DAYS,
    "every day": DAYS,
    "weekdays": DAYS[:5],
    "weekday": DAYS[:5],
    "weekend": DAYS[5:],
    "weekends": DAYS[5:],
}
_TIME = r"(\d{1,2})(?:[:.](\d{2}))?\s*([ap])?\.?m?\.?"
_SPAN = re.compile(rf"^\s*{_TIME}\s*(?:-|–|to|until)\s*{_TIME}\s*$", re.IGNORECASE)
_PRICE = re.compile(r"^\s*[$€£₹]?\s*(\d+(?:\.\d{1,2})?)\s*$")


class MenuItem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to order. `aliases`: other ways in which callers say it."""

    name: str
    price: float | None = None
    description: str = ""
    category: str = ""
    aliases: tuple[str, ...] = ()


class KnownOrder(msgspec.Struct, frozen=True, kw_only=True):
    """An order that the file brings along."""

    order_id: str
    customer_name: str = ""
    item: str = ""
    quantity: int = 1
    status: str = "received"


class Span(msgspec.Struct, frozen=True):
    """Open from `opens` to `closes`, minutes after midnight; `closes` beyond 1440 is the next morning."""

    opens: int
    closes: int


class Business(msgspec.Struct, frozen=True, kw_only=True):
    """The checked contents. `week`: spans per weekday from Monday, or None when the hours are one sentence."""

    name: str
    location: str = ""
    phone: str = ""
    hours_text: str = ""
    week: tuple[tuple[Span, ...], ...] | None = None
    menu: tuple[MenuItem, ...] = ()
    orders: tuple[KnownOrder, ...] = ()
    timezone: str = ""  # "" is the machine's own
    currency: str = "$"
    about: str = ""

    def local(self, now: datetime) -> datetime:
        """An aware time as the clock on the shop's wall shows it."""
        return now.astimezone(ZoneInfo(self.timezone) if self.timezone else None)


class _RawItem(msgspec.Struct):
    name: str
    price: float | str | None = None
    description: str = ""
    category: str = ""
    aliases: tuple[str, ...] = ()


class _Raw(msgspec.Struct):
    name: str
    location: str = ""
    phone: str = ""
    hours: str | dict[str, str] = ""
    menu: list[_RawItem | str] = []
    orders: list[KnownOrder] = []
    timezone: str = ""
    currency: str = "$"
    about: str = ""


def business_schema() -> Mapping[str, Json]:
    """JSON schema of the file."""
    schema: Mapping[str, Json] = msgspec.json.schema(_Raw)
    return schema


def sample_business() -> Business:
    """The sample that comes with the package."""
    return parse_business((files("trunkline.ai.offline") / "business_data.json").read_bytes(), "the built-in sample")


def load_business(path: str | Path | None = None, *, data_dir: str | Path | None = None) -> Business:
    """The file at `path`; without one `data_dir`/business_data.json if it is there; else the sample.

    Raises ConfigError naming the file and the field."""
    if path:
        chosen = Path(path)
    elif data_dir is not None and (Path(data_dir) / "business_data.json").is_file():
        chosen = Path(data_dir) / "business_data.json"
    else:
        return sample_business()
    try:
        data = chosen.read_bytes()
    except OSError as exc:
        raise ConfigError(f"ai.offline.business: cannot read {chosen}: {exc.strerror}") from exc
    return parse_business(data, str(chosen))


def parse_business(data: bytes, source: str = "business data") -> Business:
    """Checked contents of a JSON file; ConfigError names `source` and the field, and says what is allowed."""
    try:
        raw = msgspec.json.decode(data, type=_Raw, strict=False)
    except msgspec.ValidationError as exc:
        what, _, where = str(exc).partition(" - at `$")
        raise ConfigError(f"{source}: {where.strip('`.') or 'top level'}: {what}") from exc
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{source}: this is not JSON: {exc}") from exc
    try:
        return _checked(raw)
    except ConfigError as exc:
        raise ConfigError(f"{source}: {exc}") from None


def _checked(raw: _Raw) -> Business:
    if not raw.name.strip():
        raise ConfigError("name: must not be empty")
    try:
        ZoneInfo(raw.timezone or "UTC")
    except (KeyError, ValueError, OSError) as exc:
        raise ConfigError(f"timezone: {raw.timezone!r} is unknown; use a name such as Europe/Rome") from exc
    return Business(
        name=raw.name.strip(),
        location=raw.location,
        phone=raw.phone,
        hours_text=raw.hours if isinstance(raw.hours, str) else "",
        week=None if isinstance(raw.hours, str) else _week(raw.hours),
        menu=tuple(_item(i, item) for i, item in enumerate(raw.menu)),
        orders=tuple(raw.orders),
        timezone=raw.timezone,
        currency=raw.currency,
        about=raw.about,
    )


def _item(index: int, raw: _RawItem | str) -> MenuItem:
    if isinstance(raw, str):
        raw = _RawItem(raw)
    if not raw.name.strip():
        raise ConfigError(f"menu[{index}].name: must not be empty")
    return MenuItem(
        name=raw.name.strip(),
        price=_price(index, raw.price),
        description=raw.description,
        category=raw.category,
        aliases=raw.aliases,
    )


def _price(index: int, price: float | str | None) -> float | None:
    if isinstance(price, str):
        found = _PRICE.match(price)
        if found is None:
            raise ConfigError(f"menu[{index}].price: {price!r} is no price; use a number such as 12.5, or null")
        price = float(found[1])
    if price is not None and not 0 <= price < 1_000_000:
        raise ConfigError(f"menu[{index}].price: {price} must lie between 0 and 1000000")
    return price


def _week(hours: Mapping[str, str]) -> tuple[tuple[Span, ...], ...]:
    days: dict[str, tuple[Span, ...]] = {}
    for key, value in hours.items():
        spans = _spans(key, value)
        for day in _days(key):
            days[day] = spans
    return tuple(days.get(day, ()) for day in DAYS)


def _days(key: str) -> Sequence[str]:
    key = key.strip().lower()
    if key in _GROUPS:
        return _GROUPS[key]
    first, _, last = (part.strip() for part in re.sub(r"\s*(?:-|–|to)\s*", "|", key).partition("|"))
    try:
        begin = _day(first)
        end = _day(last) if last else begin
    except StopIteration:
        raise ConfigError(
            f"hours.{key}: unknown day; use monday … sunday, a range such as mon-fri, weekdays, weekend or daily"
        ) from None
    return [DAYS[(begin + i) % 7] for i in range((end - begin) % 7 + 1)]


def _day(text: str) -> int:
    return next(i for i, day in enumerate(DAYS) if len(text) >= 3 and day.startswith(text))


def _spans(key: str, value: str) -> tuple[Span, ...]:
    if value.strip().lower() in ("closed", "", "-"):
        return ()
    spans = []
    for part in re.split(r"[,;&]|\band\b", value):
        found = _SPAN.match(part)
        span = _span(found) if found else None
        if span is None:
            raise ConfigError(f"hours.{key}: cannot read {part.strip()!r}; use 11:00-22:00, 11am-10pm or closed")
        spans.append(span)
    return tuple(spans)


def _span(found: "re.Match[str]") -> Span | None:
    opens, closes = _minutes(*found.groups()[:3]), _minutes(*found.groups()[3:])
    if opens is None or closes is None:
        return None
    return Span(opens, closes if closes > opens else closes + 1440)


def _minutes(hour: str, minute: str | None, half: str | None) -> int | None:
    hours = int(hour)
    if half is not None:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if half.lower() == "p" else 0)
    minutes = hours * 60 + int(minute or 0)
    return minutes if minutes <= 1440 and int(minute or 0) < 60 else None
