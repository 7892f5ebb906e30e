"""Every mistake that is known is recognised, alone and with another one, in programs that make it."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest

from xpnet.exercise.gradients import COSTS, judge, right
from xpnet.exercise.mistakes import known
from xpnet.exercise.program import Program, left_out
from xpnet.exercise.submission import Submission, Way
from xpnet.exercise.trials import CHECKS

KNOWN = known(10.0)
BASES = {"quadratic": Program(), "cross-entropy": Program(output_prime=left_out)}


def making(*mistakes, program=None):
    """A submission that makes these mistakes."""
    program = program or Program()
    for mistake in mistakes:
        program = dataclasses.replace(program, **mistake.lines)

    class Network:
        def __init__(self, sizes):
            self.weights = [np.zeros((n_out, n_in)) for n_in, n_out in itertools.pairwise(sizes)]
            self.biases = [np.zeros((n, 1)) for n in sizes[1:]]
            self.memory = []

        def update_mini_batch(self, X, Y, eta):
            layers = list(zip(self.weights, self.biases, strict=True))
            new = program.update(layers, X, Y, eta, self.memory)
            self.weights, self.biases = map(list, zip(*new, strict=True))

    return Submission(Path("made.py"), Network, Way("update_mini_batch", "columns"))


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("check", CHECKS, ids=str)
def test_the_program_is_the_book_s(check, cost):
    start = check.start()
    found = BASES[cost].run(start, check.samples(), check.eta)
    for state, meant in zip(found, right(start, check, ((cost, "mean"), Program())), strict=True):
        for a, b in zip(itertools.chain(*state), itertools.chain(*meant), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("cost", COSTS)
def test_no_mistake(cost):
    found = judge(making(program=BASES[cost]))
    assert found.ok
    assert found.cost == cost
    assert found.mistakes == ()


CASES = [(m, cost) for m in KNOWN for cost in COSTS if cost == "quadratic" or "output_prime" not in m.lines]


@pytest.mark.parametrize(("mistake", "cost"), CASES, ids=[f"{cost}-{m.text[:60]}" for m, cost in CASES])
def test_each(mistake, cost):
    found = judge(making(mistake, program=BASES[cost]), cost)
    assert not found.ok
    assert [(m.key, m.text) for m in found.mistakes] == [(mistake.key, mistake.text)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("sum-for-mean", "sign"),
        ("fixed-divisor", "bias-not-summed"),
        ("updated-before-used", "gradient-transposed"),
        ("biases-not-updated", "missing-transpose"),
        ("accumulates", "sigmoid-prime-of-activation"),
    ],
)
def test_two(first, second):
    pair = [next(m for m in KNOWN if m.key == key) for key in (first, second)]
    found = judge(making(*pair))
    assert {m.key for m in found.mistakes} == {first, second}


def test_three_are_too_many_but_the_place_is_named():
    keys = ("sum-for-mean", "missing-transpose", "bias-not-summed")
    found = judge(making(*(next(m for m in KNOWN if m.key == key) for key in keys)))
    assert not found.ok
    assert found.mistakes == ()
    assert (found.first.check.sizes, found.first.name, found.first.layer) == ((6, 3), "biases", 0)
    assert found.first.shapes == ((3, 7), (3, 1))


def test_a_mistake_nobody_has_made_before():
    found = judge(making(program=Program(hidden_prime=lambda z, a: np.cos(z))))
    assert (found.mistakes, found.first.name, found.first.layer) == ((), "biases", 0)


def test_what_is_not_finite():
    found = judge(making(program=Program(scale=np.nan)))
    assert "it is not finite" in str(found.first)
