"""Cross-entropy of independent yes-or-no outputs."""

from __future__ import annotations

import math
from typing import Any

from xpnet.backends.device import Array, DTypeLike
from xpnet.checks import check_unit_interval
from xpnet.layers.activations import sigmoid, softplus
from xpnet.losses.base import Loss, per_row, scale
from xpnet.step import Pass


class SigmoidCrossEntropy(Loss):
    """Binary cross-entropy of independent outputs, from logits: ``mean of max(z, 0) - z t + log(1 + exp(-|z|))``.

    logits z and targets t in [0, 1], both (N, ...) of one shape; mean over all elements, as in
    PyTorch's ``BCEWithLogitsLoss``; gradient ``(sigmoid(z) - t) / (N * elements of a row)``.
    """

    contains = ("Sigmoid",)
    metrics = ("binary_accuracy",)

    def prepare(self, targets: Array, dtype: DTypeLike, outputs: tuple[int, ...]) -> Array:
        targets = super().prepare(targets, dtype, outputs)
        check_unit_interval(targets, "SigmoidCrossEntropy: targets")
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
