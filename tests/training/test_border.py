"""What is handed in and back: host and device arrays, minibatches, copies, refusals by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from core_helpers import bits, classes_data, regression_data
from trainer_helpers import make, timeless

import xpnet as xn
from xpnet.training import feed


class TestInputs:
    def test_device_arrays(self, device):
        x, y = classes_data(30)
        weights = np.linspace(0.5, 2, 30).astype(np.float32)
        ends = []
        for put in (lambda a: a, device.put):
            trainer = make(device)
            trainer.fit(put(x), put(y), epochs=2, batch_size=7, sample_weight=put(weights), validation=(put(x), put(y)))
            trainer.partial_fit(put(x[:2]), put(y[:2]), sample_weight=put(weights[:2]))
            scores = trainer.evaluate(put(x), put(y), sample_weight=put(weights))
            ends.append((bits(trainer), scores, trainer.predict(put(x)).tobytes()))
        assert ends[0] == ends[1]

    @pytest.mark.parametrize("per_sample", [False, True], ids=["matrix", "per sample"])
    def test_nothing_of_the_users_is_written_to(self, device, per_sample):
        x, y = classes_data(30)
        given = [x.copy(), y.copy(), np.ones(30), x[:9].copy(), y[:9].copy()]
        for a in given:
            a.flags.writeable = False
        rows, labels, weights, vx, vy = given
        net = xn.Sequential(xn.ReLU(), xn.LeakyReLU(), xn.ELU(), xn.Identity(), xn.Dropout(0.1), xn.Flatten(), xn.Affine(3))
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=device)
        trainer.fit(rows, labels, sample_weight=weights, validation=(vx, vy), per_sample=per_sample)
        trainer.partial_fit(vx, vy)
        trainer.evaluate(vx, vy)
        trainer.predict(vx)
        np.testing.assert_array_equal(rows, x)
        np.testing.assert_array_equal(labels, y)

    @pytest.mark.parametrize("loss", [xn.SoftmaxCrossEntropy(), xn.HalfSquaredError(), xn.SigmoidCrossEntropy()], ids=repr)
    def test_nor_on_the_device(self, device, loss):
        x, labels = classes_data(30)
        y = labels if isinstance(loss, xn.SoftmaxCrossEntropy) else np.eye(3, dtype=np.float32)[labels]
        dx, dy, weights = device.put(x.copy()), device.put(y.copy()), device.put(np.full(30, 2, np.float32))
        net = xn.Sequential(xn.Tanh(), xn.Affine(3), xn.Identity())
        trainer = xn.Trainer(net, loss=loss, optimizer=xn.SGD(0.1), device=device)
        trainer.fit(dx, dy, batch_size=None, shuffle=False, sample_weight=weights)
        for _ in range(2):
            trainer.step(dx, dy, weights)
        np.testing.assert_array_equal(device.get(dx), x)
        np.testing.assert_array_equal(device.get(dy), y)
        np.testing.assert_array_equal(device.get(weights), 2)

    @pytest.mark.parametrize("batch_size", [7, None])
    @pytest.mark.parametrize("options", [{}, {"sample_weight": np.linspace(0.5, 2, 30)}], ids=["", "weighted"])
    def test_sets_too_large_for_the_device_are_fed_batch_by_batch(self, device, monkeypatch, batch_size, options):
        x, y = classes_data(30)
        ends, copied = [], []
        for budget in (1 << 30, 0):
            monkeypatch.setattr(feed, "RESIDENT_BYTES", budget)
            trainer = make(device).build((4,))
            with xn.ledger() as seen:
                history = trainer.fit(x, y, epochs=3, batch_size=batch_size, **options)
            ends.append((bits(trainer), timeless(history)))
            copied.append(seen.h2d_bytes)
        assert ends[0] == ends[1]
        if device.kind == "sim":
            once = x.nbytes + y.nbytes + 30 * 4 * bool(options)
            assert copied == [once + 3 * 30 * 8, 3 * once]  # the rows once and three orders; the rows three times

    @pytest.mark.parametrize("shape", [(60,), (60, 1)], ids=str)
    def test_regression_with_one_output(self, device, shape):
        x, y = regression_data()
        trainer = xn.Trainer(xn.Sequential(xn.Affine(1)), loss=xn.MeanSquaredError(), optimizer=xn.Adam(0.05), device=device)
        history = trainer.fit(x, y.reshape(shape), epochs=60, batch_size=16, validation=(x, y))
        assert history["loss"][-1] < 0.05 < 0.5 < history["loss"][0]
        assert history["validation_r2"][-1] > 0.97
        assert trainer.predict(x).shape == (60, 1)

    def test_shapes_of_one_column_agree(self, device):
        x, y = regression_data()
        ends = []
        for targets in (y, y[:, None], y.tolist(), y.astype(np.float64)):
            trainer = make(device, loss=xn.MeanSquaredError(), outputs=1)
            trainer.fit(x, targets, epochs=2)
            ends.append((bits(trainer), trainer.evaluate(x, targets)))
        assert all(end == ends[0] for end in ends)


class TestMinibatches:
    @pytest.mark.parametrize(
        ("n", "batch_size", "sizes"),
        [
            (10, 4, [4, 4, 2]),
            (10, 5, [5, 5]),
            (10, None, [10]),
            (10, 99, [10]),
            (3, 1, [1, 1, 1]),
            (10, np.int64(6), [6, 4]),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("shuffle", [True, False])
    def test_cuts_all_rows(self, device, n, batch_size, sizes, shuffle):
        batches = list(xn.minibatches(n, batch_size, shuffle=shuffle, device=device))
        assert [len(rows) for rows in batches] == sizes
        assert all(device.owns(rows) and rows.dtype == np.int64 for rows in batches)
        order = np.concatenate([device.get(rows) for rows in batches])
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
        assert shuffle or order.tolist() == list(range(n))

    def test_seed_and_epoch_decide_the_order(self, device):
        def order(**options):
            return np.concatenate([device.get(rows) for rows in xn.minibatches(100, 30, device=device, **options)]).tolist()

        assert order(seed=1) == order(seed=1) == np.random.default_rng([1, 0]).permutation(100).tolist()
        assert len({tuple(order(seed=s, epoch=e)) for s in (0, 1) for e in (0, 1)}) == 4

    def test_the_shared_index_vector_survives_its_users(self, device):
        for _ in range(2):
            rows = next(xn.minibatches(5, None, shuffle=False, device=device))
            np.testing.assert_array_equal(device.get(rows), np.arange(5))

    @pytest.mark.parametrize(
        ("n", "batch_size", "message"),
        [
            (0, 4, "zero samples"),
            (5, 0, "batch_size=0: it is a whole number from 1 on"),
            (5, -1, "batch_size=-1"),
            (5, 2.5, r"batch_size=2\.5"),
            (5, True, "batch_size=True"),
        ],
        ids=str,
    )
    def test_refused(self, n, batch_size, message):
        with pytest.raises(ValueError, match=message):
            list(xn.minibatches(n, batch_size))


class TestTheBorder:
    def test_what_a_loss_prepares_is_what_it_gets(self, device):
        class Hinge(xn.Loss):
            def prepare(self, targets, dtype, outputs):
                return super().prepare(2 * targets - 1, dtype, outputs)

            def compute(self, y, targets, step, weights, count):
                seen.update(np.unique(step.device.get(targets)).tolist())
                return (y * 0).sum() / count, y * 0

        seen = set()
        net = xn.Sequential(xn.Affine(1))
        trainer = xn.Trainer(net, loss=Hinge(), optimizer=xn.SGD(1.0), device=device, metrics=())
        y = np.array([0, 1, 1, 0], np.float32)
        for targets in (y, y[:, None], device.put(y[:, None])):
            trainer.fit(np.ones((4, 2)), targets)
        assert seen == {-1, 1}

    def test_unshuffled_batches_are_the_receivers_own(self, device):
        with device.use():
            for rows in xn.minibatches(3, None, shuffle=False, device=device):
                rows += 100
        assert device.get(device.arange(3)).tolist() == [0, 1, 2]

    def test_weights_that_cancel_are_refused(self, device):
        x, y = classes_data(20)
        with pytest.raises(ValueError, match="sample_weight times class_weight: weights are not negative and not all zero"):
            make(device).fit(x, y, sample_weight=(y == 0) * 1.0, class_weight={0: 0, 1: 1, 2: 1})

    def test_ignored_rows_do_not_count_in_the_accuracy(self, device):
        x, y = classes_data(60)
        trainer = make(device, loss=xn.SoftmaxCrossEntropy(ignore_index=-1))
        trainer.fit(x, y, epochs=3)
        some = np.where(np.arange(60) % 2, y, -1)
        assert trainer.evaluate(x, some)["accuracy"] == trainer.evaluate(x[1::2], y[1::2])["accuracy"]
        assert math.isnan(trainer.evaluate(x, np.full(60, -1))["accuracy"])

    def test_inputs_too_large_for_the_device_with_targets_on_it(self, monkeypatch):
        monkeypatch.setattr(feed, "RESIDENT_BYTES", 0)
        device, (x, y) = xn.device("sim"), classes_data(40)
        ends = []
        for targets in (y, device.put(y)):
            trainer = make(device)
            trainer.fit(x, targets, epochs=2, batch_size=7)
            ends.append(bits(trainer.net))
        assert ends[0] == ends[1]

    def test_validation_data_go_to_the_device_once(self):
        x, y = classes_data(3000)
        copied = []
        for epochs in (1, 5):
            with xn.ledger() as seen:
                make("sim").fit(x[:64], y[:64], epochs=epochs, validation=(x, y))
            copied.append(seen.h2d_bytes)
        assert copied[1] - copied[0] == 4 * 64 * 8  # the order of the rows, epoch by epoch

    def test_per_sample_steps_on_another_than_the_current_gpu(self):
        device, (x, y) = xn.device("sim:1"), classes_data(6)
        trainer = make(device).build(x.shape[1])
        trainer.step(device.put(x, "float32"), device.put(y), per_sample=True)


class TestGradientsByHand:
    @pytest.mark.parametrize(
        ("dy", "message"),
        [(np.zeros(3, np.float32), r"of shape \(3,\).*\(6, 3\)"), (np.zeros((6, 3)), "float64.*float32"),
         (np.zeros((5, 3), np.float32), r"\(5, 3\).*\(6, 3\)")],
        ids=["shape", "dtype", "rows"],
    )  # fmt: skip
    def test_backward_refuses_what_the_outputs_were_not(self, device, dy, message):
        x, _ = classes_data(6)
        net = make(device).build(x.shape[1]).net
        step = net.step(training=True)
        _, cache = net.forward(device.put(x, "float32"), step)
        with pytest.raises(ValueError, match=message):
            net.backward(device.put(dy), cache, step)

    def test_labels_beside_the_ignored_one_are_checked(self, device):
        x, y = classes_data(6)
        trainer = make(device, loss=xn.SoftmaxCrossEntropy(ignore_index=255)).build(x.shape[1])
        for bad in (77, -3):
            labels = np.where(np.arange(6) == 2, bad, np.where(np.arange(6) == 3, 255, y))
            with pytest.raises(ValueError, match=f"{bad}"):
                trainer.step(device.put(x, "float32"), device.put(labels))

    def test_weights_of_another_precision_are_refused(self, device):
        x, y = classes_data(6)
        trainer = make(device).build(x.shape[1])
        with pytest.raises(TypeError, match="outputs are float32, weights int64"):
            trainer.step(device.put(x, "float32"), device.put(y), device.put(np.ones(6, np.int64)))
