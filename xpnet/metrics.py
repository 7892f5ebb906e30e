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
    if outputs.ndim < 2 or targets.shape not in (outputs.shape, outputs.shape[:-1]):
        raise ValueError(
            f"accuracy: outputs {outputs.shape} (N, classes), as predict gives them, and targets {targets.shape}: there is one "
            f"label for each row of outputs; labels compare by (a == b).mean()"
        )
    right = outputs.argmax(axis=-1) == (targets.argmax(axis=-1) if targets.shape == outputs.shape else targets)
    return _mean(right, weights)


def binary_accuracy(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Share of logits whose sign agrees with the target, 0 or 1 (above 1/2 counts as 1)."""
    return _mean((outputs > 0) == (like(outputs, targets) > 0.5), weights)


def rmse(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Root of the mean squared error over all elements, in the targets' unit."""
    return math.sqrt(_mean(_squares(outputs, targets), weights))


def r2(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Share of the targets' variance explained, averaged over outputs: 1 perfect, 0 no better than the mean, no lower bound.

    Not a number where all targets are equal.
    """
    targets = like(outputs, targets).astype(np.float64)
    spread = np.average((targets - np.average(targets, axis=0, weights=weights)) ** 2, axis=0, weights=weights)
    error = np.average(_squares(outputs, targets), axis=0, weights=weights)
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.mean(np.where(spread > 0, 1 - error / spread, np.nan)))


def like(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Targets in the shape of the outputs, where they differ by a last axis of 1 at most."""
    if targets.shape not in (outputs.shape, outputs.shape[:-1]) or targets.size != outputs.size:
        raise ValueError(f"outputs have shape {outputs.shape}, targets {targets.shape}; they must agree")
    return targets.reshape(outputs.shape)


METRICS: dict[str, Metric] = {f.__name__: f for f in (accuracy, binary_accuracy, rmse, r2)}


Metrics = Sequence[str | Metric] | Mapping[str, Metric] | str | None


def as_metrics(metrics: Metrics, default: Sequence[str]) -> dict[str, Metric]:
    """Names, functions or a mapping of them, as a mapping from name to function."""
    if metrics is None:
        metrics = default
    if isinstance(metrics, str) or callable(metrics):
        metrics = (metrics,)
    if not isinstance(metrics, Mapping):
        named = [(m if isinstance(m, str) else getattr(m, "__name__", repr(m)), _named(m)) for m in metrics]
        metrics = dict(named)
        if len(metrics) < len(named):
            raise ValueError(f"two metrics have one name ({', '.join(name for name, _ in named)}): pass a mapping of names")
    if "loss" in metrics:
        raise ValueError('a metric cannot be called "loss": that is the loss')
    return dict(metrics)


def _named(metric: str | Metric) -> Metric:
    if callable(metric):
        return metric
    if metric not in METRICS:
        raise ValueError(f"no metric is called {metric!r}; there are {', '.join(METRICS)}, or pass a function")
    return METRICS[metric]


def _squares(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return (outputs.astype(np.float64) - like(outputs, targets)) ** 2


def _mean(values: np.ndarray, weights: np.ndarray | None) -> float:
    if weights is None:
        return float(values.mean())
    return float(np.average(values.reshape(len(values), -1).mean(axis=1), weights=weights))
