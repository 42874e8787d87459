"""How well and how cheaply the offline profile hears: `python -m bench.speech [--voices rms,slt] [--misses]`.

Every sentence of `speech_sentences.py`, KNOWN (a ceiling) and UNSEEN (the figure to quote) apart, in every voice,
through mu-law at 8 kHz, the product's resampler and the recogniser pool, as calls of eight turns each (so that every
eighth sentence meets a decoder that knows nothing of the line).

*Heard*: the receptionist reads the recognised text as it would read the perfect transcript: same intent, items,
quantities, day, digits. This judges the recogniser alone. *Right*: heard, accepted, and the intent is the one that a
person gave the sentence: what the caller gets. *Wrong*: accepted and not right. The rest is asked again.
"""

import argparse
import asyncio
import json
import re
import resource
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.speech_sentences import KNOWN, KNOWN_OFF_TOPIC, UNSEEN, UNSEEN_OFF_TOPIC, Sentences
from trunkline.ai.business import sample_business
from trunkline.ai.cascade.protocols import Transcript
from trunkline.ai.cascade.vad import WINDOW_S, Vad
from trunkline.ai.offline.intents import NUMBERS, Reader, Reading
from trunkline.ai.offline.recogniser import OfflineRecogniser, OfflineStream
from trunkline.ai.offline.voice import VOICES as FLITE
from trunkline.ai.offline.voice import synthesise
from trunkline.codecs.resample import Resampler, resample_clip
from trunkline.codecs.table import codec_for
from trunkline.codecs.wav import read_wav

OTHERS = ("festival-kal", "festival-ked", "espeak-en-us", "espeak-en-gb")
VOICES = (*(voice for voice in FLITE if voice != "kal"), *OTHERS)
RECORDINGS = Path("/usr/share/asterisk/sounds/en")
REAL_WORDS = (
    *(("hours", "open", "hours"), ("location", "open", "location"), ("goodbye", "open", "goodbye")),
    *(("vm-goodbye", "open", "goodbye"), ("auth-thankyou", "open", "thank you"), ("hello", "open", "hello")),
    *((f"digits/{n}", "number", word) for n, word in enumerate(tuple(NUMBERS)[:14], 1)),
)
REAL_OFF_TOPIC = (
    *("tt-weasels", "tt-monkeysintro", "vm-nobodyavail", "pbx-invalid", "cannot-complete-as-dialed", "demo-echotest"),
    *("demo-enterkeywords", "conf-onlyperson", "vm-advopts", "vm-mailboxfull", "queue-thankyou", "dir-instr"),
    *("privacy-prompt", "vm-whichbox", "ss-noservice", "feature-not-avail-line", "number-not-answering"),
)
TURNS = 8


@dataclass
class Score:
    """Of one voice and one set of sentences."""

    asked: int = 0
    heard: int = 0  # read as the perfect transcript is read
    read: int = 0  # perfect transcripts that the receptionist itself reads as meant: the ceiling of `right`
    right: int = 0
    wrong: int = 0
    off_topic: int = 0
    off_topic_refused: int = 0

    def row(self, name: str) -> str:
        """A row of the table."""
        cells = [100 * count / max(1, self.asked) for count in (self.heard, self.read, self.right, self.wrong)]
        cells.append(100 * self.off_topic_refused / max(1, self.off_topic))
        return f"| {name} | {self.asked} | " + " | ".join(f"{cell:.0f}" for cell in cells) + " |"


def spoken(text: str, voice: str) -> tuple[bytes, int]:
    """(s16le, Hz) by any of the voices."""
    if voice in FLITE:
        return synthesise(text, voice)
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        engine, _, name = voice.partition("-")
        if engine == "festival":
            command = ["text2wave", "-eval", f"(voice_{name}_diphone)", "-o", file.name]
        else:
            command = ["espeak-ng", "-v", name, "-w", file.name, text]
        subprocess.run(command, input=text, text=True, check=True, capture_output=True)
        wav = read_wav(Path(file.name).read_bytes())
    return wav.pcm, wav.rate


def line(pcm: bytes, rate: int, noise_db: float | None) -> bytes:
    """Through the telephone at -20 dBFS, with pink noise at a signal-to-noise ratio (dB) if wanted."""
    codec = codec_for("PCMU")
    assert codec is not None
    samples = np.frombuffer(resample_clip(pcm, rate, 8000), "<i2").astype(np.float64)
    voiced = samples[np.abs(samples) > 0.02 * np.abs(samples).max()]
    samples *= min(3276.8 / np.sqrt(np.mean(voiced**2)), 23000 / np.abs(samples).max())
    samples = np.concatenate([np.zeros(3200), samples, np.zeros(4800)])
    samples += pink(samples.size) * (8.0 if noise_db is None else 3276.8 * 10 ** (-noise_db / 20))
    narrow = np.clip(np.rint(samples), -32768, 32767).astype("<i2").tobytes()
    up = Resampler(8000, 16_000)
    return up.push(codec.decoder().decode(codec.encoder().encode(narrow))) + up.flush()


def pink(samples: int) -> np.ndarray:
    """Pink noise of RMS 1."""
    spectrum = np.fft.rfft(np.random.default_rng(7).standard_normal(samples))
    spectrum /= np.sqrt(np.maximum(1, np.arange(spectrum.size)))
    wave = np.fft.irfft(spectrum, samples)
    return wave / np.sqrt(np.mean(wave**2))


def meaning(reading: Reading) -> tuple[object, ...]:
    """What decides the receptionist's answer."""
    items = tuple((named.item.name, named.quantity or 1) for named in reading.items)
    digits = reading.digits if reading.intent == "order_status" else ""
    return reading.intent, items, reading.generic, None if items else reading.quantity or 1, reading.day, digits


def same(reader: Reader, said: str, heard: str, grammar: str, must: str) -> bool:
    """Whether `heard` is answered as `said` would be."""
    words = all(re.search(rf"\b{word}\b", heard) for word in must.split(";") if word)
    return words and (grammar in ("name", "digits") or meaning(reader.read(said)) == meaning(reader.read(heard)))


def as_meant(reader: Reader, text: str, keys: str, must: str) -> bool:
    """Whether the receptionist reads `text` as a person meant it. A bare number, digits, a name: their words alone."""
    grammar, intent = keys.split()
    words = all(re.search(rf"\b{word}\b", text) for word in must.split(";") if word)
    return words and (grammar in ("number", "digits", "name") or reader.read(text).intent == intent)


async def ask(stream: OfflineStream, pcm: bytes, grammar: str) -> Transcript:
    """One utterance, at once instead of in real time."""
    await stream.expect(grammar)
    await stream.start()
    for at in range(0, len(pcm), 3200):
        await stream.feed(pcm[at : at + 3200])
        while stream.waiting_s > 1.0:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    return await stream.finish()


async def in_calls(pool: OfflineRecogniser, clips: Sequence[tuple[bytes, str]]) -> list[Transcript]:
    """All clips, as calls of a few turns."""
    heard = []
    for at in range(0, len(clips), TURNS):
        async with pool.open("en") as stream:
            heard += [await ask(stream, pcm, grammar) for pcm, grammar in clips[at : at + TURNS]]
    return heard


async def measure(
    pool: OfflineRecogniser, voice: str, options: argparse.Namespace, sentences: Sentences, others: Sequence[str]
) -> Score:
    """One voice's rates over sentences, and over others that are to be refused."""
    reader, score = Reader(sample_business()), Score()
    clips = [(line(*spoken(said, voice), options.noise), keys.split()[0]) for said, keys, _ in sentences]
    for (said, keys, must), heard in zip(sentences, await in_calls(pool, clips), strict=True):
        meant = as_meant(reader, heard.text, keys, must)
        score.asked += 1
        score.heard += same(reader, said, heard.text, keys.split()[0], must)
        score.read += as_meant(reader, said, keys, must)
        score.right += meant and heard.accepted
        score.wrong += heard.accepted and not meant
        if options.misses and not (meant and heard.accepted):
            print(f"  {voice}: {said!r} → {heard.text!r} {heard.confidence:.2f} {'meant' if meant else 'NOT MEANT'}")
    clips = [(line(*spoken(said, voice), options.noise), "open") for said in others]
    refused = [not heard.accepted for heard in await in_calls(pool, clips)]
    score.off_topic, score.off_topic_refused = len(refused), sum(refused)
    return score


async def real(pool: OfflineRecogniser, misses: bool) -> Score:
    """The studio speaker's single words, and her prompts as off-topic talk."""
    score = Score()
    clips = [(recorded(name), grammar) for name, grammar, _ in REAL_WORDS]
    for (name, _, word), heard in zip(REAL_WORDS, await in_calls(pool, clips), strict=True):
        right = heard.text.split()[-1:] == word.split()[-1:]
        score.asked += 1
        score.read += 1
        score.heard += right
        score.right += right and heard.accepted
        score.wrong += heard.accepted and not right
        if misses and not (right and heard.accepted):
            print(f"  recorded {name}: {heard.text!r} {heard.confidence:.2f}")
    refused = [not h.accepted for h in await in_calls(pool, [(recorded(name), "open") for name in REAL_OFF_TOPIC])]
    score.off_topic, score.off_topic_refused = len(refused), sum(refused)
    return score


def recorded(name: str) -> bytes:
    """A recording through the line."""
    wav = read_wav((RECORDINGS / f"{name}.wav").read_bytes())
    return line(wav.pcm, wav.rate, None)


def vad_cost() -> dict[str, float]:
    """Import, memory and processor time of the detector."""
    began, before = time.perf_counter(), resident()
    detector = Vad()
    ready, after = time.perf_counter(), resident()
    audio = bytes(2 * 16_000 * 20)
    cpu = time.process_time()
    windows = len(detector.push(audio))
    each = (time.process_time() - cpu) / windows
    return {
        "load_ms": 1000 * (ready - began),
        "memory_mb": after - before,
        "us_per_window": 1e6 * each,
        "core_percent_per_call": 100 * each / WINDOW_S,
    }


def resident() -> float:
    """MB of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def voice_cost() -> dict[str, float]:
    """Processor time per second of speech, and time to a whole clause."""
    cost = {}
    for voice in FLITE:
        synthesise("Warm up.", voice)
        cpu = time.process_time()
        pcm, rate = synthesise("We are open from eleven thirty in the morning to ten in the evening.", voice)
        cost[voice] = 1000 * (time.process_time() - cpu) / (len(pcm) / 2 / rate)
    return cost


async def together(pool: OfflineRecogniser, calls: int) -> dict[str, float]:
    """Everybody talks at once, in real time, for three utterances: how late is the text, how much was lost."""
    said = [line(*spoken(text, "rms"), None) for text, keys, _ in KNOWN[:9] if keys.startswith("open")]
    late: list[float] = []
    gaps: list[float] = []

    async def call(first: int) -> None:
        async with pool.open("en") as stream:
            for turn in range(3):
                await stream.start()
                began = time.perf_counter()
                for at, begin in enumerate(range(0, len(pcm := said[(first + turn) % len(said)]), 640), 1):
                    await stream.feed(pcm[begin : begin + 640])
                    await asyncio.sleep(began + 0.02 * at - time.perf_counter())
                ended = time.perf_counter()
                await stream.finish()
                late.append(1000 * (time.perf_counter() - ended))

    async def watch() -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            gaps.append(1000 * (time.perf_counter() - began - 0.001))

    dropped = pool.stats.dropped_s
    watching = asyncio.create_task(watch())
    await asyncio.gather(*(call(number) for number in range(calls)))
    watching.cancel()
    late.sort()
    return {
        "calls": calls,
        "text_ms_p50": late[len(late) // 2],
        "text_ms_p95": late[int(0.95 * len(late))],
        "dropped_s": pool.stats.dropped_s - dropped,
        "loop_gap_ms_p99": sorted(gaps)[int(0.99 * len(gaps))],
    }


async def main() -> None:
    """Print the tables, and the same as JSON on the last line."""
    parser = argparse.ArgumentParser(description="measure the offline profile's hearing")
    parser.add_argument("--voices", default=",".join(VOICES))
    parser.add_argument("--noise", type=float, default=None, help="signal-to-noise ratio in dB")
    parser.add_argument("--set", choices=("known", "unseen", "both"), default="both")
    parser.add_argument("--misses", action="store_true", help="print every sentence that went wrong")
    parser.add_argument("--together", type=int, nargs="*", default=[], help="calls that all talk at once, per process")
    options = parser.parse_args()
    if options.together:
        async with OfflineRecogniser(sample_business(), processes=1, capacity=max(options.together)) as pool:
            for calls in options.together:
                print({key: round(value, 1) for key, value in (await together(pool, calls)).items()}, flush=True)
        return
    table: dict[str, Score] = {}
    print("detector:", {key: round(value, 1) for key, value in vad_cost().items()})
    print("synthesis, ms of processor per second of speech:", {k: round(v, 1) for k, v in voice_cost().items()})
    began, children = time.perf_counter(), cpu_of_children()
    async with OfflineRecogniser(sample_business(), processes=1) as pool:
        print(f"recogniser ready after {time.perf_counter() - began:.1f} s")
        for voice in options.voices.split(","):
            if options.set != "unseen":
                table[f"{voice}, known"] = await measure(pool, voice, options, KNOWN, KNOWN_OFF_TOPIC)
            if options.set != "known":
                table[f"{voice}, unseen"] = await measure(pool, voice, options, UNSEEN, UNSEEN_OFF_TOPIC)
        if RECORDINGS.is_dir():  # noqa: ASYNC240 - a bench
            table["recorded words"] = await real(pool, options.misses)
    print(f"processor time of the recogniser: {cpu_of_children() - children:.1f} s")
    print("\n| caller | sentences | heard % | readable % | right % | wrong % | off-topic refused % |")
    print("|---|---|---|---|---|---|---|")
    print(*(score.row(name) for name, score in table.items()), sep="\n")
    print(json.dumps({name: vars(score) for name, score in table.items()}))


def cpu_of_children() -> float:
    """Seconds, of those that ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    asyncio.run(main())
