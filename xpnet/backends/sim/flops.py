"""Floating-point operations of products: two for each multiplication and its addition."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np


def of_call(name: str, args: Any, result: Any) -> int:
    """FLOP of a call of this function with these NumPy arguments; 0 where it is no product."""
    count = PRODUCTS.get(name.rpartition(".")[2])
    return 0 if count is None else count(args, result)


def _matmul(args: Any, result: Any) -> int:
    return 2 * np.size(result) * np.shape(args[0])[-1]


def _contraction(args: Any, result: Any) -> int:
    """Every axis is in the result once or summed over: sizes of the operands = result times the summed length squared."""
    summed = math.isqrt(np.size(args[0]) * np.size(args[1]) // max(np.size(result), 1))
    return 2 * np.size(result) * summed


def _einsum(args: Any, result: Any) -> int:
    """The product of the lengths of all indices, once for each operand."""
    if not isinstance(args[0], str) or len(args) < 3:
        return 0
    lengths: dict[str | int, int] = {}
    for term, a in zip(args[0].replace(" ", "").partition("->")[0].split(","), args[1:], strict=False):
        head, dots, tail = term.partition("...")
        between: list[str | int] = list(range(len(head) + len(tail) - a.ndim, 0)) if dots else []
        for index, n in zip([*head, *between, *tail], a.shape, strict=True):
            lengths[index] = max(n, lengths.get(index, 0))
    return (len(args) - 1) * math.prod(lengths.values())


PRODUCTS: dict[str, Callable[[Any, Any], int]] = {
    "matmul": _matmul,
    "einsum": _einsum,
    **dict.fromkeys(("dot", "inner", "outer", "vdot", "tensordot"), _contraction),
}
