"""A drawing as a list of shapes, written as PNG (Pillow) or SVG. Pure but for the two `save` methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeAlias
from xml.sax.saxutils import escape

from PIL import Image, ImageDraw, ImageFont

SCALE = 2  # pixels of the PNG per unit
Anchor: TypeAlias = Literal["left", "middle", "right"]
_PILLOW_ANCHOR = {"left": "ls", "middle": "ms", "right": "rs"}
_SVG_ANCHOR = {"left": "start", "middle": "middle", "right": "end"}


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle with round corners."""

    x: float
    y: float
    width: float
    height: float
    fill: str
    edge: str = ""
    radius: float = 0.0


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line, dashed if asked."""

    x0: float
    y0: float
    x1: float
    y1: float
    colour: str
    width: float = 1.0
    dash: float = 0.0


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; `y` is its base line."""

    x: float
    y: float
    text: str
    size: float
    colour: str
    anchor: Anchor = "left"
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """A filled outline."""

    points: Sequence[tuple[float, float]]
    fill: str


Item: TypeAlias = Box | Line | Text | Shape


@lru_cache(maxsize=64)
def _font(size: float) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def text_width(text: str, size: float) -> float:
    """Width of one line of text in units."""
    return float(_font(size * SCALE).getlength(text)) / SCALE


def wrap(text: str, size: float, width: float) -> list[str]:
    """Words in lines of at most `width` units; a longer word stands alone."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


class Canvas:
    """Collects shapes in the order of painting."""

    def __init__(self, width: float, height: float, background: str = "#ffffff") -> None:
        self.width = width
        self.height = height
        self.items: list[Item] = []
        self._background = background

    def add(self, *items: Item) -> None:
        """Paint these on top."""
        self.items.extend(items)

    def save_png(self, path: Path) -> None:
        """Write the picture, SCALE pixels to the unit."""
        image = Image.new("RGB", (round(self.width * SCALE), round(self.height * SCALE)), self._background)
        pen = ImageDraw.Draw(image)
        for item in self.items:
            _paint(pen, item)
        image.save(path, optimize=True)

    def save_svg(self, path: Path) -> None:
        """Write the picture as SVG, which can be searched and enlarged."""
        body = "\n".join(map(_markup, self.items))
        path.write_text(
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width:g} {self.height:g}" '
            f'font-family="Aileron,Helvetica,Arial,sans-serif">\n'
            f'<rect width="100%" height="100%" fill="{self._background}"/>\n{body}\n</svg>\n',
            "utf-8",
        )


def _paint(pen: ImageDraw.ImageDraw, item: Item) -> None:
    match item:
        case Box():
            corner = (item.x * SCALE, item.y * SCALE, (item.x + item.width) * SCALE, (item.y + item.height) * SCALE)
            pen.rounded_rectangle(corner, item.radius * SCALE, fill=item.fill or None, outline=item.edge or None)
        case Line():
            for x0, y0, x1, y1 in _dashes(item):
                pen.line(
                    (x0 * SCALE, y0 * SCALE, x1 * SCALE, y1 * SCALE), item.colour, max(1, round(item.width * SCALE))
                )
        case Text():
            place = (item.x * SCALE, item.y * SCALE)
            stroke = 0.35 * SCALE if item.bold else 0
            anchor = _PILLOW_ANCHOR[item.anchor]
            pen.text(place, item.text, item.colour, _font(item.size * SCALE), anchor, stroke_width=stroke)
        case Shape():
            pen.polygon([(x * SCALE, y * SCALE) for x, y in item.points], fill=item.fill)


def _dashes(line: Line) -> list[tuple[float, float, float, float]]:
    if not line.dash:
        return [(line.x0, line.y0, line.x1, line.y1)]
    length = max(abs(line.x1 - line.x0), abs(line.y1 - line.y0))
    count = max(1, int(length / (2 * line.dash)))
    step_x, step_y = (line.x1 - line.x0) / count, (line.y1 - line.y0) / count
    starts = [(line.x0 + n * step_x, line.y0 + n * step_y) for n in range(count)]
    return [(x, y, x + step_x / 2, y + step_y / 2) for x, y in starts]


def _markup(item: Item) -> str:
    match item:
        case Box():
            edge = f' stroke="{item.edge}"' if item.edge else ""
            return (
                f'<rect x="{item.x:.1f}" y="{item.y:.1f}" width="{item.width:.1f}" height="{item.height:.1f}" '
                f'rx="{item.radius:g}" fill="{item.fill or "none"}"{edge}/>'
            )
        case Line():
            dash = f' stroke-dasharray="{item.dash:g}"' if item.dash else ""
            return (
                f'<line x1="{item.x0:.1f}" y1="{item.y0:.1f}" x2="{item.x1:.1f}" y2="{item.y1:.1f}" '
                f'stroke="{item.colour}" stroke-width="{item.width:g}"{dash}/>'
            )
        case Text():
            weight = ' font-weight="600"' if item.bold else ""
            return (
                f'<text x="{item.x:.1f}" y="{item.y:.1f}" font-size="{item.size:g}" fill="{item.colour}" '
                f'text-anchor="{_SVG_ANCHOR[item.anchor]}"{weight}>{escape(item.text)}</text>'
            )
        case Shape():
            points = " ".join(f"{x:.1f},{y:.1f}" for x, y in item.points)
            return f'<polygon points="{points}" fill="{item.fill}"/>'
