"""Checks of what pictures are made from, each with an error that names the argument and what disagrees."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Shape = tuple[int, ...]


def check_labels(name: str, values: Any, names: Sequence[str]) -> np.ndarray:
    """Labels (N,), at least one, whole numbers that number the names, as int64."""
    found = np.asarray(values)
    if found.ndim != 1 or found.dtype.kind not in "iu" or not found.size:
        raise ValueError(f"{name}: {found.dtype} of shape {found.shape}: whole numbers (N,), at least one, are needed")
    if found.min() < 0 or found.max() >= len(names):
        raise ValueError(
            f"{name} reach from {found.min()} to {found.max()}, but there are {len(names)} names: 0 to {len(names) - 1}"
        )
    return found.astype(np.int64)


def check_rows(name: str, a: Any, n: int) -> np.ndarray:
    """An array of real numbers with ``n`` rows."""
    found = np.asarray(a)
    if found.dtype.kind not in "fiub" or found.ndim < 2 or len(found) != n:
        raise ValueError(f"{name}: {found.dtype} of shape {found.shape}: numbers, {n} rows of one axis or more, are needed")
    return found


def image_shape(name: str, shape: Shape, given: Shape | None) -> Shape:
    """The shape of an image, (height, width) or (height, width, 3), of samples of this shape, which ``given`` reshapes."""
    wanted = tuple(shape if given is None else given)
    if math.prod(wanted) != math.prod(shape):
        raise ValueError(
            f"{name}: shape={given} has {math.prod(wanted)} pixels, the rows of shape {shape} have {math.prod(shape)}"
        )
    if len(wanted) == 3 and wanted[2] == 1:
        wanted = wanted[:2]
    if len(wanted) != 2 and (len(wanted) != 3 or wanted[2] != 3):
        advice = (
            "say what they are, shape=(height, width)" if given is None else "an image is (height, width) or (height, width, 3)"
        )
        raise ValueError(f"{name}: rows of shape {wanted} are no images: {advice}")
    return wanted


def is_image(shape: Shape) -> bool:
    """Whether samples of this shape can be drawn as images."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
