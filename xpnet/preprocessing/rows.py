"""Scaling of arrays: mean 0 and standard deviation 1 in the training part."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Scale = float | Sequence[float]
CHUNK = 4096  # rows scaled at a time in float64: bounds the memory


@dataclass(frozen=True)
class Rows:
    """Rows (N, *shape) to float32 rows (N, D): flattened, ``(x - mean) / std``.

    ``mean`` and ``std`` hold one number for each of the D columns, or a single one for all. ``images`` says that rows are
    bytes (height, width, channels) of images, ``resize`` that these were brought to that size.
    """

    shape: tuple[int, ...]
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    images: bool = False
    resize: bool = False

    def __post_init__(self) -> None:
        for name in ("shape", "mean", "std"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if not self.shape or not all(isinstance(n, int) and n > 0 for n in self.shape):
            raise ValueError(f"shape {self.shape}")
        if not all(len(v) in (1, self.width) for v in (self.mean, self.std)):
            raise ValueError("mean or std has another length than the rows")
        for mean in self.mean:
            check_scale(mean, 1.0)
        for std in self.std:
            check_scale(0.0, std)

    @classmethod
    def fit(cls, x: np.ndarray, *, images: bool = False, resize: bool = False) -> Rows:
        """Fitted on training rows: each column of two axes by itself, rows of more axes (images) with one scale for all."""
        columns = x.T if x.ndim == 2 else [x.reshape(-1)]
        scales = [mean_and_std(np.asarray(column, np.float64)) for column in columns]
        means, stds = zip(*scales, strict=True)
        return cls(x.shape[1:], means, stds, images, resize)

    @property
    def width(self) -> int:
        return math.prod(self.shape)

    @property
    def unscaled(self) -> bool:
        """Whether numbers are taken as they are."""
        return (self.mean, self.std) == ((0.0,), (1.0,))

    def encode(self, x: np.ndarray, name: str = "x", first: int = 0) -> np.ndarray:
        """Rows (N, D); ValueError where the shape is another or a number is too large for float32.

        ``first`` is the number of row 0 where ``x`` is a part, for errors.
        """
        x = np.asarray(x)
        self.check_shape(x.shape, name)
        return scaled(x.reshape(len(x), self.width), self.mean, self.std, lambda row: f"{name}, row {first + row}")

    def check_shape(self, shape: tuple[int, ...], name: str = "x") -> None:
        """Refuse an array whose rows have another shape; grey images will do for rows of as many pixels."""
        grey = len(self.shape) == 1 and len(shape) in (3, 4) and (*shape, 1)[3] == 1 and math.prod(shape[1:]) == self.width
        if shape[1:] != self.shape and shape[1:] != (self.width,) and not grey:
            wanted = ", ".join(map(str, self.shape))
            raise ValueError(f"{name}: rows of shape ({wanted}) are needed, these have {shape[1:]}")


def mean_and_std(values: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """Mean and standard deviation of float64 values (N,), without overflow; 1 as the deviation where all are equal."""
    if weights is not None:
        values, weights = values[weights > 0], weights[weights > 0]
    low, high = float(values.min()), float(values.max())
    if low == high:
        return low, 1.0
    largest = max(abs(low), abs(high))
    shares = values / largest
    mean = np.average(shares, weights=weights)
    variance = np.average((shares - mean) ** 2, weights=weights)
    return float(mean) * largest, math.sqrt(variance) * largest or 1.0


def scaled(values: np.ndarray, mean: Scale, std: Scale, place: Callable[[int], str]) -> np.ndarray:
    """``(values - mean) / std`` as float32; ValueError with the place of the first row that is too large for it."""
    found, middle, spread = np.empty(values.shape, np.float32), np.asarray(mean), np.asarray(std)
    with np.errstate(over="ignore"):
        for start in range(0, len(values), CHUNK):
            part = slice(start, start + CHUNK)
            found[part] = (values[part].astype(np.float64) - middle) / spread
    if not np.isfinite(found).all():
        row = int(np.argwhere(~np.isfinite(found))[0, 0])
        raise ValueError(f"{place(row)}: a value is too far from those of the training part: mend it, or leave the row out")
    return found


def check_scale(mean: float, std: float) -> None:
    """Refuse what is no scale: ValueError."""
    if not all(isinstance(v, int | float) and math.isfinite(v) for v in (mean, std)) or std <= 0:
        raise ValueError(f"mean {mean!r} and std {std!r} are no scale")
