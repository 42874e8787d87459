"""What a leg tells: its events, each kind of oddity once, and its counters, always."""

from collections.abc import Mapping

from trunkline.bridge.channel import Channel
from trunkline.bridge.leg import LegEvent, Oddity
from trunkline.outcome import EndCause, Fault

EVENTS = 1000  # events held for a consumer that is late

FAULTS: Mapping[EndCause, Fault] = {  # of a leg that we end for this cause; else nobody's
    EndCause.ABANDONED: "caller",
    EndCause.BUSY: "callee",
    EndCause.NO_ANSWER: "callee",
    EndCause.REJECTED: "callee",
    EndCause.SILENCE: "caller",
    EndCause.ADMISSION: "us",
    EndCause.DRAINED: "us",
    EndCause.INTERNAL: "us",
    EndCause.MEDIA_LOST: "carrier",
    EndCause.CARRIER_FAILED: "carrier",
    EndCause.PROVIDER_FAILED: "provider",
}


class Telling:
    """One leg's stream of events and its counters."""

    def __init__(self) -> None:
        self.events: Channel[LegEvent] = Channel(EVENTS)
        self.counters: dict[str, int] = {}
        self._told: set[str] = set()

    def tell(self, event: LegEvent) -> None:
        """One event; beyond `EVENTS` the oldest is dropped and counted."""
        dropped = self.events.put(event)
        if dropped:
            self.count("events_dropped", round(dropped))

    def odd(self, oddity: Oddity) -> None:
        """Counted; the first of its kind is an event."""
        self.count(oddity.kind)
        if oddity.kind not in self._told:
            self._told.add(oddity.kind)
            self.tell(Oddity(oddity.kind, oddity.detail[:200]))

    def count(self, name: str, by: int = 1) -> None:
        """One more, or `by`."""
        self.counters[name] = self.counters.get(name, 0) + by
