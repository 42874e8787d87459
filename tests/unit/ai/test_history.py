"""History keeps what was said and, of a cut reply, what was heard."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trunkline.ai.cascade.protocols import ModelToolCall
from trunkline.ai.history import Clause, History, heard_text
from trunkline.ai.session import ReplyId
from trunkline.ai.tools import ToolResult

R1, R2 = ReplyId("r1"), ReplyId("r2")


def spoken(history: History, reply: ReplyId, *clauses: tuple[str, float]) -> None:
    for text, seconds in clauses:
        history.clause(reply, 1, text)
        history.spoken(reply, seconds, complete=True)


def told(history: History) -> list[tuple[str, str, bool]]:
    return [(entry.role, entry.text, entry.interrupted) for entry in history.entries()]


@pytest.mark.parametrize(
    ("heard_s", "text", "interrupted"),
    [
        (0.0, None, None),
        (0.1, None, None),
        (0.5, "We are", True),
        (1.0, "We are open.", True),
        (1.6, "We are open. Come", True),
        (2.0, "We are open. Come and see.", False),
        (9.0, "We are open. Come and see.", False),
    ],
)
def test_a_cut_reply_keeps_whole_words(heard_s: float, text: str | None, interrupted: bool | None) -> None:
    history = History()
    spoken(history, R1, ("We are open.", 1.0), ("Come and see.", 1.0))
    history.cut(R1, heard_s)
    assert told(history) == ([] if text is None else [("agent", text, interrupted)])


def test_an_unfinished_clause_is_guessed_by_its_length() -> None:
    history = History()
    history.clause(R1, 1, "x" * 13 + " " + "y" * 14)  # some two seconds
    history.spoken(R1, 0.4)
    history.cut(R1, 1.1)
    assert told(history) == [("agent", "x" * 13, True)]


@given(st.lists(st.tuples(st.text("ab ", min_size=1), st.floats(0.01, 5)), max_size=5), st.floats(0, 30))
def test_what_was_heard_is_a_beginning_of_what_was_said(clauses: list[tuple[str, float]], heard_s: float) -> None:
    made = [Clause(text, seconds, complete=True) for text, seconds in clauses]
    whole = " ".join(clause.text for clause in made)
    heard = heard_text(made, heard_s)
    assert "".join(whole.split()).startswith("".join(heard.split()))


def test_cut_tells_how_many_clauses_were_heard() -> None:
    history = History()
    spoken(history, R1, ("One.", 1.0), ("Two.", 1.0), ("Three.", 1.0))
    assert [history.cut(R1, s) for s in (0.0, 0.9, 1.0, 2.5, 3.0)] == [0, 0, 1, 2, 3]
    assert history.cut(ReplyId("unknown"), 1.0) == 0


def test_two_replies_that_still_play_can_both_be_cut() -> None:
    history = History()
    spoken(history, R1, ("First reply.", 1.0))
    spoken(history, R2, ("Second reply.", 1.0))
    history.cut(R1, 0.5)
    history.cut(R2, 0.0)
    assert told(history) == [("agent", "First", True)]


def test_a_tools_result_stands_behind_its_call_whatever_was_said_meanwhile() -> None:
    history = History()
    call = ModelToolCall("c1", "place_order", {})
    history.caller(1, "order")
    history.tool_call(1, call)
    history.clause(R1, 1, "One moment.")
    history.tool_result(1, ToolResult("c1", "place_order"))
    assert [role for role, _, _ in told(history)] == ["caller", "agent", "tool_call", "tool_result"]
    history.tool_call(2, ModelToolCall("c2", "x", {}))
    history.caller(2, "hello")
    history.tool_result(2, ToolResult("c2", "x"))
    assert [role for role, _, _ in told(history)][-3:] == ["tool_call", "tool_result", "caller"]


def test_a_reply_around_a_tool_is_cut_by_its_seconds_over_all() -> None:
    history = History()
    spoken(history, R1, ("Let me see.", 1.0))
    history.tool_call(1, ModelToolCall("c1", "x", {}))
    history.tool_result(1, ToolResult("c1", "x"))
    spoken(history, R1, ("It is noon now.", 2.0))
    history.cut(R1, 2.0)
    assert told(history) == [
        ("agent", "Let me see.", False),
        ("tool_call", "x", False),
        ("tool_result", "x", False),
        ("agent", "It is", True),
    ]


def test_withdrawing_takes_the_turn_and_its_reply_back() -> None:
    history = History()
    history.caller(1, "hello")
    spoken(history, R1, ("Hi.", 0.5))
    history.caller(2, "i want")
    spoken(history, R2, ("What?", 0.5))
    entry = history.withdraw(2)
    assert entry is not None
    assert entry.text == "i want"
    assert [text for _, text, _ in told(history)] == ["hello", "Hi."]


def test_nothing_is_withdrawn_behind_a_tool_or_for_another_turn() -> None:
    history = History()
    history.caller(1, "order")
    assert history.withdraw(2) is None
    history.tool_call(1, ModelToolCall("c1", "x", {}))
    assert history.withdraw(1) is None
    assert len(history.entries()) == 2


def test_the_oldest_is_forgotten() -> None:
    history = History(limit=3)
    for turn in range(5):
        history.caller(turn, str(turn))
    assert [entry.text for entry in history.entries()] == ["2", "3", "4"]
