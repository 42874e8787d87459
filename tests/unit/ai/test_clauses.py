"""Streamed text becomes clauses, early and never cut in a number or a name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.ai.cascade.clauses import ClauseChunker, ClauseSettings


def cut(text: str, step: int = 4) -> list[str]:
    chunker = ClauseChunker()
    found = [clause for at in range(0, len(text), step) for clause in chunker.push(text[at : at + step])]
    return found + chunker.end()


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Hello! We open at 9 a.m. on Monday. See you.", ["Hello!", "We open at 9 a.m. on Monday.", "See you."]),
        ("It is $4.50. Okay?", ["It is $4.50.", "Okay?"]),
        ("Dr. Smith lives in the U.S. He is nice.", ["Dr. Smith lives in the U.S.", "He is nice."]),
        ("1. One pizza. 2. Two.", ["1. One pizza.", "2. Two."]),
        ("No. We are closed.", ["No.", "We are closed."]),
        ("It is No. 12 there.", ["It is No. 12 there."]),
        ("Wait... what?! Really.", ["Wait...", "what?!", "Really."]),
        ('He said "Yes." Then left.', ['He said "Yes."', "Then left."]),
        ("Visit https://a.example/x. Thanks.", ["Visit https://a.example/x.", "Thanks."]),
        ("J. R. Smith came. Fine", ["J. R. Smith came.", "Fine"]),
        ("Pi is 3.14. Nice", ["Pi is 3.14.", "Nice"]),
        ("One line\nanother", ["One line", "another"]),
        ("नमस्ते। आप कैसे हैं?", ["नमस्ते।", "आप कैसे हैं?"]),
        (
            "We have margherita pizza, pepperoni, and lemonade. What would you like, sir, today?",
            ["We have margherita pizza, pepperoni,", "and lemonade.", "What would you like, sir, today?"],
        ),
    ],
)
def test_cuts(text: str, clauses: list[str]) -> None:
    assert cut(text) == clauses


def test_a_boundary_waits_for_the_next_character() -> None:
    chunker = ClauseChunker()
    assert chunker.push("It costs $4.") == []
    assert chunker.push("50. ") == []
    assert chunker.push("O") == ["It costs $4.50."]


def test_a_pause_of_the_model_flushes_a_finished_sentence_only() -> None:
    chunker = ClauseChunker()
    chunker.push("All right.")
    assert chunker.flush() == ["All right."]
    chunker.push("We are open from")
    assert chunker.flush() == []
    assert chunker.pending == "We are open from"


def test_a_long_clause_is_cut_at_a_comma_or_a_space() -> None:
    chunker = ClauseChunker(ClauseSettings(max_chars=40))
    (first, *_) = chunker.push("word " * 6 + "word, " + "more " * 10)
    assert first.endswith("word,")
    assert all(len(clause) <= 40 for clause in chunker.push("word " * 40))


@given(st.text(alphabet="ab. ,!?\n1$:;।'\"", max_size=300), st.integers(1, 17))
def test_nothing_is_lost_and_nothing_too_long(text: str, step: int) -> None:
    clauses = cut(text, step)
    assert "".join("".join(clauses).split()) == "".join(text.split())
    assert all(0 < len(clause) <= ClauseSettings().max_chars for clause in clauses)


@given(st.text(alphabet="ab. ,!?\n1", max_size=200), st.integers(1, 9))
def test_cuts_do_not_depend_on_how_text_arrives(text: str, step: int) -> None:
    assert cut(text, step) == cut(text, 1000)
