"""The conversation: two pumps (ears, mouth) carry audio, one mind decides.

Every decision is taken in `_take`, one event at a time, over leg, session and our own requests. The mind awaits
nothing slower than a bounded word to the session. All tasks belong to the call's TaskGroup: when the mind returns an
outcome the pumps and the reading tools are cancelled, writing tools get the time they were promised.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from trunkline.ai.session import (
    AiEvent,
    AiProvider,
    AiSession,
    Brief,
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
from trunkline.bridge.leg import Answered, CallLeg, Digit, Ended, Held, LegEvent, Oddity, Played, Resumed, Ringing
from trunkline.calls.control import Close, Control, HangUp, Request, Say, SendDigits
from trunkline.calls.ears import Ears
from trunkline.calls.events import (
    CallerSilent,
    CallerSpeaking,
    CallerUnderstood,
    CallStarted,
    KeyPressed,
    Note,
    Odd,
    StageNote,
    Used,
)
from trunkline.calls.inbox import Inbox
from trunkline.calls.journal import Journal
from trunkline.calls.playout import Cut
from trunkline.calls.policy import Farewell, Finish, Policy, Prompt
from trunkline.calls.recording import Recording
from trunkline.calls.session_life import SessionLife, SessionNews, SessionUp, resumed
from trunkline.calls.speech import Reply, Speech, Verdict
from trunkline.calls.toolbench import Toolbench
from trunkline.clock import Clock
from trunkline.codecs.tones import dtmf
from trunkline.config import Limits
from trunkline.errors import ProviderError
from trunkline.outcome import EndCause, Fault, Outcome

TELL_S = 2.0  # a session must take a word within this
MEDIA_GONE_S = 2.0  # audio ended and no goodbye came within this
MOST_EARLY_KEYS = 32
MOST_PAST_MIND = 32  # pieces of speech in a row that need no decision
_FAULTS: Mapping[EndCause, Fault] = {EndCause.SILENCE: "caller", EndCause.DRAINED: "us"}


@dataclass(frozen=True, slots=True)
class _ToolDone:
    result: ToolResult


@dataclass(frozen=True, slots=True)
class _EarsOver:
    """The leg's audio ended."""


@dataclass(frozen=True, slots=True)
class _LegSilent:
    """The leg's events ended without `Ended`."""


_Ours: TypeAlias = SessionUp | _ToolDone | _EarsOver | _LegSilent | Request
_Item: TypeAlias = LegEvent | AiEvent | _Ours


@dataclass(frozen=True, slots=True)
class _Happened:
    at: float  # clock
    session: int  # which session of the call it came from; 0: none
    item: _Item


@dataclass(frozen=True, slots=True)
class Setting:
    """What a conversation is held with."""

    provider: AiProvider
    brief: Brief
    limits: Limits
    tenant: str = "default"
    protect_greeting: bool = False


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
        self._inbox: Inbox[_Happened] = Inbox()
        self._speech = Speech(leg, clock, journal, self._inbox.poke, recording)
        self._ears = Ears(leg, clock, self._speech.mouth.far.loudest, self._deaf, recording)
        self._policy = Policy(setting.limits, clock.monotonic(), protect_greeting=setting.protect_greeting)
        self._control = Control(self._brief.call_id, self._brief.caller, setting.tenant, self.ask)
        self._tools = Toolbench(self._brief.tools, self._control, journal, clock, self._tool_done, self.ask)
        self._group: asyncio.TaskGroup
        self._pumps: list[asyncio.Task[None]] = []
        self._session: AiSession | None = None
        self._life: SessionLife | None = None
        self._sessions = 0  # opened so far
        self._early_keys: list[str] = []
        self._past_mind = 0
        self._turn = 0
        self._caller_had_turn = False
        self._digits_sent = 0
        self._held = False  # on hold nobody is asked whether they are there
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
        return self._speech.counters

    def ask(self, request: Request) -> None:
        """Hand the mind a request; it is decided in its turn."""
        self._post(request)

    def talking(self) -> bool:
        """True while a session is on the line, so that something can be said."""
        return self._session is not None

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

    # ── tasks ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _start_pumps(self) -> None:
        self._pumps = [
            self._group.create_task(self._collect_leg(), name="leg-events"),
            self._group.create_task(self._listen(), name="ears"),
            self._group.create_task(self._speech.mouth.run(), name="mouth"),
        ]

    def _stop(self) -> None:
        """Cancel everything that has no promise to keep."""
        for task in self._pumps:
            task.cancel()
        self._tools.stop()
        if self._life:
            self._life.end()
        self._speech.abandon()

    def _put(self, item: _Item, session: int = 0) -> Awaitable[None]:
        return self._inbox.put(_Happened(self._clock.monotonic(), session, item))

    async def _put_session(self, item: SessionNews, session: int) -> None:
        """Speech is no decision: while the mind has nothing else to do, it goes where the mind would put it. A burst
        goes through the mind now and then, so that the bound of its inbox holds for whoever sends it."""
        if (
            type(item) is ReplyAudio
            and self._inbox.idle
            and session == self._sessions
            and self._past_mind < MOST_PAST_MIND
        ):
            self._past_mind += 1
            self._speech.audio(self._key(item.reply), item.frame)
        else:
            await self._put(item, session)

    def _post(self, item: _Item, session: int = 0) -> None:
        self._inbox.post(_Happened(self._clock.monotonic(), session, item))

    async def _collect_leg(self) -> None:
        async for event in self._leg.events():
            await self._put(event)
            if isinstance(event, Ended):
                return
        await self._put(_LegSilent())

    async def _listen(self) -> None:
        await self._ears.run()
        await self._put(_EarsOver())

    def _open_session(self, brief: Brief) -> None:
        self._sessions += 1
        self._life = SessionLife(self._setting.provider, self._sessions, self._put_session, self._post)
        self._life.begin(self._group, brief)

    # ── the mind ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _mind(self) -> Outcome:
        while True:
            now = self._clock.monotonic()
            self._past_mind = 0
            outcome = await self._tick(now)
            if outcome is None and (happened := await self._inbox.get(self._deadline() - now)):
                outcome = await self._take(happened)
            if outcome is not None:
                return outcome

    def _deadline(self) -> float:
        gone = float("inf") if self._media_gone_at is None else self._media_gone_at + MEDIA_GONE_S
        return min(self._policy.deadline(), self._speech.deadline(), gone)

    async def _tick(self, now: float) -> Outcome | None:
        """What time alone brings about."""
        if now >= self._speech.deadline():
            await self._tell_verdicts(self._speech.overdue(now))
        if self._media_gone_at is not None and now >= self._media_gone_at + MEDIA_GONE_S:
            return Outcome(EndCause.MEDIA_LOST, "carrier")
        self._policy.heard(self._speech.heard_until(now))
        match self._policy.due(now, busy=self._speech.audible() or self._tools.busy() or self._held):
            case Prompt(count=count):
                self._note("silence_prompt", str(count))
                await self._tell(lambda session: session.prompt("silence"))
            case Farewell(cause=cause):
                self._note("farewell", cause)
                await self._tell(lambda session: session.prompt("goodbye"))
            case Finish(cause=cause):
                return Outcome(cause, _FAULTS.get(cause, "nobody"))
            case None:
                pass
        return None

    async def _take(self, happened: _Happened) -> Outcome | None:
        at, item = happened.at, happened.item
        if happened.session and happened.session != self._sessions:
            return None  # from a session that was given up
        match item:
            # the leg
            case Ended(outcome=outcome):
                return self._left(outcome)
            case Digit(key=key):
                await self._digit(key, at)
            case Played(label=label, dropped=dropped):
                await self._tell_verdict(self._speech.played(label, dropped=dropped))
            case Answered():
                self._begin()
            case Oddity(kind=kind, detail=detail):
                self._journal.emit(Odd(self._journal.at(at), kind, detail[:200]))
            case Ringing() | Held() | Resumed():
                self._held = isinstance(item, Held)
                self._policy.active(at)
                self._note(type(item).__name__.lower())
            # the session
            case CallerStartedSpeaking():
                await self._caller_started(item, at)
            case CallerStoppedSpeaking():
                self._caller_stopped(item, at)
            case CallerSaid():
                self._understood(item, at)
            case ReplyStarted(reply=reply, turn=turn):
                self._reply_started(reply, turn)
            case ReplyText(reply=reply, text=text):
                self._speech.text(self._key(reply), text)
            case ReplyAudio(reply=reply, frame=frame):
                self._speech.audio(self._key(reply), frame)
            case ReplyEnded(reply=reply):
                await self._tell_verdict(self._speech.end(self._key(reply)))
            case StageReached(turn=turn, stage=stage, at=reached):
                self._journal.emit(StageNote(self._journal.at(reached), turn, str(stage)))
            case ToolCall():
                await self._tool_wanted(item)
            case Usage(provider=provider, units=units):
                self._journal.emit(Used(self._journal.at(at), provider, dict(units)))
            case SessionLost():
                return await self._lost(item)
            # ourselves
            case SessionUp(session=session):
                await self._session_up(session)
            case _ToolDone(result=result):
                self._policy.active(at)
                await self._resolve(result)
            case _EarsOver():
                self._media_gone_at = at
            case _LegSilent():
                return Outcome(EndCause.MEDIA_LOST, "carrier")
            case Close():
                self._policy.close(EndCause.COMPLETED, at)
            case Say(text=text):
                self._policy.active(at)
                await self._tell(lambda session: session.prompt("say", text))
            case SendDigits(keys=keys):
                self._send_digits(keys)
            case HangUp(cause=cause, fault=fault):
                return Outcome(cause, fault)
            case _:
                assert_never(item)
        return None

    # ── the call begins and ends ────────────────────────────────────────────────────────────────────────────────

    def _begin(self) -> None:
        """Media flows: once."""
        if self._sessions:
            return
        info = self._leg.info
        self._journal.emit(
            CallStarted(
                self._journal.now(), info.direction, info.carrier, self._brief.agent, from_=info.from_, to=info.to
            )
        )
        self._policy.active(self._clock.monotonic())
        self._open_session(self._brief)

    def _left(self, outcome: Outcome) -> Outcome:
        """The leg ended by itself. A caller who left before anybody was heard out has abandoned the call."""
        self._speech.abandon()
        if outcome.cause is EndCause.COMPLETED and not self._speech.heard_any and not self._caller_had_turn:
            return Outcome(EndCause.ABANDONED, "caller", outcome.code)
        return outcome

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
        self._journal.emit(CallerSilent(self._journal.at(last), event.turn))

    def _understood(self, event: CallerSaid, at: float) -> None:
        self._caller_had_turn = self._caller_had_turn or (event.final and bool(event.text))
        self._journal.emit(
            CallerUnderstood(self._journal.at(at), event.turn, event.text, event.final, event.confidence)
        )

    async def _digit(self, key: str, at: float) -> None:
        """A key is an answer: it interrupts like speech."""
        self._caller_had_turn = True
        self._policy.caller_active(at)
        self._journal.emit(KeyPressed(self._journal.at(at), key))
        await self._barge_in(self._turn, at)
        if self._session is not None:
            await self._press(key)
        elif len(self._early_keys) < MOST_EARLY_KEYS:
            self._early_keys.append(key)
        else:
            self._journal.counters["early_keys_dropped"] += 1

    async def _barge_in(self, turn: int, judged_at: float) -> None:
        """Barge-in is data: flush, cut and forget in one step; only then is the session told."""
        live = self._speech.replies.values()
        if not live or not all(self._policy.interruptible(reply.turn, greeting=reply.greeting) for reply in live):
            return
        await self._tell_verdicts(self._speech.cut(turn, judged_at))

    # ── the agent ───────────────────────────────────────────────────────────────────────────────────────────────

    def _key(self, reply: ReplyId) -> str:
        """Reply ids are unique within a session; a call may have two."""
        return reply if self._sessions < 2 else f"{self._sessions}/{reply}"

    def _reply_started(self, reply: ReplyId, turn: int) -> None:
        greeting = turn == 0 and not self._replied and bool(self._brief.greeting)
        self._replied = True
        self._speech.start(Reply(self._key(reply), reply, turn, greeting))

    async def _tell_verdict(self, verdict: Verdict | None) -> None:
        if verdict is not None:
            await self._tell_verdicts([verdict])

    async def _tell_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """How replies ended, to the session that made them."""
        now = self._clock.monotonic()
        for verdict in verdicts:
            self._policy.reply_done(verdict.reply.began, now)
            reply, cut = verdict.reply.id, verdict.cut
            if reply is None or verdict.reply.key != self._key(reply):
                continue
            await self._remember(reply, cut)

    async def _remember(self, reply: ReplyId, cut: Cut) -> None:
        if cut.complete:
            await self._tell(lambda session: session.heard(reply))
        else:
            await self._tell(lambda session: session.interrupt(reply, cut.heard_s))

    def _send_digits(self, keys: str) -> None:
        self._digits_sent += 1
        key = f"keys-{self._digits_sent}"
        self._note("digits_sent", str(len(keys)))
        self._speech.start(Reply(key, None, self._turn))
        codec = self._leg.info.codec
        self._speech.payload(key, codec.encoder().encode(dtmf(keys, codec.rate)))
        self._speech.end(key)

    # ── the session ─────────────────────────────────────────────────────────────────────────────────────────────

    async def _session_up(self, session: AiSession) -> None:
        self._session = session
        self._ears.attach(session)
        self._policy.active(self._clock.monotonic())
        keys, self._early_keys = self._early_keys, []
        for key in keys:
            await self._press(key)

    async def _press(self, key: str) -> None:
        await self._tell(lambda session: session.press(key))

    async def _tell(self, word: Callable[[AiSession], Awaitable[None]]) -> None:
        """A bounded word to the session; one that does not take it is lost."""
        if self._session is None:
            return
        number = self._sessions
        try:
            async with asyncio.timeout(TELL_S):
                await word(self._session)
        except TimeoutError:
            self._give_up(SessionLost(f"the session took no word within {TELL_S:g} s", retryable=True), number)
        except ProviderError as exc:
            self._give_up(SessionLost(str(exc), exc.retryable), number)

    def _deaf(self, exc: ProviderError) -> None:
        self._give_up(SessionLost(str(exc), exc.retryable), self._sessions)

    def _give_up(self, lost: SessionLost, number: int) -> None:
        self._session = None
        self._post(lost, number)

    async def _lost(self, lost: SessionLost) -> Outcome | None:
        """Once, and only if it may help, another session takes over; else the call ends, and says why."""
        self._note("session_lost", lost.reason)
        self._session = None
        self._ears.attach(None)
        if self._life:
            self._life.end()
        if self._policy.closing:
            return Outcome(self._policy.closing, _FAULTS.get(self._policy.closing, "nobody"))
        if not lost.retryable or self._sessions > 1:
            return Outcome(EndCause.PROVIDER_FAILED, "provider", lost.reason[:80])
        self._speech.end_all()
        self._open_session(resumed(self._brief, self._journal.turns.turns()))
        return None

    # ── tools ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def _tool_wanted(self, call: ToolCall) -> None:
        if result := self._tools.want(self._group, call, self._sessions):
            await self._resolve(result)

    def _tool_done(self, session: int, result: ToolResult) -> None:
        self._post(_ToolDone(result), session)

    async def _resolve(self, result: ToolResult) -> None:
        await self._tell(lambda session: session.resolve(result))

    def _note(self, kind: str, text: str = "") -> None:
        self._journal.emit(Note(self._journal.now(), kind, text[:200]))
