"""What was said in a call, and what of it was heard: the only past that a model is given.

A reply is entered clause by clause with the seconds of speech that each became. When it is cut, only what had been
heard stays, cut at a word; a reply of which nothing was heard leaves no entry.
"""

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from trunkline.ai.cascade.protocols import ModelToolCall, Utterance
from trunkline.ai.session import ReplyId
from trunkline.ai.tools import ToolResult

_KEPT_REPLIES = 4  # that may still be playing, and so be cut
_CHARACTERS_PER_S = 14.0  # a guess for a clause whose speech is not complete


@dataclass(slots=True)
class Clause:
    """A spoken piece of a reply. `complete`: all of its speech was made, `seconds` of it."""

    text: str
    seconds: float = 0.0
    complete: bool = False

    def duration_s(self) -> float:
        """How long its speech is, or will be at a guess."""
        return self.seconds if self.complete else max(self.seconds, len(self.text) / _CHARACTERS_PER_S)


def heard_text(clauses: Sequence[Clause], heard_s: float) -> str:
    """The words that fit into the first `heard_s` seconds of these clauses; a word only begun is left out."""
    parts: list[str] = []
    for clause in clauses:
        duration_s = clause.duration_s()
        if heard_s + 1e-6 < duration_s:
            parts.append(_first_words(clause.text, heard_s / duration_s))
            break
        parts.append(clause.text)
        heard_s -= duration_s
    return " ".join(part for part in parts if part)


def _first_words(text: str, share: float) -> str:
    limit = max(0.0, share) * len(text)
    ends = [word.end() for word in re.finditer(r"\S+", text) if word.end() <= limit]
    return text[: ends[-1]] if ends else ""


@dataclass(slots=True)
class _Reply:
    turn: int
    clauses: list[Clause] = field(default_factory=list)
    heard_s: float | None = None  # None: not cut


@dataclass(slots=True)
class _Part:
    """The clauses from `begin` to `end` of a reply: a tool's use splits it."""

    reply: _Reply
    begin: int
    end: int

    def told(self) -> Utterance | None:
        clauses = self.reply.clauses[self.begin : self.end]
        whole = text = " ".join(clause.text for clause in clauses)
        if self.reply.heard_s is not None:
            before_s = sum(clause.duration_s() for clause in self.reply.clauses[: self.begin])
            text = heard_text(clauses, self.reply.heard_s - before_s)
        return Utterance("agent", text, interrupted=text != whole, turn=self.reply.turn) if text else None


class History:
    """One call's past, in order. `limit`: entries kept; the oldest are forgotten."""

    def __init__(self, limit: int = 400) -> None:
        self._entries: deque[Utterance | _Part] = deque(maxlen=limit)
        self._replies: dict[ReplyId, _Reply] = {}

    def entries(self) -> Sequence[Utterance]:
        """The past as a model is given it."""
        told = (entry if isinstance(entry, Utterance) else entry.told() for entry in self._entries)
        return [entry for entry in told if entry is not None]

    def caller(self, turn: int, text: str, *, accepted: bool = True) -> None:
        """What was understood of the caller's turn."""
        self._entries.append(Utterance("caller", text, accepted=accepted, turn=turn))

    def key(self, turn: int, key: str) -> None:
        """A key of the caller."""
        self._entries.append(Utterance("key", key, turn=turn))

    def occasion(self, turn: int, occasion: str) -> None:
        """Why the agent speaks unasked."""
        self._entries.append(Utterance("occasion", occasion, turn=turn))

    def tool_call(self, turn: int, call: ModelToolCall) -> None:
        """The model asked for a tool."""
        self._entries.append(Utterance("tool_call", call.name, call=call, turn=turn))

    def tool_result(self, turn: int, result: ToolResult) -> None:
        """What the tool answered. It stands right behind its call; what the agent alone said meanwhile, before it."""
        entry = Utterance("tool_result", result.name, result=result, turn=turn)
        kept = list(self._entries)
        for place in range(len(kept) - 1, -1, -1):
            known = kept[place]
            if isinstance(known, Utterance) and known.call is not None and known.call.id == result.id:
                meanwhile = kept[place + 1 :]
                if all(isinstance(other, _Part) for other in meanwhile):
                    kept[place:] = [*meanwhile, known, entry]
                else:
                    kept.insert(place + 1, entry)
                self._entries = deque(kept, self._entries.maxlen)
                return
        self._entries.append(entry)

    def clause(self, reply: ReplyId, turn: int, text: str) -> None:
        """The reply goes on with this clause."""
        known = self._replies.get(reply)
        if known is None:
            known = self._replies[reply] = _Reply(turn)
            while len(self._replies) > _KEPT_REPLIES:
                del self._replies[next(iter(self._replies))]
        known.clauses.append(Clause(text))
        last = self._entries[-1] if self._entries else None
        if isinstance(last, _Part) and last.reply is known:
            last.end = len(known.clauses)
        else:
            self._entries.append(_Part(known, len(known.clauses) - 1, len(known.clauses)))

    def spoken(self, reply: ReplyId, seconds: float, *, complete: bool = False) -> None:
        """So much more speech of its newest clause was made; `complete`: that was all of it."""
        known = self._replies.get(reply)
        if known is not None and known.clauses:
            known.clauses[-1].seconds += seconds
            known.clauses[-1].complete = complete

    def cut(self, reply: ReplyId, heard_s: float) -> int:
        """Only `heard_s` seconds of the reply were heard. Returns how many of its clauses were heard to the end."""
        known = self._replies.get(reply)
        if known is None:
            return 0
        known.heard_s = heard_s
        whole = 0
        for clause in known.clauses:
            heard_s -= clause.duration_s()
            if heard_s < -1e-6:
                break
            whole += 1
        return whole

    def withdraw(self, turn: int) -> Utterance | None:
        """Take back the caller's words of this turn and what was said to them: they go on speaking.

        None, and nothing is taken back, when these are not the caller's last words or a tool was used since: that
        cannot be unsaid."""
        kept = list(self._entries)
        while kept and isinstance(kept[-1], _Part):
            kept.pop()
        entry = kept.pop() if kept else None
        if not isinstance(entry, Utterance) or entry.role != "caller" or entry.turn != turn:
            return None
        self._entries = deque(kept, self._entries.maxlen)
        return entry
