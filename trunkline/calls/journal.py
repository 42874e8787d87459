"""One call's events, in order, in the call's own time; folded and told to every spectator as they happen."""

from collections import Counter, deque
from collections.abc import Sequence

import structlog

from trunkline.calls.events import CallEvent, Observer
from trunkline.calls.record import RecordFold
from trunkline.calls.turns import TurnFold
from trunkline.clock import Clock

MOST_EVENTS = 1_000  # for one who comes to look; a lively hour has some 3,000. Record and timeline have them folded

_log = structlog.get_logger(__name__)


class Journal:
    """Written by the call, read by record, timeline and API. Call time 0 is when the journal was opened. What it keeps
    does not grow with the length of the call, but for packed turns (`TurnFold`)."""

    def __init__(self, call_id: str, clock: Clock, observers: Sequence[Observer]) -> None:
        self.call_id = call_id
        self.began = clock.monotonic()
        self.began_utc = clock.utcnow()
        self.events: deque[CallEvent] = deque(maxlen=MOST_EVENTS)
        self.folded = RecordFold()
        self.counters: Counter[str] = Counter()
        self._clock = clock
        self._observers = observers

    @property
    def turns(self) -> TurnFold:
        """The exchanges so far."""
        return self.folded.turns

    def now(self) -> float:
        """Call time (s) now."""
        return self._clock.monotonic() - self.began

    def at(self, moment: float) -> float:
        """Call time (s) of a moment of the clock."""
        return moment - self.began

    def emit(self, event: CallEvent) -> None:
        """Keep the event and tell everybody; a spectator's failure is the spectator's own."""
        self.events.append(event)
        self.folded.add(event)
        for observer in self._observers:
            try:
                observer.notify(self.call_id, event)
            except Exception as exc:  # observers never raise; one that does is told once and costs the call nothing
                self._observer_failed(observer, exc)

    def _observer_failed(self, observer: Observer, exc: Exception) -> None:
        self.counters["observer_errors"] += 1
        if self.counters["observer_errors"] == 1:
            _log.error("observer.failed", observer=type(observer).__name__, error=repr(exc))
