"""A call's exchanges, folded from its events one by one; what is long over is kept packed."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from trunkline.calls.events import (
    BargeIn,
    CallerSilent,
    CallerSpeaking,
    CallerUnderstood,
    CallEvent,
    KeyPressed,
    ReplyDone,
    ReplyOnWire,
    ReplySaying,
    StageNote,
    ToolUsed,
)
from trunkline.calls.playout import join

OPEN_TURNS = 64  # that may still change; an answer comes to the last one, rarely to the one before
PACKED_TURNS = 32  # that are packed together


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange: what the caller did, and the reply to it. Turn 0 is the greeting. Times: seconds of the call."""

    turn: int
    caller_text: str = ""
    confidence: float | None = None
    caller_from_s: float | None = None
    caller_to_s: float | None = None  # last speech sample on the wire
    keys: str = ""
    replies: tuple[str, ...] = ()
    agent_text: str = ""  # what the agent set out to say
    heard_text: str = ""  # what of it was heard
    heard_s: float = 0.0
    agent_from_s: float | None = None  # first agent sample on the wire
    agent_to_s: float | None = None
    interrupted: bool = False
    tools: tuple[str, ...] = ()
    response_s: float | None = None  # agent_from_s - caller_to_s: what the caller lived
    stages: Mapping[str, float] = msgspec.field(default_factory=dict)
    # seconds: endpointing, stt_tail, llm, first_clause, tts, bridge; they sum to response_s


_STAGES: tuple[tuple[str, str], ...] = (  # column of the latency table ← the moment that ends it
    ("endpointing", "turn_ended"),
    ("stt_tail", "transcript"),
    ("llm", "first_token"),
    ("first_clause", "first_clause"),
    ("tts", "first_audio"),
)


_PACK = msgspec.msgpack.Decoder(list[Turn])


class TurnFold:
    """Events in, turns out; one instance per call. A turn may be answered by several replies; the first one counts.

    A call may talk for hours: of its turns only the newest `OPEN_TURNS` are kept as they are, older ones as packed text
    (some 60 bytes each), to which nothing can be added any more.
    """

    def __init__(self) -> None:
        self._packed: list[bytes] = []
        self._packed_to = -1  # the newest turn among them
        self._turns: dict[int, _Draft] = {}
        self._reply_turn: dict[str, int] = {}
        self._keys = ""  # pressed, and not yet answered: they belong to the turn whose answer comes next
        self.barge_ins: list[float] = []

    def add(self, event: CallEvent) -> None:
        """Take one event in."""
        match event:
            case CallerSpeaking(at_s=at, turn=turn):
                self._draft(turn).caller_spoke(at)
            case CallerSilent(at_s=at, turn=turn):
                self._draft(turn).caller_to_s = at
            case CallerUnderstood(turn=turn, text=text, confidence=confidence):
                self._draft(turn).understood(text, confidence)
            case KeyPressed(key=key):
                self._keys += key
            case StageNote(at_s=at, turn=turn, stage=stage):
                self._draft(turn).reached(stage, at)
            case ReplySaying() | ReplyOnWire() | ReplyDone():
                self._reply(event)
            case ToolUsed(turn=turn, name=name):
                self._draft(turn).tools.append(name)
            case BargeIn(at_s=at):
                self.barge_ins.append(at)
            case _:
                pass

    @property
    def open(self) -> int:
        """Turns that can still change."""
        return len(self._turns)

    @property
    def packed_bytes(self) -> int:
        """What the others take."""
        return sum(map(len, self._packed))

    def turns(self) -> tuple[Turn, ...]:
        """What is known of the turns so far, in order."""
        if self._keys:
            self._draft(max(self._turns, default=0)).keys += self._keys
            self._keys = ""
        return (*self._unpacked(), *(self._turns[turn].turn(turn) for turn in sorted(self._turns)))

    def answered(self, turn: int) -> tuple[float, Mapping[str, float]] | None:
        """(response_s, stages) of a turn whose answer is on the wire; None without an answer or without speech."""
        draft = self._turns.get(turn)
        if draft is None or (response_s := draft.response_s()) is None:
            return None
        return response_s, draft.stages()

    def _draft(self, turn: int) -> "_Draft":
        if turn in self._turns:
            return self._turns[turn]
        if turn <= self._packed_to:
            return _Draft()  # too late to be told
        if len(self._turns) >= OPEN_TURNS + PACKED_TURNS:
            self._pack()
        return self._turns.setdefault(turn, _Draft())

    def _pack(self) -> None:
        oldest = sorted(self._turns)[:PACKED_TURNS]
        done = [self._turns.pop(turn).turn(turn) for turn in oldest]
        self._packed_to = max(self._packed_to, oldest[-1])
        self._packed.append(zlib.compress(msgspec.msgpack.encode(done)))
        self._reply_turn = {reply: turn for reply, turn in self._reply_turn.items() if turn > self._packed_to}

    def _unpacked(self) -> list[Turn]:
        return [turn for pack in self._packed for turn in _PACK.decode(zlib.decompress(pack))]

    def _reply(self, event: ReplySaying | ReplyOnWire | ReplyDone) -> None:
        draft = self._draft(self._reply_turn.setdefault(event.reply, event.turn))
        if event.reply not in draft.replies:
            draft.replies.append(event.reply)
            draft.keys += self._keys
            self._keys = ""
        match event:
            case ReplySaying(text=text):
                draft.agent_text = join(draft.agent_text, text)
            case ReplyOnWire(at_s=at):
                draft.on_wire(at)
            case ReplyDone():
                draft.done(event)


@dataclass(slots=True)
class _Draft:
    """A turn in the making."""

    caller_text: str = ""
    confidence: float | None = None
    caller_from_s: float | None = None
    caller_to_s: float | None = None
    keys: str = ""
    replies: list[str] = field(default_factory=list)
    agent_text: str = ""
    heard_text: str = ""
    heard_s: float = 0.0
    agent_from_s: float | None = None
    agent_to_s: float | None = None
    interrupted: bool = False
    tools: list[str] = field(default_factory=list)
    moments: dict[str, float] = field(default_factory=dict)
    asked_at_s: float | None = None  # last speech sample before the answer

    def caller_spoke(self, at: float) -> None:
        if self.caller_from_s is None:
            self.caller_from_s = at

    def understood(self, text: str, confidence: float | None) -> None:
        self.caller_text, self.confidence = text, confidence

    def reached(self, stage: str, at: float) -> None:
        """The newest moment counts: a turn that went on after a pause is measured from its real end."""
        if self.agent_from_s is None or at <= self.agent_from_s:
            self.moments[stage] = at

    def on_wire(self, at: float) -> None:
        if self.agent_from_s is None:
            self.agent_from_s = at
            self.asked_at_s = self.caller_to_s if self.caller_to_s is not None else self.moments.get("speech_ended")

    def done(self, event: ReplyDone) -> None:
        self.heard_s += event.heard_s
        self.heard_text = join(self.heard_text, event.heard_text)
        self.interrupted = event.interrupted
        if event.heard_s > 0:
            self.agent_to_s = event.at_s

    def response_s(self) -> float | None:
        if self.agent_from_s is None or self.asked_at_s is None:
            return None
        return max(0.0, self.agent_from_s - self.asked_at_s)

    def stages(self) -> dict[str, float]:
        """Durations that sum to `response_s`; a moment that was not told is part of the next stage that was."""
        if self.agent_from_s is None or self.asked_at_s is None:
            return {}
        durations: dict[str, float] = {}
        before, end = self.asked_at_s, max(self.asked_at_s, self.agent_from_s)
        for column, moment in _STAGES:
            if moment in self.moments:
                at = min(max(before, self.moments[moment]), end)
                durations[column] = at - before
                before = at
        durations["bridge"] = end - before
        return durations

    def turn(self, turn: int) -> Turn:
        return Turn(
            turn=turn,
            caller_text=self.caller_text,
            confidence=self.confidence,
            caller_from_s=self.caller_from_s,
            caller_to_s=self.caller_to_s,
            keys=self.keys,
            replies=tuple(self.replies),
            agent_text=self.agent_text.strip(),
            heard_text=self.heard_text.strip(),
            heard_s=self.heard_s,
            agent_from_s=self.agent_from_s,
            agent_to_s=self.agent_to_s,
            interrupted=self.interrupted,
            tools=tuple(self.tools),
            response_s=self.response_s(),
            stages=self.stages(),
        )
