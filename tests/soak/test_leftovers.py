"""Minutes of load on a real service: every call is recorded as it was lived, and nothing of it is left behind.

`make soak` runs the whole programme (50 calls for 60 s, 1,000 short ones, 1,000 abandoned), `make soak-small` (`SOAK`
= small) 50 for 15 s, 200 and 200. Counts are exact; times are only printed, and memory has a generous bound.
"""

import asyncio
import os
from collections import Counter

import pytest

from bench.leaks import FULL, SMALL, Phase, Result, measure, told
from bench.rig import complaints_in, expected
from trunkline_sim.load import WAYS

pytestmark = pytest.mark.soak

PLAN = SMALL if os.environ.get("SOAK") == "small" else FULL
MOST_RSS_MB = 40  # grown from after the calls at once to the end


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """One run for all tests of this file: it takes minutes."""
    found = asyncio.run(measure(PLAN, tmp_path_factory.mktemp("soak")))
    for one in found.phases:
        print(told(one))
    return found


def outcomes(phase: Phase) -> Counter[str]:
    """The causes that the callers' own accounts make certain."""
    certain = [next(iter(wanted)) for call in phase.report.placed if len(wanted := expected(call)) == 1]
    return Counter(f"{cause}/{fault}" for cause, fault in certain)


def test_calls_at_once_are_served_to_their_end(result: Result) -> None:
    report = result.steady.report
    assert report.outcomes == {"completed": PLAN.steady_calls}
    assert report.errors == {}
    assert result.steady.recorded == {"completed/caller": PLAN.steady_calls}


def test_short_calls_are_served_to_their_end(result: Result) -> None:
    report = result.short.report
    assert report.outcomes == {"completed": PLAN.churn}
    assert report.errors == {}
    assert result.short.recorded == {"completed/caller": PLAN.churn}


def test_every_way_of_leaving_is_recorded_as_what_it_was(result: Result) -> None:
    phase = result.abandoned
    placed = Counter(call.way for call in phase.report.placed)
    assert sum(placed.values()) == PLAN.churn
    assert set(placed) == set(WAYS)
    assert not any("failed" in outcome for outcome in phase.report.outcomes), phase.report.outcomes
    assert sum(phase.recorded.values()) == PLAN.churn - placed["before start"] - placed["in handshake"]
    assert phase.recorded["silence/caller"] == placed["half-open"]
    assert phase.recorded["media_lost/carrier"] == placed["reset"] + placed["mid-message"]
    assert not outcomes(phase) - phase.recorded
    assert result.not_described == placed["before start"]


@pytest.mark.parametrize("name", ["steady", "short", "abandoned"])
def test_no_record_contradicts_a_caller(result: Result, name: str) -> None:
    assert getattr(result, name).wrong == []


@pytest.mark.parametrize("name", ["steady", "short", "abandoned"])
def test_nothing_is_left_behind(result: Result, name: str) -> None:
    phase: Phase = getattr(result, name)
    assert phase.after.live == 0
    assert phase.left_behind == {}


def test_memory_does_not_grow_with_calls(result: Result) -> None:
    grown = result.abandoned.after.rss_kb - result.short.before.rss_kb
    assert grown < MOST_RSS_MB * 1024


def test_the_log_is_clean(result: Result) -> None:
    assert result.complaints == []


def test_the_log_would_have_told() -> None:
    lines = ['{"level":"info"}', '{"event":"x","level":"error"}', "Task exception was never retrieved", "Traceback (m"]
    assert complaints_in(lines) == lines[1:]
