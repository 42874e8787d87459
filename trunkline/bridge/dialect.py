"""What a new media-socket carrier must say: a pure translator between its wire messages and ours.

A dialect translates, the shell (`media_socket`) acts: no sockets, no clocks, no tasks here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from trunkline.bridge.leg import Direction, Oddity
from trunkline.bridge.wire_audio import WireAudio as WireAudio
from trunkline.codecs.codec import Codec


@dataclass(frozen=True, slots=True)
class StreamStarted:
    """The carrier described the call. A repeated one re-initialises ids and keeps the call."""

    stream_id: str
    carrier_ref: str
    direction: Direction
    from_: str
    to: str
    codec: Codec
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WireDigits:
    """One or more key presses."""

    keys: str


@dataclass(frozen=True, slots=True)
class WireMark:
    """The carrier gave a mark of ours back."""

    label: str


@dataclass(frozen=True, slots=True)
class StreamStopped:
    """The carrier said goodbye."""

    reason: str = ""


WireEvent: TypeAlias = StreamStarted | WireAudio | WireDigits | WireMark | StreamStopped | Oddity

Message: TypeAlias = str | bytes  # a text frame or a binary frame


class MediaDialect(Protocol):
    """One instance per media socket; pure. `receive` never raises on any input: what is wrong is an `Oddity`."""

    def receive(self, message: Message) -> Sequence[WireEvent]:
        """One wire message → what it means, in order."""
        ...

    def audio(self, payload: bytes) -> Message:
        """One payload (whole frames) → the wire message that plays it."""
        ...

    def mark(self, label: str) -> Message | None:
        """The message that asks for an acknowledgement, or None where the carrier has none."""
        ...

    def clear(self) -> Message | None:
        """The message that empties the carrier's playout buffer, or None where there is none."""
        ...

    def hang_up(self) -> Message | None:
        """The in-band hang-up message, or None where closing the socket is all there is."""
        ...

    def hello(self) -> Message | None:
        """What to say once if the carrier stays silent for a second after the handshake, or None."""
        ...


@dataclass(frozen=True, slots=True)
class MediaProfile:
    """The facts of a media-socket carrier, beside its dialect."""

    name: str
    dialect: Callable[[Mapping[str, str]], MediaDialect]  # from the handshake's query parameters
    frame_ms: int  # outgoing payloads are multiples of this
    lead_s: float  # DESIGN 4.4
    max_message_bytes: int = 1 << 20
    max_messages_per_s: int = 400
    once: bool = False  # a stream id never comes twice: one that does is a replay
    hello_after_s: float = 1.0  # the carrier's silence after the handshake before `hello()` is said
