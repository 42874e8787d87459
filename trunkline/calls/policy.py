"""When the mind must act unasked: silence, the longest call, closing; and which speech may not be interrupted. Pure.

Time is handed in (`now`, seconds of the call's clock). `due(now, busy)` says what to do, `deadline()` when to ask next.
"""

from dataclasses import dataclass
from typing import TypeAlias

from trunkline.config import Limits
from trunkline.outcome import EndCause, Fault, Outcome

FOLLOW_UP_S = 1.5  # after a tool asked for the end: a last sentence may still begin within this
GOODBYE_S = 8.0  # a goodbye that was asked for must begin within this
AFTER_GOODBYE_S = 0.3  # between the last word heard and the hang-up
LONGEST_CLOSING_S = 20.0  # whatever is still being said then is cut
SPEAKING_BOUND_S = 30.0  # a caller who "speaks" longer than this is a noise, or a judge that forgot to say "stopped"
_RECHECK_S = 0.25
_FAREWELL_PART = 0.1  # of the longest call is kept for the goodbye, …
_FAREWELL_S = 10.0  # … but no more than this


@dataclass(frozen=True, slots=True)
class Prompt:
    """Ask whether anybody is there."""

    count: int


@dataclass(frozen=True, slots=True)
class Farewell:
    """Say goodbye; the end follows."""

    cause: EndCause


@dataclass(frozen=True, slots=True)
class Finish:
    """Hang up now."""

    cause: EndCause


Action: TypeAlias = Prompt | Farewell | Finish


@dataclass(slots=True)
class _Closing:
    cause: EndCause
    since: float
    grace_s: float
    quiet_since: float


class Policy:
    """One call's limits. `busy` in its methods: the agent is being heard, or a tool runs."""

    def __init__(self, limits: Limits, now: float, *, protect_greeting: bool = False) -> None:
        self._limits = limits
        farewell_s = min(_FAREWELL_S, _FAREWELL_PART * limits.longest_call_s)
        self._last_words_at = now + limits.longest_call_s - farewell_s
        self._protect_greeting = protect_greeting
        self._quiet_since = now
        self._prompts = 0
        self._speaking_since: float | None = None
        self._closing: _Closing | None = None

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────────

    def caller_started(self, now: float) -> None:
        """The caller speaks."""
        self._speaking_since = now
        self.caller_active(now)

    def caller_stopped(self, now: float) -> None:
        """The caller's turn is over."""
        self._speaking_since = None
        self.active(now)

    def caller_active(self, now: float) -> None:
        """The caller gave a sign of life (speech, a key): prompts count anew, a closing for silence is off."""
        self._prompts = 0
        if self._closing and self._closing.cause is EndCause.SILENCE:
            self._closing = None
        self.active(now)

    def active(self, now: float) -> None:
        """Somebody was heard just now."""
        self._quiet_since = now
        if self._closing:
            self._closing.quiet_since = now

    def heard(self, until: float) -> None:
        """The agent was heard until then. Without this, a reply whose sound falters just when somebody looks would
        count as silent since its beginning."""
        self._quiet_since = max(self._quiet_since, until)

    def close(self, cause: EndCause, now: float, *, follow_up_s: float = FOLLOW_UP_S) -> None:
        """End the call once what is being said was heard. The first reason stands, except over silence."""
        if self._closing is None or self._closing.cause is EndCause.SILENCE:
            self._closing = _Closing(cause, now, follow_up_s, now)

    def reply_done(self, began: float | None, now: float) -> None:
        """A reply is over for the caller; `began`: when it went on the wire. One that began after the closing was the
        goodbye."""
        self.active(now)
        if self._closing and began is not None and began >= self._closing.since:
            self._closing.grace_s = AFTER_GOODBYE_S

    # ── what follows ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def closing(self) -> EndCause | None:
        """Why the call is being ended, None while it is not."""
        return self._closing.cause if self._closing else None

    def interruptible(self, turn: int, *, greeting: bool) -> bool:
        """May the caller cut this reply? A protected greeting and the goodbye of a call that is too long may not be."""
        if self.closing is EndCause.TOO_LONG:
            return False
        return not (self._protect_greeting and greeting and turn == 0)

    def deadline(self) -> float:
        """When to ask `due` next, at the latest."""
        if self._closing:
            return min(self._closing.quiet_since + self._closing.grace_s, self._closing.since + LONGEST_CLOSING_S)
        return min(self._quiet_since + self._limits.silence_prompt_s, self._last_words_at)

    def due(self, now: float, *, busy: bool) -> Action | None:
        """What must be done now; asking again is harmless."""
        if self._closing:
            return self._close_now(self._closing, now, busy)
        if now >= self._last_words_at:
            self.close(EndCause.TOO_LONG, now, follow_up_s=GOODBYE_S)
            return Farewell(EndCause.TOO_LONG)
        if busy or self._caller_speaks(now):
            if now >= self._quiet_since + self._limits.silence_prompt_s:
                self._quiet_since = now
            return None
        if now < self._quiet_since + self._limits.silence_prompt_s:
            return None
        return self._break_silence(now)

    def _close_now(self, closing: _Closing, now: float, busy: bool) -> Finish | None:
        if now >= closing.since + LONGEST_CLOSING_S:
            return Finish(closing.cause)
        if now < closing.quiet_since + closing.grace_s:
            return None
        if busy:
            closing.quiet_since = now - closing.grace_s + _RECHECK_S
            return None
        return Finish(closing.cause)

    def _break_silence(self, now: float) -> Action:
        self._quiet_since = now
        if self._prompts < self._limits.silence_prompts:
            self._prompts += 1
            return Prompt(self._prompts)
        self.close(EndCause.SILENCE, now, follow_up_s=GOODBYE_S)
        return Farewell(EndCause.SILENCE)

    def _caller_speaks(self, now: float) -> bool:
        return self._speaking_since is not None and now < self._speaking_since + SPEAKING_BOUND_S


def left(outcome: Outcome, *, talked: bool, waited: bool) -> Outcome:
    """The leg ended by itself. Who left before anybody was heard out has abandoned the call, the caller or whom we had
    called; `waited`: because there was nobody to talk to."""
    if outcome.cause is EndCause.COMPLETED and not talked:
        who: Fault = "callee" if outcome.fault == "callee" else "caller"
        return Outcome(EndCause.ABANDONED, "provider" if waited else who, outcome.code)
    return outcome
