"""What callers may say: domains, templates, language models, pronunciations."""

import re
from functools import cache
from pathlib import Path

import pytest

from trunkline.ai.business import Business, MenuItem, parse_business, sample_business
from trunkline.ai.offline import language, lexicon
from trunkline.ai.offline.expand import MIXTURES, Expander
from trunkline.ai.offline.grammar import GRAMMARS, INTENT_EXAMPLES, domain, plural, words
from trunkline.ai.offline.intents import Reader
from trunkline.ai.offline.language import language_files
from trunkline.ai.offline.lexicon import lexicon as pronunciations
from trunkline.ai.offline.lexicon import spelled
from trunkline.ai.offline.ngram import arpa
from trunkline.errors import ConfigError

pytestmark = pytest.mark.slow

INDIAN = Business(
    name="Spice",
    menu=(
        MenuItem(name="Chicken Biryani", category="Mains"),
        MenuItem(name="Veg Biryani", category="Mains"),
        MenuItem(name="Paneer Jalfrezi", aliases=("Paneer",)),
        MenuItem(name="Mango Lassi & Ice", category="Drinks"),
    ),
)


@cache
def vocabulary(data: bytes) -> frozenset[str]:
    expander = Expander(domain(parse_business(data)))
    return frozenset(
        word for grammar in GRAMMARS for sentence, _ in expander.grammar(grammar) for word in sentence.split()
    )


def probability(model: dict[str, tuple[float, float]], sentence: str) -> float:
    """log10 of a sentence by an ARPA model."""
    history, total = ["<s>"], 0.0
    for word in [*sentence.split(), "</s>"]:
        context, backoff = history[-2:], 0.0
        while " ".join([*context, word]) not in model:
            backoff += model.get(" ".join(context), (0.0, 0.0))[1]
            context = context[1:]
        total += backoff + model[" ".join([*context, word])][0]
        history.append(word)
    return total


def parsed(text: str) -> dict[str, tuple[float, float]]:
    lines = [line.split("\t") for line in text.splitlines() if re.match(r"-?\d+\.\d+\t", line)]
    return {line[1]: (float(line[0]), float(line[2]) if len(line) > 2 else 0.0) for line in lines}


def test_words_and_plurals() -> None:
    assert words("Mango Lassi & Ice (large)!") == "mango lassi and ice large"
    assert [plural(w) for w in ("garlic bread", "dish", "curry", "fries", "day")] == [
        "garlic breads", "dishes", "curries", "fries", "days",
    ]  # fmt: skip


def test_a_domain_says_items_as_callers_do() -> None:
    items = {item.singular[0]: item for item in domain(INDIAN).items}
    assert "chicken" in items["chicken biryani"].singular
    assert "biryani" in items, "the kind alone"
    assert "paneer" in items["paneer jalfrezi"].singular
    assert "mango lassi and ices" in items["mango lassi and ice"].plural


@pytest.mark.parametrize("grammar", GRAMMARS)
def test_mixtures_add_up(grammar: str) -> None:
    assert sum(share for share, _ in MIXTURES[grammar]) == pytest.approx(1.0)


@pytest.mark.parametrize("intent", INTENT_EXAMPLES)
def test_the_recogniser_knows_every_word_of_the_contract(intent: str) -> None:
    known = vocabulary(
        b'{"name": "x", "menu": ["Margherita Pizza", "Pepperoni Pizza", "Caesar Salad", "Garlic Bread", "Lemonade"]}'
    )
    unknown = {word for sentence in INTENT_EXAMPLES[intent] for word in sentence.split()} - known
    assert not unknown


def test_what_the_recogniser_can_say_is_mostly_understood() -> None:
    """The templates of an intent and the receptionist's patterns must not drift apart."""
    reader = Reader(sample_business())
    expander = Expander(domain(sample_business()))
    sentences = [sentence for sentence, _ in expander.grammar("open")][::37]
    understood = [bool(reader.read(sentence).intent) for sentence in sentences]
    assert sum(understood) / len(understood) > 0.9


def test_the_model_is_a_probability() -> None:
    model = parsed(arpa([("a b", 2.0), ("a c", 1.0), ("b", 1.0)]))
    for context in ("<s>", "<s> a", "a"):
        mass = 0.0
        for word in ("a", "b", "c", "</s>"):
            tail, backoff = context.split(), 0.0
            while " ".join([*tail, word]) not in model:
                backoff += model.get(" ".join(tail), (0.0, 0.0))[1]
                tail = tail[1:]
            mass += 10 ** (backoff + model[" ".join([*tail, word])][0])
        assert 0.9 < mass <= 1.02, context
    assert probability(model, "a b") > probability(model, "a c") > probability(model, "c c")


def test_weights_count() -> None:
    even, heavy = (parsed(arpa([("yes", weight), ("no", 1.0)])) for weight in (1.0, 50.0))
    assert probability(heavy, "yes") > probability(even, "yes")


def test_no_sentences_no_model() -> None:
    with pytest.raises(ValueError, match="at least one"):
        arpa([])


def test_every_word_has_a_pronunciation() -> None:
    text = pronunciations(["pizza", "jalfrezi", "lassis", "zzyx"])
    lines = dict(line.split(" ", 1) for line in text.splitlines() if "(" not in line)
    assert lines["pizza"] == "P IY T S AH"
    assert set(lines) == {"pizza", "jalfrezi", "lassis", "zzyx"}
    assert all(set(phones.split()) <= lexicon._PHONES for phones in lines.values())


def test_without_flite_a_rough_rule_spells(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(word: str) -> list[str]:
        raise ConfigError(word)

    monkeypatch.setattr(lexicon, "pronounce", missing)
    assert pronunciations(["bhelpuri"]).strip() == "bhelpuri B HH EH L P AH R IH"
    assert spelled("'") == "AH"


def test_another_menu_is_another_language(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language, "_build", lambda *_: None)
    assert language_files(INDIAN, tmp_path) != language_files(sample_business(), tmp_path)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        language_files(INDIAN, tmp_path / "file" / "cache")
