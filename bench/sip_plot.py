"""The picture of `bench.sip_load --out FILE`: `python -m bench.sip_plot FILE docs/img/bench-sip.png`."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from PIL import Image, ImageDraw, ImageFont

Runs: TypeAlias = Sequence[Mapping[str, Any]]
COLOURS = {"gateway": "#5f6c7b", "worker": "#d9480f"}
WIDTH, LEFT, ROW, BAR = 900, 150, 26, 14
BUDGET_MS = (50.0, 65.0)  # round trip p50, p99: DESIGN 7


def draw(runs: Runs, path: Path) -> None:
    """Above: a call's share of a core, by process. Below: the round trip, p50 to p99, and the media clock's jitter."""
    image = Image.new("RGB", (WIDTH, 2 * (70 + ROW * len(runs)) + 20), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(13)
    _costs(pen, font, runs, 10)
    _delays(pen, font, runs, 80 + ROW * len(runs))
    image.save(path)


def _name(run: Mapping[str, Any]) -> str:
    return f"{run['calls']} calls, {run['node']}" + (" *" if run["limited"] else "")


def _costs(pen: Any, font: Any, runs: Runs, top: int) -> None:
    pen.text((12, top), "Processor per call, % of a core: gateway, worker (* the machine was the limit)", "black", font)
    shares = [{role: 100 * run["cpu"][role] / run["calls"] for role in COLOURS} for run in runs]
    scale = (WIDTH - LEFT - 120) / max(sum(share.values()) for share in shares)
    for at, (run, share) in enumerate(zip(runs, shares, strict=True)):
        y, x = top + 28 + ROW * at, float(LEFT)
        pen.text((12, y), _name(run), "black", font)
        for role, colour in COLOURS.items():
            pen.rectangle((x, y, x + share[role] * scale, y + BAR), colour)
            x += share[role] * scale
        pen.text((x + 8, y), " + ".join(f"{one:.2f}" for one in share.values()), "black", font)


def _delays(pen: Any, font: Any, runs: Runs, top: int) -> None:
    pen.text((12, top), "There and back, ms: p50 to p99; the lines are the budget of p50 and p99", "black", font)
    scale = (WIDTH - LEFT - 240) / max(BUDGET_MS[1], *(run["delay"][2] for run in runs))
    for budget in BUDGET_MS:
        x = LEFT + budget * scale
        pen.line((x, top + 24, x, top + 28 + ROW * len(runs)), "#9aa5b1", 1)
    for at, run in enumerate(runs):
        y, (middle, _, most) = top + 28 + ROW * at, run["delay"]
        pen.text((12, y), _name(run), "black", font)
        pen.rectangle((LEFT + middle * scale, y, LEFT + most * scale + 1, y + BAR), COLOURS["worker"])
        told = f"{middle:.0f} to {most:.0f}; clock's jitter p99 {run['jitter'][1]:.1f}"
        pen.text((LEFT + most * scale + 8, y), told, "black", font)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text())["runs"], Path(sys.argv[2]))
