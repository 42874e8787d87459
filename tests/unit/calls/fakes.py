"""A line, a mind and a store for the conversation's tests; all in virtual time."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.virtual_time import clock
from trunkline.ai.session import (
    AiEvent,
    Brief,
    CallerSaid,
    CallerStartedSpeaking,
    CallerStoppedSpeaking,
    ReplyAudio,
    ReplyEnded,
    ReplyId,
    ReplyStarted,
    ReplyText,
)
from trunkline.ai.tools import Tool, ToolResult
from trunkline.bridge.leg import Answered, Digit, Ended, LegEvent, LegInfo, Played
from trunkline.calls.events import CallEvent
from trunkline.calls.record import CallRecord
from trunkline.calls.sentences import KINDS, Clip, Phrases
from trunkline.calls.switchboard import Switchboard
from trunkline.codecs.frame import AudioFrame
from trunkline.codecs.g711 import PCMU
from trunkline.config import Agent, Failure, Limits, Route
from trunkline.errors import ProviderError, StoreError
from trunkline.outcome import EndCause, Outcome

FRAME = 160
NO_AUDIO = 1e9


def now() -> float:
    return asyncio.get_running_loop().time()


async def until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - now()))


def wire_byte(number: int) -> int:
    """The mu-law byte that reply `number` is made of, and nothing else."""
    return 0x10 + number


def pcm(number: int, seconds: float) -> bytes:
    return PCMU.decoder().decode(bytes([wire_byte(number)]) * round(seconds * 8000))


PHRASES: Phrases = {
    kind: Clip(kind.replace("_", " "), pcm(100 + number, 1.0), 8000) for number, kind in enumerate(KINDS)
}


class FakeLeg:
    """A far end with a playout buffer that honours time; the caller is scripted."""

    def __init__(self, *, lead_s: float = 0.2, to: str = "+918069000000", marks: bool = True) -> None:
        self.info = LegInfo("inbound", "+15550100", to, "smartflo", PCMU, 20, lead_s, "ref-1", {"k": "v"})
        self.sent: list[tuple[float, bytes]] = []
        self.heard_payload: list[tuple[float, bytes]] = []  # (when it begins to play, payload)
        self.flushes: list[tuple[float, float]] = []
        self.ends: list[tuple[float, EndCause]] = []
        self.counters: Counter[str] = Counter()
        self._plays_until = 0.0
        self._events: asyncio.Queue[LegEvent] = asyncio.Queue()
        self._marks: dict[str, asyncio.TimerHandle] = {}
        self._gives_marks = marks
        self._over = asyncio.Event()
        self._events.put_nowait(Answered())

    def events(self) -> AsyncIterator[LegEvent]:
        async def follow() -> AsyncIterator[LegEvent]:
            while True:
                event = await self._events.get()
                yield event
                if isinstance(event, Ended):
                    return

        return follow()

    async def audio(self) -> AsyncIterator[AudioFrame]:
        start = 0
        while not self._over.is_set():
            await asyncio.sleep(0.02)
            yield AudioFrame(bytes(2 * FRAME), 8000, start)
            start += FRAME

    def has_room(self) -> bool:
        return self._over.is_set() or self._plays_until - now() < self.info.lead_s - 1e-9

    async def room(self) -> None:
        while not self.has_room():  # noqa: ASYNC110
            await asyncio.sleep(self._plays_until - now() - self.info.lead_s + 0.001)

    def send(self, payload: bytes) -> None:
        assert payload, "empty payload"
        assert len(payload) % FRAME == 0, "payloads are whole frames"
        if self._over.is_set():
            self.counters["sent_after_end"] += 1
            return
        self.sent.append((now(), payload))
        begins = max(now(), self._plays_until)
        self.heard_payload.append((begins, payload))
        self._plays_until = begins + len(payload) / 8000

    def mark(self, label: str) -> None:
        assert label not in self._marks, "labels are unique"
        at = max(now(), self._plays_until)
        self._marks[label] = asyncio.get_running_loop().call_at(at, self._played, label, False)

    def _played(self, label: str, dropped: bool) -> None:
        if self._gives_marks:
            self._events.put_nowait(Played(label, dropped))

    def flush(self) -> float:
        dropped = max(0.0, self._plays_until - now())
        self._plays_until = min(self._plays_until, now())
        for label, handle in self._marks.items():
            if not handle.cancelled() and handle.when() > now():
                handle.cancel()
                self._played(label, True)
        self.flushes.append((now(), dropped))
        return dropped

    def playing(self) -> bool:
        return not self._over.is_set() and self._plays_until > now()

    async def end(self, cause: EndCause) -> None:
        self.ends.append((now(), cause))
        self._finish(Outcome(cause, "nobody"))

    # the caller

    def press(self, keys: str) -> None:
        for key in keys:
            self._events.put_nowait(Digit(key))

    def hang_up(self) -> None:
        self._finish(Outcome(EndCause.COMPLETED, "nobody", "Call ended"))

    def vanish(self) -> None:
        """Audio stops, nobody says goodbye."""
        self._over.set()

    def post(self, event: LegEvent) -> None:
        self._events.put_nowait(event)

    def _finish(self, outcome: Outcome) -> None:
        if not self._over.is_set():
            self._over.set()
            for handle in self._marks.values():
                handle.cancel()
            self._events.put_nowait(Ended(outcome))

    # what was on the wire

    def wire(self, number: int) -> list[float]:
        """When each message with reply `number` in it was sent."""
        byte = wire_byte(number)
        return [at for at, payload in self.sent if byte in payload]


class FakeSession:
    """Says what the test says."""

    input_rate = 16000
    output_rate = 8000

    def __init__(self, brief: Brief) -> None:
        self.brief = brief
        self.heard_s = 0.0
        self.far: list[tuple[float, float]] = []
        self.interrupted: list[tuple[str, float]] = []
        self.heard_replies: list[str] = []
        self.pressed: list[str] = []
        self.prompts: list[tuple[str, str]] = []
        self.results: list[ToolResult] = []
        self.on_prompt: Any = None
        self.stuck = False
        self.breaks: Exception | None = None  # raised where events are waited for
        self.closed = False
        self._events: asyncio.Queue[AiEvent | None] = asyncio.Queue()

    async def events(self) -> AsyncIterator[AiEvent]:
        if self.breaks is not None:
            raise self.breaks
        while (event := await self._events.get()) is not None:
            yield event

    async def hear(self, frame: AudioFrame, far_dbov: float = -96.0) -> None:
        assert frame.rate == self.input_rate
        self.heard_s += frame.seconds
        self.far.append((now(), far_dbov))
        await asyncio.sleep(0)

    async def press(self, key: str) -> None:
        await self._word()
        self.pressed.append(key)

    async def prompt(self, occasion: str, text: str = "") -> None:
        await self._word()
        self.prompts.append((occasion, text))
        if self.on_prompt:
            self.on_prompt(occasion)

    async def interrupt(self, reply: ReplyId, heard_s: float) -> None:
        await self._word()
        self.interrupted.append((reply, heard_s))

    async def heard(self, reply: ReplyId) -> None:
        await self._word()
        self.heard_replies.append(reply)

    async def resolve(self, result: ToolResult) -> None:
        await self._word()
        self.results.append(result)

    async def _word(self) -> None:
        await asyncio.sleep(NO_AUDIO if self.stuck else 0.001)

    # the test's side

    def emit(self, *events: AiEvent) -> None:
        for event in events:
            self._events.put_nowait(event)

    def finish(self) -> None:
        self._events.put_nowait(None)

    def say(self, number: int, text: str, seconds: float, turn: int = 0, *, ended: bool = True) -> None:
        """Reply r<number>, synthesised all at once, in pieces of 100 ms."""
        reply = ReplyId(f"r{number}")
        self.emit(ReplyStarted(reply, turn), ReplyText(reply, text))
        for _ in range(round(seconds * 10)):
            self.emit(ReplyAudio(reply, AudioFrame(pcm(number, 0.1), self.output_rate)))
        if ended:
            self.emit(ReplyEnded(reply))

    def late(self, number: int) -> None:
        self.emit(ReplyAudio(ReplyId(f"r{number}"), AudioFrame(pcm(number, 0.1), self.output_rate)))

    def caller_speaks(self, turn: int) -> None:
        self.emit(CallerStartedSpeaking(turn, self.heard_s))

    def caller_said(self, turn: int, text: str) -> None:
        self.emit(CallerStoppedSpeaking(turn, self.heard_s), CallerSaid(turn, text, True, 0.9))


class FakeProvider:
    """Opens fake sessions; `failures` are raised first, one per opening."""

    def __init__(self, *, name: str = "fake", capacity: int | None = None, open_s: float = 0.05) -> None:
        self.name = name
        self.capacity = capacity
        self.open_s = open_s
        self.sessions: list[FakeSession] = []
        self.failures: list[ProviderError] = []
        self.opened = 0
        self.script: Any = None  # called with each new session

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    @asynccontextmanager
    async def open(self, brief: Brief) -> AsyncIterator[FakeSession]:
        self.opened += 1
        await asyncio.sleep(self.open_s)
        if self.failures:
            raise self.failures.pop(0)
        session = FakeSession(brief)
        self.sessions.append(session)
        if self.script:
            self.script(session)
        try:
            yield session
        finally:
            await asyncio.sleep(0.01)
            session.closed = True

    async def session(self, index: int = 0) -> FakeSession:
        while len(self.sessions) <= index:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return self.sessions[index]


class FakeStore:
    """Remembers; can be down."""

    def __init__(self) -> None:
        self.begun: list[CallRecord] = []
        self.finished: list[CallRecord] = []
        self.down = False

    async def begin(self, record: CallRecord) -> None:
        await asyncio.sleep(0.005)
        self._check()
        self.begun.append(record)

    async def finish(self, record: CallRecord) -> None:
        await asyncio.sleep(0.005)
        self._check()
        self.finished.append(record)

    def _check(self) -> None:
        if self.down:
            raise StoreError("no database")


@dataclass
class Seen:
    """An observer."""

    events: list[CallEvent] = field(default_factory=list)

    def notify(self, call_id: str, event: CallEvent) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class Line:
    """A switchboard with one call on it. `async with Line() as line:` … the call ends with the block."""

    def __init__(
        self,
        *,
        agent: Agent | None = None,
        limits: Limits | None = None,
        leg: FakeLeg | None = None,
        provider: FakeProvider | None = None,
        tools: Sequence[Tool] = (),
        data_dir: Path = Path("nowhere"),
        routes: Sequence[Route] = (),
        failure: Failure | None = None,
        phrases: Phrases | None = None,
        transfer_to: Sequence[str] = (),
    ) -> None:
        self.leg = leg or FakeLeg()
        self.provider = provider or FakeProvider()
        self.store: Any = FakeStore()
        self.seen = Seen()
        providers: Mapping[str, Any] = {self.provider.name: self.provider}
        self.board = Switchboard(
            limits=limits or Limits(silence_prompt_s=60),
            agents={"receptionist": agent or Agent(greeting="Hello")},
            providers=providers,
            store=self.store,
            clock=clock(),
            routes=routes,
            tools={tool.name: tool for tool in tools},
            observers=[self.seen],
            worker="w1",
            data_dir=data_dir,
            failure=failure,
            phrases={"receptionist": phrases or {}},
            transfer_to=transfer_to,
        )
        self._task: asyncio.Task[CallRecord]

    @property
    def session(self) -> FakeSession:
        return self.provider.sessions[-1]

    async def __aenter__(self) -> "Line":
        self._task = asyncio.get_running_loop().create_task(self.board.attend(self.leg), name="call")
        if not self.provider.failures and self.provider.open_s < 1:
            await self.provider.session()
            await asyncio.sleep(0.01)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if not self._task.done():
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def over(self) -> CallRecord:
        """Wait for the call to end by itself."""
        async with asyncio.timeout(4000):
            return await self._task

    def cancel(self) -> None:
        self._task.cancel()
