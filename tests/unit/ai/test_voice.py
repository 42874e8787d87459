"""The built-in voice: real synthesis, levels, cache, clear errors."""

import asyncio
import ctypes

import numpy as np
import pytest

from trunkline.ai.offline import voice as voice_module
from trunkline.ai.offline.voice import RATE, VOICES, ClipCache, OfflineVoice, pronounce, synthesise
from trunkline.errors import ConfigError

try:
    synthesise("hi", "kal16")
except ConfigError as missing:  # pragma: no cover
    pytest.skip(str(missing), allow_module_level=True)


@pytest.mark.parametrize("name", VOICES)
def test_every_voice_speaks_levelled_and_at_once(name: str) -> None:
    pcm, rate = synthesise("Good evening, Bella Napoli.", name)
    samples = np.frombuffer(pcm, "<i2").astype(np.float64)
    assert rate == (8000 if name == "kal" else RATE)
    assert 0.8 < samples.size / rate < 3.0
    assert np.abs(samples).max() <= 10 ** (-3 / 20) * 32768 + 1
    voiced = samples[np.abs(samples) > 0.02 * np.abs(samples).max()]
    assert -24 < 20 * np.log10(np.sqrt(np.mean(voiced**2)) / 32768) < -19
    assert np.argmax(np.abs(samples) > 300) < 0.1 * rate, "no silence in front"


async def test_frames_are_20_ms_and_in_order() -> None:
    with OfflineVoice() as voice:
        frames = [frame async for frame in voice.speak("Your order is O R D 12.")]
    assert {frame.samples for frame in frames} == {320}
    assert {frame.rate for frame in frames} == {voice.rate}
    assert [frame.start for frame in frames] == [320 * i for i in range(len(frames))]


async def test_a_clause_is_made_once() -> None:
    with OfflineVoice() as voice:
        first = await voice.clip("It is $4.50.")
        assert await voice.clip("It is $4.50.") is first
        assert await voice.clip("It is four dollars and fifty cents.") is first, "the key is what is said"
        assert await voice.clip("It is $4.50.", voice="kal16") != first
        assert (voice.cache.hits, voice.cache.misses) == (2, 2)


async def test_nothing_to_say_is_no_frame() -> None:
    with OfflineVoice() as voice:
        assert [frame async for frame in voice.speak(" 😀 ")] == []


async def test_the_event_loop_runs_while_speech_is_made() -> None:
    with OfflineVoice() as voice:
        making = asyncio.ensure_future(voice.clip("This is a rather long sentence, so that it takes a while. " * 3))
        ticks = 0
        while not making.done():
            await asyncio.sleep(0)
            ticks += 1
        assert ticks > 20


async def test_voices_in_parallel_do_not_mix() -> None:
    with OfflineVoice(threads=4) as voice:
        texts = [f"Sentence number {i}, said at once with others." for i in range(8)]
        clips = await asyncio.gather(*(voice.clip(text, voice="kal16") for text in texts))
    for text, clip in zip(texts, clips, strict=True):
        alone = synthesise(voice_module.speakable(text), "kal16")[0]
        assert abs(len(alone) - len(clip)) <= 640


def test_unknown_voices_are_named() -> None:
    with pytest.raises(ConfigError, match=r"voice: 'nobody'.*rms"), OfflineVoice("nobody"):
        pass
    with pytest.raises(ConfigError, match="8 kHz"), OfflineVoice("kal"):
        pass


def test_a_missing_library_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str, mode: int = 0) -> ctypes.CDLL:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", gone)
    with pytest.raises(ConfigError, match="apt-get install libflite1"):
        voice_module._Flite()


def test_the_cache_is_bounded_in_bytes_and_forgets_the_oldest() -> None:
    cache = ClipCache(100)
    for name in "abc":
        cache.put((name, ""), bytes(40))
        assert cache.get(("a", "")) == (bytes(40))
    assert cache.get(("b", "")) is None
    assert cache.bytes == 80
    cache.put(("a", ""), bytes(10))
    assert cache.bytes == 50
    cache.put(("huge", ""), bytes(101))
    assert cache.get(("huge", "")) is None


def test_any_spelling_can_be_pronounced() -> None:
    assert pronounce("pizza") == ["p", "iy", "t", "s", "ax"]
    assert pronounce("jalfrezi")
