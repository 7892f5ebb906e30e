"""Rows in files, a batch at a time, as a model's inputs; more of them than memory holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xpnet.datasets.arrays import Archive, open_array
from xpnet.datasets.csv_files import csv_parts
from xpnet.datasets.own import as_cells, as_table, check_form, check_rows, check_table, check_targets, check_values, row_names
from xpnet.datasets.tables import Table
from xpnet.preprocessing import Columns, Rows, numbers

Inputs = Columns | Rows


class Batch(NamedTuple):
    """Some rows: inputs (N, D); the targets' cells where there are any, "" for those not known; names of files.

    ``place(i)`` says where the answer of row i is, for errors; ``notes`` is to be told once, ``gaps`` counts what was filled;
    ``share`` of the file has been read when this batch has, None where that is not known; ``refused`` says what could not be
    read, of several pictures.
    """

    x: np.ndarray
    answers: Sequence[str] = ()
    place: Callable[[int], str] = str
    files: Sequence[str] = ()
    notes: Sequence[str] = ()
    gaps: int = 0
    share: float | None = None
    refused: Sequence[str] = ()


def of_csv(path: Path, inputs: Inputs, size: int, **options: Any) -> Iterator[Batch]:
    """The rows of a CSV file; ``options`` as in :func:`xpnet.datasets.read_csv`, the header as in training if None."""
    if isinstance(inputs, Columns) and options.get("header") is None:
        options["header"] = inputs.header  # a first row of text would be lost otherwise
    first, length = 0, path.stat().st_size if path.is_file() else 0
    with open(path, "rb") as file:
        for table in csv_parts(file, str(path), size, **options):
            if isinstance(inputs, Columns):
                batch = _of_table(table, inputs)
            else:
                batch = Batch(_of_numbers(table, inputs, str(path), first))
            yield batch._replace(share=file.tell() / length if length else None)
            first += len(table)


def of_npy(path: Path, inputs: Inputs, size: int) -> Iterator[Batch]:
    """The rows of a ``.npy`` file."""
    name = str(path)
    with open_array(path) as stored:
        if isinstance(inputs, Columns):
            check_table(stored, name)
        else:
            check_form(stored, name)
            inputs.check_shape(stored.shape, name)
        for first in range(0, stored.shape[0], size):
            rows = stored.rows(size)
            if isinstance(inputs, Columns):
                batch = _of_table(as_table(rows, name, first), inputs)
            else:
                batch = Batch(inputs.encode(check_rows(rows, name, first), name, first))
            yield batch._replace(share=(first + len(rows)) / stored.shape[0])


def of_npz(path: Path, inputs: Inputs, size: int) -> Iterator[Batch]:
    """The rows x of a ``.npz`` file with their targets y, where there are any, unpacked as they are needed."""
    with Archive(path) as stored:
        if "x_test" in stored:
            raise ValueError(f"{path} has x_train and x_test: save the rows to predict as x")
        names = row_names(stored)
        x, y = stored.open(names[0]), stored.open(names[1]) if names[1] in stored else None
        check_form(x, x.name)
        if y is not None:
            check_targets(y, x)
        if isinstance(inputs, Rows):
            inputs.check_shape(x.shape, str(path))
        for first in range(0, x.shape[0], size):
            rows = check_rows(x.rows(size), x.name, first)
            cells = [] if y is None else as_cells(check_values(y.rows(size), y.name, first))
            if isinstance(inputs, Columns):
                encoded = _of_table(as_table(rows, str(path), first), inputs).x
            else:
                encoded = inputs.encode(rows, str(path), first)
            yield Batch(encoded, cells, _counted(f"{path}: y", first), share=(first + len(rows)) / x.shape[0])


def _counted(name: str, first: int) -> Callable[[int], str]:
    return lambda row: f"{name}, row {first + row}"


def _of_table(table: Table, inputs: Columns) -> Batch:
    x, places = inputs.encode(table), inputs.places(table)
    ignored = [name for j, name in enumerate(table.names) if j not in places.values()]
    notes = [f"columns ignored: {', '.join(ignored)}"] if ignored else []
    gaps = sum(table.columns[places[column.name]].count("") for column in inputs.columns)
    if (goal := places.get(inputs.target)) is None:
        return Batch(x, notes=notes, gaps=gaps)
    return Batch(x, table.columns[goal], lambda row: table.place(row, goal), notes=notes, gaps=gaps)


def _of_numbers(table: Table, inputs: Rows, path: str, first: int) -> np.ndarray:
    """A table of numbers as the inputs of a net that was trained on arrays."""
    inputs.check_shape((len(table), len(table.names)), path)
    x = np.stack([numbers(table, j) for j in range(len(table.names))], axis=1)
    if len(gaps := np.argwhere(np.isnan(x))):
        raise ValueError(f"{table.place(*map(int, gaps[0]))}: missing value")
    return inputs.encode(x, path, first)
