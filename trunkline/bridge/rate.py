"""How many messages a far end may send. Pure: time is handed in."""


class RateLimit:
    """A bucket of one second's messages. Also tells who never stops: `refused` since the bucket was last half full."""

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self._tokens = per_s
        self._at: float | None = None
        self.refused = 0

    def admits(self, now: float) -> bool:
        """Whether one more message fits at `now`."""
        if self._at is not None:
            self._tokens = min(self.per_s, self._tokens + (now - self._at) * self.per_s)
        self._at = now
        if self._tokens >= self.per_s / 2:
            self.refused = 0
        if self._tokens < 1:
            self.refused += 1
            return False
        self._tokens -= 1
        return True
