"""The way out of a cascade session: events in order, speech bounded, the dead silent."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from trunkline.ai.cascade.until_none import until_none
from trunkline.ai.session import (
    AiEvent,
    ReplyAudio,
    ReplyEnded,
    ReplyId,
    ReplyStarted,
    ReplyText,
    SessionLost,
    SpeechSink,
)

_MOST_AUDIO_S = 2.0  # waiting for the consumer
_MOST_EVENTS = 2000  # that are no audio: a consumer so far behind is gone


class Outbox:
    """One consumer. What is said of a reply after `kill` goes nowhere, and what of it still waits is taken back."""

    def __init__(self, most_audio_s: float = _MOST_AUDIO_S) -> None:
        """most_audio_s: speech that may wait for the consumer."""
        self._most_audio_s = most_audio_s
        self._events: deque[AiEvent] = deque()
        self._audio_s = 0.0
        self._dead: set[ReplyId] = set()
        self._over = False
        self._waiter: asyncio.Future[None] | None = None  # of the consumer: not done while it waits and nothing is put
        self._sink: SpeechSink | None = None
        self._room = asyncio.Event()
        self._room.set()

    @property
    def over(self) -> bool:
        """Whether nothing more can be put."""
        return self._over

    @property
    def full(self) -> bool:
        """Whether audio must wait."""
        return self._audio_s >= self._most_audio_s - 1e-6

    def speak_to(self, sink: SpeechSink) -> None:
        """See SpeaksStraight."""
        self._sink = sink

    def put(self, event: AiEvent) -> None:
        """An event that is no audio; never waits."""
        if self._over or (self._dead and self._is_dead(event)):
            return
        if len(self._events) >= _MOST_EVENTS:
            self._events.clear()
            event = SessionLost(f"nobody took the last {_MOST_EVENTS} events")
        self._events.append(event)
        self._over = isinstance(event, SessionLost)
        self._tell_consumer()

    async def put_audio(self, event: ReplyAudio) -> None:
        """Speech; waits while 2 s of it are not yet taken."""
        while self.full and not self._over and not self._is_dead(event):
            self._room.clear()
            await self._room.wait()
        self.put_audio_now(event)

    def put_audio_now(self, event: ReplyAudio) -> bool:
        """Speech whose source cannot wait; False when there was no room and it is gone."""
        if self._over or event.reply in self._dead or self._taken(event):
            return True
        if self.full:
            return False
        self._events.append(event)
        self._audio_s += event.frame.seconds
        self._tell_consumer()
        return True

    def _taken(self, event: ReplyAudio) -> bool:
        """By the sink, in this breath. A consumer that waits has had all that was put before."""
        sink, waiter = self._sink, self._waiter
        if sink is None or waiter is None or waiter.done():
            return False
        try:
            return sink(event)
        except Exception as wrong:  # the consumer's, not of whoever brought the speech
            if not waiter.done():
                waiter.set_exception(wrong)
            return True

    def kill(self, reply: ReplyId) -> None:
        """No event of this reply comes out from here on."""
        self._dead.add(reply)
        self._events = deque(event for event in self._events if not self._is_dead(event))
        self._count()

    def finish(self) -> None:
        """The session is over; what waits is still given out."""
        self._over = True
        self._tell_consumer()
        self._room.set()

    def events(self) -> AsyncIterator[AiEvent]:
        """Everything put, until `finish` or SessionLost."""
        return until_none(self._next)

    async def _next(self) -> AiEvent | None:
        while not self._events:
            if self._over:
                return None
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        event = self._events.popleft()
        if isinstance(event, ReplyAudio):
            self._audio_s -= event.frame.seconds
            self._tell_room()
        return event

    def _tell_consumer(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _count(self) -> None:
        self._audio_s = sum(event.frame.seconds for event in self._events if isinstance(event, ReplyAudio))
        self._tell_room()

    def _tell_room(self) -> None:
        if not self.full:
            self._room.set()

    def _is_dead(self, event: AiEvent) -> bool:
        match event:
            case ReplyStarted() | ReplyText() | ReplyAudio() | ReplyEnded():
                return event.reply in self._dead
            case _:
                return False
