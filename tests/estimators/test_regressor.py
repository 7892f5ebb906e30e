"""XPRegressor: any unit, one output and several, weights, parts."""

from __future__ import annotations

import numpy as np
import pytest
from estimator_helpers import numbers, values

pytest.importorskip("sklearn")
pytestmark = pytest.mark.extras

from xpnet.preprocessing.rows import mean_and_std  # noqa: E402
from xpnet.sklearn import XPRegressor  # noqa: E402

QUICK = {"layers": (32,), "epochs": 40, "learning_rate": 0.01, "random_state": 0}


def test_a_plane_is_learned(device) -> None:
    x, y = numbers()
    found = XPRegressor(**QUICK, device=device).fit(x, y)
    assert found.score(x, y) > 0.98
    assert found.predict(x).shape == (120,)


@pytest.mark.parametrize(("factor", "offset"), [(1e-9, 0), (1e6, -3e7), (1e200, 0), (1, 1e9)])
def test_the_unit_of_y_does_not_matter(factor, offset) -> None:
    x, y = numbers()
    plain, other = (XPRegressor(**QUICK, device="cpu").fit(x, target) for target in (y, factor * y + offset))
    assert other.predict(x).dtype == np.float64
    np.testing.assert_allclose((other.predict(x) - offset) / factor, plain.predict(x), rtol=2e-3, atol=2e-3)
    assert other.loss_ == pytest.approx(plain.loss_, rel=0.05)


def test_several_outputs_of_different_units(device) -> None:
    x, y = numbers(outputs=3)
    y = y * [1e-3, 1, 1e5] + [0, 10, -1e6]
    found = XPRegressor(**QUICK, device=device).fit(x, y)
    assert found.predict(x).shape == y.shape
    assert found.score(x, y) > 0.97


def test_predictions_have_the_shape_and_the_type_of_y() -> None:
    x, y = numbers()
    for target, dtype, shape in (
        (y, "float64", (120,)),
        (y.astype("float32"), "float32", (120,)),
        (y[:, None], "float64", (120, 1)),
        (np.round(10 * y).astype(int), "float64", (120,)),
        (y.astype(object), "float64", (120,)),
    ):
        found = XPRegressor((4,), epochs=1, device="cpu").fit(x, target)
        assert (found.predict(x).dtype, found.predict(x).shape) == (np.dtype(dtype), shape)
        assert found.net_.parameters.dtype == np.float32


def test_whole_numbers_keep_their_digits() -> None:
    x, y = numbers()
    far = 1_700_000_000 + np.round(10 * y).astype(np.int64)
    found = XPRegressor(**QUICK, device="cpu").fit(x, far)
    assert found.score(x, far) == pytest.approx(
        XPRegressor(**QUICK, device="cpu").fit(x, far - 1_700_000_000.0).score(x, far - 1.7e9)
    )
    assert len(np.unique(found.predict(x))) > 100


@pytest.mark.filterwarnings("ignore:.*encountered in reduce")  # scikit-learn adds them up
def test_the_largest_numbers_are_scaled_and_those_of_another_world_refused() -> None:
    x, y = numbers()
    found = XPRegressor((4,), epochs=1, device="cpu", random_state=0).fit(x, np.where(y > 0, 5e307, -5e307))
    assert np.isfinite(found.predict(x)).all()
    found = XPRegressor((4,), device="cpu", random_state=0).partial_fit(x, y)
    before = found.predict(x).tobytes()
    with pytest.raises(ValueError, match=r"y, row 0: .* lies too far from the y that set the scale"):
        found.partial_fit(x, 1e39 * y)
    far, weights = y.copy(), np.ones(len(y))
    far[0], weights[0] = 1e38, 0  # a row that does not count
    XPRegressor((4,), epochs=1, device="cpu", random_state=0).fit(x, far, sample_weight=weights)
    assert found.predict(x).tobytes() == before


def test_constant_targets_are_predicted() -> None:
    x, _ = numbers()
    found = XPRegressor(**QUICK, device="cpu").fit(x, np.full(120, 0.1))
    np.testing.assert_allclose(found.predict(x), 0.1, atol=0.05)


def test_scales_are_those_of_the_weighted_rows() -> None:
    rng = np.random.default_rng(0)
    y, weights = rng.normal(5, 3, 50), rng.integers(0, 4, 50)
    repeated = y.repeat(weights)
    np.testing.assert_allclose(mean_and_std(y, weights), (repeated.mean(), repeated.std()), rtol=1e-12)
    huge = np.array([1e300, 1e300, -1e300])
    assert mean_and_std(huge, np.array([1, 2, 0])) == (1e300, 1)
    assert np.isfinite(mean_and_std(huge)).all()


def test_weights_are_repetitions() -> None:
    x, y = numbers(40)
    weights = np.random.default_rng(2).integers(0, 3, 40)
    whole = XPRegressor((8,), epochs=20, batch_size=None, device="cpu", dtype="float64", random_state=0)
    weighted = whole.fit(x, y, sample_weight=weights).predict(x)
    repeated = whole.fit(x.repeat(weights, axis=0), y.repeat(weights)).predict(x)
    np.testing.assert_allclose(weighted, repeated, rtol=1e-9)


def test_partial_fit_keeps_the_first_scale(device) -> None:
    x, y = numbers(outputs=2)
    found = XPRegressor((32,), learning_rate=0.01, device=device, random_state=0)
    for _ in range(20):
        for part in (slice(60), slice(60, 120)):
            found.partial_fit(x[part], y[part], sample_weight=np.ones(60))
    assert found.score(x, y) > 0.97
    assert found._target.mean == pytest.approx(y[:60].mean(axis=0))


def test_partial_fit_is_one_epoch_of_fit() -> None:
    x, y = numbers()
    parts = XPRegressor((8,), device="cpu", random_state=0).partial_fit(x, y).partial_fit(x, y)
    assert values(parts) == values(XPRegressor((8,), epochs=2, device="cpu", random_state=0).fit(x, y))


def test_sim_gives_what_the_cpu_gives() -> None:
    x, y = numbers()
    cpu, sim = (XPRegressor(**QUICK, device=name).fit(x, y).predict(x) for name in ("cpu", "sim"))
    np.testing.assert_allclose(sim, cpu, rtol=1e-5, atol=1e-5)
