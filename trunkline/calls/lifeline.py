"""Whether somebody who can answer is on the line, and what the call does while nobody is. Pure.

Time is handed in (`now`, seconds of the call's clock). `seen` takes in what can be seen of the session, `due` says what
to do about it, `deadline` when to look again.
"""

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from trunkline.calls.pace import Pace
from trunkline.config import Failure

INF: Final = float("inf")
WAITS_S: Final = (0.0, 0.5, 1.0, 2.0)  # before the first, second, … new session of a gap; the last one again and again
REPLACED_S: Final = 60.0  # a session that falls within this of the last one that fell is not replaced
UNOWED: Final = 2.0  # nobody is known to wait for an answer: that many times the patience
MOST_UNANSWERED: Final = 3  # times that a caller is asked to wait for a session which is there and silent
MUTE_S: Final = 2.5  # without any sentence to say, the end comes before the caller takes the line for dead
BROKE_OFF_S = 0.9  # nobody thinks in mid-sentence: a reply that broke off there is excused after this
BEYOND_S = 0.7  # an answer is this much later than its model's usually are
BEHIND_WORK_S = 1.0  # or than the work that it waited for
AGAIN_S = 0.9  # of silence behind the first sentence, before the second
LEAST_USUAL_S, MOST_USUAL_S = 0.8, 2.0  # what a model may usually take
POLL_S, IDLE_POLL_S = 0.25, 1.0  # how often a session is looked at while it owes something, and while it does not

After: TypeAlias = Literal["end", "callback", "transfer"]


@dataclass(frozen=True, slots=True)
class Reassure:
    """Tell the caller that somebody is trying. `first`: of this wait."""

    first: bool


@dataclass(frozen=True, slots=True)
class Reopen:
    """Open another session."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """No session can be had: last words, and the end. `reason`: the vendor's own word for it, where it gave one."""

    reason: str


Action: TypeAlias = Reassure | Reopen | GiveUp


@dataclass(frozen=True, slots=True)
class Signs:
    """What can be seen of the session now."""

    connected: bool  # it hears the caller
    owes_since: float | None = None  # since when the caller waits for it; None: as far as is known, not at all
    caller_speaks: bool = False
    busy: bool = False  # the agent is being heard, or nobody has to be: a tool runs, the line is on hold
    broke_off: bool = False  # what it owes is the rest of a sentence


class Lifeline:
    """One call's hold on its sessions. `mute`: there is nothing that the caller could be told."""

    def __init__(self, settings: Failure, *, mute: bool = False, pace: Pace | None = None) -> None:
        self._settings = settings
        self._mute = mute
        self._pace = Pace(pace)
        self._signs = Signs(connected=True)
        self._seen_at = 0.0
        self._gone_since: float | None = None  # nobody hears the caller
        self._sound_until = -INF  # something of ours was heard until then
        self._works_from = self._works_until = -INF  # something was done that the answer waits for
        self._waits_from = INF  # since when an answer was owed in the gap, and nobody has spoken
        self._back_at = -INF  # when that gap was over
        self._said = 0  # sentences since the agent's last word
        self._tries = 0  # sessions of this gap
        self._reopen_at: float | None = None
        self._stood = False  # there was a session since the last loss
        self._fell_at = -INF
        self._reason = ""
        self._hopeless = False

    # ── what happens ────────────────────────────────────────────────────────────────────────────────────────────

    def opening(self, now: float) -> None:
        """A session is being opened."""
        self._reopen_at = None
        self._tries += 1
        self._gone(now)

    def up(self) -> None:
        """It is there, though it may not hear yet."""
        self._stood = True
        self._tries = 0

    def lost(self, now: float, reason: str, *, retryable: bool) -> None:
        """It is gone, or could not be opened. One that falls soon after another is not replaced."""
        again = self._stood and now < self._fell_at + REPLACED_S
        if self._stood:
            self._fell_at = now
        self._stood = False
        self._reason = reason
        self._gone(now)
        if not retryable or again:
            self._hopeless = True
        else:
            self._reopen_at = now + WAITS_S[min(self._tries, len(WAITS_S) - 1)]

    def answered(self) -> None:
        """The session speaks."""
        self._said = 0
        self._waits_from = INF

    def took(self, seconds: float) -> None:
        """So long it took from the caller's last word to its answer, or to its first request for a tool."""
        self._pace.took(seconds)

    def seen(self, now: float, signs: Signs) -> None:
        """Take in how the session looks now."""
        self._signs, self._seen_at = signs, now
        if not signs.connected:
            self._gone(now)
            self._waits_from = min(self._waits_from, INF if signs.owes_since is None else signs.owes_since)
        elif self._gone_since is not None:
            self._back_at, self._gone_since = now, None
        if signs.caller_speaks:
            self._waits_from = INF
        if signs.busy and now > self._sound_until:
            self._works_from = now if now > self._works_until + POLL_S else self._works_from
            self._works_until = now

    def heard(self, until: float) -> None:
        """The agent, or a sentence of ours, was heard until then."""
        self._sound_until = max(self._sound_until, until)

    def _gone(self, now: float) -> None:
        if self._gone_since is None:
            self._gone_since = now

    # ── what follows ────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def reason(self) -> str:
        """Why the last session was lost; "": none was."""
        return self._reason

    def gone_s(self, now: float) -> float:
        """For how long (s) nobody has heard the caller; 0.0 while somebody does."""
        return 0.0 if self._gone_since is None else now - self._gone_since

    def due(self, now: float) -> Action | None:
        """What must be done now."""
        if self._hopeless or now >= self._give_up_at():
            return GiveUp(self._reason or f"no session within {self._patience_s:g} s")
        if self._reopen_at is not None and now >= self._reopen_at:
            return Reopen()
        if self._signs.busy or now < self._speak_at():
            return None
        if self._gone_since is None and (self._mute or self._said >= MOST_UNANSWERED):
            return GiveUp("the session does not answer")
        self._said += 1
        self._sound_until = now
        return Reassure(first=self._said == 1)

    def deadline(self, *, watched: bool) -> float:
        """When to ask `seen` and `due` next, at the latest. watched: the session's look may change by itself."""
        if self._hopeless:
            return self._seen_at
        quiet = self._signs.connected and self._signs.owes_since is None
        look = INF
        if watched or not quiet:
            look = self._seen_at + (IDLE_POLL_S if quiet else POLL_S)
        reopen = INF if self._reopen_at is None else self._reopen_at
        return min(look, reopen, self._give_up_at(), INF if self._signs.busy else self._speak_at())

    @property
    def _patience_s(self) -> float:
        return min(MUTE_S, self._settings.give_up_s) if self._mute else self._settings.give_up_s

    def _give_up_at(self) -> float:
        if self._gone_since is None:
            return INF
        return self._gone_since + self._patience_s

    def _speak_at(self) -> float:
        """When the caller should be told something, unless something else is heard before."""
        signs, gone = self._signs, self._gone_since
        if signs.caller_speaks or (gone is not None and self._mute):
            return INF
        if gone is not None:
            patience_s = self._settings.honest_after_s
            since = gone + (0.0 if signs.owes_since is not None else (UNOWED - 1) * patience_s)
        elif signs.owes_since is not None:
            patience_s, since = self._answer_within_s(), self._waits_since(signs.owes_since)
        else:
            return INF
        pause_s = patience_s * max(1, self._said - 1)
        if self._said == 1:
            pause_s = min(pause_s, AGAIN_S)  # the first silence has used up what there was of patience
        again_at = self._sound_until + pause_s
        return max(since + patience_s, again_at, self._works_until + min(patience_s, self._behind_work_s()))

    def _behind_work_s(self) -> float:
        """What the model has behind it. Short work is no news to who was asked to wait already."""
        return min(BEHIND_WORK_S, self._works_until - self._works_from) if self._said else BEHIND_WORK_S

    def _waits_since(self, owes_since: float) -> float:
        """A connection that is new may know of no wait before it."""
        return min(owes_since, self._waits_from) if owes_since <= self._back_at else owes_since

    def _answer_within_s(self) -> float:
        """How long a session that is there may be silent: as configured until its own time is known in this call, and
        where that is so long that waiting for it would spare the caller nothing."""
        within_s = self._settings.answer_within_s
        if self._mute:
            return within_s
        if self._signs.broke_off and not self._said:
            return min(within_s, BROKE_OFF_S)
        usual_s = self._pace.usual_s
        if usual_s is None:
            return within_s
        patience_s = min(max(usual_s, LEAST_USUAL_S), MOST_USUAL_S) + BEYOND_S
        return within_s if usual_s > patience_s else patience_s


def afterwards(wanted: After, *, number_known: bool, can_transfer: bool) -> After:
    """What becomes of a call that was given up: as wanted where it can be kept, else a polite end. A call back that
    nobody asked for is never promised, and none to a number that is not known."""
    possible = {"transfer": can_transfer, "callback": number_known, "end": True}
    return wanted if possible[wanted] else "end"
