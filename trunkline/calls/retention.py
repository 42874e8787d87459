"""What was said in a call is kept for so long and no longer.

Every worker asks once an hour whether it is its turn; the store gives each hour to one of all that share it. Forgetting
twice is harmless, and an hour whose worker died is made up for in the next. Steps are small and stand apart: it is
done beside live calls.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import structlog

from trunkline.clock import Clock
from trunkline.errors import StoreError

FIRST_S = 60.0  # after the start, which has enough to do
EVERY_S = 3600.0
PAUSE_S = 0.2  # between two steps
_log = structlog.get_logger(__name__)


@runtime_checkable
class Forgetful(Protocol):
    """A store that can forget; `trunkline.calls.store_sql.SqlStore` is one. Raises StoreError."""

    async def claim(self, work: str, period: str) -> bool:
        """True for one asker alone."""
        ...

    async def forget_before(self, when: datetime, *, tenant: str | None = None, pause_s: float = 0.0) -> int:
        """Remove what was said in calls that ended before `when`; how many calls."""
        ...


class Retention:
    """One worker's part. `counters`: calls_forgotten, retention_failed (hours in which the store could not)."""

    def __init__(self, store: Forgetful, clock: Clock, keep_days: float) -> None:
        self.counters: Counter[str] = Counter()
        self._store = store
        self._clock = clock
        self._keep = timedelta(days=keep_days)

    async def run(self) -> None:
        """Until cancelled: a minute after the start, then every hour."""
        due = self._clock.monotonic() + FIRST_S
        while True:
            await self._clock.sleep_until(due)
            await self._turn()
            due += EVERY_S

    async def _turn(self) -> None:
        now = self._clock.utcnow()
        try:
            if not await self._store.claim("retention", now.strftime("%Y-%m-%dT%H")):
                return
            calls = await self._store.forget_before(now - self._keep, pause_s=PAUSE_S)
        except StoreError as wrong:
            self.counters["retention_failed"] += 1
            _log.warning("retention.failed", error=str(wrong), hint="tried again in an hour")
            return
        self.counters["calls_forgotten"] += calls
        if calls:
            _log.info("retention.forgot", calls=calls, ended_before_days=self._keep.days)
