"""What a run of `bench.sip_churn` came to, from its lines; finished or cut. Pure."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

Line: TypeAlias = Mapping[str, Any]
WARM_S = 300.0  # at the start, when allocators and caches fill
ROLES = ("gateway", "worker", "supervisor")


def told_churn(lines: Iterable[str]) -> str:
    """As text. A last line that a cut left unfinished is passed over."""
    by_kind: dict[str, list[Line]] = {}
    for line in lines:
        try:
            found = json.loads(line)
        except ValueError:
            continue
        by_kind.setdefault(str(found["kind"]), []).append(found)
    samples = [*by_kind.get("start", ()), *by_kind.get("sample", ()), *by_kind.get("last", ())]
    if len(samples) < 2:
        return "no samples yet"
    out = [*_heading(by_kind, samples), *_memory(samples), *_held(samples), *_books(by_kind)]
    return "\n".join(out)


def _heading(by_kind: Mapping[str, Sequence[Line]], samples: Sequence[Line]) -> list[str]:
    first, last = samples[0], samples[-1]
    wall = max(1e-9, last["at_s"] - first["at_s"])
    used = {role: (last["cpu_s"][role] - first["cpu_s"][role]) / wall for role in ROLES}
    own = (last["own_cpu_s"] - first["own_cpu_s"]) / wall
    plan = by_kind["plan"][0]
    return [
        f"{last['calls']} calls in {wall:.0f} s ({plan['rate']:g} a second, seed {plan['seed']}); "
        f"live {_range(sample['live'] for sample in samples)}; processor, share of a core: "
        + ", ".join(f"{role} {share:.3f}" for role, share in used.items())
        + f", callers {own:.3f}; load of the machine {_range(sample['load'] for sample in samples)}; "
        f"late beats {last['late_beats']:.0f}"
    ]


def _memory(samples: Sequence[Line]) -> list[str]:
    out = []
    for role in ROLES:
        kb = [sample["held"][role]["rss_kb"] for sample in samples]
        slopes = " / ".join(f"{1000 * slope(samples, role, share):+.0f}" for share in (0.0, 0.5))
        out.append(f"{role}: RSS {kb[0] / 1024:.1f} -> {kb[-1] / 1024:.1f} MB, most {max(kb) / 1024:.1f}; "
                   f"kB per 1,000 calls after the warm-up / in the second half: {slopes}")  # fmt: skip
    return out


def slope(samples: Sequence[Line], role: str, from_share: float) -> float:
    """kB of resident memory per call, least squares, from that share of the run on, when it was busy."""
    begin = min(WARM_S, samples[-1]["at_s"] / 4) + from_share * samples[-1]["at_s"]
    some = [sample for sample in samples if sample["live"] and sample["at_s"] >= begin]
    calls = [sample["calls"] for sample in some]
    if len(some) < 4 or not np.ptp(calls):
        return float("nan")
    return float(np.polyfit(calls, [sample["held"][role]["rss_kb"] for sample in some], 1)[0])


def _held(samples: Sequence[Line]) -> list[str]:
    out = []
    for role in ROLES:
        kinds = ("fds", "udp", "memfds", "threads")
        held = (f"{kind} {_range(sample['held'][role][kind] for sample in samples)}" for kind in kinds)
        out.append(f"{role}, least to most: " + ", ".join(held))
    each = {"slots": "slots", "sip_calls": "calls in the gateway", "tasks": "tasks of the worker"}
    last = samples[-1]
    return [*out, "at the end: " + ", ".join(f"{name} {last[key]:.0f}" for key, name in each.items())]


def _books(by_kind: Mapping[str, Sequence[Line]]) -> list[str]:
    out = [f"fault of this program or a sample missed: {line['error']}" for line in by_kind.get("fault", ())][:10]
    for books in by_kind.get("books", ()):
        out.append(
            f"callers: {_words(books['ways'])}; answered {books['answered']}; records {books['records']}: "
            f"{_words(books['recorded'])}; against their callers {books['wrong_count']}; with a complaint "
            f"{books['faults_count']}; lines of the log that must not be {len(books['complaints'])}; requests sent "
            f"again {books['again']}; requests of calls that are none {books['strays']}"
        )
        out.append(f"gateway: {_words(books['gateway'])}; starts {books['gateway_starts']:.0f}")
        out += [f"   {line}" for kind in ("wrong", "faults", "complaints") for line in books[kind][:10]]
    for end in by_kind.get("end", ()):
        out.append(f"left behind: {_words(end['left_behind'])}")
    return out


def _range(values: Iterable[float]) -> str:
    found = list(values)
    return f"{min(found):g} to {max(found):g}" if min(found) != max(found) else f"{found[0]:g}"


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count) or "nothing"
