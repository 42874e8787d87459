"""The long runs in small: calls that outlive their connections to the model, and many short ones.

`make soak-small`: 10 calls whose connections are sent away every 5 s or so, and 150 short calls, a minute together;
`make soak`: four and seven times as much. Where the machine is taken by others, sentences come late and are lost on the
way (a carrier's audio cannot wait), so what depends on being in time is asserted only where the callers were in time.
"""

import asyncio
import io
import json
import os
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, TextIO, TypeAlias

import pytest

from bench import churn, rotation
from bench.long_summary import STARVED_S, told, told_churn

pytestmark = pytest.mark.soak

SMALL = os.environ.get("SOAK") == "small"
PATIENCE_S = 10.0  # the simulated vendor is never at fault here, but the machine may be
ROTATION = rotation.Plan(28.0 if SMALL else 110.0, 10, 4.0, 6.0, (5.0, 7.0), 4.0, PATIENCE_S)
CHURN = churn.Plan(150 if SMALL else 1000, warm_up=30, every=3.0, patience=PATIENCE_S)
SLOWEST_ROTATION_S = 12.0  # goAway, the 3 s in which a quiet point is looked for, and a busy machine
MOST_RSS_MB = 40

Lines: TypeAlias = list[Mapping[str, Any]]


def lines_of(run: Callable[[TextIO], Coroutine[Any, Any, None]], summary: Callable[[list[str]], str]) -> Lines:
    """Run it, show what it came to."""
    out = io.StringIO()
    asyncio.run(run(out))
    print(summary(out.getvalue().splitlines()))
    return [json.loads(line) for line in out.getvalue().splitlines()]


def last(lines: Lines, kind: str) -> Mapping[str, Any]:
    """The last line of a kind."""
    return next(line for line in reversed(lines) if line["kind"] == kind)


def in_time(lines: Lines) -> bool:
    """Whether our own callers were, all the while."""
    return all(line.get("own_late_s", {}).get("p99", 0.0) < STARVED_S for line in lines)


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """One run for all its tests."""
    folder: Path = tmp_path_factory.mktemp("rotation")
    return lines_of(lambda out: rotation.run(ROTATION, folder, out), told)


@pytest.fixture(scope="module")
def churned(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    """One run for all its tests."""
    folder: Path = tmp_path_factory.mktemp("churn")
    return lines_of(lambda out: churn.run(CHURN, folder, out), told_churn)


def test_every_call_outlives_its_connections(rotated: Lines) -> None:
    books, totals = last(rotated, "books"), last(rotated, "last")
    assert books["recorded"] == {"completed/caller": ROTATION.calls}
    assert books["calls_seen"] == books["calls"] == ROTATION.calls
    assert totals["rotations"] >= ROTATION.calls * int(ROTATION.seconds / SLOWEST_ROTATION_S)
    assert totals["rotations"] - books["usage"]["gemini.reconnects"] <= 2  # a call may end in the middle of one
    assert totals["afresh"] == totals["broken"] == totals["unreached"] == 0


def test_no_second_greeting(rotated: Lines) -> None:
    asked = last(rotated, "last")["asked"]
    assert sum(count for text, count in asked.items() if "has just begun" in text) == ROTATION.calls


def test_what_was_said_was_heard_and_answered(rotated: Lines) -> None:
    books, totals = last(rotated, "books"), last(rotated, "last")
    assert books["spoken"] > ROTATION.calls
    assert totals["violations"] == {}
    if in_time(rotated):
        assert books["lost"] == 0
        assert totals["unanswered"] == 0


def test_short_calls_are_recorded_as_they_were(churned: Lines) -> None:
    books, totals = last(churned, "books"), last(churned, "last")
    set_up = CHURN.calls + CHURN.warm_up - totals["unreached"]
    assert books["wrong"] == []
    assert set_up <= books["records"] <= books["calls"] == CHURN.calls + CHURN.warm_up
    assert totals["gone"] == 0
    if in_time(churned):
        assert totals["unreached"] == books["unseen_by_model"] == 0
        assert books["greetings"].get("heard", 0) > 0.9 * books["calls"]


@pytest.mark.parametrize("name", ["rotated", "churned"])
def test_nothing_is_left_behind_and_the_log_is_clean(name: str, request: pytest.FixtureRequest) -> None:
    lines: Lines = request.getfixturevalue(name)
    end = last(lines, "end")
    assert end["left_behind"] == {}
    assert last(lines, "books")["complaints"] == []
    if in_time(lines):
        assert [line for line in lines if line["kind"] == "fault"] == []
    assert end["after"]["rss_kb"] - end["before"]["rss_kb"] < MOST_RSS_MB * 1024
