"""Metrics: values, weights, and the shapes they refuse to guess about."""

from __future__ import annotations

import math

import numpy as np
import pytest

import xpnet as xn
from xpnet.metrics import as_metrics

OUTPUTS = np.array([[2.0, 1.0], [0.0, 3.0], [5.0, 4.0], [1.0, 1.5]])
LABELS = np.array([0, 1, 1, 0])


def test_accuracy():
    assert xn.accuracy(OUTPUTS, LABELS) == 0.5
    assert xn.accuracy(OUTPUTS, np.eye(2)[LABELS]) == 0.5
    assert xn.accuracy(OUTPUTS, LABELS, np.array([3.0, 3.0, 1.0, 1.0])) == 0.75


def test_regression_metrics():
    targets = np.array([1.0, 2.0, 3.0, 4.0])
    outputs = targets[:, None] + np.array([[1.0], [-1.0], [1.0], [-1.0]])
    assert xn.rmse(outputs, targets) == 1
    assert xn.r2(outputs, targets) == pytest.approx(1 - 4 / 5)
    assert math.isnan(xn.r2(outputs, np.ones(4)))


def test_binary_accuracy_reads_the_sign_of_the_logit():
    assert xn.binary_accuracy(np.array([[-1.0], [2.0], [3.0]]), np.array([0, 1, 0])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    "targets", [LABELS[:, None], LABELS[:1], LABELS[None], OUTPUTS.argmax(1)[:3]], ids=lambda t: str(t.shape)
)
def test_accuracy_refuses_shapes_that_would_broadcast(targets):
    with pytest.raises(ValueError, match=r"accuracy: outputs \(4, 2\).*one label for each row"):
        xn.accuracy(OUTPUTS, targets)


def test_accuracy_of_labels_is_refused_with_what_to_write():
    with pytest.raises(ValueError, match=r"labels compare by \(a == b\)\.mean\(\)"):
        xn.accuracy(OUTPUTS.argmax(1), LABELS)


@pytest.mark.parametrize("metric", [xn.rmse, xn.r2, xn.binary_accuracy], ids=lambda f: f.__name__)
def test_no_metric_reshapes_what_does_not_fit(metric):
    with pytest.raises(ValueError, match=r"outputs have shape \(4, 2\), targets \(2, 4\)"):
        metric(OUTPUTS, OUTPUTS.T)


def test_names_that_collide_are_refused():
    with pytest.raises(ValueError, match="two metrics have one name"):
        as_metrics([lambda o, t, w=None: 0.0, lambda o, t, w=None: 1.0], ())
    with pytest.raises(ValueError, match='cannot be called "loss"'):
        as_metrics({"loss": xn.rmse}, ())
