"""One call's lifetime: opened in the store, talked through, hung up, recorded. A bulkhead: what goes wrong in here ends
this call and is logged once."""

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import structlog

from trunkline.ai.session import AiProvider, Brief
from trunkline.ai.tools import Tool
from trunkline.bridge.leg import CallLeg
from trunkline.calls.briefing import Briefing
from trunkline.calls.conversation import Conversation
from trunkline.calls.events import CallEnded, Note, Observer
from trunkline.calls.goodbye import say_goodbye
from trunkline.calls.happenings import Setting
from trunkline.calls.journal import Journal
from trunkline.calls.pace import Pace
from trunkline.calls.record import CallRecord
from trunkline.calls.recording import Recording
from trunkline.calls.sentences import Phrases
from trunkline.calls.store import CallStore
from trunkline.calls.timeline import Timeline, of_fold
from trunkline.clock import Clock
from trunkline.config import Agent, Failure, Limits
from trunkline.errors import StoreError
from trunkline.outcome import EndCause, Outcome

STORE_S = 10.0  # a row must be written within this
CLOSING_S = 30.0  # after the outcome is known: tone, hang-up, writing tools
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's, lower case: sorts as the numbers do

_log = structlog.get_logger(__name__)


def new_call_id(unix_ms: int) -> str:
    """`call_` + 10 characters of time + 16 random ones: sorts by age, cannot be guessed (80 bits)."""
    number = (unix_ms << 80) | secrets.randbits(80)
    return "call_" + "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


@dataclass(frozen=True, slots=True)
class Desk:
    """What all calls of a worker share."""

    limits: Limits
    store: CallStore
    tools: Mapping[str, Tool]
    clock: Clock
    observers: Sequence[Observer]
    worker: str
    data_dir: Path
    failure: Failure = field(default_factory=Failure)
    phrases: Mapping[str, Phrases] = field(default_factory=dict)  # by agent: what can be said without a session
    transfer_to: Sequence[str] = ()  # numbers, patterns, SIP addresses
    lend: Callable[[AiProvider], AbstractContextManager[None]] = lambda _provider: nullcontext()  # for a session more
    paces: dict[str, Pace] = field(default_factory=dict)  # by agent: how long its callers wait


class Call:
    """A live call."""

    def __init__(
        self, desk: Desk, leg: CallLeg, agent_name: str, agent: Agent, provider: AiProvider, tenant: str
    ) -> None:
        self.id = new_call_id(int(desk.clock.utcnow().timestamp() * 1000))
        self.agent_name = agent_name
        self.journal = Journal(self.id, desk.clock, desk.observers)
        self._desk = desk
        self._leg = leg
        self._opening = _opening(self.id, desk, leg, agent_name, provider.name, tenant, self.journal)
        self._recording = self._recorder(agent)
        self._refused: str | None = None
        self._goodbye_said = False
        setting = Setting(
            provider=provider,
            brief=_brief(self.id, agent_name, agent, desk.tools, leg),
            limits=desk.limits,
            tenant=tenant,
            protect_greeting=agent.protect_greeting,
            failure=desk.failure,
            phrases=desk.phrases.get(agent_name, {}),
            pace=desk.paces.setdefault(agent_name, Pace()),
            transfer_to=desk.transfer_to,
        )
        briefing = Briefing(setting, self.journal, desk.clock, desk.lend)
        setting = replace(setting, briefing=briefing)
        self.conversation = Conversation(leg, setting, self.journal, desk.clock, self._recording)

    def refuse(self, why: str) -> None:
        """Before `run`: there is no room, say busy."""
        self._refused = why

    def record(self) -> CallRecord:
        """What is known so far."""
        return self.journal.folded.record(self._opening, self._recording.name if self._recording else "")

    def timeline(self) -> Timeline:
        """Turns so far, what was said and heard."""
        ended = self.journal.folded.ended
        duration_s = ended.at_s if ended else self.journal.now()
        return of_fold(self.id, self.agent_name, duration_s, self.journal.turns, ended.cause if ended else "")

    async def run(self) -> CallRecord:
        """The whole call. Raises nothing but cancellation, and that only after the call is recorded."""
        with structlog.contextvars.bound_contextvars(call_id=self.id):
            outcome: Outcome | None = None
            try:
                outcome = await self._outcome()
            finally:
                known = outcome or self.conversation.outcome or Outcome(EndCause.INTERNAL, "us", "cancelled")
                await _surely(self._close(known), "close")
            record = self.record()
            self._tell(record)
            return record

    # ── talk ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _outcome(self) -> Outcome:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._keep("begin", self._desk.store.begin(self._opening)), name="begin")
                writer = self._start_recording(group)
                outcome = await self._refusal() if self._refused is not None else await self._talk()
                if writer is not None:
                    writer.cancel()
        except Exception as exc:  # the bulkhead: this call ends, the others go on
            _log.error("call.failed", error=repr(exc), exc_info=exc)
            return Outcome(EndCause.INTERNAL, "us", type(exc).__name__)
        return outcome

    async def _refusal(self) -> Outcome:
        outcome = Outcome(EndCause.ADMISSION, "us", "busy")
        self.journal.emit(Note(self.journal.now(), "refused", self._refused or ""))
        await self._goodbye(outcome)
        return outcome

    async def _talk(self) -> Outcome:
        """The conversation, within the longest call; the time limit stands outside everything that the AI can do."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._desk.limits.longest_call_s) as limit:

                async def goodbye(outcome: Outcome) -> None:
                    if not limit.expired():
                        limit.reschedule(loop.time() + CLOSING_S)
                    await self._goodbye(outcome)

                return await self.conversation.run(goodbye)
        except TimeoutError:
            if not limit.expired():
                raise
            return self.conversation.outcome or Outcome(EndCause.TOO_LONG, "nobody")

    async def _goodbye(self, outcome: Outcome) -> None:
        self._goodbye_said = True
        await say_goodbye(self._leg, outcome, told=self.conversation.last_words)

    def _start_recording(self, group: asyncio.TaskGroup) -> asyncio.Task[None] | None:
        if self._recording is None:
            return None
        return group.create_task(self._record(self._recording), name="recording")

    async def _record(self, recording: Recording) -> None:
        try:
            await recording.run()
        except OSError as exc:
            _log.error("recording.failed", error=str(exc))
            self.journal.counters["recording_errors"] += 1

    # ── and close ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _close(self, outcome: Outcome) -> None:
        """Hang-up and record. Every part is bounded in time, and the failure of one does not keep the next."""
        if not self._goodbye_said:
            try:
                await self._goodbye(outcome)
            except Exception as exc:
                _log.error("call.hang_up_failed", error=repr(exc), exc_info=exc)
        if self._recording is not None:
            try:
                await self._recording.close()
            except OSError as exc:
                _log.error("recording.failed", error=str(exc))
                self.journal.counters["recording_errors"] += 1
            self.journal.counters["recording_samples_dropped"] = self._recording.dropped_samples
        self.conversation.telephone.tell_quality(self.journal)
        self.journal.emit(CallEnded.of(self.journal.now(), outcome, self._counters()))
        await self._keep("finish", self._desk.store.finish(self.record()))

    async def _keep(self, what: str, write: Coroutine[Any, Any, None]) -> None:
        """A row of the store; a store that fails must not fail the call."""
        try:
            async with asyncio.timeout(STORE_S):
                await write
        except (StoreError, TimeoutError) as exc:
            self.journal.counters["store_errors"] += 1
            _log.error("call.not_stored", what=what, error=repr(exc))

    def _counters(self) -> dict[str, int]:
        counted = {**self._leg.counters, **self.conversation.counters, **self.journal.counters}
        return {name: count for name, count in counted.items() if count}

    def _recorder(self, agent: Agent) -> Recording | None:
        if not agent.record:
            return None
        path = self._desk.data_dir / "recordings" / f"{self.id}.wav"
        return Recording(path, self._leg.info.codec.rate, self._desk.clock, self.journal.began)

    def _tell(self, record: CallRecord) -> None:
        """One line that says everything a question at night needs."""
        answers = [turn.response_s for turn in record.turns if turn.response_s is not None]
        _log.info(
            "call.ended",
            carrier=record.carrier,
            agent=record.agent,
            provider=record.provider,
            cause=record.cause,
            fault=record.fault,
            code=record.code,
            duration_s=round(self.journal.now(), 1),
            turns=len(record.turns),
            slowest_answer_s=round(max(answers), 3) if answers else None,
            barge_ins=len(self.journal.turns.barge_ins),
            counters=dict(record.counters),
        )


async def _surely(work: Coroutine[Any, Any, None], name: str) -> None:
    """Finish the work although we are cancelled; then be cancelled. The work bounds itself."""
    task = asyncio.get_running_loop().create_task(work, name=name)  # awaited below, whatever happens
    cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    task.result()


def _brief(call_id: str, name: str, agent: Agent, tools: Mapping[str, Tool], leg: CallLeg) -> Brief:
    wanted = agent.tools or tuple(tools)
    info = leg.info
    return Brief(
        call_id=call_id,
        agent=name,
        instructions=agent.instructions,
        greeting=agent.greeting,
        language=agent.language,
        voice=agent.voice,
        tools=tuple(tools[tool] for tool in wanted if tool in tools),
        caller=info.from_ if info.direction == "inbound" else info.to,
        context=dict(info.parameters),
    )


def _opening(
    call_id: str, desk: Desk, leg: CallLeg, agent: str, provider: str, tenant: str, journal: Journal
) -> CallRecord:
    info = leg.info
    return CallRecord(
        id=call_id,
        tenant=tenant,
        direction=info.direction,
        carrier=info.carrier,
        carrier_ref=info.carrier_ref,
        from_=info.from_,
        to=info.to,
        agent=agent,
        provider=provider,
        started_at=journal.began_utc,
        answered_at=None,
        owner=desk.worker,
    )
