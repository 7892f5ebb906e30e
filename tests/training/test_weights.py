"""Sample and class weights, losses of one's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from core_helpers import bits, classes_data
from trainer_helpers import LOSS_IDS, LOSSES, make, targets_for

import xpnet as xn


class TestWeights:
    @pytest.mark.parametrize(("loss", "kind"), LOSSES, ids=LOSS_IDS)
    def test_a_whole_number_repeats_the_row(self, device, loss, kind):
        """As one batch, weights (2, 3, 1, ...) are rows that stand there 2, 3, 1, ... times."""
        x, labels = classes_data(12)
        y, counts = targets_for(kind, labels), np.array([2, 3, 1] * 4)
        ends = []
        for rows, weights in ((np.repeat(np.arange(12), counts), None), (np.arange(12), counts)):
            trainer = make(device, dropout=0, loss=loss, optimizer=xn.SGD(0.1), dtype="float64")
            trainer.fit(x[rows], y[rows], epochs=3, batch_size=None, shuffle=False, sample_weight=weights)
            ends.append(trainer.net.parameters.snapshot())
        for name in ends[0]:
            np.testing.assert_allclose(ends[1][name], ends[0][name], rtol=1e-11, atol=1e-13)

    @pytest.mark.parametrize(("loss", "kind"), LOSSES, ids=LOSS_IDS)
    def test_equal_weights_are_none_at_all(self, device, loss, kind):
        x, labels = classes_data(12)
        ends = []
        for weights in (None, np.full(12, 2.5)):
            trainer = make(device, dropout=0, loss=loss, dtype="float64")
            trainer.fit(x, targets_for(kind, labels), epochs=3, batch_size=5, sample_weight=weights)
            ends.append(trainer.net.parameters.snapshot())
        for name in ends[0]:
            np.testing.assert_allclose(ends[1][name], ends[0][name], rtol=1e-10, atol=1e-12)

    @pytest.mark.parametrize("unit", [1e-300, 1e-50, 2.0**-20, 1e39, 1e300])
    def test_their_unit_does_not_count(self, device, unit):
        """Weights beyond float32 too; a unit that is a power of two gives the same bytes."""
        x, y = classes_data(12)
        ends = []
        for scale in (1.0, unit):
            trainer = make(device, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1))
            weights = np.array([0.5, 1, 3] * 4) * scale
            trainer.fit(x, y, batch_size=5, sample_weight=weights, class_weight={0: scale, 1: 2 * scale, 2: scale})
            ends.append((trainer.evaluate(x, y, sample_weight=weights)["loss"], *trainer.net.parameters.snapshot().values()))
        for found, expected in zip(*ends, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
            assert unit != 2.0**-20 or np.array_equal(found, expected)

    @pytest.mark.parametrize(("loss", "kind"), LOSSES, ids=LOSS_IDS)
    @pytest.mark.parametrize("batch_size", [1, 4])
    def test_batches_of_no_weight_change_nothing(self, device, loss, kind, batch_size):
        """Rows of weight 0 fill whole batches: SGD steps over them, and no NaN appears."""
        x, labels = classes_data(12)
        y = targets_for(kind, labels)
        weights = np.repeat([1.0, 0.0, 1.0], 4)
        trainer = make(device, dropout=0, loss=loss, optimizer=xn.SGD(0.1), dtype="float64")
        history = trainer.fit(x, y, batch_size=batch_size, shuffle=False, sample_weight=weights)
        other = make(device, dropout=0, loss=loss, optimizer=xn.SGD(0.1), dtype="float64")
        other.fit(x[weights > 0], y[weights > 0], batch_size=batch_size, shuffle=False)
        assert math.isfinite(history["loss"][0])
        for name, a in trainer.net.parameters.snapshot().items():
            np.testing.assert_allclose(a, other.net.parameters.snapshot()[name], rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize(("loss", "kind"), LOSSES, ids=LOSS_IDS)
    def test_evaluating_rows_of_no_weight(self, device, loss, kind):
        """1024 rows of weight 0 are a part of their own; the score is that of the others."""
        x, labels = classes_data(1100)
        y = targets_for(kind, labels)
        trainer = make(device, loss=loss, metrics=()).build((4,))
        weights = (np.arange(1100) >= 1024).astype(float)
        found = trainer.evaluate(x, y, sample_weight=weights)["loss"]
        assert found == pytest.approx(trainer.evaluate(x[1024:], y[1024:])["loss"], rel=1e-5)

    @pytest.mark.parametrize(
        ("class_weight", "by_label"),
        [
            ({0: 1.0, 1: 2.0, 2: 0.5}, lambda y: np.array([1.0, 2.0, 0.5])[y]),
            ({0: 1, 1: 2, 2: 3, 7: 9}, lambda y: np.array([1.0, 2.0, 3.0])[y]),
            ("balanced", lambda y: len(y) / (3 * np.bincount(y))[y]),
        ],
        ids=["mapping", "with a label that does not occur", "balanced"],
    )
    def test_class_weight_is_a_sample_weight(self, device, class_weight, by_label):
        x, y = classes_data(30)
        ends = []
        for options in ({"class_weight": class_weight}, {"sample_weight": by_label(y)}):
            trainer = make(device)
            trainer.fit(x, y, epochs=2, batch_size=7, **options)
            ends.append(bits(trainer))
        assert ends[0] == ends[1]
        unweighted = make(device)
        unweighted.fit(x, y, epochs=2, batch_size=7)
        assert bits(unweighted) != ends[0]

    def test_both_multiply(self, device):
        x, y = classes_data(30)
        weights, by_class = np.linspace(0.5, 1.5, 30), {0: 1.0, 1: 2.0, 2: 0.5}
        ends = []
        for options in (
            {"class_weight": by_class, "sample_weight": weights},
            {"sample_weight": weights * np.array([1.0, 2.0, 0.5])[y]},
        ):
            trainer = make(device)
            trainer.fit(x, y, epochs=2, batch_size=7, **options)
            ends.append(bits(trainer))
        assert ends[0] == ends[1]

    def test_balanced_gives_every_class_the_same_sum(self):
        y = np.array([0] * 6 + [1] * 3 + [5])
        from xpnet.training.data import label_weights

        w = label_weights(y, "balanced")
        assert [w[y == c].sum() for c in (0, 1, 5)] == pytest.approx([10 / 3] * 3)
        assert w.mean() == pytest.approx(1)

    def test_partial_fit_takes_weights(self, device):
        x, y = classes_data(6)
        ends = []
        for rows, weights in ((np.array([0, 0, 1]), None), (np.array([0, 1]), [2, 1])):
            trainer = make(device, dropout=0, optimizer=xn.SGD(0.1), dtype="float64")
            trainer.partial_fit(x[rows], y[rows], sample_weight=weights)
            ends.append(trainer.net.parameters.snapshot())
        for name in ends[0]:
            np.testing.assert_allclose(ends[1][name], ends[0][name], rtol=1e-12, atol=1e-14)


class TestOwnLosses:
    """A loss of one's own may return any 0-d value: ``fit`` records what it returned."""

    class Plain(xn.Loss):
        def compute(self, y, targets, step, weights, count):
            d = y - targets
            return step.xp.absolute(d).sum() / count, step.xp.sign(d) / count

    class TenTimes(xn.MeanSquaredError):
        def compute(self, y, targets, step, weights, count):
            value, dy = super().compute(y, targets, step, weights, count)
            return value * 10, dy * 10

    class Both(xn.MeanSquaredError):
        def compute(self, y, targets, step, weights, count):
            one, d_one = super().compute(y, targets, step, weights, count)
            two, d_two = xn.HalfSquaredError().compute(y, targets, step, weights, count)
            return one + two, d_one + d_two

    @pytest.mark.parametrize("kind", [Plain, TenTimes, Both], ids=lambda kind: kind.__name__)
    def test_history_is_what_evaluate_says(self, device, kind):
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((40, 4)), rng.standard_normal(40)
        net = xn.Sequential(xn.Affine(1))
        trainer = xn.Trainer(net, loss=kind(), optimizer=xn.SGD(1e-12), device=device, dtype="float64").build(4)
        before = trainer.evaluate(x, y)["loss"]
        assert trainer.fit(x, y, batch_size=7)["loss"] == pytest.approx([before], rel=1e-8)
        assert xn.gradcheck(kind(), (3,), device=device)
