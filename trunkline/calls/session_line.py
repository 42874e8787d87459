"""The session that is on the line just now: opened, told things within bounds, and let go. A call may have several."""

import asyncio
from collections.abc import Awaitable, Callable

from trunkline.ai.session import AiProvider, AiSession, Brief, ReplyAudio, ReplyId, SessionLost
from trunkline.calls.ears import Ears
from trunkline.calls.happenings import Happened
from trunkline.calls.inbox import Inbox
from trunkline.calls.lifeline import Signs
from trunkline.calls.playout import Cut
from trunkline.calls.session_life import SessionLife, SessionNews, Watched
from trunkline.calls.speech import Begun, Reply, Speech
from trunkline.clock import Clock
from trunkline.errors import ProviderError

MOST_PAST_MIND = 200  # pieces of speech in a row that need no decision
TELL_S = 2.0  # a session must take a word within this
MOST_EARLY_KEYS = 32


class SessionLine:
    """The call's way to its session. `number` counts the call's sessions from 1; 0: none was opened yet."""

    def __init__(self, provider: AiProvider, ears: Ears, speech: Speech, inbox: Inbox[Happened], clock: Clock) -> None:
        self._provider = provider
        self._ears = ears
        self._speech = speech
        self._inbox = inbox
        self._clock = clock
        self._session: AiSession | None = None
        self._watched: Watched | None = None
        self._life: SessionLife | None = None
        self._early_keys: list[str] = []
        self.number = 0
        self.past_mind = 0  # pieces of speech since the mind last looked
        self.keys_dropped = 0

    @property
    def there(self) -> bool:
        """True while a session can be spoken to."""
        return self._session is not None

    @property
    def watched(self) -> bool:
        """True where the session's look may change without an event."""
        return self._watched is not None

    def open(self, group: asyncio.TaskGroup, brief: Brief) -> None:
        """Open another one in a task of the group; its first news is `SessionUp`."""
        self.number += 1
        self._life = SessionLife(self._provider, self.number, self._put, self._post, self._spoke)
        self._life.begin(group, brief)

    async def up(self, session: AiSession) -> None:
        """It is there: it hears the caller from now on, and is told the keys pressed before."""
        self._session = session
        self._watched = None
        able: object = session
        if isinstance(able, Watched):
            self._watched = able
        self._ears.attach(session)
        keys, self._early_keys = self._early_keys, []
        for key in keys:
            await self.press(key)

    def let_go(self) -> None:
        """Hear and speak with nobody; the session is closed."""
        self._session = self._watched = None
        self._ears.attach(None)
        if self._life:
            self._life.end()

    def end(self) -> None:
        """The call is over."""
        if self._life:
            self._life.end()

    def signs(self, now: float, falters: Begun | None, since: float, *, busy: bool) -> Signs:
        """How it looks. falters: a reply that has begun, is not at its end, and was not heard `since` then."""
        watched = self._watched
        if self._session is None:
            return Signs(connected=False, owes_since=now, busy=busy)
        if watched is None:
            return Signs(connected=True, busy=busy)
        waits_since = watched.waits_since
        if waits_since is not None or falters is None:
            return Signs(watched.connected, waits_since, watched.caller_speaks, busy)
        return Signs(watched.connected, since, watched.caller_speaks, busy, falters.mid_sentence)

    # ── news ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _put(self, item: SessionNews, number: int) -> None:
        if not (type(item) is ReplyAudio and self._spoke(number, item)):
            await self._inbox.put(Happened(self._clock.monotonic(), number, item))

    def _spoke(self, number: int, item: ReplyAudio) -> bool:
        """Speech is no decision: while the mind has nothing else to do, it goes where the mind would put it. A burst
        goes through the mind now and then, so that what is said and what is decided keep step."""
        if not self._inbox.idle or number != self.number or self.past_mind >= MOST_PAST_MIND:
            return False
        self.past_mind += 1
        self._speech.audio(self.key(item.reply), item.frame)
        return True

    def _post(self, item: SessionNews, number: int) -> None:
        self._inbox.post(Happened(self._clock.monotonic(), number, item))

    # ── words ───────────────────────────────────────────────────────────────────────────────────────────────────

    def key(self, reply: ReplyId) -> str:
        """Reply ids are unique within a session; a call may have several."""
        return reply if self.number < 2 else f"{self.number}/{reply}"

    async def tell(self, word: Callable[[AiSession], Awaitable[None]]) -> None:
        """A bounded word to the session; one that does not take it is lost."""
        if self._session is None:
            return
        number = self.number
        try:
            async with asyncio.timeout(TELL_S):
                await word(self._session)
        except TimeoutError:
            self._give_up(SessionLost(f"the session took no word within {TELL_S:g} s", retryable=True), number)
        except ProviderError as exc:
            self._give_up(SessionLost(str(exc), exc.retryable), number)

    def deaf(self, exc: ProviderError) -> None:
        """It failed to hear."""
        self._give_up(SessionLost(str(exc), exc.retryable), self.number)

    async def press(self, key: str) -> None:
        """The caller pressed a key; kept while there is no session."""
        if self._session is not None:
            await self.tell(lambda session: session.press(key))
        elif len(self._early_keys) < MOST_EARLY_KEYS:
            self._early_keys.append(key)
        else:
            self.keys_dropped += 1

    async def remember(self, reply: Reply, cut: Cut) -> None:
        """How a reply ended, if it is this session's."""
        id_ = reply.id
        if id_ is None or reply.key != self.key(id_):
            return
        if cut.complete:
            await self.tell(lambda session: session.heard(id_))
        else:
            await self.tell(lambda session: session.interrupt(id_, cut.heard_s))

    def _give_up(self, lost: SessionLost, number: int) -> None:
        self._session = self._watched = None
        self._post(lost, number)
