"""Prometheus figures: an `Observer` that folds call events, and gauges read when somebody asks.

Names carry units and a `trunkline_` prefix. Labels come from small closed sets: never a call id, never a number.
The registry is our own, so that an application that embeds the service keeps its own figures apart.
"""

import asyncio
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Metric,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from trunkline import RUNS, __version__
from trunkline.calls.events import (
    BargeIn,
    CallEnded,
    CallEvent,
    CallStarted,
    LineQuality,
    Note,
    Odd,
    ReplyDone,
    ReplyOnWire,
    ToolUsed,
    TurnAnswered,
    Used,
)
from trunkline.metrics_sum import Family, Shown, families

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_FOLDS = 10_000  # calls whose start was seen and whose end was not; beyond it the oldest is forgotten
LAG_PERIOD_S = 0.5
MAX_KINDS = 100  # values of one label that comes from outside; later ones count as "other"

TURN_BUCKETS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0)
STAGE_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0)
STOP_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25)
LENGTH_BUCKETS = (1, 5, 10, 30, 60, 120, 300, 600, 1200, 1800, 3600)
TOOL_BUCKETS = (0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MOS_BUCKETS = (1.5, 2.0, 2.5, 3.0, 3.4, 3.6, 3.8, 4.0, 4.2, 4.5)
LOSS_BUCKETS = (0.0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
JITTER_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.2)
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)


@dataclass(slots=True)
class _Fold:
    """What of a live call is needed to tell its figures."""

    carrier: str
    direction: str
    agent: str
    greeted: bool = False


class Metrics:
    """All figures of one worker. `notify` is called for each call event, `render` for each scrape."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        made = _Maker(self.registry)
        call = ("carrier", "direction")
        self._active = made.gauge("calls_active", "Calls whose media is up.", *call)
        self._calls = made.counter("calls", "Calls that are over, by how they ended.", *call, "cause", "fault", "agent")
        self._length = made.histogram("call_duration_seconds", "Length of a call.", LENGTH_BUCKETS, *call)
        self._first = made.histogram("answer_to_first_audio_seconds", "Answer to first agent audio.", TURN_BUCKETS)
        self._turn = made.histogram(
            "turn_response_seconds", "Caller's last speech sample to first agent sample on the wire.", TURN_BUCKETS
        )
        self._stage = made.histogram(
            "turn_stage_seconds", "Stages of a turn; they sum to the response.", STAGE_BUCKETS, "stage"
        )
        self._stop = made.histogram("barge_in_stop_seconds", "Barge-in judged to clear on the wire.", STOP_BUCKETS)
        self._replies = made.counter("replies", "Replies of agents, by whether the caller cut them.", "interrupted")
        self._tool = made.histogram("tool_seconds", "Time a tool took.", TOOL_BUCKETS, "tool", "ok")
        self._mos = made.histogram("line_mos", "Estimated quality of telephone lines, a call each.", MOS_BUCKETS)
        self._loss = made.histogram("line_loss_ratio", "Share of the caller's packets that were lost.", LOSS_BUCKETS)
        self._jitter = made.histogram("line_jitter_seconds", "Jitter of the caller's packets.", JITTER_BUCKETS)
        self._used = made.counter("usage", "What providers consumed, in their own units.", "provider", "unit")
        self._odd = made.counter(
            "media_oddities", "Wrong things carriers sent, and that were survived.", "carrier", "kind"
        )
        self._dropped = made.counter("media_counts", "Everything dropped, filled or concealed in calls.", "kind")
        self._notes = made.counter("call_notes", "Remarkable moments of calls.", "kind")
        self._refused = made.counter("calls_refused", "Calls told to come back later.", "carrier", "reason")
        self._webhooks = made.counter("webhooks", "Carriers' webhooks, by what came of them.", "carrier", "result")
        self._requests = made.counter("http_requests", "HTTP requests answered.", "method", "route", "status")
        self._lost = made.counter("spectator_events_lost", "Events a slow event stream did not get.")
        self._lag = made.histogram("event_loop_lag_seconds", "How late the event loop woke us.", LAG_BUCKETS)
        self._ready = made.gauge("ready", "1 while new calls are taken.")
        build = made.gauge("build_info", "What runs here.", "version", "python", "runs")
        build.labels(version=__version__, python=platform.python_version(), runs=RUNS.split()[0]).set(1)
        self._folds: dict[str, _Fold] = {}
        self._kinds: dict[str, set[str]] = {}
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

    # what the service tells

    def refused(self, carrier: str, reason: str) -> None:
        """A call was refused before it began."""
        self._refused.labels(carrier, reason).inc()

    def webhook(self, carrier: str, result: str) -> None:
        """A webhook came: new, known, refused or odd."""
        self._webhooks.labels(carrier, result).inc()

    def request(self, method: str, route: str, status: int) -> None:
        """An HTTP request was answered; `route` is the table's path, never the one that was asked for."""
        self._requests.labels(method, route, str(status)).inc()

    def spectator_lost(self, count: int) -> None:
        """A slow event stream lost `count` events."""
        self._lost.inc(count)

    def ready(self, yes: bool) -> None:
        """Whether new calls are taken."""
        self._ready.set(1 if yes else 0)

    def watch(self, name: str, help_: str, read: Callable[[], float]) -> None:
        """A gauge `trunkline_{name}` that is read at each scrape."""
        gauge = Gauge(name, help_, namespace="trunkline", registry=self.registry)
        gauge.set_function(read)

    async def measure_lag(self) -> None:
        """Until cancelled: how late a sleeping task is woken, which is what live audio feels."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_PERIOD_S
            await asyncio.sleep(LAG_PERIOD_S)
            self._lag.observe(max(0.0, loop.time() - due))

    # what calls tell

    def notify(self, call_id: str, event: CallEvent) -> None:
        """Fold one event. Returns at once, never raises on any order of events."""
        if isinstance(event, CallStarted):
            self._started(call_id, event)
        elif (fold := self._folds.get(call_id)) is not None:
            self._folded(call_id, fold, event)

    def _started(self, call_id: str, event: CallStarted) -> None:
        if call_id in self._folds:
            return
        if len(self._folds) >= MAX_FOLDS:
            self._forget(next(iter(self._folds)))
        self._folds[call_id] = _Fold(event.carrier, event.direction, event.agent)
        self._active.labels(event.carrier, event.direction).inc()

    def _forget(self, call_id: str) -> None:
        fold = self._folds.pop(call_id)
        self._active.labels(fold.carrier, fold.direction).dec()

    def _folded(self, call_id: str, fold: _Fold, event: CallEvent) -> None:
        match event:
            case ReplyOnWire(at_s=at) if not fold.greeted:
                fold.greeted = True
                self._first.observe(max(0.0, at))
            case TurnAnswered(response_s=response, stages=stages):
                self._answered(response, stages)
            case Used(provider=provider, units=units):
                self._used_up(provider, units)
            case ReplyDone(interrupted=cut):
                self._replies.labels("true" if cut else "false").inc()
            case BargeIn(stop_ms=stop_ms):
                self._stop.observe(stop_ms / 1000)
            case ToolUsed(name=name, took_ms=took, ok=ok):
                self._tool.labels(self._known("tool", name), "true" if ok else "false").observe(took / 1000)
            case LineQuality(mos=mos, loss=loss, jitter_ms=jitter_ms):
                self._mos.observe(mos)
                self._loss.observe(loss)
                self._jitter.observe(jitter_ms / 1000)
            case Odd(kind=kind):
                self._odd.labels(fold.carrier, self._known("odd", kind)).inc()
            case Note(kind=kind):
                self._notes.labels(self._known("note", kind)).inc()
            case CallEnded():
                self._ended(call_id, fold, event)
            case _:
                pass

    def _answered(self, response_s: float, stages: Mapping[str, float]) -> None:
        self._turn.observe(response_s)
        for stage, seconds in stages.items():
            self._stage.labels(self._known("stage", stage)).observe(seconds)

    def _used_up(self, provider: str, units: Mapping[str, float]) -> None:
        for unit, amount in units.items():
            if amount > 0:
                self._used.labels(provider, self._known("unit", unit)).inc(amount)

    def _ended(self, call_id: str, fold: _Fold, event: CallEnded) -> None:
        self._forget(call_id)
        self._calls.labels(fold.carrier, fold.direction, event.cause, event.fault, fold.agent).inc()
        self._length.labels(fold.carrier, fold.direction).observe(max(0.0, event.at_s))
        for kind, count in event.counters.items():
            if count > 0:
                self._dropped.labels(self._known("count", kind)).inc(count)

    def _known(self, label: str, value: str) -> str:
        """The value, or "other" once too many different ones were seen: a model may name any tool."""
        kinds = self._kinds.setdefault(label, set())
        if value in kinds or len(kinds) < MAX_KINDS:
            kinds.add(value)
            return value
        return "other"

    def families(self) -> list[Family]:
        """All figures as values, to be added to those of other workers."""
        return families(self.registry.collect())

    def render(self, figures: Sequence[Family] | None = None) -> bytes:
        """`figures` (None: our own) in the text exposition format."""
        return generate_latest(_Lean(Shown(self.families() if figures is None else figures)))


class _Maker:
    """Figures of one registry under one prefix."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def gauge(self, name: str, help_: str, *labels: str) -> Gauge:
        return Gauge(name, help_, labels, namespace="trunkline", registry=self._registry)

    def counter(self, name: str, help_: str, *labels: str) -> Counter:
        return Counter(name, help_, labels, namespace="trunkline", registry=self._registry)

    def histogram(self, name: str, help_: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, help_, labels, namespace="trunkline", registry=self._registry, buckets=buckets)


class _Lean(CollectorRegistry):
    """Families as a registry, which is what prometheus_client renders."""

    def __init__(self, inner: Shown) -> None:
        super().__init__()
        self._inner = inner

    def collect(self) -> Iterator[Metric]:
        yield from self._inner.collect()
