"""The answering half of a cascade session: one reply at a time, its tools, and its parts as they are given out."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeAlias, assert_never

import structlog

from trunkline.ai.cascade.protocols import ModelState, ModelToolCall
from trunkline.ai.cascade.session_outbox import Outbox
from trunkline.ai.cascade.session_parts import Parts
from trunkline.ai.cascade.session_reply import Pacer, Performer, Piece, Reply, clauses
from trunkline.ai.cascade.session_work import Key, Prompt, Turn, Verbatim, Work, guarded
from trunkline.ai.history import History
from trunkline.ai.session import (
    Brief,
    ReplyAudio,
    ReplyEnded,
    ReplyId,
    ReplyStarted,
    ReplyText,
    SessionLost,
    Stage,
    StageReached,
    ToolCall,
    Usage,
)
from trunkline.ai.tools import ToolResult
from trunkline.codecs.frame import AudioFrame
from trunkline.errors import ProviderError

_log = structlog.get_logger(__name__)

_MOST_ROUNDS: Final = 6  # of tools in one reply
_MOST_FAILURES: Final = 3  # replies in a row
_MOST_WAITING: Final = 32  # turns, keys and prompts
_KEPT_REPLIES: Final = 4  # that may still be playing
_TOOL_GRACE_S: Final = 5.0  # beyond the tool's own limit
_LOOK_S: Final = 0.25
_ASIDE_S: Final = 0.05  # a word said while a tool runs waits this long at most

LOST_THREAD = "I'm sorry, I couldn't work that out. Could you say it another way?"

_Waiting: TypeAlias = tuple[ModelToolCall, "asyncio.Future[ToolResult]"]


@dataclass(slots=True)
class _Tools:
    """Tool calls without an answer yet: what waits for it, and those that were given out, with their turns."""

    waiting: dict[str, "asyncio.Future[ToolResult]"] = field(default_factory=dict)
    asked: dict[str, tuple[int, str]] = field(default_factory=dict)

    def future(self, id_: str) -> "asyncio.Future[ToolResult]":
        return self.waiting.setdefault(id_, asyncio.get_running_loop().create_future())


class Answering:
    """One session's replies. `expect` is told what the model waits for, as soon as it has spoken."""

    def __init__(
        self,
        parts: Parts,
        brief: Brief,
        group: asyncio.TaskGroup,
        out: Outbox,
        history: History,
        expect: Callable[[ModelState], None],
    ) -> None:
        self._parts, self._brief, self._group = parts, brief, group
        self._model, self._clock = parts.model, parts.clock
        self._out, self._history, self._told = out, history, expect
        self._pacer = Pacer(parts.clock)
        self._performer = Performer(parts.voice, brief.voice, brief.language, self._pacer, group.create_task)
        self._inbox: asyncio.Queue[Work] = asyncio.Queue(_MOST_WAITING)
        self._tools = _Tools()
        self._reply: Reply | None = None  # the newest, perhaps still in the making
        self._recent: dict[ReplyId, Reply] = {}
        self._asides: asyncio.Queue[str] | None = None  # open while a reply waits for a tool
        self._making: asyncio.Task[None] | None = None
        self._staged: set[tuple[int, Stage]] = set()
        self._replies = 0
        self._failures = 0

    # --- what the session asks of it ----------------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Turns, keys and prompts that have not been taken up."""
        return self._inbox.qsize()

    def enqueue(self, work: Work) -> None:
        """To be answered after what waits already; more than the bound is dropped and logged."""
        try:
            self._inbox.put_nowait(work)
        except asyncio.QueueFull:
            _log.warning("session.overrun", call=self._brief.call_id, dropped=type(work).__name__)

    def aside(self, text: str) -> bool:
        """Say this while a reply waits for its tool. False when none does."""
        if self._asides is None or self._asides.full():
            return False
        self._asides.put_nowait(text)
        return True

    def cut(self, reply: ReplyId, heard_s: float) -> tuple[Reply, int] | None:
        """Stop a reply of which `heard_s` seconds were heard: it, and how many clauses were heard in full."""
        cut = self._recent.pop(reply, None)
        if cut is None or self._out.over:
            return None
        if cut is self._reply:
            self.stop()
            self._reply = None
        self._out.kill(reply)
        self._pacer.cut()
        return cut, self._history.cut(reply, heard_s)

    def withdraw_unheard(self, take_back: Callable[[int], bool]) -> None:
        """The caller goes on although a reply is being made: drop it, unless a tool was used or sound was given out."""
        reply, making = self._reply, self._making
        if reply is None or making is None or making.done() or reply.started or reply.answers is None:
            return
        if take_back(reply.answers):
            self.stop()
            self._out.kill(reply.id)
            self._reply = None

    def give_way(self) -> None:
        """The caller speaks while a tool runs and nothing is audible: the tool's outcome is for the next reply."""
        reply = self._reply
        if reply is None or self._asides is None or not self._pacer.silent():
            return
        self.stop()
        if reply.started:
            self._out.put(ReplyEnded(reply.id))
        self._reply = None

    def stop(self) -> None:
        """No more is made of the reply in the making."""
        if self._making is not None:
            self._making.cancel()

    def stage(self, turn: int, stage: Stage, at: float | None = None) -> None:
        """A moment of a caller turn, told once; `at` is loop time, now if not given."""
        if turn > 0 and (turn, stage) not in self._staged:
            self._staged = {known for known in self._staged if known[0] >= turn - 1} | {(turn, stage)}
            self._out.put(StageReached(turn, stage, self._clock.monotonic() if at is None else at))

    def forget(self, reply: ReplyId) -> None:
        """It was heard to its end."""
        self._recent.pop(reply, None)

    async def resolve(self, result: ToolResult) -> None:
        """A tool's answer. One to no open call is ignored."""
        asked = self._tools.asked.pop(result.id, None)
        if asked is None:
            _log.warning("tool.answer_unasked", tool=result.name, call=self._brief.call_id)
            return
        self._history.tool_result(asked[0], result)
        waiting = self._tools.waiting.pop(result.id)
        if not waiting.done():
            waiting.set_result(result)

    # --- the replies ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Answer what comes in, one at a time, until cancelled."""
        while not self._out.over:
            work = await self._inbox.get()
            await self._tools_settled()
            self._making = making = self._group.create_task(
                guarded(partial(self._answer, work), self._out, self._brief.call_id)
            )
            await asyncio.wait({making})

    async def _tools_settled(self) -> None:
        """The model must know what became of the tools it used before it speaks again."""
        for id_ in list(self._tools.asked):
            await self._outcome(id_, 2 * _TOOL_GRACE_S)

    async def _answer(self, work: Work) -> None:
        self._replies += 1
        reply = Reply(ReplyId(f"r{self._replies}"), work.turn)
        self._reply = reply
        self._recent[reply.id] = reply
        while len(self._recent) > _KEPT_REPLIES:
            del self._recent[next(iter(self._recent))]
        source = self._source(work, reply)
        try:
            await self._performer.perform(reply, source, _Hand(self, reply))
        except ProviderError as exc:
            self._failed(exc, reply)
        else:
            if reply.answers is not None:  # an apology that was spoken proves nothing of the model
                self._failures = 0
        if reply.started:
            self._out.put(ReplyEnded(reply.id))
            characters = sum(len(piece) for piece in reply.pieces if isinstance(piece, str))
            self._out.put(Usage(self._parts.provider, {"tts_characters": float(characters)}))

    def _source(self, work: Work, reply: Reply) -> AsyncGenerator[Piece, None]:
        match work:
            case Turn(turn, text, accepted):
                reply.answers = turn
                self._history.caller(turn, text, accepted=accepted)
                return self._written(reply, ())
            case Key(turn, key):
                self._history.key(turn, key)
                return self._written(reply, ())
            case Prompt(turn, occasion, text):
                self._history.occasion(turn, occasion)
                chunker = self._parts.chunker()
                return self._written(reply, [*chunker.push(text), *chunker.end()])
            case Verbatim(_, pieces, resumed):
                reply.resumed = resumed
                return self._written(reply, pieces)
        assert_never(work)

    async def _written(self, reply: Reply, pieces: Sequence[Piece]) -> AsyncGenerator[Piece, None]:
        """The given pieces, or else the model's; after tool calls the model goes on."""
        for round_ in range(_MOST_ROUNDS):
            given = bool(pieces) and round_ == 0
            waiting: list[_Waiting] = []
            async with aclosing(_each(pieces) if given else self._model_pieces(reply)) as fresh:
                async for piece in fresh:
                    if isinstance(piece, ModelToolCall):
                        waiting.append((piece, self._tools.future(piece.id)))  # the answer may come at once
                    yield piece
            if not waiting:
                self._told(self._model.state())
                return
            for call, future in waiting:
                async with aclosing(self._answered(call, future)) as asides:
                    async for aside in asides:
                        yield aside
        _log.warning("model.too_many_tools", call=self._brief.call_id, rounds=_MOST_ROUNDS)

    def _model_pieces(self, reply: Reply) -> AsyncGenerator[Piece, None]:
        events = self._model.respond(self._history.entries(), self._brief.tools)
        return clauses(events, self._parts.chunker(), lambda: self.stage(reply.turn, Stage.FIRST_TOKEN))

    async def _answered(self, call: ModelToolCall, waiting: "asyncio.Future[ToolResult]") -> AsyncGenerator[str, None]:
        """Wait for a tool's answer; out comes what is to be said meanwhile."""
        tool = next((tool for tool in self._brief.tools if tool.name == call.name), None)
        asides = self._asides = asyncio.Queue(4)
        try:
            while call.id not in self._tools.asked and not waiting.done():
                await asyncio.wait({waiting}, timeout=_LOOK_S)  # what stands before the call is still being said
            deadline = self._clock.monotonic() + _TOOL_GRACE_S + (tool.timeout if tool else 0.0)
            while not waiting.done() and self._clock.monotonic() < deadline:
                await asyncio.wait({waiting}, timeout=_ASIDE_S)
                if not waiting.done() and not asides.empty():
                    yield asides.get_nowait()
            await self._outcome(call.id, 0.0)
        finally:
            self._asides = None
            if call.id not in self._tools.asked:
                self._tools.waiting.pop(call.id, None)

    async def _outcome(self, id_: str, limit_s: float = _TOOL_GRACE_S) -> None:
        waiting = self._tools.waiting.get(id_)
        if waiting is None:
            return
        await asyncio.wait({waiting}, timeout=limit_s)
        if not waiting.done():
            await self.resolve(ToolResult(id_, self._tools.asked[id_][1], error="There was no answer in time."))

    def _failed(self, exc: ProviderError, reply: Reply) -> None:
        self._failures += 1
        _log.warning("reply.failed", call=self._brief.call_id, error=str(exc), code=exc.code, in_a_row=self._failures)
        if self._failures >= _MOST_FAILURES:
            self._out.put(SessionLost(str(exc), retryable=exc.retryable))
        elif not reply.started and reply.answers is not None:
            self.enqueue(Verbatim(reply.turn, [LOST_THREAD]))

    # --- a reply's parts, see Stagehand -------------------------------------------------------------------------------

    async def speech(self, reply: Reply, text: str, frame: AudioFrame, *, first: bool) -> None:
        """A frame of a clause goes out; before the first one its text, before the first of all the reply's start."""
        if not reply.started:
            reply.started = True
            self.stage(reply.turn, Stage.FIRST_AUDIO)
            self._out.put(ReplyStarted(reply.id, reply.turn))
        if first:
            self._history.clause(reply.id, reply.turn, text)
            self._out.put(ReplyText(reply.id, text))
        self._history.spoken(reply.id, frame.seconds)
        await self._out.put_audio(ReplyAudio(reply.id, frame))

    def ask(self, reply: Reply, call: ModelToolCall) -> None:
        """A tool call goes out."""
        reply.asked.add(call.id)
        self._tools.future(call.id)
        self._tools.asked[call.id] = (reply.turn, call.name)
        self._history.tool_call(reply.turn, call)
        self._out.put(ToolCall(call.id, call.name, call.arguments, reply.turn))

    def spoken(self, reply: Reply) -> None:
        """The newest clause is complete."""
        self._history.spoken(reply.id, 0.0, complete=True)


@dataclass(frozen=True, slots=True)
class _Hand:
    """`Stagehand` of one reply."""

    answering: Answering
    reply: Reply

    def token(self) -> None:
        self.answering.stage(self.reply.turn, Stage.FIRST_TOKEN)

    def clause(self) -> None:
        self.answering.stage(self.reply.turn, Stage.FIRST_CLAUSE)

    async def speech(self, text: str, frame: AudioFrame, *, first: bool) -> None:
        await self.answering.speech(self.reply, text, frame, first=first)

    def spoken(self) -> None:
        self.answering.spoken(self.reply)

    def ask(self, call: ModelToolCall) -> None:
        self.answering.ask(self.reply, call)


async def _each(pieces: Sequence[Piece]) -> AsyncGenerator[Piece, None]:
    for piece in pieces:
        yield piece
