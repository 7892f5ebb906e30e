"""Own pieces: layer and loss proved by gradcheck, the optimizer by its formula, equal results on cpu and sim."""

import numpy as np
import pytest
from example_helpers import load_example

import xpnet as xn

example = load_example("own_pieces")


def test_layer_and_loss_are_proved(device):
    x = np.array([[-30.0, -2.0, 0.0], [0.5, 3.0, 40.0]])
    assert xn.gradcheck(example.Swish(), x=x, device=device)
    check = xn.gradcheck(example.Huber(0.5), x=np.array([[0.1, 3.0], [-2.0, 0.3]]), y=np.zeros((2, 2)), device=device)
    assert check.worst.error < 1e-8


def test_swish_by_silu(device):
    """``swish(x) = silu(beta x) / beta``."""
    x, beta = np.linspace(-5, 5, 22).reshape(-1, 2), np.array([1.0, 0.25])
    swish, silu = (xn.Sequential(f()).build(2, device=device, dtype="float64") for f in (example.Swish, xn.SiLU))
    swish.parameters.restore({"0.beta": beta})
    assert swish.predict(x) == pytest.approx(silu.predict(x * beta) / beta, abs=1e-15)


def test_huber_by_its_two_cases(device):
    net = xn.Sequential(xn.Identity()).build(2, device=device, dtype="float64")
    step = net.step(training=True)
    y, _ = net.forward(device.put(np.array([[0.2, -3.0], [1.0, 2.0]])), step)
    weights = device.put(np.array([1.0, 3.0]))
    value, dy = example.Huber(0.5)(y, device.put(np.array([[0.0, 0.0], [1.0, 1.0]])), step, weights)
    terms = np.array([[0.02, 0.5 * 2.75], [0.0, 3 * 0.5 * 0.75]])
    assert float(device.get(value)) == pytest.approx(terms.sum() / (4 * 2))
    assert device.get(dy) == pytest.approx(np.array([[0.2, -0.5], [0.0, 1.5]]) / (4 * 2))


def test_per_sample_form_agrees(device):
    """The loss divides by the count that it is given, so that batch-one passes add up to the minibatch."""
    gradients = []
    x, y = (device.put(a, "float64") for a in example.curve()[:2])
    for per_sample in (False, True):
        net = xn.Sequential(xn.Affine(8), example.Swish(), xn.Affine(1)).build(1, device=device, dtype="float64")
        trainer = xn.Trainer(net, loss=example.Huber(), optimizer=example.Lion(0.01), device=device)
        trainer.step(x[:7], y[:7], per_sample=per_sample)
        gradients.append(device.get(net.parameters.grad))
    assert gradients[0] == pytest.approx(gradients[1], abs=1e-14)
    assert abs(gradients[0]).max() > 1e-3


def test_optimizer_follows_its_formula(device):
    assert example.lion_against_formula(device) < 1e-14
    # two steps on paper: m = 0, then 0.01 g
    assert example.lion_by_hand([1.0], [[2.0], [-0.1]], 0.1) == [[pytest.approx(0.9)], [pytest.approx(0.8)]]
    assert example.lion_by_hand([1.0], [[2.0], [-0.5]], 0.1) == [[pytest.approx(0.9)], [pytest.approx(1.0)]]


def test_optimizer_leaves_the_gradient_and_takes_options(device):
    net = xn.Sequential(xn.Affine(1)).build(2, device=device, dtype="float64")
    p, optimizer = net.parameters, example.Lion(0.1, weight_decay=0.5)
    p.grad[...] = device.put(np.array([1.0, -1.0, 0.5]))
    before = device.get(p.value)
    optimizer.update(p)
    assert device.get(p.grad).tolist() == [1.0, -1.0, 0.5]
    assert device.get(p.value) == pytest.approx(before * [0.95, 0.95, 1] - 0.1 * np.array([1, -1, 1]))


def test_the_mistake_is_found_where_it_is(device):
    text = example.message_of(example.ForgetfulSwish(), device)
    assert text.startswith("the gradient of ForgetfulSwish() is not that of its forward pass:\ninput")
    assert "DIFFERENT" in text
    assert example.message_of(example.Swish(), device) == "nothing was found"


def test_training_is_equal_on_cpu_and_sim_and_outliers_pull_less():
    (value, rmse, predicted), (sim_value, sim_rmse, sim_predicted) = (
        example.train(d, example.Huber(0.5)) for d in ("cpu", "sim")
    )
    assert (value, rmse) == (sim_value, sim_rmse)
    assert np.array_equal(predicted, sim_predicted)
    assert predicted.dtype == np.float32
    assert rmse < 0.1
    assert example.train("cpu", xn.MeanSquaredError())[1] > 0.5


def test_a_step_hides_nothing():
    assert example.crossings() == (0, 0)
