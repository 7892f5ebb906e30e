"""Metrics: plain functions of NumPy arrays, ``metric(outputs, targets, weights=None) -> float``.

``outputs`` are the network's, so logits where it ends in them; ``targets`` are as given to ``fit``.
A metric of your own is any such function, passed by name: ``Trainer(..., metrics={"mine": f})``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

Metric = Callable[..., float]


def accuracy(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Share of rows whose largest output is the target class; targets are labels (N, ...) or rows with one column a class."""
    if outputs.ndim < 2:
        raise ValueError("accuracy takes outputs (N, classes), as predict gives them; labels compare by (a == b).mean()")
    right = outputs.argmax(axis=-1) == (targets.argmax(axis=-1) if targets.shape == outputs.shape else targets)
    return _mean(right, weights)


def binary_accuracy(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Share of logits whose sign agrees with the target, 0 or 1 (above 1/2 counts as 1)."""
    return _mean((outputs > 0) == (targets.reshape(outputs.shape) > 0.5), weights)


def rmse(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Root of the mean squared error over all elements, in the targets' unit."""
    return math.sqrt(_mean(_squares(outputs, targets), weights))


def r2(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Share of the targets' variance explained, averaged over outputs: 1 perfect, 0 no better than the mean, no lower bound.

    Not a number where all targets are equal.
    """
    targets = targets.reshape(outputs.shape).astype(np.float64)
    spread = np.average((targets - np.average(targets, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
    error = np.average(_squares(outputs, targets), axis=0, weights=weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(np.where(spread > 0, 1 - error / spread, np.nan)))


METRICS: dict[str, Metric] = {f.__name__: f for f in (accuracy, binary_accuracy, rmse, r2)}


Metrics = Sequence[str | Metric] | Mapping[str, Metric] | str | None


def as_metrics(metrics: Metrics, default: Sequence[str]) -> dict[str, Metric]:
    """Names, functions or a mapping of them, as a mapping from name to function."""
    if metrics is None:
        metrics = default
    if isinstance(metrics, Mapping):
        return dict(metrics)
    if isinstance(metrics, str) or callable(metrics):
        metrics = (metrics,)
    return {m if isinstance(m, str) else m.__name__: _named(m) for m in metrics}


def _named(metric: str | Metric) -> Metric:
    if callable(metric):
        return metric
    if metric not in METRICS:
        raise ValueError(f"no metric is called {metric!r}; there are {', '.join(METRICS)}, or pass a function")
    return METRICS[metric]


def _squares(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return (outputs.astype(np.float64) - targets.reshape(outputs.shape)) ** 2


def _mean(values: np.ndarray, weights: np.ndarray | None) -> float:
    if weights is None:
        return float(values.mean())
    return float(np.average(values.reshape(len(values), -1).mean(axis=1), weights=weights))
