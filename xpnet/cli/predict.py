"""``xpnet predict MODEL FILE``: what a network that ``xpnet train --save DIR`` saved says of new rows and pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xpnet.checks import check_count
from xpnet.cli.train import add_csv
from xpnet.cli.train_own import CSV, csv_options, refuse, unit
from xpnet.preprocessing import Rows
from xpnet.preprocessing.pictures import FORMS
from xpnet.saving.models import Model, load_model
from xpnet.serving import pictures, questions
from xpnet.serving.answers import CSVWriter, Score, Writer, writing
from xpnet.serving.questions import Batch

TOLD = 20  # notes in full: what was done with each of 10,000 pictures nobody reads


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "predict",
        help="predict with a saved network",
        description="Predict with a network that xpnet train --save saved: a CSV line for each row, its class with the "
        "probability, or its number. A column with the target may be there: then the score is said too, on standard error. "
        "Pictures, photos or scans of any size, are brought to the form of the data set that the network knows.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("model", metavar="MODEL", help="what xpnet train --save wrote")
    parser.add_argument(
        "input",
        metavar="FILE",
        nargs="+",
        help=".csv, .npy or .npz with rows as in training; or pictures, and folders of them",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="write the predictions there, not to standard output; .npy: all probabilities, or numbers, as an array",
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="rows at a time, 1024 or fewer where layers are wide")
    parser.add_argument("--device", default="auto", help="as in xpnet train")
    parser.add_argument("--as-is", action="store_true", default=None, help="take pictures of the net's size as they are")
    add_csv(parser)
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def run(arguments: argparse.Namespace) -> int:
    """Write a prediction for each row, batch after batch; what is to be said goes to standard error."""
    paths = [Path(name) for name in arguments.input]
    for path in paths:
        if arguments.out and Path(arguments.out).exists() and path.exists() and path.samefile(arguments.out):
            raise ValueError(f"--out {arguments.out} is the input: choose another file")
    if arguments.batch_size is not None:
        check_count("--batch-size", arguments.batch_size)
    model = load_model(arguments.model, arguments.device)
    asked = batches(paths, model, arguments)
    score, notes = Score(model.target), dict[str, None]()
    goal = writing(arguments.out, model.target) if arguments.out else nullcontext(CSVWriter(sys.stdout, model.target))
    try:
        with goal as writer:
            shown = bool(arguments.out) or not sys.stdout.isatty()
            gaps, refused = answer(asked, model, writer, score, notes, size=arguments.batch_size, bar=shown)
            sys.stdout.flush()
    except KeyboardInterrupt:
        kept = f", {arguments.out} was left as it was" if arguments.out else ""
        print(f"stopped after {score.total:,} rows{kept}", file=sys.stderr)
        return 130
    filled = [f"gaps filled as in training: {gaps:,}"] if gaps else []
    for line in [*told(list(notes)), *filled, *score.said(unit)]:
        print(line, file=sys.stderr)
    for line in refused:
        print(f"left out: {line}", file=sys.stderr)
    return 1 if refused else 0


def answer(
    asked: Iterator[Batch],
    model: Model,
    writer: Writer,
    score: Score,
    notes: dict[str, None],
    *,
    size: int | None,
    bar: bool,
) -> tuple[int, list[str]]:
    """Write the predictions for each batch, and add to score and notes; how many gaps were filled, and what was refused."""
    gaps = 0
    refused: list[str] = []
    with tqdm(unit="row", unit_scale=True, disable=None if bar else True, leave=False) as progress:
        for batch in asked:
            outputs = model.net.predict(batch.x, size)
            score.add(outputs, batch.answers, batch.place)
            writer.write(outputs, batch.files)
            gaps, refused = gaps + batch.gaps, [*refused, *batch.refused]
            notes.update(dict.fromkeys([*batch.notes, *unusual(model, batch.x)]))
            progress.total = round(score.total / batch.share) if batch.share else None
            progress.update(len(outputs))
    if refused and not score.total:
        raise ValueError(f"none of {len(refused)} pictures can be read: {refused[0]}")
    return gaps, refused


def unusual(model: Model, x: Any) -> list[str]:
    """What to say of inputs that cannot be as in training: of a data set whose inputs are taken as they are, 0 to 1."""
    known = model.data in FORMS and isinstance(model.inputs, Rows) and model.inputs.unscaled
    if not known or not x.size or -1 <= x.min() <= x.max() <= 2:
        return []
    return [f"values reach from {x.min():.4g} to {x.max():.4g}, the network was trained on 0 to 1: divide bytes by 255"]


def batches(paths: Sequence[Path], model: Model, arguments: argparse.Namespace) -> Iterator[Batch]:
    """The rows or pictures as the model's inputs; ValueError where they do not fit."""
    size = arguments.batch_size or model.net.rows_at_a_time
    if pictures.are_pictures(paths):
        return _pictures(paths, model, arguments, size)
    refuse(arguments, ("as_is",), "this is for pictures")
    if len(paths) > 1:
        raise ValueError(f"{paths[0]} and {paths[1]}: several at once may be pictures only; put rows into one file")
    path, suffix = paths[0], paths[0].suffix.lower()
    if suffix in (".npz", ".npy"):
        refuse(arguments, CSV, "this is for CSV files")
        return (questions.of_npz if suffix == ".npz" else questions.of_npy)(path, model.inputs, size)
    return questions.of_csv(path, model.inputs, size, **csv_options(arguments))


def told(notes: list[str]) -> list[str]:
    """The first notes, and how many there are besides."""
    return notes if len(notes) <= TOLD else [*notes[:TOLD], f"... and {len(notes) - TOLD:,} more"]


def _pictures(paths: Sequence[Path], model: Model, arguments: argparse.Namespace, size: int) -> Iterator[Batch]:
    refuse(arguments, CSV, "this is for CSV files")
    inputs: Any = model.inputs
    try:
        form = pictures.form_of(inputs, model.data)
    except ValueError as error:
        raise ValueError(f"{paths[0]} is a {'folder' if paths[0].is_dir() else 'picture'}, {error}") from error
    if form is None and isinstance(inputs, Rows):
        refuse(arguments, ("as_is",), "a net of a folder of images takes pictures as in training")
    return pictures.of_pictures(paths, inputs, form, size, bool(arguments.as_is))
