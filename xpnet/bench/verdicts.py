"""What follows from the tables, in sentences: each with the one figure to remember."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

from xpnet.bench.cells import Cell, Group, Table
from xpnet.bench.tables import LIMITS, place

USUAL_BATCH = 100  # a model's gain is read at the batch that is nearest
OTHERS = {"per sample / matrix": "the per-sample loop", "book / matrix": "the book's program"}

Row = list[Cell]


class Verdict(NamedTuple):
    """The figure to remember, what it is of, and what holds beyond that."""

    figure: Cell
    text: str
    more: str


def verdicts(tables: dict[str, Table]) -> Iterator[Verdict]:
    """From the tables "forms", "gpu" and "peers", as far as they are there."""
    if "forms" in tables:
        yield from _gains(tables["forms"])
    if "gpu" in tables:
        yield from itertools.chain.from_iterable(map(_break_even, tables["gpu"].groups))
    if "peers" in tables:
        yield from _peers(tables["peers"])


def _gains(table: Table) -> Iterator[Verdict]:
    """What the whole minibatch gains: on each device of each run, the first model's."""
    for _, found in itertools.groupby(sorted(table.groups, key=lambda g: (g.key[0], g.key[2])), lambda g: (g.key[0], g.key[2])):
        groups = list(found)
        for head in OTHERS:
            known = [
                (group, row, row[table.heads.index(head)]) for group in groups for row in group.rows if head in table.heads
            ]
            known = [(group, row, cell) for group, row, cell in known if cell.value is not None]
            if known:
                yield _gain(head, known)


def _gain(head: str, known: list[tuple[Group, Row, Cell]]) -> Verdict:
    group = known[0][0]
    mine = [(row, cell) for found, row, cell in known if found is group and row[0] == known[0][1][0]]
    row, figure = min(mine, key=lambda pair: abs(math.log((pair[0][1].value or 1) / USUAL_BATCH)))
    text = f"Whole minibatch against {OTHERS[head]}: {group.title}, {row[0].text}, batch {row[1].text}"
    ordered = sorted((cell for _, _, cell in known), key=_value)
    note = "The program computes in float64." if figure.mark else ""
    over = f"Over all models and sizes {ordered[0].text} to {ordered[-1].text}." if len(ordered) > 1 else ""
    return Verdict(figure, text, f"{note} {over}".strip())


def _break_even(group: Group) -> Iterator[Verdict]:
    """How a GPU does at the largest batch, and from which on it pays: in the first dtype that can be compared."""
    known = [row for row in group.rows if row[-1].value is not None]
    rows = [row for row in known if row[0] == known[0][0]]
    if not rows:
        return
    loses = [i for i, row in enumerate(rows) if _value(row[-1]) <= 1]
    pays = rows[loses[-1] + 1 :] if loses else rows
    text = f"GPU against the CPU's best: {group.title}, {rows[-1][0].text}, batch {rows[-1][1].text}"
    if not pays:
        yield Verdict(rows[-1][-1], text, "It does not pay at any batch that was tried.")
        return
    smallest = "" if loses else ", the smallest that was tried"
    there = "" if len(pays) == 1 else f": {pays[0][-1]} there"
    yield Verdict(rows[-1][-1], text, f"It pays from batch {pays[0][1].text} on{smallest}{there}.")


def _peers(table: Table) -> Iterator[Verdict]:
    """The middle one of the ratios to each library, and to the limit, on each device of each run."""
    found: dict[tuple[str, str, str], list[Cell]] = {}
    for group in table.groups:
        for row in group.rows:
            library, ratio = row[table.heads.index("library")].text, row[-1]
            if ratio.value is not None:
                found.setdefault((group.key[0], group.key[2], library), []).append(ratio)
    for (run, device, library), ratios in found.items():
        ordered = sorted(ratios, key=_value)
        more = f"The middle of {len(ratios)} cases, from {ordered[0].text} to {ordered[-1].text}." if len(ratios) > 1 else ""
        text = f"xpnet against {library}, {place(run, device)}"
        if library in LIMITS.values():
            text = f"{library.capitalize()}: their time over that of xpnet's step, {place(run, device)}"
        yield Verdict(ordered[(len(ratios) - 1) // 2], text, more)


def _value(cell: Cell) -> float:
    return cell.value or 0.0
