"""A line a second, however often it happens, and none of it uncounted."""

from trunkline.log_limited import Rarely


def test_a_storm_is_one_line_a_second_with_its_count() -> None:
    rarely = Rarely(1.0)
    told = {n: count for n in range(25) if (count := rarely.due(n / 10))}
    assert told == {0: 1, 10: 10, 20: 10}
    assert rarely.due(60.0) == 5
