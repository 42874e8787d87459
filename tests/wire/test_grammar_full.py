"""The same for whole languages: each takes seconds to build."""

import math
import re
from pathlib import Path

import pytest

from trunkline.ai.business import Business, MenuItem, sample_business
from trunkline.ai.offline import language
from trunkline.ai.offline.expand import Expander
from trunkline.ai.offline.grammar import GRAMMARS, domain
from trunkline.ai.offline.language import language_files
from trunkline.ai.offline.ngram import arpa

pytestmark = pytest.mark.wire
INDIAN = Business(
    name="Spice",
    menu=(
        MenuItem(name="Chicken Biryani", category="Mains"),
        MenuItem(name="Veg Biryani", category="Mains"),
        MenuItem(name="Paneer Jalfrezi", aliases=("Paneer",)),
        MenuItem(name="Mango Lassi & Ice", category="Drinks"),
    ),
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


def test_an_empty_menu_still_has_a_language() -> None:
    shop = Expander(domain(Business(name="Nothing")))
    sentences = [sentence for sentence, _ in shop.grammar("open")]
    assert "what are your hours" in sentences
    assert not any("{" in sentence or "  " in sentence for sentence in sentences)
    assert list(shop.grammar("item"))


def test_expansion_is_the_same_every_time() -> None:
    first, second = (list(Expander(domain(INDIAN)).grammar("item")) for _ in range(2))
    assert first == second


def test_files_are_made_once_and_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = language_files(INDIAN, tmp_path)
    assert all(files.model(grammar).stat().st_size for grammar in GRAMMARS)
    assert "biryani" in files.dictionary.read_text()
    monkeypatch.setattr(language, "_build", lambda *_: pytest.fail("made again"))
    assert language_files(INDIAN, tmp_path) == files
    assert [path.name for path in tmp_path.iterdir()] == [files.folder.name]


def test_likely_sentences_score_better_than_unlikely_ones() -> None:
    model = parsed(arpa(Expander(domain(sample_business())).grammar("open")))
    assert probability(model, "what time do you open on sunday") > probability(model, "sunday on open you do time what")
    assert math.isfinite(probability(model, "two garlic breads please"))
