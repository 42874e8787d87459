"""A call's timeline as a picture: both voices over time, who said what, how long the caller waited and for what."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from trunkline_sim import mulaw
from trunkline_sim.account import Account, Answer, BargeIn
from trunkline_sim.canvas import Box, Canvas, Line, Shape, Text, text_width, wrap
from trunkline_sim.ears import Run
from trunkline_sim.report import agent_lines, headline, summary
from trunkline_sim.spectator import Told

WIDTH = 1600.0
LEFT, RIGHT = 92.0, 34.0
ROW_S = 20.0  # about so much time in one row
LANE = 54.0  # height of a waveform
STRIP = 46.0  # between the lanes: barge-ins and tools above, what the caller waited for below
LINE = 15.0  # height of a line of text
SIZE = 11.5
INK, FAINT, GRID = "#1f2937", "#9ca3af", "#eceff3"
CALLER, CALLER_PALE = "#0d9488", "#e6f6f4"
AGENT, AGENT_PALE = "#4f46e5", "#eeeefc"
RED, RED_PALE = "#dc2626", "#fde8e8"
WAIT = "#fcd34d"
STAGES: Mapping[str, tuple[str, str]] = {
    "endpointing": ("#f59e0b", "end of turn"),
    "stt_tail": ("#65a30d", "recogniser"),
    "llm": ("#0891b2", "model"),
    "first_clause": ("#9333ea", "first clause"),
    "tts": ("#db2777", "synthesiser"),
    "bridge": ("#475569", "bridge"),
}

Place: TypeAlias = Callable[[float], float]  # second of the call → x


@dataclass(frozen=True, slots=True)
class Said:
    """Words under a voice. `lost` was said by nobody's ear: cut off by the caller."""

    at_s: float
    text: str
    lost: str = ""


@dataclass(frozen=True, slots=True)
class _Row:
    from_s: float
    to_s: float
    y: float
    caller: Sequence[tuple[float, list[str], int]]  # x, lines of text, how many words of them were heard
    agent: Sequence[tuple[float, list[str], int]]
    above: float  # height of the caller's words
    below: float

    @property
    def caller_y(self) -> float:
        return self.y + self.above + 8

    @property
    def strip_y(self) -> float:
        return self.caller_y + LANE

    @property
    def agent_y(self) -> float:
        return self.strip_y + STRIP

    @property
    def words_y(self) -> float:
        return self.agent_y + LANE + 20

    @property
    def bottom(self) -> float:
        return self.words_y + self.below + 18


def draw(account: Account) -> Canvas:
    """The picture of a call."""
    spans = _rows_of(account)
    per_s = (WIDTH - LEFT - RIGHT) / max(to_s - from_s for from_s, to_s in spans)
    caller = [Said(did.from_s, f"[{did.label}]" if did.kind == "pressed" else did.label) for did in account.did]
    agent = [Said(line.from_s, line.heard, line.lost) for line in agent_lines(account)]
    rows: list[_Row] = []
    y = 92.0
    for from_s, to_s in spans:
        row = _row(from_s, to_s, y, per_s, caller, agent)
        rows.append(row)
        y = row.bottom
    canvas = Canvas(WIDTH, y + 46)
    _title(canvas, account)
    for row in rows:
        _draw_row(canvas, row, per_s, account)
    _legend(canvas, y + 18, account)
    return canvas


def save(account: Account, folder: Path) -> Path:
    """Write `timeline.png` and `timeline.svg`; the PNG's path."""
    canvas = draw(account)
    canvas.save_svg(folder / "timeline.svg")
    canvas.save_png(folder / "timeline.png")
    return folder / "timeline.png"


def _rows_of(account: Account) -> list[tuple[float, float]]:
    """Cut the call into rows at quiet moments."""
    end = max(account.duration_s, 1.0)
    if end <= ROW_S * 1.25:
        return [(0.0, end)]
    busy = [*account.agent_runs, *(Run(did.from_s, did.to_s) for did in account.did)]
    busy += [Run(a.last_wire_s, a.wire_s) for a in account.answers if a.wire_s is not None]
    rows: list[tuple[float, float]] = []
    at_s = 0.0
    while end - at_s > ROW_S * 1.15:
        around = np.arange(at_s + 0.75 * ROW_S, at_s + 1.1 * ROW_S, 0.1)
        cut = float(max(around, key=lambda t: min(_quiet(busy, float(t)), 0.4) - 0.05 * abs(t - at_s - ROW_S)))
        rows.append((at_s, cut))
        at_s = cut
    return [*rows, (at_s, end)]


def _quiet(busy: Sequence[Run], at_s: float) -> float:
    """Distance to the nearest speech; 0 inside of it."""
    return max(0.0, min((max(run.from_s - at_s, at_s - run.to_s) for run in busy), default=1.0))


def _row(from_s: float, to_s: float, y: float, per_s: float, caller: Sequence[Said], agent: Sequence[Said]) -> _Row:
    above = _place(caller, from_s, to_s, per_s)
    below = _place(agent, from_s, to_s, per_s)
    lines = [max((len(lines) for _, lines, _ in words), default=1) for words in (above, below)]
    return _Row(from_s, to_s, y, above, below, lines[0] * LINE, lines[1] * LINE)


def _place(said: Sequence[Said], from_s: float, to_s: float, per_s: float) -> list[tuple[float, list[str], int]]:
    """Words of a row: where they begin, in lines that end before the next ones do."""
    here = [one for one in said if from_s <= one.at_s < to_s and (one.text or one.lost)]
    edges = [LEFT + (one.at_s - from_s) * per_s for one in here] + [WIDTH - 8]
    placed = []
    for one, x, end in zip(here, edges, edges[1:], strict=False):
        whole = f"{one.text} {one.lost}".strip()
        placed.append((x, wrap(whole, SIZE, max(60.0, end - x - 10)), len(one.text.split())))
    return placed


def _title(canvas: Canvas, account: Account) -> None:
    top = headline(account)
    canvas.add(Text(LEFT, 34, top[0], 20, INK, bold=True), Text(LEFT, 56, top[1], 12.5, "#6b7280"))
    x = WIDTH - RIGHT
    for label, value in reversed(summary(account)):
        width = max(text_width(label, 10.5), text_width(value, 17)) + 22
        canvas.add(
            Box(x - width, 14, width, 46, "#f8fafc", "#e2e8f0", 6),
            Text(x - width / 2, 36, value, 17, INK, "middle", bold=True),
            Text(x - width / 2, 52, label, 10.5, "#6b7280", "middle"),
        )
        x -= width + 10


def _draw_row(canvas: Canvas, row: _Row, per_s: float, account: Account) -> None:
    end = LEFT + (row.to_s - row.from_s) * per_s

    def x_of(at_s: float) -> float:
        return min(max(LEFT + (at_s - row.from_s) * per_s, LEFT), end)

    _lanes(canvas, row, end)
    _axis(canvas, row, x_of)
    for barge_in in account.barge_ins:
        _barge_in_area(canvas, row, barge_in, x_of)
    _wave(canvas, bytes(account.stream.mic.track), row, row.caller_y, per_s, CALLER)
    _wave(canvas, bytes(account.stream.playout.heard), row, row.agent_y, per_s, AGENT)
    for answer in account.answers:
        _waited(canvas, row, answer, x_of)
    for event in account.events:
        if event.event == "tool_used" and row.from_s <= event.at_s < row.to_s:
            _tool(canvas, row, event, x_of(event.at_s))
    for words, y, colour in ((row.caller, row.y + 11, CALLER), (row.agent, row.words_y + 9, AGENT)):
        _words(canvas, words, y, colour)
    for barge_in in account.barge_ins:
        _barge_in_lines(canvas, row, barge_in, x_of)


def _lanes(canvas: Canvas, row: _Row, end: float) -> None:
    for y, name, pale, colour in (
        (row.caller_y, "caller", CALLER_PALE, CALLER),
        (row.agent_y, "agent", AGENT_PALE, AGENT),
    ):
        canvas.add(
            Box(LEFT, y, end - LEFT, LANE, pale, "", 4),
            Text(LEFT - 12, y + LANE / 2 + 4, name, 13, colour, "right", bold=True),
        )


def _axis(canvas: Canvas, row: _Row, x_of: Place) -> None:
    for second in range(int(np.ceil(row.from_s)), int(row.to_s) + 1):
        x = x_of(second)
        major = second % 5 == 0
        canvas.add(Line(x, row.caller_y, x, row.agent_y + LANE, "#d5dbe3" if major else GRID, 0.6))
        label = f"{second} s" if major else str(second)
        colour = "#6b7280" if major else "#b6bdc8"
        canvas.add(Text(x, row.agent_y + LANE + 12, label, 9.5, colour, "middle"))


def _wave(canvas: Canvas, track: bytes, row: _Row, y: float, per_s: float, colour: str) -> None:
    """A voice's outline: highest and lowest sample of each half unit, in runs that leave silence out."""
    step = max(1, int(mulaw.RATE / per_s / 2))
    samples = mulaw.decode(track)[int(row.from_s * mulaw.RATE) : int(row.to_s * mulaw.RATE)].astype(np.float64)
    cells = samples[: len(samples) // step * step].reshape(-1, step)
    if not len(cells):
        return
    scale = (LANE / 2 - 3) / _peak(track)
    top, bottom = np.clip(cells.max(axis=1) * scale, 0, LANE / 2), np.clip(cells.min(axis=1) * scale, -LANE / 2, 0)
    middle = y + LANE / 2
    canvas.add(Line(LEFT, middle, LEFT + len(cells) * step / mulaw.RATE * per_s, middle, colour, 0.5))
    for start, stop in _loud_runs(top - bottom > 1.0):
        x = LEFT + np.arange(start, stop) * step / mulaw.RATE * per_s
        upper = list(zip(x.tolist(), (middle - top[start:stop]).tolist(), strict=True))
        lower = list(zip(x.tolist(), (middle - bottom[start:stop]).tolist(), strict=True))
        canvas.add(Shape([*upper, *reversed(lower)], colour))


def _peak(track: bytes) -> float:
    samples = np.abs(mulaw.decode(track).astype(np.float64))
    return max(2000.0, float(np.quantile(samples, 0.9995)) if len(samples) else 0.0)


def _loud_runs(loud: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], loud, [False])).astype(np.int8)))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a > 1]


def _waited(canvas: Canvas, row: _Row, answer: Answer, x_of: Place) -> None:
    """What lies between the caller's last word and the agent's first, and what it went on."""
    if answer.wire_s is None or not row.from_s <= answer.wire_s < row.to_s or answer.response_s is None:
        return
    y, height = row.strip_y + 27, 12.0
    x0, x1 = x_of(answer.last_wire_s), x_of(answer.wire_s)
    canvas.add(Box(x0, y, max(1.0, x1 - x0), height, WAIT, "", 2))
    at_s = answer.last_wire_s
    share = answer.response_s / max(sum(answer.stages.values()), 1e-9)
    for name, seconds in answer.stages.items():
        colour, _ = STAGES.get(name, (FAINT, name))
        a, b = x_of(at_s), x_of(at_s + seconds * share)
        canvas.add(Box(a, y, max(0.8, b - a), height, colour))
        at_s += seconds * share
    canvas.add(Text(x1 + 5, y + 10, f"{answer.response_s:.2f} s", 11, INK, bold=True))


def _tool(canvas: Canvas, row: _Row, event: Told, x: float) -> None:
    label = event.name if event.ok else f"{event.name} failed"
    width = text_width(label, 9.5) + 12
    x = min(x, WIDTH - RIGHT - width)
    canvas.add(
        Box(x, row.strip_y + 6, width, 14, "#ffffff", "#94a3b8", 7),
        Text(x + width / 2, row.strip_y + 16.5, label, 9.5, "#334155" if event.ok else RED, "middle"),
    )


def _words(canvas: Canvas, words: Sequence[tuple[float, list[str], int]], y: float, colour: str) -> None:
    for x, lines, heard in words:
        canvas.add(Line(x, y - 9, x, y - 10 + LINE * len(lines), colour, 1.5))
        left = heard
        for number, line in enumerate(lines):
            _line(canvas, x + 6, y + number * LINE, line, left)
            left = max(0, left - len(line.split()))


def _line(canvas: Canvas, x: float, y: float, line: str, heard: int) -> None:
    """A line whose first `heard` words were heard; the others are faint."""
    words = line.split()
    known, lost = " ".join(words[:heard]), " ".join(words[heard:])
    if known:
        canvas.add(Text(x, y, known, SIZE, INK))
    if lost:
        start = x + (text_width(known + " ", SIZE) if known else 0.0)
        canvas.add(Text(start, y, lost, SIZE, FAINT))
        canvas.add(Line(start, y - 3.5, start + text_width(lost, SIZE), y - 3.5, FAINT, 0.6))


def _barge_in_area(canvas: Canvas, row: _Row, barge_in: BargeIn, x_of: Place) -> None:
    at_s = barge_in.did.from_s
    if row.from_s <= at_s < row.to_s and barge_in.silent_s is not None:
        x0, x1 = x_of(at_s), x_of(barge_in.silent_s)
        canvas.add(Box(x0, row.caller_y, max(2.0, x1 - x0), row.agent_y + LANE - row.caller_y, RED_PALE))


def _barge_in_lines(canvas: Canvas, row: _Row, barge_in: BargeIn, x_of: Place) -> None:
    if not row.from_s <= barge_in.did.from_s < row.to_s:
        return
    top, bottom = row.caller_y, row.agent_y + LANE
    canvas.add(Line(x_of(barge_in.did.from_s), top, x_of(barge_in.did.from_s), bottom, RED, 1.4))
    if barge_in.clear_s is not None:
        canvas.add(Line(x_of(barge_in.clear_s), top, x_of(barge_in.clear_s), bottom, RED, 1.0, 3))
    told = [f"clear {barge_in.clear_ms:.0f}" if barge_in.clear_ms is not None else "no clear"]
    told += [f"silent {barge_in.silent_ms:.0f} ms"] if barge_in.silent_ms is not None else []
    x = x_of(barge_in.did.from_s)
    label = "barge-in: " + ", ".join(told)
    width = text_width(label, 10) + 10
    x = min(x, WIDTH - RIGHT - width)
    canvas.add(
        Box(x, row.strip_y + 6, width, 14, RED, "", 3),
        Text(x + 5, row.strip_y + 16.5, label, 10, "#ffffff"),
    )


def _legend(canvas: Canvas, y: float, account: Account) -> None:
    staged = any(answer.stages for answer in account.answers)
    entries = [(CALLER, "caller, as spoken"), (AGENT, "agent, as heard")]
    entries += list(STAGES.values()) if staged else [(WAIT, "the caller waits")]
    entries += [(RED, "barge-in (dashed: clear)")] if account.barge_ins else []
    entries += [(FAINT, "said but not heard")] if any(line.lost for line in agent_lines(account)) else []
    x = LEFT
    for colour, label in entries:
        canvas.add(Box(x, y, 11, 11, colour, "", 2), Text(x + 16, y + 9.5, label, 11, "#4b5563"))
        x += 16 + text_width(label, 11) + 20
