"""Figures of Nielsen's book on real MNIST."""

from __future__ import annotations

import numpy as np
import pytest

import xpnet as xn


def book_net(hidden: int) -> xn.Sequential:
    """784-hidden-10 with every weight and bias drawn from N(0, 1), as in chapter 1."""
    start = {"init": xn.initializers.normal(), "bias_init": xn.initializers.normal()}
    return xn.Sequential(xn.Affine(hidden, **start), xn.Sigmoid(), xn.Affine(10, **start), xn.Sigmoid())


@pytest.mark.slow
def test_quadratic_cost_with_30_hidden_neurons_reaches_the_books_accuracy(mnist: xn.datasets.Dataset) -> None:
    """Row Q30: 95.42 % on the test set at the best of 30 epochs, batch 10, eta 3, 50,000 training images."""
    x, y = mnist.x_train[:50_000], xn.datasets.one_hot(mnist.y_train[:50_000], 10)
    best = []
    for seed in range(3):
        trainer = xn.Trainer(
            book_net(30), loss=xn.HalfSquaredError(), optimizer=xn.SGD(3.0), device="cpu", seed=seed, metrics=["accuracy"]
        )
        history = trainer.fit(
            x, y, epochs=30, batch_size=10, validation=(mnist.x_test, xn.datasets.one_hot(mnist.y_test, 10)), progress=False
        )
        best.append(max(history["validation_accuracy"]))
    print("best epochs", best, "mean", np.mean(best))
    assert abs(100 * np.mean(best) - 95.42) <= 0.4
