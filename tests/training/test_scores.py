"""Evaluation and metrics of a trainer."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from core_helpers import bits, classes_data, mlp, regression_data
from trainer_helpers import make, softmax_loss

import xpnet as xn


class TestEvaluate:
    @pytest.mark.parametrize("n", [1, 50, 2500])
    def test_loss_and_accuracy_by_their_definitions(self, device, n):
        x, y = classes_data(max(n, 3))
        x, y = x[:n], y[:n]
        trainer = make(device).build((4,))
        scores = trainer.evaluate(x, y)
        logits = trainer.predict(x)
        assert list(scores) == ["loss", "accuracy"]
        assert [type(s) for s in scores.values()] == [float, float]
        assert scores["loss"] == pytest.approx(softmax_loss(logits, y), rel=1e-5)
        assert scores["accuracy"] == np.mean(logits.argmax(1) == y)

    def test_weights(self, device):
        x, y = classes_data(2500)
        weights = np.linspace(0, 3, 2500)
        trainer = make(device).build((4,))
        scores = trainer.evaluate(x, y, sample_weight=weights)
        logits = trainer.predict(x)
        assert scores["loss"] == pytest.approx(softmax_loss(logits, y, weights), rel=1e-5)
        assert scores["accuracy"] == pytest.approx(np.average(logits.argmax(1) == y, weights=weights), rel=1e-6)

    def test_changes_nothing(self, device):
        trainer = make(device)
        x, y = classes_data(30)
        trainer.fit(x, y)
        before = (bits(trainer), trainer.optimizer.steps, trainer.net.steps_begun, trainer.epoch)
        history = copy.deepcopy(trainer.history)
        first = trainer.evaluate(x, y)
        assert trainer.evaluate(x, y) == first
        assert (bits(trainer), trainer.optimizer.steps, trainer.net.steps_begun, trainer.epoch) == before
        assert trainer.history == history

    def test_a_net_on_another_device_than_the_trainers(self):
        """Built by hand on the CPU, not moved yet: evaluate and predict work where the network is."""
        net = mlp(device="cpu")
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="sim")
        x, y = classes_data(10)
        expected = xn.Trainer(mlp(), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="cpu").evaluate(x, y)
        np.testing.assert_array_equal(trainer.predict(x), mlp().predict(x))
        assert trainer.evaluate(x, y) == expected

    def test_predict_is_the_networks(self, device):
        trainer = make(device).build((4,))
        x, _ = classes_data(10)
        np.testing.assert_array_equal(trainer.predict(x), trainer.net.predict(x))
        np.testing.assert_allclose(trainer.predict(x, batch_size=3), trainer.net.predict(x), rtol=1e-5)


def bias(outputs, targets, weights=None):
    """Mean of the outputs minus that of the targets: a metric of the user's own."""
    return np.mean(outputs) - np.mean(targets)


class TestMetrics:
    Z = np.array([[2.0, 1.0, 0.0], [0.0, 0.5, 3.0], [1.0, 2.0, 1.5], [0.1, 0.0, -1.0]])
    W = np.array([1.0, 2.0, 3.0, 4.0])
    T = np.array([[0.0, 1.0], [2.0, 3.0], [1.0, 5.0], [4.0, 2.0]])
    Y = T + np.array([[1.0, 0.0], [0.0, 2.0], [0.0, -1.0], [1.0, 0.0]])

    @pytest.mark.parametrize(("weights", "expected"), [(None, 3 / 4), (W, (1 + 2 + 4) / 10)], ids=["", "weighted"])
    @pytest.mark.parametrize("targets", [[0, 2, 0, 0], np.eye(3)[[0, 2, 0, 0]]], ids=["labels", "one-hot"])
    def test_accuracy(self, weights, expected, targets):
        assert xn.accuracy(self.Z, np.array(targets), weights) == pytest.approx(expected)

    def test_accuracy_of_sequences(self):
        """Two samples with two moments each: 1/2 and 1 of them right."""
        z = np.array([[[1.0, 0], [1, 0]], [[0, 1], [1, 0]]])
        y = np.array([[0, 1], [1, 0]])
        assert xn.accuracy(z, y) == 3 / 4
        assert xn.accuracy(z, y, np.array([3.0, 1.0])) == pytest.approx((3 * 0.5 + 1) / 4)

    @pytest.mark.parametrize(("weights", "expected"), [(None, 3 / 4), (W, (1 + 2 + 4) / 10)], ids=["", "weighted"])
    @pytest.mark.parametrize("shape", [(4,), (4, 1)], ids=str)
    def test_binary_accuracy(self, weights, expected, shape):
        logits = np.array([[3.0], [-2.0], [0.5], [-0.1]])
        targets = np.array([1.0, 0.0, 0.0, 0.4]).reshape(shape)
        assert xn.binary_accuracy(logits, targets, weights) == pytest.approx(expected)

    @pytest.mark.parametrize(
        ("weights", "expected"),
        [(None, math.sqrt(7 / 8)), (W, math.sqrt((1 * 0.5 + 2 * 2 + 3 * 0.5 + 4 * 0.5) / 10))],
        ids=["", "weighted"],
    )
    def test_rmse(self, weights, expected):
        assert xn.rmse(self.Y, self.T, weights) == pytest.approx(expected)

    def test_r2(self):
        """First column: mean 7/4, sum of squares 8.75, errors 2; second: mean 11/4, 8.75, errors 5."""
        assert xn.r2(self.Y, self.T) == pytest.approx((1 - 2 / 8.75 + 1 - 5 / 8.75) / 2)
        assert xn.r2(self.T, self.T) == 1
        assert xn.r2(np.full((4, 2), self.T.mean(0)), self.T) == pytest.approx(0)

    def test_r2_weighted(self):
        t, y, w = self.T[:, 0], self.Y[:, 0], self.W
        mean = (t * w).sum() / 10
        expected = 1 - ((y - t) ** 2 * w).sum() / ((t - mean) ** 2 * w).sum()
        assert xn.r2(y[:, None], t, w) == pytest.approx(expected)

    def test_r2_of_equal_targets_is_not_a_number(self):
        assert math.isnan(xn.r2(np.array([[1.0], [2.0]]), np.array([3.0, 3.0])))

    @pytest.mark.parametrize(
        ("loss", "names"),
        [
            (xn.SoftmaxCrossEntropy(), ["accuracy"]),
            (xn.SigmoidCrossEntropy(), ["binary_accuracy"]),
            (xn.MeanSquaredError(), ["rmse", "r2"]),
            (xn.HalfSquaredError(), ["rmse", "r2"]),
        ],
        ids=repr,
    )
    def test_those_that_suit_the_loss(self, device, loss, names):
        x, labels = classes_data(30)
        y = labels if isinstance(loss, xn.SoftmaxCrossEntropy) else np.eye(3)[labels]
        trainer = make(device, loss=loss)
        history = trainer.fit(x, y, validation=(x, y))
        assert list(trainer.evaluate(x, y)) == ["loss", *names]
        assert [name for name in history if name.startswith("validation_")] == [f"validation_{n}" for n in ["loss", *names]]

    @pytest.mark.parametrize(
        ("given", "names"),
        [
            (["rmse"], ["rmse"]),
            ("rmse", ["rmse"]),
            ((), []),
            ([bias], ["bias"]),
            (bias, ["bias"]),
            ({"mine": bias}, ["mine"]),
            (["r2", bias, xn.rmse], ["r2", "bias", "rmse"]),
            ({"a": xn.rmse, "b": bias}, ["a", "b"]),
        ],
        ids=["names", "one name", "none", "function", "one function", "mapping", "mixed", "two in a mapping"],
    )
    def test_given_by_the_user(self, device, given, names):
        x, y = regression_data()
        trainer = make(device, loss=xn.MeanSquaredError(), outputs=1, metrics=given).build((4,))
        scores = trainer.evaluate(x, y)
        assert list(scores) == ["loss", *names]
        outputs = trainer.predict(x)
        expected = {
            "rmse": xn.rmse(outputs, y),
            "r2": xn.r2(outputs, y),
            "bias": outputs.mean() - y.mean(),
            "mine": outputs.mean() - y.mean(),
            "a": xn.rmse(outputs, y),
            "b": outputs.mean() - y.mean(),
        }
        for name in names:
            assert scores[name] == pytest.approx(expected[name], rel=1e-5)

    def test_rmse_agrees_with_the_loss(self, device):
        x, y = regression_data()
        scores = make(device, loss=xn.MeanSquaredError(), outputs=1).build((4,)).evaluate(x, y)
        assert scores["rmse"] == pytest.approx(math.sqrt(scores["loss"]), rel=1e-5)

    def test_an_unknown_name_is_refused_with_those_there_are(self):
        with pytest.raises(ValueError, match=r"no metric is called 'auc'; there are accuracy, binary_accuracy, rmse, r2"):
            make(metrics=["accuracy", "auc"])
