"""Telephone numbers as carriers write them, brought to one form at the edge."""

from collections.abc import Collection

_WITHHELD = frozenset({"", "anonymous", "unknown", "private", "restricted", "unavailable", "withheld", "null", "none"})


def indian(number: str) -> str:
    """E.164 of a number as Indian carriers write it: `919800000001`, `09800000001`, `9800000001`, `+91 98000 00001`.

    "" when it is withheld. Short codes, and anything that is no telephone number, stay as they are.
    """
    stripped = number.strip()
    if stripped.lower() in _WITHHELD or stripped.startswith(("sip:", "sips:")):
        return "" if stripped.lower() in _WITHHELD else stripped
    digits = "".join(c for c in stripped if c in "0123456789")
    if stripped.startswith("+") and digits:
        return f"+{digits}"
    if digits.startswith("00") and len(digits) > 10:
        return f"+{digits[2:]}"
    if len(digits) == 11 and digits.startswith("0"):
        return f"+91{digits[1:]}"
    if len(digits) == 10:
        return f"+91{digits}"
    return f"+{digits}" if len(digits) >= 11 else digits or stripped


def same(one: str, other: str) -> bool:
    """The same line, compared on the last ten digits (the Indian numbering plan), whatever prefix either carries."""
    a, b = last_ten(one), last_ten(other)
    return bool(a) and a == b


def last_ten(number: str) -> str:
    """The last ten digits, or all there are."""
    return "".join(c for c in number if c in "0123456789")[-10:]


def ours(number: str, dids: Collection[str]) -> bool:
    """Whether the number is one of our own."""
    return any(same(number, did) for did in dids)


def international(number: str) -> str:
    """A number as world-wide carriers write it, E.164 or `sip:`, `client:`; "" when withheld.

    Twilio spells withheld numbers on the keypad: ANONYMOUS is +266696687.
    """
    stripped = number.strip()
    if stripped.lower() in _WITHHELD or stripped.lstrip("+") in _SPELLED:
        return ""
    return f"+{stripped}" if stripped.isascii() and stripped.isdecimal() and len(stripped) > 7 else stripped


_SPELLED = frozenset({"266696687", "7378742833", "7378742883", "2562533", "8656696", "8566696", "86282452253"})
