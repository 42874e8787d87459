"""What every `AiSession` must do. A test module gives a fixture `rig` and inherits `SessionSuite`.

    class TestMine(SessionSuite):
        @pytest.fixture
        def rig(self) -> Rig: ...

The rig says in which time it lives (virtual for scripted parts, real for real ones), how its caller speaks, what
makes it want a tool, and what it is not meant to do.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from trunkline.ai.session import (
    AiEvent,
    AiProvider,
    AiSession,
    Brief,
    CallerSaid,
    CallerStartedSpeaking,
    CallerStoppedSpeaking,
    ReplyAudio,
    ReplyEnded,
    ReplyId,
    ReplyStarted,
    ReplyText,
    StageReached,
    ToolCall,
)
from trunkline.ai.tools import ToolResult
from trunkline.codecs.frame import AudioFrame
from trunkline.errors import UsageError

_OF_A_REPLY = (ReplyStarted, ReplyText, ReplyAudio, ReplyEnded)
GREETING = "Good morning to you. This is a test of a session. Here it ends."


@dataclass(frozen=True)
class Rig:
    """One kind of session. `speak`: feeds a caller's turn and the silence behind it, in real time of its loop."""

    run: Callable[[Coroutine[Any, Any, None]], None]
    provider: Callable[[], AbstractAsyncContextManager[AiProvider]]
    brief: Brief
    speak: Callable[[AiSession], Awaitable[None]]
    want_tool: Callable[[AiSession], Awaitable[None]] | None = None
    talks: bool = True  # has a voice: prompts become audio
    judges: bool = True  # hears turns


@dataclass
class Seen:
    """A session that is followed."""

    session: AiSession
    events: list[AiEvent] = field(default_factory=list)

    async def follow(self) -> None:
        async with aclosing(self.session.events()) as events:  # type: ignore[type-var]
            async for event in events:
                self.events.append(event)

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    async def until(self, kind: type, limit_s: float = 20.0) -> Any:
        """The first event of this kind; the line is silent meanwhile."""
        rate = self.session.input_rate
        for _ in range(round(limit_s / 0.02)):
            if found := self.of(kind):
                return found[0]
            await self.session.hear(AudioFrame(bytes(rate // 50 * 2), rate))
            await asyncio.sleep(0.02)
        raise AssertionError(f"no {kind.__name__} within {limit_s} s; there were {self.events}")

    async def until_said(self, text: str, limit_s: float = 30.0) -> None:
        """Until this was said and no reply is open."""
        for _ in range(round(limit_s / 0.1)):
            said = text in " ".join(event.text for event in self.of(ReplyText))
            if said and len(self.of(ReplyEnded)) == len(self.of(ReplyStarted)):
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"{text!r} was not said; there were {self.events}")


@asynccontextmanager
async def followed(provider: AiProvider, brief: Brief) -> AsyncIterator[Seen]:
    async with asyncio.TaskGroup() as group, provider.open(brief) as session:
        seen = Seen(session)
        group.create_task(seen.follow())
        yield seen


class SessionSuite:
    """Every test names what it holds."""

    @pytest.fixture
    def rig(self) -> Rig:
        raise NotImplementedError

    def test_the_greeting_comes_first(self, rig: Rig) -> None:
        if not rig.talks:
            pytest.skip("has no voice")

        async def check() -> None:
            async with rig.provider() as provider, followed(provider, _greeting(rig)) as seen:
                await seen.until(ReplyEnded)
            first = seen.of(*_OF_A_REPLY)[0]
            assert isinstance(first, ReplyStarted)
            assert first.turn == 0
            assert " ".join(event.text for event in seen.of(ReplyText)) == GREETING

        rig.run(check())

    def test_replies_are_well_formed(self, rig: Rig) -> None:
        async def check() -> None:
            async with rig.provider() as provider, followed(provider, rig.brief) as seen:
                await rig.speak(seen.session)
                await seen.until(ReplyStarted)
                await seen.session.prompt("say", "One more thing.")
                if rig.talks:
                    await seen.until_said("One more thing.")
            _well_formed(seen.events, seen.session.output_rate)
            ids = [event.reply for event in seen.of(ReplyStarted)]
            assert len(ids) == len(set(ids)) >= 2
            if rig.talks:
                assert [event.reply for event in seen.of(ReplyEnded)] == ids, "each ended once, in order"

        rig.run(check())

    def test_nothing_of_a_reply_comes_after_its_interruption(self, rig: Rig) -> None:
        async def check() -> None:
            async with rig.provider() as provider, followed(provider, _greeting(rig)) as seen:
                await rig.speak(seen.session)
                audio = await seen.until(ReplyAudio)
                await seen.session.interrupt(audio.reply, 0.1)
                before = len(seen.events)
                await seen.session.interrupt(audio.reply, 0.1)
                for _ in range(50):
                    await seen.session.hear(_silence(seen.session))
                    await asyncio.sleep(0.02)
            after = [event for event in seen.events[before:] if isinstance(event, _OF_A_REPLY)]
            assert [event for event in after if event.reply == audio.reply] == []

        rig.run(check())

    def test_a_turn_is_heard_and_answered(self, rig: Rig) -> None:
        if not rig.judges:
            pytest.skip("is no judge of turns")

        async def check() -> None:
            async with rig.provider() as provider, followed(provider, rig.brief) as seen:
                await rig.speak(seen.session)
                await seen.until(ReplyAudio)
            turn = [event for event in seen.events if isinstance(event, CallerStartedSpeaking | CallerStoppedSpeaking)]
            assert [type(event) for event in turn[:2]] == [CallerStartedSpeaking, CallerStoppedSpeaking]
            assert turn[0].turn == turn[1].turn == 1
            assert 0.0 <= turn[0].at_s < turn[1].at_s
            assert [event.turn for event in seen.of(CallerSaid) if event.final] == [1]
            assert next(event for event in seen.of(ReplyStarted) if event.turn == 1)
            moments = [event for event in seen.of(StageReached) if event.turn == 1]
            assert [event.at for event in moments] == sorted(event.at for event in moments)

        rig.run(check())

    def test_a_tool_makes_the_round(self, rig: Rig) -> None:
        want = rig.want_tool
        if want is None:
            pytest.skip("uses no tools")

        async def check() -> None:
            async with rig.provider() as provider, followed(provider, rig.brief) as seen:
                await want(seen.session)
                call = await seen.until(ToolCall)
                at = len(seen.events)
                assert call.name in {tool.name for tool in rig.brief.tools}
                await seen.session.resolve(ToolResult(call.id, call.name, error="There is none."))
                await seen.session.resolve(ToolResult(call.id, call.name, error="There is none."))
                for _ in range(200):
                    if any(isinstance(event, ReplyText) for event in seen.events[at:]):
                        break
                    await asyncio.sleep(0.02)
                assert any(isinstance(event, ReplyText) for event in seen.events[at:]), "the answer is spoken of"
            assert len(seen.of(ToolCall)) == 1

        rig.run(check())

    def test_strange_ids_are_harmless(self, rig: Rig) -> None:
        async def check() -> None:
            async with rig.provider() as provider, followed(provider, rig.brief) as seen:
                await seen.session.interrupt(ReplyId("nobody's"), 1.0)
                await seen.session.heard(ReplyId("nobody's"))
                await seen.session.resolve(ToolResult("nobody's", "x"))
                await rig.speak(seen.session)
                await seen.until(ReplyStarted)

        rig.run(check())

    def test_another_rate_is_refused(self, rig: Rig) -> None:
        async def check() -> None:
            async with rig.provider() as provider, provider.open(rig.brief) as session:
                with pytest.raises(UsageError):
                    await session.hear(AudioFrame(bytes(44), 11_025))

        rig.run(check())

    def test_closing_in_the_middle_of_a_reply_leaves_nothing(self, rig: Rig) -> None:
        async def check() -> None:
            async with rig.provider() as provider:
                before = asyncio.all_tasks()
                async with followed(provider, _greeting(rig)) as seen:
                    await rig.speak(seen.session)
                    await seen.until(ReplyAudio)
                await asyncio.sleep(0)
                assert {task for task in asyncio.all_tasks() - before if not task.done()} == set()

        rig.run(check())

    def test_after_the_end_nothing_happens_and_nothing_breaks(self, rig: Rig) -> None:
        async def check() -> None:
            async with rig.provider() as provider:
                async with followed(provider, rig.brief) as seen:
                    await rig.speak(seen.session)
                count = len(seen.events)
                await seen.session.hear(_silence(seen.session))
                await seen.session.press("1")
                await seen.session.prompt("say", "Too late.")
                await seen.session.interrupt(ReplyId("r1"), 0.0)
                await seen.session.resolve(ToolResult("x", "y"))
                await asyncio.sleep(0.2)
                assert len(seen.events) == count

        rig.run(check())

    def test_several_sessions_do_not_hear_each_other(self, rig: Rig) -> None:
        async def check() -> None:
            async with (
                rig.provider() as provider,
                followed(provider, rig.brief) as one,
                followed(provider, rig.brief) as two,
            ):
                await rig.speak(one.session)
                await one.until(ReplyStarted)
                assert two.of(CallerStartedSpeaking, CallerSaid) == []

        rig.run(check())


def _greeting(rig: Rig) -> Brief:
    return Brief(rig.brief.call_id, rig.brief.agent, greeting=GREETING, tools=rig.brief.tools)


def _silence(session: AiSession) -> AudioFrame:
    return AudioFrame(bytes(session.input_rate // 50 * 2), session.input_rate)


def _well_formed(events: list[AiEvent], rate: int) -> None:
    """Nothing of a reply before its start or after its end, and audio only at the rate that was promised."""
    open_: set[ReplyId] = set()
    over: set[ReplyId] = set()
    for event in events:
        match event:
            case ReplyStarted(reply=reply):
                assert reply not in open_ | over
                open_.add(reply)
            case ReplyText(reply=reply) | ReplyAudio(reply=reply):
                assert reply in open_
                assert not isinstance(event, ReplyAudio) or event.frame.rate == rate
            case ReplyEnded(reply=reply):
                assert reply in open_
                open_.remove(reply)
                over.add(reply)
            case _:
                pass
