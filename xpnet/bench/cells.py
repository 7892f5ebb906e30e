"""Tables as plain data: every number as it is shown and as it is, with the results that it comes from."""

from __future__ import annotations

import dataclasses
import math
import string
from collections.abc import Sequence
from typing import NamedTuple

from xpnet.bench.results import Case, Incomparable, Result, ratio

ABSENT = "-"
UNITS = ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
THOUSANDS = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""))


class Measured(NamedTuple):
    """A result and the label of the run that it belongs to: ``A``, or nothing where there is one run."""

    run: str
    result: Result

    @property
    def case(self) -> Case:
        return self.result.case

    @property
    def name(self) -> str:
        peer = "" if self.result.peer == "xpnet" else f" / {self.result.peer}"
        return f"{self.run}: {self.case.name}{peer}".removeprefix(": ")

    @property
    def counts(self) -> bool:
        """Whether it is proved right and was timed to its end."""
        return self.result.check.ok and self.result.synchronised


@dataclasses.dataclass(frozen=True)
class Cell:
    """A text, or a number (``value`` with its spread ``low`` to ``high``) of the results named in ``of``.

    Values are seconds, rows a second, times or shares of one. ``mark`` is the letter of a footnote.
    """

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    spread: str = ""
    of: tuple[str, ...] = ()
    mark: str = ""

    def __str__(self) -> str:
        """``31x (28..33) [a]``"""
        return self.text + (f" ({self.spread})" if self.spread else "") + (f" [{self.mark}]" if self.mark else "")


@dataclasses.dataclass
class Group:
    """Rows under one heading; ``key`` tells charts what they are of."""

    title: str
    rows: list[list[Cell]]
    key: tuple[str, ...] = ()


@dataclasses.dataclass
class Table:
    """Groups of rows below the same heads (none where a row is a name and what belongs to it), and footnotes."""

    heads: list[str]
    groups: list[Group]
    notes: list[str] = dataclasses.field(default_factory=list)

    def note(self, text: str) -> str:
        """The letter of this footnote, the same for the same text."""
        if text not in self.notes:
            self.notes.append(text)
        return letter(self.notes.index(text)).lower()

    def column(self, head: str, group: Group) -> list[Cell]:
        return [row[self.heads.index(head)] for row in group.rows]


def letter(index: int) -> str:
    """A, B, ... Z, and then numbers."""
    return string.ascii_uppercase[index] if index < 26 else str(index + 1)


def count(number: int) -> Cell:
    """A whole number."""
    return Cell(str(number), number)


def time(found: Measured) -> Cell:
    """Seconds of a call, ``12.3 µs (11.9..12.8)``: the median, and the quartiles as its spread."""
    median, (low, high) = found.result.median, found.result.quartiles
    size, _ = _scale(median, UNITS)
    spread = f"{_three(low / size)}..{_three(high / size)}"
    return Cell(duration(median), median, low, high, spread, (found.name,))


def duration(seconds: float) -> str:
    """``12.3 µs``; less than a picosecond, as a fit may give, is nothing."""
    size, unit = _scale(seconds, UNITS)
    return f"{_three(seconds / size)} {unit}" if seconds >= 1e-12 else "0"


def rate(found: Measured | None) -> Cell:
    """Rows a second, exact spread included but not shown: what is compared is a ratio, whose spread is."""
    if found is None:
        return Cell(ABSENT)
    rows, (low, high) = max(found.case.batch, 1), found.result.quartiles
    return Cell(thousands(found.result.per_second), found.result.per_second, rows / high, rows / low, of=(found.name,))


def times(slow: Measured | None, fast: Measured | None, table: Table) -> Cell:
    """How many times as long a call of ``slow`` takes; blank, with the reason as a footnote, where the two are incomparable.

    The spread goes from the lower quartile of one over the upper of the other to the reverse.
    """
    if slow is None or fast is None:
        return Cell(ABSENT)
    try:
        value = ratio(slow.result, fast.result)
    except Incomparable as reason:
        return Cell(ABSENT, mark=table.note(f"{reason}."))
    return quotient(slow, fast, value)


def quotient(slow: Measured, fast: Measured, value: float) -> Cell:
    """A ratio of two medians, with its spread."""
    (slow_low, slow_high), (fast_low, fast_high) = slow.result.quartiles, fast.result.quartiles
    low, high = slow_low / fast_high, slow_high / fast_low
    spread = f"{plain(low, decimals(value))}..{plain(high, decimals(value))}"
    return Cell(f"{plain(value, decimals(value))}x", value, low, high, spread, (slow.name, fast.name))


def share(value: float, *of: str) -> Cell:
    """A part of one, in per cent: two digits at least."""
    places = 0 if value >= 0.1 or value <= 0 else min(4, -1 - math.floor(math.log10(value)))
    return Cell(f"{100 * value:.{places}f}%", value, of=of)


def decimals(value: float) -> int:
    """Of a ratio: two up to 2, one up to 20, none from there on; small ones keep two digits."""
    return 0 if value >= 20 else 1 if value >= 2 else 2 if value >= 0.1 else 1 - math.floor(math.log10(value))


def plain(value: float, places: int) -> str:
    return f"{value:.{places}f}"


def thousands(value: float) -> str:
    """``12.3k``: three digits, in thousands, millions or more where it is large."""
    size, unit = _scale(value, THOUSANDS)
    return f"{_three(value / size)}{unit}"


def short(value: float) -> str:
    """``10k``: a round number."""
    size, unit = _scale(value, THOUSANDS)
    return f"{value / size:g}{unit}"


def short_duration(seconds: float) -> str:
    """``10 ms``: a round number."""
    size, unit = _scale(seconds, UNITS)
    return f"{seconds / size:g} {unit}"


def _scale(value: float, scales: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """The largest of these that is not above the value as shown, 999.7 being 1000; otherwise the smallest."""
    return next((scale for scale in scales if value * 1.0005 >= scale[0]), scales[-1])


def _three(value: float) -> str:
    """Three digits at least; as many as it has before the point."""
    return plain(value, max(0, 2 - math.floor(math.log10(value * 1.0005))))
