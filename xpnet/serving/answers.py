"""Predictions: what is said of outputs, the score where answers are known, and the files that they are written to."""

from __future__ import annotations

import csv
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol, TextIO

import numpy as np
from numpy.lib import format as npy

from xpnet.checks import short
from xpnet.datasets.tables import number
from xpnet.preprocessing import Classes, Target
from xpnet.saving.atomic import replacing


class Writer(Protocol):
    """Takes the outputs of one batch after another."""

    def write(self, outputs: np.ndarray, files: Sequence[str]) -> None: ...


class CSVWriter:
    """A line for each row of outputs: its file, if any, and the class with its probability or the number in its unit."""

    def __init__(self, file: TextIO, target: Target):
        self.rows, self.target, self.begun = csv.writer(file, lineterminator="\n"), target, False

    def write(self, outputs: np.ndarray, files: Sequence[str] = ()) -> None:
        names, rows = predictions(self.target, outputs)
        if files:
            names, rows = ["file", *names], [[file, *row] for file, row in zip(files, rows, strict=True)]
        if not self.begun:
            self.rows.writerow(names)
        self.begun = True
        self.rows.writerows(rows)


class ArrayWriter:
    """A ``.npy`` file: probabilities (N, classes) float32, or numbers in the target's unit (N,) float64; ``close`` ends it."""

    def __init__(self, file: IO[bytes], target: Target):
        self.file, self.target, self.count = file, target, 0
        self._write_header()

    def write(self, outputs: np.ndarray, files: Sequence[str] = ()) -> None:
        if isinstance(self.target, Classes):
            values = self.target.decode(outputs)[1].astype(np.float32)
        else:
            values = self.target.decode(outputs)
        self.file.write(values.tobytes())
        self.count += len(values)

    def close(self) -> None:
        """Write how many rows there are into the header, which has the room."""
        end = self.file.tell()
        self.file.seek(0)
        self._write_header()
        self.file.seek(end)

    def _write_header(self) -> None:
        classes = isinstance(self.target, Classes)
        shape = (self.count, self.target.outputs) if classes else (self.count,)
        described = npy.dtype_to_descr(np.dtype("<f4" if classes else "<f8"))
        npy.write_array_header_1_0(self.file, {"descr": described, "fortran_order": False, "shape": shape})


class Score:
    """Accuracy, or the root mean squared error in the target's unit, over the rows whose target is known.

    A class that the model does not have counts as wrong; what is no number, where one is predicted, as not known.
    """

    def __init__(self, target: Target):
        self.target, self.known, self.total, self.sum = target, 0, 0, 0.0
        self.strange, self.first = 0, ""  # targets that the model can never predict, and the first of them

    def add(self, outputs: np.ndarray, answers: Sequence[str], place: Callable[[int], str]) -> None:
        """Count a batch."""
        self.total += len(outputs)
        rows = [i for i, cell in enumerate(answers) if cell]
        cells, outputs = [answers[i] for i in rows], outputs[rows]
        if isinstance(self.target, Classes):
            labels = self.target.labels(cells)
            right, strange = self.target.decode(outputs)[0] == labels, labels < 0
            self.known, self.sum = self.known + len(rows), self.sum + int(right.sum())
        else:
            values = np.array([math.nan if (value := number(cell)) is None else value for cell in cells])
            strange = ~np.isfinite(values)
            error = (self.target.decode(outputs) - values)[~strange]
            self.known, self.sum = self.known + len(error), self.sum + float((error**2).sum())
        if strange.any():
            i = int(strange.argmax())
            self.strange, self.first = self.strange + int(strange.sum()), self.first or f"{place(rows[i])}: {short(cells[i])}"

    def said(self, unit: Callable[[float], str]) -> list[str]:
        """The score in words, nothing where no target is known; ``unit`` formats a number."""
        classes = isinstance(self.target, Classes)
        what = "whose class the model does not have, counted as wrong" if classes else "whose target is no number, not counted"
        notes = [f"rows {what}: {self.strange:,} (the first: {self.first})"] if self.strange else []
        if not self.known:
            return notes
        mean = self.sum / self.known
        text = f"accuracy {mean:.4f}" if isinstance(self.target, Classes) else f"RMSE {unit(math.sqrt(mean))}"
        of = f" with a target, of {self.total:,}" if self.known < self.total else ""
        return [*notes, f"{text} on {self.known:,} rows{of} (flattering where the network was trained on them)"]


def predictions(target: Target, outputs: np.ndarray) -> tuple[list[str], list[list[str]]]:
    """Names of the columns and a row for each row of outputs: the class and its probability, or the number in its unit."""
    if not isinstance(target, Classes):
        return ["prediction"], [[f"{value:.7g}"] for value in target.decode(outputs)]
    decoded = zip(*target.decode(outputs), strict=True)
    return ["prediction", "probability"], [[target.names[label], f"{row[label]:.4f}"] for label, row in decoded]


@contextmanager
def writing(path: str | os.PathLike, target: Target) -> Iterator[Writer]:
    """A writer for a file by its name, ``.npy`` or CSV; the file is there when all is written, until then what was there."""
    place = Path(path)
    if place.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name a file")
    regular = place.is_file() or not place.exists()
    if regular and not _is_standard_output(place) and place.suffix.lower() not in (".csv", ".npy", ".txt"):
        raise ValueError(f"{path}: predictions are written as .csv or .npy; without a name they go to standard output")
    if place.suffix.lower() == ".npy" and not regular:
        raise ValueError(f"{path} is no ordinary file, which an array needs: write .csv there")
    if place.suffix.lower() == ".npy":
        with _opened(place, "wb") as file:
            arrays = ArrayWriter(file, target)
            yield arrays
            arrays.close()
    else:
        with _opened(place, "w", encoding="utf-8", newline="") as file:
            yield CSVWriter(file, target)


def _opened(place: Path, mode: str, **options: Any) -> AbstractContextManager[Any]:
    """A new file in the place of another; standard output, a device or a pipe is written to as it is."""
    if _is_standard_output(place):
        return open(os.dup(sys.stdout.fileno()), mode, **options)
    if place.exists() and not place.is_file():
        return open(place, mode, **options)
    return replacing(place, mode, **options)


def _is_standard_output(place: Path) -> bool:
    """Whether a path, /dev/stdout say, is where standard output goes, perhaps to a file of the shell's."""
    with suppress(OSError, ValueError):  # there may be none
        return place.exists() and os.path.samestat(place.stat(), os.fstat(sys.stdout.fileno()))
    return False
