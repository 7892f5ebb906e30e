"""What a body may do to an element: each operation in NumPy, in CUDA's C++ (plain enough for g++) and in Numba's Python.

In the templates ``{0}`` is the first operand and ``{T}`` the C++ type. Maxima and minima hand NaN on, as NumPy's do.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Operation(NamedTuple):
    """One operation; ``gives`` is "float" or "mask" (true or false), ``takes`` tells the same of its operands."""

    numpy: Callable
    arity: int
    cuda: str
    loop: str
    takes: str = "float"
    gives: str = "float"


def _infix(numpy: Callable, sign: str, gives: str = "float") -> Operation:
    text = f"({{0}} {sign} {{1}})"
    return Operation(numpy, 2, text, text, gives=gives)


def _call(numpy: Callable, arity: int = 1) -> Operation:
    text = f"{numpy.__name__}({', '.join(f'{{{i}}}' for i in range(arity))})"
    return Operation(numpy, arity, text, text)


def _logical(numpy: Callable, sign: str) -> Operation:
    text = f"({{0}} {sign} {{1}})"
    return Operation(numpy, 2, text, text, takes="mask", gives="mask")


OPERATIONS: dict[str, Operation] = {
    "add": _infix(np.add, "+"),
    "subtract": _infix(np.subtract, "-"),
    "multiply": _infix(np.multiply, "*"),
    "divide": _infix(np.divide, "/"),
    "negative": Operation(np.negative, 1, "(-{0})", "(-{0})"),
    "absolute": Operation(np.absolute, 1, "fabs({0})", "abs({0})"),
    "sign": Operation(
        np.sign,
        1,
        "({0} > 0 ? ({T})1 : {0} < 0 ? ({T})-1 : {0} * 0)",
        "(one if {0} > zero else (-one if {0} < zero else {0} * zero))",
    ),
    "square": Operation(np.square, 1, "({0} * {0})", "({0} * {0})"),
    "reciprocal": Operation(np.reciprocal, 1, "(1 / {0})", "(one / {0})"),
    "maximum": Operation(
        np.maximum, 2, "({0} >= {1} || {0} != {0} ? {0} : {1})", "({0} if ({0} >= {1}) | ({0} != {0}) else {1})"
    ),
    "minimum": Operation(
        np.minimum, 2, "({0} <= {1} || {0} != {0} ? {0} : {1})", "({0} if ({0} <= {1}) | ({0} != {0}) else {1})"
    ),
    "copysign": _call(np.copysign, 2),
    "power": Operation(np.power, 2, "pow({0}, {1})", "({0} ** {1})"),
    **{f.__name__: _call(f) for f in (np.sqrt, np.exp, np.expm1, np.log, np.log1p, np.tanh, np.sin, np.cos)},
    "greater": _infix(np.greater, ">", "mask"),
    "greater_equal": _infix(np.greater_equal, ">=", "mask"),
    "less": _infix(np.less, "<", "mask"),
    "less_equal": _infix(np.less_equal, "<=", "mask"),
    "equal": _infix(np.equal, "==", "mask"),
    "not_equal": _infix(np.not_equal, "!=", "mask"),
    "isnan": Operation(np.isnan, 1, "({0} != {0})", "({0} != {0})", gives="mask"),
    "logical_and": _logical(np.logical_and, "&"),
    "logical_or": _logical(np.logical_or, "|"),
    "logical_xor": _logical(np.logical_xor, "^"),
    "logical_not": Operation(np.logical_not, 1, "(!{0})", "(not {0})", takes="mask", gives="mask"),
    "where": Operation(np.where, 3, "({0} ? {1} : {2})", "({1} if {0} else {2})"),
    "as_float": Operation(np.multiply, 1, "({T}){0}", "(one if {0} else zero)", takes="mask"),
}

#: Other names of the same operations.
SYNONYMS = {
    "true_divide": "divide",
    "abs": "absolute",
    "fabs": "absolute",
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
    "invert": "logical_not",
    "bitwise_not": "logical_not",
}
