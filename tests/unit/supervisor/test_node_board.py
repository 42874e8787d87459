"""Seats counted for the node, without a message."""

from collections.abc import Iterator

import pytest

from trunkline.node_board import ROWS, NodeBoard, Phase, Place


@pytest.fixture
def board() -> Iterator[NodeBoard]:
    made = NodeBoard.create()
    yield made
    made.close()


def places(board: NodeBoard, count: int, limit: int = 10) -> list[Place]:
    made = [Place(board, board.hire(), limit) for _ in range(count)]
    for place in made:
        place.phase(Phase.READY)
    return made


def test_the_limit_is_all_workers_together(board: NodeBoard) -> None:
    one, two = places(board, 2, limit=3)
    assert [one.take(), two.take(), one.take(), two.take(), one.take()] == [True, True, True, False, False]
    one.leave()
    assert two.take()


def test_a_profile_s_calls_are_limited_for_the_node_and_for_each_worker(board: NodeBoard) -> None:
    one, two = (Place(board, board.hire(), 100, {"offline": 3}) for _ in range(2))
    assert [one.reserve("offline", 2) for _ in range(3)] == [None, None, 2]  # its own recognisers are full
    assert [two.reserve("offline", 2) for _ in range(2)] == [None, 3]  # the machine is
    assert two.reserve("gemini", None) is None
    one.release("offline")
    assert two.reserve("offline", 2) is None
    board.clear(0)
    assert one.reserve("offline", 2) is None  # a dead one's are free again


def test_a_dead_worker_s_seats_and_calls_are_free_again(board: NodeBoard) -> None:
    one, two = places(board, 2, limit=1)
    assert one.take()
    one.live(1)
    assert two.active == 1
    board.clear(0)
    assert two.active == 0
    assert two.take()


def test_the_busier_one_steps_back_for_those_that_take_connections(board: NodeBoard) -> None:
    one, two, three = places(board, 3)
    assert not one.busier()
    assert one.take()
    assert one.busier()
    assert not two.busier()
    two.phase(Phase.LEAVING)
    three.phase(Phase.DRAINING)
    assert not one.busier()
    one.phase(Phase.DRAINING)
    assert not one.ready


def test_a_burst_counts_before_its_calls_are_admitted(board: NodeBoard) -> None:
    one, two = places(board, 2)
    one.arrived(1)
    assert one.busier()
    assert not two.busier()
    one.arrived(-1)
    assert not one.busier()


def test_rows_are_given_again_and_run_out(board: NodeBoard) -> None:
    rows = [board.hire() for _ in range(ROWS)]
    assert rows == list(range(ROWS))
    with pytest.raises(OverflowError):
        board.hire()
    board.clear(17)
    assert board.hire() == 17
