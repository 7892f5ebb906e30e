"""Arrays for people: all numbers of a small one, the corners and the extremes of a large one."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from xpnet.checks import check_count
from xpnet.parameters import Parameter

ROWS, COLUMNS, NUMBERS = 8, 10, 80  # of an array that is shown whole
EDGE = 3  # rows and columns at either end of one that is not
NOTABLE_ZEROS = 0.05  # share of zeros that is said


def check_digits(digits: int) -> None:
    """Refuse what is no count of decimals, or more than a number has."""
    if check_count("digits", digits) > 17:
        raise ValueError(f"digits={digits}: float64 has no more than 17")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One number: its text, padded to the width of its array's other cells, and its size within [-1, 1] of the largest."""

    text: str
    shade: float


@dataclasses.dataclass(frozen=True)
class Block:
    """A matrix of an array: its place ("[0, :, :]", "" where there is one), its rows; None stands for what is left out."""

    place: str
    rows: list[list[Cell | None] | None]


@dataclasses.dataclass(frozen=True)
class View:
    """What is shown of an array: ``blocks``, how many are ``left_out``, and where it is not ``whole`` its extremes."""

    shape: tuple[int, ...]
    dtype: str
    blocks: list[Block]
    left_out: int
    whole: bool
    extremes: str


def view(a: np.ndarray, digits: int = 4) -> View:
    """An array (of any rank) as matrices over its last two axes, a vector as one row."""
    matrix = a.reshape((1,) * (2 - a.ndim) + a.shape) if a.ndim < 2 else a
    places = list(itertools.islice(np.ndindex(matrix.shape[:-2]), NUMBERS)) if a.size else []
    rows, columns = (_indices(n, most) for n, most in zip(matrix.shape[-2:], (ROWS, COLUMNS), strict=True))
    count = math.prod(matrix.shape[:-2]) if a.size else 0
    shown = places if count * len(rows) * len(columns) <= NUMBERS else places[:1]
    cells = _cells([matrix[p][i, j] for p in shown for i in rows if i is not None for j in columns if j is not None], a, digits)
    blocks = [
        Block(
            f"[{', '.join(map(str, place))}, :, :]" if place else "",
            [None if i is None else [None if j is None else next(cells) for j in columns] for i in rows],
        )
        for place in shown
    ]
    whole = len(shown) == count and None not in rows + columns
    return View(a.shape, a.dtype.name, blocks, count - len(shown), whole, "" if whole else extremes(a, digits))


def extremes(a: np.ndarray, digits: int = 4) -> str:
    """Smallest, largest and mean of the finite numbers, the share of zeros where notable, how many are not finite."""
    found = _extremes(a)
    if "smallest" in found and found["smallest"] == found["largest"] and not found["not finite"]:
        return f"all {number(found['smallest'], digits)}"
    parts = [f"{name} {number(found[name], digits)}" for name in ("smallest", "largest", "mean") if name in found]
    if found["zeros"] >= NOTABLE_ZEROS:
        share = f"{found['zeros']:.0%}"
        parts.append(f"{'nearly ' if share == '100%' and found['zeros'] < 1 else ''}{share} zeros")
    if found["not finite"]:
        parts.append(f"{found['not finite']:,} not finite")
    return ", ".join(parts)


def number(value: Any, digits: int = 4) -> str:
    """One number as it stands in a matrix of its own."""
    return texts([value], digits)[0]


def texts(values: Sequence[Any], digits: int = 4) -> list[str]:
    """Numbers with one count of decimals for all: ``digits``, more where the largest is small, fewer where the rest are zeros.

    Zero is "0" and only zero is; what would look like it, very large and very small arrays are written with an exponent.
    """
    if all(isinstance(v, int | bool | np.integer | np.bool_) for v in values):
        return [str(v) for v in values]
    largest = max((abs(float(v)) for v in values if math.isfinite(v)), default=0.0)
    if not 1e-3 <= largest < 1e6:
        return [_with_exponent(v, digits) for v in values]
    most = max(digits, digits - 1 - math.floor(math.log10(largest)))
    fixed = [math.isfinite(v) and abs(v) >= 10.0**-most for v in values]
    decimals = max((_decimals(v, most) for v, plain in zip(values, fixed, strict=True) if plain), default=0)
    return [f"{v:.{decimals}f}" if plain else _with_exponent(v, digits) for v, plain in zip(values, fixed, strict=True)]


def plain(found: Any) -> Any:
    """Dataclasses, arrays and numbers as what JSON has; of an array that is not shown whole its extremes, not its numbers."""
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        return {f.name: plain(getattr(found, f.name)) for f in dataclasses.fields(found)}
    if isinstance(found, Parameter):
        return {"name": found.name, "shape": list(found.shape)}
    if isinstance(found, np.ndarray):
        array = {"shape": list(found.shape), "dtype": found.dtype.name}
        return array | ({"values": plain(found.tolist())} if view(found).whole else plain(_extremes(found)))
    if isinstance(found, dict):
        return {key: plain(value) for key, value in found.items()}
    if isinstance(found, list | tuple | range):
        return [plain(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found


def _extremes(a: np.ndarray) -> dict[str, float]:
    finite = a[np.isfinite(a)]
    found: dict[str, float] = {"zeros": float((a == 0).mean()) if a.size else 0.0, "not finite": a.size - finite.size}
    if finite.size:
        found |= {"smallest": finite.min().item(), "largest": finite.max().item()}
        with np.errstate(over="ignore"):
            mean = float(finite.mean(dtype=np.float64))
        found |= {"mean": mean} if math.isfinite(mean) else {}  # the sum may be too large for float64
    return found


def _indices(n: int, most: int) -> list[int | None]:
    """All of ``n`` places, or those at the ends and None for what lies between."""
    return list(range(n)) if n <= most else [*range(EDGE), None, *range(n - EDGE, n)]


def _cells(values: list[Any], a: np.ndarray, digits: int) -> Iterator[Cell]:
    """Cells of one width, the points below each other."""
    written = texts(values, digits)
    after = max((len(t) - len(t.partition(".")[0]) for t in written if "e" not in t), default=0)
    aligned = [t if "e" in t else t.partition(".")[0] + "".join(t.partition(".")[1:]).ljust(after) for t in written]
    width = max(map(len, aligned), default=0)
    finite = a[np.isfinite(a)]
    largest = max(float(finite.max(initial=0)), -float(finite.min(initial=0))) or 1.0
    for value, text in zip(values, aligned, strict=True):
        yield Cell(text.rjust(width), float(value) / largest if math.isfinite(value) else 0.0)


def _decimals(value: Any, most: int) -> int:
    """How many a number needs, if it is a short one but for the rounding of a few operations; else ``most``."""
    slack = 4 * float(np.spacing(np.abs(value)))
    return next((n for n in range(most) if abs(float(f"{value:.{n}f}") - float(value)) <= slack), most)


def _with_exponent(value: Any, digits: int) -> str:
    """As "1.25e-07", without the zeros that end the fraction."""
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else str(float(value))
    mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{exponent}"
