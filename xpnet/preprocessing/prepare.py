"""Data of one's own, split, fitted and encoded: what ``xpnet train`` does before it trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xpnet.checks import listed, short
from xpnet.datasets.own import Arrays, as_cells
from xpnet.datasets.tables import Table
from xpnet.preprocessing.columns import CATEGORIES, Columns, Number, kind_of
from xpnet.preprocessing.rows import Rows
from xpnet.preprocessing.split import split
from xpnet.preprocessing.targets import TASKS, Classes, Place, Target, class_name, fit_target, infer_task, quantities

Inputs = Columns | Rows
Part = np.ndarray  # row numbers


@dataclass(frozen=True)
class Prepared:
    """Arrays for training and for the rows held out, with the ``inputs`` and ``target`` that made them.

    ``said``: in words, what was assumed; ``held``: "test" or "validation".
    """

    said: str
    held: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_held: np.ndarray
    y_held: np.ndarray
    inputs: Inputs
    target: Target


def prepare_table(
    table: Table,
    target: str | int,
    *,
    task: str | None = None,
    missing: str | None = None,
    drop: Sequence[str | int] = (),
    validation: float = 0.2,
    seed: int = 0,
) -> Prepared:
    """Inputs and target of a table; ValueError that names line, column and what mends it.

    ``missing`` is "drop" (rows with gaps) or "fill" (the training part's median, in text a category of its own); None refuses
    gaps. ``drop`` names columns to leave out. Validation rows with a category that no training row has go to training.
    """
    if missing not in (None, "drop", "fill"):
        raise ValueError(f"missing={missing!r}: choose 'drop' or 'fill'")
    total, goal = len(table.names), table.position(target, "the target")
    kept = _inputs_of(table, goal, [table.position(key, "the column to drop") for key in drop])
    kinds = {j: _kind(table, j) for j in kept}
    table, gaps = _without_gaps(table, kept, goal, missing)
    cells = table.columns[goal]

    def place(row: int) -> str:
        return table.place(row, goal)

    values, why = _read_target(cells, task, place)
    train, held = split(_groups(cells, values), validation, seed)
    train, held, moved = _known_categories(table, [j for j in kept if kinds[j] == "text"], train, held)
    found = fit_target(table.names[goal], cells, values, train)
    columns = Columns.fit(table.rows(train), kinds, goal, total, missing == "fill")
    x, y = columns.encode(table), found.encode(cells, place)
    size = f"{table.path}: {len(table):,} rows, {'a' if table.header else 'no'} header"
    said = [size, *gaps, _inputs_said(columns), _target_said(found, why, table.header), *moved, _parts_said(train, held, seed)]
    return Prepared("; ".join(said), "validation", x[train], y[train], x[held], y[held], columns, found)


def prepare_arrays(
    data: Arrays,
    *,
    name: str = "y",
    task: str | None = None,
    validation: float | None = None,
    seed: int = 0,
    images: bool = False,
    resize: bool = False,
    said: Sequence[str] = (),
) -> Prepared:
    """Inputs and targets of arrays: with test rows these are held out, otherwise a share ``validation``, 0.2 if None.

    ``images`` and ``resize`` say what the rows are, as in :class:`Rows`; ``said`` is to be said too.
    """
    x, y, own_test = data.x, data.y, data.x_test is not None
    if y is None or (own_test and data.y_test is None):
        raise ValueError(f"{data.path} has no {'y' if y is None else 'y_test'}: one target a row is needed")
    if own_test and validation is not None:
        raise ValueError(f"{data.path} has test rows of its own: leave out --validation")
    if data.x_test is not None and data.y_test is not None:
        x, y = np.concatenate([x, data.x_test]), np.concatenate([y, data.y_test])
    cells = as_cells(y)

    def place(row: int) -> str:
        return f"{data.path}: {name}, row {row}"

    if "" in cells:
        raise ValueError(f"{place(cells.index(''))}: missing value: leave such rows out")
    values, why = _read_target(cells, task, place)
    why = "names of folders" if images else why
    if own_test:
        train, held = np.split(np.arange(len(x)), [len(data.x)])
    else:
        train, held = split(_groups(cells, values), 0.2 if validation is None else validation, seed)
    found = fit_target(name, cells, values, train)
    rows = Rows.fit(x[train], images=images, resize=resize)
    targets = found.encode(cells, place)
    shape = f"{data.path}: {len(x):,} rows of ({', '.join(map(str, x.shape[1:]))})"
    words = [shape, *said, _target_said(found, why, True), _parts_said(train, held, None if own_test else seed)]
    part, x_train, x_held = "test" if own_test else "validation", rows.encode(x[train]), rows.encode(x[held])
    return Prepared("; ".join(words), part, x_train, targets[train], x_held, targets[held], rows, found)


def _read_target(cells: Sequence[str], task: str | None, place: Place) -> tuple[np.ndarray | None, str]:
    """A quantity's values, None for classes; and why this task."""
    if task not in (None, *TASKS):
        raise ValueError(f"task={task!r}: choose one of {', '.join(TASKS)}")
    task, why = infer_task(cells, place) if task is None else (task, "asked for")
    return (quantities(cells, place) if task == "regression" else None), why


def _groups(cells: Sequence[str], values: np.ndarray | None) -> list[str]:
    """What a split keeps the shares of: the classes, or nothing."""
    return list(map(class_name, cells)) if values is None else [""] * len(cells)


def _inputs_of(table: Table, goal: int, dropped: Sequence[int]) -> list[int]:
    """Positions of the inputs; refuses names that do not tell columns apart."""
    if goal in dropped:
        raise ValueError(f"{table.path}: the target, {table.title(goal)}, is among the columns to drop")
    kept = [j for j in range(len(table.names)) if j not in dropped]
    for j in kept:
        if not table.names[j]:
            raise ValueError(f"{table.path}: column {j} has no name: give it one, or --drop {j}")
        table.position(table.names[j])
    if len(kept) < 2:
        raise ValueError(f"{table.path}: no column is left beside the target (delimiter: {table.delimiter!r})")
    if len(table) < 2:
        raise ValueError(f"{table.path} has 1 row: one trains, one validates, so 2 are the least")
    return [j for j in kept if j != goal]


def _kind(table: Table, j: int) -> str:
    """Kind of an input column; refuses one without values, and text of too many categories."""
    cells = table.columns[j]
    if not any(cells):
        raise ValueError(f"{table.path}: {table.title(j)} has no value at all: --drop {short(table.names[j])}")
    kind = kind_of(cells, lambda row: table.place(row, j), f"--drop {short(table.names[j])}")
    if kind == "text" and (n := len(set(cells) - {""})) > CATEGORIES:
        raise ValueError(
            f"{table.path}: {table.title(j)} has {n:,} different texts, {short(next(filter(None, cells)))} the first; up to "
            f"{CATEGORIES} are encoded, each as an input: --drop {short(table.names[j])}"
        )
    return kind


def _without_gaps(table: Table, inputs: Sequence[int], goal: int, missing: str | None) -> tuple[Table, list[str]]:
    """The table without the rows that ``missing`` drops, and what to say of gaps; refuses them where it is None."""
    gaps = {j: np.array([cell == "" for cell in table.columns[j]]) for j in (*inputs, goal)}
    counts = [f"{table.names[j]} {found.sum():,}" for j, found in gaps.items() if found.any()]
    if not counts:
        return table, []
    where = ", ".join(counts[:10]) + (f", ... ({len(counts)} columns)" if len(counts) > 10 else "")
    bad = np.any(list(gaps.values()), axis=0)
    if missing is None:
        row = int(bad.argmax())
        first = next(j for j in sorted(gaps) if gaps[j][row])
        fill = ", --missing fill puts the training part's median there (in text a category)"
        words = f" (taken for one: {listed(table.blanks)})" if table.blanks else ""
        raise ValueError(
            f"{table.place(row, first)}: missing value{words}, {bad.sum():,} of {len(table):,} rows have some ({where}): "
            f"--missing drop leaves these rows out{fill if any(gaps[j].any() for j in inputs) else ''}"
        )
    left_out = bad if missing == "drop" else gaps[goal]
    if len(table) - left_out.sum() < 2:
        raise ValueError(f"{table.path}: {len(table) - left_out.sum()} rows are left without gaps ({where}), 2 are the least")
    said = [f"rows left out for gaps: {left_out.sum():,}"] if left_out.any() else []
    filled = sum(int((gaps[j] & ~left_out).sum()) for j in inputs)
    said += [f"gaps filled: {filled:,}"] if filled else []
    return table.rows(np.flatnonzero(~left_out)), [f"{' and '.join(said)} ({where})"]


def _known_categories(table: Table, text: Sequence[int], train: Part, held: Part) -> tuple[Part, Part, list[str]]:
    """The parts with those validation rows moved to training whose category no training row has, and what to say of them."""
    moves = np.zeros(len(held), bool)
    for j in text:
        known = {table.columns[j][i] for i in train}
        unknown = np.array([table.columns[j][i] not in known for i in held])
        if 2 * unknown.sum() > len(held):
            raise ValueError(
                f"{table.path}: {table.title(j)} has too many different texts for so few rows, {unknown.sum()} "
                f"of {len(held)} validation rows have one that no training row has: --drop {short(table.names[j])}"
            )
        moves |= unknown
    if moves.all():
        raise ValueError(f"{table.path}: every validation row has a category that no training row has: more rows are needed")
    said = [f"rows moved to training as the only ones of a category: {moves.sum():,}"] if moves.any() else []
    return np.sort(np.concatenate([train, held[moves]])), held[~moves], said


def _inputs_said(columns: Columns) -> str:
    text = [c for c in columns.columns if not isinstance(c, Number)]
    encoded = ", ".join(f"{c.name} as {c.width} categor{'y' if c.width == 1 else 'ies'}" for c in text)
    return f"input columns: {len(columns.columns)}" + (f", as {columns.width} inputs ({encoded})" if text else "")


def _target_said(target: Target, why: str, header: bool) -> str:
    name = target.name if header else f"column {target.name}"
    classes = f" of {len(target.names)} classes" if isinstance(target, Classes) else ""
    return f"target {name}: {target.task}{classes} ({why})"


def _parts_said(train: Part, held: Part, seed: int | None) -> str:
    return f"{len(train):,} rows train, {len(held):,} {'test' if seed is None else f'validate (seed {seed})'}"
