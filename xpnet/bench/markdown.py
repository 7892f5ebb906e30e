"""The report for GitHub."""

from __future__ import annotations

import re
from collections.abc import Sequence

from xpnet.bench.cells import Cell, Group, Table, letter
from xpnet.bench.report import build
from xpnet.bench.results import Run


def page(runs: Sequence[Run]) -> str:
    """Everything about these runs, what follows from them first; every group of rows is a table of its own."""
    report = build(runs)
    lines = ["# xpnet benchmarks", ""]
    lines += [f"- {escaped(f'{label} {name}, {when}'.strip())}" for label, name, when in report.runs]
    lines += ["", *(f"> {escaped(warning)}" for warning in report.warnings), ""]
    for verdict in report.verdicts:
        lines.append(f"- **{escaped(str(verdict.figure))}** {escaped(f'{verdict.text}. {verdict.more}')}")
    for section in report.sections:
        lines += ["", f"## {escaped(section.title)}", "", escaped(section.about)]
        lines += [line for group in section.table.groups for line in _group(group, section.table)]
        lines += ["", *(f"[{letter(i).lower()}] {escaped(note)}  " for i, note in enumerate(section.table.notes))]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


def _group(group: Group, table: Table) -> list[str]:
    title = ["", f"**{escaped(group.title)}**", ""] if group.title else [""]
    width = len(group.rows[0])
    if width == 1:
        return [*title, *(f"- {escaped(str(row[0]))}" for row in group.rows)]
    right = [any(row[i].value is not None for row in group.rows) for i in range(width)]
    heads = [Cell(head) for head in table.heads] or [Cell("")] * width
    return [*title, _row(heads), _row([Cell("--:" if number else "---") for number in right]), *map(_row, group.rows)]


def _row(cells: list[Cell]) -> str:
    return f"| {' | '.join(escaped(str(cell)) for cell in cells)} |"


def escaped(text: str) -> str:
    """As it is, where Markdown would take it for its own."""
    return re.sub(r"([\\`*_|<\[\]#~])", r"\\\1", text)
