"""Who looks at something regularly looks when all others do."""

import random

import pytest

from trunkline.clock import until_beat


@pytest.mark.parametrize("every_s", [0.1, 0.25, 1.0])
def test_everybody_looks_at_the_same_moments_and_each_once(every_s: float) -> None:
    dice = random.Random(3)
    for _ in range(2000):
        now = dice.uniform(0.0, 1e6)
        for _ in range(3):
            wait = until_beat(now, every_s)
            assert every_s / 2 <= wait <= 1.5 * every_s
            now += wait + dice.uniform(-0.001, 0.001)  # a timer may be early, and is then not due again at once
            assert abs(now / every_s - round(now / every_s)) * every_s < 0.0011, "all wake together"
