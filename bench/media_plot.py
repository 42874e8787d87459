"""The picture of `bench.media_path --out RUNS`: `python -m bench.media_plot RUNS… docs/img/bench-media.png`."""

import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

COLOURS = {"picows": "#9aa5b1", "aiohttp": "#5f6c7b", "product": "#d9480f"}
NAMES = {"picows": "bare relay, picows", "aiohttp": "bare relay, aiohttp", "product": "the service"}
WIDTH, LEFT, BAR, GAP = 900, 150, 16, 14


def draw(runs: Sequence[dict[str, Any]], path: Path) -> None:
    """A group of bars for each framing and number of calls: median cost, and from least to most as a line."""
    groups = list(dict.fromkeys((run["framing"], run["calls"]) for run in runs))
    whos = [who for who in COLOURS if any(run["who"] == who for run in runs)]
    scale = (WIDTH - LEFT - 90) / max(run["cost_ms"] for run in runs)
    image = Image.new("RGB", (WIDTH, 90 + len(groups) * (BAR * len(whos) + GAP)), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    pen.text((12, 10), "Processor time per second of a call, ms (Gemini path, 20 ms answers)", "black", font)
    for index, who in enumerate(whos):
        pen.rectangle((12 + 220 * index, 38, 26 + 220 * index, 50), COLOURS[who])
        pen.text((32 + 220 * index, 36), NAMES[who], "black", font)
    y = 72
    for framing, calls in groups:
        pen.text((12, y + 8), f"{framing}, {calls} calls", "black", font)
        for who in whos:
            costs = [r["cost_ms"] for r in runs if (r["framing"], r["calls"], r["who"]) == (framing, calls, who)]
            _bar(pen, font, y, costs, scale, COLOURS[who])
            y += BAR
        y += GAP
    image.save(path)


def _bar(pen: Any, font: Any, y: int, costs: Sequence[float], scale: float, colour: str) -> None:
    if not costs:
        return
    middle = statistics.median(costs)
    pen.rectangle((LEFT, y + 1, LEFT + middle * scale, y + BAR - 2), colour)
    pen.line((LEFT + min(costs) * scale, y + BAR // 2, LEFT + max(costs) * scale, y + BAR // 2), "black", 2)
    pen.text((LEFT + max(costs) * scale + 8, y - 1), f"{middle:.1f}", "black", font)


if __name__ == "__main__":
    draw([run for name in sys.argv[1:-1] for run in json.loads(Path(name).read_text())], Path(sys.argv[-1]))
