"""What the tests of the trainer share."""

from __future__ import annotations

import numpy as np

import xpnet as xn


def make(device="cpu", *, dropout=0.2, loss=None, optimizer=None, outputs=3, seed=0, **options):
    """A trainer of a network with 8 hidden units."""
    layers = [xn.Affine(8), xn.Tanh(), *([xn.Dropout(dropout)] if dropout else []), xn.Affine(outputs)]
    return xn.Trainer(
        xn.Sequential(*layers),
        loss=loss or xn.SoftmaxCrossEntropy(),
        optimizer=optimizer or xn.Adam(0.01),
        device=device,
        seed=seed,
        **options,
    )


def timeless(history):
    """The history without the column that no two runs share."""
    return {name: column for name, column in history.items() if name != "seconds"}


def softmax_loss(logits, labels, weights=None):
    """The mean cross-entropy by its definition."""
    z = logits.astype(np.float64)
    z = z - z.max(axis=1, keepdims=True)
    terms = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]
    return np.average(terms, weights=weights)


class Diary(xn.Callback):
    """Writes down what it is called with; raises or stops at a given epoch."""

    def __init__(self, stop=None, fail=None):
        self.stop, self.fail, self.events = stop, fail, []

    def begin(self, trainer):
        self.events.append("begin")

    def __call__(self, trainer, record):
        self.events.append(record["epoch"])
        if record["epoch"] == self.fail:
            raise RuntimeError("planned")
        return record["epoch"] == self.stop

    def finish(self, trainer):
        self.events.append("finish")


LOSSES = [
    (xn.SoftmaxCrossEntropy(), "labels"),
    (xn.SoftmaxCrossEntropy(label_smoothing=0.1, class_weights=[1, 2, 3]), "labels"),
    (xn.SoftmaxCrossEntropy(), "numbers"),
    (xn.SigmoidCrossEntropy(), "numbers"),
    (xn.MeanSquaredError(), "numbers"),
    (xn.HalfSquaredError(), "numbers"),
]
LOSS_IDS = ["softmax", "softmax smoothed and weighted", "softmax of probabilities", "sigmoid", "mean squared", "half squared"]


def targets_for(kind, labels):
    return labels if kind == "labels" else np.eye(3)[labels]
