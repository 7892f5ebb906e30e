"""How far the same array of two devices is apart, in units in the last place and relative to its size."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Gap(NamedTuple):
    """The largest difference of two arrays; true where there is any.

    ``relative`` is a fraction of the scale, ``ulp`` the number of floating-point numbers between the two
    values that lie furthest apart; ``text`` says what differs where numbers cannot (then both are infinite).
    """

    relative: float = 0.0
    ulp: float = 0
    text: str = ""

    def __bool__(self) -> bool:
        return self.ulp > 0


EQUAL = Gap()


def difference(a: np.ndarray, b: np.ndarray, scale: float, slack: float = 0.0) -> Gap:
    """Compare host arrays bit by bit; -0 and 0 are 1 ULP apart, a NaN equals every NaN.

    ``scale`` is what ``relative`` refers to (:func:`largest` of one array, for instance); absolute differences up to
    ``slack`` count as nothing there. A NaN or infinity on one side only is an infinite difference, and so is any
    difference of shape, of dtype, or of values that are not floating-point numbers.
    """
    if a.shape != b.shape:
        return unlike(f"has shape {a.shape} on the first device, {b.shape} on the second")
    if a.dtype != b.dtype:
        return unlike(f"is {a.dtype} on the first device, {b.dtype} on the second")
    if a.dtype not in (np.float16, np.float32, np.float64):
        return EQUAL if np.array_equal(a, b) else unlike(f"differs in {np.count_nonzero(a != b)} of {a.size} places")
    differ = _bits(a) != _bits(b)
    if not differ.any():
        return EQUAL
    for side, c, other in (("first", a, b), ("second", b, a)):
        if places := np.count_nonzero(np.isnan(c) & ~np.isnan(other)):
            return unlike(f"is NaN on the {side} device only, in {places} of {a.size} places")
    differ &= ~np.isnan(a)
    if not differ.any():
        return EQUAL
    return Gap(_relative(a[differ], b[differ], scale, slack), _ulp(a[differ], b[differ]))


def unlike(text: str) -> Gap:
    """A difference that no number measures."""
    return Gap(math.inf, math.inf, text)


def largest(a: np.ndarray) -> float:
    """The largest finite magnitude, 0 where there is none."""
    found = max(float(np.max(a, initial=0)), -float(np.min(a, initial=0)))
    return found if math.isfinite(found) else float(np.max(np.abs(a), where=np.isfinite(a), initial=0))


def _relative(a: np.ndarray, b: np.ndarray, scale: float, slack: float) -> float:
    with np.errstate(over="ignore"):
        apart = float(np.max(np.abs(a.astype(np.float64) - b))) - slack
    if apart <= 0:
        return 0.0
    return apart / scale if scale else math.inf


def _ulp(a: np.ndarray, b: np.ndarray) -> int:
    """In unsigned arithmetic, where the distance of any two numbers of one type fits."""
    a, b = _rank(a), _rank(b)
    return int(np.max(np.maximum(a, b) - np.minimum(a, b)))


def _rank(a: np.ndarray) -> np.ndarray:
    """The place of each number among all numbers of its type, -0 right before 0."""
    bits = _bits(a)
    sign = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    return np.where(bits & sign, ~bits, bits | sign)


def _bits(a: np.ndarray) -> np.ndarray:
    return a.view(f"u{a.itemsize}")
