"""Scripted ears, tongue and thought for a cascade, and a call's mind small enough to read. All in virtual time."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from trunkline.ai.cascade.protocols import (
    ModelEvent,
    ModelState,
    ModelToolCall,
    TextDelta,
    Transcript,
    Utterance,
)
from trunkline.ai.cascade.session import CascadeSession, Parts, open_cascade
from trunkline.ai.cascade.turn import PreRoll, TurnEvent, TurnSettings, TurnTaker
from trunkline.ai.cascade.vad import RATE, WINDOW
from trunkline.ai.session import (
    AiEvent,
    Brief,
    CallerStartedSpeaking,
    ReplyAudio,
    ReplyEnded,
    ReplyId,
    ReplyStarted,
    ReplyText,
    ToolCall,
)
from trunkline.ai.tools import Json, Tool, ToolResult
from trunkline.clock import Clock
from trunkline.codecs.frame import AudioFrame
from trunkline.errors import ProviderError

SPEECH = b"\x00\x20" * 320  # 20 ms at 16 kHz
SILENCE = bytes(640)


class ScriptedJudge:
    """The real turn taker; a window is speech when its samples are not zero."""

    def __init__(self, settings: TurnSettings | None = None) -> None:
        self._taker = TurnTaker(settings or TurnSettings())
        self._pre_roll = PreRoll(RATE)
        self._samples = 0
        self._carry = b""
        self.mistakes = 0
        self.patiences: list[float | None] = []

    @property
    def heard_s(self) -> float:
        return self._samples / RATE

    def hear(self, frame: AudioFrame, far_dbov: float) -> Sequence[TurnEvent]:
        self._samples += frame.samples
        self._pre_roll.push(frame.pcm)
        self._carry += frame.pcm
        events: list[TurnEvent] = []
        while len(self._carry) >= 2 * WINDOW:
            window, self._carry = self._carry[: 2 * WINDOW], self._carry[2 * WINDOW :]
            end_s = (self._samples - len(self._carry) // 2) / RATE
            speech = window.count(b"\x00") < len(window) * 3 // 4
            events += self._taker.push(float(speech), -20.0 if speech else -96.0, far_dbov, end_s)
        return events

    def idle(self, now_s: float) -> Sequence[TurnEvent]:
        return self._taker.idle(now_s)

    def since(self, position_s: float) -> bytes:
        return self._pre_roll.since(position_s)

    def patience(self, s: float | None) -> None:
        self.patiences.append(s)
        self._taker.patience(s)

    def mistaken(self) -> None:
        self.mistakes += 1


class ScriptedRecogniser:
    """Understands what was scripted, utterance by utterance; an exception in the script is raised by `finish`."""

    rate = RATE

    def __init__(self) -> None:
        self.script: deque[Transcript | Exception] = deque()
        self.fed: list[bytes] = []
        self.expected: list[str] = []
        self.open_streams = 0
        self.delay_s = 0.0
        self.feed_delay_s = 0.0

    @asynccontextmanager
    async def open(self, brief_language: str) -> AsyncIterator["ScriptedRecogniser"]:
        self.open_streams += 1
        try:
            yield self
        finally:
            self.open_streams -= 1

    async def start(self) -> None:
        self.fed.append(b"")

    async def feed(self, pcm: bytes) -> None:
        if self.feed_delay_s:
            await asyncio.sleep(self.feed_delay_s)
        self.fed[-1] += pcm

    async def finish(self) -> Transcript:
        await asyncio.sleep(self.delay_s)
        said = self.script.popleft() if self.script else Transcript("", 0.0, accepted=False)
        if isinstance(said, Exception):
            raise said
        return said

    async def abandon(self) -> None:
        self.fed.pop()

    def partial(self) -> str:
        seconds = len(self.fed[-1]) / 2 / RATE
        said = self.script[0] if self.script else None
        return " ".join(said.text.split()[: int(seconds * 3)]) if isinstance(said, Transcript) else ""

    async def expect(self, grammar: str) -> None:
        self.expected.append(grammar)


class ScriptedVoice:
    """Speaks every character for `per_character_s`; first sound after `first_s`. Says what was begun and broken off."""

    def __init__(self, *, per_character_s: float = 0.06, first_s: float = 0.03, rate: int = RATE) -> None:
        self.rate = rate
        self.per_character_s = per_character_s
        self.first_s = first_s
        self.begun: list[str] = []
        self.broken_off: list[str] = []
        self.fails: deque[Exception] = deque()

    def seconds(self, text: str) -> float:
        return max(1, round(len(text) * self.per_character_s / 0.02)) * 0.02

    async def speak(self, text: str, *, voice: str = "", language: str = "en") -> AsyncIterator[AudioFrame]:
        self.begun.append(text)
        done = False
        try:
            await asyncio.sleep(self.first_s)
            if self.fails:
                raise self.fails.popleft()
            samples = int(self.rate * 0.02)
            for i in range(round(self.seconds(text) / 0.02)):
                yield AudioFrame(b"\x01\x00" * samples, self.rate, i * samples)
            done = True
        finally:
            if not done:
                self.broken_off.append(text)


Thought = ModelEvent | float | Exception  # an event, a pause (s), a failure


class ScriptedModel:
    """A `ModelConversation` that thinks by a function of its history."""

    def __init__(self, think: Callable[[Sequence[Utterance]], Sequence[Thought]]) -> None:
        self._think = think
        self.histories: list[Sequence[Utterance]] = []
        self.cancelled = 0
        self.hint = ModelState()

    def state(self) -> ModelState:
        return self.hint

    async def respond(self, history: Sequence[Utterance], tools: Sequence[Tool]) -> AsyncIterator[ModelEvent]:
        self.histories.append(list(history))
        done = False
        try:
            for thought in self._think(history):
                if isinstance(thought, float):
                    await asyncio.sleep(thought)
                elif isinstance(thought, Exception):
                    raise thought
                else:
                    yield thought
            done = True
        except ProviderError:
            done = True
            raise
        finally:
            self.cancelled += not done


def parrot(history: Sequence[Utterance]) -> Sequence[Thought]:
    """ "You said …." """
    return [TextDelta(f"You said {history[-1].text}. "), TextDelta("What else?")]


def asks_tool(name: str, arguments: Mapping[str, Json]) -> Callable[[Sequence[Utterance]], Sequence[Thought]]:
    """Uses the tool at each caller's turn and then reads its result out."""

    def think(history: Sequence[Utterance]) -> Sequence[Thought]:
        last = history[-1]
        if last.role == "tool_result":
            assert last.result is not None
            return [TextDelta(f"It says {last.result.error or last.result.value}.")]
        used = sum(entry.role == "tool_call" for entry in history)
        return [TextDelta("Let me see. "), ModelToolCall(f"c{used}", name, arguments)]

    return think


@dataclass
class Line:
    """A call around a session: feeds audio in real time, follows the events, plays, and interrupts like a mind."""

    session: CascadeSession
    clock: Clock
    recogniser: ScriptedRecogniser
    events: list[AiEvent] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    interrupting: bool = True
    answer: Callable[[ToolCall], Awaitable[ToolResult] | None] | None = None
    _began: dict[ReplyId, float] = field(default_factory=dict)
    _audio_s: dict[ReplyId, float] = field(default_factory=dict)
    _until: float = 0.0  # when all that was given is played
    cut: dict[ReplyId, float] = field(default_factory=dict)
    far_dbov: float = -96.0

    async def follow(self) -> None:
        async for event in self.session.events():
            self.events.append(event)
            self.times.append(self.clock.monotonic())
            await self._take(event)

    async def _take(self, event: AiEvent) -> None:
        now = self.clock.monotonic()
        match event:
            case ReplyStarted(reply=reply):
                self._began[reply] = max(now, self._until)
                self._audio_s[reply] = 0.0
            case ReplyAudio(reply=reply, frame=frame):
                self._audio_s[reply] += frame.seconds
                self._until = max(self._until, now) + frame.seconds
            case CallerStartedSpeaking() if self.interrupting:
                await self.cut_all()
            case ToolCall() if self.answer is not None:
                result = self.answer(event)
                if result is not None:
                    await self.session.resolve(await result)

    async def cut_all(self) -> None:
        now = self.clock.monotonic()
        for reply, began in self._began.items():
            heard_s = min(max(0.0, now - began), self._audio_s[reply])
            if reply not in self.cut and began + self._audio_s[reply] > now:
                self.cut[reply] = heard_s
                await self.session.interrupt(reply, heard_s)
        self._until = now

    async def sound(self, pcm: bytes, seconds: float) -> None:
        for _ in range(round(seconds / 0.02)):
            await self.session.hear(AudioFrame(pcm, RATE), self.far_dbov)
            await asyncio.sleep(0.02)

    async def quiet(self, seconds: float) -> None:
        await self.sound(SILENCE, seconds)

    async def says(self, text: str, *, seconds: float = 1.0, accepted: bool = True, quiet: float = 0.8) -> None:
        """The caller speaks for so long and is then silent; `text` is what will be understood."""
        self.recogniser.script.append(Transcript(text, 0.9 if accepted else 0.1, accepted))
        await self.sound(SPEECH, seconds)
        await self.quiet(quiet)

    async def until_quiet(self, limit_s: float = 60.0) -> None:
        """The caller listens until the agent has been silent for half a second."""
        deadline = self.clock.monotonic() + limit_s
        while self.clock.monotonic() < deadline:
            heard = len(self.events)
            await self.quiet(0.5)
            if len(self.events) == heard and self._until <= self.clock.monotonic():
                return

    def of(self, *kinds: type) -> list[AiEvent]:
        return [event for event in self.events if isinstance(event, kinds)]

    def texts(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, ReplyText)]

    def spoken(self) -> str:
        return " ".join(self.texts())

    def ended(self) -> list[ReplyId]:
        return [event.reply for event in self.events if isinstance(event, ReplyEnded)]


@dataclass
class Stage:
    """What a test scripts."""

    clock: Clock
    model: ScriptedModel
    judge: ScriptedJudge = field(default_factory=ScriptedJudge)
    recogniser: ScriptedRecogniser = field(default_factory=ScriptedRecogniser)
    voice: ScriptedVoice = field(default_factory=ScriptedVoice)

    def parts(self) -> Parts:
        return Parts(self.judge, self.recogniser, self.model, self.voice, self.clock, "scripted")

    @asynccontextmanager
    async def line(self, brief: Brief | None = None) -> AsyncIterator[Line]:
        async with open_cascade(self.parts(), brief or Brief("call-1", "receptionist")) as session:
            line = Line(session, self.clock, self.recogniser)
            async with asyncio.TaskGroup() as group:
                following = group.create_task(line.follow())
                yield line
                following.cancel()
