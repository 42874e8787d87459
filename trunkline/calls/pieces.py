"""What goes from playout by the mouth to the wire, fifty times a second: by hand, and compiled (ADR 0007)."""

from typing import Final


class Piece:
    """Whole frames for the wire."""

    __slots__ = ("first", "last", "payload", "reply")

    def __init__(self, reply: str, payload: bytes, first: bool, last: bool) -> None:
        """first, last: of its reply."""
        self.reply: Final = reply
        self.payload: Final = payload
        self.first: Final = first
        self.last: Final = last

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Piece):
            return NotImplemented
        same = self.reply == other.reply and self.payload == other.payload
        return same and self.first == other.first and self.last == other.last

    def __hash__(self) -> int:
        return hash((self.reply, self.payload, self.first, self.last))

    def __repr__(self) -> str:
        return f"Piece({self.reply!r}, {len(self.payload)} bytes, first={self.first}, last={self.last})"


class Given:
    """A piece went on the wire; `starts` is when it begins to be heard (clock, s), `label` the mark behind it."""

    __slots__ = ("at", "label", "piece", "starts")

    def __init__(self, piece: Piece, at: float, starts: float, label: str) -> None:
        """label: "": none; a first and a last piece have one."""
        self.piece: Final = piece
        self.at: Final = at
        self.starts: Final = starts
        self.label: Final = label
