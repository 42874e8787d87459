"""What the model was told to do and has not begun: since when the caller waits, and since when it knows."""

from collections.abc import Sequence
from dataclasses import dataclass, field

MOST_ASKED = 4  # prompts without an answer


@dataclass(slots=True)
class Debt:
    """One call's. Times: clock, s. The caller waits from their last word on, whatever the model did meanwhile; the
    model is late from the last that it was told."""

    asked: list[str] = field(default_factory=list)  # prompts without an answer
    answers: bool = False  # tools were answered, the model has not spoken since
    waits_from: float = 0.0
    told_at: float = 0.0
    nudged_at: float | None = None

    def __bool__(self) -> bool:
        return bool(self.asked) or self.answers

    def ask(self, text: str, now: float) -> None:
        """It was, or will be, told to speak."""
        if len(self.asked) < MOST_ASKED:
            self.asked.append(text)
        self.waits_from = self.told_at = now

    def works(self, since: float) -> None:
        """It wants a tool before it speaks; the caller has waited since then, and goes on to."""
        self.asked.clear()
        self.waits_from, self.nudged_at = since, None

    def answered(self, now: float) -> None:
        """A tool of its was answered."""
        self.answers, self.told_at = True, now

    def connected(self, said: Sequence[str], now: float) -> None:
        """Another connection is there, and is to be told this. Who waits for a tool waits on."""
        self.told_at = now
        if not self.answers:
            self.waits_from = now
        self.asked = self.asked or list(said)

    def paid(self) -> None:
        """It speaks."""
        self.asked.clear()
        self.answers, self.nudged_at = False, None
