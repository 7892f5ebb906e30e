"""Losses: the value and its gradient by the network's outputs, for the whole minibatch.

``value, dy = loss(y, targets, step, weights=None)``. Values are sums over rows divided by the
weight of the whole batch: ``step.count`` where the caller set it (per-sample form, micro-batches,
evaluation in parts), else :meth:`Loss.total` of the rows in hand. ``value`` is a fresh 0-d array of the device.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.backends.device import Array, Device, DeviceMismatch
from xpnet.layers.activations import sigmoid, softplus
from xpnet.layers.base import Configured
from xpnet.step import Pass


class Loss(Configured):
    """Base of losses; one of your own overrides :meth:`compute`, and :meth:`check` if targets are not like outputs."""

    #: Final activations that must not stand before this loss, since it contains them.
    contains: tuple[str, ...] = ()
    #: Metrics reported where the user names none.
    metrics: tuple[str, ...] = ("rmse", "r2")

    def __call__(self, y: Array, targets: Array, step: Pass, weights: Array | None = None) -> tuple[Array, Array]:
        """Value (0-d) and gradient (the shape of ``y``) for outputs ``y`` (N, ...), targets, and weights (N,) of the rows."""
        self.check(y, targets, weights, step)
        step.arena.scratch.reset()
        count = self.total(targets, step, weights) if step.count is None else step.count
        return self.compute(y, targets, step, weights, count)

    def compute(self, y: Array, targets: Array, step: Pass, weights: Array | None, count: Any) -> tuple[Array, Array]:
        raise NotImplementedError(f"{type(self).__name__} has no compute(y, targets, step, weights, count)")

    def total(self, targets: Array, step: Pass, weights: Array | None = None) -> Array | int:
        """Weight of these rows: their number, or the sum of their weights as a 0-d array of the device."""
        return len(targets) if weights is None else step.xp.sum(weights, out=step.keep(()))

    def prepare(self, targets: np.ndarray, dtype: np.dtype, outputs: tuple[int, ...]) -> np.ndarray:
        """Host targets as this loss takes them, for per-sample output shape ``outputs``; refuses what does not fit."""
        if targets.dtype.kind not in "fiub":
            raise TypeError(f"{type(self).__name__}: targets of type {targets.dtype} are not numbers")
        targets = targets.astype(dtype, copy=False)
        if targets.ndim == len(outputs) and outputs[-1:] == (1,):
            targets = targets[..., None]  # (N,) for a network of one output
        if targets.shape[1:] != outputs:
            raise ValueError(f"{type(self).__name__}: targets have shape {targets.shape}, the network's outputs "
                             f"{('N', *outputs)}; they must agree".replace("'N'", "N"))
        check_finite(targets, "targets")
        return targets

    def check(self, y: Array, targets: Array, weights: Array | None, step: Pass) -> None:
        """Refuse arguments that do not fit together, before anything is computed; no synchronisation."""
        name = type(self).__name__
        if step.arena is None:
            raise RuntimeError(f"{name}: this step has seen no forward pass yet: pass the step that net.forward was given")
        if step.network.output_activation in self.contains:
            raise ValueError(double_activation(name, step.network.output_activation))
        if len(y) == 0:
            raise ValueError(f"{name}: zero samples; a mean over none is undefined")
        for what, a in (("targets", targets), ("weights", weights)):
            if a is not None and not step.device.owns(a):
                raise foreign(f"{name}: {what}", a, step.device)
            if a is not None and len(a) != len(y):
                raise ValueError(f"{name}: {len(y)} outputs but {len(a)} {what}")
        self.check_targets(y, targets, step)

    def check_targets(self, y: Array, targets: Array, step: Pass) -> None:
        if targets.shape != y.shape:
            raise ValueError(f"{type(self).__name__}: outputs have shape {y.shape}, targets {targets.shape}; "
                             f"reshape the targets, since broadcasting would compare every pair")
        if targets.dtype != y.dtype:
            raise TypeError(f"{type(self).__name__}: outputs are {y.dtype}, targets {targets.dtype}: "
                            f"device.put(targets, dtype={y.dtype.name!r})")


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


def squared_error(y: Array, targets: Array, step: Pass, weights: Array | None, count: Any, factor: float) -> tuple[Array, Array]:
    """``factor / count`` times the sum of squared differences, and its gradient."""
    xp = step.xp
    dy = xp.subtract(y, targets, out=step.keep(y.shape))
    left = dy
    if weights is not None:
        left = xp.multiply(dy, per_row(weights, dy), out=step.scratch(dy.shape))
    value = xp.dot(left.reshape(-1), dy.reshape(-1), out=step.result())
    if weights is not None:
        xp.copyto(dy, left)
    return scale(value, factor, count), scale(dy, 2 * factor, count)


class SigmoidCrossEntropy(Loss):
    """Binary cross-entropy of independent outputs, from logits: ``mean of max(z, 0) - z t + log(1 + exp(-|z|))``.

    logits z and targets t in [0, 1], both (N, ...) of one shape; mean over all elements, as in
    PyTorch's ``BCEWithLogitsLoss``; gradient ``(sigmoid(z) - t) / (N * elements of a row)``.
    """

    contains = ("Sigmoid",)
    metrics = ("binary_accuracy",)

    def prepare(self, targets: np.ndarray, dtype: np.dtype, outputs: tuple[int, ...]) -> np.ndarray:
        targets = super().prepare(targets, dtype, outputs)
        if targets.size and not (targets.min() >= 0 and targets.max() <= 1):
            raise ValueError(f"SigmoidCrossEntropy: targets lie in [0, 1], these reach from {targets.min()} to {targets.max()}")
        return targets

    def compute(self, y: Array, targets: Array, step: Pass, weights: Array | None, count: Any) -> tuple[Array, Array]:
        xp = step.xp
        terms = softplus(y, step.scratch(y.shape), step)
        terms -= xp.multiply(y, targets, out=step.scratch(y.shape))
        dy = sigmoid(y, step.keep(y.shape), xp)
        dy -= targets
        if weights is not None:
            terms *= per_row(weights, terms)
            dy *= per_row(weights, dy)
        value = xp.sum(terms, out=step.result())
        per_element = 1 / max(math.prod(y.shape[1:]), 1)
        return scale(value, per_element, count), scale(dy, per_element, count)


class SoftmaxCrossEntropy(Loss):
    """Cross-entropy of the softmax over the last axis, from logits: ``log sum_j exp(z_j) - z_label``, mean over rows.

    logits (N, ..., K); targets integer labels (N, ...) in [0, K), or probabilities (N, ..., K) of
    the logits' dtype; gradient ``(softmax(z) - target) / N``. As in PyTorch's ``CrossEntropyLoss``:
    ``label_smoothing`` in [0, 1) mixes in the uniform distribution; ``class_weights`` (K numbers)
    weight the classes, and the mean over labels then divides by the sum of the labels' weights;
    rows whose label is ``ignore_index`` count for nothing (where all are ignored the loss is 0, not NaN).
    """

    contains = ("Softmax",)
    metrics = ("accuracy",)

    def __init__(self, *, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None,
                 ignore_index: int | None = None):
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"SoftmaxCrossEntropy(label_smoothing={label_smoothing!r}): it lies in [0, 1)")
        if class_weights is not None and not all(0 <= w < math.inf for w in class_weights):
            raise ValueError(f"SoftmaxCrossEntropy(class_weights={class_weights!r}): weights are finite numbers from 0 on")
        self.label_smoothing, self.ignore_index = label_smoothing, ignore_index
        self.class_weights = None if class_weights is None else tuple(float(w) for w in class_weights)

    def compute(self, y: Array, targets: Array, step: Pass, weights: Array | None, count: Any) -> tuple[Array, Array]:
        xp, z = step.xp, step.rows(y)
        column, shifted, dy = step.scratch((len(z), 1)), step.scratch(z.shape), step.keep(z.shape)
        xp.subtract(z, xp.max(z, axis=1, keepdims=True, out=column), out=shifted)
        xp.exp(shifted, out=dy)
        xp.sum(dy, axis=1, keepdims=True, out=column)
        dy /= column
        q, mass = self._distribution(z, targets, step, weights)
        if mass is not None:
            dy *= mass
        dy -= q
        xp.subtract(xp.log(column, out=column), shifted, out=shifted)  # -log softmax
        xp.copyto(shifted, 0, where=xp.equal(q, 0, out=step.scratch(z.shape, "bool")))  # 0 * inf is NaN
        shifted *= q
        value = xp.sum(shifted, out=step.result())
        return scale(value, 1, count), scale(dy, 1, count).reshape(y.shape)

    def total(self, targets: Array, step: Pass, weights: Array | None = None) -> Array | int:
        rows = self._row_weights(targets, step, weights)
        labels = targets.dtype.kind in "iu"
        if labels and self.class_weights is not None:
            one_hot = self._one_hot(targets.reshape(-1), len(self.class_weights), step)
            by_class = step.xp.multiply(one_hot, self._class_weights(step), out=step.scratch(one_hot.shape))
            if rows is not None:
                by_class *= rows
            total = step.xp.sum(by_class, out=step.keep(()))
        elif rows is not None:
            total = step.xp.sum(rows, out=step.keep(()))
        else:
            return targets.size if labels else math.prod(targets.shape[:-1])
        return step.xp.maximum(total, float(np.finfo(step.dtype).tiny), out=total)

    def prepare(self, targets: np.ndarray, dtype: np.dtype, outputs: tuple[int, ...]) -> np.ndarray:
        if targets.dtype.kind == "f" and targets.shape[1:] == outputs:
            check_finite(targets, "targets")
            sums = targets.sum(axis=-1)
            if targets.size and (targets.min() < 0 or abs(sums - 1).max() > 1e-3):
                raise ValueError("SoftmaxCrossEntropy: target rows of numbers are probabilities: none below 0, each row adding "
                                 f"up to 1; here the smallest is {targets.min()}, the sums lie in [{sums.min()}, {sums.max()}]")
            return targets.astype(dtype, copy=False)
        self._check_labels(targets, len(outputs), outputs[-1])
        if targets.shape[1:] != outputs[:-1]:
            raise ValueError(f"SoftmaxCrossEntropy: labels have shape {targets.shape}, the outputs (N, "
                             f"{', '.join(map(str, outputs))}): there is one label for each row of outputs; "
                             f"a column (N, 1) becomes labels by labels.reshape(-1)")
        labels = targets.astype(np.int64, copy=False)
        used = labels if self.ignore_index is None else labels[labels != self.ignore_index]
        if used.size and not (used.min() >= 0 and used.max() < outputs[-1]):
            raise ValueError(bad_labels(int(used.min()), int(used.max()), outputs[-1]))
        return labels

    def check_targets(self, y: Array, targets: Array, step: Pass) -> None:
        classes = y.shape[-1]
        if classes < 2:
            raise ValueError("SoftmaxCrossEntropy: the network has 1 output, whose softmax is always 1: give it one output "
                             "per class, or use SigmoidCrossEntropy for two classes")
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ValueError(f"SoftmaxCrossEntropy: {len(self.class_weights)} class_weights for {classes} outputs")
        if targets.dtype.kind == "f" and targets.shape == y.shape:
            return super().check_targets(y, targets, step)
        self._check_labels(targets, y.ndim - 1, classes)
        if targets.shape != y.shape[:-1]:
            raise ValueError(f"SoftmaxCrossEntropy: outputs have shape {y.shape}, labels {targets.shape}; "
                             f"labels of shape {y.shape[:-1]} are needed")
        ignored = 0 if self.ignore_index is None else self.ignore_index
        found = step.device.check_range(targets, min(0, ignored), max(classes, ignored + 1))
        if found:
            raise ValueError(bad_labels(*found, classes))

    def _check_labels(self, targets: Any, axes: int, classes: int) -> None:
        kind = targets.dtype.kind
        if kind == "f":
            raise TypeError(f"SoftmaxCrossEntropy: targets of shape {targets.shape} are {targets.dtype}: labels are integers, "
                            f"use labels.astype(int); probabilities have one column for each of the {classes} outputs")
        if kind not in "iub":
            raise TypeError(f"SoftmaxCrossEntropy: targets of type {targets.dtype} are not integer labels: number the "
                            f"classes first, classes, labels = numpy.unique(names, return_inverse=True)")
        if targets.ndim == axes + 1 and targets.shape[-1] == classes > 1:
            raise ValueError(f"SoftmaxCrossEntropy: targets of shape {targets.shape} look one-hot where labels are meant: use "
                             f"targets.argmax(axis=-1), or targets.astype('float32') to train on probabilities")

    def _distribution(self, z: Array, targets: Array, step: Pass, weights: Array | None) -> tuple[Array, Array | None]:
        """Target distribution of every row, weighted, and its sum over classes (N, 1), None where that is 1."""
        xp = step.xp
        labels = targets.dtype.kind in "iu"
        q = self._one_hot(targets.reshape(-1), z.shape[1], step) if labels else step.rows(targets)
        rows = self._row_weights(targets, step, weights)
        if rows is None and not self.label_smoothing and self.class_weights is None:
            return q, None
        q = xp.multiply(q, 1 - self.label_smoothing, out=step.scratch(z.shape), dtype=step.dtype)
        q += self.label_smoothing / z.shape[1]
        if self.class_weights is not None:
            q *= self._class_weights(step)
        if rows is not None:
            q *= rows
        return q, xp.sum(q, axis=1, keepdims=True, out=step.scratch((len(z), 1)))

    def _row_weights(self, targets: Array, step: Pass, weights: Array | None) -> Array | None:
        """What each row of outputs counts for, (rows, 1): its sample's weight, 0 where it is ignored; None for 1 throughout."""
        labels = targets.dtype.kind in "iu"
        ignoring = self.ignore_index is not None and labels
        if weights is None and not ignoring:
            return None
        shape = targets.shape if labels else targets.shape[:-1]
        rows = step.scratch(shape)
        rows.fill(1)
        if weights is not None:
            rows *= per_row(weights, rows)
        if ignoring:
            rows *= step.xp.not_equal(targets, self.ignore_index, out=step.scratch(shape, "bool"))
        return rows.reshape(-1, 1)

    def _one_hot(self, labels: Array, classes: int, step: Pass) -> Array:
        """Comparison instead of indexing: nothing wraps on a GPU, and no host has to look at the labels."""
        return step.xp.equal(labels.reshape(-1, 1), step.device.arange(classes),
                             out=step.scratch((labels.size, classes), "bool"))

    def _class_weights(self, step: Pass) -> Array:
        return step.device.constant(self.class_weights, step.dtype)


def per_row(weights: Array, like: Array) -> Array:
    """Weights (N,) as (N, 1, ...), to multiply an array (N, ...)."""
    return weights.reshape(weights.shape + (1,) * (like.ndim - 1))


def scale(a: Array, factor: float, count: Array | float) -> Array:
    """``a *= factor / count`` in place; ``count`` is a number or a 0-d array of the device."""
    if isinstance(count, int | float):
        a *= factor / count
        return a
    a *= factor
    a /= count
    return a


def bad_labels(low: int, high: int, classes: int) -> str:
    """The text for labels out of range."""
    return (f"SoftmaxCrossEntropy: labels reach from {low} to {high}, but the network has {classes} outputs, so they must "
            f"lie in 0..{classes - 1}: number the classes from 0, or give the last layer {max(high + 1, 2)} outputs")


def check_finite(a: np.ndarray, what: str) -> None:
    """Refuse NaN and infinity in a host array, naming the first place."""
    if a.dtype.kind == "f" and a.size and not (np.isfinite(a.min()) and np.isfinite(a.max())):
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(a))[0])
        raise ValueError(f"{what}: {a[place]} at index {place} (row {place[0]}): remove such rows or fill the gaps first")


def foreign(what: str, a: Any, device: Device) -> DeviceMismatch:
    """The error for an array that is not where the network is."""
    return DeviceMismatch(f"{what} is a {type(a).__module__}.{type(a).__name__}, the network is on {device.name}: "
                          f"pass device.put(a), with device = xn.device({device.name!r})")


def double_activation(loss: str, activation: str) -> str:
    """The text for an activation that the loss contains already."""
    return (f"the network ends in {activation}, and {loss} contains it already: applied twice, it flattens the gradient "
            f"and training stalls; remove the {activation} layer and let the network end in its logits")
