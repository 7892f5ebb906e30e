"""A table's columns as inputs: numbers standardised, text as one column for each category, all fitted on the training part."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np

from xpnet.checks import closest, listed, short
from xpnet.datasets.tables import Table, number
from xpnet.preprocessing.rows import check_scale, mean_and_std, scaled

CATEGORIES = 100  # a text column with more is refused
THOUSANDS = r"[1-9]\d{0,2}(?:[ .'\u2019\u00a0\u202f]\d{3})+"
ALMOST = re.compile(rf"[+\-\u2212]?[$€£]? ?(?:{THOUSANDS}|\d+(?:,\d+)*)(?:[.,]\d+)? ?[%$€£]?")  # a number for people


@dataclass(frozen=True)
class Number:
    """A column of numbers, ``(value - mean) / std``; a missing value becomes ``fill``, or is refused where that is None."""

    name: str
    mean: float
    std: float
    fill: float | None = None
    kind: ClassVar[str] = "number"
    width: ClassVar[int] = 1

    def __post_init__(self) -> None:
        _check_name(self.name)
        check_scale(self.mean, self.std)
        check_scale(self.fill or 0.0, 1.0)

    @classmethod
    def fit(cls, name: str, table: Table, column: int, fill: bool) -> Number:
        """Fitted on a table of the training part; with ``fill`` its median takes the place of missing values."""
        values = numbers(table, column)
        known = values[~np.isnan(values)]
        if not len(known):
            raise ValueError(f"{table.path}: {table.title(column)} has no value in the training part: --drop {short(name)}")
        median = float(np.median(known))
        return cls(name, *mean_and_std(np.where(np.isnan(values), median, values)), median if fill else None)

    def encode(self, table: Table, column: int) -> np.ndarray:
        """(N, 1)."""
        values = numbers(table, column)
        if len(gaps := np.flatnonzero(np.isnan(values))):
            if self.fill is None:
                place = table.place(int(gaps[0]), column)
                raise ValueError(f"{place}: missing value: leave the row out, or train with --missing fill")
            values[gaps] = self.fill
        return scaled(values[:, None], self.mean, self.std, lambda row: table.place(row, column))


@dataclass(frozen=True)
class Text:
    """A column of text: one input for each category, 1 where it is that one, else 0. "" is the category of missing values."""

    name: str
    categories: tuple[str, ...]
    kind: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        _check_name(self.name)
        object.__setattr__(self, "categories", tuple(self.categories))
        if not self.categories or not all(isinstance(c, str) for c in self.categories):
            raise ValueError("a text column has categories")

    @classmethod
    def fit(cls, name: str, table: Table, column: int, fill: bool) -> Text:
        """The categories of a table of the training part, in alphabetic order."""
        return cls(name, tuple(sorted(set(table.columns[column]))))

    @property
    def width(self) -> int:
        return len(self.categories)

    def encode(self, table: Table, column: int) -> np.ndarray:
        """(N, categories)."""
        index = {category: i for i, category in enumerate(self.categories)}
        found = np.zeros((len(table), self.width), np.float32)
        for row, cell in enumerate(table.columns[column]):
            if cell not in index:
                what = short(cell) if cell else "missing value"
                known = listed([c or "missing" for c in self.categories])
                raise ValueError(
                    f"{table.place(row, column)}: {what} is none of the {self.width} categories seen in training ({known})"
                )
            found[row, index[cell]] = 1
        return found


KINDS: dict[str, type[Number] | type[Text]] = {"number": Number, "text": Text}


@dataclass(frozen=True)
class Columns:
    """The inputs that a network takes from a table.

    ``header``: columns are found by name; otherwise by position in a table of ``total`` columns, the target ``target`` among
    them, which a table for prediction may lack.
    """

    columns: tuple[Number | Text, ...]
    header: bool
    total: int
    target: str

    def __post_init__(self) -> None:
        if not self.columns or not isinstance(self.total, int) or not isinstance(self.target, str):
            raise ValueError("a model has input columns and a target")
        if not self.header and not all(name.isdecimal() for name in (*[c.name for c in self.columns], self.target)):
            raise ValueError("columns without a header are called by their positions")

    @classmethod
    def fit(cls, table: Table, inputs: dict[int, str], target: int, total: int, fill: bool) -> Columns:
        """Fitted on a table of the training part; ``inputs`` maps positions to kinds, "number" or "text"."""
        columns = tuple(KINDS[kind].fit(table.names[j], table, j, fill) for j, kind in inputs.items())
        return cls(columns, table.header, total, table.names[target])

    @property
    def width(self) -> int:
        return sum(column.width for column in self.columns)

    def encode(self, table: Any) -> np.ndarray:
        """Inputs (N, width) of a table, its columns in any order, others ignored; ValueError that names line and column.

        ``table``: a :class:`Table`, as ``xn.datasets.read_csv`` gives it, a DataFrame, or a dict of columns.
        """
        table = table_of(table)
        places = self.places(table)
        return np.concatenate([c.encode(table, places[c.name]) for c in self.columns], axis=1)

    def places(self, table: Table) -> dict[str, int]:
        """Position in the table of each input, and of the target where the table has it."""
        return self._by_name(table) if self.header else self._by_position(table)

    def as_dict(self) -> dict[str, Any]:
        """What :meth:`from_dict` reads: texts, numbers and lists."""
        columns = [{"kind": column.kind, **asdict(column)} for column in self.columns]
        return {"columns": columns, "header": self.header, "total": self.total, "target": self.target}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Columns:
        """The inverse of :meth:`as_dict`; KeyError, TypeError or ValueError where something is wrong."""
        columns = [KINDS[c["kind"]](**{k: v for k, v in c.items() if k != "kind"}) for c in stored["columns"]]
        return cls(**{**stored, "columns": tuple(columns)})

    def _by_name(self, table: Table) -> dict[str, int]:
        names, there = [column.name for column in self.columns], set(table.names)
        if missing := [name for name in names if name not in there]:
            what = f"{', '.join(map(short, missing[:10]))}, which the network was trained on (its target: {short(self.target)})"
            near = closest(missing[0], table.names)
            lost = "; is its first line, with the names, missing?" if len(missing) == len(names) and not near else near
            raise ValueError(f"{table.path} has no column {what}; {table.listing()}{lost}")
        present = [*names, *([self.target] if self.target in there else [])]
        return {name: table.position(name) for name in present}

    def _by_position(self, table: Table) -> dict[str, int]:
        width, target = len(table.names), int(self.target)
        if width not in (self.total, self.total - 1):
            raise ValueError(
                f"{table.path} has {width} columns; the model was trained on {self.total}, 0 to {self.total - 1}, "
                f"with the target in column {target}, which may be left out"
            )
        shift = width < self.total
        places = {c.name: int(c.name) - (shift and int(c.name) > target) for c in self.columns}
        return places if shift else {**places, self.target: target}


def table_of(columns: Any) -> Table:
    """A DataFrame or a dict of columns as a table of cells; a table as it is. TypeError for what has no named columns."""
    if isinstance(columns, Table):
        return columns
    if not hasattr(columns, "keys") and not hasattr(columns, "columns"):
        raise TypeError(f"a table is needed, by xn.datasets.read_csv, a DataFrame or a dict, not a {type(columns).__name__}")
    names = list(columns.keys() if hasattr(columns, "keys") else columns.columns)
    for name in names:
        if isinstance(columns[name], str) or np.ndim(columns[name]) != 1:
            raise ValueError(f"the table, column {short(str(name))}: a list of cells is needed")
    cells = [["" if is_missing(value) else str(value).strip() for value in columns[name]] for name in names]
    if len({len(column) for column in cells}) > 1:
        raise ValueError(f"the columns are of different lengths: {[len(column) for column in cells]}")
    return Table("the table", tuple(map(str, names)), tuple(cells))


def is_missing(value: Any) -> bool:
    """None, NaN, or what pandas has for them."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or value != value


def kind_of(cells: Sequence[str], place: Callable[[int], str], otherwise: str = "--drop the column") -> str:
    """ "number" or "text"; ValueError with the place of a text among numbers, or of a number as people write it."""
    strays = [i for i, cell in enumerate(cells) if cell and number(cell) is None]
    known = len(cells) - cells.count("")
    almost = [i for i in strays if ALMOST.fullmatch(cells[i])]
    if strays and (known - len(strays) + len(almost)) * 2 < known:
        return "text"
    if almost:
        first = almost[0]
        raise ValueError(
            f"{place(first)}: {short(cells[first])} is no number: write 1234.5 (decimal commas, thousands separators, "
            "currencies and % are not read)"
        )
    if strays:
        of = f"{len(strays):,} of {known:,} values are not"
        raise ValueError(f"{place(strays[0])}: {short(cells[strays[0]])} is no number ({of}): mend it, or {otherwise}")
    return "number"


def numbers(table: Table, column: int) -> np.ndarray:
    """The numbers of a column (N,), float64, NaN where one is missing; ValueError with the place of what is none."""
    found = np.empty(len(table))
    for row, cell in enumerate(table.columns[column]):
        value = number(cell) if cell else math.nan
        if value is None or math.isinf(value):
            why = "is no number" if value is None else "is not finite"
            header = " (is that the header? --header yes)" if value is None and 1 in table.lines[row : row + 1] else ""
            raise ValueError(f"{table.place(row, column)}: {short(cell)} {why}{header}")
        found[row] = value
    return found


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise ValueError(f"a column's name is text, not {name!r}")
