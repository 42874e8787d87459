"""What was said in a call, for a connection that cannot know it: the caller's words, what was heard of ours, tools."""

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from trunkline.ai.history import Clause, heard_text
from trunkline.ai.session import ReplyId

Role: TypeAlias = Literal["user", "model"]
_MOST_LINES = 200


@dataclass(slots=True)
class Line:
    """Something said. `seconds`: its speech, where it is a reply."""

    role: Role
    text: str
    reply: ReplyId | None = None
    seconds: float = 0.0
    heard_s: float | None = None  # None: to its end, as far as is known
    serial: int = 0

    def told(self) -> str:
        """Its words, as far as they were heard."""
        if self.heard_s is None:
            return self.text.strip()
        return heard_text([Clause(self.text.strip(), self.seconds, complete=True)], self.heard_s)


@dataclass(slots=True)
class Past:
    """One call's past; the oldest lines are forgotten."""

    _lines: deque[Line] = field(default_factory=lambda: deque(maxlen=_MOST_LINES))
    _count: int = 0

    @property
    def count(self) -> int:
        """Lines so far: a mark for `since`."""
        return self._count

    def begin(self, role: Role, reply: ReplyId | None = None) -> Line:
        """A line whose words are still to come."""
        line = Line(role, "", reply, serial=self._count)
        self._count += 1
        self._lines.append(line)
        return line

    def add(self, role: Role, text: str) -> None:
        """A line that is complete."""
        self.begin(role).text = text

    def recall(self, history: object) -> None:
        """What was said in an earlier session of the same call: [{"caller": …, "agent": …}, …]; else nothing."""
        for turn in history if isinstance(history, list) else []:
            if isinstance(turn, dict):
                self.add("user", str(turn.get("caller") or ""))
                self.add("model", str(turn.get("agent") or ""))

    def cut(self, reply: ReplyId, heard_s: float) -> None:
        """Only so much of the reply was heard."""
        for line in self._lines:
            if line.reply == reply:
                line.heard_s = heard_s

    def since(self, mark: int = 0) -> list[tuple[Role, str]]:
        """What was said after the mark; neighbours of the same side are one."""
        told: list[tuple[Role, str]] = []
        for line in self._lines:
            text = line.told() if line.serial >= mark else ""
            if text and told and told[-1][0] == line.role:
                told[-1] = (line.role, f"{told[-1][1]} {text}")
            elif text:
                told.append((line.role, text))
        return told
