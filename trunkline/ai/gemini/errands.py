"""What the model asked our tools and was not yet told."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from trunkline.ai.gemini.wire import FunctionCall

MOST_TOOLS = 16  # asked for and not answered


@dataclass(frozen=True, slots=True)
class Asked:
    """A tool that the model waits for. `link`: which connection it asked on."""

    name: str
    arguments: Mapping[str, Any]
    link: int


class Errands:
    """One call's, by the ids that the model gave."""

    def __init__(self) -> None:
        self._asked: dict[str, Asked] = {}

    def __bool__(self) -> bool:
        return bool(self._asked)

    def open(self, call: FunctionCall, link: int) -> tuple[str, Asked] | None:
        """(id, what is asked); None for what is asked already, or too much."""
        name = call.name or ""
        id_ = call.id or f"unnamed-{name}-{len(self._asked)}"
        if id_ in self._asked or len(self._asked) >= MOST_TOOLS:
            return None
        asked = self._asked[id_] = Asked(name, call.args or {}, link)
        return id_, asked

    def close(self, id_: str) -> Asked | None:
        """It was answered."""
        return self._asked.pop(id_, None)

    def cancel(self, ids: Iterable[str]) -> int:
        """Nobody wants these answers. How many of them were awaited."""
        return sum(self.close(id_) is not None for id_ in ids)
