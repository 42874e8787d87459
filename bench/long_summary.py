"""What a run of `bench.rotation` or `bench.churn` came to, from its lines; finished or cut. Pure."""

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

Line: TypeAlias = Mapping[str, Any]

WARM_S = 300.0  # at the start of a run, when allocators and caches fill
WARM_CALLS = 1000  # the same in short calls
STARVED_S = 0.2  # our own lateness at p99 in a sample above which the machine, not the service, is what was measured
HELD = ("tasks", "fds", "sockets", "threads", "children", "live")
TOTALS = (
    "spoken", "heard", "not_understood", "answered", "unanswered", "frames_heard", "frames_short", "frames_over",
    "late", "rung", "gone", "unreached", "broken", "rotations", "afresh", "complaints",
)  # fmt: skip


def told(lines: Iterable[str]) -> str:
    """A rotation's summary as text. A last line that a cut left unfinished is passed over."""
    by_kind = _by_kind(lines)
    samples = [*by_kind.get("start", ()), *by_kind.get("sample", ()), *by_kind.get("last", ())]
    if len(samples) < 2:
        return "no samples yet"
    out = [*_heading(by_kind, samples), *_memory(samples), *_counts(samples), *_rotation(samples), *_apart(samples)]
    return "\n".join([*out, *_books(by_kind)])


def told_churn(lines: Iterable[str]) -> str:
    """The same of short calls."""
    by_kind = _by_kind(lines)
    samples = [*by_kind.get("start", ()), *by_kind.get("sample", ()), *by_kind.get("last", ())]
    samples.sort(key=lambda line: float(line["at_s"]))
    if len(samples) < 2:
        return "no samples yet"
    rungs = [line["rung"] for line in samples]
    full = [line for line in samples if line["live"]]  # idle ones before and after hold less
    slopes = ", ".join(
        f"{slope(full, 'rss_kb', 'rung', after) * 1000:.0f} (from call {after})"
        for after in (WARM_CALLS, (WARM_CALLS + max(rungs)) // 2)
    )
    out = [
        f"{max(rungs)} calls in {samples[-1]['at_s']:.0f} s; RSS {samples[0]['rss_kb'] / 1024:.1f} -> "
        f"{samples[-1]['rss_kb'] / 1024:.1f} MB, slope, kB per 1,000 calls: {slopes}",
        f"processor, share of a core: service {_middle(samples, 'cpu_service'):.2f}, simulators and callers "
        f"{_middle(samples, 'cpu_rig'):.2f}; load of the machine {_range(samples, 'load')}",
        f"live calls {_range(samples, 'live')}; our own lateness, median and largest p99 of samples: "
        f"{_own_late(samples)}",
    ]
    return "\n".join([*out, *_churn_books(by_kind)])


def _own_late(samples: Sequence[Line]) -> str:
    late = [line["own_late_s"]["p99"] for line in samples if line["own_late_s"]["n"]] or [float("nan")]
    return f"{np.median(late):.3f} and {max(late):.3f} s"


def _churn_books(by_kind: Mapping[str, Sequence[Line]]) -> list[str]:
    out = [f"fault of this program or a sample missed: {line['error']}" for line in by_kind.get("fault", ())][:10]
    for books in by_kind.get("books", ()):
        out.append(
            f"callers: {_words(books['ways'])}; greeting {_words(books['greetings'])}; records {books['records']}: "
            f"{_words(books['recorded'])}; contradicting their callers {books['wrong_count']}; calls that the model "
            f"never saw {books['unseen_by_model']}; lines of the log that must not be there {len(books['complaints'])}"
        )
        out += [f"   {line}" for line in (*books["wrong"][:10], *books["complaints"][:10])]
    for end in by_kind.get("end", ()):
        held = ", ".join(f"{name} {end['before'][name]}/{end['after'][name]}" for name in HELD)
        out.append(f"held before/after: {held}; left behind: {_words(end['left_behind'])}")
    return out


def _by_kind(lines: Iterable[str]) -> dict[str, list[Line]]:
    by_kind: dict[str, list[Line]] = {}
    for line in map(_parsed, lines):
        if line is not None:
            by_kind.setdefault(str(line["kind"]), []).append(line)
    return by_kind


def _parsed(text: str) -> Line | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and "kind" in line else None


def slope(samples: Sequence[Line], of: str, over: str, after: float) -> float:
    """Least squares of a field over another that counts up, from `after` on; nan with fewer than four samples."""
    points = [(line[over], line[of]) for line in samples if line[over] >= after]
    if len(points) < 4:
        return float("nan")
    steps, values = np.array(points, dtype=float).T
    return float(np.polyfit(steps, values, 1)[0]) if np.ptp(steps) else float("nan")


def _heading(by_kind: Mapping[str, Sequence[Line]], samples: Sequence[Line]) -> list[str]:
    plan = by_kind.get("plan", [{}])[-1]
    state = "finished" if "end" in by_kind else "not finished"
    return [
        f"{plan.get('calls')} calls for {plan.get('seconds')} s, goAway after {plan.get('goaway')} s, {state}: "
        f"{samples[-1]['at_s']:.0f} s, {len(samples)} samples"
    ]


def _memory(samples: Sequence[Line]) -> list[str]:
    end_s = samples[-1]["at_s"]
    full = [line for line in samples if line["kind"] == "sample"] or samples
    warm = min(WARM_S, end_s / 3)
    slopes = [
        f"{slope(full, 'rss_kb', 'at_s', after) * 3600 / 1024:.2f} (from {after:.0f} s)" for after in (warm, end_s / 2)
    ]
    heard = slope([line for line in full if line["at_s"] >= warm], "rss_kb", "heard", 0)
    return [
        f"RSS of the service: {samples[0]['rss_kb'] / 1024:.1f} MB before, {_range(full, 'rss_kb', 1024)} MB during; "
        f"slope, MB an hour: {', '.join(slopes)}; kB per sentence understood: {heard:.1f}",
        f"RSS of the callers and simulators: {_range(full, 'rig_rss_kb', 1024)} MB",
        f"processor, share of a core: service {_middle(full, 'cpu_service'):.2f}, simulators and callers "
        f"{_middle(full, 'cpu_rig'):.2f}; load of the machine {_range(full, 'load')}",
    ]


def _range(samples: Sequence[Line], of: str, unit: float = 1.0) -> str:
    values = [line[of] / unit for line in samples]
    return f"{min(values):.1f} to {max(values):.1f}"


def _middle(samples: Sequence[Line], of: str) -> float:
    return float(np.median([line[of] for line in samples]))


def _counts(samples: Sequence[Line]) -> list[str]:
    """Held with all calls up: the same at the beginning and at the end?"""
    full = [line for line in samples if line["live"] == max(one["live"] for one in samples)]
    part = max(1, len(full) // 10)
    first, last = full[:part], full[-part:]
    return [
        f"held with {full[0]['live']} calls up, median of the first and last tenth (largest): "
        + ", ".join(
            f"{name} {_middle(first, name):.0f} -> {_middle(last, name):.0f} ({max(line[name] for line in full)})"
            for name in HELD
        )
    ]


def _rotation(samples: Sequence[Line]) -> list[str]:
    last = samples[-1]
    gaps = [line["gap_s"] for line in samples if line["gap_s"]["n"]]
    largest = max((gap["max"] for gap in gaps), default=float("nan"))
    middle = float(np.median([gap["p50"] for gap in gaps])) if gaps else float("nan")
    return [
        ", ".join(f"{name} {last.get(name, 0)}" for name in TOTALS),
        f"model without the caller's voice at a rotation, arrival to arrival: median of samples {middle:.3f} s, "
        f"largest {largest:.3f} s",
        f"the service's log, counted: {_words(last['events'])}",
        f"told to the model in writing: {_words(last['asked'])}",
        f"closes of the model's connections: {_words(last['ends'])}; violations: {_words(last['violations'])}",
    ]


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items()) or "none"


def _apart(samples: Sequence[Line]) -> list[str]:
    """What went wrong, in samples when the machine was ours and in those when it was not."""
    whats = ("unanswered", "not_understood", "frames_short", "late", "gone", "afresh", "spoken", "rotations")
    found = {True: dict.fromkeys(whats, 0), False: dict.fromkeys(whats, 0)}
    number, responses = {True: 0, False: 0}, {True: list[float](), False: list[float]()}
    starved = False
    for before, line in itertools.pairwise(samples):
        own = line["own_late_s"].get("p99", 0.0) > STARVED_S
        bad, starved = own or starved, own  # what a starved sample did may be counted in the next one
        number[bad] += 1
        responses[bad] += [line["response_s"]["p99"]] if line["response_s"]["n"] else []
        for what in whats:
            found[bad][what] += line[what] - before[what]
    return [
        f"{name}: {number[bad]} samples; {_words(found[bad])}; end of a sentence to its answer, median of p99 "
        f"{np.median(responses[bad] or [float('nan')]):.2f} s"
        for bad, name in (
            (False, "machine ours"),
            (True, f"machine taken (we were late by over {STARVED_S:g} s, and the sample after)"),
        )
    ]


def _books(by_kind: Mapping[str, Sequence[Line]]) -> list[str]:
    out = [f"fault of this program or a sample missed: {line['error']}" for line in by_kind.get("fault", ())][:10]
    for books in by_kind.get("books", ()):
        out.append(
            f"{books['calls']} calls: recorded {_words(books['recorded'])}; strange records "
            f"{books['strange_records']}; sentences spoken {books['spoken']}, lost {books['lost']}, twice or invented "
            f"{books['extra']}"
        )
        out.append(f"usage in the records: {_words(books['usage'])}")
        out += [f"   {line}" for line in books["complaints"][:10]]
    out += [f"left behind afterwards: {_words(end['left_behind'])}" for end in by_kind.get("end", ())]
    return out
