"""The loudest of the last 450 ms, against looking at every piece that was ever given."""

import random

from trunkline.ai.session import SILENT_DBOV
from trunkline.calls.mouth import FAR_WINDOW_S, MOST_UNHEARD, FarLevel


def test_the_loudest_is_that_of_all_pieces_heard_in_the_window() -> None:
    dice = random.Random(7)
    far, now = FarLevel(lambda payload: -float(payload[0])), 0.0
    every: list[tuple[float, float, float]] = []  # (begins, ends, dBov)
    for _ in range(5000):
        now += dice.choice((0.001, 0.02, 0.02, 0.1, 0.7))
        if dice.random() < 0.6:
            level = dice.choice((-60.0, -40.0, -30.0, -20.0, -10.0))
            begins = far.gave(now, 0.02 * dice.randint(1, 5), bytes([int(-level)]))
            every.append((begins, far.plays_until, level))
        elif dice.random() < 0.1:
            until = far.cut(now, dice.uniform(0.0, 0.3))
            every = [(begins, min(ends, until), level) for begins, ends, level in every if begins < until]
        heard = [level for begins, ends, level in every if begins <= now and ends >= now - FAR_WINDOW_S]
        assert far.loudest(now) == max(heard, default=SILENT_DBOV)


def test_a_level_that_nobody_asks_for_is_not_looked_for_and_its_payload_not_kept() -> None:
    asked: list[bytes] = []
    far = FarLevel(lambda payload: asked.append(payload) or -20.0)  # type: ignore[func-returns-value]
    for n in range(5000):
        far.gave(n * 0.02, 0.02, bytes([n % 100]))
    assert not asked
    assert len(far._coming) <= MOST_UNHEARD + 1
    assert far.loudest(5000 * 0.02) == -20.0
    assert len(asked) <= MOST_UNHEARD + 1
