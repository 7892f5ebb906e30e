"""Deltas by hand: the figures of the lecture, by arithmetic, by xpnet, numerically, on every device."""

import importlib.util
import sys
from pathlib import Path

import pytest

import xpnet as xn

PATH = Path(__file__).parents[2] / "examples" / "deltas_by_hand.py"


@pytest.fixture(scope="module")
def example():
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("example_deltas_by_hand", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def output(example, monkeypatch, capsys, *arguments):
    """What the example prints when it is called with these arguments."""
    monkeypatch.setattr(sys, "argv", [str(PATH), *arguments])
    example.main()
    return capsys.readouterr().out


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


def test_by_hand_in_the_order_of_computing(example):
    found = {name: value for name, (_, value) in example.by_hand().items()}
    assert list(found) == list(LECTURE)
    assert found == pytest.approx(LECTURE, abs=1e-14)


@pytest.mark.parametrize("activation", [xn.Identity, xn.ReLU])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-14), ("float32", 1e-6)])
def test_xpnet_finds_every_quantity(example, device, activation, dtype, tolerance):
    found = example.by_xpnet(device, activation, dtype)
    assert found == pytest.approx(LECTURE, abs=tolerance)


def test_look_shows_what_passes(example, device):
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


def test_numerically(example):
    assert example.numerically() == pytest.approx({n: LECTURE[f"d{n}"] for n in ("W1", "b1", "W2", "b2")}, abs=1e-8)


def test_device_by_device(example):
    found = example.by_device(("cpu", "sim"))
    assert found["cpu"] == found["sim"] == pytest.approx([-8.25, -2.75, -3.85, -5.5], abs=1e-14)


def test_a_device_that_is_not_there_says_why(example):
    with pytest.raises(xn.DeviceUnavailable) as caught:
        xn.device("cuda:97")
    assert example.by_device(("cpu", "cuda:97"))["cuda:97"] == str(caught.value) != ""


def test_it_prints_the_same_on_cpu_and_sim(example, monkeypatch, capsys):
    cpu, sim = (output(example, monkeypatch, capsys, "--device", name) for name in ("cpu", "sim"))
    assert cpu == sim
    assert cpu.endswith("\n-8.25, -2.75, -3.85, -5.5\n")
    for name, value in LECTURE.items():
        assert [line for line in cpu.splitlines() if line.split()[:1] == [name] and line.count(f" {value:g} ") == 3]
    assert '"cuda" the current one of several GPUs' in example.__doc__
    gradients = ["-8.25", "-2.75", "-3.85", "-5.5"]
    assert all(
        any(row.startswith(d) and row.split()[-4:] == gradients for row in cpu.splitlines()) for d in ("the CPU", "the sim")
    )
