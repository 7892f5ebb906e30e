"""Vanishing gradients: the bound holds for every layer, depth and start; the deltas are right; the cures cure."""

import numpy as np
import pytest
from example_helpers import load_example

import xpnet as xn

example = load_example("vanishing_gradients")
PLAIN = {name: chain for name, chain in (example.CHAINS | example.CURES).items() if not chain.cure}


@pytest.mark.parametrize("name", PLAIN)
def test_every_layer_is_under_its_bound(name, device):
    for depth in example.DEPTHS:
        norms, bounds = example.look(PLAIN[name], depth, device)
        assert norms.shape == bounds.shape == (depth + 1,)
        assert (norms > 0).all()
        assert norms[-1] == bounds[-1]
        assert (norms[:-1] < bounds[:-1]).all()


def test_the_bound_is_reached_where_every_slope_is_the_steepest():
    """z = 0 everywhere and orthogonal weights: the sigmoid's slope is 1/4, and no product loses any length."""
    chain, x = example.Chain(xn.Sigmoid, 1), np.zeros((5, 64))
    net = example.net_of(chain, 6).build(64, dtype="float64")
    start = net.parameters.snapshot()
    q = np.linalg.qr(np.random.default_rng(0).standard_normal((64, 64)))[0]
    weights = [name for name in start if name.endswith("W")]
    for name in weights[1:]:  # z_l = 1/2 * W_l summed over its rows + b_l = 0
        w = q[:, : start[name].shape[1]]
        start |= {name: w, name.replace("W", "b"): -w.sum(axis=0) / 2}
    net.parameters.restore(start)
    step = net.step(training=True)
    _, cache = net.forward(x, step)
    net.backward(np.random.default_rng(1).standard_normal((5, 10)), cache, step)
    norms = [np.linalg.norm(layer.kept) for layer in net.walk() if isinstance(layer, example.Delta)]
    assert norms[0] == pytest.approx(0.25**6 * norms[-1], rel=1e-12)


@pytest.mark.parametrize("name", example.CURES)
def test_deltas_are_the_gradients_of_the_biases_row_by_row(name, device):
    """A bias is added to z, so that its gradient is delta summed over the rows: of the first layer, and of the last."""
    data, chain = xn.datasets.digits(), example.CURES[name]
    net = example.net_of(chain, 3).build(64, device=device, dtype="float64")
    step = net.step(training=True)
    outputs, cache = net.forward(net.device.put(data.x_train[:50], "float64"), step)
    net.backward(xn.SoftmaxCrossEntropy()(outputs, net.device.put(data.y_train[:50]), step)[1], cache, step)
    deltas = [net.device.get(layer.kept) for layer in net.walk() if isinstance(layer, example.Delta)]
    biases = [net.device.get(p.grad) for path, p in net.parameters.items() if path.endswith(".b")]
    assert [len(d) for d in deltas] == [50] * 4
    for delta, gradient in zip(deltas, biases, strict=True):
        np.testing.assert_allclose(delta.sum(axis=0), gradient, rtol=1e-10, atol=1e-15)


def test_gradients_vanish_and_explode():
    """From 5 to 20 hidden layers: by more than a factor a layer, one way or the other."""
    lost = {name: [example.look(chain, depth, "cpu")[0][0] for depth in (5, 20)] for name, chain in example.CHAINS.items()}
    factor = {name: (deep / shallow) ** (1 / 15) for name, (shallow, deep) in lost.items()}
    assert factor["sigmoid, N(0, 0.1/n)"] < 0.12
    assert factor["sigmoid, N(0, 1/n)"] < 0.25
    assert factor["ReLU, N(0, 0.5/n)"] == pytest.approx(0.5, abs=0.05)
    assert factor["sigmoid, N(0, 900/n)"] > 1.5
    assert factor["ReLU, N(0, 8/n)"] == pytest.approx(2, abs=0.2)


def test_each_cure_lifts_the_first_layer_s_gradient():
    sick, *cured = (example.look(chain, example.DEPTH, "cpu")[0][0] for chain in example.CURES.values())
    assert sick < 1e-13
    assert min(cured) > 1e8 * sick
    assert sorted(cured)[1] > 1e11 * sick  # all but the larger weights


def test_a_cured_net_learns():
    sick, normed = (
        example.learn(example.CURES[name], "cpu", 2) for name in ("none: sigmoid, N(0, 1/n)", "sigmoid, batch norm")
    )
    assert sick < 0.15
    assert normed > 0.85
