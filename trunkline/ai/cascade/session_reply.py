"""One reply of a cascade: model → clauses → speech → events, ahead of what is heard by two clauses and 2 s at most."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from trunkline.ai.cascade.clauses import ClauseChunker
from trunkline.ai.cascade.protocols import ModelEvent, ModelToolCall, Synthesiser, TextDelta
from trunkline.ai.session import ReplyId
from trunkline.clock import Clock
from trunkline.codecs.frame import AudioFrame

LEAD_S = 2.0  # speech given out beyond what can have been heard
LOOK_AHEAD = 2  # clauses synthesised beyond the one being given out
_MOST_CLAUSES = 64  # written ahead; then the model waits
_MOST_FRAMES = 3000  # of one clause
_FLUSH_S = 0.3  # pause of the model after which a waiting clause is taken as it is

Piece: TypeAlias = str | ModelToolCall


@dataclass(slots=True)
class Reply:
    """A reply in the making, and what is known of it afterwards. `answers`: the caller turn, None for unasked ones."""

    id: ReplyId
    turn: int
    answers: int | None = None
    pieces: list[Piece] = field(default_factory=list)  # all that was written
    asked: set[str] = field(default_factory=set)  # ids of the tool calls that were given out
    started: bool = False  # its first audio was given out
    resumed: int = 0  # how often what was cut has been taken up again

    def rest(self, heard_clauses: int) -> Sequence[Piece]:
        """What was written behind so many clauses, without the tools that were asked for already."""
        clauses_at = [place for place, piece in enumerate(self.pieces) if isinstance(piece, str)]
        begin = clauses_at[heard_clauses] if heard_clauses < len(clauses_at) else len(self.pieces)
        return [piece for piece in self.pieces[begin:] if isinstance(piece, str) or piece.id not in self.asked]


class Pacer:
    """When the next speech may be given out, if all before is played without a pause."""

    def __init__(self, clock: Clock, lead_s: float = LEAD_S) -> None:
        self._clock = clock
        self._lead_s = lead_s
        self._until = 0.0

    async def pace(self, seconds: float) -> None:
        """Wait until `seconds` more may go out."""
        await_until = self._until - self._lead_s
        if await_until > self._clock.monotonic():
            await self._clock.sleep_until(await_until)
        self._until = max(self._until, self._clock.monotonic()) + seconds

    def silent(self) -> bool:
        """Whether all that was given out has been played."""
        return self._until <= self._clock.monotonic()

    def cut(self) -> None:
        """What was given out is not being played any more."""
        self._until = self._clock.monotonic()


class Stagehand(Protocol):
    """What the session does with a reply's parts, in order."""

    def token(self) -> None:
        """The model gave its first sign."""
        ...

    def clause(self) -> None:
        """A clause is complete in writing."""
        ...

    async def speech(self, text: str, frame: AudioFrame, *, first: bool) -> None:
        """A frame of the clause `text`; `first` of it."""
        ...

    def spoken(self) -> None:
        """The clause's speech is complete."""
        ...

    def ask(self, call: ModelToolCall) -> None:
        """The model wants a tool, and all that it said before has been given out."""
        ...


async def clauses(
    events: AsyncIterator[ModelEvent], chunker: ClauseChunker, token: Callable[[], None]
) -> AsyncGenerator[Piece, None]:
    """A model's stream cut into clauses and tool calls, in order. Closing it closes the stream."""
    # A future of its own, for a wait that ends must not cancel the model's; it never outlives this generator.
    upcoming: asyncio.Future[ModelEvent] | None = None
    try:
        while True:
            upcoming = upcoming or asyncio.ensure_future(anext(events))
            await asyncio.wait({upcoming}, timeout=_FLUSH_S if chunker.pending else None)
            if not upcoming.done():
                for clause in chunker.flush():
                    yield clause
                await asyncio.wait({upcoming})
            try:
                event = upcoming.result()
            except StopAsyncIteration:
                break
            upcoming = None
            token()
            pieces: Sequence[Piece] = (
                chunker.push(event.text) if isinstance(event, TextDelta) else [*chunker.end(), event]
            )
            for piece in pieces:
                yield piece
        for clause in chunker.end():
            yield clause
    finally:
        if upcoming is not None and not upcoming.done():
            upcoming.cancel()
            await asyncio.wait({upcoming})
        if isinstance(events, AsyncGenerator):
            await events.aclose()


@dataclass(slots=True)
class _Spoken:
    """A clause with its speech as it is made; None ends it, an exception breaks it."""

    text: str
    frames: asyncio.Queue[AudioFrame | Exception | None] = field(default_factory=lambda: asyncio.Queue(_MOST_FRAMES))


_Made: TypeAlias = _Spoken | ModelToolCall | Exception | None


@dataclass(frozen=True, slots=True)
class Performer:
    """Speaks replies one at a time. `spawn` makes a task of the session's group."""

    voice: Synthesiser
    voice_name: str
    language: str
    pacer: Pacer
    spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]

    async def perform(self, reply: Reply, source: AsyncGenerator[Piece, None], hand: Stagehand) -> None:
        """Until the source has ended and all of it was given out. Raises what model or synthesiser raised."""
        written: asyncio.Queue[Piece | Exception | None] = asyncio.Queue(_MOST_CLAUSES)
        made: asyncio.Queue[_Made] = asyncio.Queue(LOOK_AHEAD)
        tasks = [
            self.spawn(self._write(reply, source, written, hand)),
            self.spawn(self._synthesise(written, made)),
        ]
        try:
            while (piece := await made.get()) is not None:
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, ModelToolCall):
                    hand.ask(piece)
                else:
                    await self._give_out(piece, hand)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _write(
        self,
        reply: Reply,
        source: AsyncGenerator[Piece, None],
        written: asyncio.Queue[Piece | Exception | None],
        hand: Stagehand,
    ) -> None:
        async def write() -> None:
            async with aclosing(source) as pieces:
                async for piece in pieces:
                    if isinstance(piece, str):
                        hand.clause()
                    reply.pieces.append(piece)
                    await written.put(piece)

        await written.put(await _failure(write()))

    async def _synthesise(self, written: asyncio.Queue[Piece | Exception | None], made: asyncio.Queue[_Made]) -> None:
        while isinstance(piece := await written.get(), str | ModelToolCall):
            if isinstance(piece, ModelToolCall):
                await made.put(piece)
                continue
            spoken = _Spoken(piece)
            await made.put(spoken)
            await spoken.frames.put(await _failure(self._speak(spoken)))
        await made.put(piece)

    async def _speak(self, spoken: _Spoken) -> None:
        speech = self.voice.speak(spoken.text, voice=self.voice_name, language=self.language)
        async with aclosing(speech) as frames:  # type: ignore[type-var]
            async for frame in frames:
                await spoken.frames.put(frame)

    async def _give_out(self, spoken: _Spoken, hand: Stagehand) -> None:
        first = True
        while isinstance(frame := await spoken.frames.get(), AudioFrame):
            await self.pacer.pace(frame.seconds)
            await hand.speech(spoken.text, frame, first=first)
            first = False
        if frame is not None:
            raise frame
        if not first:
            hand.spoken()


async def _failure(work: Awaitable[None]) -> Exception | None:
    """What the work raised; it is raised again by whoever takes it from the queue."""
    try:
        await work
    except Exception as exc:
        return exc
    return None
