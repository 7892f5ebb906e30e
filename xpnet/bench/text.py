"""The report for a terminal, in plain text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from xpnet.bench.cells import Table, letter
from xpnet.bench.report import build
from xpnet.bench.results import Run

WIDTH = 100  # of sentences; a table is as wide as it must be


def page(runs: Sequence[Run]) -> str:
    """Everything about these runs, what follows from them first."""
    report = build(runs)
    lines = ["xpnet benchmarks", *(f"{label} {name}, {when}".strip() for label, name, when in report.runs)]
    for warning in report.warnings:
        lines += ["", *_wrapped(warning)]
    lines += [""] if report.verdicts else []
    for verdict in report.verdicts:
        figure = verdict.figure.text
        lines += _wrapped(f"{figure:>8}  {verdict.text}", 10)
        spread = f"Spread {verdict.figure.spread}. " if verdict.figure.spread else ""
        lines += _wrapped(f"{'':10}{spread}{verdict.more}", 10)
    for section in report.sections:
        lines += ["", section.title, "=" * len(section.title), *_wrapped(section.about), *table(section.table)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def table(found: Table) -> list[str]:
    """Lines of a table: columns aligned, numbers at the right, each group under its heading."""
    rows = [row for group in found.groups for row in group.rows]
    widths = [max(len(str(cell)) for cell in column) for column in zip(*rows, strict=True)]
    heads = [textwrap.wrap(head, max(width, 10)) for head, width in zip(found.heads, widths, strict=False)]
    widths = [max([width, *map(len, head)]) for width, head in zip(widths, heads or [[]] * len(widths), strict=True)]
    right = [any(cell.value is not None for cell in column) for column in zip(*rows, strict=True)]
    deepest = max(map(len, heads), default=0)
    lines = [_line([*_head(heads, i - deepest)], widths, right) for i in range(deepest)]
    for group in found.groups:
        lines += ["", *_wrapped(group.title)] if group.title else []
        for row in group.rows:
            lines += _wrapped(_line([str(cell) for cell in row], widths, right), sum(widths[:-1]) + 2 * len(widths))
    return [*lines, *(line for i, note in enumerate(found.notes) for line in _wrapped(f"[{letter(i).lower()}] {note}", 4))]


def _head(heads: list[list[str]], line: int) -> Iterator[str]:
    """The line of each head, counted from the last, which stands on the table."""
    return (head[line] if -line <= len(head) else "" for head in heads)


def _line(cells: list[str], widths: list[int], right: list[bool]) -> str:
    aligned = (cell.rjust(w) if number else cell.ljust(w) for cell, w, number in zip(cells, widths, right, strict=True))
    return "  " + "  ".join(aligned)


def _wrapped(line: str, indent: int = 0) -> list[str]:
    """A line, or several where it is too long, the others indented; as it is where it fits, and where it is a wide table's."""
    if not line:
        return []
    if len(line.rstrip()) <= WIDTH or indent > 0.6 * WIDTH:
        return [line.rstrip()]
    start = len(line) - len(line.lstrip())
    fitting = textwrap.wrap(line.lstrip(), WIDTH - start, break_long_words=False, break_on_hyphens=False)
    rest = textwrap.wrap(" ".join(fitting[1:]), WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    return [" " * start + fitting[0], *(" " * indent + piece for piece in rest)]
