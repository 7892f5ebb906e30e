"""Learning slowly: small inputs, saturated neurons, and the book's single neuron."""

import itertools

import numpy as np
import pytest
from example_helpers import load_example

import xpnet as xn

example = load_example("learning_slowly")


def test_gradient_and_change_are_proportional_to_the_input(device):
    gradient, change = example.small_inputs(device)
    assert gradient == pytest.approx(gradient[0] * np.array([1, 0.1, 0.01, 0]), rel=1e-12)
    assert change == pytest.approx(change[0] * np.array([1, 0.1, 0.01, 0]), rel=1e-9)
    assert gradient[0] == pytest.approx(0.118235, abs=1e-6)
    assert change[0] < -1


def test_a_saturated_neuron_has_a_small_gradient_with_the_quadratic_cost_only(device):
    for z, a, slope, quadratic, cross_entropy in example.saturated(device):
        true = 1 / (1 + np.exp(-z))
        assert (a, slope) == pytest.approx((true, true * (1 - true)), rel=1e-12)
        assert quadratic == pytest.approx(true * true * (1 - true), rel=1e-9)
        assert cross_entropy == pytest.approx(true, rel=1e-12)


def test_the_single_neuron_is_the_book_s(device):
    runs = {key: outputs for key, (outputs, _) in example.single_neuron(device).items()}
    near, far = (0.6, 0.9), (2.0, 2.0)
    for (cost, start), outputs in runs.items():
        assert outputs == pytest.approx(example.in_plain_python(cost, start), abs=1e-13)
        assert len(outputs) == 301
    assert [round(runs["quadratic", near][k], 2) for k in (0, 300)] == [0.82, 0.09]
    assert [round(runs["quadratic", far][k], 2) for k in (0, 300)] == [0.98, 0.20]
    assert runs["quadratic", far][150] > 0.93  # hardly learns at first
    assert runs["quadratic", near][50] < 0.39
    assert all(runs["cross-entropy", start][50] < 0.1 for start in (near, far))


def test_costs_are_those_of_the_outputs(device):
    for (cost, _), (a, costs) in example.single_neuron(device).items():
        assert costs == pytest.approx(a**2 / 2 if cost == "quadratic" else -np.log(1 - a), rel=1e-9)


def test_a_saturated_net_learns_with_cross_entropy_only(device):
    saturated = xn.initializers.normal(5.0)
    (share, (quadratic,)), (same, (entropy,)) = (example.digits(c, saturated, device, (5,)) for c in example.COSTS)
    assert share == pytest.approx(same, abs=1e-6)
    assert share > 0.7
    assert quadratic < 0.3
    assert entropy > 0.65
    share, (good,) = example.digits("quadratic", xn.initializers.lecun_normal, device, (5,))
    assert share < 0.01
    assert good > 0.75


def test_the_first_layer_of_a_deep_sigmoid_net_learns_slowest(device):
    norms = example.by_depth(device, xn.Sigmoid, xn.initializers.lecun_normal)
    assert len(norms) == 5
    assert all(a < 0.5 * b for a, b in itertools.pairwise(norms))
    flat = example.by_depth(device, xn.ReLU, xn.initializers.he_normal)
    assert max(flat) < 2 * min(flat)
