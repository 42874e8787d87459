"""A carrier that misbehaves does so as asked, and says how often."""

from trunkline_sim.faults import Faults, Link


def _messages(faults: Faults, count: int = 200, seed: int = 1) -> tuple[list[tuple[float, int]], Link]:
    link = Link(faults, seed)
    out: list[tuple[float, int]] = []
    for tick in range(count * 5 + 100):
        now = tick * 0.02
        if tick % 5 == 0 and tick < count * 5:
            link.put(str(tick // 5), now, media=True)
        out += [(now, int(m)) if m.isdigit() else (now, -1) for m in link.due(now)]
    return out, link


def test_without_faults_everything_leaves_at_once_and_in_order() -> None:
    out, link = _messages(Faults())
    assert [number for _, number in out] == list(range(200))
    assert all(abs(at_s - number * 0.1) < 1e-9 for at_s, number in out)
    assert not link.counts


def test_loss() -> None:
    out, link = _messages(Faults(loss=20))
    assert len(out) == 200 - link.counts["lost"]
    assert 20 <= link.counts["lost"] <= 60


def test_jitter_delays_and_keeps_order() -> None:
    out, _ = _messages(Faults(jitter_ms=250))
    assert [number for _, number in out] == list(range(200))
    late = [at_s - number * 0.1 for at_s, number in out]
    assert max(late) > 0.1
    assert max(late) < 0.3


def test_duplicates_and_reordering() -> None:
    out, link = _messages(Faults(duplicate=10))
    assert len(out) == 200 + link.counts["duplicated"] > 205
    out, link = _messages(Faults(reorder=10))
    numbers = [number for _, number in out]
    assert sorted(numbers) == list(range(200)) != numbers
    assert link.counts["reordered"] > 5


def test_a_late_message_comes_behind_its_successors() -> None:
    out, link = _messages(Faults(late=5, late_ms=350))
    numbers = [number for _, number in out]
    assert link.counts["late"] > 2
    assert numbers != sorted(numbers)


def test_bursts_hold_back_and_let_go_at_once() -> None:
    out, _ = _messages(Faults(burst_ms=600, burst_every_s=2))
    at_600 = [number for at_s, number in out if abs(at_s - 2.6) < 0.011]
    assert at_600 == [20, 21, 22, 23, 24, 25, 26]


def test_a_stall_and_a_vanished_platform() -> None:
    out, _ = _messages(Faults(stall_at_s=3, stall_s=2))
    assert not [number for at_s, number in out if 3 <= at_s < 5]
    assert [number for _, number in out] == list(range(200))
    out, _ = _messages(Faults(vanish_at_s=3))
    assert [number for _, number in out] == list(range(30))


def test_nonsense_comes_in_between() -> None:
    out, link = _messages(Faults(odd=10))
    assert [number for _, number in out].count(-1) == link.counts["odd"] > 5
