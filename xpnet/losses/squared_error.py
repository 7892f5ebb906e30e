"""Squared errors, for regression and for the book's quadratic cost."""

from __future__ import annotations

import math
from typing import Any

from xpnet.backends.device import Array
from xpnet.backends.rows import fused, losses
from xpnet.losses.base import Loss, per_row, scale
from xpnet.step import Pass


class MeanSquaredError(Loss):
    """``mean over all elements of (y - t)**2``, rows weighted where weights are given.

    y, targets (N, ...) of one shape; gradient ``2 (y - t) / (N * elements of a row)``.
    """

    def compute(self, y: Array, targets: Array, step: Pass, weights: Array | None, count: Any) -> tuple[Array, Array]:
        return squared_error(y, targets, step, weights, count, 1 / max(math.prod(y.shape[1:]), 1))


class HalfSquaredError(Loss):
    """``sum over outputs of (y - t)**2 / 2, mean over rows``: the quadratic cost of Nielsen's book, chapter 1.

    y, targets (N, ...) of one shape; gradient ``(y - t) / N``.
    """

    def compute(self, y: Array, targets: Array, step: Pass, weights: Array | None, count: Any) -> tuple[Array, Array]:
        return squared_error(y, targets, step, weights, count, 0.5)


def squared_error(
    y: Array, targets: Array, step: Pass, weights: Array | None, count: Any, factor: float
) -> tuple[Array, Array]:
    """``factor / count`` times the sum of squared differences, and its gradient."""
    dy, value = step.keep(y.shape), step.result()
    squares(step, y, targets, weights, count, dy, value, factor)
    return value, dy


@fused(losses.squared_error)
def squares(
    step: Pass, y: Array, targets: Array, weights: Array | None, count: Any, dy: Array, value: Array, factor: float
) -> None:
    """Both at once: ``dy`` and ``value``."""
    xp = step.xp
    xp.subtract(y, targets, out=dy)
    flat = weighted = dy.reshape(-1)
    if weights is not None:
        left = xp.multiply(dy, per_row(weights, dy), out=step.scratch(dy.shape))
        weighted = left.reshape(-1)
    step.device.dot(weighted, flat, out=value)
    if weights is not None:
        xp.copyto(dy, left)
    scale(value, factor, count)
    scale(dy, 2 * factor, count)
