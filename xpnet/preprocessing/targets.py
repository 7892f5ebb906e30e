"""Targets: classes by name, or a quantity that is scaled for training and given back in its unit."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from xpnet.checks import listed, short
from xpnet.datasets.tables import number
from xpnet.preprocessing.columns import kind_of
from xpnet.preprocessing.rows import check_scale, mean_and_std, scaled

WHOLE = re.compile(r"[+-]?\d+")
FEW = 10  # whole numbers with at most so many different values are taken for classes
TASKS = ("classification", "regression")
Place = Callable[[int], str]  # where row i is, for errors


@dataclass(frozen=True)
class Classes:
    """A target of named classes."""

    name: str
    names: tuple[str, ...]
    task: ClassVar[str] = "classification"

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        if not isinstance(self.name, str) or not all(isinstance(n, str) for n in self.names) or len(self.names) < 2:
            raise ValueError("a target needs two classes or more")
        if len(set(self.names)) < len(self.names):
            raise ValueError("two classes have one name")

    @classmethod
    def fit(cls, name: str, cells: Sequence[str]) -> Classes:
        """The classes in these cells: numbers in their order, then text."""
        return cls(name, tuple(sorted({class_name(cell) for cell in cells}, key=_by_value)))

    @property
    def outputs(self) -> int:
        return len(self.names)

    def encode(self, cells: Sequence[str], place: Place) -> np.ndarray:
        """Labels (N,), int64; ValueError with the place of a class that is not known."""
        labels = self.labels(cells)
        if len(unknown := np.flatnonzero(labels < 0)):
            row = int(unknown[0])
            raise ValueError(f"{place(row)}: class {short(cells[row])} is none of the model's ({listed(self.names)})")
        return labels

    def labels(self, cells: Sequence[str]) -> np.ndarray:
        """Labels (N,), int64, -1 for classes that are not known."""
        index = {name: i for i, name in enumerate(self.names)}
        return np.array([index.get(class_name(cell), -1) for cell in cells], np.int64)

    def decode(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest label of each row (N,) of a network's logits (N, classes), and all probabilities, float64."""
        powers = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
        return logits.argmax(axis=1), powers / powers.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class Quantity:
    """A target that is a number: trained as ``(value - mean) / std``."""

    name: str
    mean: float
    std: float
    task: ClassVar[str] = "regression"
    outputs: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise ValueError("a target has a name")
        check_scale(self.mean, self.std)

    @classmethod
    def fit(cls, name: str, values: np.ndarray) -> Quantity:
        """Fitted on the values of the training part."""
        return cls(name, *mean_and_std(values))

    def encode(self, cells: Sequence[str], place: Place) -> np.ndarray:
        """Scaled targets (N,), float32; ValueError with the place of what is no number."""
        return self.scale(quantities(cells, place), place)

    def scale(self, values: np.ndarray, place: Place = "target, row {}".format) -> np.ndarray:
        """Scaled targets (N,), float32, of values in the target's unit."""
        return scaled(values, self.mean, self.std, place)

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """A network's outputs (N, 1) as values (N,) in the target's unit, float64."""
        return outputs[:, 0].astype(np.float64) * self.std + self.mean


Target = Classes | Quantity


def fit_target(name: str, cells: Sequence[str], values: np.ndarray | None, train: np.ndarray) -> Target:
    """The target fitted on the training part; ``values`` are a quantity's, None for classes. ValueError where all are alike."""
    if values is None:
        known = {class_name(cells[i]) for i in train}
        if len(known) == 1:
            raise ValueError(f"target {short(name)} has one class only, {short(known.pop())}: there is nothing to tell apart")
        return Classes.fit(name, list(known))
    part = values[train]
    if part.min() == part.max():
        raise ValueError(f"target {short(name)} is {part[0]:g} in every training row: there is nothing to learn")
    return Quantity.fit(name, part)


def infer_task(cells: Sequence[str], place: Place) -> tuple[str, str]:
    """The task for a target with these cells, and why; ("classification", "text"). ValueError for text among numbers."""
    if kind_of(cells, place, "take every value as a class: --task classification") == "text":
        return "classification", "text"
    different = {class_name(cell) for cell in cells}
    if len(different) <= FEW and all(float(name).is_integer() for name in different):
        return "classification", f"whole numbers, {len(different)} different; --task regression for a quantity"
    return "regression", f"numbers, {len(different):,} different"


def quantities(cells: Sequence[str], place: Place) -> np.ndarray:
    """The numbers in a target's cells (N,), float64; ValueError with the place of what is none."""
    found = np.empty(len(cells))
    for i, cell in enumerate(cells):
        value = number(cell)
        if value is None or not math.isfinite(value):
            why = "is not finite" if value is not None else "is no number"
            raise ValueError(f"{place(i)}: target {short(cell)} {why}")
        found[i] = value
    return found


def class_name(cell: str) -> str:
    """The name of a class: numbers that are equal ("1" and "1.0") are one class."""
    value = number(cell)
    if value is None or not math.isfinite(value):
        return cell
    if WHOLE.fullmatch(cell):  # as it is written: a float does not tell 2**53 from 2**53 + 1
        return str(int(cell))
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _by_value(name: str) -> tuple[bool, float, str]:
    value = number(name)
    return value is None, value or 0.0, name
