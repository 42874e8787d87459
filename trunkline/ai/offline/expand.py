"""Templates → weighted sentences of one grammar. Pure: the same domain gives the same sentences."""

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from trunkline.ai.offline import templates
from trunkline.ai.offline import templates_answers as answers
from trunkline.ai.offline.grammar import Domain, Item, first_names

_NUMBERS: Final = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
_DIGITS: Final = ("zero", "oh", *_NUMBERS[:9])
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_PER_TEMPLATE: Final = 300  # draws of a template
_PREFIX_SHARE: Final = 0.12  # of a sentence's weight with a filler in front
_SUFFIX_SHARE: Final = 0.18
_TEMPLATE_WEIGHT: Final = 20.0  # counts per open template
_FREQUENCY = re.compile(r"^\*(\d+) ")
_INNERMOST = re.compile(r"\[([^\[\]()]*)\]|\(([^\[\]()]*)\)")
_SLOT = re.compile(r"\{(\w+)\}")

Templates = Sequence[str]
Weighted = tuple[str, float]

_OPEN: Final[Templates] = tuple(template for group in templates.OPEN.values() for template in group)
_ESCAPES: Final[Templates] = tuple(t for key in ("repeat", "cancel", "human", "help") for t in templates.OPEN[key])
_YES_NO: Final[Templates] = (*templates.OPEN["yes"], *templates.OPEN["no"])
_INTRODUCED: Final[Templates] = tuple(t for t in answers.NAME if " is {name}" in t or "for" in t)  # no bare names

# grammar → (share of the weight, templates)…; shares sum to 1
MIXTURES: Final[Mapping[str, Sequence[tuple[float, Templates]]]] = {
    "open": (
        (0.90, _OPEN),
        (0.04, answers.ITEM),
        (0.02, answers.NUMBER),
        (0.01, _INTRODUCED),
        (0.03, answers.CORRECTION),
    ),
    "yes_no": (
        (0.50, _YES_NO),
        (0.12, answers.CORRECTION),
        (0.06, answers.ITEM),
        (0.02, answers.NUMBER),
        (0.10, _ESCAPES),
        (0.20, _OPEN),
    ),
    "number": (
        (0.60, answers.NUMBER),
        (0.08, answers.CORRECTION),
        (0.05, _YES_NO),
        (0.07, _ESCAPES),
        (0.20, _OPEN),
    ),
    "digits": ((0.75, answers.DIGITS), (0.07, _ESCAPES), (0.18, _OPEN)),
    "name": ((0.75, answers.NAME), (0.07, _ESCAPES), (0.18, _OPEN)),
    "item": ((0.55, answers.ITEM), (0.05, _YES_NO), (0.05, _ESCAPES), (0.35, _OPEN)),
}


class Expander:
    """Sentences about one shop."""

    def __init__(self, shop: Domain, seed: int = 1) -> None:
        self._random = random.Random(seed)
        self._shop = shop
        self._drawn: dict[str, tuple[str, ...]] = {}
        self._slots: Mapping[str, Callable[[], str]] = {
            "num": lambda: self._random.choices(_NUMBERS, [1 / (n + 1) for n in range(20)])[0],
            "item": lambda: self._dish(lambda item: item.singular),
            "items": lambda: self._dish(lambda item: item.plural),
            "size": lambda: self._pick(shop.sizes),
            "category": lambda: self._pick(shop.categories),
            "day": lambda: self._pick(templates.DAYS),
            "when": lambda: self.draw(self._pick(templates.WHEN)),
            "person": lambda: self._pick(templates.PEOPLE),
            "name": lambda: self._pick(first_names()),
            "digits": lambda: self._digits(3, 7),
            "order": lambda: self.draw(self._pick(templates.ORDER)),
            "orderdigits": lambda: self._order_digits(),
            "letters": lambda: " ".join(self._random.choices(_LETTERS, k=self._random.randint(3, 7))),
        }

    def grammar(self, name: str) -> Iterable[Weighted]:
        """All sentences of a grammar with their weights."""
        total = _TEMPLATE_WEIGHT * sum(_frequency(template) for template in _OPEN)
        for share, group in MIXTURES[name]:
            everything = sum(_frequency(template) for template in group)
            for template in group:
                yield from self._weighted(template, total * share * _frequency(template) / everything)

    def _weighted(self, template: str, weight: float) -> Iterable[Weighted]:
        drawn = self._sentences(template)
        for sentence in drawn:
            yield from self._with_fillers(sentence, weight / len(drawn))

    def _sentences(self, template: str) -> tuple[str, ...]:
        if template not in self._drawn:
            bare = _FREQUENCY.sub("", template)
            once = not re.search(r"[\[({]", bare)
            draws = (self.draw(bare) for _ in range(1 if once else _PER_TEMPLATE))
            self._drawn[template] = tuple(dict.fromkeys(sentence for sentence in draws if sentence))
        return self._drawn[template]

    def _with_fillers(self, sentence: str, weight: float) -> Iterable[Weighted]:
        first, last = sentence.split(" ", 1)[0], sentence.rpartition(" ")[2]
        front = first not in templates.PREFIXES
        back = last not in templates.NO_SUFFIX
        yield sentence, weight * (1 - _PREFIX_SHARE * front - _SUFFIX_SHARE * back)
        if front:
            yield f"{self._pick(templates.PREFIXES)} {sentence}", weight * _PREFIX_SHARE
        if back:
            yield f"{sentence} {self._pick(templates.SUFFIXES)}", weight * _SUFFIX_SHARE

    def draw(self, template: str) -> str:
        """One sentence; "" when the shop has nothing for a slot."""
        text = template
        while match := _INNERMOST.search(text):
            optional, choices = match[1] is not None, (match[1] or match[2]).split("|")
            chosen = "" if optional and self._random.random() < 0.5 else self._random.choice(choices)
            text = text[: match.start()] + chosen + text[match.end() :]
        slots = [self._slots[name]() for name in _SLOT.findall(text)]
        if not all(slots):
            return ""
        values = iter(slots)
        text = " ".join(_SLOT.sub(lambda _: next(values), text).split())
        text = re.sub(r"\ba (?=[aeiou])", "an ", text)
        return re.sub(r"\ban (?=[^aeiou])", "a ", text)

    def _pick(self, options: Sequence[str]) -> str:
        return self._random.choice(options) if options else ""

    def _dish(self, forms: Callable[[Item], tuple[str, ...]]) -> str:
        return self._pick(forms(self._random.choice(self._shop.items))) if self._shop.items else ""

    def _digits(self, least: int, most: int) -> str:
        return " ".join(self._random.choices(_DIGITS, k=self._random.randint(least, most)))

    def _order_digits(self) -> str:
        """Order numbers count from one and are written with five digits: zeros in front, or none."""
        zero = self._random.choice(("zero", "oh"))
        length = self._random.choice((1, 1, 2, 2, 3, 4))
        tail = self._random.choices(_DIGITS[2:] if length == 1 else _DIGITS, k=length)
        zeros = self._random.choice((0, max(0, 5 - length), self._random.randint(1, 4)))
        return " ".join([zero] * zeros + tail)


def _frequency(template: str) -> int:
    match = _FREQUENCY.match(template)
    return int(match[1]) if match else 1
