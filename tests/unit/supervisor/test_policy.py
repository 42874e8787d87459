"""When a worker that died is started again."""

from trunkline.supervisor_policy import LOOP, MOST_S, STEADY_S, Restarts


def test_each_early_death_doubles_the_wait_up_to_a_limit() -> None:
    restarts = Restarts()
    delays = [restarts.died(now, lived_s=1.0) for now in range(12)]
    assert delays[:4] == [0.1, 0.2, 0.4, 0.8]
    assert delays[-1] == MOST_S


def test_a_long_life_is_forgiven() -> None:
    restarts = Restarts()
    for now in range(6):
        restarts.died(now, lived_s=1.0)
    assert restarts.died(1000.0, lived_s=STEADY_S) == 0.1


def test_a_loop_is_many_deaths_in_a_short_time() -> None:
    restarts = Restarts()
    for number in range(LOOP):
        assert not restarts.looping(10.0 * number)
        restarts.died(10.0 * number, lived_s=1.0)
    assert restarts.looping(10.0 * LOOP)
    assert not restarts.looping(1000.0)
