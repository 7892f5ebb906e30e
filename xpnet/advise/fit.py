"""Time by batch: the line ``t = a + b * N``, and from which batch on one device is quicker than another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEPS = 512  # between the smallest and the largest batch, where two curves are looked at

Curve = Sequence[tuple[float, float]]  # batch and seconds, ascending


@dataclass(frozen=True)
class Line:
    """``fixed`` seconds of a step and ``each`` more for every row; ``error`` is the root mean square of the relative misses."""

    fixed: float
    each: float
    error: float

    def __call__(self, n: float) -> float:
        return self.fixed + self.each * n

    def meets(self, other: Line) -> float | None:
        """The batch at which two lines take the same time, if there is one above 0."""
        if self.each == other.each:
            return None
        n = (other.fixed - self.fixed) / (self.each - other.each)
        return n if n > 0 else None


def line(points: Curve) -> Line:
    """Least squares of relative misses, with neither figure below 0."""
    n, t = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    both = _solved(np.stack([np.ones_like(n), n], axis=1) / t[:, None])
    if both.min() < 0:
        kept = [np.array([_solved((1 / t)[:, None])[0], 0.0]), np.array([0.0, _solved((n / t)[:, None])[0]])]
        both = min(kept, key=lambda c: float(np.sum((c[0] / t + c[1] * n / t - 1) ** 2)))
    fixed, each = map(float, both)
    return Line(fixed, each, float(np.sqrt(np.mean((fixed / t + each * n / t - 1) ** 2))))


def _solved(columns: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(columns, np.ones(len(columns)), rcond=None)[0]


def pays_from(cpu: Curve, gpu: Curve) -> int | None:
    """The smallest batch from which on the GPU is quicker, up to the largest that both have; None where there is none.

    Between the points the logarithms of time and batch are taken for straight lines.
    """
    start, stop = max(cpu[0][0], gpu[0][0]), min(cpu[-1][0], gpu[-1][0])
    batches = np.unique(np.round(np.geomspace(start, stop, STEPS)))
    quicker = at(gpu, batches) < at(cpu, batches)
    if not quicker[-1]:
        return None
    slower = np.flatnonzero(~quicker)
    return int(batches[slower[-1] + 1 if slower.size else 0])


def at(curve: Curve, batches: np.ndarray | float) -> np.ndarray:
    """Seconds at these batches, between the points of a curve."""
    n, t = zip(*curve, strict=True)
    return np.exp(np.interp(np.log(batches), [math.log(v) for v in n], [math.log(v) for v in t]))
