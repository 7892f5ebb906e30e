"""The perceptron: its rule, what it cannot learn, and XOR by a hidden layer."""

from __future__ import annotations

import numpy as np
import pytest
from example_helpers import load_example

import xpnet as xn

example = load_example("perceptron")


@pytest.mark.parametrize("name", ["AND", "OR", "NAND"])
def test_it_learns_what_a_line_separates(name: str, device) -> None:
    assert tuple(example.perceptron(name, device)) == example.WANTED[name]


def test_it_does_not_learn_xor(device) -> None:
    assert tuple(example.perceptron("XOR", device)) != example.WANTED["XOR"]


def test_the_rule_is_rosenblatt_s(device, rng) -> None:
    """One row, rate 0.5: W += 0.5 (t - step(u)) x, and nothing where the answer is right."""
    for t in (0.0, 1.0):
        net = xn.Sequential(xn.Affine(1)).build(2, device=device, dtype="float64")
        start, x = net.parameters.snapshot(), rng.standard_normal((1, 2))
        error = t - float((x @ start["0.W"] + start["0.b"]).item() > 0)
        trainer = xn.Trainer(net, loss=example.PerceptronRule(), optimizer=xn.SGD(0.5), device=device)
        trainer.step(device.put(x), device.put([[t]], "float64"))
        np.testing.assert_allclose(net.parameters.snapshot()["0.W"], start["0.W"] + 0.5 * error * x.T, atol=1e-15)
        np.testing.assert_allclose(net.parameters.snapshot()["0.b"], start["0.b"] + 0.5 * error, atol=1e-15)


def test_activations_and_their_slopes(device) -> None:
    u = np.array([-2.0, -1, 0, 1, 2])
    s = 1 / (1 + np.exp(-u))
    wanted = {"Sigmoid": (s, s * (1 - s)), "Tanh": (np.tanh(u), 1 - np.tanh(u) ** 2), "Identity": (u, 1 + 0 * u)}
    wanted["ReLU"] = u * (u > 0), u > 0
    for name, (value, slope) in wanted.items():
        z, found = example.activation(name, device)
        np.testing.assert_allclose(z, value, atol=1e-6)
        np.testing.assert_allclose(found, slope, atol=1e-6)
    z, slope = example.activation("Step", device)
    assert z.tolist() == [0, 0, 0, 1, 1]
    assert slope is None


def test_xor(device) -> None:
    assert example.by_hand(device)(example.INPUTS).tolist() == [0, 1, 1, 0]
    np.testing.assert_allclose(example.trained([], device)(example.INPUTS), 0.5, atol=1e-3)
    np.testing.assert_allclose(example.trained([xn.Affine(8), xn.Tanh()], device)(example.INPUTS), [0, 1, 1, 0], atol=0.01)
