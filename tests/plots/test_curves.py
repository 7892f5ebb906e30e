"""Learning curves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from core_helpers import classes_data
from plot_helpers import drawn, legend, line
from trainer_helpers import make

import xpnet as xn
from xpnet.plots import learning_curves

pytestmark = pytest.mark.extras
pytest.importorskip("matplotlib")

NAN, INF = math.nan, math.inf


def history(loss, **columns):
    n = len(loss)
    return {"epoch": list(range(1, n + 1)), "loss": loss, "learning_rate": [0.1] * n, "seconds": [0.2] * n, **columns}


def test_a_training():
    trainer = make(callbacks=[])
    found = trainer.fit(*classes_data(40), epochs=4, validation=classes_data(20), progress=False)
    loss, accuracy = drawn(learning_curves(found)).axes
    assert (loss.get_xlabel(), loss.get_ylabel(), accuracy.get_ylabel()) == ("epoch", "loss", "accuracy")
    assert line(loss, "training") == (found["epoch"], found["loss"])
    assert line(loss, "validation") == (found["epoch"], found["validation_loss"])
    assert line(accuracy, "validation") == (found["epoch"], found["validation_accuracy"])
    best = int(np.argmin(found["validation_loss"]))
    assert legend(loss) == ["training", "validation", f"best epoch {best + 1}: {found['validation_loss'][best]:.4g}"]
    assert legend(accuracy) == ["validation", f"best epoch {best + 1}: {found['validation_accuracy'][best]:.4g}"]


def test_the_best_epoch_is_marked_in_all_panels():
    found = history([4, 3, 2, 1], validation_loss=[4, 2, 3, 5], validation_accuracy=[0.1, 0.2, 0.3, 0.4])
    for axes, value in zip(drawn(learning_curves(found)).axes, (2, 0.2), strict=True):
        rings = [one for one in axes.get_lines() if one.get_markerfacecolor() == "white"]
        assert [(float(one.get_xdata()[0]), float(one.get_ydata()[0])) for one in rings] == [(2, value)]


def test_without_validation_it_is_that_of_the_training_loss():
    (axes,) = drawn(learning_curves(history([3, 1, 2]))).axes
    assert legend(axes) == ["training", "best epoch 2: 1"]


def test_one_epoch():
    (axes,) = drawn(learning_curves(history([0.5]))).axes
    assert line(axes, "training") == ([1], [0.5])
    assert axes.get_lines()[0].get_marker() == "."  # a line of one point is not seen
    low, high = axes.get_xlim()
    assert [tick for tick in axes.get_xticks() if low <= tick <= high] == [1]


@pytest.mark.parametrize(
    ("values", "scale"),
    [([3, 0.2], "linear"), ([3, 0.1], "log"), ([3, 0], "linear"), ([-1, 100], "linear"), ([1e-290, 1e290], "log")],
    ids=str,
)
def test_a_scale_is_logarithmic_where_the_range_asks_for_it(values, scale):
    (axes,) = drawn(learning_curves(history(values))).axes
    assert axes.get_yscale() == scale


def test_accuracies_are_never_on_a_logarithmic_scale():
    _, accuracy = drawn(learning_curves(history([1, 2], validation_accuracy=[0.01, 0.99]))).axes
    assert accuracy.get_yscale() == "linear"


def test_what_is_not_finite_is_a_gap_that_is_told():
    found = history([2.0, INF, 3.0, NAN], validation_loss=[1.0, None, None, None])
    (axes,) = drawn(learning_curves(found)).axes
    assert line(axes, "training: no finite value in 2 epochs")[0] == [2, 4]
    assert line(axes, "validation: no finite value in 3 epochs")[0] == [2, 3, 4]
    np.testing.assert_equal(line(axes, "validation")[1], [1, NAN, NAN, NAN])
    assert "best epoch 1: 1" in legend(axes)


def test_a_value_between_gaps_is_seen_in_a_long_training_too():
    losses = [1.0] * 100
    losses[50] = losses[52] = NAN
    (axes,) = drawn(learning_curves(history(losses))).axes
    assert axes.get_lines()[0].get_markevery() == [51]


@pytest.mark.parametrize("sign", [1, -1])
def test_what_is_too_large_to_be_drawn_is_a_gap(sign):
    (axes,) = drawn(learning_curves(history([1.0, sign * 1e308, -1e300, 1e300]))).axes
    np.testing.assert_equal(line(axes, "training")[1], [1, NAN, -1e300, 1e300])
    assert line(axes, "training: no finite value in 1 epoch")[0] == [2]


def test_a_training_with_nothing_finite():
    (axes,) = drawn(learning_curves(history([NAN, INF]))).axes
    assert legend(axes) == ["training", "training: no finite value in 2 epochs"]
    assert len(axes.get_yticks()) == 0


def test_the_learning_rate_where_it_changes_and_columns_of_one_s_own():
    found = history([1, 2], auc=[0.5, 0.6], validation_rmse=[3, 2]) | {"learning_rate": [0.1, 0.01]}
    _, rate, auc, rmse = drawn(learning_curves(found)).axes
    assert (rate.get_ylabel(), auc.get_ylabel(), rmse.get_ylabel()) == ("learning rate", "auc", "RMSE")
    assert [float(v) for v in auc.get_lines()[0].get_ydata()] == [0.5, 0.6]


def test_a_diverged_training():
    trainer = make(loss=xn.MeanSquaredError(), optimizer=xn.SGD(1e12), outputs=1)
    x, y = classes_data(40)
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning):
        found = trainer.fit(x, y.astype(np.float32), epochs=4, validation=(x, y.astype(np.float32)), progress=False)
    figure = drawn(learning_curves(found))
    assert any("no finite value" in text for text in legend(figure.axes[0]))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "the history has no 'epoch': give it trainer.history after fit"),
        ({"epoch": [1]}, "the history has no 'loss'"),
        ({"epoch": [], "loss": []}, "need one value an epoch"),
        ({"epoch": [1, 2], "loss": [1]}, "need one value an epoch, they have {'epoch': 2, 'loss': 1}"),
        ({"epoch": [1], "loss": [10**400]}, "holds what is no number: int too large"),
        ({"epoch": [1, 2], "loss": np.ones((2, 3))}, "'loss' has more than one number an epoch"),
        ({"epoch": [None], "loss": [1]}, "'epoch' holds NaN or None"),
        ({"epoch": [1], "loss": ["low"]}, "holds what is no number: .*low"),
    ],
    ids=str,
)
def test_what_is_no_history_is_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        learning_curves(columns)


def test_the_best_epoch_s_value_is_one_that_is_there():
    nan = float("nan")
    history = {"epoch": [1, 2, 3, 4], "loss": [1, nan, 2, 0.5], "validation_loss": [nan] * 4}
    (axes,) = drawn(learning_curves(history)).axes
    assert "best epoch 4: 0.5" in legend(axes)
