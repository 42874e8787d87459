"""What a cascade session hears with: the judge of turns, and the recogniser fed in order behind a bounded queue."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias, TypeVar

import structlog

from trunkline.ai.cascade.protocols import RecogniserStream, Transcript
from trunkline.ai.cascade.turn import PreRoll, TurnEvent, TurnSettings, TurnTaker
from trunkline.ai.cascade.vad import RATE, Vad
from trunkline.codecs.frame import AudioFrame
from trunkline.errors import ProviderError

_log = structlog.get_logger(__name__)
_A = TypeVar("_A")
PRE_ROLL_S = 0.4  # before the onset: the soft beginning of the first word lies there
_LONGEST_HOLE_S = 5.0  # of silence filled in for lost audio
_MOST_WAITING_S = 1.0  # audio that waits for a slow recogniser
_PARTIAL_EVERY = 10  # pieces of audio


class Judge(Protocol):
    """One call's judge of turns. Positions are seconds in the heard stream."""

    @property
    def heard_s(self) -> float:
        """How much was heard so far."""
        ...

    def hear(self, frame: AudioFrame, far_dbov: float) -> Sequence[TurnEvent]:
        """What this frame decides."""
        ...

    def idle(self, now_s: float) -> Sequence[TurnEvent]:
        """No audio comes although the stream should be at `now_s`."""
        ...

    def since(self, position_s: float) -> bytes:
        """The newest audio from there on, s16le at 16 kHz, as far back as it is kept."""
        ...

    def patience(self, s: float | None) -> None:
        """Silence that ends the caller's turn from now on; None: the default."""
        ...

    def mistaken(self) -> None:
        """The last start of speech was none."""
        ...


class VadJudge:
    """The judge made of Silero's detector and the turn taker."""

    def __init__(self, settings: TurnSettings, vad: Vad | None = None) -> None:
        self._vad = vad or Vad()
        self._taker = TurnTaker(settings)
        self._pre_roll = PreRoll(RATE)
        self._heard = 0  # samples
        self.patience = self._taker.patience
        self.mistaken = self._taker.mistaken
        self.idle = self._taker.idle
        self.since = self._pre_roll.since

    @property
    def heard_s(self) -> float:
        """Seconds heard, holes included."""
        return self._heard / RATE

    def hear(self, frame: AudioFrame, far_dbov: float) -> Sequence[TurnEvent]:
        """A frame at 16 kHz; a hole before it (by its `start`) counts as silence."""
        hole = frame.start - self._heard
        pcm = bytes(2 * hole) + frame.pcm if 0 < hole <= _LONGEST_HOLE_S * RATE else frame.pcm
        self._heard += len(pcm) // 2
        self._pre_roll.push(pcm)
        events: list[TurnEvent] = []
        for window in self._vad.windows(pcm):
            events += self._taker.push(window.probability, window.dbov, far_dbov, window.end_s)
        return events


@dataclass(frozen=True, slots=True)
class _Begin:
    turn: int
    pcm: bytes


@dataclass(frozen=True, slots=True)
class _Feed:
    pcm: bytes


@dataclass(frozen=True, slots=True)
class _Finish:
    turn: int


@dataclass(frozen=True, slots=True)
class _Expect:
    grammar: str


_Order: TypeAlias = _Begin | _Feed | _Finish | _Expect


class Listener:
    """Feeds one recogniser stream in order. `told(turn, transcript)`: the transcript is None when it was lost."""

    def __init__(
        self,
        stream: RecogniserStream,
        told: Callable[[int, Transcript | None], None],
        partial: Callable[[int, str], None],
    ) -> None:
        self._stream = stream
        self._told = told
        self._partial = partial
        self._orders: deque[_Order] = deque()  # bounded: audio by `_trim`, the rest comes a few times per turn
        self._wake = asyncio.Event()
        self._waiting = 0  # bytes of audio in `_orders`
        self._turn = 0
        self._fed = 0
        self._lost = False
        self.dropped_s = 0.0  # audio that the recogniser was too slow for
        self._shown = ""

    def begin(self, turn: int, pcm: bytes) -> None:
        """An utterance begins with what was heard just before (s16le, 16 kHz)."""
        self._put(_Begin(turn, pcm))

    def feed(self, pcm: bytes) -> None:
        """More of it; the oldest is dropped and counted when more than 1 s waits."""
        self._waiting += len(pcm)
        self._put(_Feed(pcm))
        self._trim()

    def finish(self, turn: int) -> None:
        """It is over: `told` will be called."""
        self._put(_Finish(turn))

    def expect(self, grammar: str) -> None:
        """The dialogue's hint for utterances from now on."""
        self._put(_Expect(grammar))

    async def run(self) -> None:
        """Until cancelled. Raises what the recogniser raises, ProviderError excepted: that is a lost utterance."""
        while True:
            while self._orders:
                await self._do(self._orders.popleft())
            self._wake.clear()
            await self._wake.wait()

    def _put(self, order: _Order) -> None:
        self._orders.append(order)
        self._wake.set()

    def _trim(self) -> None:
        while self._waiting > _MOST_WAITING_S * RATE * 2:
            oldest = next(order for order in self._orders if isinstance(order, _Feed))
            self._orders.remove(oldest)
            self._waiting -= len(oldest.pcm)
            if not self.dropped_s:
                _log.warning("recogniser.slow", waiting_s=_MOST_WAITING_S)
            self.dropped_s += len(oldest.pcm) / (2 * RATE)

    async def _do(self, order: _Order) -> None:
        match order:
            case _Begin(turn, pcm):
                self._turn, self._lost, self._shown, self._fed = turn, False, "", 0
                await self._guarded(self._start, pcm)
            case _Feed(pcm):
                self._waiting -= len(pcm)
                await self._guarded(self._stream.feed, pcm)
                self._show()
            case _Finish(turn):
                self._told(turn, await self._result())
            case _Expect(grammar):
                await self._guarded(self._stream.expect, grammar)

    async def _start(self, pcm: bytes) -> None:
        await self._stream.start()
        if pcm:
            await self._stream.feed(pcm)

    async def _guarded(self, do: Callable[[_A], Awaitable[None]], argument: _A) -> None:
        if self._lost:
            return
        try:
            await do(argument)
        except ProviderError as exc:
            self._lost = True
            _log.warning("recogniser.lost", turn=self._turn, error=str(exc))

    async def _result(self) -> Transcript | None:
        if self._lost:
            return None
        try:
            return await self._stream.finish()
        except ProviderError as exc:
            _log.warning("recogniser.lost", turn=self._turn, error=str(exc))
            return None

    def _show(self) -> None:
        self._fed += 1
        if self._fed % _PARTIAL_EVERY or self._lost:
            return
        text = self._stream.partial()
        if text and text != self._shown:
            self._shown = text
            self._partial(self._turn, text)
