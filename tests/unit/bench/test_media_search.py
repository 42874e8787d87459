"""The search for the highest load, and where an onset is found in what a model heard."""

import asyncio

import numpy as np
import pytest

from bench.media_barge import onset_arrival
from bench.media_search import FINE, highest
from trunkline_sim.gemini_log import SessionLog


@pytest.mark.parametrize("limit", [0, 1, 3, 7, 8, 9, 30, 47, 64, 100, 399, 400, 5000])
def test_the_load_found_is_carried_and_little_more_is_not(limit: int) -> None:
    asked: list[int] = []

    async def sustained(calls: int) -> bool:
        asked.append(calls)
        return calls <= limit

    found = asyncio.run(highest(sustained, most=400))
    assert found <= limit
    assert found == 400 or min(limit, 400) - found <= max(1.0, FINE * (limit + 1) / (1 - FINE))
    assert len(asked) == len(set(asked)) <= 12
    assert max(asked) <= 400


def test_an_onset_arrived_with_the_message_that_holds_its_first_loud_sample() -> None:
    log = SessionLog(1)
    quiet, loud = np.zeros(320, "<i2"), np.zeros(320, "<i2")
    loud[300:] = 9000
    for number, pcm in enumerate((quiet, quiet, loud, loud)):
        log.add_audio(10.0 + number, pcm.tobytes())
    assert onset_arrival(log) == 12.0
    assert onset_arrival(SessionLog(2)) is None
