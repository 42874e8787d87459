"""What judges the long runs, judged itself: the quick ear, the books, the summaries. Pure."""

import json
from typing import Any

import numpy as np
import pytest

from bench.churn import Lived, wrong_records
from bench.long_ear import QuickEar
from bench.long_model import differences
from bench.long_summary import slope, told, told_churn
from trunkline_sim import mulaw

FRAME = 640  # bytes: 20 ms at 16 kHz


def babble(seed: int, seconds: float = 1.5) -> bytes:
    """Mu-law at 8 kHz with the ups and downs of speech; white, so that half a sample's shift matters."""
    dice = np.random.default_rng(seed)
    count = int(seconds * 8000)
    wave = dice.normal(size=count)
    slow = np.repeat(dice.uniform(0.3, 1.0, count // 800 + 1), 800)[:count]
    return mulaw.encode(np.clip(2500 * slow * wave, -30000, 30000).astype(np.int16))


def heard(clip: bytes, lead_ms: float = 300.0) -> bytes:
    """As it reaches the model: s16le at 16 kHz between two silences; the lead may be half a sample at 8 kHz."""
    wave = mulaw.decode(clip).astype(np.float64)
    doubled = 2 * np.fft.irfft(np.fft.rfft(wave), 2 * wave.size)
    lead = bytes(2 * round(16 * lead_ms))
    return lead + np.clip(np.rint(doubled), -32768, 32767).astype("<i2").tobytes() + bytes(16_000)


CLIPS = {"one": babble(1), "two": babble(2), "three": babble(3, 0.9)}
EAR = QuickEar(CLIPS)


@pytest.mark.parametrize("name", CLIPS)
@pytest.mark.parametrize("lead_ms", [300.0, 300.0625, 311.1875])
def test_the_quick_ear_knows_a_sentence_wherever_it_begins(name: str, lead_ms: float) -> None:
    match = EAR.understand(heard(CLIPS[name], lead_ms))
    assert match is not None
    assert match.text == name
    assert match.at_s == pytest.approx(lead_ms / 1000, abs=0.001)


def test_the_quick_ear_knows_no_stranger_and_no_silence() -> None:
    assert EAR.understand(heard(babble(9))) is None
    assert EAR.understand(bytes(32_000)) is None
    assert EAR.understand(b"") is None


@pytest.mark.parametrize("at_s", [0.5, 0.9, 1.3, 1.6])
def test_the_quick_ear_notices_20_ms_lost_doubled_or_silent(at_s: float) -> None:
    pcm = heard(CLIPS["one"])
    at = round(at_s * 32_000) // FRAME * FRAME + 200
    assert EAR.understand(pcm[:at] + pcm[at + FRAME :]) is None
    assert EAR.understand(pcm[: at + FRAME] + pcm[at:]) is None
    assert EAR.understand(pcm[:at] + bytes(FRAME) + pcm[at + FRAME :]) is None


def test_sentences_are_lost_doubled_or_as_they_were_said() -> None:
    said = ["a", "b", "c", "a", "b"]
    assert differences(said, said) == (0, 0)
    assert differences(said, ["a", "c", "a", "b"]) == (1, 0)
    assert differences(said, ["a", "b", "b", "c", "a", "b"]) == (0, 1)
    assert differences(said, []) == (5, 0)


def record(sid: str, outcome: str, ended: str | None = "2026-01-01") -> dict[str, Any]:
    """A record as the API gives it, as much of it as is looked at."""
    cause, fault = outcome.split("/")
    return {"carrier_ref": sid, "cause": cause, "fault": fault, "ended_at": ended}


def lived(sid: str, way: str = "hung up", greeting: str = "heard", *, spoke: bool = True) -> Lived:
    """A caller's account."""
    return Lived(sid, "919800000001", way, greeting, spoke)


@pytest.mark.parametrize(
    ("call", "outcomes", "right"),
    [
        (lived("s"), ["completed/caller"], True),
        (lived("s"), ["abandoned/caller"], False),
        (lived("s"), [], False),
        (lived("s"), ["completed/caller", "completed/caller"], False),
        (lived("s", greeting="part"), ["abandoned/caller"], True),
        (lived("s", greeting="none", spoke=False), ["completed/caller"], False),
        (lived("s", greeting="none"), ["completed/caller"], True),
        (lived("s", "cut off"), ["provider_failed/provider"], True),
        (lived("s", "cut off"), ["completed/caller"], False),
        (lived("s", "not set up"), [], True),
        (lived("s", "not set up"), ["completed/caller"], False),
    ],
)
def test_a_record_is_held_against_its_caller(call: Lived, outcomes: list[str], right: bool) -> None:
    assert (wrong_records([call], [record("s", outcome) for outcome in outcomes]) == []) is right


def test_records_of_nobody_and_records_without_an_end_are_told() -> None:
    assert wrong_records([], [record("x", "completed/caller")]) == ["x: recorded, but never placed"]
    assert wrong_records([lived("s")], [record("s", "completed/caller", None)]) == ["s: recorded, but not as over"]


def sample(at_s: float, rss_kb: int, **other: Any) -> dict[str, Any]:
    """A line of a run."""
    counts = dict.fromkeys(
        ("spoken", "heard", "not_understood", "answered", "unanswered", "frames_short", "late", "gone", "afresh",
         "rotations", "rung"), 0,
    )  # fmt: skip
    held = {"tasks": 509, "fds": 139, "sockets": 109, "threads": 6, "children": 1, "live": 50, "rss_kb": rss_kb}
    words: dict[str, dict[str, int]] = {"events": {}, "asked": {}, "ends": {}, "violations": {}}
    spreads = {name: {"n": 1, "p50": 0.1, "p99": 0.1, "max": 0.1} for name in ("gap_s", "response_s", "own_late_s")}
    shares = {"cpu_service": 0.3, "cpu_rig": 0.3, "load": 1.0, "rig_rss_kb": 100_000}
    return {"kind": "sample", "at_s": at_s, **counts, **held, **words, **spreads, **shares, **other}


def test_the_slope_leaves_the_warm_up_out() -> None:
    lines = [sample(at, 500_000 if at < 300 else 200_000 + at) for at in range(0, 3600, 30)]
    assert slope(lines, "rss_kb", "at_s", 300.0) == pytest.approx(1.0)
    assert np.isnan(slope(lines[:2], "rss_kb", "at_s", 0.0))
    assert np.isnan(slope(lines, "rss_kb", "rung", 0.0))


def test_a_run_that_was_cut_in_the_middle_of_a_line_is_summarised() -> None:
    lines = [json.dumps(sample(at, 200_000, rotations=at)) for at in range(0, 900, 30)]
    text = told([*lines, lines[-1][:100]])
    assert "not finished" in text
    assert "rotations 870" in text


def test_what_a_taken_machine_did_stands_apart() -> None:
    late = {"n": 1, "p50": 1.0, "p99": 1.0, "max": 1.0}
    lines = [sample(0, 1), sample(30, 1, unanswered=7, own_late_s=late), sample(60, 1, unanswered=9), sample(90, 1)]
    lines[3]["unanswered"] = 10
    text = told(map(json.dumps, lines))
    assert "machine ours: 1 samples; unanswered: 1," in text
    assert "and the sample after): 2 samples; unanswered: 9," in text


def test_a_churn_is_told_with_its_books() -> None:
    held = {"tasks": 9, "fds": 39, "sockets": 9, "threads": 6, "children": 1, "live": 0}
    books = {"kind": "books", "ways": {"hung up": 2}, "greetings": {"heard": 2}, "recorded": {"completed/caller": 2},
             "records": 2, "wrong_count": 1, "wrong": ["s: why"], "unseen_by_model": 0, "complaints": []}  # fmt: skip
    end = {"kind": "end", "before": held, "after": {**held, "fds": 40}, "left_behind": {"fds": 1}}
    lines = [*(sample(at, 200_000 + 2 * at, rung=10 * at) for at in range(0, 1000, 10)), books, end]
    text = told_churn(map(json.dumps, lines))
    assert "kB per 1,000 calls: 200 (from call 1000)" in text
    assert "contradicting their callers 1" in text
    assert "fds 39/40" in text
