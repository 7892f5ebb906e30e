"""Deltas by hand: the figures of the lecture, by arithmetic, by xpnet, numerically, on every device."""

import pytest
from example_helpers import load_example

import xpnet as xn

example = load_example("deltas_by_hand")

LECTURE = {
    "u1": 0.7,
    "h": 0.7,
    "y": 1.25,
    "loss": 7.5625,
    "dL/dy": -5.5,
    "delta2": -5.5,
    "dW2": -3.85,
    "db2": -5.5,
    "dh": -2.75,
    "delta1": -2.75,
    "dW1": -8.25,
    "db1": -2.75,
}
UPDATED = {"new W1": 0.1825, "new b1": 0.4275, "new W2": 0.5385, "new b2": 0.955}  # by 0.01 times the gradients


def test_by_hand_in_the_order_of_computing():
    found = {name: value for name, (_, value) in example.by_hand().items()}
    assert list(found) == [*LECTURE, *UPDATED]
    assert found == pytest.approx(LECTURE | UPDATED, abs=1e-14)


@pytest.mark.parametrize("activation", [xn.Identity, xn.ReLU])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
def test_xpnet_finds_every_quantity(device, activation, dtype, tolerance):
    found = example.by_xpnet(device, activation, dtype)
    assert found == pytest.approx(LECTURE | UPDATED, abs=tolerance)


def test_look_shows_what_passes(device):
    """The layers between are not mere ornament: with a negative u1 ReLU stops the gradient, and Look tells it."""
    seen = {}
    net = xn.Sequential(xn.Affine(1), xn.ReLU(), example.Look("h", "dh", seen), xn.Affine(1))
    net.build((1,), device=device, dtype="float64")
    net.parameters.restore({"0.W": [[-1.0]], "0.b": [0.0], "3.W": [[0.5]], "3.b": [0.0]})
    step = net.step(training=True)
    _, cache = net.forward(device.put([[3.0]]), step)
    net.backward(device.put([[2.0]]), cache, step)
    assert seen == {"h": 0.0, "dh": 1.0}
    assert device.get(net.parameters["0.W"].grad) == 0


def test_numerically():
    assert example.numerically() == pytest.approx({n: LECTURE[f"d{n}"] for n in ("W1", "b1", "W2", "b2")}, abs=1e-8)


def test_device_by_device():
    found = example.by_device(("cpu", "sim"))
    assert found["cpu"] == found["sim"] == pytest.approx([-8.25, -2.75, -3.85, -5.5], abs=1e-14)


def test_a_device_that_is_not_there_says_why():
    with pytest.raises(xn.DeviceUnavailable) as caught:
        xn.device("cuda:97")
    assert example.by_device(("cpu", "cuda:97"))["cuda:97"] == str(caught.value) != ""
