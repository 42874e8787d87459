"""The hearing half of a cascade session: which words are a turn, and what becomes of a reply the caller speaks into.

Judge and recogniser report; this half decides whether the caller's speech continues the turn before, and whether a
reply that was cut is taken up again. What is to be answered goes to the other half (`session_answering`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from trunkline.ai.cascade.protocols import ModelState, RecogniserStream, Transcript
from trunkline.ai.cascade.session_answering import Answering
from trunkline.ai.cascade.session_ears import PRE_ROLL_S, Judge, Listener
from trunkline.ai.cascade.session_outbox import Outbox
from trunkline.ai.cascade.session_reply import Reply
from trunkline.ai.cascade.session_work import Cut, Turn, Verbatim, joined
from trunkline.ai.cascade.turn import SpeechStarted, TurnEnded, TurnEvent
from trunkline.ai.history import History
from trunkline.ai.session import CallerSaid, CallerStartedSpeaking, CallerStoppedSpeaking, Stage
from trunkline.clock import Clock
from trunkline.codecs.frame import AudioFrame

IDLE_S: Final = 0.25  # without audio, after which the judge is asked all the same
NOT_HEARD_S: Final = 0.4  # less of a reply than this counts as nothing heard
GOES_ON_S: Final = 1.5  # speech so soon after a turn's end continues that turn, if nothing was heard in between
MEANT_S: Final = 1.2  # of speech is somebody who says something
_MOST_RESUMED: Final = 2

LOST_EARS = "Sorry, I lost you for a moment. Could you say that again?"
AS_I_WAS_SAYING = "As I was saying:"


@dataclass(slots=True)
class _Ear:
    """What is known of the caller's speech."""

    turn: int = 0  # the newest, spoken or keyed
    spoken: int = 0  # the newest that was spoken
    before: int = 0  # the spoken one before
    speaking: bool = False
    ended_s: float = -1e9  # position of the last turn's end
    onset_s: float = 0.0  # of the newest turn
    last_frame_at: float = 0.0  # loop time
    carry: Turn | None = None  # words of a turn that had not ended after all


class Hearing:
    """One session's ears, and its judgement of what they hear."""

    def __init__(
        self, judge: Judge, stream: RecogniserStream, clock: Clock, out: Outbox, history: History, answering: Answering
    ) -> None:
        self._judge, self._clock, self._out, self._history = judge, clock, out, history
        self._answering = answering
        self._listener = Listener(stream, self._understood, self._partly)
        self._ear = _Ear()
        self._cut: Cut | None = None

    @property
    def turn(self) -> int:
        """The caller's newest turn, spoken or keyed; 0 before the first."""
        return self._ear.turn

    @property
    def dropped_s(self) -> float:
        """Seconds of audio that the recogniser was too slow for."""
        return self._listener.dropped_s

    async def listen(self) -> None:
        """Feed the recogniser, until cancelled."""
        await self._listener.run()

    async def watch(self) -> None:
        """Audio may stop in the middle of a turn; the turn must end all the same."""
        while not self._out.over:
            await self._clock.sleep_until(self._clock.monotonic() + IDLE_S)
            silent_s = self._clock.monotonic() - self._ear.last_frame_at
            if self._ear.speaking and silent_s > IDLE_S:
                self._judged(self._judge.idle(self._judge.heard_s + silent_s))

    def hear(self, frame: AudioFrame, far_dbov: float) -> None:
        """The next frame at 16 kHz."""
        self._ear.last_frame_at = self._clock.monotonic()
        was_speaking = self._ear.speaking
        self._judged(self._judge.hear(frame, far_dbov))
        if was_speaking and self._ear.speaking:
            self._listener.feed(frame.pcm)

    def key(self) -> int:
        """A key was pressed: the number of its turn."""
        self._ear.turn += 1
        return self._ear.turn

    def expect(self, state: ModelState) -> None:
        """Recogniser and judge are told what kind of answer the model waits for."""
        self._listener.expect(state.grammar)
        self._judge.patience(state.patience_s)

    def was_cut(self, reply: Reply, heard_s: float, heard_clauses: int) -> None:
        """The call cut this reply after `heard_s` seconds, so many clauses having been heard in full."""
        first = self._cut is None or self._cut.by != self._ear.spoken
        if not self._goes_on(reply, heard_s) and first:
            self._cut = Cut(reply, heard_clauses, self._ear.spoken)

    def _judged(self, events: Sequence[TurnEvent]) -> None:
        for event in events:
            match event:
                case SpeechStarted(onset_s):
                    self._started(onset_s)
                case TurnEnded(last_speech_s):
                    self._ended(last_speech_s)
                case _:
                    pass  # a pause inside the turn, or its end

    def _started(self, onset_s: float) -> None:
        ear = self._ear
        ear.turn, ear.speaking, ear.onset_s = ear.turn + 1, True, onset_s
        ear.before, ear.spoken = ear.spoken, ear.turn
        self._listener.begin(ear.spoken, self._judge.since(onset_s - PRE_ROLL_S))
        self._answering.withdraw_unheard(self._take_back)
        self._answering.give_way()
        self._out.put(CallerStartedSpeaking(ear.spoken, onset_s))

    def _ended(self, last_speech_s: float) -> None:
        ear, now = self._ear, self._clock.monotonic()
        ear.speaking, ear.ended_s = False, last_speech_s
        self._listener.finish(ear.spoken)
        self._out.put(CallerStoppedSpeaking(ear.spoken, last_speech_s))
        self._answering.stage(ear.spoken, Stage.SPEECH_ENDED, now - max(0.0, self._judge.heard_s - last_speech_s))
        self._answering.stage(ear.spoken, Stage.TURN_ENDED, now)

    def _goes_on(self, reply: Reply, heard_s: float) -> bool:
        """Whether the caller's present speech continues the turn that this reply answered."""
        ear = self._ear
        if reply.answers is None or reply.answers != ear.before or heard_s >= NOT_HEARD_S:
            return False
        return ear.onset_s - ear.ended_s <= GOES_ON_S and self._take_back(reply.answers)

    def _take_back(self, turn: int) -> bool:
        entry = self._history.withdraw(turn)
        if entry is not None:
            self._ear.carry = Turn(turn, entry.text, entry.accepted)
        return entry is not None

    def _partly(self, turn: int, text: str) -> None:
        self._out.put(CallerSaid(turn, text, final=False))

    def _understood(self, turn: int, transcript: Transcript | None) -> None:
        self._answering.stage(turn, Stage.TRANSCRIPT)
        carry, self._ear.carry = self._ear.carry, None
        cut, self._cut = (self._cut, None) if self._cut is not None and self._cut.by == turn else (None, self._cut)
        if transcript is None:
            self._out.put(CallerSaid(turn, "", confidence=0.0))
            self._answering.enqueue(replace(carry, turn=turn) if carry else Verbatim(turn, [LOST_EARS]))
            return
        self._out.put(CallerSaid(turn, transcript.text, confidence=transcript.confidence))
        words = Turn(turn, transcript.text, transcript.accepted and bool(transcript.text.strip()))
        noise = not words.accepted and carry is None and not self._meant(transcript)
        if noise and cut is not None and self._resume(cut):
            return
        words = joined(carry, words)
        if self._ear.speaking and self._ear.onset_s - self._ear.ended_s <= GOES_ON_S:
            self._ear.carry = words  # they are speaking on already
        else:
            self._answering.enqueue(words)

    def _meant(self, transcript: Transcript) -> bool:
        """Words that went on for so long were no noise, though they were not understood: ask, do not talk on."""
        return bool(transcript.text.strip()) and self._ear.ended_s - self._ear.onset_s >= MEANT_S

    def _resume(self, cut: Cut) -> bool:
        """Take up a reply that was cut by nothing."""
        self._judge.mistaken()
        rest = list(cut.reply.rest(cut.heard_clauses))
        if not rest or cut.reply.resumed >= _MOST_RESUMED:
            return False
        if isinstance(rest[0], str) and cut.heard_clauses:
            rest[0] = f"{AS_I_WAS_SAYING} {rest[0]}"
        self._answering.enqueue(Verbatim(self._ear.turn, rest, cut.reply.resumed + 1))
        return True
