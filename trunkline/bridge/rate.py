"""How many messages a far end may send. Pure: time is handed in."""


class RateLimit:
    """A bucket of one second's messages. Also tells who never stops: `refused` since the bucket was last half full."""

    def __init__(self, per_s: float) -> None:
        self.per_s = per_s
        self._each = 1 / per_s  # s that a message is remembered
        self._most = 1 - self._each + 1e-9  # s remembered when one more still fits
        self._until = float("-inf")  # when all will be forgotten
        self.refused = 0

    def admits(self, now: float) -> bool:
        """Whether one more message fits at `now`."""
        until = self._until
        if until < now:
            until = now
        if until - now > self._most:
            self.refused += 1
            return False
        if until - now <= 0.5:
            self.refused = 0
        self._until = until + self._each
        return True
