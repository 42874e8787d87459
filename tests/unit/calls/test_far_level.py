"""The loudest of the last 450 ms, against looking at every piece that was ever given."""

import random

from trunkline.ai.session import SILENT_DBOV
from trunkline.calls.mouth import FAR_WINDOW_S, FarLevel


def test_the_loudest_is_that_of_all_pieces_heard_in_the_window() -> None:
    dice = random.Random(7)
    far, now = FarLevel(), 0.0
    every: list[tuple[float, float, float]] = []  # (begins, ends, dBov)
    for _ in range(5000):
        now += dice.choice((0.001, 0.02, 0.02, 0.1, 0.7))
        if dice.random() < 0.6:
            level = dice.choice((-60.0, -40.0, -30.0, -20.0, -10.0))
            begins = far.gave(now, 0.02 * dice.randint(1, 5), level)
            every.append((begins, far.plays_until, level))
        elif dice.random() < 0.1:
            until = far.cut(now, dice.uniform(0.0, 0.3))
            every = [(begins, min(ends, until), level) for begins, ends, level in every if begins < until]
        heard = [level for begins, ends, level in every if begins <= now and ends >= now - FAR_WINDOW_S]
        assert far.loudest(now) == max(heard, default=SILENT_DBOV)
