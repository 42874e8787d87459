"""Sentences with weights → an interpolated Witten-Bell trigram as ARPA text. Pure.

For a closed domain of generated sentences this halved the word errors of a plain back-off model (docs/speech.md).
Interpolated probabilities are written as an ARPA back-off model: a seen n-gram carries its interpolated value, the
back-off weight of a context is the mass that Witten-Bell leaves to shorter contexts.
"""

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import TypeAlias

Gram: TypeAlias = tuple[str, ...]
_START, _END, _UNKNOWN = "<s>", "</s>", "<unk>"
_NEVER = -99.0


def arpa(sentences: Iterable[tuple[str, float]]) -> str:
    """(words separated by single spaces, weight > 0)… → ARPA text of a trigram model. Raises ValueError when empty."""
    counts = _count(sentences)
    if not counts[0]:
        raise ValueError("a language model needs at least one sentence")
    levels = [_unigrams(counts[0])]
    backoffs: dict[Gram, float] = {}
    for order in (1, 2):
        probabilities, weights = _interpolate(counts[order], levels[order - 1])
        levels.append(probabilities)
        backoffs.update(weights)
    return _write(levels, backoffs)


def _count(sentences: Iterable[tuple[str, float]]) -> list[dict[Gram, float]]:
    counts: list[dict[Gram, float]] = [defaultdict(float) for _ in range(3)]
    for text, weight in sentences:
        words = [_START, *text.split(), _END]
        for order in range(3):
            for at in range(len(words) - order):
                counts[order][tuple(words[at : at + order + 1])] += weight
    return counts


def _unigrams(counts: dict[Gram, float]) -> dict[Gram, float]:
    seen = {gram: count for gram, count in counts.items() if gram != (_START,)}
    total, kinds = sum(seen.values()), len(seen)
    uniform = 1.0 / (kinds + 1)
    return {gram: (count + kinds * uniform) / (total + kinds) for gram, count in seen.items()}


def _interpolate(counts: dict[Gram, float], lower: dict[Gram, float]) -> tuple[dict[Gram, float], dict[Gram, float]]:
    totals: dict[Gram, float] = defaultdict(float)
    kinds: dict[Gram, int] = defaultdict(int)
    for gram, count in counts.items():
        totals[gram[:-1]] += count
        kinds[gram[:-1]] += 1
    probabilities = {
        gram: (count + kinds[gram[:-1]] * lower[gram[1:]]) / (totals[gram[:-1]] + kinds[gram[:-1]])
        for gram, count in counts.items()
    }
    backoffs = {context: kinds[context] / (totals[context] + kinds[context]) for context in totals}
    return probabilities, backoffs


def _write(levels: list[dict[Gram, float]], backoffs: dict[Gram, float]) -> str:
    unigrams = {(_START,): 0.0, (_UNKNOWN,): 0.0, **levels[0]}
    tables = [unigrams, levels[1], levels[2]]
    lines = ["\\data\\", *(f"ngram {i + 1}={len(table)}" for i, table in enumerate(tables))]
    for order, table in enumerate(tables, start=1):
        lines += ["", f"\\{order}-grams:"]
        for gram in sorted(table):
            value = math.log10(table[gram]) if table[gram] > 0.0 else _NEVER
            tail = f"\t{math.log10(backoffs[gram]):.5f}" if gram in backoffs else "\t0.0" if order < 3 else ""
            lines.append(f"{value:.5f}\t{' '.join(gram)}{tail}")
    return "\n".join([*lines, "", "\\end\\", ""])
