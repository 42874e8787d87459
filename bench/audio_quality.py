"""What the audio path does to a voice, measured through the code that calls use, on 16-bit samples.

    python bench/audio_quality.py            prints the tables
    python bench/audio_quality.py --write    also puts them into docs/audio.md

Quality is the same on every machine. Costs are ratios within one run: 1 is what any relay pays for a 20 ms mu-law
frame before it does anything (json.loads of the carrier's message and base64 decoding, standard library).
"""

import argparse
import base64
import json
import sys
import timeit
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from trunkline.codecs import fast
from trunkline.codecs.codec import Codec
from trunkline.codecs.conceal import Concealer
from trunkline.codecs.dtmf import DtmfDetector
from trunkline.codecs.g711 import PCMA, PCMU, mulaw_to_alaw
from trunkline.codecs.level import rms_dbov
from trunkline.codecs.progress import BeepDetector, ProgressDetector
from trunkline.codecs.reframe import Reframer
from trunkline.codecs.resample import Resampler, resample_clip
from trunkline.codecs.tones import KEYS, dtmf

DOCUMENT = Path(__file__).parent.parent / "docs" / "audio.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
PAIRS = [(8000, 16000), (8000, 24000), (16000, 8000), (24000, 8000), (16000, 24000), (24000, 16000)]
TONES = (304, 1004, 2012, 3004, 3404)  # Hz; off the grid, where quantising noise would hide in the tone
EDGE_S = 0.05  # left out at both ends of a measured stream

Wave = npt.NDArray[np.float64]
Rows = list[list[str]]


def sine(hz: float, rate: int, level: float = 0.5, seconds: float = 0.6) -> Wave:
    """16-bit samples of a sine."""
    return np.rint(32767 * level * np.sin(2 * np.pi * hz * np.arange(round(rate * seconds)) / rate))


def pcm(wave: Wave) -> bytes:
    """float → s16le."""
    return wave.astype("<i2").tobytes()


def through(wave: Wave, from_hz: int, to_hz: int) -> Wave:
    """The stream in 20 ms frames through a resampler, without its ends."""
    resampler, frame, data = Resampler(from_hz, to_hz), 2 * from_hz // 50, pcm(wave)
    out = b"".join(resampler.push(data[at : at + frame]) for at in range(0, len(data), frame))
    edge = round(EDGE_S * to_hz)
    return np.frombuffer(out, "<i2").astype(float)[edge:-edge]


def tone_in(wave: Wave, hz: float, rate: int) -> Wave:
    """The sine of that frequency in the wave."""
    time = 2 * np.pi * hz * np.arange(wave.size) / rate
    basis = np.stack((np.cos(time), np.sin(time)), axis=1)
    return np.asarray(basis @ np.linalg.lstsq(basis, wave, rcond=None)[0])


def db(power: float, reference: float) -> float:
    """Ratio of powers in dB; what is less than 16 bits can hold is told as -98."""
    return max(-98.0, float(10 * np.log10(max(power, 1e-9) / reference)))


def power(wave: Wave) -> float:
    """Mean square."""
    return float(np.mean(wave**2))


def snr(wave: Wave, hz: float, rate: int) -> float:
    """The tone against everything else, dB."""
    tone = tone_in(wave, hz, rate)
    return float(10 * np.log10(power(tone) / power(wave - tone)))


def gain(hz: float, from_hz: int, to_hz: int) -> float:
    """Of a tone on its way through, dB."""
    source = sine(hz, from_hz)
    return db(power(tone_in(through(source, from_hz, to_hz), hz, to_hz)), power(source))


def ripple(from_hz: int, to_hz: int) -> float:
    """Largest departure from 0 dB up to three eighths of the slower rate (3 kHz of 8)."""
    top = min(from_hz, to_hz) * 3 // 8
    return max(abs(gain(hz, from_hz, to_hz)) for hz in range(100, top + 1, 100))


def floor(from_hz: int, to_hz: int) -> float:
    """The loudest thing that should not be there: aliases going down, images going up. dB against the tone."""
    half = min(from_hz, to_hz) / 2
    if from_hz > to_hz:
        sources = np.arange(half * 1.125, from_hz / 2 - 49, 50)
        return max(db(power(through(sine(hz, from_hz), from_hz, to_hz)), power(sine(hz, from_hz))) for hz in sources)
    worst = -200.0
    for hz in np.arange(100, half * 0.875 + 1, 100):
        out = through(sine(hz, from_hz), from_hz, to_hz)
        images = [abs(k * from_hz + sign * hz) for k in (1, 2) for sign in (-1, 1)]
        for image in (f for f in images if half < f < to_hz / 2):
            worst = max(worst, db(power(tone_in(out, image, to_hz)), power(out)))
    return worst


def delay_ms(from_hz: int, to_hz: int) -> float:
    """Group delay: the centre of gravity of what becomes of a pulse."""
    pulse = np.zeros(from_hz // 5)
    pulse[from_hz // 10] = 30000
    out = np.frombuffer(Resampler(from_hz, to_hz).push(pcm(pulse)), "<i2").astype(float)
    return 1000 * (float(out @ np.arange(out.size)) / float(out.sum()) / to_hz - 0.1)


def resampler_rows() -> Rows:
    """One row per pair of rates."""
    rows = [["stream", "delay", "ripple", "at 3.4 kHz", "alias or image", *(f"SNR {hz} Hz" for hz in TONES)]]
    for from_hz, to_hz in PAIRS:
        cells = [f"{delay_ms(from_hz, to_hz):.2f} ms", f"±{ripple(from_hz, to_hz):.3f} dB"]
        cells += [f"{gain(3400, from_hz, to_hz):.2f} dB", f"{floor(from_hz, to_hz):.0f} dB"]
        cells += [f"{snr(through(sine(hz, from_hz), from_hz, to_hz), hz, to_hz):.0f} dB" for hz in TONES]
        rows.append([f"{from_hz // 1000} → {to_hz // 1000} kHz", *cells])
    return rows


def edge_rows() -> Rows:
    """What becomes of tones around the edge of a telephone line's band."""
    edges = (3000, 3200, 3400, 3600, 3800)
    beyond = (4100, 4200, 4300, 4400, 4500, 5000, 6000)
    rows = [["16 → 8 kHz", *(f"{hz} Hz" for hz in edges + beyond)], ["level"]]
    rows[1] += [f"{gain(hz, 16000, 8000):.1f}" for hz in edges]
    rows[1] += [f"{db(power(through(sine(hz, 16000), 16000, 8000)), power(sine(hz, 16000))):.0f}" for hz in beyond]
    return rows


def clip_rows() -> Rows:
    """Whole clips at other rates."""
    rows = [["clip", "delay", "at 3.4 kHz", "alias of 4.5 kHz", *(f"SNR {hz} Hz" for hz in TONES)]]
    for from_hz in (22050, 44100, 48000):
        edge = slice(400, -400)

        def out(hz: float, rate: int = from_hz, edge: slice = edge) -> Wave:
            return np.frombuffer(resample_clip(pcm(sine(hz, rate)), rate, 8000), "<i2").astype(float)[edge]

        level = power(sine(1000, from_hz))
        cells = [
            "0 ms",
            f"{db(power(tone_in(out(3400), 3400, 8000)), level):.2f} dB",
            f"{db(power(out(4500)), level):.0f} dB",
        ]
        rows.append([f"{from_hz} → 8000 Hz", *cells, *(f"{snr(out(hz), hz, 8000):.0f} dB" for hz in TONES)])
    return rows


def g711_rows() -> Rows:
    """Tone against quantising noise, by level."""
    levels = (-3, -10, -20, -30, -40, -50)
    heading = ["1004 Hz at dBov", *(str(level) for level in levels)]
    return [heading, *([c.name, *(f"{coded_snr(c, level):.1f} dB" for level in levels)] for c in (PCMU, PCMA))]


def coded_snr(codec: Codec, dbov: float) -> float:
    """SNR after encoding and decoding a sine of that level."""
    wave = sine(1004, 8000, 10 ** ((dbov + 3.01) / 20) * 0.99, 2.0)
    return snr(
        np.frombuffer(codec.decoder().decode(codec.encoder().encode(pcm(wave))), "<i2").astype(float), 1004, 8000
    )


def key_rows() -> Rows:
    """How many of 64 keys of 50 ms are heard in white noise."""
    ratios = (20, 12, 8, 4, 0, -4)
    keys, rows = KEYS * 4, [["signal to noise", *(f"{ratio} dB" for ratio in ratios)], ["keys heard"]]
    clean = np.frombuffer(dtmf(keys, on_s=0.05, off_s=0.05), "<i2").astype(float)
    tone = power(clean) * 2  # half of the time is pause
    for ratio in ratios:
        noise = np.random.default_rng(7).standard_normal(clean.size) * np.sqrt(tone) * 10 ** (-ratio / 20)
        found = DtmfDetector().push(pcm(np.clip(np.rint(clean + noise), -32768, 32767)))
        rows[1].append(f"{len(found) if found in keys or found == keys else matching(found, keys)} of {len(keys)}")
    return rows


def matching(found: str, keys: str) -> int:
    """Keys heard in order."""
    at = right = 0
    for key in found:
        place = keys.find(key, at)
        if place >= 0:
            at, right = place + 1, right + 1
    return right


def seconds(work: Callable[[], Any]) -> float:
    """The best of seven rounds of a few milliseconds each, per call."""
    number = max(1, int(0.01 / max(1e-7, min(timeit.repeat(work, number=20, repeat=3)) / 20)))
    return min(timeit.repeat(work, number=number, repeat=7)) / number


def cost_rows() -> Rows:
    """Costs of a 20 ms frame, as ratios."""
    rng = np.random.default_rng(1)
    frame = {rate: pcm(rng.standard_normal(rate // 50) * 3000) for rate in (8000, 16000, 24000)}
    payload = PCMU.encoder().encode(frame[8000])
    message = json.dumps(
        {"event": "media", "sequenceNumber": "3", "media": {"payload": base64.b64encode(payload).decode()}}
    )
    unit = seconds(lambda: base64.b64decode(json.loads(message)["media"]["payload"]))
    work: list[tuple[str, Callable[[], Any]]] = [
        ("mu-law → s16 (with history for concealment)", _bound(PCMU.decoder().decode, payload)),
        ("s16 → mu-law", _bound(PCMU.encoder().encode, frame[8000])),
        ("mu-law → A-law", _bound(mulaw_to_alaw, payload)),
        ("mu-law → s16 by a numpy table", _bound(fast.mulaw_decode_numpy, payload)),
        ("s16 → mu-law by a numpy table", _bound(fast.mulaw_encode_numpy, frame[8000])),
    ]
    work += [(f"resample {a // 1000} → {b // 1000} kHz", _bound(Resampler(a, b).push, frame[a])) for a, b in PAIRS]
    work += [
        ("level of 8 kHz", _bound(rms_dbov, frame[8000])),
        ("cut an 800-byte message into frames", _reframing()),
        ("conceal a lost frame and blend the next", _concealing(frame[8000])),
        ("listen for keys", _bound(DtmfDetector().push, frame[8000])),
        ("listen for a beep", _bound(BeepDetector().push, frame[8000])),
        ("listen for busy tone", _bound(ProgressDetector("in").push, frame[8000])),
        (
            "resample a clip 22.05 → 8 kHz (per 20 ms)",
            _bound(resample_clip, pcm(sine(500, 22050, 0.5, 0.02)), 22050, 8000),
        ),
    ]
    return [["work on a 20 ms frame", "cost"], *([name, f"{seconds(function) / unit:.1f}"] for name, function in work)]


def _bound(function: Callable[..., Any], *arguments: Any) -> Callable[[], Any]:
    return lambda: function(*arguments)


def _reframing() -> Callable[[], Any]:
    reframer, message = Reframer(160, b"\xff"), bytes(800)
    return lambda: reframer.push(message)


def _concealing(past: bytes) -> Callable[[], Any]:
    concealer = Concealer(8000)

    def lose_and_find() -> None:
        concealer.lost(160)
        concealer.heard(past)

    return lose_and_find


def table(rows: Rows) -> str:
    """Markdown, aligned so that it can be read as it is."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines)


def report() -> str:
    """All tables with their headings."""
    native = "audioop" if fast.AUDIOOP is not None else "numpy tables"
    parts: Sequence[tuple[str, Rows]] = (
        (
            "Streams: ripple up to 3/8 of the slower rate; alias from 9/16 of it, image of tones up to 7/16",
            resampler_rows(),
        ),
        ("The edge of the band, dB; from 4100 Hz on it is the alias", edge_rows()),
        ("Whole clips", clip_rows()),
        ("G.711: tone against its quantising noise", g711_rows()),
        ("Keys of 50 ms in white noise", key_rows()),
        (f"Costs (G.711 by {native}); 1 = json.loads and base64 of one 20 ms message", cost_rows()),
    )
    return "\n\n".join(f"**{title}**\n\n{table(rows)}" for title, rows in parts)


def write(text: str, document: Path = DOCUMENT) -> None:
    """Replace what stands between the markers."""
    before, _, rest = document.read_text().partition(BEGIN)
    _, marker, after = rest.partition(END)
    if not marker:
        sys.exit(f"{document}: the markers {BEGIN} and {END} are missing")
    document.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


def main() -> None:
    """Print, and write if asked to."""
    parser = argparse.ArgumentParser(description="measure the audio path")
    parser.add_argument("--write", action="store_true", help=f"put the tables into docs/{DOCUMENT.name}")
    arguments = parser.parse_args()
    text = report()
    print(text)
    if arguments.write:
        write(text)


if __name__ == "__main__":
    main()
