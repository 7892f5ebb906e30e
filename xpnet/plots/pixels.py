"""Samples as images: their shapes, and their values as shades."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Shape = tuple[int, ...]


def image_shape(name: str, shape: Shape, given: Any) -> Shape:
    """The shape of an image, (height, width) or (height, width, 3), of samples of this shape, which ``given`` reshapes."""
    if given is not None and not _is_shape(given):
        raise ValueError(f"{name}: shape={given!r}: an image is (height, width) or (height, width, 3)")
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


def can_be_drawn(shape: Shape) -> bool:
    """Whether samples of this shape are images of one or three channels."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))


def to_unit(images: np.ndarray) -> np.ndarray:
    """Images with all finite values in [0, 1], the smallest 0 and the largest 1; the others are NaN."""
    values = np.where(np.isfinite(images), images, np.nan).astype(np.float64)
    finite = values[np.isfinite(values)]
    if not finite.size:
        return values
    low, high = finite.min(), finite.max()
    half = high / 2 - low / 2  # the difference itself may be infinite
    return (values / 2 - low / 2) / (half or 1.0)


def _is_shape(given: Any) -> bool:
    return isinstance(given, tuple | list) and all(isinstance(n, int | np.integer) and n > 0 for n in given)
