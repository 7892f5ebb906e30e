"""Which colour is it: the talk's figures, and that every setting does what the example says of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from example_helpers import load_example

import xpnet as xn

example = load_example("which_color")


@pytest.fixture(scope="module")
def data() -> xn.datasets.Dataset:
    return xn.datasets.colors()


def test_the_affine_figure(device) -> None:
    assert example.affine_by_hand(device) == pytest.approx(54.1, abs=1e-12)


def test_the_softmax_figure(device) -> None:
    np.testing.assert_allclose(example.softmax_by_hand(device), [0.00493969, 0.0054592, 0.98960111], atol=5e-9)


def test_the_four_colours_of_the_talk(data, device) -> None:
    trainer, accuracy = example.train(data, device)
    assert accuracy == 1
    assert example.names(trainer, data, example.SHOWN) == ["red", "green", "blue", "red"]
    assert [p.size for p in trainer.net.parameters.trainable] == [150, 50, 5000, 100, 5000, 50, 150, 3]  # 3-50-100-50-3


def test_raw_inputs_do_not_learn_and_normalised_ones_do(data) -> None:
    found = example.compare_inputs(data, "cpu", epochs=30)
    assert all(math.isnan(loss[-1]) or 1.09 < loss[-1] < 1.1 for loss, _ in found["raw"])  # ln 3: the same answer for all
    assert all(accuracy < 0.5 for _, accuracy in found["raw"])
    assert all(loss[-1] < 0.05 and accuracy == 1 for loss, accuracy in found["normalised"])


def test_the_sweep(data) -> None:
    found = example.sweep(data, "cpu", epochs=10)
    assert list(found) == [(0, 0), (1, 5), (1, 50), (2, 5), (2, 50), (3, 5), (3, 50)]
    for layers in (1, 2, 3):
        slowest, slow, good, _ = found[layers, 50]
        assert slow < found[layers, 5][1]  # more nodes learn quicker
        assert good < slow < slowest  # too small a rate is slow
