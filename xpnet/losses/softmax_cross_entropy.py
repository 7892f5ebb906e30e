"""Cross-entropy of classes that exclude each other."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

from xpnet.backends import resolve
from xpnet.backends.device import Array, Device, DTypeLike
from xpnet.checks import check_finite, check_number, check_probabilities
from xpnet.losses.base import Loss
from xpnet.losses.cross_entropy import in_order, is_labels, label_weight, row_weights, softmax_cross_entropy
from xpnet.step import Pass


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

    def __init__(
        self, *, label_smoothing: float = 0.0, class_weights: Sequence[float] | None = None, ignore_index: int | None = None
    ):
        if ignore_index is not None and not isinstance(ignore_index, numbers.Integral):
            raise ValueError(f"SoftmaxCrossEntropy(ignore_index={ignore_index!r}): it is a whole number, a label, or None")
        self.label_smoothing = check_number("SoftmaxCrossEntropy(label_smoothing", label_smoothing, below=1)
        self.ignore_index = ignore_index
        self.class_weights = None
        if class_weights is not None:
            self.class_weights = tuple(check_number("SoftmaxCrossEntropy(class_weights: weight", w) for w in class_weights)

    def compute(self, y: Array, targets: Array, step: Pass, weights: Array | None, count: Any) -> tuple[Array, Array]:
        dy, value = step.keep(y.shape), step.result()
        z, dz = step.rows(y), step.rows(dy)
        if not z.flags.c_contiguous:
            step.xp.copyto(dz, z)
            z = dz
        q = targets.reshape(-1) if is_labels(targets) else step.rows(targets)
        q, w = in_order(q, step), None if weights is None else in_order(weights, step)
        classes = self._class_weights(step)
        softmax_cross_entropy(step, z, q, classes, w, count, dz, value, self.label_smoothing, self.ignore_index)
        return value, dy

    def total(self, targets: Array, step: Pass, weights: Array | None = None) -> Array | int:
        labels = is_labels(targets)
        rows = targets.size if labels else math.prod(targets.shape[:-1])
        classes = self._class_weights(step) if labels else None
        ignore = self.ignore_index if labels else None
        if weights is None and classes is None and ignore is None:
            return rows
        out, w = step.keep(()), None if weights is None else in_order(weights, step)
        if labels:
            label_weight(step, in_order(targets.reshape(-1), step), classes, w, ignore, out)
        else:
            step.xp.sum(row_weights(rows, w, step), out=out)
        return out

    def row_weights(self, targets: Array, weights: Array | None) -> Array | None:
        if self.ignore_index is None or not is_labels(targets) or targets.ndim != 1:
            return weights
        used = (targets != self.ignore_index).astype("float64")
        return used if weights is None else used * weights

    def prepare(self, targets: Array, dtype: DTypeLike, outputs: tuple[int, ...]) -> Array:
        if targets.dtype.kind == "f" and targets.shape[1:] == outputs:
            check_finite(targets, "targets")
            check_probabilities(targets, "SoftmaxCrossEntropy: target rows of numbers")
            return targets.astype(dtype, copy=False)
        self._check_classes(outputs[-1])
        self._check_labels(targets, len(outputs), outputs[-1])
        if targets.shape[1:] != outputs[:-1]:
            raise ValueError(
                f"SoftmaxCrossEntropy: labels have shape {targets.shape}, the outputs (N, "
                f"{', '.join(map(str, outputs))}): there is one label for each row of outputs; "
                f"a column (N, 1) becomes labels by labels.reshape(-1)"
                + ("; a Flatten() layer in front makes one row of a sample of several axes" if len(outputs) > 1 else "")
            )
        labels = targets.astype("int64", copy=False)
        self._check_range(labels, outputs[-1], resolve("cpu").device)
        return labels

    def check_targets(self, y: Array, targets: Array, step: Pass) -> None:
        self._check_classes(y.shape[-1])
        if targets.dtype.kind == "f" and targets.shape == y.shape:
            super().check_targets(y, targets, step)
        else:
            self._check_label_targets(y, targets, step)

    def _check_label_targets(self, y: Array, targets: Array, step: Pass) -> None:
        classes = y.shape[-1]
        self._check_labels(targets, y.ndim - 1, classes)
        if targets.shape != y.shape[:-1]:
            raise ValueError(
                f"SoftmaxCrossEntropy: outputs have shape {y.shape}, labels {targets.shape}; "
                f"labels of shape {y.shape[:-1]} are needed"
            )
        self._check_range(targets, classes, step.device)

    def check_values(self, targets: Array, outputs: tuple[int, ...], device: Device) -> None:
        if targets.dtype.kind in "iub":
            self._check_range(targets, outputs[-1], device)

    def _check_range(self, labels: Array, classes: int, device: Device) -> None:
        found = device.check_range(labels, classes, self.ignore_index)
        if found:
            raise ValueError(bad_labels(*found, classes))

    def _check_classes(self, classes: int) -> None:
        if classes < 2:
            raise ValueError(
                "SoftmaxCrossEntropy: the network has 1 output, whose softmax is always 1: give it one output "
                "per class, or use SigmoidCrossEntropy for two classes"
            )
        if self.class_weights is not None and len(self.class_weights) != classes:
            raise ValueError(f"SoftmaxCrossEntropy: {len(self.class_weights)} class_weights for {classes} outputs")

    def _check_labels(self, targets: Any, axes: int, classes: int) -> None:
        kind = targets.dtype.kind
        if kind == "f":
            raise TypeError(
                f"SoftmaxCrossEntropy: targets of shape {targets.shape} are {targets.dtype}: labels are integers, "
                f"use labels.astype(int); probabilities have one column for each of the {classes} outputs"
            )
        if kind not in "iub":
            raise TypeError(
                f"SoftmaxCrossEntropy: targets of type {targets.dtype} are not integer labels: number the "
                f"classes first, classes, labels = numpy.unique(names, return_inverse=True)"
            )
        if targets.ndim == axes + 1 and targets.shape[-1] == classes > 1:
            raise ValueError(
                f"SoftmaxCrossEntropy: targets of shape {targets.shape} look one-hot where labels are meant: use "
                f"targets.argmax(axis=-1), or targets.astype('float32') to train on probabilities"
            )

    def _class_weights(self, step: Pass) -> Array | None:
        return None if self.class_weights is None else step.device.constant(self.class_weights, step.dtype)


def bad_labels(low: int, high: int, classes: int) -> str:
    """The text for labels out of range."""
    more = f", or give the last layer {high + 1} outputs" if low >= 0 else ""
    return (
        f"SoftmaxCrossEntropy: labels reach from {low} to {high}, but the network has {classes} outputs, so they must "
        f"lie in 0..{classes - 1}: number the classes from 0{more}"
    )
