"""Estimators inside scikit-learn's tools: pipelines, searches, cross-validation, ensembles, processes."""

from __future__ import annotations

import numpy as np
import pytest
from estimator_helpers import classes, numbers, small_build

pytest.importorskip("sklearn")
pytestmark = pytest.mark.extras

from sklearn.calibration import CalibratedClassifierCV  # noqa: E402
from sklearn.compose import TransformedTargetRegressor  # noqa: E402
from sklearn.datasets import load_diabetes, load_digits, load_iris  # noqa: E402
from sklearn.ensemble import StackingClassifier, VotingClassifier, VotingRegressor  # noqa: E402
from sklearn.inspection import permutation_importance  # noqa: E402
from sklearn.linear_model import Ridge  # noqa: E402
from sklearn.metrics import log_loss  # noqa: E402
from sklearn.model_selection import (  # noqa: E402
    GridSearchCV,
    cross_val_predict,
    cross_val_score,
    learning_curve,
    train_test_split,
    validation_curve,
)
from sklearn.multioutput import MultiOutputClassifier, MultiOutputRegressor  # noqa: E402
from sklearn.naive_bayes import GaussianNB  # noqa: E402
from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

import xpnet as xn  # noqa: E402
from xpnet.sklearn import XPClassifier, XPRegressor  # noqa: E402

X, Y = load_iris(return_X_y=True)


def iris(**options):
    options = {"layers": (16,), "epochs": 30, "learning_rate": 0.01, "device": "cpu", "random_state": 0} | options
    return make_pipeline(StandardScaler(), XPClassifier(**options))


@pytest.mark.slow
def test_a_grid_search_in_two_processes_is_the_one_in_one() -> None:
    """Also of networks for images, whose threads start anew in the processes."""
    x, y = load_digits(return_X_y=True)
    images = xn.Sequential(xn.Reshape((8, 8, 1)), xn.Conv2d(8, 3), xn.ReLU(), xn.MaxPool2d(2), xn.Flatten(), xn.Affine(10))
    grid = {"xpclassifier__layers": [(16,), images, small_build], "xpclassifier__learning_rate": [0.003, 0.01]}
    one, two = (GridSearchCV(iris(epochs=2), grid, cv=2, n_jobs=n).fit(x[:400], y[:400]) for n in (1, 2))
    assert one.cv_results_["mean_test_score"].tolist() == two.cv_results_["mean_test_score"].tolist()
    assert len(set(one.cv_results_["mean_test_score"])) > 3
    assert (one.predict(x) == two.predict(x)).all()
    assert not images.built


def test_a_candidate_that_diverges_loses() -> None:
    x, y = numbers()
    search = GridSearchCV(
        XPRegressor((8,), optimizer="sgd", epochs=20, device="cpu", random_state=0), {"learning_rate": [1e4, 0.01]}, cv=2
    )
    with pytest.warns((RuntimeWarning, UserWarning)):
        search.fit(x, y)
    assert search.best_params_ == {"learning_rate": 0.01}
    assert np.isnan(search.cv_results_["mean_test_score"][0])


def test_cross_validation() -> None:
    assert cross_val_score(iris(), X, Y, cv=3).mean() > 0.93
    found = cross_val_predict(iris(), X, Y, cv=3, method="predict_proba")
    assert found.shape == (150, 3)
    assert cross_val_score(iris(), X, Y, cv=3, scoring="neg_log_loss").mean() == pytest.approx(-log_loss(Y, found), rel=0.01)
    assert cross_val_score(iris(), X, Y == 1, cv=3, scoring="roc_auc").mean() > 0.95


def test_curves() -> None:
    _, train, _ = learning_curve(iris(), X, Y, cv=3, train_sizes=[0.3, 1.0], shuffle=True, random_state=0)
    assert train.shape == (2, 3)
    train, held = validation_curve(iris(), X, Y, param_name="xpclassifier__epochs", param_range=[1, 30], cv=3)
    assert held[1].mean() > held[0].mean()
    _, _, held = learning_curve(
        XPClassifier((16,), learning_rate=0.01, device="cpu", random_state=0), X, Y, cv=3,
        train_sizes=[0.3, 1.0], shuffle=True, random_state=0, exploit_incremental_learning=True,
    )  # by partial_fit  # fmt: skip
    assert held.shape == (2, 3)


def test_ensembles_and_calibration() -> None:
    for ensemble in (
        VotingClassifier([("net", iris()), ("bayes", GaussianNB())], voting="soft"),
        StackingClassifier([("net", iris()), ("bayes", GaussianNB())], final_estimator=GaussianNB(), cv=3),
        CalibratedClassifierCV(iris(), cv=3),
    ):
        assert ensemble.fit(X, Y).score(X, Y) > 0.93
    x, y = numbers()
    net = XPRegressor((16,), epochs=30, learning_rate=0.01, device="cpu", random_state=0)
    assert VotingRegressor([("net", net), ("line", Ridge())]).fit(x, y).score(x, y) > 0.95


def test_several_targets_by_an_estimator_each() -> None:
    x, y = numbers(outputs=2)
    net = XPRegressor((16,), epochs=30, learning_rate=0.01, device="cpu", random_state=0)
    assert MultiOutputRegressor(net).fit(x, y).score(x, y) > 0.95
    labels = np.column_stack([np.digitize(column, [-0.5, 0.5]) for column in y.T])
    found = MultiOutputClassifier(XPClassifier((16,), epochs=30, learning_rate=0.01, device="cpu", random_state=0)).fit(
        x, labels
    )
    assert (found.predict(x) == labels).mean() > 0.8
    assert (
        TransformedTargetRegressor(net, func=np.log, inverse_func=np.exp).fit(x, np.exp(y[:, 0])).score(x, np.exp(y[:, 0]))
        > 0.9
    )


def test_importance_is_found_where_it_is() -> None:
    x, y = classes()
    x = np.column_stack([x, np.random.default_rng(5).normal(size=len(x))])
    found = XPClassifier((16,), epochs=40, learning_rate=0.01, device="cpu", random_state=0).fit(x, y)
    importance = permutation_importance(found, x, y, n_repeats=5, random_state=0).importances_mean
    assert importance[:3].min() > 5 * abs(importance[3:]).max()


def test_tables_keep_the_names_of_their_columns() -> None:
    pandas = pytest.importorskip("pandas")
    table, names = pandas.DataFrame(X, columns=list("abcd")), pandas.Series(Y).map({0: "x", 1: "y", 2: "z"}).astype("category")
    found = iris()[-1].fit(table, names)
    assert found.feature_names_in_.tolist() == list("abcd")
    assert set(found.predict(table)) == {"x", "y", "z"}
    with pytest.raises(ValueError, match="feature names"):
        found.predict(table[list("badc")])
    with pytest.warns(UserWarning, match="valid feature names"):
        found.predict(X)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_no_worse_than_scikit_learn_s_own_network() -> None:
    for data, own, other in (
        (load_digits, XPClassifier, MLPClassifier),
        (load_iris, XPClassifier, MLPClassifier),
        (load_diabetes, XPRegressor, scaled_mlp),
    ):
        x, y = data(return_X_y=True)
        scores = []
        for make in (
            lambda seed, own=own: own(random_state=seed, device="cpu"),
            lambda seed, other=other: other(random_state=seed),
        ):
            parts = [(seed, train_test_split(x, y, test_size=0.25, random_state=seed)) for seed in range(5)]
            with threadpool_limits(1):  # scikit-learn's is ten times slower where BLAS threads fight for busy cores
                fitted = [(make_pipeline(StandardScaler(), make(seed)).fit(a, c), b, d) for seed, (a, b, c, d) in parts]
            scores.append(np.mean([model.score(b, d) for model, b, d in fitted]))
        assert scores[0] > scores[1] - 0.02, data.__name__


def scaled_mlp(random_state: int) -> TransformedTargetRegressor:
    return TransformedTargetRegressor(MLPRegressor(random_state=random_state), transformer=StandardScaler())
