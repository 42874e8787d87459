"""The highest load that is still carried well: doubled until it is not, then halved in between. Pure."""

from collections.abc import Awaitable, Callable

FIRST = 8
FINE = 0.1  # of the load: closer than this it is not looked for


async def highest(sustained: Callable[[int], Awaitable[bool]], first: int = FIRST, most: int = 1000) -> int:
    """The most calls, up to `most`, of which `sustained` says yes; 0 when the first few are too many.

    `sustained` is asked once per load. A load that failed by a neighbour's fault is not asked again: the answer errs
    downwards.
    """
    good, bad = 0, min(first, most)
    while await sustained(bad):
        good = bad
        if good == most:
            return good
        bad = min(2 * good, most)
    while bad - good > max(1.0, FINE * bad):
        middle = (good + bad) // 2
        if await sustained(middle):
            good = middle
        else:
            bad = middle
    return good
