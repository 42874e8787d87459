"""`echo`: a provider without intelligence, for load tests and for listening to one's own line.

The caller's audio comes back in replies, one each second. A reply is 998 ms long and 2 ms are left out after it: the
resampler on the way out adds that much to every reply, and whatever is more than whole frames would add up to a delay.
A line that has brought nothing for `DEAD_S` is not echoed, so that it is seen to be silent. In silent mode nothing is
said at all. It is no judge of turns.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from trunkline.ai.cascade.session_outbox import Outbox
from trunkline.ai.session import (
    SILENT_DBOV,
    AiEvent,
    AiSession,
    Brief,
    Occasion,
    ReplyAudio,
    ReplyEnded,
    ReplyId,
    ReplyStarted,
    ReplyText,
    ToolCall,
)
from trunkline.ai.tools import ToolResult
from trunkline.codecs.frame import AudioFrame
from trunkline.codecs.level import rms_dbov
from trunkline.errors import UsageError

REPLY_S = 0.998  # a reply that was heard to its end is what tells a served call from an abandoned one
LEFT_OUT_S = 0.002
DEAD_S = 3.0
QUIET_DBOV = -60.0


class EchoSession:
    """An `AiSession` that says what it hears. `dropped` counts frames for which 2 s of untaken audio left no room."""

    def __init__(self, brief: Brief, rate: int, *, silent: bool) -> None:
        self._brief = brief
        self._rate = rate
        self._silent = silent
        self._out = Outbox()
        self._reply: ReplyId | None = None
        self._left = round(REPLY_S * rate) * 2  # bytes of this reply still to come
        self._skip = 0  # bytes to be left out
        self._replies = 0
        self._quiet_s = 0.0
        self.dropped = 0

    @property
    def input_rate(self) -> int:
        """As configured, Hz."""
        return self._rate

    @property
    def output_rate(self) -> int:
        """The same, Hz."""
        return self._rate

    def events(self) -> AsyncIterator[AiEvent]:
        """See AiSession."""
        return self._out.events()

    async def hear(self, frame: AudioFrame, far_dbov: float = SILENT_DBOV) -> None:
        """Give the frame back. Raises UsageError for another rate than `input_rate`."""
        if frame.rate != self._rate:
            raise UsageError(f"frame.rate: {frame.rate} Hz given, {self._rate} Hz wanted")
        if self._silent or self._out.over:
            return
        self._quiet_s = self._quiet_s + frame.seconds if rms_dbov(frame.pcm) < QUIET_DBOV else 0.0
        if self._quiet_s >= DEAD_S:
            self._end()
        else:
            await self._say(frame.pcm)

    async def press(self, key: str) -> None:
        """A silent key; in the echo it becomes a word of the transcript."""
        if self._reply is not None:
            self._out.put(ReplyText(self._reply, key))

    async def prompt(self, occasion: Occasion, text: str = "") -> None:
        """There is no voice: the occasion is a reply without a sound."""
        if not self._silent:
            reply = self._begin()
            self._out.put(ReplyText(reply, text or self._brief.greeting or occasion))
            self._out.put(ReplyEnded(reply))

    async def interrupt(self, reply: ReplyId, heard_s: float) -> None:
        """End this reply; the echo goes on in a new one."""
        self._out.kill(reply)
        if reply == self._reply:
            self._forget()

    async def heard(self, reply: ReplyId) -> None:
        """Of no consequence."""

    async def resolve(self, result: ToolResult) -> None:
        """Of no consequence; see `call_tool`."""

    def call_tool(self, call: ToolCall) -> None:
        """For tests of what stands behind a session: pretend that the model wants a tool."""
        self._out.put(call)

    def close(self) -> None:
        """Events end."""
        self._out.finish()

    async def _say(self, pcm: bytes) -> None:
        while pcm := self._cut(pcm):
            if self._reply is None:
                self._reply = self._begin()
            part, pcm = pcm[: self._left], pcm[self._left :]
            if self._out.full:
                self.dropped += 1
            else:
                await self._out.put_audio(ReplyAudio(self._reply, AudioFrame(part, self._rate)))
            self._left -= len(part)
            if not self._left:
                self._end()
                self._skip = round(LEFT_OUT_S * self._rate) * 2

    def _cut(self, pcm: bytes) -> bytes:
        skip = min(self._skip, len(pcm))
        self._skip -= skip
        return pcm[skip:]

    def _end(self) -> None:
        if self._reply is not None:
            self._out.put(ReplyEnded(self._reply))
        self._forget()

    def _forget(self) -> None:
        self._reply, self._left = None, round(REPLY_S * self._rate) * 2

    def _begin(self) -> ReplyId:
        self._replies += 1
        reply = ReplyId(f"e{self._replies}")
        self._out.put(ReplyStarted(reply, 0))
        return reply


class EchoProvider:
    """`AiProvider` of echo sessions. `rate` in Hz; `silent`: take audio, say nothing."""

    name = "echo"
    capacity: int | None = None

    def __init__(self, rate: Literal[8000, 16000] = 16000, *, silent: bool = False) -> None:
        self._rate = rate
        self._silent = silent

    async def start(self) -> None:
        """Nothing to bring up."""

    async def close(self) -> None:
        """Nothing to take down."""

    @asynccontextmanager
    async def open(self, brief: Brief) -> AsyncIterator[AiSession]:
        """An echo session."""
        session = EchoSession(brief, self._rate, silent=self._silent)
        try:
            yield session
        finally:
            session.close()
