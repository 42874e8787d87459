"""A model's streamed text → speakable clauses, as early as they are safe.

Pure. A clause ends at `.`, `!`, `?`, `…` or the danda `।` followed by space and the next character, at a line break,
or, to keep the first sound early, at `, ; : —` once the first clause has enough words. Nothing is ever cut inside a
number, an amount, a URL or an abbreviation. What the boundary rule is still waiting for is flushed after
`flush_s` without text (by the caller, who knows the time) or at the end.
"""

import re
from dataclasses import dataclass
from typing import Final

_ABBREVIATIONS: Final = frozenset(
    [
        *("mr", "mrs", "ms", "dr", "prof", "st", "jr", "sr", "vs", "etc", "e.g", "i.e", "approx", "dept", "apt"),
        *("rd", "ave", "blvd", "inc", "ltd", "co", "a.m", "p.m", "u.s", "u.k"),
    ]
)
_MAY_END: Final = frozenset(["a.m", "p.m", "etc", "u.s", "u.k", "inc", "ltd", "co"])  # a capital then starts a sentence
_BEFORE_DIGIT: Final = frozenset(["no", "rs", "fig", "min", "max", "jan", "feb", "aug", "sept", "oct", "nov", "dec"])
_TERMINATORS: Final = ".!?…।"
_CLOSERS: Final = "\"')]”’»"
_SOFT: Final = ",;:—"
_LAST_WORD = re.compile(r"([\w.]+)$")
_LIST_NUMBER = re.compile(r"(?:^|\s)\d{1,2}$")


@dataclass(frozen=True, slots=True)
class ClauseSettings:
    """How eager to be."""

    first_words: int = 5  # words after which the first clause may break at a comma
    max_chars: int = 180  # a longer clause is cut at its last soft mark or space
    min_chars: int = 2  # shorter ones wait for company ("1.")
    flush_s: float = 0.3  # silence of the model after which `flush` is due; for the caller of this class


class ClauseChunker:
    """One reply's text. Feed deltas, take clauses."""

    def __init__(self, settings: ClauseSettings | None = None) -> None:
        self._settings = settings or ClauseSettings()
        self._text = ""
        self._first = True

    def push(self, delta: str) -> list[str]:
        """More text → the clauses that are now complete."""
        self._text += delta
        clauses = []
        while (cut := self._boundary()) is not None:
            clause, self._text = self._text[:cut].strip(), self._text[cut:].lstrip()
            if clause:
                self._first = False
                clauses.append(clause)
        return clauses

    @property
    def pending(self) -> str:
        """Text that waits for its boundary."""
        return self._text

    def flush(self) -> list[str]:
        """The model pauses: give what ends in a whole word and a mark; keep the rest. Call after `flush_s`."""
        end = max((self._text.rfind(mark) for mark in _TERMINATORS + _SOFT), default=-1)
        if end < 0 or self._text[end + 1 :].strip() or not self._is_end(end, at_buffer_end=True):
            return []
        return self.end()

    def end(self) -> list[str]:
        """The reply is complete: everything that is left."""
        clause, self._text, self._first = self._text.strip(), "", True
        return [clause] if clause else []

    def _boundary(self) -> int | None:
        for at, char in enumerate(self._text):
            if at + 1 >= self._settings.max_chars:
                return self._forced(at)
            if char == "\n" and self._text[:at].strip():
                return at + 1
            if (char in _TERMINATORS or (char in _SOFT and self._soft_allowed(at))) and self._is_end(at):
                return self._after(at)
        return None

    def _after(self, at: int) -> int:
        """Index behind the mark, further marks and closing quotes."""
        while at + 1 < len(self._text) and self._text[at + 1] in _TERMINATORS + _CLOSERS:
            at += 1
        return at + 1

    def _is_end(self, at: int, *, at_buffer_end: bool = False) -> bool:
        after = self._after(at)
        rest = self._text[after:]
        if not at_buffer_end and (len(rest.lstrip()) == 0 or not rest[0].isspace()):
            return False
        if self._text[at] != ".":
            return len(self._text[:after].strip()) >= self._settings.min_chars
        return self._full_stop(self._text[:at], rest.lstrip()[:1])

    def _full_stop(self, before: str, following: str) -> bool:
        if _LIST_NUMBER.search(before) and before.strip().isdigit():
            return False  # "1." of a list
        match = _LAST_WORD.search(before)
        word = match[1].lower() if match else ""
        if word in _MAY_END:
            return not following or following.isupper()
        if word in _BEFORE_DIGIT:
            return not following.isdigit()
        initial = len(word) == 1 and word.isalpha() and word not in "ai" and not before[:-1].rstrip(".")[-1:].strip()
        return not (initial or word in _ABBREVIATIONS)

    def _soft_allowed(self, at: int) -> bool:
        return self._first and len(self._text[:at].split()) >= self._settings.first_words

    def _forced(self, limit: int) -> int:
        """Too long: cut behind the last soft mark, else the last space, else right here."""
        head = self._text[:limit]
        for marks in (_SOFT, " "):
            spaced = [i for i, c in enumerate(head[:-1]) if c in marks and (marks == " " or head[i + 1].isspace())]
            if spaced:
                return spaced[-1] + 1
        return limit
