"""CSV files as tables, whole or some rows at a time; what is wrong is said with its line."""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from xpnet.checks import short
from xpnet.datasets.tables import Table, number, one_line

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none", "?", "-"))
LONGEST = max(map(len, MISSING))
LINE_END = re.compile(r"\r\n?|\n")
QUOTED = re.compile(r'(?<![^\s,;|"])"[^"]*"')  # the quote opens a cell, or is the second of two inside one
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
SIGNATURES = {
    b"PK\x03\x04": "a zip archive (as .xlsx is): save it as CSV",
    b"\x1f\x8b": "compressed by gzip: unpack it",
    b"\x89PNG": "a PNG picture: its name ends in .png",
    b"\xff\xd8\xff": "a JPEG picture: its name ends in .jpg",
    b"GIF8": "a GIF picture: its name ends in .gif",
    b"%PDF": "a PDF file: save the page as PNG or JPEG",
    b"\x00\x00\x00\x18ftyp": "a HEIC picture or a film: save it as PNG or JPEG",
    b"\x00\x00\x00\x1cftyp": "a HEIC picture or a film: save it as PNG or JPEG",
    b"\x00\x00\x00\x24ftyp": "a HEIC picture or a film: save it as PNG or JPEG",
    b"\x93NUMPY": "a NumPy file: its name ends in .npy",
    b"PAR1": "a Parquet file: save it as CSV",
}
HEAD = 1_000_000  # characters in which the first row is looked for
BLOCK = 1 << 20  # bytes read at a time
LINE = 1 << 24  # characters: a row of 16 million cells already takes half a gigabyte
NATIVE = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}  # what they mean where a file has no mark


def read_csv(
    path: str | os.PathLike, *, header: bool | None = None, delimiter: str | None = None, encoding: str = "utf-8"
) -> Table:
    """The table in a CSV file; blank lines are skipped, quoted cells may hold delimiters and line ends.

    ``header=None``: the first row is one unless one of its cells is a number. ``delimiter=None``: the one of
    comma, semicolon, tab and bar that the first row has most of. Raises ValueError with the line for what is no table.
    """
    with open(path, "rb") as file:
        (table,) = csv_parts(file, str(path), header=header, delimiter=delimiter, encoding=encoding)
    return table


def csv_parts(
    file: io.BufferedReader,
    path: str,
    rows: int | None = None,
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    encoding: str = "utf-8",
) -> Iterator[Table]:
    """The table in an open CSV file in parts of so many ``rows``, as :func:`read_csv` reads it; None is all in one.

    ``path`` is its name in errors, which come when the part with the mistake is asked for.
    """
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"'):
        raise ValueError(f"delimiter={delimiter!r}: a single character, or tab (--delimiter)")
    lines = _lines(file, path, encoding)
    head = _head(lines)
    delimiter = delimiter or find_delimiter("".join(head)[:HEAD])
    numbered = _rows(chain(head, lines), path, delimiter)
    if (first := next(numbered, None)) is None:
        raise ValueError(f"{path} is empty")
    if header is None:
        header = not any(number(cell) is not None for cell in first[1])
    names = tuple(map(one_line, first[1])) if header else tuple(map(str, range(len(first[1]))))
    body, found = (numbered if header else chain([first], numbered)), False
    while part := list(islice(body, rows)):
        yield _table(part, path, names, header, delimiter)
        found = True
    if not found:
        raise ValueError(f"{path} has a header (line {first[0]}) and no rows; where that line is data: --header no")


def find_delimiter(text: str) -> str:
    """The likeliest delimiter of the first row, outside quotes; commas in numbers count only where nothing else separates."""
    bare = next(filter(str.strip, LINE_END.split(QUOTED.sub("", text))), "")
    counts = {delimiter: bare.count(delimiter) for delimiter in DELIMITERS}
    if any(counts[delimiter] for delimiter in ";\t|"):
        counts[","] = len(re.findall(r"(?<!\d),|,(?!\d)", bare))
    return max(counts, key=counts.__getitem__)


def _table(body: list[tuple[int, list[str]]], path: str, names: tuple[str, ...], header: bool, delimiter: str) -> Table:
    """The table of some rows."""
    lines, cells = zip(*body, strict=True)
    blanks: dict[str, None] = {}
    columns = tuple([_blanked(cell, blanks) for cell in column] for column in zip(*cells, strict=True))
    return Table(path, names, columns, lines, header, delimiter, tuple(blanks))


def _blanked(cell: str, blanks: dict[str, None]) -> str:
    """The cell, "" for a word that stands for a missing value, which joins ``blanks``."""
    if len(cell) > LONGEST or cell.casefold() not in MISSING:
        return cell
    if cell:
        blanks[cell] = None
    return ""


def _head(lines: Iterator[str]) -> list[str]:
    """The first lines, a million characters of them, without the mark that a file may begin with."""
    head: list[str] = []
    size = 0
    for line in lines:
        head.append(line if head else line.removeprefix("\ufeff"))
        size += len(line)
        if size >= HEAD:
            break
    return head


def _lines(file: io.BufferedReader, path: str, encoding: str) -> Iterator[str]:
    """The lines of a text with their ends; ValueError that names line and byte where it is not in this encoding."""
    start = file.peek(8)
    for signature, kind in SIGNATURES.items():
        if start.startswith(signature):
            raise ValueError(f"{path} is no CSV file: it is {kind}")
    name = _encoding(encoding, start)
    decoder, line, rest = codecs.getincrementaldecoder(name)(), 1, ""
    while True:
        block = file.read(BLOCK)
        try:
            text = rest + decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            raise ValueError(_undecodable(error, path, line, rest, start, encoding)) from error
        except UnicodeError as error:
            raise ValueError(f"{path} is not {encoding}: {error}") from error
        if "\0" in text:
            line += _ends(text[: text.index("\0")])
            raise ValueError(f"{path}:{line}: a NUL byte: this is no text file, or in UTF-16 (--encoding utf-16)")
        pieces = list(io.StringIO(text, newline=""))
        rest = pieces.pop() if block and pieces else ""  # it may go on in the next block
        if len(rest) > LINE:
            line += len(pieces)
            raise ValueError(f"{path}:{line}: a line of more than {LINE:,} characters: this is no table")
        yield from pieces
        if not block:
            return
        line += len(pieces)


def _encoding(encoding: str, start: bytes) -> str:
    """Python's name of an encoding; ValueError where there is none, or it is none of text."""
    try:
        io.TextIOWrapper(io.BytesIO(), encoding)  # refuses hex, rot13 and the like
        name = codecs.lookup(encoding).name
        codecs.getincrementaldecoder(name)
    except LookupError as error:
        raise ValueError(f"encoding={encoding!r} is not known (--encoding utf-8, latin-1, cp1252, utf-16)") from error
    marked = start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE))
    return name if marked else NATIVE.get(name, name)


def _undecodable(error: UnicodeDecodeError, path: str, line: int, rest: str, start: bytes, encoding: str) -> str:
    """The text for a byte that is not in this encoding; ``rest`` is what comes before what was decoded."""
    if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return f"{path} is not UTF-8, it begins as UTF-16 does: --encoding utf-16"
    line += _ends(rest + error.object[: error.start].decode("latin-1"))
    byte = error.object[error.start : error.start + 1].hex()
    unicode = codecs.lookup(encoding).name == "utf-8"
    hint = "--encoding latin-1 or cp1252, or save it as UTF-8" if unicode else "another --encoding"
    return f"{path}:{line}: byte 0x{byte} is not {encoding.upper()}: {hint}"


def _ends(text: str) -> int:
    """How many lines end in a text."""
    return len(LINE_END.findall(text))


def _rows(lines: Iterable[str], path: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """(line where it begins, stripped cells) of each row that is not blank; refuses rows of other lengths than the first."""
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=delimiter != " ", strict=True)
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
