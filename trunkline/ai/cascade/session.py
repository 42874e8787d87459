"""`CascadeSession`: hears by a turn taker and a recogniser, thinks with a language model, speaks by a synthesiser.

::

    hear ─► judge ─► listener ─► transcript ─► inbox ─► one reply at a time: model ─► clauses ─► speech ─► events
              │                                 ▲                │
              └─ CallerStartedSpeaking      key, prompt       ToolCall ─► resolve

`session_hearing` decides what a turn is, `session_answering` makes the replies; this file holds them together.
The session reports that the caller speaks; whether that interrupts is the call's decision (`interrupt`). Three things
are decided here, because they concern what was meant:

* *The caller goes on before anything of the reply was heard* (their turn had not ended after all): the reply is
  dropped and both turns are answered as one.
* *A reply was cut by a noise, or nothing was understood*: it is taken up again at the clause in which it was cut.
* *The recogniser was lost*: the caller is asked to say it again.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from trunkline.ai.cascade.protocols import RecogniserStream
from trunkline.ai.cascade.session_answering import LOST_THREAD, Answering
from trunkline.ai.cascade.session_hearing import AS_I_WAS_SAYING, LOST_EARS, Hearing
from trunkline.ai.cascade.session_outbox import Outbox
from trunkline.ai.cascade.session_parts import Parts
from trunkline.ai.cascade.session_work import Key, Prompt, guarded
from trunkline.ai.history import History
from trunkline.ai.session import SILENT_DBOV, AiEvent, Brief, Occasion, ReplyId
from trunkline.ai.tools import ToolResult
from trunkline.codecs.frame import AudioFrame
from trunkline.errors import UsageError

__all__ = ["AS_I_WAS_SAYING", "LOST_EARS", "LOST_THREAD", "CascadeSession", "Parts", "open_cascade"]

RATE: Final = 16_000  # Hz, heard


def open_cascade(parts: Parts, brief: Brief) -> AbstractAsyncContextManager["CascadeSession"]:
    """A session; all its tasks end with the context. Raises ProviderError when the recogniser has no room."""
    return _open(parts, brief)


@asynccontextmanager
async def _open(parts: Parts, brief: Brief) -> AsyncIterator["CascadeSession"]:
    failure: Exception | None = None
    async with parts.recogniser.open(brief.language) as stream, asyncio.TaskGroup() as group:
        session = CascadeSession(parts, brief, stream, group)
        tasks = session.start()
        try:
            yield session
        except Exception as exc:  # carried past the group, which would wrap it
            failure = exc
        finally:
            session.close()
            for task in tasks:
                task.cancel()
    if failure is not None:
        raise failure


class CascadeSession:
    """An `AiSession`. Made by `open_cascade`."""

    def __init__(self, parts: Parts, brief: Brief, stream: RecogniserStream, group: asyncio.TaskGroup) -> None:
        self._parts, self._brief, self._group = parts, brief, group
        self._out = Outbox()
        history = History()
        self.answering = Answering(parts, brief, group, self._out, history, lambda state: self.hearing.expect(state))
        self.hearing = Hearing(parts.judge, stream, parts.clock, self._out, history, self.answering)

    # --- AiSession ----------------------------------------------------------------------------------------------------

    @property
    def input_rate(self) -> int:
        """16000 Hz."""
        return RATE

    @property
    def output_rate(self) -> int:
        """The synthesiser's, Hz."""
        return self._parts.voice.rate

    def events(self) -> AsyncIterator[AiEvent]:
        """See AiSession."""
        return self._out.events()

    async def hear(self, frame: AudioFrame, far_dbov: float = SILENT_DBOV) -> None:
        """See AiSession. Nothing happens after the end. Raises UsageError for another rate than 16 kHz."""
        if frame.rate != RATE:
            raise UsageError(f"frame.rate: {frame.rate} Hz given, {RATE} Hz wanted")
        if self._out.over:
            return
        self.hearing.hear(frame, far_dbov)

    async def press(self, key: str) -> None:
        """See AiSession. It is a turn of its own. A reply that still plays is not stopped by this: `interrupt` does."""
        self.answering.enqueue(Key(self.hearing.key(), key))

    async def prompt(self, occasion: Occasion, text: str = "") -> None:
        """See AiSession. Spoken after what is being said; a "say" while a reply waits for its tool, meanwhile."""
        if occasion == "greeting":
            text = text or self._brief.greeting
        if occasion != "say" or not self.answering.aside(text):
            self.answering.enqueue(Prompt(self.hearing.turn, occasion, text))

    async def interrupt(self, reply: ReplyId, heard_s: float) -> None:
        """See AiSession. Replies long gone are left alone."""
        cut = self.answering.cut(reply, heard_s)
        if cut is not None:
            stopped, heard_clauses = cut
            self.hearing.was_cut(stopped, heard_s, heard_clauses)

    async def heard(self, reply: ReplyId) -> None:
        """See AiSession; what was given out is taken as heard anyway until `interrupt` says otherwise."""
        self.answering.forget(reply)

    async def resolve(self, result: ToolResult) -> None:
        """See AiSession. An answer to no open call is ignored."""
        await self.answering.resolve(result)

    # --- lifetime -----------------------------------------------------------------------------------------------------

    def start(self) -> Sequence["asyncio.Task[None]"]:
        """The session's standing tasks, in its group; it speaks first if it has a greeting."""
        if self._brief.greeting:
            self.answering.enqueue(Prompt(0, "greeting", self._brief.greeting))
        standing = (self.hearing.listen, self.answering.run, self.hearing.watch)
        return [self._group.create_task(guarded(work, self._out, self._brief.call_id)) for work in standing]

    def close(self) -> None:
        """Nothing is heard or said from here on."""
        self._out.finish()
        self.answering.stop()
