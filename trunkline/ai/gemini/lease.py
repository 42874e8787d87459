"""How long a connection may still be used, and by which handle the next one goes on."""

from dataclasses import dataclass

from trunkline.ai.gemini.wire import GoAway, Resumption, seconds_of


@dataclass(slots=True)
class Lease:
    """`margin_s`: a connection is left at least so long before its announced end (or at half of what is left)."""

    margin_s: float
    handle: str = ""
    handle_mark: int = 0  # lines of the past that the handle covers
    resumable: bool = False  # the newest handle is of the present state
    leave_at: float | None = None  # own timer: the server may be silent from here on

    def update(self, news: Resumption, mark: int) -> None:
        """Only a handle that is resumable is kept."""
        self.resumable = bool(news.resumable and news.new_handle)
        if news.resumable and news.new_handle:
            self.handle, self.handle_mark = news.new_handle, mark

    def ends(self, news: GoAway, now: float) -> None:
        """The server announced the end."""
        left_s = seconds_of(news.time_left)
        leave_at = now + left_s - min(self.margin_s, left_s / 2)
        self.leave_at = leave_at if self.leave_at is None else min(self.leave_at, leave_at)

    def due(self, now: float, *, quiet: bool) -> bool:
        """Whether to go now: at a quiet point with a fresh handle, else at the last moment."""
        if self.leave_at is None:
            return False
        return now >= self.leave_at or (quiet and (self.resumable or not self.handle))

    def renewed(self) -> None:
        """Another connection."""
        self.leave_at = None
        self.resumable = False

    def refused(self) -> None:
        """The handle is good for nothing."""
        self.handle = ""
        self.handle_mark = 0
