"""What a machine has once is shared out, not multiplied."""

import msgspec
import pytest

from trunkline.ai.offline.recogniser import CALLS_PER_PROCESS
from trunkline.bus_wire import Setup
from trunkline.cli_worker import _shared, node_limits
from trunkline.config import Ai, Gemini, Offline, Settings


def shares(workers: int, offline: Offline) -> list[Offline]:
    settings = Settings(ai=Ai(offline=offline))
    made = (Setup("w", settings, (), (), 0, 0, post, workers) for post in range(1, workers + 1))
    return [_shared(setup).ai.offline for setup in made]


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 7])
def test_recognisers_sum_to_what_was_configured(workers: int) -> None:
    assert sum(one.recognisers for one in shares(workers, Offline(recognisers=7, capacity=40))) == 7


@pytest.mark.parametrize("capacity", [0, 1, 9, 40])
def test_no_process_is_given_more_calls_than_it_would_have_alone(capacity: int) -> None:
    alone = -(-capacity // 2)
    for one in shares(4, Offline(recognisers=2, capacity=capacity)):
        assert one.recognisers == 1
        assert one.capacity == alone


@pytest.mark.parametrize(
    ("offline", "calls"),
    [
        (Offline(recognisers=1), CALLS_PER_PROCESS),
        (Offline(recognisers=3), 3 * CALLS_PER_PROCESS),
        (Offline(recognisers=3, capacity=5), 5),
    ],
)
def test_the_node_carries_what_was_measured_however_many_workers_there_are(offline: Offline, calls: int) -> None:
    assert node_limits(Settings(ai=Ai(offline=offline))) == {"offline": calls}


def test_a_gemini_limit_is_the_node_s() -> None:
    assert node_limits(Settings(ai=Ai(gemini=Gemini(capacity=9))))["gemini"] == 9


def test_everything_else_is_as_it_was() -> None:
    settings = Settings()
    shared = _shared(Setup("w", settings, (), (), 0, 0, 1, 2))
    assert msgspec.structs.replace(shared, ai=settings.ai) == settings
