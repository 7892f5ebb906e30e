"""Tables of one's own from CSV files: cells as text, with the line that each row came from."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from xpnet.checks import closest

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?", "-"))
LONGEST = max(map(len, MISSING))
LINE_END = re.compile(r"\r\n?|\n")
QUOTED = re.compile(r'(?<![^\s,;|"])"[^"]*"')  # the quote opens a cell, or is the second of two inside one
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SIGNATURES = {
    b"PK\x03\x04": "a zip archive (as .xlsx is): save it as CSV",
    b"\x1f\x8b": "compressed by gzip: unpack it",
    b"\x89PNG": "a PNG picture",
    b"\x93NUMPY": "a NumPy file: its name ends in .npy",
    b"PAR1": "a Parquet file: save it as CSV",
}
SHOWN = 20  # columns that an error lists
HEAD = 1_000_000  # characters in which the first row is looked for


@dataclass(frozen=True)
class Table:
    """Columns of text cells, stripped; a missing value is "".

    ``path`` names it in errors; ``names`` are those of the header, or positions "0", "1", ... where ``header`` is False;
    ``columns[j][i]`` is the cell in row i; ``lines[i]`` the line in the file where row i begins ((): rows have no lines);
    ``blanks`` the words that were taken for missing values.
    """

    path: str
    names: tuple[str, ...]
    columns: tuple[list[str], ...]
    lines: Sequence[int] = ()
    header: bool = True
    delimiter: str = ","
    blanks: tuple[str, ...] = ()

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
        where = f"{self.path}:{self.lines[row]}" if len(self.lines) else f"{self.path}, row {row}"
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


def read_csv(
    path: str | os.PathLike, *, header: bool | None = None, delimiter: str | None = None, encoding: str = "utf-8"
) -> Table:
    """The table in a CSV file; blank lines are skipped, quoted cells may hold delimiters and line ends.

    ``header=None``: the first row is one unless one of its cells is a number. ``delimiter=None``: the one of
    comma, semicolon, tab and bar that the first row has most of. Raises ValueError with the line for what is no table.
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"'):
        raise ValueError(f"delimiter={delimiter!r}: a single character, or tab (--delimiter)")
    text = _decode(Path(path).read_bytes(), str(path), encoding)
    delimiter = delimiter or find_delimiter(text[:HEAD])
    rows = list(_rows(text, str(path), delimiter))
    if not rows:
        raise ValueError(f"{path} is empty")
    if header is None:
        header = not any(number(cell) is not None for cell in rows[0][1])
    names = tuple(map(one_line, rows[0][1])) if header else tuple(map(str, range(len(rows[0][1]))))
    body = rows[1:] if header else rows
    if not body:
        raise ValueError(f"{path} has a header (line {rows[0][0]}) and no rows; where that line is data: --header no")
    lines, cells = zip(*body, strict=True)
    blanks: dict[str, None] = {}
    columns = tuple([_blanked(cell, blanks) for cell in column] for column in zip(*cells, strict=True))
    return Table(str(path), names, columns, lines, header, delimiter, tuple(blanks))


def find_delimiter(text: str) -> str:
    """The likeliest delimiter of the first row, outside quotes; commas in numbers count only where nothing else separates."""
    bare = next(filter(str.strip, LINE_END.split(QUOTED.sub("", text))), "")
    counts = {delimiter: bare.count(delimiter) for delimiter in DELIMITERS}
    if any(counts[delimiter] for delimiter in ";\t|"):
        counts[","] = len(re.findall(r"(?<!\d),|,(?!\d)", bare))
    return max(counts, key=counts.__getitem__)


def number(text: str) -> float | None:
    """The number that a cell holds, None where it is text; "1_000" is text, "1e3" and "inf" are numbers."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if value != value or "_" in text else value


def short(text: str, width: int = 40) -> str:
    """A text in quotes on one line, cut where it is long."""
    return repr(text if len(text) <= width else text[:width] + "...")


def one_line(text: str) -> str:
    """A text with a single space for each run of spaces and line ends."""
    return " ".join(text.split())


def listed(texts: Sequence[str], shown: int = 10) -> str:
    """The first of some names, on one line whatever they hold."""
    words = [text if len(text) <= 40 and text.isprintable() else short(text) for text in texts[:shown]]
    return ", ".join(words) + (", ..." if len(texts) > shown else "")


def _blanked(cell: str, blanks: dict[str, None]) -> str:
    """The cell, "" for a word that stands for a missing value, which joins ``blanks``."""
    if len(cell) > LONGEST or cell.casefold() not in MISSING:
        return cell
    if cell:
        blanks[cell] = None
    return ""


def _decode(data: bytes, path: str, encoding: str) -> str:
    """The text of a file; ValueError that names line and byte where it is not in this encoding."""
    for signature, kind in SIGNATURES.items():
        if data.startswith(signature):
            raise ValueError(f"{path} is no CSV file: it is {kind}")
    try:
        name = codecs.lookup(encoding).name
        text = data.decode(name)
    except LookupError as error:
        raise ValueError(f"encoding={encoding!r} is not known (--encoding utf-8, latin-1, cp1252, utf-16)") from error
    except UnicodeDecodeError as error:
        if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise ValueError(f"{path} is not UTF-8, it begins as UTF-16 does: --encoding utf-16") from error
        line, byte = _line(data[: error.start].decode("latin-1")), data[error.start : error.start + 1].hex()
        hint = "--encoding latin-1 or cp1252, or save it as UTF-8" if name == "utf-8" else "another --encoding"
        raise ValueError(f"{path}:{line}: byte 0x{byte} is not {encoding.upper()}: {hint}") from error
    except UnicodeError as error:
        raise ValueError(f"{path} is not {encoding}: {error}") from error
    if "\0" in text:
        line = _line(text[: text.index("\0")])
        raise ValueError(f"{path}:{line}: a NUL byte: this is no text file, or in UTF-16 (--encoding utf-16)")
    return text.removeprefix("\ufeff")


def _line(before: str) -> int:
    """The number of the line that comes after this text."""
    return len(LINE_END.findall(before)) + 1


def _rows(text: str, path: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line where it begins, stripped cells) of each row that is not blank; refuses rows of other lengths than the first."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=delimiter != " ", strict=True)
    width = first = 0
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(f"{path}:{line}: {_csv_mistake(str(error))}") from error
        if not row or (len(row) == 1 and not row[0].strip()):
            continue
        width, first = width or len(row), first or line
        if len(row) != width:
            raise ValueError(_ragged(path, line, row, width, first, delimiter))
        yield line, [cell.strip() for cell in row]


def _csv_mistake(text: str) -> str:
    if "unexpected end" in text:
        return "a cell that begins here with a quote has no closing quote"
    if "field larger" in text:
        return f"a cell of more than {csv.field_size_limit():,} characters: a missing closing quote, or no table"
    return f"a quote inside a quoted cell is written twice ({text})"


def _ragged(path: str, line: int, row: list[str], width: int, first: int, delimiter: str) -> str:
    text = delimiter.join(row)
    other, count = Counter({d: text.count(d) for d in DELIMITERS if d != delimiter}).most_common(1)[0]
    hint = ""
    if len(row) < width and count:
        hint = f"; it has {count} of another delimiter ({DELIMITERS[other]})"
    elif len(row) > width:
        hint = ": quote cells that hold a delimiter"
        if width == 1:
            hint = f": leave line {first} out where it is a title or a comment"
        elif not "".join(row[width:]).strip():
            hint = ": this line ends in a delimiter too many"
    ending = "s" if len(row) > 1 else ""
    name = DELIMITERS.get(delimiter, short(delimiter))
    return f"{path}:{line}: {len(row)} cell{ending} where line {first} has {width} (delimiter: {name}){hint}"
