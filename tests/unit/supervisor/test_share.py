"""What a machine has once is shared out, not multiplied."""

import msgspec
import pytest

from trunkline.bus_wire import Setup
from trunkline.cli_worker import _shared
from trunkline.config import Ai, Offline, Settings


def shares(workers: int, offline: Offline) -> list[Offline]:
    settings = Settings(ai=Ai(offline=offline))
    made = (Setup("w", settings, (), (), 0, 0, post, workers) for post in range(1, workers + 1))
    return [_shared(setup).ai.offline for setup in made]


@pytest.mark.parametrize("workers", [1, 2, 3, 5])
def test_recognisers_and_their_calls_sum_to_what_was_configured(workers: int) -> None:
    found = shares(workers, Offline(recognisers=7, capacity=40))
    assert sum(one.recognisers for one in found) == 7
    assert sum(one.capacity for one in found) == 40


def test_more_workers_than_recognisers_share_the_calls_of_those_that_there_are() -> None:
    found = shares(4, Offline(recognisers=2, capacity=9))
    assert [one.recognisers for one in found] == [1, 1, 1, 1]
    assert sorted(one.capacity for one in found) == [2, 2, 2, 3]


def test_everything_else_is_as_it_was() -> None:
    settings = Settings()
    shared = _shared(Setup("w", settings, (), (), 0, 0, 1, 2))
    assert msgspec.structs.replace(shared, ai=settings.ai) == settings
