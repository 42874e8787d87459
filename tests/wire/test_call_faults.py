"""Whole calls with a fault of Gemini in each, heard with the caller's ear: carrier, service, real SDK, simulated model,
side by side, in real time. The tight figures are `bench/faults.py`'s; here are those that a busy machine keeps."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.fault_call import observe, vendor
from bench.fault_judge import Verdict, judge
from bench.fault_rows import named

pytestmark = pytest.mark.wire

HEALED = ("goaway_tiny_caller", "rst_caller", "refused_1007", "rst_tool", "two_faults")
GONE = ("setup_never", "gone_for_good")
SILENCE_S = 4.0  # beyond the model's own time


async def _placed(folder: Path, *names: str) -> Mapping[str, Verdict]:
    async with vendor() as sim:
        calls = await asyncio.gather(*(observe(named(name), sim, folder) for name in names))
    return {call.row.name: judge(call) for call in calls}


@pytest.fixture(scope="module")
def evening(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Verdict]:
    return asyncio.run(_placed(tmp_path_factory.mktemp("faults"), *HEALED, *GONE))


def _told(evening: Mapping[str, Verdict], name: str, folder: Path) -> Verdict:
    """As it went; once more and alone where the loop stood still so long that the carrier's line had holes."""
    told = evening[name]
    words, late = told.words, told.call.lag.late
    if late and (words.lost_ms or words.doubled_ms or words.understood < 4 or told.worst.beyond_s > SILENCE_S):
        told = asyncio.run(_placed(folder, name))[name]
    return told


@pytest.mark.parametrize("name", HEALED)
def test_a_fault_costs_the_caller_no_word_and_no_second_greeting(
    evening: Mapping[str, Verdict], name: str, tmp_path: Path
) -> None:
    told = _told(evening, name, tmp_path)
    assert (told.words.lost_ms, told.words.doubled_ms) == (0, 0), told.wrong
    assert (told.words.said, told.words.understood) == (4, 4), told.wrong
    assert told.greetings == 1
    assert len(told.call.orders) == 1
    assert told.worst.beyond_s <= SILENCE_S, told.worst
    assert (told.call.record.cause, told.call.record.fault) == ("completed", "caller")
    assert len(told.call.logs) > 1  # the fault did happen


@pytest.mark.parametrize("name", GONE)
def test_where_no_session_can_be_had_it_is_said_and_recorded(evening: Mapping[str, Verdict], name: str) -> None:
    told = evening[name]
    assert told.honest_s is not None, told.wrong
    assert told.honest_s <= 2 * SILENCE_S
    assert told.call.ending.by == "service"
    assert (told.call.record.cause, told.call.record.fault) == ("provider_failed", "provider")
