"""``xpnet predict DIR FILE``: what a network that ``xpnet train --save DIR`` saved says of new rows."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from xpnet.cli.train import add_csv
from xpnet.cli.train_own import CSV, read_table, refuse, unit
from xpnet.datasets import Table, read_images, read_npz
from xpnet.datasets.own import as_cells, as_table, check_rows, read_array
from xpnet.preprocessing import Classes, Columns, Rows, numbers, quantities
from xpnet.saving import Model, load_model


class Questions(NamedTuple):
    """Rows to predict, as inputs (N, D); what is to be said; names of files, and cells of the target, where there are any."""

    x: np.ndarray
    said: Sequence[str] = ()
    files: Sequence[str] = ()
    answers: Sequence[str] = ()  # one a row, "" where it is not known
    place: Callable[[int], str] = str  # where the answer of row i is, for errors


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "predict",
        help="predict with a saved network",
        description="Predict with a network that xpnet train --save saved: a CSV line for each row, its class with the "
        "probability, or its number. A column with the target may be there: then the score is said too, on standard error.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("model", metavar="DIR", help="folder that xpnet train --save DIR wrote")
    parser.add_argument(
        "input", metavar="FILE", help=".csv, .npy or .npz with rows as in training; a folder for a net of images"
    )
    parser.add_argument("--out", metavar="FILE", help="write the predictions there, not to standard output")
    parser.add_argument("--device", default="auto", help="as in xpnet train")
    add_csv(parser)
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def run(arguments: argparse.Namespace) -> None:
    """Write a prediction for each row; what is to be said goes to standard error."""
    path = Path(arguments.input)
    if arguments.out and Path(arguments.out).exists() and path.exists() and path.samefile(arguments.out):
        raise ValueError(f"--out {arguments.out} is the input: choose another file")
    model = load_model(arguments.model, arguments.device)
    asked = read(path, model, arguments)
    outputs = model.net.predict(asked.x)
    score = [scored(model, outputs, asked)] if any(asked.answers) else []
    names, rows = predictions(model, outputs)
    if asked.files:
        names, rows = ["file", *names], [[file, *row] for file, row in zip(asked.files, rows, strict=True)]
    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8", newline="") as file:
            write(file, names, rows)
    else:
        write(sys.stdout, names, rows)
        sys.stdout.flush()
    for line in [*asked.said, *score]:
        print(line, file=sys.stderr)


def read(path: Path, model: Model, arguments: argparse.Namespace) -> Questions:
    """The rows in a file or a folder, as the model's inputs; ValueError where they do not fit."""
    suffix, inputs = path.suffix.lower(), model.inputs
    if path.is_dir() or suffix in (".npz", ".npy"):
        refuse(arguments, CSV, "this is for CSV files")
    if path.is_dir():
        return _of_images(path, inputs)
    if suffix == ".npz":
        return _of_arrays(path, inputs)
    if isinstance(inputs, Columns):
        if suffix != ".npy" and arguments.header is None:
            arguments.header = "yes" if inputs.header else "no"  # as in training, or a first row of text would be lost
        return _of_table(read_table(path, arguments), inputs)
    if suffix == ".npy":
        return Questions(inputs.encode(check_rows(read_array(path), str(path)), str(path)))
    table = read_table(path, arguments)
    x = np.stack([numbers(table, j) for j in range(len(table.names))], axis=1)
    if len(gaps := np.argwhere(np.isnan(x))):
        raise ValueError(f"{table.place(*map(int, gaps[0]))}: missing value")
    return Questions(inputs.encode(x, str(path)))


def predictions(model: Model, outputs: np.ndarray) -> tuple[list[str], list[list[str]]]:
    """Names of the columns and a row for each row of outputs: the class and its probability, or the number in its unit."""
    if not isinstance(model.target, Classes):
        return ["prediction"], [[f"{value:.7g}"] for value in model.target.decode(outputs)]
    decoded = zip(*model.target.decode(outputs), strict=True)
    rows = [[model.target.names[label], f"{row[label]:.4f}"] for label, row in decoded]
    return ["prediction", "probability"], rows


def scored(model: Model, outputs: np.ndarray, asked: Questions) -> str:
    """The score of the rows whose target is known; ValueError for a class that the model does not have."""
    known = [i for i, cell in enumerate(asked.answers) if cell]
    cells, outputs = [asked.answers[i] for i in known], outputs[known]

    def place(i: int) -> str:
        return asked.place(known[i])

    if isinstance(model.target, Classes):
        right = model.target.decode(outputs)[0] == model.target.encode(cells, place)
        text = f"accuracy {right.mean():.4f}"
    else:
        error = model.target.decode(outputs) - quantities(cells, place)
        text = f"RMSE {unit(float(np.sqrt(np.mean(error**2))))}"
    of = f" with a target, of {len(asked.x):,}" if len(known) < len(asked.x) else ""
    return f"{text} on {len(known):,} rows{of} (flattering where the network was trained on them)"


def write(file: TextIO, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A CSV file."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)


def _of_table(table: Table, inputs: Columns) -> Questions:
    x, places = inputs.encode(table), inputs.places(table)
    ignored = [name for j, name in enumerate(table.names) if j not in places.values()]
    said = [f"columns ignored: {', '.join(ignored)}"] if ignored else []
    gaps = sum(table.columns[places[column.name]].count("") for column in inputs.columns)
    said += [f"gaps filled as in training: {gaps:,}"] if gaps else []
    if (goal := places.get(inputs.target)) is None:
        return Questions(x, said)
    return Questions(x, said, (), table.columns[goal], lambda row: table.place(row, goal))


def _of_arrays(path: Path, inputs: Columns | Rows) -> Questions:
    found = read_npz(path)
    if found.x_test is not None:
        raise ValueError(f"{path} has x_train and x_test: save the rows to predict as x")
    cells = [] if found.y is None else as_cells(found.y)
    x = _of_table(as_table(found.x, str(path)), inputs).x if isinstance(inputs, Columns) else inputs.encode(found.x, str(path))
    return Questions(x, answers=cells, place=lambda row: f"{path}: y, row {row}")


def _of_images(folder: Path, inputs: Columns | Rows) -> Questions:
    if not isinstance(inputs, Rows) or not inputs.images:
        raise ValueError(f"{folder} is a folder, the model was not trained on images")
    height, width, channels = inputs.shape
    found = read_images(folder, size=(height, width) if inputs.resize else None, channels=channels, classes=False)
    said = [f"other files ignored: {found.ignored}"] if found.ignored else []
    return Questions(inputs.encode(found.x, str(folder)), said, found.files)
