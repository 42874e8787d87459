"""What the agent is saying: replies from their first word to the last second heard. Every method is synchronous, so a
cut is one step in which nothing else can happen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from trunkline.ai.session import ReplyId
from trunkline.bridge.leg import CallLeg
from trunkline.calls.events import BargeIn, Note, ReplyDone, ReplyOnWire, ReplySaying, TurnAnswered
from trunkline.calls.journal import Journal
from trunkline.calls.mouth import Mouth, Voice
from trunkline.calls.pieces import Given
from trunkline.calls.playout import Cut, Playout
from trunkline.clock import Clock
from trunkline.codecs.frame import AudioFrame

SENTENCE_ENDS = (".", "?", "!", "…", "。", "？", "！", "।")
MARK_LATE_S = 3.0  # a mark that is this late after its speech should have been heard is not coming back


class AgentTap(Protocol):
    """Who else wants the agent's voice as heard (the recording)."""

    def agent(self, starts: float, pcm: bytes) -> None:
        """s16le at the leg's rate that begins to be heard at `starts` (clock, s)."""
        ...

    def cut(self, at: float) -> None:
        """Nothing of the agent was heard from `at` (clock, s) on."""
        ...


@dataclass(slots=True)
class Reply:
    """A reply that is being made, waits, or is being heard."""

    key: str
    id: ReplyId | None  # None: ours, not the session's (a sentence, keys played to the far end)
    turn: int
    greeting: bool = False
    began: float | None = None  # clock: its first sample on the wire


@dataclass(frozen=True, slots=True)
class Begun:
    """A reply of the agent that has been heard in part. `mid_sentence`: its words so far are no whole sentence."""

    key: str
    mid_sentence: bool


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a reply ended, for the session to remember."""

    reply: Reply
    cut: Cut


class Speech:
    """One call's replies, its playout and its mouth."""

    def __init__(
        self, leg: CallLeg, clock: Clock, journal: Journal, changed: Callable[[], None], tap: AgentTap | None = None
    ) -> None:
        """changed: called when `deadline()` has become earlier."""
        self._changed = changed
        self._clock = clock
        self._journal = journal
        self._tap = tap
        self._leg = leg
        self._playout = Playout(leg.info.codec, leg.info.frame_ms)
        self._voice = Voice(leg.info.codec)
        self._again = leg.info.codec.decoder()  # what was given, for the recording
        self._voicing = ""
        self._replies: dict[str, Reply] = {}
        self._ends: dict[str, tuple[str, float]] = {}  # label → (reply, when its mark is overdue)
        self._firsts: dict[str, int] = {}  # label behind a turn's first piece → turn
        self._answered: set[int] = set()
        self.mouth = Mouth(leg, self._playout, clock, self._gave)
        self.heard_any = False  # a reply of the agent was heard to its end

    @property
    def replies(self) -> Mapping[str, Reply]:
        """Live replies by key, in the order in which they will be heard."""
        return self._replies

    @property
    def counters(self) -> dict[str, int]:
        """What was refused so far."""
        return {"late_audio": self._playout.refused, "playout_overflows": self._playout.overflowed}

    def audible(self) -> bool:
        """True while something is being heard or waits to be."""
        return self._playout.waiting_s > 0 or self._leg.playing()

    def heard_until(self, now: float) -> float:
        """When the agent was last heard, by our clock; no later than `now`."""
        return min(now, self.mouth.far.plays_until)

    def begun(self) -> Begun | None:
        """The reply of the agent that has been heard in part; None: none is."""
        key = next((reply.key for reply in self._replies.values() if reply.id and reply.began is not None), "")
        words = self._playout.last_words(key)
        return Begun(key, bool(words) and not words.endswith(SENTENCE_ENDS)) if key else None

    def waiting_s(self, now: float) -> float:
        """Seconds of speech that the caller will yet hear."""
        return self._playout.waiting_s + max(0.0, self.mouth.far.plays_until - now)

    def deadline(self) -> float:
        """When the next mark is overdue (clock, s)."""
        return min((due for _, due in self._ends.values()), default=float("inf"))

    # ── a reply is made ─────────────────────────────────────────────────────────────────────────────────────────

    def start(self, reply: Reply) -> None:
        """A reply begins; its key is new."""
        self._replies[reply.key] = reply
        self._playout.start(reply.key)

    def text(self, key: str, text: str) -> None:
        """The words of the speech from here on."""
        if self._playout.text(key, text):
            self._journal.emit(ReplySaying(self._journal.now(), key, self._replies[key].turn, text))
        else:
            self._journal.counters["late_text"] += 1

    def audio(self, key: str, frame: AudioFrame) -> None:
        """Speech of a reply; refused when the reply is dead."""
        if not self._playout.accepts(key):
            return
        if self._voicing != key:
            self._voice.rest()
            self._voicing = key
        self._push(key, self._voice.payload(frame))

    def payload(self, key: str, payload: bytes) -> None:
        """Sound that is the codec's payload already."""
        self._push(key, payload)

    def end(self, key: str) -> Verdict | None:
        """Nothing more comes for this reply. A verdict when it had no sound at all."""
        if key not in self._replies:
            return None
        if self._voicing == key and (rest := self._voice.rest()):
            self._push(key, rest)
        if not self._playout.finish(key):
            self.mouth.wake()
            return None
        if self._playout.given_s(key) > 0:
            self._expect(self.mouth.mark(), key)
            return None
        return self._done(key)

    def end_all(self) -> list[Verdict]:
        """The session is gone: what it made may still be heard, no more will come."""
        return [verdict for key in list(self._replies) if (verdict := self.end(key))]

    def _push(self, key: str, payload: bytes) -> None:
        overflowed = self._playout.overflowed
        if self._playout.push(key, payload):
            self.mouth.wake()
        elif self._playout.overflowed > overflowed:
            self._journal.emit(Note(self._journal.now(), "playout_full", "the reply is longer than can wait"))

    # ── it is heard ─────────────────────────────────────────────────────────────────────────────────────────────

    def played(self, label: str, *, dropped: bool) -> Verdict | None:
        """A mark came back. A verdict when it was a reply's last."""
        if (turn := self._firsts.pop(label, None)) is not None:
            self._tell_answered(turn)
        key, _ = self._ends.pop(label, ("", 0.0))
        return self._done(key) if key and not dropped else None

    def overdue(self, now: float) -> list[Verdict]:
        """Replies whose last mark never came back: heard, by our clock."""
        late = [label for label, (_, due) in self._ends.items() if due <= now]
        self._journal.counters["marks_lost"] += len(late)
        return [verdict for label in late if (verdict := self.played(label, dropped=False))]

    def _gave(self, given: Given) -> None:
        key = given.piece.reply
        if self._tap is not None:
            self._tap.agent(given.starts, self._again.decode(given.piece.payload))
        if given.piece.first:
            reply = self._replies[key]
            reply.began = given.at
            if reply.id is not None:
                self._journal.emit(ReplyOnWire(self._journal.at(given.at), key, reply.turn))
                self._firsts[given.label] = reply.turn
        if given.piece.last:
            self._expect(given.label, key)

    def _tell_answered(self, turn: int) -> None:
        """Once per turn, and not before the session had a chance to tell the turn's last stages."""
        if turn not in self._answered and (answer := self._journal.turns.answered(turn)):
            self._answered.add(turn)
            self._journal.emit(TurnAnswered(self._journal.now(), turn, *answer))

    def _expect(self, label: str, key: str) -> None:
        self._ends[label] = (key, self.mouth.far.plays_until + MARK_LATE_S)
        self._changed()

    def _done(self, key: str) -> Verdict | None:
        cut = self._playout.settle(key)
        return self._settled(cut) if cut else None

    # ── or it is cut ────────────────────────────────────────────────────────────────────────────────────────────

    def cut(self, turn: int, judged_at: float) -> list[Verdict]:
        """Silence, at once: carrier, playout and names. `judged_at`: clock, when the caller was heard to speak."""
        dropped_s = self.mouth.cut()
        stop_ms = (self._clock.monotonic() - judged_at) * 1000
        verdicts = self._dropped(dropped_s)
        for verdict in verdicts:
            if verdict.cut.given_s > 0 and not verdict.cut.complete and verdict.reply.id is not None:
                self._journal.emit(BargeIn(self._journal.now(), turn, verdict.reply.key, dropped_s, stop_ms))
                break
        return verdicts

    def abandon(self) -> None:
        """The call is over: what the far end has not played by our clock was not heard."""
        now = self._clock.monotonic()
        dropped_s = max(0.0, self.mouth.far.plays_until - now)
        self.mouth.far.cut(now, dropped_s)
        self._dropped(dropped_s)

    def _dropped(self, dropped_s: float) -> list[Verdict]:
        self._ends.clear()
        self._voicing = ""
        if self._tap is not None:
            self._tap.cut(self.mouth.far.plays_until)
        return [self._settled(cut) for cut in self._playout.cut(dropped_s)]

    def _settled(self, cut: Cut) -> Verdict:
        reply, now = self._replies.pop(cut.reply), self._journal.now()
        complete = cut.complete and cut.given_s > 0
        self.heard_any = self.heard_any or (complete and reply.id is not None)
        self._tell_answered(reply.turn)
        if reply.id is not None or cut.heard_text:
            began_s = now if reply.began is None else self._journal.at(reply.began)
            self._journal.emit(
                ReplyDone(now, reply.key, reply.turn, cut.heard_s, cut.heard_text, not cut.complete, began_s)
            )
        return Verdict(reply, cut)
