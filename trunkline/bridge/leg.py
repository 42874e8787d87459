"""`CallLeg`: one party of a call as seen from above, whatever carries it (media socket, SIP, AudioSocket, browser).

One consumer per stream, no callbacks upward, audio forward only. Every leg passes the conformance suite
`tests/conformance/leg.py`.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from trunkline.codecs.codec import Codec
from trunkline.codecs.frame import AudioFrame
from trunkline.outcome import EndCause, Outcome

Direction: TypeAlias = Literal["inbound", "outbound"]


@dataclass(frozen=True, slots=True)
class LegInfo:
    """Facts of a leg, fixed once it is up."""

    direction: Direction
    from_: str  # E.164 or SIP URI, as normalised at the edge; "" when withheld
    to: str
    carrier: str  # key of CARRIERS: "smartflo"
    codec: Codec  # of both directions
    frame_ms: int  # outgoing payloads are multiples of this
    lead_s: float  # how far ahead of real time the far end may be filled
    carrier_ref: str = ""  # the carrier's own id of the call, verbatim
    stream_ref: str = ""  # and of this stream of it, where the wire has streams
    parameters: Mapping[str, str] = field(default_factory=dict)  # custom parameters, custom headers


@dataclass(frozen=True, slots=True)
class Ringing:
    """The far end rings (outbound)."""


@dataclass(frozen=True, slots=True)
class Answered:
    """Media flows both ways. First event of an inbound leg."""


@dataclass(frozen=True, slots=True)
class Digit:
    """One key press of the caller, duplicates removed."""

    key: str  # one of 0-9 * # A-D


@dataclass(frozen=True, slots=True)
class Held:
    """The far end put us on hold."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The far end took us off hold."""


@dataclass(frozen=True, slots=True)
class Moved:
    """The far end has handed us on: who is there now, or will be, is `target`."""

    target: str  # a SIP URI


@dataclass(frozen=True, slots=True)
class Played:
    """Everything sent before `mark(label)` has left the far end's buffer: played, or dropped by `flush()`.

    Comes back exactly once per mark, by the carrier's acknowledgement or, where there is none, by our clock.
    """

    label: str
    dropped: bool = False  # a flush overtook it: not heard


@dataclass(frozen=True, slots=True)
class Oddity:
    """The far end sent something wrong that was survived: counted, told once per kind and call."""

    kind: str  # a small closed vocabulary per dialect: "bad_json", "unknown_event", …; safe as a metric label
    detail: str = ""  # for the call's own events; cut to 200 characters


@dataclass(frozen=True, slots=True)
class Ended:
    """Last event: nothing comes after it."""

    outcome: Outcome


LegEvent: TypeAlias = Ringing | Answered | Digit | Held | Resumed | Moved | Played | Oddity | Ended


@runtime_checkable
class Straight(Protocol):
    """An `audio()` that may spare its consumer a task's turn per frame."""

    def straight(self, sink: Callable[[AudioFrame], bool]) -> None:
        """Offer frames to `sink` where they arrive, but only while the consumer has had everything before and waits.
        What `sink` declines (False) goes to the consumer; what it raises is raised there. Returns at once."""
        ...


class CallLeg(Protocol):
    """One party of a call. All methods are for the loop that owns the call."""

    @property
    def info(self) -> LegInfo:
        """Facts, fixed once the leg is up."""
        ...

    @property
    def counters(self) -> Mapping[str, int]:
        """Everything dropped, filled in, concealed, odd, so far; copied into the call's record at its end."""
        ...

    def events(self) -> AsyncIterator[LegEvent]:
        """What happens on the leg; one consumer; ends after `Ended`."""
        ...

    def audio(self) -> AsyncIterator[AudioFrame]:
        """The caller's voice at the codec's rate, as it arrives (10–200 ms a piece), losses concealed.

        One consumer. Holds at most 1 s: beyond that the oldest is dropped and counted. Where the wire falls
        silent for more than 300 ms without ending, silence is filled in (counted), so that timers downstream run.
        Ends when the leg ends.
        """
        ...

    async def room(self) -> None:
        """Return once the far end holds less than `info.lead_s` of unplayed audio (or the leg has ended)."""
        ...

    def has_room(self) -> bool:
        """Whether `room()` would return at once."""
        ...

    def send(self, payload: bytes) -> None:
        """Put one payload of `info.codec` on the wire at once; call after `room()`, nothing between.

        `payload` is a multiple of `info.frame_ms`. After the end it is dropped and counted, never raised.
        """
        ...

    def mark(self, label: str) -> None:
        """Ask to be told, by `Played(label)`, when everything sent so far was played. Labels are unique per leg."""
        ...

    def flush(self) -> float:
        """Make the far end forget what it holds. Seconds sent, not yet played, and now never will be."""
        ...

    def playing(self) -> bool:
        """True while the far end still holds audio of ours."""
        ...

    async def end(self, cause: EndCause) -> None:
        """Hang up, politely and bounded in time. Idempotent. `Ended` follows on `events()`."""
        ...
