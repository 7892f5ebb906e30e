"""What an estimator is to predict: y as the network's targets, and outputs as answers in the terms of y."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from sklearn.utils.class_weight import compute_class_weight

from xpnet.checks import check_weights
from xpnet.losses import Loss, MeanSquaredError, SigmoidCrossEntropy, SoftmaxCrossEntropy
from xpnet.preprocessing.rows import mean_and_std

FAR = float(np.finfo(np.float32).max)  # standard deviations


class Target(Protocol):
    """The kind of y: ``outputs`` numbers of the network for each sample; ``what`` these are for, in errors."""

    outputs: int
    what: str
    exclusive: bool  # whether each row belongs to one class of several

    def encode(self, y: np.ndarray) -> np.ndarray:
        """y as targets of the loss."""

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        """The network's outputs (N, outputs) as answers in the terms of y."""


class Labels:
    """Classes that exclude each other, each with its logit."""

    exclusive = True

    def __init__(self, classes: np.ndarray):
        if len(classes) < 2:
            raise ValueError(
                f"y has 1 class only, {classes.tolist()}: there is nothing to tell apart, give samples of two or more"
            )
        self.classes, self.outputs, self.what = classes, len(classes), f"{len(classes)} classes"

    def encode(self, y: np.ndarray) -> np.ndarray:
        if y.ndim != 1:
            raise ValueError(f"y has shape {y.shape}, in the first call it had labels (N,): fit afresh, without warm_start")
        found, index = np.unique(y, return_inverse=True)
        if unknown := np.setdiff1d(found, self.classes).tolist():
            raise ValueError(f"y has the label {unknown[0]!r}, which is not among the classes {self.classes.tolist()}")
        return np.searchsorted(self.classes, found)[index]

    def loss(self, y: np.ndarray, class_weight: Any) -> Loss:
        if class_weight is None:
            return SoftmaxCrossEntropy()
        if not isinstance(class_weight, Mapping) and not (isinstance(class_weight, str) and class_weight == "balanced"):
            raise ValueError(f'class_weight={class_weight!r}: a mapping from class to weight, or "balanced"')
        there = self.classes if isinstance(class_weight, Mapping) else np.unique(y)  # after a warm start perhaps not all
        weights = np.ones(len(self.classes))
        weights[np.searchsorted(self.classes, there)] = compute_class_weight(class_weight, classes=there, y=y)
        check_weights(weights, "class_weight")
        return SoftmaxCrossEntropy(class_weights=(weights / weights.max()).tolist())  # as the weights of rows are

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        return self.classes[outputs.argmax(axis=1)]

    def log_probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """(N, classes), of the softmax, in float64."""
        outputs = outputs.astype(np.float64)
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


class Indicators:
    """Labels that do not exclude each other: y (N, labels) of 0 and 1, each label with its logit."""

    exclusive = False

    def __init__(self, labels: int):
        self.classes, self.outputs, self.what = np.arange(labels), labels, f"{labels} labels"

    def encode(self, y: np.ndarray) -> np.ndarray:
        if y.shape[1:] != (self.outputs,) or not np.isin(y, (0, 1)).all():
            raise ValueError(f"y has shape {y.shape}: rows of {self.outputs} numbers 0 or 1 are needed, as in the first call")
        return y

    def loss(self, y: np.ndarray, class_weight: Any) -> Loss:
        if class_weight is not None:
            raise ValueError("class_weight is for classes that exclude each other, y has several labels: pass sample_weight")
        return SigmoidCrossEntropy()

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        return (outputs > 0).astype(np.int64)

    def log_probabilities(self, outputs: np.ndarray) -> np.ndarray:
        """(N, labels), of the sigmoid, in float64."""
        return -np.logaddexp(0, -outputs.astype(np.float64))


class Quantities:
    """Numbers (N,) or (N, outputs), each column scaled to mean 0 and standard deviation 1 in the first y, whatever its unit."""

    exclusive = False

    def __init__(self, y: np.ndarray, weights: np.ndarray | None):
        self.shape, self.dtype = y.shape[1:], y.dtype if y.dtype.kind == "f" else np.dtype("float64")
        scales = [mean_and_std(column, weights) for column in self._columns(y).T]
        self.mean, self.std = (np.array(numbers) for numbers in zip(*scales, strict=True))
        self.outputs = len(scales)
        self.what = f"targets of shape {y.shape}"

    def _columns(self, y: np.ndarray) -> np.ndarray:
        if y.dtype.kind not in "fiub":
            raise ValueError(f"y has values of type {y.dtype}: a regressor learns numbers")
        if y.shape[1:] != self.shape:
            raise ValueError(
                f"y has shape {y.shape}, in the first call its rows had shape {self.shape}: fit afresh, without warm_start"
            )
        return y.reshape(len(y), -1).astype(np.float64)

    def encode(self, y: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            scaled = (self._columns(y) / 2 - self.mean / 2) / (self.std / 2)  # a difference of two may be infinite
        if not np.abs(scaled).max(initial=0) <= FAR:
            row = int(np.argmax(np.abs(scaled).max(axis=1) > FAR))
            raise ValueError(f"y, row {row}: {y[row]} lies too far from the y that set the scale, that of the first call")
        return scaled

    def loss(self) -> Loss:
        return MeanSquaredError()

    def decode(self, outputs: np.ndarray) -> np.ndarray:
        answers = outputs * self.std + self.mean  # in float64: beside a large mean, float32 has few digits left
        return answers.astype(np.result_type(self.dtype, outputs.dtype)).reshape(len(outputs), *self.shape)
