"""Numerical differentiation: equal gradients, the best step, the number of forward passes."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn

PATH = Path(__file__).parents[2] / "examples" / "numerical_differentiation.py"


@pytest.fixture(scope="module")
def example():
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("example_numerical_differentiation", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def output(example, monkeypatch, capsys, *arguments):
    """What the example prints when it is called with these arguments."""
    monkeypatch.setattr(sys, "argv", [str(PATH), *arguments])
    example.main()
    return capsys.readouterr().out


def test_it_finds_what_backpropagation_finds(example, device):
    rows = example.compare(device)
    assert [(name, shape) for name, shape, _ in rows] == [("0.W", (8, 8)), ("0.b", (8,)), ("2.W", (8, 2)), ("2.b", (2,))]
    assert max(error for *_, error in rows) < 1e-9


def test_a_wrong_gradient_would_show(example, device, monkeypatch):
    wrong = xn.Tanh.backward
    monkeypatch.setattr(xn.Tanh, "backward", lambda self, dy, y, step: wrong(self, dy, y, step) * 1.001)
    errors = [error for *_, error in example.compare(device)]
    assert min(errors[:2]) > 5e-4  # the layers below tanh
    assert max(errors[2:]) < 1e-9


def test_parameters_are_left_as_they_were(example, device):
    problem = example.Problem(device)
    before = problem.net.parameters.snapshot()
    problem.numerically()
    problem.numerically(central=False)
    assert all((a == before[name]).all() for name, a in problem.net.parameters.snapshot().items())


def test_the_error_is_a_v(example, device):
    h, central, one_sided = np.array(example.errors_by_step(device)).T
    assert h[central.argmin()] == pytest.approx(1e-5, rel=9.5)  # 1e-4 to 1e-6
    assert h[one_sided.argmin()] == pytest.approx(1e-8, rel=9.5)
    assert central[:3] / central[1:4] == pytest.approx(100, rel=0.1)  # truncation: h**2
    assert one_sided[:3] / one_sided[1:4] == pytest.approx(10, rel=0.1)  # truncation: h
    assert central[-1] > 1e3 * central.min()  # rounding: 1 / h


def test_two_forward_passes_a_parameter_against_one(example, device):
    rows = example.cost(device, (2, 8))
    assert [row[:2] for row in rows] == [(24, 48), (90, 180)]
    assert all(numerical > backprop for _, _, numerical, backprop, _ in rows)
    problem = example.Problem(device)
    problem.by_backpropagation()
    assert problem.forwards == 1
    problem.forwards = 0
    problem.numerically(central=False)
    assert problem.forwards == problem.net.parameters.value.size + 1


def test_fit_and_size_of_the_book_s_net(example):
    assert example.exponent([1, 10, 100], [3, 300, 30000]) == pytest.approx(2)
    assert xn.Sequential(xn.Affine(30), xn.Tanh(), xn.Affine(10)).build(784).parameters.value.size == example.BOOK
    assert [11 * n + 2 for n in example.HIDDEN] == [24, 90, 354, 1410, 4952]


def without_durations(text):
    """Each line split at blanks, without measured numbers."""
    return [re.sub(r"[\d.,]+ (s|ms|us|x)\b", "", line).split() for line in text.splitlines()]


def test_it_prints_the_same_on_cpu_and_sim(example, monkeypatch, capsys):
    cpu, sim = (output(example, monkeypatch, capsys, "--quick", "--device", name) for name in ("cpu", "sim"))
    assert without_durations(cpu) == without_durations(sim)
    assert "Extrapolated, not run: 784-30-10 has 23,860 parameters, so 47,720 forward passes" in cpu
    assert "all agree (tolerance 1e-06)" in cpu
    assert "to the power 1.00; backpropagation needs one" in cpu


@pytest.mark.extras
def test_picture(example, tmp_path):
    pytest.importorskip("matplotlib")
    example.picture(example.errors_by_step("cpu"), example.cost("cpu", (2, 8)), tmp_path / "cost.png")
    assert (tmp_path / "cost.png").read_bytes()[:4] == b"\x89PNG"
