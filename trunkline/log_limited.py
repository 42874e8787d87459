"""For what strangers can cause as often as they like: one line a second at most, with how many it stands for. Pure."""


class Rarely:
    """Counts what happens; says when it is time for a line."""

    def __init__(self, every_s: float = 1.0) -> None:
        self._every_s = every_s
        self._told_at: float | None = None
        self._since = 0

    def due(self, now: float) -> int:
        """One more happened at `now` (s): 0, or how many since the last line, for the line that is due."""
        self._since += 1
        if self._told_at is not None and now - self._told_at < self._every_s:
            return 0
        self._told_at, count, self._since = now, self._since, 0
        return count
