"""What a data set is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Dataset:
    """Training and test rows with their targets; where it comes from and under what licence.

    ``x_train`` (N, *shape) and ``x_test`` are float32. With ``classes``, ``y_train`` (N,) and ``y_test`` are int64 labels;
    without (``classes == ()``) they are float32 numbers, a regression. ``names`` are the columns of x, () where they are
    pixels; ``target`` says what y is.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    source: str
    licence: str
    names: tuple[str, ...] = ()
    target: str = ""

    def __repr__(self) -> str:
        shape = ", ".join(map(str, self.x_train.shape[1:]))
        task = f"{len(self.classes)} classes" if self.classes else f"regression of {self.target or 'a number'}"
        return f"Dataset({self.name!r}: {len(self.x_train)} + {len(self.x_test)} rows of ({shape}), {task})"


def one_hot(labels: np.ndarray, classes: int, dtype: str = "float32") -> np.ndarray:
    """Labels (N,) as rows (N, classes) with a 1 in the label's column: targets of the squared-error losses."""
    labels = np.asarray(labels)
    integers = labels.dtype.kind in "iu"
    if not integers or (labels.size and not (labels.min() >= 0 and labels.max() < classes)):
        found = f"from {labels.min()} to {labels.max()}" if integers else f"of type {labels.dtype}"
        raise ValueError(f"one_hot: labels {found}: integers in 0..{classes - 1} are needed")
    return np.eye(classes, dtype=dtype)[labels]
