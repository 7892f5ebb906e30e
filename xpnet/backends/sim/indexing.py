"""Checks of indices that a GPU does not make: there a wrong index is a silent wrong number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np


def refuse_duplicates(shape: tuple[int, ...], parts: tuple) -> None:
    """IndexError where an assignment names an element twice: CuPy then stores an undefined one of the values."""
    if not any(isinstance(part, np.ndarray) and part.dtype.kind != "b" for part in parts):
        return  # a mask names no element twice
    axes, indices = zip(*_integer_indices(shape, parts), strict=True)
    element = 0  # the number of each element named, counted over the indexed axes alone
    for axis, index in zip(axes, indices, strict=True):
        size = max(shape[axis], 1)
        element = element * size + index % size
    if np.unique(element).size != np.size(element):
        raise IndexError(
            "duplicate indices in an assignment: which value is stored is undefined on a GPU "
            "(to add up, use xp.add.at; to mark, xp.maximum.at)"
        )


def _integer_indices(shape: tuple[int, ...], parts: tuple) -> Iterator[tuple[int, np.ndarray]]:
    """Each integer array of an index with its axis; a boolean mask counts as the indices of its True elements."""
    axis = 0
    for position, part in enumerate(parts):
        if part is Ellipsis:
            axis = len(shape) - sum(_axes_used(p) for p in parts[position + 1 :])
        elif isinstance(part, np.ndarray) and part.dtype.kind == "b":
            yield from enumerate(part.nonzero(), axis)
        elif isinstance(part, np.ndarray):
            yield axis, part
        axis += _axes_used(part)


def _axes_used(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    return part.ndim if isinstance(part, np.ndarray) and part.dtype.kind == "b" else 1


def same_memory(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are one and the same view."""
    return (
        a.shape == b.shape
        and a.strides == b.strides
        and a.dtype == b.dtype
        and a.__array_interface__["data"] == b.__array_interface__["data"]
    )
