"""A small pronouncing dictionary for exactly the words of a language model.

Words are looked up in the dictionary that comes with pocketsphinx; a customer's own words (dishes, names) that it does
not have are pronounced by flite's letter-to-sound rules where flite is installed, else by a rough rule of our own: a
word that is badly spelled out is still better than a menu that cannot be ordered from.
"""

import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from trunkline.ai.offline.voice import pronounce
from trunkline.errors import ConfigError

Pronunciations = dict[str, tuple[str, ...]]  # word → phone strings such as "P IY T S AH"

# Said otherwise than the dictionary thinks, or missing there.
_OWN: Final[Mapping[str, tuple[str, ...]]] = {
    "margherita": ("M AA R G ER IY T AH", "M AA R G AH R IY T AH", "M AA R JH ER IY T AH"),
    "margheritas": ("M AA R G ER IY T AH Z", "M AA R G AH R IY T AH Z"),
    "tiramisu": ("T IH R AH M IY S UW", "T IH R AH M IH S UW"),
    "biryani": ("B IH R Y AA N IY", "B IY R IY AA N IY"),
    "paneer": ("P AH N IH R",),
    "masala": ("M AH S AA L AH",),
    "dosa": ("D OW S AH",),
    "naan": ("N AA N",),
    "samosa": ("S AH M OW S AH",),
    "gnocchi": ("N Y OW K IY", "N AA K IY"),
}
_PHONES: Final = frozenset(
    "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH".split()  # noqa: SIM905
)
_FLITE_NAMES: Final = {"ax": "AH"}
# longest first; rough English
_LETTERS: Final = {
    "tion": "SH AH N", "sch": "SH", "tch": "CH", "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "gh": "G", "ck": "K",
    "qu": "K W", "ee": "IY", "ea": "IY", "oo": "UW", "ou": "AW", "ow": "OW", "ai": "EY", "ay": "EY", "oi": "OY",
    "oy": "OY", "au": "AO", "ng": "NG", "zz": "T S", "cc": "K", "ll": "L", "tt": "T", "ss": "S", "pp": "P",
    "nn": "N", "mm": "M", "rr": "R", "bb": "B", "dd": "D", "ff": "F", "gg": "G", "a": "AE", "b": "B", "c": "K",
    "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH", "k": "K", "l": "L", "m": "M",
    "n": "N", "o": "OW", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T", "u": "AH", "v": "V", "w": "W",
    "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip
_LETTER = re.compile("|".join(sorted(_LETTERS, key=len, reverse=True)))


def model_dir() -> Path:
    """Where pocketsphinx keeps its US English model: acoustic model, dictionary, phone model."""
    from pocketsphinx import get_model_path

    return Path(get_model_path()) / "en-us"


def lexicon(words: Iterable[str]) -> str:
    """pocketsphinx dictionary text for `words` (lower case), every word with at least one pronunciation."""
    known = _cmudict()
    lines = []
    for word in sorted(set(words)):
        for index, phones in enumerate(_pronounce(word, known)):
            lines.append(f"{word}{f'({index + 1})' if index else ''} {phones}")
    return "\n".join([*lines, ""])


def _pronounce(word: str, known: Pronunciations) -> tuple[str, ...]:
    if word in _OWN:
        return _OWN[word]
    if word in known:
        return known[word]
    singular = known.get(word.removesuffix("s")) if word.endswith("s") else None
    if singular:
        return tuple(f"{phones} {_plural(phones)}" for phones in singular)
    return (_flite_phones(word) or spelled(word),)


def _plural(phones: str) -> str:
    last = phones.split()[-1]
    if last in ("S", "Z", "SH", "ZH", "CH", "JH"):
        return "IH Z"
    return "S" if last in ("P", "T", "K", "F", "TH") else "Z"


@cache
def _cmudict() -> Pronunciations:
    found: dict[str, list[str]] = {}
    with (model_dir() / "cmudict-en-us.dict").open(encoding="utf-8") as lines:
        for line in lines:
            head, _, phones = line.strip().partition(" ")
            found.setdefault(head.partition("(")[0], []).append(phones.strip())
    return {word: tuple(phones) for word, phones in found.items()}


def _flite_phones(word: str) -> str:
    """CMU phones by flite's rules; "" where there is no flite or it says nothing usable."""
    try:
        phones = [_FLITE_NAMES.get(phone, phone.upper()) for phone in pronounce(word)]
    except ConfigError:
        return ""
    return " ".join(phones) if phones and all(p in _PHONES for p in phones) else ""


def spelled(word: str) -> str:
    """A rough pronunciation from the letters alone; never empty."""
    letters = re.sub(r"[^a-z]", "", word.lower())
    phones = [_LETTERS[match[0]] for match in _LETTER.finditer(re.sub(r"(?<=[^aeiou])e$", "", letters))]
    return " ".join(phones) or "AH"
