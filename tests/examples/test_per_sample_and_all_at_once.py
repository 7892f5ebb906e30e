"""One sample at a time and all at once: the three forms agree, and the timings are those of whole steps."""

from __future__ import annotations

import numpy as np
import pytest
import threadpoolctl
from example_helpers import load_example

import xpnet as xn
from xpnet.book import Network

example = load_example("per_sample_and_all_at_once")


def test_the_gradients_of_all_forms_are_equal(device) -> None:
    found = example.gradients(device.name)
    assert list(found) == ["book", "matrix", "xpnet", "xpnet, per_sample=True"]
    for grads in found.values():
        assert [g.shape for g in grads] == [(30, 64), (30, 1), (10, 30), (10, 1)]
    worst = example.differences(found)
    assert max(max(d) for d in worst.values()) < 5e-15
    assert all(np.abs(g).max() > 1e-4 for g in found["book"])


def test_the_comparison_can_fail() -> None:
    found = example.gradients("cpu")
    found["matrix"][2] = found["matrix"][2] * 10  # the sum instead of the mean
    assert example.differences(found)["matrix"][2] == pytest.approx(9)


def test_three_layers_of_weights(rng) -> None:
    """The matrix form holds for any depth: three updates of 6-5-4-3 beside the book's."""
    book = Network([6, 5, 4, 3], seed=1)
    matrix = example.MatrixNetwork(book)
    for _ in range(3):
        x, y = rng.random((7, 6)), rng.random((7, 3))
        book.update_mini_batch(example.pairs(x, y), 2.0)
        matrix.update_mini_batch(x.T, y.T, 2.0)
    for a, b in zip([*book.weights, *book.biases], [*matrix.weights, *matrix.biases], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)
    assert np.abs(book.weights[0] - Network([6, 5, 4, 3], seed=1).weights[0]).max() > 1e-3


def test_the_curves_are_the_same(device) -> None:
    right = example.curves(device.name, epochs=3)
    assert right == {form: [282, 292, 320] for form in ("book", "matrix", "xpnet")}


def test_the_time_of_a_step() -> None:
    with threadpoolctl.threadpool_limits(1):
        found = example.seconds_per_step("cpu", 100, 0.05)
    assert list(found) == ["book", "matrix", "xpnet", "xpnet float32"]
    assert 0 < found["matrix"] < found["book"]  # a hundred passes against one
    assert 0 < found["xpnet"] < found["book"]


def test_a_timed_step_updates() -> None:
    network = Network([784, 30, 10], seed=0)
    trainer = example.xpnet_trainer(network, 3.0, "cpu")
    example.step_of(trainer, np.full((2, 784), 0.5), np.eye(10)[:2])()
    assert np.abs(trainer.net.parameters["0.W"].value - network.weights[0].T).max() > 1e-6
    assert trainer.net.parameters.dtype == "float64"
    assert example.xpnet_trainer(network, 3.0, "cpu", "float32").net.parameters.dtype == "float32"


def test_the_device_is_the_one_asked_for(device) -> None:
    trainer = example.xpnet_trainer(Network([4, 3, 2], seed=0), 1.0, device.name)
    assert isinstance(trainer, xn.Trainer)
    assert trainer.device == device


def test_the_book_s_program_trains(capsys: pytest.CaptureFixture) -> None:
    """``SGD`` and ``evaluate``, which a learner calls."""
    x, y, x_test, y_test = example.digits()
    net, training = Network([64, 30, 10], seed=0), example.pairs(x, y)
    test = [(a[:, None], label) for a, label in zip(x_test, y_test, strict=True)]
    net.SGD(training, 2, 10, 3.0, test)
    right = int((net.feedforward(x_test.T).argmax(axis=0) == y_test).sum())
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"Epoch 2: {right} / 360"
    assert lines[0].startswith("Epoch 1: ")
    assert right > 250
