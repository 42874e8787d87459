"""Which provider answers, and what is said about it."""

import asyncio

import pytest

from tests.virtual_time import clock, virtual
from trunkline.ai.echo import EchoProvider
from trunkline.ai.providers import PROVIDERS, Choice, build_provider, choose_profile, profiles_in_use
from trunkline.ai.session import AiEvent, AiSession, Brief, ReplyAudio, ReplyEnded, ReplyId, ReplyStarted
from trunkline.clock import SystemClock
from trunkline.codecs.frame import AudioFrame
from trunkline.config import Agent, Ai, Settings
from trunkline.errors import ConfigError, UsageError

LOUD, QUIET = b"\0\x10" * 320, bytes(640)


def settings(profile: str = "auto", **agents: str) -> Settings:
    named = {name: Agent(profile=wanted) for name, wanted in agents.items()}  # type: ignore[arg-type]
    return Settings(ai=Ai(profile=profile), agents=named or {"receptionist": Agent()})  # type: ignore[arg-type]


def test_auto_without_keys_is_offline() -> None:
    assert choose_profile(settings(), {}) == Choice("offline", "no provider key is set")


@pytest.mark.parametrize("name", ["GEMINI_API_KEY", "GEMINI_API_KEY_FILE"])
def test_auto_with_a_key_of_gemini_is_gemini(name: str) -> None:
    assert choose_profile(settings(), {name: "k"}) == Choice("gemini", "GEMINI_API_KEY is set")


def test_auto_with_keys_of_what_is_not_built_says_so() -> None:
    choice = choose_profile(settings(), {"DEEPGRAM_API_KEY": "k", "GROQ_API_KEY": "k"})
    assert choice.profile == "offline"
    assert choice.note.startswith("DEEPGRAM_API_KEY with GROQ_API_KEY is set, but profile 'chain'")


def test_half_a_chain_is_none() -> None:
    assert choose_profile(settings(), {"GROQ_API_KEY": "k", "DEEPGRAM_API_KEY": ""}).note == ""


def test_a_named_profile_is_taken_and_an_unbuilt_one_refused() -> None:
    assert choose_profile(settings("echo"), {"GEMINI_API_KEY": "k"}).profile == "echo"
    with pytest.raises(
        ConfigError, match=r"ai\.profile: 'chain' is not part of this release yet; there are: auto, offline"
    ):
        choose_profile(settings("chain"), {})


def test_every_agents_profile_is_brought_up_once() -> None:
    assert profiles_in_use(settings(a="echo", b="offline", c="echo", d="auto"), "offline") == ("offline", "echo")
    with pytest.raises(ConfigError, match=r"agents\.a\.profile: 'chain'"):
        profiles_in_use(settings(a="chain"), "offline")


def test_every_provider_can_be_built_without_starting_anything() -> None:
    for name in PROVIDERS:
        assert build_provider(name, settings(), SystemClock()).name == name
    with pytest.raises(ConfigError, match="'nonsense' does not exist"):
        build_provider("nonsense", settings(), SystemClock())


def test_offline_capacity_is_as_configured_or_measured() -> None:
    from trunkline.ai.business import sample_business
    from trunkline.ai.offline.provider import OfflineProvider
    from trunkline.ai.offline.recogniser import CALLS_PER_PROCESS
    from trunkline.config import Offline

    def capacity(**fields: int) -> int:
        return OfflineProvider(Offline(**fields), sample_business(), SystemClock()).capacity

    assert capacity(recognisers=3) == 3 * CALLS_PER_PROCESS
    assert capacity(recognisers=3, capacity=5) == 5


@virtual
async def test_echo_gives_the_callers_audio_back() -> None:
    async with EchoProvider(8000).open(Brief("c", "a")) as session:
        await session.hear(AudioFrame(b"\x01\x02" * 160, 8000))
        events = session.events()
        first, second = await anext(events), await anext(events)
        await events.aclose()  # type: ignore[attr-defined]
    assert second == ReplyAudio(ReplyId("e1"), AudioFrame(b"\x01\x02" * 160, 8000))
    assert (session.input_rate, session.output_rate) == (8000, 8000)
    assert first.reply == "e1"  # type: ignore[union-attr]


@virtual
async def test_echo_drops_what_nobody_takes_and_counts() -> None:
    async with EchoProvider().open(Brief("c", "a")) as session:
        for _ in range(150):
            await session.hear(AudioFrame(LOUD, 16000))
        assert session.dropped == 49  # type: ignore[attr-defined]
        with pytest.raises(UsageError):
            await session.hear(AudioFrame(bytes(640), 8000))


@virtual
async def test_an_echo_is_replies_of_a_second_and_stops_on_a_dead_line() -> None:
    told: list[AiEvent] = []
    line = (LOUD * 130 + QUIET * 200)[: 2 * 16000 * 6]
    frame = 4 * len(LOUD) + 100  # does not divide a second: the boundary is cut to the sample

    async def follow(session: AiSession) -> None:
        told.extend([event async for event in session.events()])

    async with EchoProvider().open(Brief("c", "a")) as session, asyncio.TaskGroup() as group:
        group.create_task(follow(session))
        for at in range(0, len(line), frame):
            await session.hear(AudioFrame(line[at : at + frame], 16000))
            await asyncio.sleep(0.08)
        session.close()  # type: ignore[attr-defined]
    said = [event.frame.pcm for event in told if isinstance(event, ReplyAudio)]
    lengths = {event.reply: 0 for event in told if isinstance(event, ReplyStarted)}
    for event in told:
        if isinstance(event, ReplyAudio):
            lengths[event.reply] += len(event.frame.pcm)
    assert list(lengths.values())[:-1] == [round(0.998 * 16000) * 2] * 5
    seconds = [line[at : at + 31936] for at in range(0, len(line), 32000)]  # and 2 ms are left out
    assert b"".join(said) == b"".join(seconds)[: len(b"".join(said))]
    assert 5.4 < len(b"".join(said)) / 32000 < 5.7, "three quiet seconds, and no more"
    assert sum(isinstance(event, ReplyEnded) for event in told) == 6


@virtual
async def test_silent_echo_says_nothing() -> None:
    async with EchoProvider(silent=True).open(Brief("c", "a", greeting="Hello")) as session:
        await session.hear(AudioFrame(bytes(640), 16000))
        await session.prompt("greeting")
        await session.press("1")
        events = session.events()
    assert [event async for event in events] == []
    assert clock().monotonic() == 0.0
