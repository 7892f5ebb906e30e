"""Dropout: its rate, its masks, where it is in training and in inference."""

import copy
import math

import numpy as np
import pytest
from helpers import close, network, numbers, run

import xpnet as xn

DTYPES = ("float32", "float64")
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def masks(net, x, number=None, row=0, training=True):
    """Which elements a pass keeps."""
    step = net.step(training=training, number=number, row=row)
    return net.device.get(net.forward(net.device.put(x, net.parameters.dtype), step)[0]) != 0


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
@every_dtype
def test_dropout_rate_and_scale(rate, dtype, device):
    x = np.full((400, 250), 3.0, dtype)
    found = run(network(xn.Dropout(rate), (250,), device, dtype), x, x)
    dropped = found.y == 0
    n = x.size
    assert abs(dropped.mean() - rate) < 4 * math.sqrt(rate * (1 - rate) / n)
    assert found.y.dtype == dtype
    np.testing.assert_allclose(found.y[~dropped], 3 / (1 - rate), rtol=1e-6)
    assert found.dx.tobytes() == found.y.tobytes()  # the same mask and scale backwards


def test_dropout_has_no_pattern_by_row_or_column(device):
    kept = masks(network(xn.Dropout(0.5), (300,), device), np.ones((300, 300)))
    for axis in (0, 1):
        spread = kept.mean(axis=axis).std() / math.sqrt(0.25 / 300)
        assert 0.8 < spread < 1.2


def test_dropout_mask_is_that_of_the_cpu(device):
    x = np.ones((33, 17))
    nets = [network(xn.Sequential(xn.Dropout(0.4), xn.Dropout(0.3)), (17,), where, seed=5) for where in ("cpu", device)]
    for _ in range(3):
        cpu, here = (masks(net, x) for net in nets)
        assert (cpu == here).all()
        assert 0 < cpu.mean() < 1


def test_dropout_mask_is_a_function_of_seed_step_and_layer(device):
    x = np.ones((40, 25))
    first, again, other_seed = (network(xn.Dropout(0.5), (25,), device, seed=seed) for seed in (1, 1, 2))
    a, b, c = masks(first, x), masks(first, x), masks(first, x, number=0)
    assert (a == masks(again, x)).all()
    assert (a == c).all()  # the same step number
    assert 0.4 < (a != b).mean() < 0.6  # the next step
    assert 0.4 < (a != masks(other_seed, x, number=0)).mean() < 0.6


def test_dropout_masks_of_two_layers_differ(device):
    x = np.ones((40, 25))
    net = network(xn.Sequential(xn.Dropout(0.5), xn.Dropout(0.5)), (25,), device)
    assert 0.2 < masks(net, x, number=0).mean() < 0.3  # a quarter is left: independent, not the same half twice


def test_dropout_mask_is_the_same_in_both_precisions(device):
    x = np.ones((40, 25))
    a, b = (masks(network(xn.Dropout(0.5), (25,), device, dtype), x) for dtype in DTYPES)
    assert (a == b).all()


def test_dropout_mask_by_position_in_the_batch(device):
    """Row i of a batch has the mask that it has on its own: what makes per-sample backprop equal to the minibatch."""
    x = np.ones((9, 5))  # 5 is no divisor of the generator's block of 8
    net = network(xn.Dropout(0.5), (5,), device)
    whole = masks(net, x, number=3)
    for i in range(len(x)):
        assert (masks(net, x[i : i + 1], number=3, row=i) == whole[i]).all()
    assert (masks(net, x[4:], number=3, row=4) == whole[4:]).all()


def test_dropout_per_sample_equals_minibatch(device, rng):
    net = network(xn.Sequential(xn.Affine(7), xn.Dropout(0.5), xn.Tanh(), xn.Dropout(0.3), xn.Affine(2)), (3,), device)
    other = copy.deepcopy(net)
    x, y = device.put(rng.standard_normal((6, 3))), device.put(rng.standard_normal((6, 2)))
    loss = xn.MeanSquaredError()
    for _ in range(2):  # two steps, as both must go on to the next masks alike
        value = device.get(xn.backward_per_sample(net, loss, x, y))
        step = other.step(training=True)
        out, cache = other.forward(x, step)
        whole, dy = loss(out, y, step)
        other.backward(dy, cache, step)
        close(value, device.get(whole), 1e-12)
        close(device.get(net.parameters.grad), device.get(other.parameters.grad), 1e-12)


def test_dropout_is_off_in_inference_and_at_rate_0(device, rng):
    x = rng.standard_normal((5, 4))
    assert numbers(network(xn.Dropout(0.9), (4,), device), x, training=False).tobytes() == x.tobytes()
    found = run(network(xn.Dropout(0), (4,), device), x, x)
    assert found.y.tobytes() == found.dx.tobytes() == x.tobytes()


def test_inference_draws_no_masks(device):
    x = np.ones((40, 25))
    net, other = (network(xn.Dropout(0.5), (25,), device) for _ in range(2))
    net.predict(x)
    numbers(net, x, training=False)
    assert (masks(net, x) == masks(other, x)).all()


def test_dropout_numerical_differentiation(device):
    assert xn.gradcheck(xn.Sequential(xn.Affine(6), xn.Dropout(0.5), xn.Affine(2)), 4, device=device).skipped == 0


def test_dropout_empty_batch(device):
    found = run(network(xn.Dropout(0.5), (4,), device), np.empty((0, 4)))
    assert found.y.shape == found.dx.shape == (0, 4)
