"""The pool of recogniser processes with real speech in it: texts, doubt, death, bounds, nothing left behind."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from tests.unit.ai.telephone import pieces, recording, says, silence
from trunkline.ai.business import sample_business
from trunkline.ai.cascade.protocols import Transcript
from trunkline.ai.offline import recogniser as module
from trunkline.ai.offline.intents import Reader
from trunkline.ai.offline.language import language_files
from trunkline.ai.offline.recogniser import OfflineRecogniser, OfflineStream
from trunkline.ai.offline.recogniser_process import Kind, message
from trunkline.errors import ConfigError, ProviderError, UsageError

pytestmark = pytest.mark.wire

# (grammar, said, intent): sentences of the recogniser's own language; how it fares beyond it is in docs/speech.md
SAID = (
    ("open", "hi what time does the restaurant close on friday", "hours"),
    ("open", "could you tell me where you're located", "location"),
    ("open", "what's the price of the green salad", "price"),
    ("open", "could i get two pepperoni pizzas", "order"),
    ("open", "can you tell me if my order is ready", "order_status"),
    ("open", "can you put me through to someone", "human"),
    ("open", "do you have a table for four tonight", "reservation"),
    ("yes_no", "no thanks that's everything", "no"),
    ("yes_no", "yeah that's fine", "yes"),
    ("number", "just two for now", "quantity"),
)
OFF_TOPIC = (
    "can you explain quantum mechanics to me",
    "there are seven continents in the world",
    "my car broke down on the motorway this morning",
    "we should go hiking in the mountains next summer",
    "please remind me to water the plants",
)


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("language")
    language_files(sample_business(), folder)
    return folder


@pytest.fixture
async def recogniser(cache_dir: Path) -> AsyncIterator[OfflineRecogniser]:
    async with OfflineRecogniser(sample_business(), processes=1, capacity=3, cache_dir=cache_dir) as pool:
        yield pool


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    me = psutil.Process()
    before = {child.pid for child in me.children()}
    descriptors = me.num_fds()
    yield
    assert {child.pid for child in me.children()} <= before, "a process was left behind"
    assert me.num_fds() <= descriptors + 1


async def hear(stream: OfflineStream, pcm: bytes, grammar: str = "open") -> Transcript:
    await stream.expect(grammar)
    await stream.start()
    for piece in pieces(silence(0.3) + pcm + silence(0.4)):
        await stream.feed(piece)
    return await stream.finish()


async def test_its_language_in_two_voices_is_understood_and_other_talk_is_refused(
    recogniser: OfflineRecogniser,
) -> None:
    reader = Reader(sample_business())
    right, refused = [], []
    for voice in ("rms", "kal16"):
        async with recogniser.open("en") as stream:
            for grammar, text, intent in SAID:
                heard = await hear(stream, says(text, voice), grammar)
                right.append((reader.read(heard.text).intent == intent and heard.accepted, text, heard.text))
            refused += [not (await hear(stream, says(text, voice))).accepted for text in OFF_TOPIC]
    assert sum(ok for ok, _, _ in right) >= 0.9 * len(right), [entry for entry in right if not entry[0]]
    assert sum(refused) >= 0.8 * len(refused)
    assert recogniser.stats.utterances == 30
    assert recogniser.stats.rejected >= 8


async def test_real_words_of_a_real_speaker(recogniser: OfflineRecogniser) -> None:
    async with recogniser.open("en-US") as stream:
        heard = [(await hear(stream, recording(name))).text for name in ("hours", "location", "goodbye", "vm-goodbye")]
        right = [text == word for text, word in zip(heard, ("hours", "location", "goodbye", "goodbye"), strict=True)]
        assert sum(right) >= 3, heard
        assert not (await hear(stream, recording("tt-weasels"))).accepted


async def test_calls_in_one_process_do_not_mix(recogniser: OfflineRecogniser) -> None:
    texts = ("are you open tomorrow", "two lemonades please", "what's on the menu")
    async with recogniser.open("en") as a, recogniser.open("en") as b, recogniser.open("en") as c:
        streams = dict(zip((a, b, c), texts, strict=True))
        for stream in streams:
            await stream.start()
        clips = [pieces(silence(0.3) + says(text) + silence(0.3)) for text in texts]
        for index in range(max(map(len, clips))):
            for stream, clip in zip(streams, clips, strict=True):
                await stream.feed(clip[index] if index < len(clip) else silence(0.02))
        assert [(await stream.finish()).text for stream in streams] == list(texts)


async def test_a_partial_text_grows_while_the_caller_speaks(recogniser: OfflineRecogniser) -> None:
    async with recogniser.open("en") as stream:
        await stream.start()
        seen = set()
        for piece in pieces(silence(0.3) + says("could i get two pepperoni pizzas please") + silence(0.3)):
            await stream.feed(piece)
            await asyncio.sleep(0.003)
            seen.add(stream.partial())
        final = await stream.finish()
        assert len(seen) > 3
        assert any(text and final.text.startswith(text) for text in seen)
        assert stream.partial() == ""


async def test_an_abandoned_utterance_leaves_nothing_in_the_next(recogniser: OfflineRecogniser) -> None:
    async with recogniser.open("en") as stream:
        await stream.start()
        await stream.feed(says("cancel my order"))
        await stream.abandon()
        await stream.abandon()
        assert (await hear(stream, says("are you open tomorrow"))).text == "are you open tomorrow"


async def test_silence_is_no_text(recogniser: OfflineRecogniser) -> None:
    async with recogniser.open("en") as stream:
        heard = await hear(stream, silence(1.0))
        assert not heard.accepted
        await stream.start()
        assert await stream.finish() == Transcript("", 0.0, accepted=False)


async def test_the_loop_runs_while_a_text_is_awaited(recogniser: OfflineRecogniser) -> None:
    async with recogniser.open("en") as stream:
        await stream.start()
        await stream.feed(says("i'd like two large margherita pizzas and a lemonade please"))
        kill_children(signal.SIGSTOP)  # decoding is theirs: while they stand still, no text can come …
        try:
            finishing = asyncio.ensure_future(stream.finish())
            for _ in range(3):
                await asyncio.sleep(0.01)  # … and we go on all the same
            assert not finishing.done()
        finally:
            kill_children(signal.SIGCONT)
        await finishing


async def test_a_dead_process_costs_its_utterance_and_comes_back(recogniser: OfflineRecogniser) -> None:
    async with recogniser.open("en") as stream:
        await stream.start()
        await stream.feed(says("cancel my order"))
        kill_children(signal.SIGKILL)
        while recogniser.stats.lost == 0:  # noqa: ASYNC110 - what is waited for is a count of the pool's own
            await asyncio.sleep(0.01)
        await stream.feed(silence(1.0))
        with pytest.raises(ProviderError) as error:
            await stream.finish()
        assert (error.value.retryable, error.value.code) == (True, "lost")
        assert (await hear(stream, says("are you open tomorrow"))).text == "are you open tomorrow"
    assert (recogniser.stats.restarts, recogniser.stats.lost) == (1, 1)


async def test_death_during_finish_is_told_at_once(recogniser: OfflineRecogniser) -> None:
    async with recogniser.open("en") as stream:
        await stream.start()
        kill_children(signal.SIGSTOP)
        await stream.feed(says("cancel my order"))
        finishing = asyncio.ensure_future(stream.finish())
        await asyncio.sleep(0.05)
        kill_children(signal.SIGKILL)
        with pytest.raises(ProviderError, match="died"):
            await finishing


async def test_a_stuck_process_drops_audio_counts_it_and_is_given_up(
    recogniser: OfflineRecogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FINISH_S", 0.05)
    async with recogniser.open("en") as stream:
        await stream.start()
        kill_children(signal.SIGSTOP)
        try:
            for _ in range(500):
                await stream.feed(silence(0.02))
            assert stream.dropped / 32000 == pytest.approx(7.0, abs=0.2)
            assert recogniser.stats.dropped_s == pytest.approx(7.0, abs=0.2)
            with pytest.raises(ProviderError) as error:
                await stream.finish()
            assert (error.value.retryable, error.value.code) == (True, "timeout")
        finally:
            kill_children(signal.SIGCONT)
        monkeypatch.undo()
        heard = await hear(stream, says("are you open tomorrow"))
        assert heard.text == "are you open tomorrow", "the late answer to the utterance before is ignored"


async def test_places_are_limited_and_given_back(recogniser: OfflineRecogniser) -> None:
    assert recogniser.capacity == 3
    async with recogniser.open("en"), recogniser.open("en"), recogniser.open("en"):
        assert recogniser.calls == 3
        with pytest.raises(ProviderError) as error:
            async with recogniser.open("en"):
                pass
        assert (error.value.retryable, error.value.code) == (True, "capacity")
    assert recogniser.calls == 0
    async with recogniser.open("en"):
        pass


async def test_other_languages_are_refused(recogniser: OfflineRecogniser) -> None:
    with pytest.raises(ProviderError, match="English only"):
        async with recogniser.open("hi"):
            pass


async def test_misuse_is_named(recogniser: OfflineRecogniser) -> None:
    async with recogniser.open("en") as stream:
        with pytest.raises(UsageError, match="feed before start"):
            await stream.feed(b"")
        with pytest.raises(UsageError, match="finish before start"):
            await stream.finish()
    with pytest.raises(ConfigError, match="capacity"):
        OfflineRecogniser(sample_business(), capacity=0)


async def test_closing_ends_a_process_that_does_not_listen(cache_dir: Path) -> None:
    async with OfflineRecogniser(sample_business(), processes=1, cache_dir=cache_dir):
        kill_children(signal.SIGSTOP)
    assert not psutil.Process().children()


def test_a_process_ends_with_its_parent(cache_dir: Path) -> None:
    folder = next(cache_dir.iterdir())
    child = subprocess.Popen(
        [sys.executable, "-m", "trunkline.ai.offline.recogniser_process", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.read(len(message(Kind.READY))) == message(Kind.READY)
        child.send_signal(signal.SIGINT)
        child.stdin.close()
        assert child.wait(5) == 0


def kill_children(number: signal.Signals) -> None:
    for child in psutil.Process().children():
        os.kill(child.pid, number)
