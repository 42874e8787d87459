"""Written English → words that any synthesiser says right: money, times, dates, numbers, order and phone numbers.

Pure. `speakable("ORD-00012 is $4.50 at 4:30 p.m.")` is "O R D zero zero zero one two is four dollars and fifty cents at
four thirty P M". Made before any engine sees the text, because each has its own mistakes here.
"""

import re
from collections.abc import Callable
from functools import partial
from typing import Final

_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen|||twenty thirty forty fifty sixty seventy eighty ninety"
)
_MONTH_NAMES = "January February March April May June July August September October November December"
_DAY_NAMES = "Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday"
_ONES: Final = _WORDS.split("|||")[0].split()
_TENS: Final = ["", "", *_WORDS.split("|||")[1].split()]
_MONTHS: Final = _MONTH_NAMES.split()
_SCALES: Final = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_INDIAN: Final = ((10**7, "crore"), (10**5, "lakh"), (1000, "thousand"), (100, "hundred"))
_IRREGULAR: Final = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
# symbol → (one, many, one hundredth, hundredths)
_MONEY: Final = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "₹": ("rupee", "rupees", "paisa", "paise"),
}
_MONEY_NAMES: Final = {"usd": "$", "gbp": "£", "eur": "€", "inr": "₹", "rs": "₹", "rs.": "₹"}
_ABBREVIATIONS: Final = {
    "Dr.": "Doctor",
    "Mr.": "Mister",
    "Mrs.": "Missus",
    "Ms.": "Miz",
    "Prof.": "Professor",
    "Rd.": "Road",
    "Rd": "Road",
    "Ave.": "Avenue",
    "Ave": "Avenue",
    "Blvd.": "Boulevard",
    "Blvd": "Boulevard",
    "Ln.": "Lane",
    "Apt.": "Apartment",
    "Dept.": "Department",
    "approx.": "approximately",
    "e.g.": "for example",
    "i.e.": "that is",
    "etc.": "and so on",
    "vs.": "versus",
    "min.": "minutes",
    "hrs.": "hours",
    "Mon.": "Monday",
    "Tue.": "Tuesday",
    "Wed.": "Wednesday",
    "Thu.": "Thursday",
    "Fri.": "Friday",
    "Sat.": "Saturday",
    "Sun.": "Sunday",
}
_SYMBOLS: Final = {"&": " and ", "%": " percent", "+": " plus ", "=": " equals ", "@": " at ", "°": " degrees"}


def number(value: int, *, indian: bool = False) -> str:
    """1250 → "one thousand two hundred fifty"; Indian: 125000 → "one lakh twenty five thousand"."""
    if value < 0:
        return "minus " + number(-value, indian=indian)
    if value < 20:
        return _ONES[value]
    if value < 100:
        return _TENS[value // 10] + (" " + _ONES[value % 10] if value % 10 else "")
    for size, word in _INDIAN if indian else _SCALES:
        if value >= size:
            rest = value % size
            head = f"{number(value // size, indian=indian)} {word}"
            return f"{head} {number(rest, indian=indian)}" if rest else head
    raise AssertionError(value)


def ordinal(value: int) -> str:
    """21 → "twenty first"."""
    *head, last = number(value).split()
    regular = last[:-1] + "ieth" if last.endswith("y") else last + "th"
    last = _IRREGULAR.get(last, regular)
    return " ".join([*head, last])


def digits(text: str) -> str:
    """The digits of `text` one by one: "0134" → "zero one three four"."""
    return " ".join(_ONES[int(c)] for c in text if c.isdigit())


def decimal(text: str, *, indian: bool = False) -> str:
    """ "1,250.75" → "one thousand two hundred fifty point seven five"; a leading zero is said digit by digit."""
    whole, _, fraction = text.replace(",", "").partition(".")
    leading_zero = len(whole) > 1 and whole.startswith("0")
    words = digits(whole) if leading_zero or len(whole) > 15 else number(int(whole or "0"), indian=indian)
    return f"{words} point {digits(fraction)}" if fraction else words


def year(value: int) -> str:
    """1999 → "nineteen ninety nine"; 2005 → "two thousand five"; 2026 → "twenty twenty six"."""
    high, low = divmod(value, 100)
    if not 1100 <= value < 2100 or 2000 <= value < 2010:
        return number(value)
    if low == 0:
        return f"{number(high)} hundred"
    return f"{number(high)} {'oh ' if low < 10 else ''}{number(low)}"


def money(symbol: str, amount: str, *, indian: bool = False) -> str:
    """("$", "4.50") → "four dollars and fifty cents"."""
    one, many, cent, cents = _MONEY[symbol]
    whole_text, _, fraction = amount.replace(",", "").partition(".")
    if len(fraction) > 2:
        return f"{decimal(amount, indian=indian)} {many}"
    whole, hundredths = int(whole_text or "0"), int(fraction.ljust(2, "0") or "0")
    parts = []
    if whole or not hundredths:
        parts.append(f"{number(whole, indian=indian or symbol == '₹')} {one if whole == 1 else many}")
    if hundredths:
        parts.append(f"{number(hundredths)} {cent if hundredths == 1 else cents}")
    return " and ".join(parts)


def clock_time(hour: int, minute: int, half: str = "") -> str:
    """(4, 30, "p") → "four thirty P M"; (16, 5) → "four oh five P M"; (9, 0) → "nine o'clock"."""
    if not half and (hour > 12 or hour == 0):
        half, hour = ("p", hour - 12) if 12 < hour < 24 else ("a", 12)
    tail = f" {half.upper()} M" if half else "" if minute else " o'clock"
    minutes = "" if not minute else f" oh {number(minute)}" if minute < 10 else f" {number(minute)}"
    return number(hour) + minutes + tail


def _url(_: re.Match[str]) -> str:
    return "a link"


def _email(match: re.Match[str]) -> str:
    return match[0].replace("@", " at ").replace(".", " dot ").replace("_", " underscore ").replace("-", " dash ")


def _money(match: re.Match[str]) -> str:
    symbol = match["symbol"] or match["after"]
    amount = match["amount"] or match["amount2"]
    scale = match["scale"]
    symbol = _MONEY_NAMES.get(symbol.lower(), symbol)
    if scale:
        return f"{decimal(amount)} {scale.lower()} {_MONEY[symbol][1]}"
    return money(symbol, amount)


def _time(match: re.Match[str]) -> str:
    hour, minute = int(match["hour"]), int(match["minute"] or 0)
    if hour > 24 or minute > 59:
        return match[0]
    return clock_time(hour, minute, (match["half"] or "")[:1])


def _date(match: re.Match[str], *, day_first: bool = False) -> str:
    first, second = int(match["month"]), int(match["day"])
    month, day = (second, first) if (day_first and second <= 12) or first > 12 else (first, second)
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return digits(match[0])
    return f"{_MONTHS[month - 1]} {ordinal(day)}, {year(int(match['year']))}"


def _month_day(match: re.Match[str]) -> str:
    tail = f", {year(int(match['year']))}" if match["year"] else ""
    return f"{match['month']} {ordinal(int(match['day']))}{tail}"


def _order(match: re.Match[str]) -> str:
    return f"{' '.join(match['letters'].upper())} {digits(match['digits'])}"


def _phone(match: re.Match[str]) -> str:
    """Digit by digit, a comma where the writer left a gap, or in 3-3-4 groups."""
    text = match[0]
    groups = re.findall(r"\d+", text)
    if len(groups) == 1:
        run = groups[0]
        head = [run[:-10]] if len(run) > 10 else []
        groups = [*head, run[-10:-7], run[-7:-4], run[-4:]] if len(run) >= 10 else [run]
    if not 7 <= sum(map(len, groups)) <= 15:
        return text
    plus = "plus " if text.lstrip().startswith("+") else ""
    return plus + ", ".join(digits(group) for group in groups if group)


def _ordinal(match: re.Match[str]) -> str:
    return ordinal(int(match[1]))


def _range(match: re.Match[str]) -> str:
    return f"{match[1]} to {match[2]}"


def _hours(match: re.Match[str]) -> str:
    """ "11:00-22:00": the evening of the second says that the first is a morning."""
    (hour, minute), (end, end_minute) = (map(int, match[i].split(":")) for i in (1, 2))
    if hour > 24 or end > 24 or minute > 59 or end_minute > 59:
        return match[0]
    half = "a" if hour < 12 < end and hour else "p" if hour == 12 < end else ""
    return f"{clock_time(hour, minute, half)} to {clock_time(end, end_minute)}"


def _number(match: re.Match[str]) -> str:
    sign = "minus " if match["sign"] else ""
    return sign + decimal(match["digits"])


_AMOUNT = r"\d+(?:,\d{2,3})*(?:\.\d+)?"
_SYMBOL = r"[$£€₹]|\bRs\.?|\bUSD|\bGBP|\bEUR|\bINR"
_MONTH = "|".join(_MONTHS)
_HALF = r"[ap](?:\.\s?m\b\.?|m\b)"
_CLOCK = rf"\d{{1,2}}(?::\d\d)?\s*(?:{_HALF})"
_DASH = r"\s*[-–]\s*"
_SLASH_DATE = re.compile(r"\b(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4})\b")
# in this order: the earlier rules own what the later ones would misread
_RULES: Final[tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...]] = (
    (re.compile(r"\b(?:https?://|www\.)\S+[^\s.,;:!?)]", re.I), _url),
    (re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"), _email),
    (
        re.compile(
            rf"(?:(?P<symbol>{_SYMBOL})\s*(?P<amount>{_AMOUNT})"
            rf"|(?P<amount2>{_AMOUNT})\s*(?P<after>[€₹£$]|(?:USD|GBP|EUR|INR)\b))"
            r"(?:\s+(?P<scale>thousand|lakhs?|crores?|million|billion)\b)?",
            re.I,
        ),
        _money,
    ),
    (re.compile(r"\b(?P<letters>[A-Z]{2,4})-?(?P<digits>\d{3,})\b"), _order),
    (re.compile(r"\b(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)\b"), _date),
    (
        re.compile(rf"\b(?P<month>{_MONTH})\s+(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(?P<year>\d{{4}})\b)?"),
        _month_day,
    ),
    (re.compile(rf"\b({_DAY_NAMES}){_DASH}({_DAY_NAMES})\b"), _range),
    (re.compile(rf"(?<![\w.-])(\d{{1,2}}(?::\d\d)?(?:\s*{_HALF})?){_DASH}({_CLOCK})", re.I), _range),
    (re.compile(rf"(?<![\w.-])(\d{{1,2}}:\d\d){_DASH}(\d{{1,2}}:\d\d)\b(?!\s*{_HALF})", re.I), _hours),
    (re.compile(rf"\b(?P<hour>\d{{1,2}}):(?P<minute>\d\d)(?!\d)(?:\s*(?P<half>{_HALF}))?", re.I), _time),
    (re.compile(rf"\b(?P<hour>\d{{1,2}})(?P<minute>)\s*(?P<half>{_HALF})", re.I), _time),
    (re.compile(r"(?<![\w.,(])\+?\(?\d{1,5}\)?(?:[ -]\(?\d{2,5}\)?){1,4}(?![\w-])"), _phone),
    (re.compile(r"(?<![\w.,])(?:\+\d{7,15}|\d{10,15})\b"), _phone),
    (re.compile(r"\b(\d+)(?:st|nd|rd|th)\b"), _ordinal),
    (re.compile(rf"(?<![\w.,])(\d+){_DASH}(\d+)(?![\w.,-]*\d)"), _range),
    (re.compile(r"(?<![\w.])(?P<sign>[-−])?(?P<digits>\d+(?:,\d{2,3})*\.\d+|\d{1,3}(?:,\d{2,3})+|\d+)"), _number),
)
_NUMBER_SIGN = re.compile(r"(?:#|\b[Nn]o\.)\s*(?=\d)")
_MARKUP = re.compile(r"[*_`#~|<>{}\[\]\\^]+")
_SPACE = re.compile(r"\s+")


def speakable(text: str, *, day_first: bool = False) -> str:
    """`text` as words, for reading aloud; sentence punctuation stays. Never raises, never returns digits.

    `day_first`: 12/05/2026 is the twelfth of May, not December fifth.
    """
    text = _NUMBER_SIGN.sub("number ", _links(text))
    for short, full in _ABBREVIATIONS.items():
        if short in text:
            text = re.sub(rf"(?<!\w){re.escape(short)}(?!\w)", full, text)
    text = _SLASH_DATE.sub(partial(_date, day_first=day_first), text)
    for pattern, say in _RULES:
        text = pattern.sub(say, text)
    for symbol, word in _SYMBOLS.items():
        text = text.replace(symbol, word)
    text = re.sub(r"\d", lambda m: f" {_ONES[int(m[0])]} " if m[0].isascii() else " ", text)
    text = "".join(_plain(c) for c in _MARKUP.sub(" ", text))
    return re.sub(r"\s+([.,;:!?])", r"\1", _SPACE.sub(" ", text)).strip()


def _links(text: str) -> str:
    """Markdown links and list marks."""
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"(?m)^\s*(?:[-*•]|\d+[.)])\s+", "", text)


def _plain(char: str) -> str:
    """Typographic marks as plain ones; what cannot be spoken (emoji, control characters) as a space."""
    plain = {"’": "'", "‘": "'", "“": "", "”": "", '"': "", "–": ", ", "—": ", ", "…": "...", "\u00a0": " ", "/": " "}
    if char in plain:
        return plain[char]
    return char if char.isalnum() or char in " .,;:!?'()-\n" else " "
