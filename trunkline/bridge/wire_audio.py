"""The one event of a media socket that comes fifty times a second: by hand, and compiled (ADR 0007)."""

from typing import Final


class WireAudio:
    """The caller's voice: payload of the stream's codec, any size. `at_ms` is the carrier's stream time or None."""

    __slots__ = ("at_ms", "lost", "payload")

    def __init__(self, payload: bytes, at_ms: int | None = None, lost: int = 0) -> None:
        """lost: messages known missing just before this one, by sequence number."""
        self.payload: Final = payload
        self.at_ms: Final = at_ms
        self.lost: Final = lost

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WireAudio):
            return NotImplemented
        return self.payload == other.payload and self.at_ms == other.at_ms and self.lost == other.lost

    def __hash__(self) -> int:
        return hash((self.payload, self.at_ms, self.lost))

    def __repr__(self) -> str:
        return f"WireAudio({len(self.payload)} bytes, {self.at_ms}, lost={self.lost})"
