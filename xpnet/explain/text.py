"""The step as text for a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from xpnet.explain.numbers import View, check_digits, view
from xpnet.explain.story import Entry, Quantity, Section, shortened, story
from xpnet.explain.trace import Explanation

NAME = 32  # columns for the name and shape of a matrix of one row
INDENT = "    "
WIDTH = 110


def page(found: Explanation, digits: int) -> str:
    """Everything in the order of computing, a heading for each part."""
    check_digits(digits)
    made, writer = story(found), Writer(found.dtype, digits)
    reading = [line for text in made.reading for line in textwrap.wrap(text, WIDTH)]
    lines = [made.title, "", *reading, "", *_heading("The network"), *_table(made.table), made.total]
    for section in made.sections:
        lines += ["", *_heading(section.title), *writer.section(section)]
    return "\n".join(line.rstrip() for line in lines)


def _heading(title: str) -> list[str]:
    return [title, "=" * len(title)]


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "-" * max(map(len, lines)), *lines[1:]]


class Writer:
    """Lines for what a story holds; the types of arrays are said where they are not the network's."""

    def __init__(self, dtype: str, digits: int):
        self.dtype, self.digits = dtype, digits

    def section(self, section: Section) -> Iterator[str]:
        yield from _notes(section.notes, "")
        for item in section.items:
            if isinstance(item, Entry):
                yield ""
            yield from self._item(item, "")

    def _item(self, item: Entry | Quantity, indent: str) -> Iterator[str]:
        if isinstance(item, Quantity):
            yield from self._quantity(item, indent)
            return
        yield f"{indent}{shortened(item.name, 100)}"
        inside = indent + INDENT
        yield from _notes(item.notes, inside)
        for part in item.items:
            yield from self._item(part, inside)

    def _quantity(self, quantity: Quantity, indent: str) -> Iterator[str]:
        if quantity.a is None:
            yield f"{indent}{quantity.name:{NAME}}  {quantity.note}"
            return
        shown = view(quantity.a, self.digits)
        kind = "" if shown.dtype == self.dtype else f" {shown.dtype}"
        head = f"{quantity.name} {shown.shape}{kind}" if shown.shape else f"{quantity.name}{kind}"
        rows = list(_rows(shown))
        if len(rows) == 1 and shown.whole:
            yield f"{indent}{head:{NAME}}  {rows[0]}"
            return
        yield f"{indent}{head}" + (f": {shown.extremes}" if shown.extremes else "")
        yield from (f"{indent}{INDENT}{row}" for row in rows)


def _notes(notes: list[str], indent: str) -> Iterator[str]:
    for note in notes:
        yield from textwrap.wrap(note.replace("``", ""), WIDTH, initial_indent=indent, subsequent_indent=indent)


def _rows(shown: View) -> Iterator[str]:
    """The numbers, a line a row; "..." for what is left out."""
    if not shown.blocks:
        yield "empty"
    for block in shown.blocks:
        if block.place:
            yield block.place
        for row in block.rows:
            yield "..." if row is None else "  ".join("..." if cell is None else cell.text for cell in row)
    if shown.left_out:
        yield f"... and {shown.left_out:,} more of shape {shown.shape[-2:]}"
