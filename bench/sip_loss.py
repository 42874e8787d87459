"""A caller on a bad network: is what they say still understood? `python -m bench.sip_loss [--sentences 70]`.

    sentence ─ mu-law ─► RTP ─ 5 % lost, 0 to 80 ms late, out of order ─► gateway ─ jitter buffer ─► ring ─► SIP leg

Sentences of the built-in agent's own domain (`bench.speech_sentences`), by a voice that is not the agent's own, through
the gateway (a process of its own) to a worker's leg; what the leg hands on is what the recogniser of the built-in agent
gets. Four arms with the same sentences: a clean line, the bad one with concealment, without it (`[sip] conceal`), and
the same losses without the lateness, which tells the two apart. *Right*: accepted, and read as a person meant it.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from bench.rig import ROOT
from bench.sip_line import BadLine, Distance, Wave, distance, offset
from bench.sip_media import FRAME, SILENCE, Media
from bench.sip_phone import Exchange, Phone
from bench.sip_rig import free_port
from bench.speech import as_meant, in_calls, pink, same, spoken
from bench.speech_sentences import KNOWN, UNSEEN, Sentences
from trunkline.ai.business import sample_business
from trunkline.ai.offline.intents import Reader
from trunkline.ai.offline.recogniser import OfflineRecogniser
from trunkline.bridge.sip.line import GatewayLine
from trunkline.bridge.sip.messages import Offer
from trunkline.bridge.sip.options import Options
from trunkline.clock import SystemClock
from trunkline.codecs.resample import Resampler, resample_clip
from trunkline.outcome import EndCause
from trunkline_sim import mulaw

VOICES: Final = ("rms",)
AT_ONCE: Final = 16  # calls
SLOTS: Final = 32
MURMUR: Final = 8.0  # RMS of the noise, as in bench.speech
EDGES_S: Final = (0.4, 0.6)  # before and after the speech, of what the recogniser gets: a detector's cut
LEAD_FRAMES, TAIL_FRAMES = 150, 40  # of silence: the caller hears a greeting first; and until all has come


@dataclass(frozen=True, slots=True)
class Arm:
    """One kind of line."""

    name: str
    loss: float = 0.0
    jitter_s: float = 0.0
    conceal: bool = True


ARMS: Final = (
    Arm("clean"),
    Arm("5 % loss", 0.05),
    Arm("5 % loss, 40 ms jitter", 0.05, 0.04),
    Arm("5 % loss, 40 ms jitter, no concealment", 0.05, 0.04, conceal=False),
)


@dataclass(slots=True)
class Clip:
    """One sentence: its mu-law, and what arrived of it at the worker (s16le, 8 kHz)."""

    text: str
    keys: str
    must: str
    payload: bytes  # of the speech alone
    heard: dict[str, bytes] = field(default_factory=dict)  # by arm


@dataclass(frozen=True, slots=True)
class Score:
    """Of one arm."""

    arm: str
    sentences: int
    right: int
    heard: int  # recognised as the perfect transcript is read
    wrong: int  # accepted, and not what was meant
    segmental_db: float  # means
    spectral_db: float
    lost: float  # share of packets that the line lost


class Tap:
    """The worker: takes every call and keeps what its leg hands on."""

    def __init__(self, path: str) -> None:
        self.heard: dict[str, bytearray] = {}  # by Call-ID
        self.line = GatewayLine(
            path, "bench", slots=SLOTS, rate=mulaw.RATE, clock=SystemClock(), offered=self._offered
        )  # fmt: skip
        self._tasks: set[asyncio.Task[None]] = set()

    def _offered(self, offer: Offer) -> None:
        task = asyncio.get_running_loop().create_task(self._hear(offer), name="bench.tap")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _hear(self, offer: Offer) -> None:
        leg = self.line.take(offer, "agent")
        assert leg is not None, "no slot"
        kept = self.heard.setdefault(offer.call_id, bytearray())
        async for frame in leg.audio():
            kept += frame.pcm
        await leg.end(EndCause.COMPLETED)


@asynccontextmanager
async def tapped(folder: Path, *, conceal: bool) -> AsyncIterator[tuple[str, Tap]]:
    """A gateway with that worker: HOST:PORT, and the tap."""
    options = Options(
        listen=(f"udp:127.0.0.1:{free_port()}",), socket=str(folder / "sip.sock"), rtp_ports=(22_000, 29_999),
        conceal=conceal,
    )  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.sip_gateway", msgspec.json.encode(options).decode(), cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    listening = json.loads(await process.stdout.readline())
    tap = Tap(options.socket)
    keeping = asyncio.create_task(tap.line.run(), name="bench.line")
    try:
        async with asyncio.timeout(10):
            while tap.line.welcome is None:  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.05)
        yield listening[0].rpartition(" ")[2], tap
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        process.terminate()
        await process.wait()


def clips(sentences: Sentences, voices: Sequence[str]) -> list[Clip]:
    """Spoken in the voices in turn, at -20 dBFS, with a murmur of noise; in whole frames."""
    return [Clip(text, keys, must, _payload(text, voice))
            for (text, keys, must), voice in zip(sentences, itertools.cycle(voices))]  # fmt: skip


def _payload(text: str, voice: str) -> bytes:
    pcm, rate = spoken(text, voice)
    samples = np.frombuffer(resample_clip(pcm, rate, mulaw.RATE), "<i2").astype(np.float64)
    voiced = samples[np.abs(samples) > 0.02 * np.abs(samples).max()]
    samples *= min(3276.8 / np.sqrt(np.mean(voiced**2)), 23_000 / np.abs(samples).max())
    samples = np.concatenate([samples, np.zeros(-len(samples) % FRAME)])
    return _encoded(samples + pink(len(samples)) * MURMUR)


def _encoded(samples: Wave) -> bytes:
    return mulaw.encode(np.clip(np.rint(samples), -32768, 32767).astype(np.int16))


async def transmit(arm: Arm, made: Sequence[Clip]) -> float:
    """All clips through that line, in real time; the share of packets that it lost."""
    gate, lines = asyncio.Semaphore(AT_ONCE), [BadLine(arm.loss, arm.jitter_s, seed) for seed in range(len(made))]
    with tempfile.TemporaryDirectory() as folder:
        async with tapped(Path(folder), conceal=arm.conceal) as (there, tap), Exchange(there) as exchange:
            media = Media()

            async def one(clip: Clip, line: BadLine) -> None:
                async with gate:
                    await _say(clip, line, exchange, media, tap, arm.name)

            async with media:
                await asyncio.gather(*(one(clip, line) for clip, line in zip(made, lines, strict=True)))
    return sum(line.lost for line in lines) / max(1, sum(line.sent for line in lines))


async def _say(clip: Clip, line: BadLine, exchange: Exchange, media: Media, tap: Tap, arm: str) -> None:
    phone = Phone(exchange, media, "+919800000001")
    frames = [clip.payload[at : at + FRAME] for at in range(0, len(clip.payload), FRAME)]
    murmur = _encoded(pink(FRAME * (LEAD_FRAMES + TAIL_FRAMES)) * MURMUR)
    quiet = [murmur[at : at + FRAME] for at in range(0, len(murmur), FRAME)]
    whole = quiet[:LEAD_FRAMES] + frames + quiet[LEAD_FRAMES:]
    over = asyncio.Event()

    def payload(count: int) -> bytes:
        if count >= len(whole):
            over.set()
            return SILENCE
        return whole[count]

    phone.stream.line = line.delay_s
    await phone.call()
    phone.stream.payload = payload
    await over.wait()
    await phone.hang_up()
    await asyncio.sleep(0.2)
    phone.leave()
    clip.heard[arm] = bytes(tap.heard.pop(phone.call_id))


async def judge(arm: Arm, made: Sequence[Clip], pool: OfflineRecogniser, lost: float, *, misses: bool) -> Score:
    """What the recogniser and the receptionist make of it."""
    reader, count = Reader(sample_business()), {"right": 0, "heard": 0, "wrong": 0}
    told = await in_calls(pool, [(_cut(clip, arm), clip.keys.split()[0]) for clip in made])
    for clip, text in zip(made, told, strict=True):
        meant = as_meant(reader, text.text, clip.keys, clip.must)
        count["right"] += meant and text.accepted
        count["wrong"] += text.accepted and not meant
        count["heard"] += same(reader, clip.text, text.text, clip.keys.split()[0], clip.must)
        if misses and not (meant and text.accepted):
            print(f"  {arm.name}: {clip.text!r} → {text.text!r} {text.confidence:.2f}", flush=True)
    found = [one for clip in made if (one := distance_of(clip, arm)) is not None]
    return Score(
        arm.name, len(made), count["right"], count["heard"], count["wrong"],
        round(statistics.mean(one.segmental_db for one in found), 1),
        round(statistics.mean(one.spectral_db for one in found), 1), round(lost, 4),
    )  # fmt: skip


def _cut(clip: Clip, arm: Arm) -> bytes:
    """What arrived of the speech and EDGES_S around it, as the recogniser wants it."""
    heard = _wave(clip.heard[arm.name])
    begin = offset(_wave(mulaw.decode(clip.payload).tobytes()), heard)
    before, after = (round(edge * mulaw.RATE) for edge in EDGES_S)
    piece = heard[max(0, begin - before) : begin + len(clip.payload) + after].astype("<i2").tobytes()
    up = Resampler(mulaw.RATE, 16_000)
    return up.push(piece) + up.flush()


def distance_of(clip: Clip, arm: Arm) -> Distance | None:
    """Of what arrived from what was said."""
    return distance(_wave(mulaw.decode(clip.payload).tobytes()), _wave(clip.heard[arm.name]))


def _wave(pcm: bytes) -> Wave:
    return np.frombuffer(pcm, "<i2").astype(np.float64)


def table(scores: Sequence[Score], voices: Sequence[str]) -> str:
    """Markdown."""
    lines = [
        f"Voices {', '.join(voices)} in turn, {scores[0].sentences} sentences of the agent's own domain per line.", "",
        "| line | packets lost | right | understood, accepted or not | accepted and wrong | segmental SNR, dB "
        "| spectral distance, dB |", "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for one in scores:
        shares = (f"{100 * count / one.sentences:.0f} %" for count in (one.right, one.heard, one.wrong))
        lines.append(
            f"| {one.arm} | {one.lost:.1%} | {' | '.join(shares)} | {one.segmental_db:.1f} | {one.spectral_db:.1f} |"
        )
    return "\n".join(lines)


async def main(given: argparse.Namespace) -> None:
    """All arms, then the table."""
    began = time.monotonic()
    sentences = {"known": KNOWN, "unseen": UNSEEN}[given.set][: given.sentences]
    voices = given.voices.split(",")
    made = await asyncio.to_thread(clips, sentences, voices)
    lost = {arm.name: await transmit(arm, made) for arm in ARMS}
    print(f"# all said after {time.monotonic() - began:.0f} s", flush=True)
    scores = []
    async with OfflineRecogniser(sample_business(), processes=1) as pool:
        for arm in ARMS:
            scores.append(await judge(arm, made, pool, lost[arm.name], misses=given.misses))
            print(json.dumps(asdict(scores[-1])), flush=True)
    if given.out is not None:
        await asyncio.to_thread(given.out.write_text, json.dumps([asdict(one) for one in scores], indent=1) + "\n")
    print(f"\n{table(scores, voices)}\n\n{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sentences", type=int, default=len(KNOWN), help="per line, at most")
    parser.add_argument("--set", choices=("known", "unseen"), default="known", help="see bench.speech_sentences")
    parser.add_argument("--voices", default=",".join(VOICES), help="of bench.speech, in turn")
    parser.add_argument("--misses", action="store_true", help="print every sentence that went wrong")
    parser.add_argument("--out", type=Path, help="JSON of the scores")
    asyncio.run(main(parser.parse_args()))
