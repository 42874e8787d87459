"""Where calls may be transferred to: the operator's numbers, patterns and SIP addresses. Pure.

One list for both ways: what an agent may ask the line for, and what the line may ask of us.
"""

import re
from collections.abc import Sequence
from typing import Final

_SEPARATORS: Final = str.maketrans("", "", " -.()")
_KEYS: Final = frozenset("0123456789+*#")


def may_transfer(target: str, allowed: Sequence[str]) -> bool:
    """Whether `target` is one of the numbers, patterns and addresses. `*` stands for anything but `@`, `?`, `;`, spaces
    and line ends, and in a pattern for numbers for no `:`: that allows no address, one for a domain no other."""
    wanted = _plain(target)
    return bool(wanted) and any(re.fullmatch(_pattern(_plain(one)), wanted) for one in allowed)


def usual_target(allowed: Sequence[str]) -> str:
    """Where a transfer goes that names nobody: the first of them that is no pattern."""
    return next((one for one in allowed if "*" not in one), "")


def _pattern(allowed: str) -> str:
    number = ":" not in allowed and "@" not in allowed
    return re.escape(allowed).replace(r"\*", r"[^@?;:\s]*" if number else r"[^@?;\s]*")


def _plain(target: str) -> str:
    """Addresses in lower case, numbers without separators, names as they are: `de.sk` is not `desk`."""
    text = target.strip()
    if ":" in text or "@" in text:
        return text.lower()
    number = text.translate(_SEPARATORS)
    return number if _KEYS.issuperset(number) else text
