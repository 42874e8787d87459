"""A GeminiSession over scripted connections, in virtual time: what it does when they come, go and do not come."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from tests.virtual_time import clock, virtual
from trunkline.ai.gemini.channel import Take
from trunkline.ai.gemini.faults import Broken, Fault
from trunkline.ai.gemini.link import Link
from trunkline.ai.gemini.session import GeminiSession, open_gemini
from trunkline.ai.gemini.tries import MOST_LOSSES
from trunkline.ai.session import AiEvent, Brief, ReplyAudio, ReplyEnded, SessionLost
from trunkline.ai.tools import ToolResult
from trunkline.codecs.frame import AudioFrame
from trunkline.config import Gemini
from trunkline.errors import ProviderError

GONE = Fault("reset", "1006")


class FakeLink:
    """A connection whose server is the test."""

    def __init__(self, handle: str, history: bool) -> None:
        self.handle, self.history = handle, history
        self.heard = bytearray()
        self.told: list[Any] = []
        self.stuck = False
        self.dead = False
        self.fills_at: int | None = None  # bytes heard; then it is stuck
        self._stuck_at: float | None = None
        self._room = asyncio.Event()
        self._messages: asyncio.Queue[bytes | Fault] = asyncio.Queue()

    def server(self, **message: Any) -> None:
        self._messages.put_nowait(json.dumps(message).encode())

    def lose(self, fault: Fault = GONE) -> None:
        self._messages.put_nowait(fault)

    @property
    def blocked_s(self) -> float:
        return 0.0 if self._stuck_at is None else clock().monotonic() - self._stuck_at

    def audio(self, pcm: bytes) -> bool:
        if self.dead:
            raise Broken(GONE)
        if self.fills_at is not None and len(self.heard) >= self.fills_at:
            self.fills_at, self.stuck = None, True
        if self.stuck:
            self._stuck_at = self._stuck_at or clock().monotonic()
            return False
        self.heard += pcm
        return True

    async def room(self) -> None:
        if self.stuck:
            await self._room.wait()

    def unstick(self) -> None:
        self.stuck, self._stuck_at = False, None
        self._room.set()

    async def say(self, text: str) -> None:
        self.told.append(text)

    async def seed(self, turns: Sequence[tuple[str, str]], *, first: bool) -> None:
        self.told.append((list(turns), first))

    async def answer(self, result: ToolResult) -> None:
        self.told.append(result)

    async def follow(self, take: Take) -> None:
        while not isinstance(message := await self._messages.get(), Fault):
            if take(message):
                return
        raise Broken(message)

    async def close(self) -> None:
        self.lose(Fault("closed", "1000"))

    def abort(self) -> None:
        self.unstick()
        self.lose()


class Exchange:
    """Makes connections; `refuse`: faults of the next tries; `slow`: seconds that a set-up takes."""

    def __init__(self) -> None:
        self.links: list[FakeLink] = []
        self.tries: list[float] = []
        self.refuse: list[Fault] = []
        self.slow = 0.0
        self.fills_at: int | None = None

    def dial(self, handle: str, history: bool, limit_s: float) -> AbstractAsyncContextManager[Link]:
        return self._dial(handle, history, limit_s)

    @asynccontextmanager
    async def _dial(self, handle: str, history: bool, limit_s: float) -> AsyncIterator[Link]:
        self.tries.append(clock().monotonic())
        await asyncio.sleep(min(self.slow, limit_s))
        if self.slow > limit_s:
            raise Broken(Fault("too slow", "timeout"))
        if self.refuse:
            raise Broken(self.refuse.pop(0))
        link = FakeLink(handle, history)
        link.fills_at = self.fills_at
        self.links.append(link)
        yield link


@asynccontextmanager
async def session(
    exchange: Exchange, greeting: str = "", **knobs: Any
) -> AsyncIterator[tuple[GeminiSession, list[AiEvent]]]:
    events: list[AiEvent] = []
    brief = Brief("c", "a", greeting=greeting, context={} if greeting else {"resumed": True})
    async with (
        asyncio.TaskGroup() as group,
        open_gemini(Gemini(**knobs), brief, clock(), exchange.dial) as opened,
    ):
        assert isinstance(opened, GeminiSession)

        async def follow() -> None:
            async for event in opened.events():
                events.append(event)  # noqa: PERF401 - they are looked at while it goes on

        group.create_task(follow())
        yield opened, events


async def hear(opened: GeminiSession, seconds: float, byte: int = 0) -> None:
    for _ in range(round(seconds / 0.02)):
        await opened.hear(AudioFrame(bytes([0, byte]) * 320, 16_000))
        await asyncio.sleep(0.02)


@virtual
async def test_what_is_said_before_and_between_connections_arrives_once_and_in_order() -> None:
    exchange = Exchange()
    exchange.slow = 2.0
    async with session(exchange) as (opened, _):
        assert not opened.connected
        for number in range(1, 9):
            await hear(opened, 0.5, number)
        exchange.links[0].lose()
        for number in range(9, 17):
            await hear(opened, 0.5, number)
        await hear(opened, 1.0)
        together = bytes(exchange.links[0].heard + exchange.links[1].heard)[1::2]
        assert bytes(dict.fromkeys(together)) == bytes([*range(1, 17), 0])
        assert all(together.count(number) >= 8000 for number in range(1, 17))
        assert exchange.links[0].heard[1] == 1


@virtual
async def test_a_sentence_that_was_cut_by_a_loss_is_heard_again_from_its_beginning() -> None:
    exchange = Exchange()
    async with session(exchange) as (opened, _):
        await hear(opened, 2.0)
        await hear(opened, 1.0, 20)
        exchange.links[0].lose()
        await hear(opened, 1.0, 21)
        again = bytes(exchange.links[1].heard[1::2])
        assert again.count(20) == 16_000
        assert 16_000 >= again.count(21) >= 15_000
        assert again.index(20) == pytest.approx(0.3 * 16_000, abs=400)


@virtual
async def test_what_a_dying_socket_refused_is_sent_by_the_next_one() -> None:
    exchange = Exchange()
    async with session(exchange) as (opened, _):
        await hear(opened, 0.5, 1)
        exchange.links[0].dead = True  # and its reader does not know yet
        await hear(opened, 0.5, 2)
        exchange.links[0].lose()
        await hear(opened, 1.0, 3)
        assert exchange.links[1].heard[1::2].count(2) == 8000


@virtual
async def test_kept_audio_is_bounded_and_what_is_dropped_is_counted() -> None:
    exchange = Exchange()
    exchange.slow = 4.0
    async with session(exchange, gap_audio_s=1.0) as (opened, _):
        await hear(opened, 3.0)
        assert opened._voice.tape.dropped_s == pytest.approx(3.0 + 0.8 - 0.8 - 1.0, abs=0.1)


@virtual
async def test_a_refusal_that_will_not_pass_is_an_error_at_once_and_others_are_tried_within_the_budget() -> None:
    exchange = Exchange()
    exchange.refuse = [Fault("no such model", "1008", "stop", retryable=False)]
    with pytest.raises(ProviderError, match="no such model"):
        async with open_gemini(Gemini(), Brief("c", "a"), clock(), exchange.dial):
            pass
    assert clock().monotonic() == 0.0
    exchange = Exchange()
    exchange.refuse = [Fault("busy", "503")] * 100
    async with session(exchange, setup_timeout_s=4.0) as (_, events):
        await asyncio.sleep(6.0)
        assert [type(event) for event in events] == [SessionLost]
        assert events[0].retryable  # type: ignore[union-attr]
    assert exchange.tries == pytest.approx([0.0, 0.25, 0.75, 1.75, 2.75, 3.75, 4.0])


@virtual
async def test_a_lost_connection_is_back_within_its_budget_or_the_session_is_lost() -> None:
    exchange = Exchange()
    async with session(exchange) as (opened, events):
        await asyncio.sleep(1.0)
        exchange.refuse = [Fault("busy", "503")] * 2
        exchange.links[0].lose()
        await asyncio.sleep(1.0)
        assert opened.connected
        exchange.refuse = [Fault("busy", "503")] * 100
        exchange.links[1].lose()
        await asyncio.sleep(2.4)
        assert not [event for event in events if isinstance(event, SessionLost)]
        await asyncio.sleep(0.3)
        assert [event for event in events if isinstance(event, SessionLost)]


@virtual
async def test_connections_that_die_one_after_the_other_are_given_up() -> None:
    exchange = Exchange()
    async with session(exchange) as (_, events):
        for _ in range(MOST_LOSSES):
            await asyncio.sleep(1.0)
            exchange.links[-1].lose()
        await asyncio.sleep(1.0)
        assert [event for event in events if isinstance(event, SessionLost)]


@virtual
async def test_a_handle_goes_with_the_next_connection_and_a_refused_one_is_forgotten() -> None:
    exchange = Exchange()
    async with session(exchange) as (opened, _):
        await asyncio.sleep(0.1)
        exchange.links[0].server(sessionResumptionUpdate={"newHandle": "h1", "resumable": True})
        exchange.links[0].server(
            serverContent={"outputTranscription": {"text": "We are open."}, "generationComplete": True}
        )
        exchange.links[0].server(serverContent={"turnComplete": True})
        await asyncio.sleep(0.5)
        exchange.links[0].lose()
        await asyncio.sleep(0.5)
        assert exchange.links[1].handle == "h1"
        assert exchange.links[1].told == [([("model", "We are open.")], False)]  # said after the handle
        exchange.refuse = [Fault("Session not found", "1007", "fresh")]
        exchange.links[1].lose()
        await asyncio.sleep(0.5)
        assert (exchange.links[2].handle, exchange.links[2].history) == ("", True)
        assert exchange.links[2].told == [([("model", "We are open.")], True)]
        assert opened.counters["handles_refused"] == 1


@virtual
async def test_a_socket_that_takes_no_frame_is_cut_and_the_frame_comes_again() -> None:
    exchange = Exchange()
    async with session(exchange) as (opened, _):
        await hear(opened, 0.5, 7)
        exchange.links[0].stuck = True
        await opened.hear(AudioFrame(b"\0\x08" * 320, 16_000))
        await asyncio.sleep(1.5)
        assert opened.counters["stuck_sockets"] >= 1
        await hear(opened, 0.5, 9)
        assert exchange.links[1].heard.count(8) == 320


@virtual
async def test_a_socket_that_is_behind_for_a_moment_keeps_nobody_waiting_and_loses_no_word() -> None:
    exchange = Exchange()
    async with session(exchange) as (opened, _):
        await hear(opened, 0.5, 1)
        exchange.links[0].stuck = True
        await hear(opened, 0.6, 2)
        assert exchange.links[0].heard[1::2].count(2) == 0
        exchange.links[0].unstick()
        await hear(opened, 1.0, 3)
        together = bytes(exchange.links[0].heard)[1::2]
        assert bytes(dict.fromkeys(together)) == bytes([1, 2, 3])
        assert (together.count(2), together.count(3)) == (int(0.6 * 16_000), 16_000)
        assert (opened.counters["sends_held"], opened.counters["stuck_sockets"]) == (1, 0)


@virtual
async def test_nor_does_one_that_is_behind_while_the_gap_is_made_up_for() -> None:
    exchange = Exchange()
    exchange.slow, exchange.fills_at = 2.0, 16_000
    async with session(exchange) as (opened, _):  # 0.8 s later
        for number in range(1, 4):
            await hear(opened, 0.6, number)
        assert 16_000 <= len(exchange.links[0].heard) < 20_000  # in pieces, and there it stays
        exchange.links[0].unstick()
        await hear(opened, 1.0, 4)
        together = bytes(exchange.links[0].heard)[1::2]
        assert bytes(dict.fromkeys(together)) == bytes(range(1, 5))
        assert [together.count(number) for number in range(1, 5)] == [9600, 9600, 9600, 16_000]


@virtual
async def test_without_a_greeting_of_its_own_the_agent_greets_in_the_models_words() -> None:
    exchange = Exchange()
    async with open_gemini(Gemini(), Brief("c", "a"), clock(), exchange.dial):
        await asyncio.sleep(1.0)
    assert exchange.links[0].told == ["(The call has just begun. Greet the caller now.)"]


@virtual
async def test_keys_pressed_in_one_go_are_one_message() -> None:
    exchange = Exchange()
    async with session(exchange) as (opened, _):
        for key in "12":
            await opened.press(key)
            await asyncio.sleep(0.4)
        await asyncio.sleep(1.0)
        assert exchange.links[0].told == ["(The caller pressed the keys 1 2 on the telephone.)"]


@virtual
async def test_speech_that_nobody_takes_ends_its_reply() -> None:
    exchange = Exchange()
    async with open_gemini(Gemini(), Brief("c", "a"), clock(), exchange.dial) as opened:
        assert isinstance(opened, GeminiSession)
        await asyncio.sleep(0.1)
        half = {"inlineData": {"mimeType": "audio/pcm;rate=24000", "data": "AAAA" * 2000 * 8}}
        for _ in range(130):
            exchange.links[0].server(serverContent={"modelTurn": {"parts": [half] * 2}})
        await asyncio.sleep(0.5)
        assert opened.counters["overflows"] == 1
    events = [event async for event in opened.events()]
    assert sum(event.frame.seconds for event in events if isinstance(event, ReplyAudio)) == pytest.approx(120, abs=1.1)
    assert len([event for event in events if isinstance(event, ReplyEnded)]) == 1
