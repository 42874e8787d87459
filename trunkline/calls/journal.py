"""One call's events, in order, in the call's own time; told to every spectator as they happen."""

from collections import Counter
from collections.abc import Sequence

import structlog

from trunkline.calls.events import CallEnded, CallEvent, Observer
from trunkline.calls.timeline import TurnFold
from trunkline.clock import Clock

MOST_EVENTS = 20_000  # an hour of lively talk has some 3,000; beyond it only the end is kept

_log = structlog.get_logger(__name__)


class Journal:
    """Written by the call, read by record, timeline and API. Call time 0 is when the journal was opened."""

    def __init__(self, call_id: str, clock: Clock, observers: Sequence[Observer]) -> None:
        self.call_id = call_id
        self.began = clock.monotonic()
        self.began_utc = clock.utcnow()
        self.events: list[CallEvent] = []
        self.turns = TurnFold()
        self.counters: Counter[str] = Counter()
        self._clock = clock
        self._observers = observers

    def now(self) -> float:
        """Call time (s) now."""
        return self._clock.monotonic() - self.began

    def at(self, moment: float) -> float:
        """Call time (s) of a moment of the clock."""
        return moment - self.began

    def emit(self, event: CallEvent) -> None:
        """Keep the event and tell everybody; a spectator's failure is the spectator's own."""
        if len(self.events) < MOST_EVENTS or isinstance(event, CallEnded):
            self.events.append(event)
        else:
            self.counters["events_dropped"] += 1
        self.turns.add(event)
        for observer in self._observers:
            try:
                observer.notify(self.call_id, event)
            except Exception as exc:  # observers never raise; one that does is told once and costs the call nothing
                self._observer_failed(observer, exc)

    def _observer_failed(self, observer: Observer, exc: Exception) -> None:
        self.counters["observer_errors"] += 1
        if self.counters["observer_errors"] == 1:
            _log.error("observer.failed", observer=type(observer).__name__, error=repr(exc))
