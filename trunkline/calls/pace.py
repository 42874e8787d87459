"""How long callers usually wait for a model: in this call, else in its agent's latest calls. Pure."""

from collections import deque
from itertools import islice

OWN_TURNS = 6  # newest turns of the call
SHARED_TURNS = 16  # newest turns of all the agent's calls
ENOUGH = 2  # own turns, that nobody else's are asked for any more


class Pace:
    """Of one call; `shared`: that of its agent, which learns with it. A worker has one of those per agent."""

    def __init__(self, shared: "Pace | None" = None) -> None:
        self._shared = shared
        self._took: deque[float] = deque(maxlen=OWN_TURNS if shared is not None else SHARED_TURNS)

    def took(self, seconds: float) -> None:
        """From the caller's last word to the answer, or to its first request for a tool."""
        self._took.append(seconds)
        if self._shared is not None:
            self._shared.took(seconds)

    @property
    def usual_s(self) -> float | None:
        """What most turns stay below: the longest, once the slowest quarter is left out (one at least, where there are
        two). A single turn that a fault delayed must not make the next fault's silence longer. None: nothing known."""
        known = sorted(self._known())
        if not known:
            return None
        return known[-1 - min(max(1, len(known) // 4), len(known) - 1)]

    def _known(self) -> list[float]:
        own = list(self._took)
        if len(own) >= ENOUGH or self._shared is None:
            return own
        return list(islice(reversed(self._shared._took), SHARED_TURNS))
