"""The grid search over networks: all candidates are tried, and the best one is better than a linear model."""

from __future__ import annotations

import numpy as np
import pytest
from example_helpers import load_example

import xpnet as xn

pytestmark = pytest.mark.extras


def test_the_best_network_is_found_and_trained() -> None:
    pytest.importorskip("sklearn")
    example, data = load_example("grid_search"), xn.datasets.digits()
    found = example.search(data, "cpu", epochs=3)
    scores = found.cv_results_["mean_test_score"].reshape(len(example.NETWORKS), len(example.RATES))
    assert np.isfinite(scores).all()
    assert scores.max() == scores[1].max() > scores[0].max()  # hidden units, in as few epochs
    assert found.score(data.x_test, data.y_test) > 0.9
    assert found.best_estimator_[-1].classes_.tolist() == list(range(10))
