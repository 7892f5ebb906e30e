"""Tables: columns of cells as text, with the line that each row came from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from xpnet.checks import closest, listed, short

SHOWN = 20  # columns that an error lists


@dataclass(frozen=True)
class Table:
    """Columns of text cells, stripped; a missing value is "".

    ``path`` names it in errors; ``names`` are those of the header, or positions "0", "1", ... where ``header`` is False;
    ``columns[j][i]`` is the cell in row i; ``lines[i]`` the line in the file where row i begins ((): rows have no lines, and
    ``first`` is the number of row 0 there); ``blanks`` the words that were taken for missing values.
    """

    path: str
    names: tuple[str, ...]
    columns: tuple[list[str], ...]
    lines: Sequence[int] = ()
    header: bool = True
    delimiter: str = ","
    blanks: tuple[str, ...] = ()
    first: int = 0

    def __len__(self) -> int:
        return len(self.columns[0]) if self.columns else 0

    def position(self, key: str | int, what: str = "column") -> int:
        """Index of the column of this name or position, -1 being the last; ValueError that lists the columns."""
        n, named = len(self.names), self._places.get(one_line(str(key)), ())
        if len(named) > 1:
            raise ValueError(f"{self.path}: columns {named[0]} and {named[1]} are both called {short(str(key))}: rename one")
        if named:
            return named[0]
        if re.fullmatch(r"[+-]?\d{1,9}", str(key)) and -n <= int(key) < n:
            return int(key) % n
        raise ValueError(f"{self.path}: {what} {short(str(key))} is not there; {self.listing()}{closest(str(key), self.names)}")

    def listing(self) -> str:
        """The columns' names, the first 20, for errors."""
        n = len(self.names)
        if not self.header:
            remedy = f" (where line {self.lines[0]} is one: --header yes)" if len(self.lines) else ""
            return f"there is no header{remedy}, the {n} columns are 0 to {n - 1}, -1 is the last"
        return f"the columns are {listed(self.names, SHOWN)}" + (f" ({n} in all)" if n > SHOWN else "")

    def place(self, row: int, column: int | None = None) -> str:
        """Where a cell or a row is, for errors: "my.csv:12, column 'price'"."""
        where = f"{self.path}:{self.lines[row]}" if len(self.lines) else f"{self.path}, row {self.first + row}"
        return where if column is None else f"{where}, {self.title(column)}"

    def title(self, column: int) -> str:
        """The name of a column in errors: column 'price', or column 3 where there is no header."""
        return f"column {short(self.names[column])}" if self.header else f"column {self.names[column]}"

    def without(self, columns: Sequence[int]) -> Table:
        """The table with these columns left out; the others keep their names."""
        kept = [j for j in range(len(self.names)) if j not in columns]
        return replace(self, names=tuple(self.names[j] for j in kept), columns=tuple(self.columns[j] for j in kept))

    def rows(self, chosen: Sequence[int] | np.ndarray) -> Table:
        """The table of these rows."""
        picked = list(map(int, chosen))
        columns = tuple([column[i] for i in picked] for column in self.columns)
        return replace(self, columns=columns, lines=[self.lines[i] for i in picked] if len(self.lines) else ())

    @cached_property
    def _places(self) -> dict[str, list[int]]:
        """The positions of each name."""
        places: dict[str, list[int]] = {}
        for j, name in enumerate(self.names):
            places.setdefault(name, []).append(j)
        return places


def number(text: str) -> float | None:
    """The number that a cell holds, None where it is text; "1_000" is text, "1e3" and "inf" are numbers."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if value != value or "_" in text else value


def reason(error: Exception) -> str:
    """An error's words on one line, cut where they are long: those for damaged files quote them."""
    text = one_line(str(error))
    return (text if len(text) <= 100 else text[:100] + "...") or type(error).__name__


def one_line(text: str) -> str:
    """A text with a single space for each run of spaces and line ends."""
    return " ".join(text.split())
