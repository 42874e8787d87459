"""Which sentences the recogniser's templates can say: `python -m bench.speech_coverage`. Fails if an UNSEEN one can."""

import re
from collections.abc import Iterable

from bench.speech_sentences import KNOWN, UNSEEN, Sentences
from trunkline.ai.business import sample_business
from trunkline.ai.offline import expand, templates
from trunkline.ai.offline.grammar import domain, first_names

_SHOP = domain(sample_business())
_MARKS = {"[": "(?:", "]": ")?", "(": "(?:", ")": ")", "|": "|", " ": " *"}


def any_of(phrases: Iterable[str]) -> str:
    """Pattern of one of the phrases."""
    return "(?:" + "|".join(map(re.escape, sorted(phrases, key=len, reverse=True))) + ")"


def pattern(template: str) -> str:
    """Pattern of everything a template can say (spaces are optional: it accepts rather too much)."""
    parts = re.split(r"(\{\w+\})", re.sub(r"^\*\d+ ", "", template))
    return "".join(
        slot(part[1:-1]) if part.startswith("{") else "".join(_MARKS.get(c, re.escape(c)) for c in part)
        for part in parts
    )


def slot(name: str) -> str:
    """Pattern of a slot."""
    digits = f"(?:{any_of(expand._DIGITS)} *)+"
    phrases: dict[str, Iterable[str]] = {
        "num": expand._NUMBERS,
        "item": [form for item in _SHOP.items for form in item.singular],
        "items": [form for item in _SHOP.items for form in item.plural],
        "size": _SHOP.sizes,
        "category": _SHOP.categories,
        "day": templates.DAYS,
        "person": templates.PEOPLE,
        "name": first_names(),
    }
    if name in phrases:
        return any_of(phrases[name])
    if name == "when":
        return "(?:" + "|".join(map(pattern, templates.WHEN)) + ")"
    if name == "order":
        return f"(?:(?:o r d )?{digits}|{any_of(expand._NUMBERS)})"
    return r"\b[a-z]\b(?: [a-z]\b)*" if name == "letters" else digits


def sayable(sentences: Sentences) -> list[str]:
    """Those that the templates of their grammar can say, fillers included."""
    front, back = f"(?:{any_of(templates.PREFIXES)} )?", f"(?: {any_of(templates.SUFFIXES)})?"
    grammars = {
        name: [re.compile(front + pattern(t) + back) for _, group in mixture for t in group]
        for name, mixture in expand.MIXTURES.items()
    }
    return [said for said, keys, _ in sentences if any(r.fullmatch(said) for r in grammars[keys.split()[0]])]


if __name__ == "__main__":
    print(f"KNOWN: {len(sayable(KNOWN))} of {len(KNOWN)} can be said by the templates")
    seen = sayable(UNSEEN)
    print(f"UNSEEN: {len(seen)} of {len(UNSEEN)}", *seen, sep="\n  ")
    raise SystemExit(bool(seen))
