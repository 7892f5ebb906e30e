"""What ``xpnet train --save RUN`` left in its folder: the one place that knows the files there."""

from __future__ import annotations

import argparse
import functools
import json
import math
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.cli.runs import gone, is_named, options
from xpnet.cli.train_own import named, own
from xpnet.preprocessing import Prepared
from xpnet.saving.models import Model, load_model
from xpnet.training.checkpoints import LOG


class LeftOut(ValueError):
    """Why there is no such picture of a run."""


class Run:
    """A training in a folder; what it holds is read when it is asked for, and LeftOut says why it cannot be.

    ``data``: where its data are now. Raises NotADirectoryError where there is no such folder.
    """

    def __init__(self, folder: Path, data: str | None = None):
        self.folder, self._place = folder, data
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is no folder: give it one that xpnet train ... --save {folder} wrote")

    @functools.cached_property
    def history(self) -> dict[str, list[float]]:
        """The trainer's history: columns of one number an epoch, NaN for null."""
        path = self.folder / LOG
        try:
            return columns_of(path, path.read_bytes())
        except (OSError, ValueError) as error:
            raise _left_out(error) from error

    @functools.cached_property
    def model(self) -> Model:
        """The network, its inputs and its target."""
        try:
            return load_model(self.folder, "cpu")
        except (OSError, ValueError) as error:
            raise _left_out(error) from error

    @functools.cached_property
    def data(self) -> Prepared:
        """The data that it was trained on, read again as then; LeftOut where they are no longer there, or others."""
        try:
            arguments = argparse.Namespace(**{**options(self.folder), "download": None})  # a picture fetches nothing
            if self._place is not None:
                setattr(arguments, "data" if is_named(arguments.dataset) else "dataset", self._place)
            found = named(arguments) if is_named(arguments.dataset) else own(arguments)
        except FileNotFoundError as error:
            raise LeftOut(
                f"{gone(error)}; where the data are now: xpnet plot {shlex.quote(str(self.folder))} --data PATH"
            ) from error
        except (OSError, ValueError, ImportError) as error:
            raise _left_out(error, "the data cannot be read again: ") from error
        if (found.inputs, found.target) != (self.model.inputs, self.model.target):
            raise LeftOut(f"the data in {arguments.dataset} are not those that it was trained on")
        return found

    @functools.cached_property
    def outputs(self) -> np.ndarray:
        """The network's outputs for the rows held out."""
        return self.model.net.predict(self.data.x_held)


def columns_of(path: Path, text: bytes) -> dict[str, list[float]]:
    """The records in the text of a log as columns; those are left out that hold anything but numbers.

    A last line without an end is one that was cut off. Raises ValueError for other lines that are no records.
    """
    records = []
    for i, line in enumerate(text.split(b"\n")[:-1], 1):
        try:
            record = json.loads(line.decode())
            if not isinstance(record["epoch"], int) or not fits(record["epoch"]) or not fits(record["loss"]):
                raise TypeError("an epoch has a number and a loss")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"{path}, line {i}, is no record of an epoch") from error
        records.append(record)
    if not records:
        raise ValueError(f"{path} has no epoch yet")
    names = dict.fromkeys(name for record in records for name in record)
    columns = {name: [record.get(name) for record in records] for name in names}
    return {name: [math.nan if v is None else v for v in values] for name, values in columns.items() if all(map(fits, values))}


def fits(value: Any) -> bool:
    """Whether a value of a record can be part of a curve."""
    return value is None or isinstance(value, float) or (isinstance(value, int) and abs(value) <= sys.float_info.max)


def _left_out(error: Exception, what: str = "") -> LeftOut:
    from xpnet.cli import said  # here, as the command imports this module

    return LeftOut(f"{what}{said(error)}")
