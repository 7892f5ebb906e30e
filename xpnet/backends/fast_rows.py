"""Losses as loops that Numba compiles, for the device cpu-fast: value and gradient of a row while it is in the cache.

Each function here takes the arguments of the kernel of its name and gives a loop with its arguments, or None where there is none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from xpnet.backends.device import Array
from xpnet.pointwise import functions

Found = tuple[Callable, tuple] | None


def softmax_cross_entropy(
    z: Array,
    targets: Array,
    classes: Array | None,
    weights: Array | None,
    count: Any,
    dz: Array,
    value: Array,
    smoothing: float,
    ignore: int | None,
) -> Found:
    if targets.dtype.kind == "f" or smoothing or not classes is weights is ignore is None:
        return None
    return of_labels(z.dtype.name), (z, targets, as_vector(count, z.dtype), dz, value.reshape(1))


def squares(y: Array, targets: Array, weights: Array | None, count: Any, dy: Array, value: Array, factor: float) -> Found:
    if weights is not None or not (y.flags.c_contiguous and targets.flags.c_contiguous):
        return None
    vectors = y.reshape(-1), targets.reshape(-1), as_vector(count, y.dtype), as_vector(factor, y.dtype)
    return sum_of_squares(y.dtype.name), (*vectors, dy.reshape(-1), value.reshape(1))


LOOPS: dict[str, Callable[..., Found]] = {"softmax_cross_entropy": softmax_cross_entropy, "squares": squares}


def as_vector(number: Any, dtype: Any) -> Array:
    """One element that is read when the loop is called: the memory itself of a 0-d array."""
    return number.reshape(1) if isinstance(number, np.ndarray) else np.array((number,), dtype)


def compiled(f: Callable) -> Callable:
    """In any order of its sums, which vectors of partial sums need; NaN and infinity are as ever."""
    return numba.njit(nogil=True, error_model="numpy", fastmath={"contract", "reassoc"}, cache=True)(f)


@functools.cache
def of_labels(dtype: str) -> Callable:
    exp, log, real = getattr(functions, dtype).exp, getattr(functions, dtype).log, getattr(np, dtype)
    zero, one = real(0), real(1)

    @compiled
    def softmax_of_labels(z, labels, count, dz, value):  # type: ignore[no-untyped-def]
        rows, k = z.shape
        factor, loss = one / count[0], zero
        for i in range(rows):
            label = np.int64(labels[i])
            wanted, top = z[i, label], z[i, 0]
            for j in range(1, k):
                top = z[i, j] if z[i, j] > top else top  # NaN is passed over: the sum finds it
            total = zero
            for j in range(k):
                term = exp(z[i, j] - top)
                dz[i, j] = term
                total += term
            share = factor / total
            for j in range(k):
                dz[i, j] *= share
            dz[i, label] -= factor
            loss += log(total) + (top - wanted)
        value[0] = loss * factor

    return softmax_of_labels


@functools.cache
def sum_of_squares(dtype: str) -> Callable:
    zero, two = getattr(np, dtype)(0), getattr(np, dtype)(2)

    @compiled
    def squared_error(y, targets, count, factor, dy, value):  # type: ignore[no-untyped-def]
        scale, total = factor[0] / count[0], zero
        twice = two * scale
        for i in range(y.size):
            difference = y[i] - targets[i]
            total += difference * difference
            dy[i] = difference * twice
        value[0] = total * scale

    return squared_error
