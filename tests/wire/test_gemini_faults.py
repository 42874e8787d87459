"""Gemini Live goes wrong in every way of the book, over TLS, through the real SDK, in real time: the caller's words
reach the model once each (by alignment with the recording), nobody is greeted twice, and what cannot be had is said."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from trunkline.ai.gemini.provider import GeminiProvider
from trunkline.ai.gemini.session import GeminiSession
from trunkline.ai.session import (
    AiEvent,
    Brief,
    CallerSaid,
    CallerStartedSpeaking,
    ReplyAudio,
    ReplyEnded,
    ReplyStarted,
    ReplyText,
    SessionLost,
    ToolCall,
)
from trunkline.ai.tools import Tool, ToolResult
from trunkline.clock import SystemClock
from trunkline.codecs.frame import AudioFrame
from trunkline.codecs.g711 import PCMU
from trunkline.codecs.resample import Resampler
from trunkline.config import Gemini
from trunkline.errors import ProviderError
from trunkline_sim.gemini import GeminiSim
from trunkline_sim.gemini_scenario import DEADLINE, PRESETS, QUOTA, Fault, Rule, Scenario, ToolUse
from trunkline_sim.voices import Voices

pytestmark = pytest.mark.wire
HOURS, ORDER = "what are your opening hours", "i would like to order a large pizza"
GREETING = "Good morning, how can I help you?"
RULES = (
    Rule(match="line was interrupted", say="as I was saying, until nine in the evening."),
    Rule(match="opening hours", say="We are open from ten in the morning until nine in the evening, every day."),
    Rule(match="The tool", say="Your pizza is on its way."),
    Rule(match="large pizza", tools=(ToolUse(name="order", args={"size": "large"}),), then="Done: {result}."),
    Rule(match="Good morning", say=GREETING),
)


async def _nothing(_: object) -> None: ...


TOOL = Tool("order", "Order a pizza.", {"type": "object", "properties": {"size": {"type": "string"}}}, _nothing)


@dataclass
class Call:
    """A caller on a line that never stops, and what the session says about it."""

    session: GeminiSession
    sim: GeminiSim
    clips: dict[str, bytes]
    events: list[tuple[float, AiEvent]] = field(default_factory=list)
    line: list[bytes] = field(default_factory=list)  # 20 ms of s16le at 16 kHz each, still to be spoken

    async def follow(self) -> None:
        async for event in self.session.events():
            self.events.append((time.monotonic(), event))
            if isinstance(event, CallerStartedSpeaking):
                for reply in self.of(ReplyStarted):
                    await self.session.interrupt(reply.reply, 0.5)

    async def speak(self) -> None:
        due = time.monotonic()
        while True:
            pcm = self.line.pop(0) if self.line else bytes(640)
            await self.session.hear(AudioFrame(pcm, 16_000))
            due += 0.02
            await asyncio.sleep(max(0.0, due - time.monotonic()))

    def says(self, text: str) -> None:
        wide = Resampler(8000, 16_000).push(PCMU.decoder().decode(self.clips[text]))
        self.line.extend(wide[at : at + 640].ljust(640, b"\0") for at in range(0, len(wide), 640))

    def of(self, *kinds: type) -> list[Any]:
        return [event for _, event in self.events if isinstance(event, kinds)]

    @property
    def text(self) -> str:
        return " ".join(event.text for event in self.of(ReplyText))

    async def until(self, true: Any, within_s: float = 12.0) -> None:
        try:
            await self.sim.until(true, within_s)
        except TimeoutError:
            told = [event for event in self.of(object) if not isinstance(event, ReplyAudio)]
            logs = [(log.number, log.kinds()[-12:], log.heard, dict(log.violations)) for log in self.sim.sessions]
            raise AssertionError(f"{told}\n{logs}\n{self.session.counters}") from None

    async def replied(self, words: str) -> None:
        await self.until(lambda: words in self.text)

    @property
    def heard(self) -> list[str]:
        """What reached the model as it was said, in order, over all connections."""
        return [text for log in self.sim.sessions for text in log.heard]

    def in_order(self) -> None:
        """Replies are whole and named once; nobody was greeted twice; we broke no rule; one connection at a time."""
        started = [event.reply for event in self.of(ReplyStarted)]
        assert len(started) == len(set(started))
        assert self.text.count("Good morning") <= 1
        broken = [dict(log.violations) for log in self.sim.sessions if log.setup and log.of("setupComplete")]
        assert [rules for rules in broken if rules] == []


@asynccontextmanager
async def calling(scenario: Scenario, greeting: str = GREETING, **knobs: Any) -> AsyncIterator[Call]:
    clips = {text: Voices().say(text) for text in (HOURS, ORDER)}
    failure: ProviderError | None = None
    async with GeminiSim(clips, scenario) as sim:
        settings = Gemini(base_url=sim.url, ca_file=str(sim.ca_file), **knobs)
        provider = GeminiProvider(settings, {"GOOGLE_API_KEY": "any"}, SystemClock())
        await provider.start()
        brief = Brief("c", "a", greeting=greeting, tools=(TOOL,), context={} if greeting else {"resumed": True})
        try:
            async with asyncio.TaskGroup() as group, provider.open(brief) as session:
                assert isinstance(session, GeminiSession)
                call = Call(session, sim, clips)
                group.create_task(call.follow())
                speaker = group.create_task(call.speak())
                try:
                    yield call
                finally:
                    speaker.cancel()
        except* ProviderError as wrapped:
            failure = wrapped.exceptions[0]  # type: ignore[assignment]
        finally:
            await provider.close()
    if failure is not None:
        raise failure


def scenario(*faults: Fault, **fields: Any) -> Scenario:
    return Scenario(rules=RULES, faults=faults, char_s=0.03, style="3.8", **fields)


async def greeted(call: Call) -> None:
    await call.until(lambda: call.of(ReplyEnded))
    assert call.text == GREETING
    await asyncio.sleep(1.2)


async def test_a_goaway_is_left_at_a_quiet_point_and_nobody_notices() -> None:
    async with calling(scenario(goaway_at_s=2.5, goaway_left_s=8.0)) as call:
        await greeted(call)
        call.says(HOURS)
        await call.replied("every day.")
        await call.until(lambda: len(call.sim.sessions) > 1)
        call.says(ORDER)
        await call.until(lambda: call.of(ToolCall))
        wanted = call.of(ToolCall)[0]
        await call.session.resolve(ToolResult(wanted.id, wanted.name, "ordered"))
        await call.replied("Done: ordered.")
        assert call.heard == [HOURS, ORDER]
        assert call.sim.sessions[1].setup["sessionResumption"]["handle"]
        assert call.sim.sessions[0].close_code == 1000
        assert call.session.counters["hand_overs"] == len(call.sim.sessions) - 1
        call.in_order()


async def test_a_silent_server_is_left_by_our_own_timer_and_words_of_the_gap_arrive() -> None:
    async with calling(scenario(Fault(kind="goaway", at_s=2.0, seconds=2.0, silent=True))) as call:
        await greeted(call)
        call.says(HOURS)  # into the silence
        await call.replied("every day.")
        assert call.heard == [HOURS]
        call.in_order()


async def test_a_reset_in_the_callers_sentence_loses_no_word_of_it() -> None:
    async with calling(scenario(Fault(kind="rst", caller_ms=900))) as call:
        await greeted(call)
        call.says(HOURS)
        await call.replied("every day.")
        assert call.heard == [HOURS]
        assert len(call.sim.sessions) == 2
        assert [event.turn for event in call.of(CallerStartedSpeaking)] == [1]
        finals = [event.text for event in call.of(CallerSaid) if event.final]
        assert all(text in HOURS for text in finals)
        call.in_order()


@pytest.mark.parametrize(
    "fault", [{"kind": "rst"}, {"kind": "close", "reason": DEADLINE}, {"kind": "close", "code": 1000, "reason": ""}]
)
async def test_a_connection_lost_in_a_reply_goes_on_with_it(fault: dict[str, Any]) -> None:
    async with calling(scenario(Fault(turn=2, after_ms=900, **fault))) as call:
        await greeted(call)
        call.says(HOURS)
        await call.replied("as I was saying")
        first, second = call.sim.sessions
        assert call.heard == [HOURS]
        asked = second.of("text")[0].body
        assert "We are open" in asked
        assert HOURS in asked
        lost = max(event.at_s for event in first.events)
        back = second.of("setupComplete")[0].at_s
        assert back - lost < 1.0
        call.in_order()


async def test_a_refused_handle_begins_afresh_with_the_past_and_without_a_greeting() -> None:
    async with calling(scenario(Fault(kind="rst", at_s=5.0), resume="refused")) as call:
        await greeted(call)
        call.says(HOURS)
        await call.replied("every day.")
        await call.until(lambda: len(call.sim.sessions) == 3)
        await call.until(lambda: call.session.connected)
        call.says(ORDER)
        await call.until(lambda: call.of(ToolCall))
        told = call.sim.sessions[2].of("clientContent")[0].body
        assert told["complete"]
        assert [role for role, _ in told["turns"]][-2:] == ["user", "model"]
        assert "opening hours" in str(told["turns"])
        assert call.heard == [HOURS, ORDER]
        assert call.session.counters["handles_refused"] == 1
        call.in_order()


async def test_a_poisoned_resumption_is_nudged_then_replaced() -> None:
    async with calling(scenario(Fault(kind="rst", at_s=3.5), resume="poisoned"), stall_s=1.5) as call:
        await greeted(call)
        await call.until(lambda: len(call.sim.sessions) == 2 and call.session.connected)
        call.says(HOURS)
        await call.replied("every day.")
        assert call.session.counters["nudges"] == 1
        assert not call.sim.sessions[2].setup.get("sessionResumption", {}).get("handle")
        assert call.heard == [HOURS, HOURS]  # once on the dead session, once on the one that answers
        call.in_order()


async def test_a_half_open_connection_is_found_out() -> None:
    async with calling(scenario(Fault(kind="half_open", at_s=3.0)), stall_s=1.5) as call:
        await greeted(call)
        await asyncio.sleep(1.0)
        call.says(HOURS)
        await call.replied("every day.")
        assert call.heard == [HOURS]
        call.in_order()


async def test_a_result_that_comes_on_another_connection_is_told_by_name() -> None:
    async with calling(scenario(Fault(kind="rst", at_s=9.0))) as call:
        await greeted(call)
        call.says(ORDER)
        await call.until(lambda: call.of(ToolCall))
        wanted = call.of(ToolCall)[0]
        await call.sim.do(1, Fault(kind="rst", at_s=0))
        await call.until(lambda: len(call.sim.sessions) == 2 and call.session.connected)
        await call.session.resolve(ToolResult(wanted.id, wanted.name, "ordered"))
        await call.replied("Your pizza is on its way.")
        said = call.sim.sessions[1].of("text")[0].body
        assert "order" in said
        assert "ordered" in said
        call.in_order()


async def test_odd_messages_are_survived_and_counted() -> None:
    async with calling(scenario(*PRESETS["odd_messages"].faults)) as call:
        await greeted(call)
        call.says(HOURS)
        await call.replied("every day.")
        assert len(call.sim.sessions) == 1
        assert call.session.counters["odd_messages"] >= 5
        call.in_order()


@pytest.mark.parametrize(
    "fields",
    [
        {"odd_chunks": True, "rate": 16_000},
        {"no_turn_complete": True},
        {"dup_turn_complete": True, "late_audio": True},
        {"voice_activity": True},
    ],
)
async def test_noise_of_the_protocol_changes_nothing(fields: dict[str, Any]) -> None:
    async with calling(scenario(**fields)) as call:
        await greeted(call)
        call.says(HOURS)
        await call.replied("every day.")
        await call.until(lambda: len(call.of(ReplyEnded)) == 2)
        replies = [event.reply for event in call.of(ReplyStarted)]
        audio = [event.frame for event in call.of(ReplyAudio) if event.reply == replies[1]]
        assert {frame.rate for frame in audio} == {24_000}
        expected = 0.03 * len("We are open from ten in the morning until nine in the evening, every day.")
        assert sum(frame.seconds for frame in audio) == pytest.approx(expected, abs=0.15)
        for before, after in pairwise(audio):
            assert after.start == before.start + before.samples
        assert len(call.sim.sessions) == 1
        call.in_order()


async def test_a_phantom_interruption_is_harmless() -> None:
    async with calling(scenario(Fault(kind="phantom_interrupted", at_s=4.0))) as call:
        await greeted(call)
        await asyncio.sleep(2.0)
        assert call.of(CallerStartedSpeaking) == []
        assert call.session.counters["phantom_interrupts"] == 1


async def test_words_said_while_a_slow_set_up_lasts_arrive_and_the_greeting_is_first() -> None:
    async with calling(scenario(setup_delay_s=3.0), greeting="") as call:
        call.says(HOURS)
        await call.replied("every day.")
        assert call.heard == [HOURS]
        call.in_order()


async def test_a_door_that_opens_at_the_third_knock_is_no_loss() -> None:
    async with calling(scenario(http_status=503, refuse_first=2)) as call:
        await greeted(call)
        assert call.sim.refused[503] == 2
        assert call.of(SessionLost) == []


@pytest.mark.parametrize(
    ("fields", "retryable"),
    [
        ({"http_status": 401}, False),
        ({"faults": (Fault(kind="close", code=1008, reason="models/x is not found", at_s=-1),)}, False),
        ({"faults": (Fault(kind="close", code=1011, reason=QUOTA, at_s=-1),)}, False),
        ({"keys": ("another",)}, False),
    ],
)
async def test_what_cannot_be_had_is_refused_at_once(fields: dict[str, Any], retryable: bool) -> None:
    began = time.monotonic()
    with pytest.raises(ProviderError) as raised:
        async with calling(Scenario(**fields)):
            pass
    assert raised.value.retryable is retryable
    assert time.monotonic() - began < 3.0


@pytest.mark.parametrize("fields", [{"no_setup_ack": True}, {"http_status": 503}])
async def test_what_does_not_come_is_lost_within_its_budget(fields: dict[str, Any]) -> None:
    async with calling(Scenario(**fields), setup_timeout_s=2.0) as call:
        began = time.monotonic()
        await call.until(lambda: call.of(SessionLost))
        assert call.of(SessionLost)[0].retryable
        assert time.monotonic() - began < 2.5


async def test_a_quota_that_ends_in_mid_call_is_no_matter_of_trying_again() -> None:
    fault = Fault(kind="close", reason=QUOTA, at_s=2.5, connection=0)
    async with calling(scenario(fault)) as call:
        await call.until(lambda: call.of(SessionLost))
        assert not call.of(SessionLost)[0].retryable
        assert len(call.sim.sessions) == 1
