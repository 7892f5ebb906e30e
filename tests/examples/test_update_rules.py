"""The four rules of update follow their formulas, and rank on digits as the example says."""

from __future__ import annotations

import numpy as np
import pytest
from example_helpers import load_example

import xpnet as xn

example = load_example("update_rules")


def test_the_layer_and_the_loss_are_right() -> None:
    xn.gradcheck(example.Point(), (2,))
    xn.gradcheck(example.Bowl(), (2,))
    assert example.bowl(np.array([-7, 2])) == pytest.approx(6.45)


@pytest.mark.parametrize("name", example.RULES)
def test_the_path_is_the_formula_s(name: str, device) -> None:
    path = example.descend(name, device.name)
    assert path.shape == (31, 2)
    np.testing.assert_allclose(path, example.by_formula(name), rtol=0, atol=1e-12)


def test_sgd_in_closed_form() -> None:
    """Each step multiplies x by 1 - rate / 10 and y by 1 - 2 rate."""
    k = np.arange(31)
    np.testing.assert_allclose(example.descend("SGD", "cpu"), np.transpose([-7 * 0.905**k, 2 * (-0.9) ** k]), rtol=1e-12)


def test_first_steps_by_hand() -> None:
    """AdaGrad's and Adam's first step is the rate along each axis, whatever the slope; momentum's is plain."""
    first = {name: example.descend(name, "cpu", steps=1)[1] for name in example.RULES}
    np.testing.assert_allclose(first["SGD"], [-7 + 0.95 * 0.7, 2 - 0.95 * 4], rtol=1e-12)
    np.testing.assert_allclose(first["Momentum"], [-6.93, 1.6], rtol=1e-12)
    np.testing.assert_allclose(first["AdaGrad"], [-5.5, 0.5], rtol=1e-8)
    np.testing.assert_allclose(first["Adam"], [-6.7, 1.7], rtol=1e-7)


def test_the_four_rules_on_digits() -> None:
    """The whole training set, 5 epochs, 2 of the 5 seeds: at the usual rates momentum leads and plain SGD is last."""
    found = {name: [example.on_digits(name, "cpu", None, 5, seed) for seed in (0, 1)] for name in example.RULES}
    means = {name: np.mean([accuracy for _, accuracy in runs]) for name, runs in found.items()}
    assert sorted(means, key=means.get) == ["SGD", "Adam", "AdaGrad", "Momentum"]
    assert means["SGD"] < 0.6
    assert means["Momentum"] > 0.91
    assert found["Adam"][0] != found["Adam"][1]
