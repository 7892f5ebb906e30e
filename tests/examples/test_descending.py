"""Descending: learning rates and batch regimes end where the example says."""

from __future__ import annotations

import numpy as np
import pytest
from example_helpers import load_example

import xpnet as xn

example = load_example("descending")


@pytest.fixture(scope="module")
def data() -> tuple:
    d = xn.datasets.digits()
    return d.x_train[:400], d.y_train[:400], d.x_test, d.y_test


def test_the_curve_and_its_valleys() -> None:
    x, h = np.array([-3.0, -1, 0.5, 2.2]), 1e-5
    np.testing.assert_allclose(example.slope(x), (example.f(x + h) - example.f(x - h)) / (2 * h), atol=1e-8)
    deep, hill, shallow = sorted(np.roots([1, 0, -2, 0.3]))
    assert (deep, shallow) == pytest.approx((-1.48, 1.33), abs=0.01)
    assert example.f(deep) < example.f(shallow) < example.f(hill)


def test_learning_rates_on_the_curve() -> None:
    found = [example.curve_verdict(example.descend(ep)[-1]).split()[0] for ep in example.CURVE_RATES]
    assert found == ["slow:", "sticks", "finds", "too"]
    assert example.descend(0.01, steps=2000)[-1] == pytest.approx(max(np.roots([1, 0, -2, 0.3])))  # it stays there


def test_learning_rates_on_digits(data) -> None:
    found = [example.digits_verdict(example.fit_digits(ep, data, "cpu", 5)[0]).partition(":")[0] for ep in (0.001, 0.1, 100)]
    assert found == ["slow", "descends", "too large"]
    assert example.digits_verdict([1, float("nan")]) == example.digits_verdict([1, float("inf")]) == "too large: diverges"


def test_regimes_count_their_updates(data, monkeypatch: pytest.MonkeyPatch) -> None:
    steps, advance = [], xn.SGD.advance
    monkeypatch.setattr(xn.SGD, "advance", lambda self: steps.append(1) or advance(self))
    found = example.regimes(data, "cpu", epochs=2)
    assert [updates for updates, *_ in found.values()] == [2, 26, 800]
    assert len(steps) == 828
    full, mini, online = (losses[-1] for _, losses, *_ in found.values())
    assert full > mini > online


def test_online_is_a_fit_of_single_rows(data) -> None:
    online, single = (example.fit_digits(0.05, data, "cpu", 1, **how) for how in ({"online": True}, {"batch_size": 1}))
    assert online == single
