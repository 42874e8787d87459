"""What goes from playout by the mouth to the wire, fifty times a second. In a file of their own: mypyc does not hand a
struct its annotations as they are written (ADR 0007)."""

import msgspec


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Whole frames for the wire."""

    reply: str
    payload: bytes
    first: bool  # of its reply
    last: bool  # of its reply


class Given(msgspec.Struct, frozen=True, gc=False):
    """A piece went on the wire; `starts` is when it begins to be heard (clock, s), `label` the mark behind it."""

    piece: Piece
    at: float
    starts: float
    label: str  # "": none; a first and a last piece have one
