"""What the parameters of estimators do; templates stay as they are; fits go on where they ended."""

from __future__ import annotations

import copy
import inspect

import numpy as np
import pytest
from estimator_helpers import classes, numbers, small_build, values

pytest.importorskip("sklearn")
pytestmark = pytest.mark.extras

import joblib  # noqa: E402
from sklearn.base import clone  # noqa: E402

import xpnet as xn  # noqa: E402
from xpnet.sklearn import XPClassifier, XPRegressor  # noqa: E402


def quick(**options) -> XPClassifier:
    return XPClassifier(**{"layers": (8,), "epochs": 4, "device": "cpu", "random_state": 0} | options)


X, Y = classes()
TEMPLATES = {
    "list": lambda: [xn.Affine(8), xn.Tanh(), xn.Affine(3)],
    "tuple": lambda: (xn.Affine(8), xn.Tanh(), xn.Affine(3)),
    "Sequential": lambda: xn.Sequential(xn.Affine(8), xn.Tanh(), xn.Affine(3)),
    "built": lambda: xn.Sequential(xn.Affine(8), xn.Tanh(), xn.Affine(3)).build(4, seed=5),
}


@pytest.mark.parametrize("make", TEMPLATES.values(), ids=TEMPLATES)
def test_a_template_is_never_trained(make) -> None:
    template, optimizer = make(), xn.Momentum(xn.ReduceOnPlateau(0.1, patience=1))
    before = joblib.hash((template, optimizer))
    found = quick(layers=template, optimizer=optimizer).fit(X, Y)
    first = values(found)
    assert joblib.hash((template, optimizer)) == before
    assert found.layers is template
    assert values(found.fit(X, Y)) == values(clone(found).fit(X, Y)) == first


def test_a_network_that_is_built_begins_with_its_parameters() -> None:
    template = TEMPLATES["built"]()
    template.freeze(0)
    found = quick(layers=template).fit(X, Y)
    assert (found.net_.parameters["0.W"].value == template.parameters["0.W"].value).all()
    assert (found.net_.parameters["2.W"].value != template.parameters["2.W"].value).any()


def test_layers_of_another_network_may_be_given() -> None:
    net = TEMPLATES["built"]()
    before = net.parameters.snapshot()
    quick(layers=list(net.layers)).fit(X, Y)
    assert all((net.parameters[name].value == value).all() for name, value in before.items())


def test_a_function_is_told_features_and_outputs() -> None:
    told = []

    def build(n_features, n_outputs):
        told.append((n_features, n_outputs))
        return xn.Sequential(xn.Flatten(), xn.Affine(n_outputs)) if len(told) > 1 else small_build(n_features, n_outputs)

    quick(layers=build).fit(X, Y)
    quick(layers=build).fit(X.reshape(-1, 2, 2), Y)
    XPRegressor(build, epochs=1, device="cpu").fit(*numbers(outputs=2))
    assert told == [(4, 3), ((2, 2), 3), (3, 2)]


def test_a_function_that_always_gives_one_network() -> None:
    net = xn.Sequential(xn.Affine(3))
    found = quick(layers=lambda n, k: net)
    assert values(found.fit(X, Y)) == values(found.fit(X, Y))
    assert not net.built


def test_widths_and_activation() -> None:
    net = quick(layers=(7, np.int64(5)), activation="tanh").fit(X, Y).net_
    assert [repr(layer).partition(", init")[0] for layer in net.layers] == [
        "Affine(n_out=7", "Tanh()", "Affine(n_out=5", "Tanh()", "Affine(n_out=3",
    ]  # fmt: skip
    assert len(quick(layers=()).fit(X, Y).net_.layers) == 1  # a linear model


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"])
def test_optimizers_by_name_learn_without_a_learning_rate(name) -> None:
    assert quick(layers=(64,), optimizer=name, epochs=100).fit(X, Y).score(X, Y) > 0.85
    x, y = numbers()
    assert XPRegressor((256,), optimizer=name, epochs=30, device="cpu", random_state=0).fit(x, y).score(x, y) > 0.9


def test_learning_rate_and_l2_take_the_place_of_the_optimizer_s_own() -> None:
    made = quick(optimizer=xn.Momentum(0.1, momentum=0.8, l2=0.3), learning_rate=0.02).fit(X, Y).trainer_.optimizer
    assert (made.learning_rate, made.momentum, made.l2) == (0.02, 0.8, 0.3)
    made = quick(optimizer="sgd", learning_rate=xn.Exponential(0.1, 0.9), l2=0.2).fit(X, Y).trainer_.optimizer
    assert (type(made), made.l2, made.steps) == (xn.SGD, 0.2, 4 * 3)
    assert made.current_rate == pytest.approx(0.1 * 0.9**12)
    small, large = (np.abs(quick(epochs=50, l2=l2).fit(X, Y).net_.parameters["0.W"].value).sum() for l2 in (10.0, 0.0))
    assert small < 0.7 * large


def test_the_same_seed_gives_the_same_network_and_none_another() -> None:
    assert values(quick().fit(X, Y)) == values(quick().fit(X, Y)) != values(quick(random_state=1).fit(X, Y))
    assert values(quick(random_state=None).fit(X, Y)) != values(quick(random_state=None).fit(X, Y))
    twice = quick(random_state=np.random.RandomState(0))
    assert values(twice.fit(X, Y)) != values(twice.fit(X, Y))


@pytest.mark.parametrize("estimator", [XPClassifier, XPRegressor])
def test_two_warm_fits_are_one_of_as_many_epochs(estimator, device) -> None:
    data = (X, Y) if estimator is XPClassifier else numbers()
    options = {"layers": (8,), "device": device, "random_state": 0, "optimizer": xn.Adam(xn.ReduceOnPlateau(0.01, patience=1))}
    warm = estimator(**options, epochs=5, warm_start=True).fit(*data)
    warm.set_params(epochs=3).fit(*data)
    once = estimator(**options, epochs=8).fit(*data)
    assert values(warm) == values(once)
    assert warm.history_["loss"] == once.history_["loss"]
    assert warm.n_iter_ == 8


def test_a_warm_fit_takes_changed_parameters() -> None:
    found = quick(warm_start=True, optimizer="momentum").fit(X, Y)
    optimizer, before = found.trainer_.optimizer, values(found)
    found.set_params(callbacks=[lambda trainer, record: True], device="sim", batch_size=None).fit(X, Y)
    assert (found.n_iter_, found.net_.device.name, found.trainer_.optimizer) == (5, "sim", optimizer)
    assert optimizer.steps == 13
    after = values(found)
    assert after != before
    found.set_params(learning_rate=1e-30).fit(X, Y)
    assert (found.trainer_.optimizer.learning_rate, found.trainer_.optimizer.steps, found.n_iter_) == (1e-30, 1, 6)
    assert values(found) == after  # too small a rate to change float32


def test_balanced_weights_are_those_of_each_fit() -> None:
    found = quick(warm_start=True, class_weight="balanced").fit(X, Y)
    rows = np.r_[np.flatnonzero(Y == "ant"), np.flatnonzero(Y != "ant").repeat(3)]
    found.fit(X[rows], Y[rows])
    shares = [(Y[rows] == name).mean() for name in found.classes_]
    weights = np.array(found.trainer_.loss.class_weights)
    np.testing.assert_allclose(weights * shares, (weights * shares)[0])
    found.fit(X[Y != "cat"], Y[Y != "cat"])  # those that are there
    assert np.isfinite(found.loss_)


def test_a_warm_fit_goes_on_with_its_classes() -> None:
    found = quick(warm_start=True).fit(X, Y)
    found.fit(X[Y != "cat"], Y[Y != "cat"])
    assert found.classes_.tolist() == ["ant", "bee", "cat"]
    with pytest.raises(ValueError, match="label 'dog', which is not among"):
        found.fit(X, np.where(Y == "cat", "dog", Y))


def test_early_stopping_keeps_the_best_epoch() -> None:
    noisy = np.where(np.random.default_rng(0).random(len(Y)) < 0.4, "ant", Y)
    found = quick(layers=(128,), epochs=300, learning_rate=0.01, early_stopping=5, validation_fraction=0.3).fit(X, noisy)
    losses = found.history_["validation_loss"]
    best = int(np.argmin(losses))
    assert found.n_iter_ == len(losses) == best + 1 + 5
    again = quick(layers=(128,), epochs=best + 1, learning_rate=0.01, early_stopping=300, validation_fraction=0.3).fit(X, noisy)
    assert values(found) == values(again)


@pytest.mark.parametrize(
    ("early_stopping", "patience"),
    [(True, 10), (np.True_, 10), (3, 3), (xn.EarlyStopping(4, min_delta=1e-3, monitor="loss"), 4)],
)
def test_patience(early_stopping, patience) -> None:
    found = quick(epochs=50, learning_rate=1e-30, batch_size=None, early_stopping=early_stopping).fit(X, Y)
    assert found.n_iter_ == 1 + patience


def test_no_early_stopping_by_numpy_s_false() -> None:
    assert values(quick(early_stopping=np.False_).fit(X, Y)) == values(quick().fit(X, Y))


def test_rows_are_held_out_by_class_and_none_if_the_share_is_0() -> None:
    seen = {}

    class Seen(xn.Callback):
        def begin_epoch(self, trainer, steps, batches):
            seen["labels"] = np.concatenate([np.array(batch[1]) for batch in batches()])

    quick(callbacks=[Seen()], early_stopping=True, validation_fraction=0.2, epochs=1).fit(X, Y)
    assert np.bincount(seen["labels"]).tolist() == [24, 24, 24]
    quick(callbacks=[Seen()], early_stopping=True, validation_fraction=0.5, epochs=1).fit(X, Y, sample_weight=Y != "cat")
    assert np.bincount(seen["labels"]).tolist() == [15, 15]
    found = quick(callbacks=Seen(), early_stopping=True, validation_fraction=0).fit(X, Y)
    assert len(seen["labels"]) == 90
    assert "validation_loss" not in found.history_


def test_rows_of_one_s_own_are_watched() -> None:
    found = quick().fit(X[:60], Y[:60], X_val=X[60:], y_val=Y[60:])
    assert found.history_["validation_accuracy"][-1] == pytest.approx(found.score(X[60:], Y[60:]))
    assert len(found.history_["validation_loss"]) == 4
    x, y = numbers()
    found = XPRegressor((8,), epochs=60, device="cpu", early_stopping=2).fit(
        x[:60], 1e6 * y[:60], X_val=x[60:], y_val=1e6 * y[60:]
    )
    assert max(found.history_["validation_r2"]) == pytest.approx(found.score(x[60:], 1e6 * y[60:]), abs=1e-4)


def test_callbacks_and_lines(capsys) -> None:
    seen = []
    quick(callbacks=lambda trainer, record: seen.append(record["epoch"])).fit(X, Y)
    assert seen == [1, 2, 3, 4]
    assert capsys.readouterr().out == ""
    quick(verbose=True).fit(X, Y)
    assert capsys.readouterr().out.count("epoch") == 4


def test_float64_is_computed_where_it_is_asked_for() -> None:
    assert quick(dtype="float64").fit(X.astype("float32"), Y).predict_proba(X).dtype == np.float64
    assert quick().fit(X, Y).net_.parameters.dtype == np.float32


def test_parameters_are_stored_as_given_and_compared_by_both() -> None:
    own, other = (list(inspect.signature(estimator).parameters) for estimator in (XPClassifier, XPRegressor))
    assert [name for name in own if name != "class_weight"] == other
    nonsense = {name: object() for name in own}
    assert XPClassifier(**nonsense).get_params() == nonsense
    defaults = inspect.signature(XPClassifier).parameters
    assert all(p.default == defaults[name].default for name, p in inspect.signature(XPRegressor).parameters.items())
    assert copy.deepcopy(quick(layers=[xn.Affine(3)])).get_params()["layers"][0].n_out == 3


def test_what_was_handed_in_is_not_written_to() -> None:
    arrays = X.copy(), Y.copy(), np.arange(1.0, 91.0)
    before = [a.tobytes() for a in arrays]
    quick(early_stopping=True).fit(*arrays).predict_proba(arrays[0])
    assert [a.tobytes() for a in arrays] == before
