"""The conversation as the vendor judges it: server messages and time in, `AiEvent`s out. No I/O.

The vendor is the one judge of turns. It says "interrupted" when the caller speaks over the model; when the caller
speaks while nobody else does, the first sign is a transcript, a voice activity message or the model's answer. The
local ear only dates what the vendor noticed. Transcripts have no fixed order to audio and never cut a reply.
"""

from collections import Counter

from trunkline.ai.gemini import words
from trunkline.ai.gemini.debt import Debt
from trunkline.ai.gemini.ear import Ear
from trunkline.ai.gemini.errands import Asked, Errands
from trunkline.ai.gemini.past import Line, Past
from trunkline.ai.gemini.patience import RETOLD_S, Due, Patience
from trunkline.ai.gemini.reply import Reply
from trunkline.ai.gemini.wire import (
    Blob,
    FunctionCall,
    ServerContent,
    ServerMessage,
    VoiceActivity,
    rate_of,
    usage_units,
)
from trunkline.ai.session import (
    AiEvent,
    CallerSaid,
    CallerStartedSpeaking,
    CallerStoppedSpeaking,
    ReplyEnded,
    ReplyId,
    ReplyStarted,
    Stage,
    StageReached,
    ToolCall,
    Usage,
)
from trunkline.ai.tools import ToolResult

STALE_S = 1.0  # audio this soon after an interruption belongs to what was interrupted
FINAL_S = 0.6  # fragments of the caller's words may come this long after the answer began
END_S = 0.2  # fragments of the model's words may come this long after its last audio
LATE_TURN_S = 1.0  # turnComplete may come this long after the speech should have been heard
OVER_S = 0.3  # of speech, by which our own ear knows a caller who speaks while no connection judges
NOTICED_S = 1.5  # a vendor that lived notices speech within this of its begin; what it did not was none
IGNORED_S = 3.0  # sound of the caller that the vendor said nothing about for so long was no speech to it


class Turns:
    """One call's turns, over all its connections. `stall_s`: longest wait for an answer before something is done."""

    def __init__(self, stall_s: float) -> None:
        self.ear = Ear()
        self.past = Past()
        self.counters: Counter[str] = Counter()
        self.link = self.turn = 0  # connections, turns so far
        self._stall_s = stall_s
        self._patience = Patience(stall_s)
        self._reply: Reply | None = None
        self._replies = self._answered = 0  # so far; newest turn whose first answer was heard
        self._drains_until: float | None = None  # all was produced, the vendor thinks that it still plays
        self._stale_until = 0.0
        self._busy = False  # more may follow without the caller
        self._caller_open = False
        self._onset_s = 0.0  # of the caller's newest turn
        self._settled_s = -1.0  # the caller's speech before this is dealt with
        self._said, self._said_at = "", 0.0
        self._said_line: Line | None = None
        self._final_at: float | None = None
        self._early = ""  # the caller's words while the model speaks
        self._tools = Errands()
        self._debt = Debt()
        self._prompt = ""  # what the newest reply was asked for, if not by the caller
        self._message_at = self._linked_at = 0.0
        self._broken: str | None = None  # words of a reply that a lost connection cut off
        self._left_until = 0.0  # what a lost connection left to be heard lasts so long

    # ── what the server says ────────────────────────────────────────────────────────────────────────────────────

    def take(self, message: ServerMessage, now: float) -> list[AiEvent]:
        """Everything that one message brings about."""
        out: list[AiEvent] = []
        self._message_at = now
        if message.server_content is not None:
            self._content(message.server_content, now, out)
        if message.voice_activity is not None:
            self._activity(message.voice_activity, now, out)
        if message.tool_call is not None:
            for call in message.tool_call.function_calls or ():
                self._tool(call, now, out)
        if message.tool_call_cancellation is not None:
            self.counters["tools_cancelled"] += self._tools.cancel(message.tool_call_cancellation.ids or ())
        if message.usage_metadata is not None and (units := usage_units(message.usage_metadata)):
            out.append(Usage("gemini", units))
        return out

    def _content(self, content: ServerContent, now: float, out: list[AiEvent]) -> None:
        heard, said = content.input_transcription, content.output_transcription
        if heard is not None and heard.text:
            self._heard(heard.text, now, out)
        if content.interrupted:
            self._interrupted(now, out)
        if said is not None and said.text:
            self._words(said.text, now, out)
        if content.model_turn is not None:
            for part in content.model_turn.parts or ():
                if part.inline_data is not None and not part.thought:
                    self.voice(part.inline_data, now, out)
        if content.interaction_status:
            self._busy = content.interaction_status == "IN_PROGRESS"
        if content.generation_complete and self._reply is not None:
            self._reply.complete_at = now
            self._drains_until = self._reply.sounds_until
        if content.turn_complete:
            self._turn_complete(now, out)

    def _turn_complete(self, now: float, out: list[AiEvent]) -> None:
        self._end_reply(out)
        self._drains_until = None
        self._stale_until = 0.0
        early, self._early = self._early, ""
        if early:
            self._heard(early, now, out)

    # ── the caller ──────────────────────────────────────────────────────────────────────────────────────────────

    def _interrupted(self, now: float, out: list[AiEvent]) -> None:
        engaged = self._reply is not None or self._drains_until is not None
        if not engaged and not (self._unsettled and now - self.ear.last_at < 1.0):
            self.counters["phantom_interrupts"] += 1
            return
        self._open_caller(now, out)
        if engaged:
            self._stale_until = now + STALE_S
        if self._reply is not None:
            self._end_reply(out)
        self._drains_until = None

    @property
    def _unsettled(self) -> bool:
        """The caller has spoken since the last turn that was dealt with."""
        return self.ear.last_s > self._settled_s + 0.05

    def _open_caller(self, now: float, out: list[AiEvent]) -> None:
        if self._caller_open:
            return
        self._finish_said(out)
        self._caller_open = True
        self.turn += 1
        recent = self._unsettled and self.ear.last_s >= 0.0
        self._onset_s = self.ear.onset_s if recent else max(0.0, self.ear.heard_s - 0.3)
        self._said, self._early = self._early, ""
        self._said_at = now
        self._said_line = self.past.begin("user")
        self._said_line.text = self._said
        out.append(CallerStartedSpeaking(self.turn, self._onset_s))

    def _close_caller(self, now: float, out: list[AiEvent]) -> None:
        """The model answers: whatever the caller said is over."""
        if not self._caller_open:
            if not self._unsettled or self.ear.run_s < 0.2 or self._debt:
                return
            self._open_caller(now, out)
        self._caller_open = False
        end_s = max(self.ear.last_s, self._onset_s + 0.02)
        out.append(CallerStoppedSpeaking(self.turn, end_s))
        if self._unsettled:
            out.append(StageReached(self.turn, Stage.SPEECH_ENDED, self.ear.last_at))
        self._settled_s = max(self._settled_s, end_s)
        self._final_at = now + FINAL_S

    def _heard(self, text: str, now: float, out: list[AiEvent]) -> None:
        """A fragment of the caller's words."""
        if not self._caller_open:
            speaks = self._reply is not None or self._drains_until is not None
            if speaks and self._final_at is None and self._unsettled:
                self._early += text
                return
            if self._said_line is None or (self._unsettled and not speaks):
                self._open_caller(now, out)
        self._said += text
        self._said_at = now
        if self._said_line is not None:
            self._said_line.text = self._said
        final = not self._caller_open and self._final_at is None
        out.append(CallerSaid(self.turn, self._said.strip(), final))

    def _finish_said(self, out: list[AiEvent]) -> None:
        if self._final_at is not None:
            self._final_at = None
            out.append(CallerSaid(self.turn, self._said.strip()))

    def _activity(self, activity: VoiceActivity, now: float, out: list[AiEvent]) -> None:
        idle = self._reply is None and self._drains_until is None
        if activity.type == "ACTIVITY_START" and idle:
            self._open_caller(now, out)
        elif activity.type == "ACTIVITY_END" and self._caller_open:
            out.append(StageReached(self.turn, Stage.TURN_ENDED, now))

    # ── the model ───────────────────────────────────────────────────────────────────────────────────────────────

    def voice(self, blob: Blob, now: float, out: list[AiEvent]) -> None:
        """Some speech of the model."""
        self._message_at = now
        if not blob.data or not (reply := self._speaking(now, out)):
            return
        if event := reply.audio(blob.data, rate_of(blob.mime_type), now):
            if self._answered < reply.turn:
                self._answered = reply.turn
                out.append(StageReached(reply.turn, Stage.FIRST_AUDIO, now))
            out.append(event)

    def _words(self, text: str, now: float, out: list[AiEvent]) -> None:
        if self._reply is None and self._drains_until is not None:
            self.counters["late_words"] += 1  # behind the end of their reply
        elif (reply := self._speaking(now, out)) and (event := reply.words(text)):
            out.append(event)

    def _speaking(self, now: float, out: list[AiEvent]) -> Reply | None:
        """The reply that this belongs to; None when nobody wants it."""
        if self._reply is None and now < self._stale_until:
            self.counters["stale"] += 1
            return None
        if self._reply is None:
            self._reply = self._begin(now, out)
        if self._reply.dead:
            self.counters["stale"] += 1
            return None
        return self._reply

    def _begin(self, now: float, out: list[AiEvent]) -> Reply:
        self._patience.spoke(now, self._late_since())
        self._close_caller(now, out)
        self._prompt = " ".join(self._debt.asked)
        self._debt.paid()
        self._drains_until = None
        self._replies += 1
        id_ = ReplyId(f"g{self._replies}")
        out.append(ReplyStarted(id_, self.turn))
        return Reply(id_, self.turn, self.past.begin("model", id_), now)

    def _end_reply(self, out: list[AiEvent]) -> None:
        reply, self._reply = self._reply, None
        if reply is not None and not reply.dead:
            if event := reply.last_words():
                out.append(event)
            out.append(ReplyEnded(reply.id))

    def cut(self, reply: ReplyId, heard_s: float) -> None:
        """The reply was cut on our side: what still comes of it is nobody's."""
        self.past.cut(reply, heard_s)
        if self._reply is not None and self._reply.id == reply:
            self._reply.dead = True

    # ── tools and prompts ───────────────────────────────────────────────────────────────────────────────────────

    def _tool(self, call: FunctionCall, now: float, out: list[AiEvent]) -> None:
        since = self._debt.waits_from if self._tools else self.waits_since()
        if (opened := self._tools.open(call, self.link)) is None:
            self.counters["tools_refused"] += 1
            return
        self._close_caller(now, out)
        self._debt.works(since or now)
        id_, asked = opened
        out.append(ToolCall(id_, asked.name, asked.arguments, self.turn))

    def resolve(self, result: ToolResult, now: float) -> Asked | None:
        """Who asked for this result; None: nobody, or nobody any more."""
        asked = self._tools.close(result.id)
        if asked is not None:
            self.past.add("model", f"[{asked.name}: {result.error or result.value}]")
            self._debt.answered(now)
        return asked

    def ask(self, text: str, now: float) -> None:
        """The model was, or will be, told to speak."""
        self._debt.ask(text, now)

    # ── time ────────────────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: float) -> list[AiEvent]:
        """What time alone brings about."""
        out: list[AiEvent] = []
        reply = self._reply
        if reply is not None and reply.complete_at is not None and now >= reply.complete_at + END_S:
            self._end_reply(out)
        elif reply is not None and self._ran_dry(reply, now) and (reply.sounds_complete or reply.dead):
            self.counters["missing_completions"] += 1
            self._turn_complete(now, out)
        if self._drains_until is not None and now >= self._drains_until + LATE_TURN_S:
            self._turn_complete(now, out)
        if self._final_at is not None and now >= self._final_at:
            self._finish_said(out)
        return out

    def _ran_dry(self, reply: Reply, now: float) -> bool:
        waits = bool(self._tools or self._debt)
        return reply.complete_at is None and now >= reply.stalled_at(self._stall_s, waits=waits)

    def due(self, now: float) -> Due:
        """What to do about a model that says nothing although it should: a connection without any sign of life is
        resumed elsewhere; a session that lives and does not speak is begun afresh."""
        if self._reply is not None:
            return "resume" if self._ran_dry(self._reply, now) else ""
        since, nudged_at = self._late_since(), self._debt.nudged_at
        if since is None:
            return ""
        lives = self._message_at > since or (self._caller_open and bool(self._said))
        return self._patience.due(now, since, nudged_at, lives=lives, heard=not self._debt)

    def nudged(self, now: float) -> None:
        """It was told to answer."""
        self._debt.nudged_at = now

    def _late_since(self) -> float | None:
        """Since when (clock, s) the model could have answered: words that it writes down are a sign of life."""
        since = self.waits_since()
        if since is None or not (self._caller_open or self._debt):
            return None if since is None else max(since, self._linked_at)
        return max(since, self._said_at if self._caller_open and self._said else self._debt.told_at)

    def waits_since(self) -> float | None:
        """Since when (clock, s) the caller waits: from their last word on, however late that is written down and
        whatever tools it takes. None while the model speaks, or the caller may."""
        ear = self.ear
        if self._drains_until is not None or self._tools or ear.speaking:
            return None
        if self._caller_open and self._said:
            return ear.last_at if self._unsettled else self._said_at
        if self._debt:
            return self._debt.waits_from
        unheard = ear.run_s >= 0.6 and self._unsettled and self._message_at < ear.onset_at
        known = self._linked_at < ear.onset_at or ear.now_at < self._linked_at + RETOLD_S
        return ear.last_at if unheard and known else None

    def quiet(self, now: float) -> bool:
        """Whether a connection could be replaced without anybody noticing."""
        busy = self._reply is not None or self._drains_until is not None or self._busy
        waits = self._caller_open or self._debt or self._tools
        calm = not self.ear.speaking and (not self._unsettled or now - self.ear.last_at >= IGNORED_S)
        return not busy and not waits and calm

    # ── connections ─────────────────────────────────────────────────────────────────────────────────────────────

    def lost(self, now: float) -> list[AiEvent]:
        """The connection is gone."""
        out, reply = list[AiEvent](), self._reply
        self._left_until = self._drains_until or 0.0
        if reply is not None and not reply.dead:
            self._left_until = reply.sounds_until
            self._broken = reply.said if reply.complete_at is None else None
        self._end_reply(out)
        self._drains_until, self._busy, self._stale_until = None, False, 0.0
        self._debt.nudged_at = None
        if self._caller_open:  # the audio is heard again, and written down again
            self._said = ""
            if self._said_line is not None:
                self._said_line.text = ""
        return out + self.overheard(now)

    def overheard(self, now: float) -> list[AiEvent]:
        """No connection judges turns: a caller who speaks over what the last one left is believed by our own ear."""
        out, ear, lived_at = list[AiEvent](), self.ear, max(self._message_at, self._linked_at)
        left = self._broken is not None or now < self._left_until
        news = self._unsettled and ear.run_s >= OVER_S and lived_at < ear.onset_at + NOTICED_S
        if left and news and now - ear.last_at < 1.0 and not self._caller_open:
            self.counters["overheard"] += 1
            self._open_caller(now, out)
        return out

    def replay_from(self) -> float | None:
        """From where on (seconds of the heard stream) the new connection must hear what the old one heard."""
        if self._caller_open:
            return self._onset_s
        return self.ear.onset_s if self._unsettled and self.ear.run_s >= 0.1 else None

    @property
    def settled_s(self) -> float:
        """The caller's speech before this is never asked for again."""
        return self.ear.heard_s if self.replay_from() is None else min(self._onset_s, self.ear.onset_s)

    def connected(self, now: float) -> list[str]:
        """A connection is there. What is to be said to the model at once."""
        self.link += 1
        self._linked_at = now
        broken, self._broken = self._broken, None
        said = list(self._debt.asked)
        if broken is not None:
            said = [words.go_on(broken, self._said.strip(), self._prompt)]
        elif not said and self._debt.answers and not self._tools:
            said = [words.NUDGE]
        urges = said != self._debt.asked
        self._debt.connected(said, now)
        return [] if urges and self._caller_open else said  # who speaks is not talked over, and will be answered

    def finish(self) -> list[AiEvent]:
        """The session ends: what is known of the caller's last words."""
        self._finish_said(out := list[AiEvent]())
        return out
