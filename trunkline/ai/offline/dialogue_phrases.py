"""How the receptionist puts things: numbers, prices, lists, opening hours. Pure; short, because it is a phone."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from trunkline.ai.business import DAYS, Business, MenuItem, Span
from trunkline.ai.offline.intents import NUMBERS

_NUMBER_WORDS: Final = {value: word for word, value in NUMBERS.items()}


def number(value: int) -> str:
    """ "two"; figures above twenty."""
    return _NUMBER_WORDS.get(value, str(value))


def price(business: Business, amount: float) -> str:
    """ "$9.50", "$12"."""
    return f"{business.currency}{amount:.2f}".removesuffix(".00")


def listed(parts: Sequence[str], word: str = "and") -> str:
    """ "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {word} {parts[-1]}" if parts else ""


def some(quantity: int, item: str) -> str:
    """ "two Margherita Pizzas", "one Lemonade"."""
    return f"{number(quantity)} {item if quantity == 1 else plural(item)}"


def plural(item: str) -> str:
    """The name with the s of more than one, where it takes one."""
    if item.lower().endswith(("s", "water", "bread")):
        return item if item.lower().endswith(("s", "water")) else item + "s"
    return item + "s"


def names(items: Sequence[MenuItem], most: int = 6) -> str:
    """Names in a row; after `most` of them "and more"."""
    chosen = [item.name for item in items[:most]]
    return ", ".join(chosen) + " and more" if len(items) > most else listed(chosen)


def short_names(items: Sequence[MenuItem], kind: str, most: int = 6) -> str:
    """As `names`, the shared last word said only once: "Margherita, Pepperoni and Mushroom"."""
    tail = " " + kind.lower()
    cut = [item.name[: -len(tail)] if item.name.lower().endswith(tail) else item.name for item in items[:most]]
    return ", ".join(cut) + " and more" if len(items) > most else listed(cut)


def clock_time(minutes: int) -> str:
    """ "11 AM", "11:30 PM", "noon", "midnight" from minutes after midnight."""
    minutes %= 1440
    if minutes in (0, 720):
        return "midnight" if minutes == 0 else "noon"
    hour, minute = divmod(minutes, 60)
    half = "AM" if hour < 12 else "PM"
    return f"{(hour - 1) % 12 + 1}{f':{minute:02}' if minute else ''} {half}"


def spans(day: Sequence[Span]) -> str:
    """ "from 11 AM to 2 PM and from 5 PM to 10 PM"."""
    return listed([f"from {clock_time(span.opens)} to {clock_time(span.closes)}" for span in day])


def hours(business: Business, day: str, now: datetime) -> str:
    """An answer to "when are you open?", for a day if one was named. `now` is aware."""
    if business.week is None:
        return f"Our hours are: {business.hours_text}." if business.hours_text else "I don't have our hours here."
    local = business.local(now)
    today = local.weekday()
    if day in DAYS:
        return _one_day(business.week[DAYS.index(day)], f"On {day.capitalize()}")
    match day:
        case "tomorrow":
            return _one_day(business.week[(today + 1) % 7], "Tomorrow")
        case "weekend":
            return " ".join(_one_day(business.week[i], f"On {DAYS[i].capitalize()}") for i in (5, 6))
        case "now":
            return _now(business.week, local)
        case "today" | "tonight":
            return _one_day(business.week[today], "Today")
        case "holiday" | "christmas":
            return "For holidays, please ask a person. Our usual week is: " + _whole(business.week)
    return f"{_one_day(business.week[today], 'Today')} {_whole(business.week)}"


def _one_day(day: Sequence[Span], when: str) -> str:
    return f"{when} we're open {spans(day)}." if day else f"{when} we're closed."


def _whole(week: Sequence[Sequence[Span]]) -> str:
    """The week, equal neighbours together."""
    groups: list[tuple[int, int]] = []
    for i, day in enumerate(week):
        if groups and tuple(week[groups[-1][0]]) == tuple(day):
            groups[-1] = (groups[-1][0], i)
        else:
            groups.append((i, i))
    said = []
    for first, last in groups:
        joint = " and " if last == first + 1 else " to "
        label = DAYS[first].capitalize() + (joint + DAYS[last].capitalize() if last > first else "")
        said.append(f"{label} {spans(week[first]) if week[first] else 'closed'}.")
    return " ".join(said)


def _now(week: Sequence[Sequence[Span]], local: datetime) -> str:
    today, minute = local.weekday(), local.hour * 60 + local.minute
    for span in week[today]:
        if span.opens <= minute < span.closes:
            return f"Yes, we're open until {clock_time(span.closes)}."
    for span in week[(today - 1) % 7]:
        if minute + 1440 < span.closes:
            return f"Yes, we're open until {clock_time(span.closes)}."
    return f"We're closed right now. {_next_opening(week, local)}"


def _next_opening(week: Sequence[Sequence[Span]], local: datetime) -> str:
    minute = local.hour * 60 + local.minute
    for ahead in range(8):
        day = (local + timedelta(days=ahead)).weekday()
        later = [span for span in week[day] if ahead or span.opens > minute]
        if later:
            when = ("today", "tomorrow")[ahead] if ahead < 2 else f"on {DAYS[day].capitalize()}"
            return f"We open {when} at {clock_time(later[0].opens)}."
    return "I don't know when we open again."
