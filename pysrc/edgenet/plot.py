"""Small line charts as SVG text, the same bytes everywhere. Pure, runs anywhere; there is no other kind of chart.

`show` puts a chart where the script's output is: in the playground on the page, elsewhere into a file.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from html import escape
from pathlib import Path

from .errors import InvalidOption

# (name, SVG text) -> shown, in place of the one of that name; whoever runs a script sets it
DISPLAY: ContextVar[Callable[[str, str], None]] = ContextVar("display")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 480, 280, 58, 16, 42, 46
COLOURS = ("#128a83", "#d2691e", "#7a5cc7", "#c0392b", "#4a7fb5", "#8a7a12")  # to be told apart on light and on dark
Series = Sequence[float] | Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Chart:
    """An SVG drawing. Notebooks show it by themselves."""

    svg: str

    def save(self, path: str | Path) -> None:
        """Write it as a file."""
        Path(path).write_text(self.svg, encoding="utf-8")

    def show(self, name: str = "chart") -> None:
        """In the playground: on the page, in place of the chart of that name. Elsewhere: `<name>.svg` in the present folder."""
        DISPLAY.get(lambda name, _: self.save(f"{name}.svg"))(name, self.svg)

    def _repr_svg_(self) -> str:
        return self.svg


def lines(series: Mapping[str, Series], *, title: str = "", x: str = "", y: str = "") -> Chart:
    """A line per series: values, counted from 1, or (x, y) pairs. `x`, `y` name the axes. Values that are not finite leave a gap.

    Raises InvalidOption where there is nothing to draw.
    """
    points = {str(name): _points(given) for name, given in series.items()}
    known = [p for row in points.values() for p in row if p]
    if not known:
        raise InvalidOption("A chart needs at least one finite value; there is none. Call lines once there are some.")
    across, up = (_axis([p[i] for p in known]) for i in (0, 1))
    place = _Place(across, up)
    parts = [_frame(title, x, y), *_grid(place), *_legend(points)]
    parts += [_line(place, row, COLOURS[i % len(COLOURS)]) for i, row in enumerate(points.values())]
    return Chart("\n".join([*parts, "</svg>", ""]))


def _points(given: Series) -> list[tuple[float, float] | None]:
    """Points in order; None where a value is not finite."""
    pairs = [value if isinstance(value, (tuple, list)) else (i, value) for i, value in enumerate(given, 1)]
    return [(float(a), float(b)) if math.isfinite(a) and math.isfinite(b) else None for a, b in pairs]


@dataclass(frozen=True)
class _Axis:
    low: float
    high: float
    marks: list[float]

    def share(self, value: float) -> float:
        return (value - self.low) / (self.high - self.low)


def _axis(values: Sequence[float]) -> _Axis:
    """From a round number below to one above, in four to ten round steps (1, 2 or 5 times a power of ten)."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - 0.5, high + 0.5
    power = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = power * max(f for f in (1, 2, 5) if f * power <= (high - low) / 4 or f == 1)
    first, last = math.floor(low / step), math.ceil(high / step)
    return _Axis(first * step, last * step, [i * step for i in range(first, last + 1)])


@dataclass(frozen=True)
class _Place:
    x: _Axis
    y: _Axis

    def across(self, value: float) -> str:
        return f"{LEFT + self.x.share(value) * (WIDTH - LEFT - RIGHT):.1f}"

    def up(self, value: float) -> str:
        return f"{HEIGHT - BOTTOM - self.y.share(value) * (HEIGHT - TOP - BOTTOM):.1f}"


def _frame(title: str, x: str, y: str) -> str:
    """The beginning, with the texts. Colours follow the page's own."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title or "chart")}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="currentColor">\n'
        f'<text x="{LEFT}" y="18" font-size="15" font-weight="600">{escape(title)}</text>\n'
        f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{escape(x)}</text>\n'
        f'<text x="{LEFT - 48}" y="{TOP - 8}">{escape(y)}</text>'
    )


def _grid(place: _Place) -> list[str]:
    left, right, bottom = LEFT, WIDTH - RIGHT, HEIGHT - BOTTOM
    rule = 'stroke="currentColor" stroke-opacity="0.15"'
    rows = [
        f'<path d="M{left} {place.up(v)}H{right}" {rule}/><text x="{left - 8}" y="{place.up(v)}" dy="4" text-anchor="end">{v:g}</text>'
        for v in place.y.marks
    ]
    return rows + [
        f'<text x="{place.across(v)}" y="{bottom + 18}" text-anchor="middle">{v:g}</text>' for v in place.x.marks
    ]


def _legend(points: Mapping[str, object]) -> list[str]:
    """Names of the series from the right, where there are several."""
    if len(points) < 2:
        return []
    parts, right = [], WIDTH - RIGHT
    for i, name in reversed(list(enumerate(points))):
        right -= 7 * len(name)
        parts.append(f'<text x="{right}" y="18">{escape(name)}</text>')
        parts.append(f'<path d="M{right - 20} 14h14" stroke="{COLOURS[i % len(COLOURS)]}" stroke-width="3"/>')
        right -= 34
    return parts


def _line(place: _Place, row: Sequence[tuple[float, float] | None], colour: str) -> str:
    path, pen = "", "M"
    for point in row:
        path += f"{pen}{place.across(point[0])} {place.up(point[1])}" if point else ""
        pen = "L" if point else "M"
    look = 'fill="none" stroke-width="2" stroke-linejoin="round" stroke-linecap="round"'
    return f'<path d="{path}h0" {look} stroke="{colour}"/>'
