"""`CallRecord`: what is kept of a call. Built once at its end by folding its events; never edited in place."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from trunkline.calls.events import CallbackOwed, CallEnded, CallEvent, CallStarted, LineQuality, Note, Used
from trunkline.calls.timeline import Timeline, of_record
from trunkline.calls.turns import Turn, TurnFold

CALLBACK = "callback"  # label of a call whose caller was promised one: "owed"


class CallRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One call. Times are aware UTC; numbers E.164."""

    id: str
    tenant: str
    direction: str
    carrier: str
    carrier_ref: str
    from_: str = msgspec.field(name="from")
    to: str
    agent: str
    provider: str
    started_at: datetime
    answered_at: datetime | None
    ended_at: datetime | None = None  # None: the call is live
    cause: str = ""
    fault: str = ""
    code: str = ""
    turns: tuple[Turn, ...] = ()
    usage: Mapping[str, float] = msgspec.field(default_factory=dict)
    counters: Mapping[str, int] = msgspec.field(default_factory=dict)
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    recording: str = ""  # file name under DATA_DIR/recordings, "" when nothing was recorded
    owner: str = ""  # worker that carries or carried it


class RecordFold:
    """Events in, one by one; the record so far out, at any moment."""

    def __init__(self) -> None:
        self.turns = TurnFold()
        self.ended: CallEnded | None = None
        self._answered_s: float | None = None
        self._usage: dict[str, float] = {}
        self._labels: dict[str, str] = {}

    def add(self, event: CallEvent) -> None:
        """Take one event in."""
        self.turns.add(event)
        match event:
            case CallStarted(at_s=at):
                self._answered_s = at
            case Used(provider=provider, units=units):
                for unit, amount in units.items():
                    self._usage[f"{provider}.{unit}"] = self._usage.get(f"{provider}.{unit}", 0.0) + amount
            case CallbackOwed():
                self._labels[CALLBACK] = "owed"
            case Note(kind="transferred", text=how) if how:
                self._labels["transferred_by"] = how
            case LineQuality():
                self._labels.update(_line(event))
            case CallEnded():
                self.ended = event
            case _:
                pass

    def record(self, opening: CallRecord, recording: str = "") -> CallRecord:
        """The record as of now. `opening`: the row the call began with; its `started_at` is call time 0."""
        ended = self.ended
        return msgspec.structs.replace(
            opening,
            answered_at=_moment(opening, self._answered_s),
            ended_at=_moment(opening, ended.at_s if ended else None),
            cause=ended.cause if ended else "",
            fault=ended.fault if ended else "",
            code=ended.code if ended else "",
            turns=self.turns.turns(),
            usage=dict(self._usage),
            counters=ended.counters if ended else {},
            labels={**opening.labels, **self._labels},
            recording=recording,
        )


def fold(opening: CallRecord, events: Iterable[CallEvent], recording: str = "") -> CallRecord:
    """The record as of these events."""
    folded = RecordFold()
    for event in events:
        folded.add(event)
    return folded.record(opening, recording)


def timeline(record: CallRecord, now: datetime) -> Timeline:
    """The timeline of a stored call; `now` measures one that is still live."""
    duration_s = ((record.ended_at or now) - record.started_at).total_seconds()
    return of_record(record.id, record.agent, duration_s, record.turns, record.cause)


def _line(quality: LineQuality) -> dict[str, str]:
    """Labels of a telephone line's quality, in the field's units."""
    return {
        "line_codec": quality.codec,
        "line_loss": f"{quality.loss:.4f}",
        "line_jitter_ms": f"{quality.jitter_ms:.1f}",
        "line_rtt_ms": f"{quality.rtt_ms:.1f}",
        "line_mos": f"{quality.mos:.2f}",
        **({"line_srtp": quality.srtp} if quality.srtp else {}),
    }


def _moment(opening: CallRecord, at_s: float | None) -> datetime | None:
    return None if at_s is None else opening.started_at + timedelta(seconds=at_s)
