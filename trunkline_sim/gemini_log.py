"""What a simulated session saw and did: events, the caller's audio as it arrived, violations. Values for tests."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from trunkline_sim.gemini_ear import RATE

_MOST_EVENTS = 200_000
_MOST_AUDIO = 2 * RATE * 1800  # bytes: half an hour


@dataclass(frozen=True, slots=True)
class Event:
    """One message (`in`, `out`) or fact (`note`). `at_s` is on the clock of the session's shell (monotonic)."""

    at_s: float
    way: Literal["in", "out", "note"]
    kind: str
    body: Any = None


@dataclass(slots=True)
class SessionLog:
    """One connection. Audio frames are not events: they are `audio` (s16le, 16 kHz) and `arrivals`."""

    number: int  # of the connection, from 1, over the whole server
    scenario: str = ""
    key: str = ""
    opened_s: float = field(default_factory=time.monotonic)
    events: list[Event] = field(default_factory=list)
    audio: bytearray = field(default_factory=bytearray)
    arrivals: list[tuple[float, int]] = field(default_factory=list)  # (s, samples) of each audio message
    violations: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)  # of this log, when a session outgrew it
    marks: list[float] = field(default_factory=list)  # bench: when loud audio came after quiet
    bench_s: float = 0.0  # bench: seconds of audio heard, once ended
    setup: Any = None  # the `setup` body as understood
    heard: list[str] = field(default_factory=list)  # what was understood, in order
    not_understood: int = 0
    replies: dict[int, str] = field(default_factory=dict)  # reply number → text
    open: bool = True
    close_code: int | None = None  # as the server saw the end; None while open or cut without a close frame

    def add(self, at_s: float, way: Literal["in", "out", "note"], kind: str, body: Any = None) -> None:
        """Keep one event; beyond 200,000 they are counted in `dropped`."""
        if len(self.events) >= _MOST_EVENTS:
            self.dropped["events"] += 1
            return
        self.events.append(Event(at_s, way, kind, body))

    def add_audio(self, at_s: float, pcm: bytes) -> None:
        """Keep audio; beyond half an hour it is counted in `dropped`."""
        if len(self.audio) + len(pcm) > _MOST_AUDIO:
            self.dropped["audio"] += 1
            return
        self.arrivals.append((at_s, len(pcm) // 2))
        self.audio += pcm

    def kinds(self, *only: str) -> list[str]:
        """Kinds of events in order; with `only`, of those alone."""
        return [event.kind for event in self.events if not only or event.kind in only]

    def of(self, kind: str) -> list[Event]:
        """All events of a kind."""
        return [event for event in self.events if event.kind == kind]

    @property
    def audio_s(self) -> float:
        """Seconds of caller audio that arrived."""
        return len(self.audio) / (2 * RATE)

    def facts(self, events: bool = True) -> dict[str, Any]:
        """As JSON, audio apart."""
        listed: Sequence[Event] = self.events if events else ()
        return {
            "number": self.number,
            "scenario": self.scenario,
            "open": self.open,
            "close_code": self.close_code,
            "audio_s": self.audio_s,
            "messages": len(self.arrivals),
            "heard": self.heard,
            "not_understood": self.not_understood,
            "replies": {str(number): text for number, text in self.replies.items()},
            "violations": dict(self.violations),
            "marks": self.marks,
            "events": [
                {"at_s": round(event.at_s - self.opened_s, 4), "way": event.way, "kind": event.kind, "body": event.body}
                for event in listed
            ],
        }
