"""Which agent answers an inbound number: the first `[[route]]` that matches, else the default. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from trunkline.config import Route


@dataclass(frozen=True, slots=True)
class Match:
    """The agent, and the route that chose it; None: the default."""

    agent: str
    route: Route | None

    def explain(self, number: str, carrier: str) -> str:
        """One line for a person: why this agent."""
        asked = f"{number or 'a call without a number'} on {carrier}"
        if self.route is None:
            return f"{asked} → {self.agent}: no route matches, so the default agent"
        return f'{asked} → {self.agent}: route to = "{self.route.to}", carrier = "{self.route.carrier}"'


def choose(numbers: Sequence[str], carrier: str, routes: Sequence[Route], default: str) -> tuple[str, Match]:
    """Of a call that names several numbers, most exact first: the first that a route takes, else the first."""
    for number in numbers:
        found = match(number, carrier, routes, default)
        if found.route is not None:
            return number, found
    return (numbers[0] if numbers else ""), Match(default, None)


def match(number: str, carrier: str, routes: Sequence[Route], default: str) -> Match:
    """number: as normalised at the edge, "" when unknown (matched by "*" only); carrier: key of CARRIERS."""
    for route in routes:
        if not why_not(route, number, carrier):
            return Match(route.agent, route)
    return Match(default, None)


def why_not(route: Route, number: str, carrier: str) -> str:
    """Why this route does not take such a call, "" when it does."""
    if not fnmatchcase(carrier, route.carrier):
        return f'carrier = "{route.carrier}" is not {carrier}'
    if not fnmatchcase(number, _pattern(route.to)):
        return f'to = "{route.to}" does not fit {number or "a call without a number"}'
    return ""


def _pattern(to: str) -> str:
    """Only `*` is special: telephone keys like # or a typed [ must match themselves."""
    return to.replace("[", "[[]").replace("?", "[?]")
