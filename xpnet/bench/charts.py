"""Charts as SVG, drawn for a phone's width: lines over two logarithmic axes, and horizontal bars.

Colours are classes ``s0`` to ``s6``, defined by the page for light and dark; shapes and dashes tell series apart too.
"""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Callable, Sequence

from xpnet.bench.cells import Cell

WIDTH = 360
LEFT, RIGHT, TOP, PLOT, BOTTOM = 50, 10, 34, 190, 42
LINE = 18  # height of a line of the legend
BAR = 36  # height of a bar and its label


@dataclasses.dataclass
class Series:
    """A line: where its points are, and the cells whose values they have. ``style`` is its colour and shape."""

    name: str
    style: int
    points: list[tuple[float, Cell]]
    dashed: bool = False


@dataclasses.dataclass
class Axis:
    """A logarithmic axis in units of the drawing, with its ticks."""

    ticks: list[float]
    start: float
    end: float

    def __call__(self, value: float) -> float:
        first, last = math.log(self.ticks[0]), math.log(self.ticks[-1])
        return self.start + (self.end - self.start) * (math.log(value) - first) / (last - first)


def lines(
    name: str, series: Sequence[Series], *, x: str, y: str, mark: float | None = None, show: Callable[[float], str]
) -> str:
    """Lines with the spread of every point; ``x`` and ``y`` are the axes' labels, ``show`` writes a tick of y.

    ``mark`` is a value of y that gets a line of its own.
    """
    rows = legend_rows(series)
    top = TOP + LINE * len(rows)
    cells = [cell for one in series for _, cell in one.points]
    values = [value for cell in cells for value in (cell.low, cell.high, mark) if value]
    across = Axis(ends([at for one in series for at, _ in one.points]), LEFT + 8, WIDTH - RIGHT - 4)
    up = Axis(ticks(min(values), max(values)), top + PLOT, top)
    body = [legend(rows), _grid(across, up, x, y, show)]
    if mark:
        body.append(f'<path class="mark" d="M{LEFT} {up(mark):.1f}H{WIDTH - RIGHT}"/>')
    body += [_series(one, across, up, x) for one in series]
    told = "; ".join(f"{one.name}: {', '.join(f'{cell.text} at {x} {at:g}' for at, cell in one.points)}" for one in series)
    return svg(name, f"{y} by {x}. {told}.", top + PLOT + BOTTOM, body)


def bars(name: str, rows: Sequence[tuple[str, Cell, str]], *, mark: float | None = None) -> str:
    """A bar for each (label, cell, text), from zero on; ``mark`` is a value that gets a line of its own."""
    most = max([cell.high or cell.value or 0 for _, cell, _ in rows] + [mark or 0])
    height = BAR * len(rows) + 6
    scale = (WIDTH - 2) / most
    body = [_bar(i, *row, scale) for i, row in enumerate(rows)]
    body += [f'<path class="mark" d="M{mark * scale:.1f} {BAR * i + 18}v16"/>' for i in range(len(rows)) if mark]
    return svg(name, "; ".join(f"{label}: {text}" for label, _, text in rows) + ".", height, body)


def _bar(index: int, label: str, cell: Cell, text: str, scale: float) -> str:
    top, spread = BAR * index, ""
    if cell.low is not None and cell.high is not None:
        spread = f'<path class="spread" d="M{cell.low * scale:.1f} {top + 26}H{cell.high * scale:.1f}"/>'
    return (
        f'<g class="s0" {exact(cell)}><title>{html.escape(f"{label}: {cell}")}</title>'
        f'<text x="0" y="{top + 15}">{html.escape(label)}</text>'
        f'<text class="number" x="{WIDTH}" y="{top + 15}">{html.escape(text)}</text>'
        f'<rect x="0" y="{top + 21}" width="{max(1.0, (cell.value or 0) * scale):.1f}" height="10" rx="1.5"/>{spread}</g>'
    )


def _series(one: Series, across: Axis, up: Axis, x: str) -> str:
    places = [(across(at), up(cell.value or 1)) for at, cell in one.points]
    path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
    drawn = [f'<path class="line" d="{path}"/>']
    for (at, cell), (a, b) in zip(one.points, places, strict=True):
        spread = f'<path class="spread" d="M{a:.1f} {up(cell.low):.1f}V{up(cell.high):.1f}"/>' if cell.low and cell.high else ""
        title = html.escape(f"{one.name}, {x} {at:g}: {cell}")
        drawn.append(f"<g {exact(cell)}><title>{title}</title>{spread}{marker(one.style, a, b)}</g>")
    return f'<g class="s{one.style % 7}{" dashed" if one.dashed else ""}">{"".join(drawn)}</g>'


def marker(style: int, x: float, y: float) -> str:
    """A circle, square, triangle, rhombus, or the last turned."""
    shape = style % 5
    if shape == 0:
        return f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3.6"/>'
    if shape == 1:
        return f'<rect class="dot" x="{x - 3.3:.1f}" y="{y - 3.3:.1f}" width="6.6" height="6.6"/>'
    corners = {2: "-4.3 3.4L0 -4.3L4.3 3.4Z", 3: "0 -4.8L4.8 0L0 4.8L-4.8 0Z", 4: "-4.3 -3.4L0 4.3L4.3 -3.4Z"}
    return f'<path class="dot" transform="translate({x:.1f} {y:.1f})" d="M{corners[shape]}"/>'


def legend_rows(series: Sequence[Series]) -> list[list[Series]]:
    """One or two in a row, as they fit."""
    across = 2 if all(len(one.name) <= 21 for one in series) else 1
    return [list(series[i : i + across]) for i in range(0, len(series), across)]


def legend(rows: Sequence[Sequence[Series]]) -> str:
    found = []
    for down, row in enumerate(rows):
        for right, one in enumerate(row):
            x, y = right * WIDTH / 2, down * LINE + 9
            found.append(
                f'<g class="s{one.style % 7}{" dashed" if one.dashed else ""}"><path class="line" d="M{x} {y}h24"/>'
                f'{marker(one.style, x + 12, y)}<text x="{x + 30}" y="{y + 4}">{html.escape(one.name)}</text></g>'
            )
    return "".join(found)


def _grid(across: Axis, up: Axis, x: str, y: str, show: Callable[[float], str]) -> str:
    """Lines at the ticks, their texts, and the labels of the axes."""
    found = [f'<text class="axis" x="0" y="{up.end - 14:.0f}">{html.escape(y)}</text>']
    for tick in up.ticks:
        found.append(f'<path class="grid" d="M{LEFT} {up(tick):.1f}H{WIDTH - RIGHT}"/>')
        found.append(f'<text class="axis number" x="{LEFT - 6}" y="{up(tick) + 4:.1f}">{show(tick)}</text>')
    last = -math.inf
    for tick in across.ticks:
        if across(tick) - last >= 30:
            last = across(tick)
            found.append(f'<path class="grid" d="M{last:.1f} {up.start}v5"/>')
            found.append(f'<text class="axis middle" x="{last:.1f}" y="{up.start + 19}">{tick:g}</text>')
    found.append(f'<text class="axis middle" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{up.start + 37}">{html.escape(x)}</text>')
    return "".join(found)


def ticks(low: float, high: float) -> list[float]:
    """Round numbers around both: powers of ten, with twice and five times those where there would be few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 2 else (1,)
    found = [m * 10.0**e for e in range(first, max(last, first + 1) + 1) for m in steps]
    below = max((i for i, tick in enumerate(found) if tick <= low * 1.0001), default=0)
    above = next((i for i, tick in enumerate(found) if tick >= high / 1.0001), len(found) - 1)
    return found[below : max(above, below + 1) + 1]


def ends(values: Sequence[float]) -> list[float]:
    """The different values, in order."""
    return sorted(set(values))


def exact(cell: Cell) -> str:
    """The value as it is, and which results it comes from, as attributes."""
    numbers = (("value", cell.value), ("low", cell.low), ("high", cell.high))
    told = [f'data-{name}="{number!r}"' for name, number in numbers if number is not None]
    return " ".join([*told, *([f'data-of="{html.escape(" | ".join(cell.of))}"'] if cell.of else [])])


def svg(name: str, description: str, height: float, body: Sequence[str]) -> str:
    """The drawing, with words for those who do not see it."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:g}" role="img">'
        f"<title>{html.escape(name)}</title><desc>{html.escape(description)}</desc>{''.join(body)}</svg>"
    )
