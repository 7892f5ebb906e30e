"""What estimators refuse, and what they say of it; a fitted one is as it was after a fit that was refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from estimator_helpers import classes, numbers, values

pytest.importorskip("sklearn")
pytestmark = pytest.mark.extras

import scipy.sparse  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402

import xpnet as xn  # noqa: E402
from xpnet.sklearn import XPClassifier, XPRegressor  # noqa: E402

X, Y = classes(30)
GAPS = np.where(np.arange(120).reshape(30, 4) == 9, np.nan, X)
PARAMETERS = {  # of the classifier: what is given, and what is said
    "an unknown optimizer": ({"optimizer": "adma"}, "optimizer='adma': one of sgd, .*; did you mean 'adam'"),
    "the class of an optimizer": ({"optimizer": xn.Adam}, "or an optimizer of xpnet, Adam"),
    "an unknown activation": ({"activation": "sigmod"}, "activation='sigmod'.: choose one of relu, .*did you mean 'sigmoid'"),
    "a number for layers": ({"layers": 100}, r"layers=100: widths of hidden layers, \(100,\)"),
    "a class for layers": ({"layers": xn.Sequential}, "widths of hidden layers"),
    "a width of 0": ({"layers": (10, 0)}, "layers: a width=0: it is a whole number from 1 on"),
    "widths among layers": ({"layers": [100, xn.ReLU()]}, "width=ReLU"),
    "too few outputs": ({"layers": [xn.Affine(2)]}, r"gives \(2,\) for each sample, 3 classes need \(3,\): end it"),
    "outputs for positions": ({"layers": [xn.Reshape((2, 2)), xn.Affine(3)]}, r"end it in Flatten\(\) and Affine\(3\)"),
    "softmax twice": ({"layers": [xn.Affine(3), xn.Softmax()]}, "remove the Softmax layer"),
    "a function that returns layers": ({"layers": lambda n, k: [xn.Affine(k)]}, "returned a list, a Sequential is needed"),
    "no epochs": ({"epochs": 0}, "epochs=0: it is a whole number"),
    "max_iter's name": ({"batch_size": "auto"}, "batch_size='auto'"),
    "a negative rate": ({"learning_rate": -1.0}, "learning_rate=-1.0"),
    "a negative penalty": ({"l2": -1e-3}, "l2=-0.001"),
    "a share of 1": ({"early_stopping": True, "validation_fraction": 1.0}, r"validation_fraction=1.0: it lies in \[0, 1\)"),
    "a patience of 0": ({"early_stopping": 0}, r"early_stopping=0: False, True \(10 epochs .*\), a number of epochs from 1 on"),
    "no early stopping": ({"early_stopping": None}, "early_stopping=None: False, True"),
    "a patience in words": ({"early_stopping": "yes"}, "early_stopping='yes': False, True"),
    "an unknown device": ({"device": "gpu"}, "did you mean 'cuda'"),
    "half precision": ({"dtype": "float16"}, "choose one of float32, float64"),
    "a class that is not there": ({"class_weight": {"dog": 2}}, "classes"),
    "an unknown word for weights": ({"class_weight": "balance"}, "balance"),
    "weights of classes that are all 0": ({"class_weight": dict.fromkeys(np.unique(Y), 0)}, "class_weight: .* not all zero"),
    "a negative weight of a class": ({"class_weight": {"ant": -1}}, "class_weight: weights are not negative"),
    "no callbacks": ({"callbacks": None}, "callbacks=None: a function of trainer and record, a Callback, or a list of them"),
    "a callback that cannot be called": ({"callbacks": [3]}, "cannot be called"),
}  # fmt: skip
DATA = {
    "gaps": ((GAPS, Y), "NaN"),
    "text": ((np.full((30, 2), "a"), Y), "dtype='numeric' is not compatible with arrays of bytes/strings"),
    "sparse rows": ((scipy.sparse.csr_array(X), Y), "dense data is required"),
    "one axis": ((X[0], Y), "Expected 2D array"),
    "rows that are missing": ((X, Y[:-1]), "inconsistent numbers of samples"),
    "no rows": ((X[:0], Y[:0]), "0 sample"),
    "one sample": ((X[:1], Y[:1]), "1 class only"),
    "one class": ((X, np.full(30, "ant")), r"y has 1 class only, \['ant'\]"),
    "numbers to be classes": ((X, X[:, 0]), "continuous"),
    "columns of classes": ((X, np.arange(60).reshape(30, 2) % 3), "MultiOutputClassifier"),
    "negative weights": ((X, Y, np.r_[-1.0, np.ones(29)]), "sample_weight: weights are not negative"),
    "weights of 0": ((X, Y, np.zeros(30)), "sample_weight: weights are not negative and not all zero"),
    "weights of two axes": ((X, Y, np.ones((30, 1))), r"sample_weight has shape \(30, 1\), 30 rows need \(30,\)"),
    "numbers too large for float32": ((1e300 * X, Y), "inf at index"),
}


def quick(**options) -> XPClassifier:
    return XPClassifier(**{"layers": (8,), "epochs": 2, "device": "cpu", "random_state": 0} | options)


@pytest.mark.parametrize(("parameters", "said"), PARAMETERS.values(), ids=PARAMETERS)
def test_parameters_are_refused_by_fit(parameters, said) -> None:
    estimator = quick(**parameters)  # not by the constructor
    with pytest.raises((ValueError, TypeError), match=said):
        estimator.fit(X, Y)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@pytest.mark.parametrize(("data", "said"), DATA.values(), ids=DATA)
def test_data_are_refused_and_a_fitted_estimator_stays(data, said) -> None:
    estimator = quick().fit(X, Y)
    before = values(estimator), estimator.predict_proba(X).tobytes(), estimator.history_
    with pytest.raises((ValueError, TypeError), match=said):
        estimator.fit(*data)
    assert (values(estimator), estimator.predict_proba(X).tobytes(), estimator.history_) == before


@pytest.mark.parametrize("y", [np.full(30, "1.5"), np.full(30, "ant"), np.array([["a", 1]] * 30, object)], ids=str)
def test_a_regressor_learns_numbers(y) -> None:
    with pytest.raises(ValueError, match=r"numbers|could not convert"):
        XPRegressor(epochs=1, device="cpu").fit(X, y)


def test_outputs_of_a_regressor() -> None:
    x, y = numbers(outputs=2)
    with pytest.raises(
        ValueError, match=r"gives \(3,\) for each sample, targets of shape \(120, 2\) need \(2,\): end it in Affine\(2\)"
    ):
        XPRegressor([xn.Affine(3)], device="cpu").fit(x, y)
    found = XPRegressor((4,), epochs=1, device="cpu", warm_start=True).fit(x, y)
    with pytest.raises(ValueError, match=r"y has shape \(120,\), in the first call its rows had shape \(2,\)"):
        found.fit(x, y[:, 0])


def test_a_training_that_diverges_is_an_error() -> None:
    x, y = numbers()
    estimator = XPRegressor(optimizer="sgd", learning_rate=100.0, device="cpu")
    with pytest.warns(RuntimeWarning), pytest.raises(ValueError, match=r"diverged: scale the inputs \(StandardScaler\)"):
        estimator.fit(x, y)
    with pytest.raises(NotFittedError):
        estimator.predict(x)


def test_a_warm_fit_cannot_change_the_network() -> None:
    found = quick(warm_start=True).fit(X, Y)
    for name, value in {"layers": (9,), "activation": "tanh", "dtype": "float64"}.items():
        with pytest.raises(ValueError, match=f"{name} is another one than in the last call"):
            pickle.loads(pickle.dumps(found)).set_params(**{name: value}).fit(X, Y)
    with pytest.raises(ValueError, match="4 features"):
        found.fit(X[:, :3], Y)


def test_partial_fit() -> None:
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        quick().partial_fit(X, Y)
    with pytest.raises(ValueError, match='class_weight="balanced" needs all rows at once'):
        quick(class_weight="balanced").partial_fit(X, Y, np.unique(Y))
    ants = quick(class_weight={"ant": 0, "bee": 2}).partial_fit(X, Y, np.unique(Y))
    with pytest.raises(ValueError, match="class_weight is zero for the class of every row that counts"):
        ants.partial_fit(X[Y == "ant"], Y[Y == "ant"])
    with pytest.raises(ValueError, match="class_weight is zero for the class of every row that counts"):
        ants.fit(X, Y, sample_weight=Y == "ant")
    found = quick().partial_fit(X, Y, ["ant", "bee", "cat", "dog"])
    with pytest.raises(ValueError, match="the first call had"):
        found.partial_fit(X, Y, ["ant", "bee", "cat"])
    with pytest.raises(ValueError, match="label 'eel', which is not among"):
        found.partial_fit(X, np.full(30, "eel"))


def test_validation_rows() -> None:
    with pytest.raises(ValueError, match="X_val and y_val belong together"):
        quick().fit(X, Y, X_val=X)
    with pytest.raises(ValueError, match="label 'eel', which is not among"):
        quick().fit(X, Y, X_val=X, y_val=np.full(30, "eel"))
    with pytest.raises(ValueError, match="3 features"):
        quick().fit(X, Y, X_val=X[:, :3], y_val=Y)
    with pytest.raises(ValueError, match="there is 1 sample"):
        XPRegressor(early_stopping=True, device="cpu").fit(X[:1], [1.0])


def test_labels_that_do_not_exclude_each_other() -> None:
    several = np.arange(60).reshape(30, 2) % 3 % 2
    with pytest.raises(ValueError, match="class_weight is for classes that exclude each other"):
        quick(class_weight={0: 2}).fit(X, several)
    with pytest.raises(ValueError, match="rows of 2 numbers 0 or 1"):
        quick(warm_start=True).fit(X, several).fit(X, Y)


def test_rows_to_predict() -> None:
    found = quick().fit(X, Y)
    far = X * np.where(np.arange(30) == 7, 1e300, 1)[:, None]
    for call in (found.predict, found.predict_proba):
        with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"X, row 7: .* no finite number in float32"):
            call(far)
    for rows, said in ((X[:, :3], "3 features"), (X[0], "2D array"), (GAPS, "NaN"), (scipy.sparse.csr_array(X), "dense")):
        with pytest.raises((ValueError, TypeError), match=said):
            found.predict_proba(rows)


def state(estimator) -> tuple:
    """All that a failed call must leave as it was."""
    optimizer, net = estimator.trainer_.optimizer, estimator.net_
    scores = {name: list(column) for name, column in estimator.history_.items()}
    frozen = [entry.frozen for entry in net.parameters.trainable]
    settings = (repr(optimizer), optimizer.steps, optimizer.current_rate)
    return net, values(estimator), frozen, scores, estimator.n_iter_, net.device.name, settings, estimator.n_features_in_


def stop(trainer, record) -> None:
    raise KeyboardInterrupt


def meddle_and_stop(trainer, record) -> None:
    trainer.optimizer.learning_rate, trainer.optimizer.l2 = xn.ReduceOnPlateau(7.0), 3.0
    trainer.net.freeze(0)
    stop(trainer, record)


@pytest.mark.filterwarnings("ignore:.*")
def test_the_last_update_may_be_the_one_that_diverges() -> None:
    found = quick(optimizer="sgd").partial_fit(X, Y, classes=np.unique(Y))
    before = state(found)
    with pytest.raises(ValueError, match="training has diverged"):
        found.set_params(learning_rate=1e30).partial_fit(X, Y)  # one minibatch: its loss is that before
    assert state(found) == before
    found.set_params(learning_rate=None).partial_fit(X, Y).predict(X)
    with pytest.raises(ValueError, match="training has diverged"):
        XPRegressor(optimizer="sgd", learning_rate=1e20, batch_size=None, epochs=1, device="cpu").fit(X, X[:, 0])


FAILURES = {
    "diverged": ({"optimizer": "sgd", "learning_rate": 1e30, "batch_size": 8}, ValueError),
    "a callback that raises": ({"callbacks": [stop]}, KeyboardInterrupt),
    "a callback that changes settings first": ({"callbacks": [meddle_and_stop]}, KeyboardInterrupt),
    "on another device": ({"device": "sim", "callbacks": [stop]}, KeyboardInterrupt),
}


@pytest.mark.filterwarnings("ignore:.*")
@pytest.mark.parametrize("call", ["fit", "partial_fit"])
@pytest.mark.parametrize(("changed", "error"), FAILURES.values(), ids=FAILURES)
def test_going_on_that_fails_changes_nothing(changed, error, call) -> None:
    found = quick(warm_start=True).fit(X, Y)
    before, twin = state(found), pickle.loads(pickle.dumps(found))
    parameters = found.get_params()
    with pytest.raises(error):
        getattr(found.set_params(**changed), call)(X, Y)
    assert state(found) == before
    assert values(found.set_params(**parameters).fit(X, Y)) == values(twin.fit(X, Y))  # and goes on as if it had not been


def test_a_refit_that_fails_changes_nothing() -> None:
    pandas = pytest.importorskip("pandas")
    found = quick().fit(pandas.DataFrame(X, columns=list("abcd")), Y)
    before, answers = state(found), found.predict(pandas.DataFrame(X, columns=list("abcd"))).tolist()
    with pytest.raises(ValueError, match="1 class only"):
        found.fit(X[:, :2], np.zeros(30))
    with pytest.raises(KeyboardInterrupt):
        found.set_params(callbacks=stop).fit(X[:, :3], Y)
    assert state(found) == before
    assert found.predict(pandas.DataFrame(X, columns=list("abcd"))).tolist() == answers


def test_a_first_fit_that_fails_leaves_nothing() -> None:
    found = quick()
    with pytest.raises(ValueError, match="1 class only"):
        found.fit(X, np.zeros(30))
    assert not hasattr(found, "n_features_in_")
