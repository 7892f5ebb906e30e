"""Checks of what pictures are made from, each with an error that names the argument and what disagrees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.backends import DeviceMismatch


def as_host(name: str, a: Any) -> np.ndarray:
    """A host array; one of a device is refused, as nothing is copied unasked."""
    if hasattr(a, "__cuda_array_interface__"):
        raise DeviceMismatch(f"{name} lies on a device: bring it to the host by device.get(...)")
    try:
        return np.asarray(a)
    except ValueError as error:
        raise ValueError(f"{name}: rows of different length cannot be an array of numbers ({error})") from error


def check_labels(name: str, values: Any, names: Sequence[str]) -> np.ndarray:
    """Labels (N,), at least one, whole numbers that number the names (False 0, True 1), as int64."""
    found = as_host(name, values)
    if found.ndim != 1 or found.dtype.kind not in "iub" or not found.size:
        raise ValueError(f"{name}: {found.dtype} of shape {found.shape}: whole numbers (N,), at least one, are needed")
    found = found.astype(np.int64)
    if found.min() < 0 or found.max() >= len(names):
        raise ValueError(
            f"{name} reach from {found.min()} to {found.max()}, but there are {len(names)} names: 0 to {len(names) - 1}"
        )
    return found


def check_rows(name: str, a: Any, n: int) -> np.ndarray:
    """An array of real numbers with ``n`` rows."""
    found = as_host(name, a)
    if found.dtype.kind not in "fiub" or found.ndim < 2 or len(found) != n:
        raise ValueError(f"{name}: {found.dtype} of shape {found.shape}: numbers, {n} rows of one axis or more, are needed")
    return found
