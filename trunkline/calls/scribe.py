"""What happens in a call and needs no decision, only to be written down."""

from typing import TypeAlias

from trunkline.ai.session import CallerSaid, StageReached, Usage
from trunkline.bridge.leg import Oddity
from trunkline.calls.events import CallerUnderstood, CallStarted, Note, Odd, StageNote, Used
from trunkline.calls.journal import Journal

Fact: TypeAlias = Oddity | CallerSaid | StageReached | Usage
LONGEST_TEXT = 200  # characters of a note


class Scribe:
    """Writes one call's journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def fact(self, fact: Fact, at: float) -> None:
        """It happened at `at` (clock, s), or when it says itself."""
        journal = self._journal
        match fact:
            case Oddity(kind=kind, detail=detail):
                journal.emit(Odd(journal.at(at), kind, detail[:LONGEST_TEXT]))
            case CallerSaid(turn=turn, text=text, final=final, confidence=confidence):
                journal.emit(CallerUnderstood(journal.at(at), turn, text, final, confidence))
            case StageReached(turn=turn, stage=stage, at=reached):
                journal.emit(StageNote(journal.at(reached), turn, str(stage)))
            case Usage(provider=provider, units=units):
                journal.emit(Used(journal.at(at), provider, dict(units)))

    def note(self, kind: str, text: str = "") -> None:
        """Anything else worth a line."""
        self._journal.emit(Note(self._journal.now(), kind, text[:LONGEST_TEXT]))

    def started(self, direction: str, carrier: str, agent: str, from_: str, to: str) -> None:
        """Media flows."""
        self._journal.emit(CallStarted(self._journal.now(), direction, carrier, agent, from_=from_, to=to))
