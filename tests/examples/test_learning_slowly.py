"""Learning slowly: small inputs, saturated neurons, and the book's single neuron."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn

PATH = Path(__file__).parents[2] / "examples" / "learning_slowly.py"


@pytest.fixture(scope="module")
def example():
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("example_learning_slowly", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def output(example, monkeypatch, capsys, *arguments):
    """What the example prints when it is called with these arguments."""
    monkeypatch.setattr(sys, "argv", [str(PATH), *arguments])
    example.main()
    return capsys.readouterr().out


def test_gradient_and_change_are_proportional_to_the_input(example, device):
    gradient, change = example.small_inputs(device)
    assert gradient == pytest.approx(gradient[0] * np.array([1, 0.1, 0.01, 0]), rel=1e-12)
    assert change == pytest.approx(change[0] * np.array([1, 0.1, 0.01, 0]), rel=1e-9)
    assert gradient[0] == pytest.approx(0.118235, abs=1e-6)
    assert change[0] < -1


def test_a_saturated_neuron_has_a_small_gradient_with_the_quadratic_cost_only(example, device):
    for z, a, slope, quadratic, cross_entropy in example.saturated(device):
        true = 1 / (1 + np.exp(-z))
        assert (a, slope) == pytest.approx((true, true * (1 - true)), rel=1e-12)
        assert quadratic == pytest.approx(true * true * (1 - true), rel=1e-9)
        assert cross_entropy == pytest.approx(true, rel=1e-12)


def test_the_single_neuron_is_the_book_s(example, device):
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


def test_costs_are_those_of_the_outputs(example, device):
    for (cost, _), (a, costs) in example.single_neuron(device).items():
        assert costs == pytest.approx(a**2 / 2 if cost == "quadratic" else -np.log(1 - a), rel=1e-9)


def test_a_saturated_net_learns_with_cross_entropy_only(example, device):
    saturated = xn.initializers.normal(5.0)
    (share, (quadratic,)), (same, (entropy,)) = (example.digits(c, saturated, device, (5,)) for c in example.COSTS)
    assert share == pytest.approx(same, abs=1e-6)
    assert share > 0.7
    assert quadratic < 0.3
    assert entropy > 0.65
    share, (good,) = example.digits("quadratic", xn.initializers.lecun_normal, device, (5,))
    assert share < 0.01
    assert good > 0.75


def test_it_prints_the_same_on_cpu_and_sim(example, monkeypatch, capsys):
    cpu, sim = (output(example, monkeypatch, capsys, "--quick", "--device", name) for name in ("cpu", "sim"))
    assert cpu == sim
    assert "quadratic       (2.0, 2.0)      0.9820  0.9759  0.9641  0.9334  0.7887  0.3572  0.2028\n" in cpu
    assert "equal to 12 digits" in cpu


@pytest.mark.extras
def test_picture(example, tmp_path):
    pytest.importorskip("matplotlib")
    example.picture(example.single_neuron("cpu"), tmp_path / "slow.png")
    assert (tmp_path / "slow.png").read_bytes()[:4] == b"\x89PNG"
