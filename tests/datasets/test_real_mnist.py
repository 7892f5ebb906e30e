"""Real MNIST, where XPNET_DATA names a folder that has it: its figures, and the book's program step by step."""

from __future__ import annotations

import numpy as np
import pytest

import xpnet as xn
from xpnet.book import Network
from xpnet.datasets import one_hot


def test_shapes_and_counts(mnist):
    assert (mnist.x_train.shape, mnist.x_test.shape) == ((60_000, 784), (10_000, 784))
    assert np.bincount(mnist.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(mnist.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert mnist.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert mnist.y_test[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]


def test_pixels(mnist):
    assert (mnist.x_train.min(), mnist.x_train.max()) == (0, 1)
    assert mnist.x_train.mean() == pytest.approx(0.1307, abs=1e-4)
    assert mnist.x_train.std() == pytest.approx(0.3081, abs=1e-4)


def test_against_the_book_step_by_step(device, mnist):
    """300 minibatches of 10: the parameters of the matrix form and of the book's per-sample program stay equal."""
    sizes, eta = [784, 30, 10], 3.0
    x = mnist.x_train[:3000].astype(np.float64)
    y = one_hot(mnist.y_train[:3000], 10, "float64")
    book = Network(sizes, seed=7)
    net = xn.Sequential(xn.Affine(30), xn.Sigmoid(), xn.Affine(10), xn.Sigmoid())
    net.build((784,), device=device, dtype="float64")
    net.parameters.restore(as_parameters(book))
    start = as_parameters(book)
    trainer = xn.Trainer(net, loss=xn.HalfSquaredError(), optimizer=xn.SGD(eta), device=device)
    worst = 0.0
    for k in range(300):
        rows = slice(10 * k, 10 * k + 10)
        book.update_mini_batch([(a[:, None], b[:, None]) for a, b in zip(x[rows], y[rows], strict=True)], eta)
        trainer.step(device.put(x[rows]), device.put(y[rows]))
        if k % 50 == 49:
            found = net.parameters.snapshot()
            worst = max(worst, *(np.abs(found[name] - a).max() for name, a in as_parameters(book).items()))
    assert worst < 1e-9
    assert all(np.abs(a - start[name]).max() > 0.1 for name, a in as_parameters(book).items())
    guesses = trainer.predict(x[:200]).argmax(axis=1)
    assert guesses.tolist() == [int(book.feedforward(a[:, None]).argmax()) for a in x[:200]]


def as_parameters(book):
    """The weights and biases of the book's network by xpnet's names and in its shapes."""
    found = {}
    for k, (w, b) in enumerate(zip(book.weights, book.biases, strict=True)):
        found[f"{2 * k}.W"], found[f"{2 * k}.b"] = w.T.copy(), b[:, 0].copy()
    return found
