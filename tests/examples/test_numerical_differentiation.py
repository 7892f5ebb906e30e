"""Numerical differentiation: equal gradients, the best step, the number of forward passes."""

import numpy as np
import pytest
from example_helpers import load_example

import xpnet as xn

example = load_example("numerical_differentiation")


def test_it_finds_what_backpropagation_finds(device):
    rows = example.compare(device)
    assert [(name, shape) for name, shape, _ in rows] == [("0.W", (8, 8)), ("0.b", (8,)), ("2.W", (8, 2)), ("2.b", (2,))]
    assert max(error for *_, error in rows) < 1e-9


def test_a_wrong_gradient_would_show(device, monkeypatch):
    wrong = xn.Tanh.backward
    monkeypatch.setattr(xn.Tanh, "backward", lambda self, dy, y, step: wrong(self, dy, y, step) * 1.001)
    errors = [error for *_, error in example.compare(device)]
    assert min(errors[:2]) > 5e-4  # the layers below tanh
    assert max(errors[2:]) < 1e-9


def test_parameters_are_left_as_they_were(device):
    problem = example.Problem(device)
    before = problem.net.parameters.snapshot()
    problem.numerically()
    problem.numerically(central=False)
    assert all((a == before[name]).all() for name, a in problem.net.parameters.snapshot().items())


def test_the_error_is_a_v(device):
    h, central, one_sided = np.array(example.errors_by_step(device)).T
    assert h[central.argmin()] == pytest.approx(1e-5, rel=9.5)  # 1e-4 to 1e-6
    assert h[one_sided.argmin()] == pytest.approx(1e-8, rel=9.5)
    assert central[:3] / central[1:4] == pytest.approx(100, rel=0.1)  # truncation: h**2
    assert one_sided[:3] / one_sided[1:4] == pytest.approx(10, rel=0.1)  # truncation: h
    assert central[-1] > 1e3 * central.min()  # rounding: 1 / h


def test_two_forward_passes_a_parameter_against_one(device):
    rows = example.cost(device, (2, 8))
    assert [row[:2] for row in rows] == [(24, 48), (90, 180)]
    assert all(numerical > backprop for _, _, numerical, backprop, _ in rows)
    problem = example.Problem(device)
    problem.by_backpropagation()
    assert problem.forwards == 1
    problem.forwards = 0
    problem.numerically(central=False)
    assert problem.forwards == problem.net.parameters.value.size + 1


def test_fit_and_size_of_the_book_s_net():
    assert example.exponent([1, 10, 100], [3, 300, 30000]) == pytest.approx(2)
    assert xn.Sequential(xn.Affine(30), xn.Tanh(), xn.Affine(10)).build(784).parameters.value.size == example.BOOK
    assert [11 * n + 2 for n in example.HIDDEN] == [24, 90, 354, 1410, 4952]
