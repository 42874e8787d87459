"""`Recogniser` over a pool of PocketSphinx processes: decoding never holds up the event loop of the calls.

`OfflineRecogniser` owns the processes and one task per process, which starts it, reads its answers and starts it again
when it dies. A stream is one call's place in one process. What a stream sends waits in the process's pipe; how much
is in flight is bounded by what the process acknowledges; what does not fit is dropped and counted, never waited for.
"""

import asyncio
import itertools
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec
import structlog

from trunkline.ai.business import Business
from trunkline.ai.cascade.protocols import Transcript
from trunkline.ai.offline.grammar import GRAMMARS
from trunkline.ai.offline.language import LanguageFiles, language_files
from trunkline.ai.offline.recogniser_process import HEADER, MAX_BODY, Heard, Kind, Result, message
from trunkline.errors import ConfigError, ProviderError, UsageError

RATE: Final = 16_000  # Hz
CALLS_PER_PROCESS: Final = 8  # at which one core keeps up with everybody talking at once (docs/speech.md)
_CHUNK: Final = 3200  # bytes (0.1 s) sent at a time
_IN_FLIGHT: Final = 3 * 2 * RATE  # bytes (3 s) sent and not yet decoded; more is dropped
_START_S: Final = 20.0  # a process must be ready within this
_FINISH_S: Final = 5.0  # the text must be there within this
_RESTART_S: Final = (0.1, 0.5, 2.0, 5.0)  # before the n-th restart in a row
_MODULE: Final = "trunkline.ai.offline.recogniser_process"

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class RecogniserStats:
    """Counts since the start."""

    utterances: int = 0  # finished with a text or none
    rejected: int = 0  # … of them not accepted
    lost: int = 0  # whose process died
    dropped_s: float = 0.0  # audio that did not fit into what may be in flight
    restarts: int = 0  # processes started again


def default_processes() -> int:
    """One per core but one, at least one."""
    return max(1, (os.cpu_count() or 1) - 1)


class OfflineRecogniser:
    """Speech to text for the offline profile; `async with`, because it owns processes and tasks.

    `capacity` is calls per process. Raises ConfigError when the language cannot be built, ProviderError (retryable)
    when no process comes up.
    """

    rate: int = RATE

    def __init__(
        self,
        business: Business,
        *,
        processes: int = 0,
        capacity: int = CALLS_PER_PROCESS,
        min_confidence: float = 0.5,
        cache_dir: Path | None = None,
    ) -> None:
        if processes < 0 or capacity < 1:
            raise ConfigError(f"ai.offline: recognisers={processes} must be >= 0 and capacity={capacity} >= 1")
        self._business = business
        self._processes = processes or default_processes()
        self._per_process = capacity
        self._min_confidence = min_confidence
        self._cache_dir = cache_dir
        self._workers: list[_Worker] = []
        self._slots = itertools.count(1)
        self.stats = RecogniserStats()

    @property
    def capacity(self) -> int:
        """Calls at once over all processes."""
        return self._processes * self._per_process

    @property
    def calls(self) -> int:
        """Streams that are open now."""
        return sum(len(worker.streams) for worker in self._workers)

    async def __aenter__(self) -> "OfflineRecogniser":
        files = await asyncio.to_thread(language_files, self._business, self._cache_dir)
        self._workers = [_Worker(index, files, self.stats) for index in range(self._processes)]
        try:
            await asyncio.gather(*(worker.start() for worker in self._workers))
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        workers, self._workers = self._workers, []
        await asyncio.gather(*(worker.close() for worker in workers))

    @asynccontextmanager
    async def open(self, brief_language: str) -> AsyncIterator["OfflineStream"]:
        """A stream for one call. Raises ProviderError: no room (retryable), or a language other than English."""
        if not brief_language.lower().startswith("en"):
            raise ProviderError(f"the offline recogniser knows English only, not {brief_language!r}", code="language")
        worker = min(self._workers, key=lambda w: (not w.ready.is_set(), len(w.streams)), default=None)
        if worker is None or len(worker.streams) >= self._per_process:
            raise ProviderError(f"all {self.capacity} recogniser places are taken", code="capacity", retryable=True)
        stream = OfflineStream(next(self._slots), worker, self._min_confidence)
        worker.streams[stream.slot] = stream
        try:
            yield stream
        finally:
            stream.close()
            del worker.streams[stream.slot]


class OfflineStream:
    """`RecogniserStream`: one call's utterances, one after another."""

    def __init__(self, slot: int, worker: "_Worker", min_confidence: float) -> None:
        self.slot = slot
        self._worker = worker
        self._min_confidence = min_confidence
        self._generation = 0  # of the worker's process that knows this slot
        self._grammar = GRAMMARS[0]
        self._utterance = 0
        self._open = False
        self._lost = False
        self._pending = bytearray()
        self._in_flight = 0  # bytes
        self._partial = ""
        self._result: asyncio.Future[Result] | None = None
        self.dropped = 0  # bytes of audio that did not fit

    async def start(self) -> None:
        """An utterance begins; one that is still open is forgotten. Raises ProviderError while no process is up."""
        self._pending.clear()
        self._open = False
        await self._settle()
        self._utterance += 1
        self._open, self._lost, self._partial, self._in_flight = True, False, "", 0
        self._tell(Kind.START)

    async def feed(self, pcm: bytes) -> None:
        """s16le at 16 kHz; sent on in pieces of 0.1 s. What the process cannot keep up with is dropped and counted."""
        if not self._open:
            raise UsageError("recogniser: feed before start")
        self._pending += pcm
        if len(self._pending) >= _CHUNK:
            self._send_pending()

    async def finish(self) -> Transcript:
        """The text of the utterance. Raises ProviderError (retryable) when its process was lost or is stuck."""
        if not self._open:
            raise UsageError("recogniser: finish before start")
        self._send_pending()
        self._open = False
        if self._lost:
            raise _lost_error()
        self._result = asyncio.get_running_loop().create_future()
        self._tell(Kind.FINISH)
        try:
            async with asyncio.timeout(_FINISH_S):
                result = await self._result
        except TimeoutError:
            self._worker.stats.lost += 1
            raise ProviderError("the recogniser did not answer in time", code="timeout", retryable=True) from None
        finally:
            self._result = None
        return self._judged(result)

    async def abandon(self) -> None:
        """Forget the utterance; harmless when none is open."""
        if self._open:
            self._open = False
            self._pending.clear()
            self._tell(Kind.ABANDON)

    def partial(self) -> str:
        """The newest partial text, looked at every 0.2 s of speech."""
        return self._partial if self._open else ""

    @property
    def waiting_s(self) -> float:
        """Audio of the open utterance that was sent and is not decoded yet."""
        return self._in_flight / (2 * RATE)

    async def expect(self, grammar: str) -> None:
        """Prefer a grammar of `GRAMMARS` from the next utterance on; an unknown one means "open"."""
        self._grammar = grammar if grammar in GRAMMARS else GRAMMARS[0]
        self._tell(Kind.EXPECT, self._grammar.encode())

    def close(self) -> None:
        """Leave the process."""
        self._open = False
        self._tell(Kind.CLOSE)

    def answered(self, kind: Kind, utterance: int, body: bytes) -> None:
        """An answer of the process; late ones are ignored."""
        if utterance != self._utterance:
            return
        if kind is Kind.PARTIAL:
            heard = msgspec.json.decode(body, type=Heard)
            self._in_flight -= heard.consumed
            self._partial = self._partial if heard.text is None else heard.text
        elif kind is Kind.FINAL and self._result is not None and not self._result.done():
            self._result.set_result(msgspec.json.decode(body, type=Result))

    def lost(self) -> None:
        """The process died."""
        if self._open or self._result is not None:
            self._lost = True
            self._worker.stats.lost += 1
        if self._result is not None and not self._result.done():
            self._result.set_exception(_lost_error())

    async def _settle(self) -> None:
        """Make sure that the running process knows this slot."""
        await self._worker.wait_ready()
        if self._generation != self._worker.generation:
            self._generation = self._worker.generation
            self._tell(Kind.OPEN)
            self._tell(Kind.EXPECT, self._grammar.encode())

    def _send_pending(self) -> None:
        pcm = bytes(self._pending)
        self._pending.clear()
        if self._lost or not pcm:
            return
        if self._in_flight + len(pcm) > _IN_FLIGHT:
            self.dropped += len(pcm)
            self._worker.stats.dropped_s += len(pcm) / (2 * RATE)
            return
        self._in_flight += len(pcm)
        for at in range(0, len(pcm), MAX_BODY):
            self._tell(Kind.FEED, pcm[at : at + MAX_BODY])

    def _tell(self, kind: Kind, body: bytes = b"") -> None:
        if self._generation == self._worker.generation:
            self._worker.send(message(kind, self.slot, self._utterance, body))

    def _judged(self, result: Result) -> Transcript:
        accepted = bool(result.text) and result.confidence >= self._min_confidence
        self._worker.stats.utterances += 1
        self._worker.stats.rejected += bool(result.text) and not accepted
        return Transcript(result.text, result.confidence, accepted)


def _lost_error() -> ProviderError:
    return ProviderError("the recogniser process died during the utterance", code="lost", retryable=True)


class _Worker:
    """One process and the task that keeps it running."""

    def __init__(self, index: int, files: LanguageFiles, stats: RecogniserStats) -> None:
        self.streams: dict[int, OfflineStream] = {}
        self.stats = stats
        self.ready = asyncio.Event()
        self.generation = 0  # of the process; 0: none was ready yet
        self._index = index
        self._files = files
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start the process and wait until it can hear. Raises ProviderError when it does not come up."""
        self._task = asyncio.create_task(self._keep_running(), name=f"recogniser-{self._index}")
        await self.wait_ready()

    async def wait_ready(self) -> None:
        """Until a process is up. Raises ProviderError (retryable) when that takes too long or it was closed."""
        if self.ready.is_set():
            return
        try:
            async with asyncio.timeout(_START_S):
                await self.ready.wait()
        except TimeoutError:
            raise ProviderError("no recogniser process is up", code="down", retryable=True) from None

    def send(self, data: bytes) -> None:
        """Bytes for the process; nothing when it is gone."""
        if self.ready.is_set() and self._process is not None and self._process.stdin is not None:
            self._process.stdin.write(data)

    async def close(self) -> None:
        """End the process and its task."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def _keep_running(self) -> None:
        failures = 0
        while True:
            before = self.generation
            await self._run_once()
            failures = 0 if self.generation > before else failures + 1
            self.stats.restarts += 1
            _log.warning("recogniser.died", process=self._index, failures=failures)
            await asyncio.sleep(_RESTART_S[min(failures, len(_RESTART_S) - 1)])

    async def _run_once(self) -> None:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", _MODULE, str(self._files.folder)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        self._process = process
        try:
            if process.stdout is not None:
                await self._read(process.stdout)
        finally:
            self.ready.clear()
            for stream in list(self.streams.values()):
                stream.lost()
            self._process = None
            await _end(process)

    async def _read(self, answers: asyncio.StreamReader) -> None:
        """Hand answers to their streams until the process ends."""
        while True:
            try:
                size, kind, slot, utterance = HEADER.unpack(await answers.readexactly(HEADER.size))
                body = await answers.readexactly(size)
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            if kind == Kind.READY:
                self.generation += 1
                self.ready.set()
            elif slot in self.streams:
                self.streams[slot].answered(Kind(kind), utterance, body)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close the process's input, which ends it; kill it if that takes long. Leaves no zombie and no descriptor."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(2.0):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
