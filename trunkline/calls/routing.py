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


def match(number: str, carrier: str, routes: Sequence[Route], default: str) -> Match:
    """number: as normalised at the edge, "" when unknown (matched by "*" only); carrier: key of CARRIERS."""
    for route in routes:
        if fnmatchcase(carrier, route.carrier) and fnmatchcase(number, _pattern(route.to)):
            return Match(route.agent, route)
    return Match(default, None)


def _pattern(to: str) -> str:
    """Only `*` is special: telephone keys like # or a typed [ must match themselves."""
    return to.replace("[", "[[]").replace("?", "[?]")
