"""Every check that scikit-learn has for estimators, on the CPU and the simulated GPU, and what of it its own MLP fails."""

from __future__ import annotations

from inspect import signature

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytestmark = pytest.mark.extras

from sklearn.neural_network import MLPClassifier, MLPRegressor  # noqa: E402
from sklearn.utils import estimator_checks  # noqa: E402

import xpnet as xn  # noqa: E402
from xpnet.sklearn import XPClassifier, XPRegressor  # noqa: E402

weights_rows = pytest.mark.skipif("sample_weight" not in signature(MLPClassifier.fit).parameters, reason="since 1.7")
WEIGHTS = "check_sample_weight_equivalence_on_dense_data"
SETTINGS = {  # few epochs, as scikit-learn tests its own MLP with few; sim is slow
    "cpu": {"device": "cpu", "epochs": 40},
    "sim": {"device": "sim", "epochs": 20, "learning_rate": 5e-3},
    "float64": {"device": "cpu", "epochs": 40, "dtype": "float64", "l2": 1e-4},
    "sgd": {"device": "cpu", "optimizer": "sgd", "epochs": 60},
    "early stopping": {"device": "cpu", "early_stopping": True, "epochs": 60},
}


def own_layers(n_features: int, n_outputs: int) -> xn.Sequential:
    return xn.Sequential(xn.Affine(32), xn.LeakyReLU(), xn.LayerNorm(), xn.Affine(n_outputs))


def expected_failures(estimator) -> dict[str, str]:
    """To 1e-7, weighted rows are as good as repeated ones: but not in float32, and not where other rows are held out."""
    if estimator.early_stopping:
        return {WEIGHTS: "other rows are held out; as in scikit-learn's MLP"}
    return {WEIGHTS: "float32; as in scikit-learn's MLP"} if estimator.dtype == "float32" else {}


@pytest.mark.filterwarnings("ignore")  # of the checks, which pass odd data on purpose
@estimator_checks.parametrize_with_checks(
    [estimator(**settings) for settings in SETTINGS.values() for estimator in (XPClassifier, XPRegressor)]
    + [XPClassifier(own_layers, device="cpu", epochs=40), XPRegressor(own_layers, device="cpu", epochs=40)],
    expected_failed_checks=expected_failures,
)
def test_check(estimator, check) -> None:
    check(estimator)


@weights_rows
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mlp", [MLPClassifier, MLPRegressor])
def test_scikit_learn_s_own_network_fails_it_in_float32(mlp) -> None:
    class Single(mlp):
        def fit(self, X, y, sample_weight=None):
            return super().fit(np.asarray(X, np.float32), y, sample_weight)

    weights_check = getattr(estimator_checks, WEIGHTS)
    with pytest.raises(AssertionError, match="not equivalent"):
        weights_check("Single", Single(learning_rate_init=0.01))
    weights_check(mlp.__name__, mlp(learning_rate_init=0.01))  # in float64 it passes, as ours does


@weights_rows
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mlp", [MLPClassifier, MLPRegressor])
def test_scikit_learn_s_own_network_fails_it_with_early_stopping(mlp) -> None:
    with pytest.raises(AssertionError, match="not equivalent"):
        getattr(estimator_checks, WEIGHTS)(mlp.__name__, mlp(max_iter=60, early_stopping=True, validation_fraction=0.3))
