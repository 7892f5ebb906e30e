"""Regression on the cars: better than guessing and than a straight line, scaled by the training rows alone."""

from __future__ import annotations

import numpy as np
from example_helpers import load_example

import xpnet as xn

example = load_example("regression")


def test_the_network_beats_the_line_which_beats_the_mean(device) -> None:
    data = xn.datasets.auto_mpg()
    guess = xn.rmse(np.full_like(data.y_test, data.y_train.mean()), data.y_test)
    (_, line), (_, net) = (example.train(data, widths, device, epochs=40) for widths in ((), (32, 32)))
    assert xn.rmse(net, data.y_test) < 0.9 * xn.rmse(line, data.y_test) < 0.5 * guess
    rmse, r2 = example.scores(net, data.y_test)
    assert rmse < 3.2
    assert r2 > 0.8


def test_the_linear_net_is_least_squares() -> None:
    data = xn.datasets.auto_mpg()
    _, found = example.train(data, (), "cpu", epochs=100)
    x = np.column_stack([data.x_train, np.ones(len(data.x_train))])
    weights = np.linalg.lstsq(x, data.y_train, rcond=None)[0]
    best = np.column_stack([data.x_test, np.ones(len(data.x_test))]) @ weights
    assert xn.rmse(found, best) < 1  # of a spread of 7.6; weight decay and the last minibatches keep it from the very minimum


def test_the_scaler_knows_only_what_it_was_given(rng) -> None:
    a = rng.normal(5, 3, (50, 2))
    scaler = example.Scaler(a[:40])
    np.testing.assert_allclose(scaler.scale(a[:40]).mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaler.scale(a[:40]).std(axis=0), 1)
    np.testing.assert_allclose(scaler.undo(scaler.scale(a)), a)
