"""XPClassifier: labels of every kind, probabilities, weights, parts, images."""

from __future__ import annotations

import numpy as np
import pytest
from estimator_helpers import classes, values

pytest.importorskip("sklearn")
pytestmark = pytest.mark.extras

from sklearn.base import clone  # noqa: E402
from sklearn.datasets import load_digits, make_multilabel_classification  # noqa: E402
from sklearn.exceptions import DataConversionWarning  # noqa: E402
from sklearn.preprocessing import scale  # noqa: E402

import xpnet as xn  # noqa: E402
from xpnet.sklearn import XPClassifier  # noqa: E402


def test_names_are_learned_and_given_back(device) -> None:
    x, y = classes()
    found = XPClassifier((16,), epochs=40, learning_rate=0.01, device=device, random_state=0).fit(x, y)
    assert found.score(x, y) > 0.95
    assert found.classes_.tolist() == ["ant", "bee", "cat"]
    assert found.predict(x).dtype == y.dtype
    assert (found.n_features_in_, found.n_iter_) == (4, 40)
    assert found.loss_ == found.history_["loss"][-1] < 0.5 * found.history_["loss"][0]
    assert found.net_ is found.trainer_.net
    assert found.net_.device == device


@pytest.mark.parametrize(
    "y",
    [np.arange(60) % 2 == 0, np.where(np.arange(60) % 2, 7, -3), np.array(["no", "yes"] * 30, object)],
    ids=["bool", "int", "object"],
)
def test_two_classes_of_any_kind(y) -> None:
    x = np.random.default_rng(0).normal(size=(60, 3)) + 3 * (np.arange(60) % 2)[:, None]
    found = XPClassifier((8,), epochs=30, learning_rate=0.02, device="cpu", random_state=0).fit(x, y)
    assert found.predict_proba(x).shape == (60, 2)
    assert found.predict(x).dtype == y.dtype
    assert (found.predict(x) == y).mean() > 0.95


def test_probabilities_are_the_network_s_softmax(device) -> None:
    x, y = classes()
    found = XPClassifier((8,), epochs=5, device=device, random_state=0).fit(x, y)
    far = 1e4 * x  # where exp alone would overflow, and the logarithm of a probability be minus infinity
    for rows in (x, far):
        logits = found.net_.predict(rows).astype(np.float64)
        expected = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        np.testing.assert_allclose(found.predict_log_proba(rows), expected, rtol=1e-5, atol=1e-5)
        probabilities = found.predict_proba(rows)
        np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-14)
        assert probabilities.dtype == np.float64
        assert (found.classes_[probabilities.argmax(axis=1)] == found.predict(rows)).all()
    assert np.isfinite(found.predict_log_proba(far)).all()


def test_several_labels(device) -> None:
    x, y = make_multilabel_classification(120, 6, n_classes=4, random_state=0)
    found = XPClassifier((64,), epochs=80, learning_rate=0.01, device=device, random_state=0).fit(scale(x), y)
    predicted, probabilities = found.predict(scale(x)), found.predict_proba(scale(x))
    assert predicted.shape == probabilities.shape == y.shape
    assert ((probabilities > 0.5) == predicted).all()
    assert (predicted == y).mean() > 0.9 > max(y.mean(axis=0))
    assert isinstance(found.trainer_.loss, xn.SigmoidCrossEntropy)


def test_a_column_of_labels_is_taken_with_a_warning() -> None:
    x, y = classes(30)
    with pytest.warns(DataConversionWarning):
        column = XPClassifier((4,), epochs=2, device="cpu", random_state=0).fit(x, y[:, None])
    assert values(column) == values(XPClassifier((4,), epochs=2, device="cpu", random_state=0).fit(x, y))


def test_sim_gives_what_the_cpu_gives() -> None:
    x, y = classes()
    cpu, sim = (XPClassifier((16,), epochs=10, device=name, random_state=3).fit(x, y) for name in ("cpu", "sim"))
    np.testing.assert_allclose(sim.predict_proba(x), cpu.predict_proba(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("weight", [{"ant": 1, "bee": 1, "cat": 30}, {"cat": 30}])
def test_class_weight_draws_answers_to_a_class(weight) -> None:
    x, y = classes()
    x += np.random.default_rng(1).normal(scale=3, size=x.shape)  # the clouds overlap
    quick = XPClassifier((8,), epochs=40, learning_rate=0.01, device="cpu", random_state=0)
    plain, drawn = (clone(quick).set_params(class_weight=w).fit(x, y) for w in (None, weight))
    assert (drawn.predict(x) == "cat").mean() > (plain.predict(x) == "cat").mean() + 0.15


def test_class_weights_are_sample_weights_by_class() -> None:
    x, y = classes()
    options = {"layers": (8,), "epochs": 5, "device": "cpu", "random_state": 0, "dtype": "float64"}
    by_class = XPClassifier(**options, class_weight={"ant": 2, "bee": 1, "cat": 5}).fit(x, y)
    by_row = XPClassifier(**options).fit(x, y, sample_weight=np.select([y == "ant", y == "cat"], [2, 5], 1))
    np.testing.assert_allclose(by_class.predict_proba(x), by_row.predict_proba(x), rtol=1e-9)


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e30, 1e300])
def test_the_size_of_weights_does_not_matter(size) -> None:
    x, y = classes()
    rows = np.random.default_rng(0).integers(0, 4, len(y)).astype(float)
    by_class = {"ant": 1, "bee": 2, "cat": 3}
    for early_stopping in (False, True):
        model = XPClassifier((8,), epochs=3, device="cpu", random_state=0, early_stopping=early_stopping)
        plain = clone(model).set_params(class_weight=by_class).fit(x, y, rows)
        model.set_params(class_weight={name: size * weight for name, weight in by_class.items()}).fit(x, y, size * rows)
        assert model.loss_ == pytest.approx(plain.loss_, rel=1e-5)
        np.testing.assert_allclose(model.predict_proba(x), plain.predict_proba(x), rtol=1e-4)


def test_balanced_is_one_over_the_frequency() -> None:
    x, y = classes()
    x, y = x[(y != "cat") | (np.arange(len(y)) % 5 == 0)], y[(y != "cat") | (np.arange(len(y)) % 5 == 0)]
    found = XPClassifier((8,), epochs=1, device="cpu", class_weight="balanced").fit(x, y)
    counts = np.array([(y == c).sum() for c in found.classes_])
    np.testing.assert_allclose(found.trainer_.loss.class_weights, counts.min() / counts)


def test_rows_of_weight_0_do_not_count() -> None:
    x, y = classes()
    wrong = np.where(np.arange(90) < 30, "bee", y)
    found = XPClassifier((16,), epochs=60, device="cpu", random_state=0).fit(x, wrong, sample_weight=np.arange(90) >= 30)
    assert found.score(x, y) > 0.9
    assert found.score(x, wrong, sample_weight=np.arange(90) >= 30) > 0.9 > found.score(x, wrong)


def test_partial_fit_takes_classes_first_and_rows_in_parts() -> None:
    x, y = classes()
    order = np.argsort(y)  # the first part has one class only
    found = XPClassifier((16,), learning_rate=0.01, device="cpu", random_state=0)
    for _ in range(40):
        for part in np.array_split(order, 3):
            found.partial_fit(x[part], y[part], classes=["cat", "ant", "bee"], sample_weight=np.ones(len(part)))
    assert found.score(x, y) > 0.9
    assert found.n_iter_ == 120


def test_partial_fit_is_one_epoch_of_fit(device) -> None:
    x, y = classes()
    parts = XPClassifier((8,), device=device, random_state=0)
    for _ in range(3):
        parts.partial_fit(x, y, classes=np.unique(y))
    assert values(parts) == values(XPClassifier((8,), epochs=3, device=device, random_state=0).fit(x, y))


def test_partial_fit_of_several_labels_needs_no_classes() -> None:
    x, y = make_multilabel_classification(60, 5, n_classes=3, random_state=0)
    found = XPClassifier((8,), device="cpu").partial_fit(x, y).partial_fit(x, y)
    assert found.predict(x).shape == (60, 3)


def test_images_by_a_network_for_images(device) -> None:
    x, y = load_digits(return_X_y=True)
    images = (x[:300] / 16).reshape(-1, 8, 8, 1)
    layers = [xn.Conv2d(8, 3), xn.ReLU(), xn.MaxPool2d(2), xn.Flatten(), xn.Affine(10)]
    found = XPClassifier(layers, epochs=25, learning_rate=0.01, device=device, random_state=0, early_stopping=True)
    assert found.fit(images[:250], y[:250]).score(images[250:], y[250:300]) > 0.8
    with pytest.raises(ValueError, match=r"8, 7, 1"):
        found.predict(images[:, :, :7])


def test_widths_take_images_as_rows() -> None:
    x, y = load_digits(return_X_y=True)
    flat, images = (XPClassifier((16,), epochs=2, device="cpu", random_state=0).fit(a, y) for a in (x, x.reshape(-1, 8, 8)))
    assert (flat.predict(x) == images.predict(x.reshape(-1, 8, 8))).all()


def test_several_labels_in_parts_have_no_names() -> None:
    x, _ = classes()
    y = (x[:, :3] > 0).astype(int)
    found = XPClassifier((4,), device="cpu")
    for classes_given in (["dog", "cat"], [0, 1]):
        with pytest.raises(ValueError, match="y has 3 labels, which have no names: leave it out"):
            found.partial_fit(x, y, classes=classes_given)
    found.partial_fit(x, y).partial_fit(x, y, classes=[0, 1, 2])
    assert found.classes_.tolist() == [0, 1, 2]
