"""Losses as loops that Numba compiles, for the device cpu-fast: value and gradient of a row while it is in the cache.

The functions in ``LOOPS`` take a kernel's arguments and give a loop and what it takes; or None where there is none.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from xpnet.backends.device import Array
from xpnet.backends.fast import as_vector
from xpnet.pointwise import functions

Found = tuple[Callable, tuple] | None

LANES = 16  # maxima side by side: one after another each waits for the last
CACHED = 1 << 13  # elements that are worked on at a time


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
    arrays = z, targets, as_vector(count, z.dtype), dz, dz.reshape(-1), value.reshape(1)
    return compiled(softmax_of_labels, z.dtype.name), arrays


def squares(y: Array, targets: Array, weights: Array | None, count: Any, dy: Array, value: Array, factor: float) -> Found:
    if weights is not None or not (y.flags.c_contiguous and targets.flags.c_contiguous):
        return None
    vectors = y.reshape(-1), targets.reshape(-1), as_vector(count, y.dtype), as_vector(factor, y.dtype)
    return compiled(squared_error, y.dtype.name), (*vectors, dy.reshape(-1), value.reshape(1))


LOOPS: dict[str, Callable[..., Found]] = {"softmax_cross_entropy": softmax_cross_entropy, "squares": squares}


@functools.cache
def compiled(f: Callable, dtype: str) -> Callable:
    """The loop of one precision, whose names it is given as globals: with a closure Numba would not find it in its cache.

    In any order of its sums, which vectors of partial sums need; NaN and infinity are as ever.
    """
    real, computed = getattr(np, dtype), getattr(functions, dtype)
    names = {"exp": computed.exp, "log": computed.log, "real": real, "zero": real(0), "one": real(1)}
    own = types.FunctionType(f.__code__, {**globals(), **names})
    return numba.njit(nogil=True, error_model="numpy", fastmath={"contract", "reassoc"}, cache=True)(own)


exp: Any = None  # these are a loop's own, see compiled
log: Any = None
real: Any = None
zero: Any = None
one: Any = None


def softmax_of_labels(z, labels, count, dz, flat, value):  # type: ignore[no-untyped-def]
    """``flat`` is ``dz`` as a vector, in which exponentials of short rows are taken many at a time."""
    rows, k = z.shape
    factor, loss, tops = one / count[0], 0.0, np.empty(LANES, real)  # many rows' losses need a double to be summed in
    whole, together = k // LANES * LANES, max(CACHED // k, 1)
    for start in range(0, rows, together):
        stop = min(start + together, rows)
        some, d, terms = z[start:stop], dz[start:stop], flat[start * k : stop * k]  # ranges from 0 on: no index is below 0
        for i in range(some.shape[0]):
            top = some[i, 0]  # of what is NaN the sum will tell
            if k >= 2 * LANES:
                for lane in range(LANES):
                    tops[lane] = some[i, lane]
                for j in range(LANES, whole, LANES):
                    for lane in range(LANES):
                        x = some[i, j + lane]
                        tops[lane] = x if x > tops[lane] else tops[lane]
                for lane in range(LANES):
                    top = tops[lane] if tops[lane] > top else top
            for j in range(whole if k >= 2 * LANES else 1, k):
                top = some[i, j] if some[i, j] > top else top
            loss += top - some[i, np.int64(labels[start + i])]
            for j in range(k):
                d[i, j] = some[i, j] - top
        for j in range(terms.size):
            terms[j] = exp(terms[j])
        for i in range(some.shape[0]):
            total = zero
            for j in range(k):
                total += d[i, j]
            share = factor / total
            for j in range(k):
                d[i, j] *= share
            d[i, np.int64(labels[start + i])] -= factor
            loss += log(total)
    value[0] = loss * factor


def squared_error(y, targets, count, factor, dy, value):  # type: ignore[no-untyped-def]
    scale, total = factor[0] / count[0], zero
    twice = (one + one) * scale
    for i in range(y.size):
        difference = y[i] - targets[i]
        total += difference * difference
        dy[i] = difference * twice
    value[0] = total * scale
