"""Charts as SVG, for a phone's width or a desk's: lines over two logarithmic axes, and horizontal bars.

Colours are classes ``s0`` to ``s6``, defined by the page for light and dark; shapes and dashes tell series apart too.
"""

from __future__ import annotations

import dataclasses
import html
import math
from collections.abc import Callable, Sequence

from xpnet.bench.cells import Cell

LEFT, RIGHT, TOP, BOTTOM = 50, 10, 34, 42
LINE = 18  # height of a line of the legend
STOP = 30  # height of a mark above the plot, with its text
BAR = 36  # height of a bar and its label
LETTER = 6.6  # width of a letter of the usual fonts, rather too much


@dataclasses.dataclass(frozen=True)
class Frame:
    """Width of a drawing, and height of what is between its axes."""

    width: int
    plot: int


PHONE, DESK = Frame(360, 190), Frame(760, 300)


@dataclasses.dataclass
class Series:
    """A line: where its points are, and the cells whose values they have. ``style`` is its colour and shape.

    The spread of its points is drawn as a ``band`` instead of one by one.
    """

    name: str
    style: int
    points: list[tuple[float, Cell]]
    dashed: bool = False
    band: bool = False


@dataclasses.dataclass
class Stop:
    """A value of x that is marked, with the range that it may be in; ``at`` or ``high`` is None beyond the end of the axis."""

    text: str
    style: int
    at: float | None
    low: float
    high: float | None


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
    name: str,
    series: Sequence[Series],
    *,
    x: str,
    y: str,
    show: Callable[[float], str],
    mark: float | None = None,
    stops: Sequence[Stop] = (),
    frame: Frame = PHONE,
) -> str:
    """Lines with the spread of every point; ``x`` and ``y`` are the axes' labels, ``show`` writes a tick of y.

    ``mark`` is a value of y that gets a line of its own, ``stops`` are values of x that do.
    """
    rows = legend_rows(series, frame.width)
    head = LINE * len(rows) + 10
    top = TOP + LINE * len(rows) + (STOP * len(stops) + 4 if stops else 0)
    cells = [cell for one in series for _, cell in one.points]
    values = [value for cell in cells for value in (cell.value, cell.low, cell.high, mark) if value]
    across = Axis(ends([at for one in series for at, _ in one.points]), LEFT + 8, frame.width - RIGHT - 4)
    up = Axis(ticks(min(values), max(values)), top + frame.plot, top)
    body = [legend(rows, frame.width)]
    body += [_stop(stop, head + STOP * i, across, up.start) for i, stop in enumerate(stops)]
    body.append(_grid(across, up, x, y, show))
    if mark:
        body.append(f'<path class="mark" d="M{LEFT} {up(mark):.1f}H{frame.width - RIGHT}"/>')
    body += [_band(one, across, up) for one in series if one.band]
    body += [_series(one, across, up, x) for one in series]
    told = [f"{one.name}: {', '.join(f'{cell.text} at {x} {at:g}' for at, cell in one.points)}" for one in series]
    told += [stop.text for stop in stops]
    return svg(name, f"{y} by {x}. {'; '.join(told)}.", (frame.width, top + frame.plot + BOTTOM), body)


def bars(
    name: str, rows: Sequence[tuple[str, Cell, str]], *, mark: float | None = None, styles: Sequence[int] | None = None
) -> str:
    """A bar for each (label, cell, text), from zero on; ``mark`` is a value that gets a line of its own."""
    most = max([cell.high or cell.value or 0 for _, cell, _ in rows] + [mark or 0])
    height = BAR * len(rows) + 6
    scale = (PHONE.width - 2) / most
    body = [_bar(i, *row, scale, styles[i] if styles else 0) for i, row in enumerate(rows)]
    body += [f'<path class="mark" d="M{mark * scale:.1f} {BAR * i + 18}v16"/>' for i in range(len(rows)) if mark]
    return svg(name, "; ".join(f"{label}: {text}" for label, _, text in rows) + ".", (PHONE.width, height), body)


def _bar(index: int, label: str, cell: Cell, text: str, scale: float, style: int) -> str:
    top, spread = BAR * index, ""
    if cell.low is not None and cell.high is not None:
        spread = f'<path class="spread" d="M{cell.low * scale:.1f} {top + 26}H{cell.high * scale:.1f}"/>'
    return (
        f'<g class="s{style % 7}" {exact(cell)}><title>{html.escape(f"{label}: {cell}")}</title>'
        f'<text x="0" y="{top + 15}">{html.escape(label)}</text>'
        f'<text class="number" x="{PHONE.width}" y="{top + 15}">{html.escape(text)}</text>'
        f'<rect x="0" y="{top + 21}" width="{max(1.0, (cell.value or 0) * scale):.1f}" height="10" rx="1.5"/>{spread}</g>'
    )


def _band(one: Series, across: Axis, up: Axis) -> str:
    """What lies between the low and the high ends of the points."""
    known = [(across(at), up(cell.low), up(cell.high)) for at, cell in one.points if cell.low and cell.high]
    edge = [f"{x:.1f} {low:.1f}" for x, low, _ in known] + [f"{x:.1f} {high:.1f}" for x, _, high in reversed(known)]
    return f'<path class="band s{one.style % 7}" d="M{"L".join(edge)}Z"/>' if known else ""


def _stop(stop: Stop, top: float, across: Axis, bottom: float) -> str:
    """Above the plot the text and the range, with a tip where that has no end; a line from there down to the axis."""
    low, high, room = across(stop.low), across.end if stop.high is None else across(stop.high), LETTER * len(stop.text)
    at = low if stop.at is None else across(stop.at)
    line, tip = f"M{low:.1f} {top + 20:.1f}H{high:.1f}", "" if stop.high else "m-5 -4l5 4l-5 4"
    down = "" if stop.at is None else f'<path class="mark" d="M{at:.1f} {top + 20:.1f}V{bottom:.1f}"/>'
    dot = "" if stop.at is None else marker(stop.style, at, top + 20)
    x = max(0.0, min(at - room / 2, across.end + 4 + RIGHT - room))
    return (
        f'<g class="s{stop.style % 7}">{down}<path class="spread" d="{line}{tip}"/>{dot}'
        f'<text class="halo" x="{x:.1f}" y="{top + 11:.1f}">{html.escape(stop.text)}</text></g>'
    )


def _series(one: Series, across: Axis, up: Axis, x: str) -> str:
    places = [(across(at), up(cell.value or 1)) for at, cell in one.points]
    path = "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in places)
    drawn = [f'<path class="line" d="{path}"/>']
    for (at, cell), (a, b) in zip(one.points, places, strict=True):
        spread = ""
        if cell.low and cell.high and not one.band:
            spread = f'<path class="spread" d="M{a:.1f} {up(cell.low):.1f}V{up(cell.high):.1f}"/>'
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


def legend_rows(series: Sequence[Series], width: float) -> list[list[Series]]:
    """As many in a row as fit, two on a phone at most."""
    longest = max(len(one.name) for one in series)
    across = max(1, int(min(width // 180, width // (33 + 7 * longest))))
    return [list(series[i : i + across]) for i in range(0, len(series), across)]


def legend(rows: Sequence[Sequence[Series]], width: float) -> str:
    found = []
    for down, row in enumerate(rows):
        for right, one in enumerate(row):
            x, y = right * width / len(rows[0]), down * LINE + 9
            found.append(
                f'<g class="s{one.style % 7}{" dashed" if one.dashed else ""}"><path class="line" d="M{x:.1f} {y}h24"/>'
                f'{marker(one.style, x + 12, y)}<text x="{x + 30:.1f}" y="{y + 4}">{html.escape(one.name)}</text></g>'
            )
    return "".join(found)


def _grid(across: Axis, up: Axis, x: str, y: str, show: Callable[[float], str]) -> str:
    """Lines at the ticks, their texts, and the labels of the axes."""
    right = across.end + 4
    found = [f'<text class="axis halo" x="0" y="{up.end - 14:.0f}">{html.escape(y)}</text>']
    for tick in up.ticks:
        found.append(f'<path class="grid" d="M{LEFT} {up(tick):.1f}H{right:.1f}"/>')
        found.append(f'<text class="axis number" x="{LEFT - 6}" y="{up(tick) + 4:.1f}">{show(tick)}</text>')
    last = -math.inf
    for tick in across.ticks:
        if across(tick) - last >= 30:
            last = across(tick)
            found.append(f'<path class="grid" d="M{last:.1f} {up.start}v5"/>')
            found.append(f'<text class="axis middle" x="{last:.1f}" y="{up.start + 19}">{tick:g}</text>')
    found.append(f'<text class="axis middle" x="{(LEFT + right) / 2:.1f}" y="{up.start + 37}">{html.escape(x)}</text>')
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


def svg(name: str, description: str, size: tuple[float, float], body: Sequence[str]) -> str:
    """The drawing, with words for those who do not see it."""
    return (
        f'<svg viewBox="0 0 {size[0]:g} {size[1]:g}" role="img">'
        f"<title>{html.escape(name)}</title><desc>{html.escape(description)}</desc>{''.join(body)}</svg>"
    )
