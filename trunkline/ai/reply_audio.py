"""The one event of a session that comes fifty times a second: by hand, and compiled (ADR 0007)."""

from typing import Final, NewType

from trunkline.codecs.frame import AudioFrame

ReplyId = NewType("ReplyId", str)  # unique within a session


class ReplyAudio:
    """Speech of a reply, in order, any length."""

    __slots__ = ("frame", "reply")

    def __init__(self, reply: ReplyId, frame: AudioFrame) -> None:
        self.reply: Final = reply
        self.frame: Final = frame

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ReplyAudio):
            return NotImplemented
        return self.reply == other.reply and self.frame == other.frame

    def __hash__(self) -> int:
        return hash((self.reply, self.frame))

    def __repr__(self) -> str:
        return f"ReplyAudio({self.reply!r}, {self.frame!r})"
