"""What ``xpnet train`` trains on, in one form: a data set by name, or data of one's own."""

from __future__ import annotations

import argparse
import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import xpnet as xn
from xpnet.checks import check_count
from xpnet.datasets import Dataset, Table, read_csv, read_images, read_npy, read_npz
from xpnet.datasets.own import Arrays
from xpnet.preprocessing import Classes, Prepared, Quantity, Rows, prepare_arrays, prepare_table

RAW = ("colors", "auto-mpg")  # data sets whose inputs are not scaled yet
FILES = ("mnist", "fashion-mnist", "cifar10")
CSV = ("header", "delimiter", "encoding")
OWN = ("target", "task", "validation", "missing", "drop", *CSV, "size")


def named(arguments: argparse.Namespace) -> Prepared:
    """A data set by name, its test rows held out."""
    name = arguments.dataset
    refuse(arguments, OWN, f"{name} is complete, this is for data of your own (a file of that name: ./{name})")
    if name not in FILES:
        refuse(arguments, ("data", "download"), f"{name} needs no files, this is for {', '.join(FILES)}")
    data = fetch(name, arguments.data, bool(arguments.download))
    rows = Rows.fit(data.x_train) if name in RAW else Rows(data.x_train.shape[1:])
    x_train, x_held = (rows.encode(x) if name in RAW else x for x in (data.x_train, data.x_test))
    said = f"{data}; inputs scaled by the training part" if name in RAW else str(data)
    if data.classes:
        return Prepared(said, "test", x_train, data.y_train, x_held, data.y_test, rows, Classes("class", data.classes))
    goal = Quantity.fit(data.target or name, data.y_train.astype(np.float64))
    return Prepared(said, "test", x_train, goal.scale(data.y_train), x_held, goal.scale(data.y_test), rows, goal)


def own(arguments: argparse.Namespace) -> Prepared:
    """A file or a folder of one's own."""
    refuse(arguments, ("data", "download"), f"this is for {', '.join(FILES)}")
    path = Path(arguments.dataset)
    if path.is_dir():
        return _images(arguments, path)
    if path.suffix.lower() == ".npz":
        refuse(arguments, ("target", "missing", "drop", *CSV, "size"), "a .npz file holds rows x and targets y")
        return prepare_arrays(read_npz(path), task=arguments.task, validation=arguments.validation, seed=arguments.seed)
    refuse(arguments, ("size",), "this is for folders of images")
    table = read_table(path, arguments)
    if arguments.target is None:
        raise ValueError(f"{path}: which column is to be predicted? --target COLUMN; {table.listing()}")
    return prepare_table(
        table,
        arguments.target,
        task=arguments.task,
        missing=arguments.missing,
        drop=arguments.drop or (),
        validation=0.2 if arguments.validation is None else arguments.validation,
        seed=arguments.seed,
    )


def read_table(path: Path, arguments: argparse.Namespace) -> Table:
    """The table in a ``.npy`` or CSV file, read as the options say."""
    if path.suffix.lower() == ".npy":
        refuse(arguments, CSV, "this is for CSV files")
        return read_npy(path)
    return read_csv(path, **csv_options(arguments))


def csv_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """How a CSV file is written, as ``read_csv`` takes it."""
    header = None if arguments.header is None else arguments.header == "yes"
    delimiter = "\t" if arguments.delimiter in ("tab", r"\t") else arguments.delimiter
    return {"header": header, "delimiter": delimiter, "encoding": arguments.encoding or "utf-8"}


def fetch(name: str, folder: str | None, download: bool) -> Dataset:
    """The data set of this name, from a folder or downloaded where it is not embedded."""
    function: Callable[..., Dataset] = getattr(xn.datasets, name.replace("-", "_"))
    if name not in FILES:
        return function()
    return function(folder, download=True) if download else function(folder)


def refuse(arguments: argparse.Namespace, options: tuple[str, ...], why: str) -> None:
    """Refuse options that would do nothing."""
    if given := [option for option in options if getattr(arguments, option) is not None]:
        raise ValueError(f"--{given[0].replace('_', '-')}: {why}")


def metrics(prepared: Prepared) -> dict[str, Callable[..., float]] | None:
    """For a quantity the RMSE in its own unit, and R2; None for what suits the loss."""
    if isinstance(prepared.target, Classes):
        return None
    std = prepared.target.std
    return {"rmse": lambda outputs, y, weights=None: std * xn.rmse(outputs, y, weights), "r2": xn.r2}


def score(prepared: Prepared, scores: dict[str, float]) -> str:
    """The last line: the score of the rows held out, beside that of a guess that knows only the training part's targets.

    ValueError where training has diverged.
    """
    target, y = prepared.target, prepared.y_held
    if not math.isfinite(scores["loss"]):
        raise ValueError("training has diverged, there is no model: try a smaller --learning-rate")
    if isinstance(target, Quantity):
        guess = target.std * math.sqrt(float(np.mean(y.astype(np.float64) ** 2)))
        reached = f"RMSE {unit(scores['rmse'])}, the typical error (always guessing the training mean: {unit(guess)})"
        explained = f"{scores['r2']:.4f} (1 is perfect, 0 a guess)"
        if math.isnan(scores["r2"]):
            explained = "is not defined: on the scale of the training part these targets are all alike"
        return f"{prepared.held} {reached}, R2 {explained}"
    label, count = Counter(prepared.y_train.tolist()).most_common(1)[0]
    reached = f"{prepared.held} accuracy {scores['accuracy']:.4f}"
    if prepared.held == "test" and count * len(target.names) <= 1.5 * len(prepared.y_train):
        return reached  # a data set's own test rows, its classes balanced
    return f"{reached} (always guessing {target.names[label]}, the most frequent: {(y == label).mean():.4f})"


def unit(value: float) -> str:
    """A number in the target's unit, with four digits or more."""
    return f"{value:,.0f}" if 1000 <= value < 1e15 else f"{value:.4g}"


def _images(arguments: argparse.Namespace, folder: Path) -> Prepared:
    refuse(arguments, ("target", "task", "missing", "drop", *CSV), "the class of an image is the name of its folder")
    size = None if arguments.size is None else check_count("--size", arguments.size)
    found = read_images(folder, size=(size, size) if size else None)
    return prepare_arrays(
        Arrays(str(folder), found.x, np.array(found.labels)),
        name="class",
        task="classification",
        validation=arguments.validation,
        seed=arguments.seed,
        images=True,
        resize=size is not None,
        said=[f"other files ignored: {found.ignored}"] if found.ignored else [],
    )
