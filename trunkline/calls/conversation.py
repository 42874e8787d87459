"""The conversation: two pumps (ears, mouth) carry audio, one mind decides.

Every decision is taken in `_take`, one event at a time, over leg, session and our own requests. The mind awaits
nothing slower than a bounded word to the session. All tasks belong to the call's TaskGroup: when the mind returns an
outcome the pumps and the reading tools are cancelled, writing tools get the time they were promised.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import assert_never

from trunkline.ai.session import (
    CallerSaid,
    CallerStartedSpeaking,
    CallerStoppedSpeaking,
    ReplyAudio,
    ReplyEnded,
    ReplyId,
    ReplyStarted,
    ReplyText,
    SessionLost,
    StageReached,
    ToolCall,
    Usage,
)
from trunkline.ai.tools import ToolResult
from trunkline.bridge.leg import Answered, CallLeg, Digit, Ended, Held, Moved, Oddity, Played, Resumed, Ringing
from trunkline.calls.control import Close, Control, HangUp, Request, Say, SendDigits, Transfer
from trunkline.calls.ears import Ears
from trunkline.calls.events import CallerSilent, CallerSpeaking, KeyPressed
from trunkline.calls.handover import TransferOver
from trunkline.calls.happenings import EarsOver, Happened, Item, LegSilent, Setting, ToolDone, collect, cut, listen
from trunkline.calls.inbox import Inbox
from trunkline.calls.journal import Journal
from trunkline.calls.lifeline import GiveUp, Lifeline, Reassure, Reopen, afterwards
from trunkline.calls.own_words import LastWords, OwnWords
from trunkline.calls.policy import Farewell, Finish, Policy, Prompt, left
from trunkline.calls.recording import Recording
from trunkline.calls.scribe import Scribe
from trunkline.calls.sentences import Kind
from trunkline.calls.session_life import SessionUp, resumed
from trunkline.calls.session_line import SessionLine
from trunkline.calls.speech import Reply, Speech, Verdict
from trunkline.calls.telephone import Telephone
from trunkline.calls.toolbench import Toolbench
from trunkline.clock import Clock
from trunkline.outcome import EndCause, Fault, Outcome

MEDIA_GONE_S = 2.0  # audio ended and no goodbye came within this
_FAULTS: Mapping[EndCause, Fault] = {EndCause.SILENCE: "caller", EndCause.DRAINED: "us"}


class Conversation:
    """One call's talk, from media to outcome."""

    def __init__(
        self, leg: CallLeg, setting: Setting, journal: Journal, clock: Clock, recording: Recording | None = None
    ) -> None:
        self._leg = leg
        self._setting = setting
        self._journal = journal
        self._clock = clock
        self._brief = setting.brief
        self._inbox: Inbox[Happened] = Inbox()
        self._speech = Speech(leg, clock, journal, self._inbox.poke, recording)
        self._ears = Ears(leg, clock, self._speech.mouth.far.loudest, lambda exc: self._line.deaf(exc), recording)
        self._line = SessionLine(setting.provider, self._ears, self._speech, self._inbox, clock)
        self._lifeline = Lifeline(setting.failure, mute=not setting.phrases, pace=setting.pace)
        self._own = OwnWords(setting.phrases, self._speech, journal, leg.info.codec)
        self._last_words: LastWords | None = None  # being said: the call is given up
        self._policy = Policy(setting.limits, clock.monotonic(), protect_greeting=setting.protect_greeting)
        self._scribe = Scribe(journal)
        self.telephone = Telephone(leg, setting, self._own, self._scribe, self._post, clock)
        control = Control(self._brief.call_id, self._brief.caller, setting.tenant, self.ask, self.telephone)
        self._tools = Toolbench(self._brief.tools, control, journal, clock, self._tool_done, self.ask)
        self._group: asyncio.TaskGroup
        self._pumps: list[asyncio.Task[None]] = []
        self._turn = 0
        self._caller_had_turn = False
        self._replied = False  # the first reply is the greeting, if there is one
        self._media_gone_at: float | None = None
        self._outcome: Outcome | None = None

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it goes on."""
        return self._outcome

    @property
    def counters(self) -> dict[str, int]:
        """What was dropped or refused on our side of the leg."""
        return {**self._speech.counters, "early_keys_dropped": self._line.keys_dropped}

    @property
    def last_words(self) -> bool:
        """True once the caller was told, in words, that the call ends."""
        return self._last_words is not None and (bool(self._last_words.key) or self._last_words.waits)

    def ask(self, request: Request) -> None:
        """Hand the mind a request; it is decided in its turn."""
        self._post(request)

    def talking(self) -> bool:
        """True while a session is on the line, so that something can be said."""
        return self._line.there

    async def run(self, goodbye: Callable[[Outcome], Awaitable[None]]) -> Outcome:
        """Hold the conversation. `goodbye` hangs up (bounded), before writing tools are waited for."""
        try:
            async with asyncio.TaskGroup() as self._group:
                self._start_pumps()
                if self._leg.info.direction == "inbound":
                    self._begin()
                outcome = self._outcome = await self._mind()
                self._stop()
                await goodbye(outcome)
        finally:
            self._speech.abandon()
        return outcome

    def _start_pumps(self) -> None:
        self._pumps = [
            self._group.create_task(collect(self._leg, self._put), name="leg-events"),
            self._group.create_task(listen(self._ears.run, self._put), name="ears"),
            self._group.create_task(self._speech.mouth.run(), name="mouth"),
        ]

    def _stop(self) -> None:
        """Cancel everything that has no promise to keep."""
        for task in self._pumps:
            task.cancel()
        self._tools.stop()
        self.telephone.stop()
        self._line.end()
        self._speech.abandon()

    def _put(self, item: Item) -> Awaitable[None]:
        return self._inbox.put(Happened(self._clock.monotonic(), 0, item))

    def _post(self, item: Item, session: int = 0) -> None:
        self._inbox.post(Happened(self._clock.monotonic(), session, item))

    # ── the mind ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _mind(self) -> Outcome:
        while True:
            now = self._clock.monotonic()
            self._line.past_mind = 0
            outcome = await self._tick(now)
            if outcome is None and (happened := await self._inbox.get(self._deadline() - now)):
                outcome = await self._take(happened)
            if outcome is not None:
                return outcome

    def _deadline(self) -> float:
        gone = float("inf") if self._media_gone_at is None else self._media_gone_at + MEDIA_GONE_S
        if self._last_words is not None:
            return min(self._last_words.until, self._speech.deadline(), gone, self.telephone.deadline())
        watched = self._line.number and not self.telephone.handing_on
        lifeline = self._lifeline.deadline(watched=self._line.watched) if watched else float("inf")
        return min(self._policy.deadline(), self._speech.deadline(), gone, lifeline, self.telephone.deadline())

    async def _tick(self, now: float) -> Outcome | None:
        """What time alone brings about."""
        if now >= self._speech.deadline():
            await self._tell_verdicts(*self._speech.overdue(now))
        if self._media_gone_at is not None and now >= self._media_gone_at + MEDIA_GONE_S:
            return Outcome(EndCause.MEDIA_LOST, "carrier")
        audible = self._speech.audible()
        self.telephone.due(now, self._group, audible=audible)
        if self._last_words is not None:
            return self._last_words.outcome if now >= self._last_words.until else None
        heard_until, busy = self._speech.heard_until(now), self._tools.busy() or self.telephone.busy
        self._policy.heard(heard_until)
        match self._policy.due(now, busy=audible or busy):
            case Prompt(count=count):
                self._scribe.note("silence_prompt", str(count))
                await self._line.tell(lambda session: session.prompt("silence"))
            case Farewell(cause=cause):
                self._scribe.note("farewell", cause)
                await self._line.tell(lambda session: session.prompt("goodbye"))
            case Finish(cause=cause):
                return Outcome(cause, _FAULTS.get(cause, "nobody"))
        if self._line.number and self._policy.closing is None and not self.telephone.handing_on:
            self._hold_on(now, heard_until, busy=audible or busy)
        return None

    async def _take(self, happened: Happened) -> Outcome | None:
        at, item = happened.at, happened.item
        if happened.session and happened.session != self._line.number:
            return None  # from a session that was given up
        if self._last_words is not None:
            return await self._take_last(item, at)
        match item:
            # the leg
            case Ended(outcome=outcome):
                return self._left(outcome)
            case Digit(key=key):
                await self._digit(key, at)
            case Played(label=label, dropped=dropped):
                await self._tell_verdicts(self._speech.played(label, dropped=dropped))
            case Answered():
                self._begin()
            case Ringing() | Held() | Resumed() | Moved() | SendDigits() | Transfer() | TransferOver():
                self._policy.active(at)
                return self._telephoned(self.telephone.take(item, at, self._turn))
            # the session
            case CallerStartedSpeaking():
                await self._caller_started(item, at)
            case CallerStoppedSpeaking():
                self._caller_stopped(item, at)
            case CallerSaid(text=text, final=final):
                self._caller_had_turn = self._caller_had_turn or (final and bool(text))
                self._scribe.fact(item, at)
            case ReplyStarted(reply=reply, turn=turn):
                self._reply_started(reply, turn)
            case ReplyText(reply=reply, text=text):
                self._speech.text(self._line.key(reply), text)
            case ReplyAudio(reply=reply, frame=frame):
                self._speech.audio(self._line.key(reply), frame)
            case ReplyEnded(reply=reply):
                await self._tell_verdicts(self._speech.end(self._line.key(reply)))
            case ToolCall():
                await self._tool_wanted(item)
            case Oddity() | StageReached() | Usage():
                self._scribe.fact(item, at)
            case SessionLost(reason=reason, retryable=retryable):
                return self._lost(reason, retryable=retryable)
            # ourselves
            case SessionUp(session=session):
                self._policy.active(at)
                self._lifeline.up()
                await self._line.up(session)
            case ToolDone(result=result):
                self._policy.active(at)
                await self._line.tell(lambda session: session.resolve(result))
            case EarsOver():
                self._media_gone_at = at
            case LegSilent():
                return Outcome(EndCause.MEDIA_LOST, "carrier")
            case Close():
                self._policy.close(EndCause.COMPLETED, at)
            case Say(text=text):
                self._policy.active(at)
                await self._line.tell(lambda session: session.prompt("say", text))
            case HangUp(cause=cause, fault=fault):
                return Outcome(cause, fault)
            case _:
                assert_never(item)
        return None

    # ── the call begins and ends ────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        """Media flows: once."""
        if self._line.number:
            return
        info, self.telephone.up = self._leg.info, True
        self._scribe.started(info.direction, info.carrier, self._brief.agent, info.from_, info.to)
        self._policy.active(self._clock.monotonic())
        self._open_session()

    def _left(self, outcome: Outcome) -> Outcome:
        self._speech.abandon()
        waited = self._lifeline.gone_s(self._clock.monotonic()) >= self._setting.failure.honest_after_s
        return left(outcome, talked=self._speech.heard_any or self._caller_had_turn, waited=waited)

    # ── the caller ──────────────────────────────────────────────────────────────────────────────────────────────

    async def _caller_started(self, event: CallerStartedSpeaking, at: float) -> None:
        onset = self._ears.stream.wire_time(event.at_s, at)
        self._turn = max(self._turn, event.turn)
        self._policy.caller_started(at)
        self._journal.emit(CallerSpeaking(self._journal.at(onset), event.turn))
        await self._barge_in(event.turn, at)

    def _caller_stopped(self, event: CallerStoppedSpeaking, at: float) -> None:
        last = self._ears.stream.wire_time(event.at_s, at)
        self._caller_had_turn = True
        self._policy.caller_stopped(at)
        self._lifeline.took(at - last)
        self._journal.emit(CallerSilent(self._journal.at(last), event.turn))

    async def _digit(self, key: str, at: float) -> None:
        """A key is an answer: it interrupts like speech."""
        self._caller_had_turn = True
        self._policy.caller_active(at)
        self._journal.emit(KeyPressed(self._journal.at(at), key))
        await self._barge_in(self._turn, at)
        await self._line.press(key)

    async def _barge_in(self, turn: int, judged_at: float) -> None:
        """Barge-in is data: flush, cut and forget in one step; only then is the session told."""
        live = self._speech.replies.values()
        if not live or not all(self._policy.interruptible(reply.turn, greeting=reply.greeting) for reply in live):
            return
        await self._tell_verdicts(*self._speech.cut(turn, judged_at))

    # ── the agent ───────────────────────────────────────────────────────────────────────────────────────────────

    def _reply_started(self, reply: ReplyId, turn: int) -> None:
        greeting = turn == 0 and not self._replied and bool(self._brief.greeting)
        self._replied = True
        self._lifeline.answered()
        self._speech.start(Reply(self._line.key(reply), reply, turn, greeting))

    async def _tell_verdicts(self, *verdicts: Verdict | None) -> None:
        """How replies ended, to the session that made them. None: none did."""
        now = self._clock.monotonic()
        for verdict in filter(None, verdicts):
            self._policy.reply_done(verdict.reply.began, now)
            if self._last_words is not None:
                self._last_words.heard(verdict.reply.key, now)
            await self._line.remember(verdict.reply, verdict.cut)

    # ── the session ─────────────────────────────────────────────────────────────────────────────────────────────

    def _open_session(self) -> None:
        """The first one, or another one, which knows that it is not the first if anything was said."""
        self._lifeline.opening(self._clock.monotonic())
        brief = self._brief
        if self._replied or self._caller_had_turn:
            brief = resumed(brief, self._journal.turns.turns())
        self._line.open(self._group, brief)

    def _lost(self, reason: str, *, retryable: bool) -> Outcome | None:
        """What follows is the lifeline's to say; a call that was being closed anyway is over."""
        self._scribe.note("session_lost", reason)
        self._line.let_go()
        if self._policy.closing:
            return Outcome(self._policy.closing, _FAULTS.get(self._policy.closing, "nobody"))
        self._speech.end_all()
        self._lifeline.lost(self._clock.monotonic(), reason, retryable=retryable)
        return None

    def _hold_on(self, now: float, heard_until: float, *, busy: bool) -> None:
        """Nobody on the line, or nobody who answers: ask for patience, find another session, or give the call up."""
        falters = None if busy else self._speech.begun()
        signs = self._line.signs(now, falters, heard_until, busy=busy)
        self._lifeline.heard(heard_until)
        self._lifeline.seen(now, signs)
        match self._lifeline.due(now):
            case Reassure(first=first):
                kind: Kind = "one_moment" if first else "still_trying"
                self._own.say(kind, turn=self._turn, within=falters.key if falters and signs.connected else "")
            case Reopen():
                self._open_session()
            case GiveUp(reason=reason):
                self._give_up(reason, now)

    def _give_up(self, reason: str, now: float) -> None:
        """Last words, then the end, or whoever takes such calls. From here on only a hang-up counts."""
        self._scribe.note("given_up", reason)
        self._line.let_go()
        caller, person, wanted = self._brief.caller, self.telephone.usual(), self._setting.failure.after_failure
        after = afterwards(wanted, number_known=bool(caller), can_transfer=bool(person))
        outcome = Outcome(EndCause.PROVIDER_FAILED, "provider", reason[:80])
        self._last_words = self._own.last(outcome, after, self._turn, now, caller)
        if self._last_words.waits:
            self.telephone.transfer(person)

    def _telephoned(self, outcome: Outcome | None) -> Outcome | None:
        """A caller who talks to somebody else on our lines is still there: the agent leaves, the call goes on. One who
        was given up, and whom nobody takes, hears goodbye; how such a call ended is known already."""
        if self._last_words is not None and outcome is not None:
            outcome = self._last_words.outcome
        elif self._last_words is not None and not self.telephone.handing_on:
            self._last_words = self._own.last(self._last_words.outcome, "end", self._turn, self._clock.monotonic(), "")
        if outcome is None or not self.telephone.joined:
            return outcome
        self._line.let_go()
        self._speech.abandon()
        self._last_words = LastWords(outcome, "", float("inf"), waits=True)
        return None

    async def _take_last(self, item: Item, at: float) -> Outcome | None:
        """While the last words are said: they are protected, keys and sessions are over."""
        assert self._last_words is not None
        match item:
            case Ended() | LegSilent() | EarsOver() | HangUp():
                self._speech.abandon()
                return (self.telephone.joined and cut(item)) or self._last_words.outcome
            case Transfer() | TransferOver() if self._last_words.waits:
                return self._telephoned(self.telephone.take(item, at, self._turn))
            case Played(label=label, dropped=dropped):
                await self._tell_verdicts(self._speech.played(label, dropped=dropped))
            case Digit(key=key):
                self._journal.emit(KeyPressed(self._journal.at(at), key))
            case Oddity():
                self._scribe.fact(item, at)
        return None

    async def _tool_wanted(self, call: ToolCall) -> None:
        if result := self._tools.want(self._group, call, self._line.number):
            await self._line.tell(lambda session: session.resolve(result))

    def _tool_done(self, session: int, result: ToolResult) -> None:
        self._post(ToolDone(result), session)
