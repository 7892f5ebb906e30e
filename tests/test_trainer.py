"""The trainer: what its loop does, what it reports, what it leaves alone, and what a step costs a GPU."""

from __future__ import annotations

import copy
import math
import time

import numpy as np
import pytest
from core_helpers import bits, classes_data, mlp, regression_data, run_step

import xpnet as xn
from xpnet.backends.sim import counters
from xpnet.training import feed


def make(device="cpu", *, dropout=0.2, loss=None, optimizer=None, outputs=3, seed=0, **options):
    """A trainer of a network with 8 hidden units."""
    layers = [xn.Affine(8), xn.Tanh(), *([xn.Dropout(dropout)] if dropout else []), xn.Affine(outputs)]
    return xn.Trainer(
        xn.Sequential(*layers),
        loss=loss or xn.SoftmaxCrossEntropy(),
        optimizer=optimizer or xn.Adam(0.01),
        device=device,
        seed=seed,
        **options,
    )


def timeless(history):
    """The history without the column that no two runs share."""
    return {name: column for name, column in history.items() if name != "seconds"}


def softmax_loss(logits, labels, weights=None):
    """The mean cross-entropy by its definition."""
    z = logits.astype(np.float64)
    z = z - z.max(axis=1, keepdims=True)
    terms = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]
    return np.average(terms, weights=weights)


class Diary(xn.Callback):
    """Writes down what it is called with; raises or stops at a given epoch."""

    def __init__(self, stop=None, fail=None):
        self.stop, self.fail, self.events = stop, fail, []

    def begin(self, trainer):
        self.events.append("begin")

    def __call__(self, trainer, record):
        self.events.append(record["epoch"])
        if record["epoch"] == self.fail:
            raise RuntimeError("planned")
        return record["epoch"] == self.stop

    def finish(self, trainer):
        self.events.append("finish")


class TestLoop:
    @pytest.mark.parametrize(("batch_size", "steps"), [(None, 1), (1, 23), (7, 4), (23, 1), (24, 1), (10_000, 1), (8, 3)])
    def test_updates_per_epoch(self, device, batch_size, steps):
        trainer = make(device)
        trainer.fit(*classes_data(23), epochs=3, batch_size=batch_size)
        assert trainer.optimizer.steps == trainer.net.steps_begun == 3 * steps
        assert trainer.epoch == 3
        assert trainer.history["epoch"] == [1, 2, 3]

    @pytest.mark.parametrize("batch_size", [None, 1, 7, 100])
    @pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
    def test_equals_a_loop_written_by_hand(self, device, batch_size, shuffle):
        x, y = classes_data(23)
        trainer = make(device, seed=5)
        trainer.fit(x, y, epochs=2, batch_size=batch_size, shuffle=shuffle)
        other = make(device, seed=5).build((4,))
        dx, dy = device.put(x), device.put(y)
        for epoch in range(2):
            for rows in xn.minibatches(23, batch_size, seed=5, epoch=epoch, shuffle=shuffle, device=device):
                run_step(other.net, other.loss, other.optimizer, dx[rows], dy[rows])
        assert bits(other) == bits(trainer)

    def test_epochs_in_one_call_or_in_many(self, device):
        x, y = classes_data(30)
        one, many = make(device), make(device)
        one.fit(x, y, epochs=3, batch_size=7)
        for _ in range(3):
            many.fit(x, y, batch_size=7)
        assert bits(one) == bits(many)
        assert timeless(one.history) == timeless(many.history)

    def test_every_row_is_seen_once_an_epoch_in_another_order(self, device):
        class Recorder(xn.Layer):
            def forward(self, x, step):
                if step.training:
                    seen.append(step.device.get(x)[:, 0])
                return x, None

            def backward(self, dy, cache, step):
                return dy

        seen = []
        x = np.arange(20, dtype=np.float32)[:, None]
        net = xn.Sequential(Recorder(), xn.Affine(1))
        trainer = xn.Trainer(net, loss=xn.MeanSquaredError(), optimizer=xn.SGD(1e-6), device=device)
        trainer.fit(x, x, epochs=2, batch_size=6)
        assert [len(rows) for rows in seen] == [6, 6, 6, 2] * 2
        epochs = [np.concatenate(seen[:4]), np.concatenate(seen[4:])]
        for rows in epochs:
            np.testing.assert_array_equal(np.sort(rows), np.arange(20))
        assert (epochs[0] != epochs[1]).any()
        assert (epochs[0] != np.arange(20)).any()
        seen.clear()
        trainer.fit(x, x, shuffle=False, batch_size=6)
        np.testing.assert_array_equal(np.concatenate(seen), np.arange(20))

    @pytest.mark.parametrize("change", [{"seed": 1}, {"dropout": 0.3}, {"optimizer": xn.Adam(0.011)}], ids=str)
    def test_what_changes_the_numbers(self, device, change):
        ends = []
        for options in ({}, {}, change):
            trainer = make(device, **copy.deepcopy(options))
            trainer.fit(*classes_data(30), batch_size=7)
            ends.append(bits(trainer))
        assert ends[0] == ends[1] != ends[2]

    @pytest.mark.parametrize("optimizer", [xn.SGD(0.5), xn.Adam(0.01)], ids=repr)
    def test_cpu_and_simulated_gpu_give_the_same_bytes_on_digits(self, optimizer):
        data, ends, histories = xn.datasets.digits(), [], []
        for name in ("cpu", "sim", "cpu"):
            net = xn.Sequential(xn.Affine(32), xn.ReLU(), xn.Dropout(0.2), xn.Affine(10))
            trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=copy.deepcopy(optimizer), device=name, seed=1)
            history = trainer.fit(data.x_train, data.y_train, epochs=2, validation=(data.x_test, data.y_test))
            histories.append(timeless(history))
            ends.append((bits(trainer), trainer.predict(data.x_test).tobytes()))
        assert ends[0] == ends[1] == ends[2]
        assert histories[0] == histories[1] == histories[2]
        assert histories[0]["validation_accuracy"][-1] > 0.8

    def test_digits_are_learned(self, device):
        data = xn.datasets.digits()
        net = xn.Sequential(xn.Affine(64), xn.ReLU(), xn.Affine(10))
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(3e-3), device=device)
        trainer.fit(data.x_train, data.y_train, epochs=12)
        assert trainer.evaluate(data.x_test, data.y_test)["accuracy"] > 0.95

    def test_a_net_that_is_built_is_trained_from_where_it_is(self, device):
        net = mlp(device="cpu", seed=9)
        before = net.parameters.snapshot()
        xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(1e-9), device=device, seed=1).fit(*classes_data(20))
        assert net.device == device
        for name, a in net.parameters.snapshot().items():
            np.testing.assert_allclose(a, before[name], atol=1e-6)

    def test_dtype(self, device):
        trainer = make(device, dtype="float64")
        x, y = classes_data(20)
        trainer.fit(x, y)
        assert trainer.net.parameters.dtype == trainer.predict(x).dtype == np.float64

    def test_device_and_reason(self, device):
        trainer = make(device.name)
        assert trainer.device is device
        assert trainer.device_reason == "asked for by name"
        assert make("auto").device_reason.startswith("auto: ")

    def test_build_returns_the_trainer(self, device):
        trainer = make(device)
        assert trainer.build((4,)) is trainer
        assert trainer.net.device is device
        before = bits(trainer)
        trainer.fit(*classes_data(20))
        assert bits(trainer) != before
        assert before == bits(make(device).build(4))


class TestHistory:
    def test_plain_lists_of_plain_numbers(self, device):
        trainer = make(device)
        x, y = classes_data(30)
        history = trainer.fit(x, y, epochs=3, batch_size=7, validation=(x[:9], y[:9]))
        assert type(history) is dict
        assert list(history) == ["epoch", "loss", "learning_rate", "seconds", "validation_loss", "validation_accuracy"]
        for name, column in history.items():
            assert type(column) is list
            assert [type(value) for value in column] == [int if name == "epoch" else float] * 3
        assert history is trainer.history
        assert all(0 < s < 60 for s in history["seconds"])

    def test_validation_is_what_evaluate_says_after_the_epoch(self, device):
        trainer = make(device)
        x, y = classes_data(30)
        for _ in range(2):
            trainer.fit(x, y, validation=(x[:9], y[:9]))
            scores = trainer.evaluate(x[:9], y[:9])
            assert {f"validation_{name}": value for name, value in scores.items()} == {
                name: column[-1] for name, column in trainer.history.items() if name.startswith("validation")
            }

    def test_validation_changes_nothing(self, device):
        x, y = classes_data(30)
        ends = []
        for validation in (None, (x[:9], y[:9])):
            trainer = make(device)
            trainer.fit(x, y, epochs=3, validation=validation)
            ends.append(bits(trainer))
        assert ends[0] == ends[1]

    @pytest.mark.parametrize(
        "loss", [xn.MeanSquaredError(), xn.HalfSquaredError(), xn.SigmoidCrossEntropy(), xn.SoftmaxCrossEntropy()], ids=repr
    )
    @pytest.mark.parametrize("batch_size", [None, 7, 1])
    def test_loss_is_the_mean_over_rows(self, device, loss, batch_size):
        """With a learning rate of almost nothing the epoch's loss is that of ``evaluate``."""
        x, labels = classes_data(23)
        y = labels if isinstance(loss, xn.SoftmaxCrossEntropy) else np.eye(3)[labels]
        trainer = make(device, dropout=0, loss=loss, optimizer=xn.SGD(1e-12))
        found = trainer.fit(x, y, batch_size=batch_size)["loss"][0]
        assert found == pytest.approx(trainer.evaluate(x, y)["loss"], rel=1e-5)

    def test_learning_rate_is_that_of_the_epochs_first_step(self, device):
        trainer = make(device, optimizer=xn.SGD(xn.StepDecay(0.1, every=4, factor=0.5)))
        rates = trainer.fit(*classes_data(20), epochs=4, batch_size=10)["learning_rate"]
        assert rates == [0.1, 0.1, 0.05, 0.05]

    def test_reduce_on_plateau_hears_the_validation_loss(self, device):
        x, y = classes_data(20)
        trainer = make(device, optimizer=xn.SGD(xn.ReduceOnPlateau(1e-9, factor=0.5, patience=1, threshold=0.1)))
        rates = trainer.fit(x, y, epochs=6, validation=(x, y))["learning_rate"]
        assert rates == [1e-9, 1e-9, 1e-9, 5e-10, 5e-10, 2.5e-10]


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


class TestCallbacks:
    def test_a_function(self, device):
        seen = []
        trainer = make(device, callbacks=[lambda t, record: seen.append((t, dict(record)))])
        history = trainer.fit(*classes_data(20), epochs=3)
        assert [t is trainer for t, _ in seen] == [True] * 3
        for k, (_, record) in enumerate(seen):
            assert record == {name: column[k] for name, column in history.items()}

    def test_begin_and_finish(self, device):
        diary = Diary()
        trainer = make(device, callbacks=[diary])
        trainer.fit(*classes_data(20), epochs=2)
        trainer.fit(*classes_data(20))
        assert diary.events == ["begin", 1, 2, "finish", "begin", 3, "finish"]

    @pytest.mark.parametrize(
        "stopping",
        [Diary(stop=2), lambda t, r: r["epoch"] == 2, lambda t, r: np.bool_(r["epoch"] == 2)],
        ids=["class", "function", "NumPy's bool"],
    )
    def test_true_ends_the_training_after_all_were_called(self, device, stopping):
        before, after = Diary(), Diary()
        trainer = make(device, callbacks=[before, copy.deepcopy(stopping), after])
        history = trainer.fit(*classes_data(20), epochs=9)
        assert history["epoch"] == [1, 2]
        assert before.events == after.events == ["begin", 1, 2, "finish"]

    @pytest.mark.parametrize("returned", [None, False, 0])
    def test_anything_else_goes_on(self, device, returned):
        trainer = make(device, callbacks=[lambda t, r: returned])
        assert trainer.fit(*classes_data(20), epochs=3)["epoch"] == [1, 2, 3]

    def test_finish_is_called_on_an_exception_too(self, device):
        first, failing = Diary(), Diary(fail=2)
        trainer = make(device, callbacks=[first, failing])
        with pytest.raises(RuntimeError, match="planned"):
            trainer.fit(*classes_data(20), epochs=9)
        assert first.events == failing.events == ["begin", 1, 2, "finish"]
        assert trainer.history["epoch"] == [1, 2]

    def test_interrupted_early_stopping_restores_the_best(self, device):
        kept = []

        def interrupt(trainer, record):
            kept.append(bits(trainer))
            if record["epoch"] == 3:
                raise KeyboardInterrupt

        class Rising(xn.EarlyStopping):
            def __call__(self, trainer, record):
                return super().__call__(trainer, record | {"rising": float(record["epoch"])})

        trainer = make(device, callbacks=[Rising(9, monitor="rising"), interrupt])
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(*classes_data(20), epochs=9)
        assert len(set(kept)) == 3
        assert bits(trainer) == kept[0]

    def test_what_cannot_be_called_is_refused_before_anything(self, device):
        with pytest.raises(TypeError, match=r"callbacks: 3 cannot be called; a callback is a function f\(trainer, record\)"):
            make(device, callbacks=[3])
        with pytest.raises(TypeError, match=r"EarlyStopping is a class: write EarlyStopping\(\.\.\.\)"):
            make(device, callbacks=[xn.EarlyStopping])

    def test_one_function_needs_no_list(self, device):
        seen = []
        make(device, callbacks=lambda trainer, record: seen.append(record["epoch"])).fit(*classes_data(20), epochs=2)
        assert seen == [1, 2]

    def test_print_epoch(self, device, capsys):
        x, y = classes_data(20)
        make(device, callbacks=[xn.print_epoch]).fit(x, y, epochs=2, validation=(x, y))
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2
        assert lines[1].startswith("epoch   2  loss ")
        assert all(word in lines[1] for word in ("validation loss", "validation accuracy", " s"))


def watching(values):
    """A callback that puts a number of our choosing into each record, under "watched"."""
    return lambda trainer, record: record.__setitem__("watched", values[record["epoch"] - 1])


class TestEarlyStopping:
    @pytest.mark.parametrize(
        ("values", "options", "epochs", "best"),
        [
            ([3, 2, 1, 2, 2, 2, 0], {"patience": 3}, 6, 3),
            ([3, 2, 1, 2, 2, 0, 0], {"patience": 3}, 7, 6),
            ([3, 2, 1, 1, 0, 0, 0], {"patience": 1}, 4, 3),
            ([1, 2, 3, 3, 0, 0, 0], {"patience": 2, "mode": "max"}, 5, 3),
            ([3, 2.9, 2.8, 2.7, 2.7, 0, 0], {"patience": 2, "min_delta": 0.15}, 5, 3),
            ([3, math.nan, math.nan, 0, 0, 0, 0], {"patience": 2}, 3, 1),
            ([7, 6, 5, 4, 3, 2, 1], {"patience": 1}, 7, 7),
        ],
        ids=["stops", "saved in time", "equal is no better", "max", "min_delta", "NaN", "always better"],
    )
    def test_when_it_stops_and_what_it_keeps(self, device, values, options, epochs, best):
        kept, stopping = [], xn.EarlyStopping(monitor="watched", **options)
        trainer = make(device, callbacks=[watching(values), lambda t, r: kept.append(bits(t))])
        history = trainer.fit(*classes_data(20), epochs=7, early_stopping=stopping)
        assert len(history["epoch"]) == epochs
        assert stopping.best_epoch == best
        assert bits(trainer) == kept[best - 1]
        assert len(set(kept)) == epochs

    def test_without_restoring(self, device):
        kept = []
        trainer = make(device, callbacks=[watching([1, 2, 3]), lambda t, r: kept.append(bits(t))])
        trainer.fit(*classes_data(20), epochs=9, early_stopping=xn.EarlyStopping(2, monitor="watched", restore_best=False))
        assert bits(trainer) == kept[-1] != kept[0]

    def test_a_number_is_the_patience(self, device):
        x, y = classes_data(20)
        trainer = make(device, optimizer=xn.SGD(1000.0))
        history = trainer.fit(x, y, epochs=50, early_stopping=2, validation=(x, y))
        best = int(np.argmin(history["validation_loss"]))
        assert len(history["epoch"]) < 50
        assert trainer.evaluate(x, y)["loss"] == history["validation_loss"][best]

    def test_watches_the_training_loss_without_validation(self, device):
        stopping = xn.EarlyStopping(3)
        history = make(device, optimizer=xn.SGD(1000.0)).fit(*classes_data(20), epochs=40, early_stopping=stopping)
        assert stopping.best_epoch == int(np.argmin(history["loss"])) + 1

    def test_begins_afresh_with_each_fit(self, device):
        stopping = xn.EarlyStopping(2, monitor="watched")
        trainer = make(device, callbacks=[watching([0, 1, 1, 5, 4, 3, 2])])
        trainer.fit(*classes_data(20), epochs=9, early_stopping=stopping)
        assert (trainer.epoch, stopping.best_epoch) == (3, 1)
        trainer.fit(*classes_data(20), epochs=4, early_stopping=stopping)
        assert (trainer.epoch, stopping.best_epoch) == (7, 7)

    def test_an_unknown_monitor_names_what_there_is(self, device):
        with pytest.raises(ValueError, match=r"there is no 'validation_auc' to watch; an epoch's record has epoch, loss"):
            make(device).fit(*classes_data(20), early_stopping=xn.EarlyStopping(monitor="validation_auc"))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"mode": "low"}, r"mode='low'\): choose 'min' or 'max'"),
            ({"patience": 0}, "patience=0"),
            ({"patience": -1}, "patience=-1"),
            ({"patience": 2.5}, r"patience=2\.5"),
        ],
        ids=str,
    )
    def test_arguments_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            xn.EarlyStopping(**options)


LOSSES = [
    (xn.SoftmaxCrossEntropy(), "labels"),
    (xn.SoftmaxCrossEntropy(label_smoothing=0.1, class_weights=[1, 2, 3]), "labels"),
    (xn.SoftmaxCrossEntropy(), "numbers"),
    (xn.SigmoidCrossEntropy(), "numbers"),
    (xn.MeanSquaredError(), "numbers"),
    (xn.HalfSquaredError(), "numbers"),
]
LOSS_IDS = ["softmax", "softmax smoothed and weighted", "softmax of probabilities", "sigmoid", "mean squared", "half squared"]


def targets_for(kind, labels):
    return labels if kind == "labels" else np.eye(3)[labels]


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


class TestPartialFit:
    def test_one_by_one_equals_fit_with_batches_of_one(self, device):
        x, y = classes_data(15)
        one, other = make(device, seed=2), make(device, seed=2)
        one.fit(x, y, batch_size=1, shuffle=False)
        values = [other.partial_fit(x[i : i + 1], y[i : i + 1]) for i in range(15)]
        assert bits(one) == bits(other)
        assert [type(v) for v in values] == [float] * 15
        assert np.mean(values) == pytest.approx(one.history["loss"][0], rel=1e-6)
        assert other.history == {}
        assert other.epoch == 0

    def test_returns_the_loss_before_the_update(self, device):
        x, y = classes_data(5)
        trainer = make(device, dropout=0)
        first = trainer.partial_fit(x, y)
        assert first == pytest.approx(make(device, dropout=0).build((4,)).evaluate(x, y)["loss"], rel=1e-6)
        assert trainer.partial_fit(x, y) < first

    def test_builds_for_the_first_row(self, device):
        trainer = make(device)
        trainer.partial_fit(np.zeros((1, 7)), [2])
        assert trainer.net.input_shape == (7,)


class TestPerSample:
    @pytest.mark.parametrize(("loss", "kind"), LOSSES, ids=LOSS_IDS)
    @pytest.mark.parametrize("options", [{}, {"sample_weight": np.linspace(0.5, 2, 17)}], ids=["", "weighted"])
    def test_the_same_parameters_as_the_matrix_form(self, device, loss, kind, options):
        x, labels = classes_data(17)
        ends, histories = [], []
        for per_sample in (False, True):
            trainer = make(device, dropout=0.3, loss=loss, optimizer=xn.SGD(0.1), dtype="float64")
            y = targets_for(kind, labels)
            histories.append(trainer.fit(x, y, epochs=3, batch_size=5, per_sample=per_sample, **options))
            ends.append(trainer.net.parameters.snapshot())
            assert (trainer.optimizer.steps, trainer.net.steps_begun) == (12, 12)
        for name in ends[0]:
            np.testing.assert_allclose(ends[1][name], ends[0][name], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(histories[1]["loss"], histories[0]["loss"], rtol=1e-12)

    @pytest.mark.parametrize("optimizer", [xn.Adam(0.01), xn.SGD(0.1, clip_norm=0.1, l2=0.1)], ids=repr)
    def test_whatever_the_optimizer_does(self, device, optimizer):
        x, y = classes_data(17)
        ends = []
        for per_sample in (False, True):
            trainer = make(device, dropout=0.3, optimizer=copy.deepcopy(optimizer), dtype="float64")
            trainer.fit(x, y, epochs=2, batch_size=5, per_sample=per_sample)
            ends.append(trainer.net.parameters.snapshot())
        for name in ends[0]:
            np.testing.assert_allclose(ends[1][name], ends[0][name], rtol=1e-9, atol=1e-11)

    def test_a_step_at_a_time(self, device):
        x, y = (device.put(a) for a in classes_data(9))
        values = []
        for per_sample in (False, True):
            trainer = make(device, dtype="float64").build((4,))
            values.append(float(device.get(trainer.step(x.astype("float64"), y, per_sample=per_sample))))
        assert values[0] == pytest.approx(values[1], rel=1e-13)


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
            with counters.record() as seen:
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


class TestProgress:
    @pytest.mark.parametrize("progress", [True, False])
    def test_silent_where_there_is_no_terminal(self, device, capfd, progress):
        make(device).fit(*classes_data(20), epochs=3, progress=progress)
        assert capfd.readouterr() == ("", "")

    def test_shown_on_a_terminal_and_taken_away(self, device, monkeypatch, capsys):
        import sys

        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        slow = lambda trainer, record: time.sleep(0.12)  # noqa: E731 - the bar draws at most ten times a second
        make(device, callbacks=[slow]).fit(*classes_data(40), epochs=3, batch_size=10)
        shown = capsys.readouterr().err
        assert "/12" in shown
        assert shown.endswith("\r")
        make(device).fit(*classes_data(20), progress=False)
        assert capsys.readouterr().err == ""


class TestPoisoning:
    def test_gradients_are_nan_before_each_backward_on_the_simulated_gpu(self):
        found = []

        class Peek(xn.Affine):
            def backward(self, dy, x, step):
                found.append(np.isnan(step.device.get(self.W.grad)).all())
                return super().backward(dy, x, step)

        xn.Trainer(xn.Sequential(Peek(3)), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="sim").fit(
            *classes_data(20), batch_size=5
        )
        assert found == [True] * 4

    def test_a_forgotten_gradient_shows_in_the_history(self):
        class Forgetful(xn.Affine):
            def backward(self, dy, x, step):
                step.matmul(x.T, dy, out=self.W.grad)

        net = xn.Sequential(Forgetful(3))
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="sim")
        with pytest.warns(RuntimeWarning, match="epoch 2: the loss is nan; training has diverged"):
            losses = trainer.fit(*classes_data(20), epochs=2)["loss"]
        assert math.isfinite(losses[0])
        assert math.isnan(losses[1])


# Launches of one training step, measured: a change here is a change of speed on a GPU and wants a reason.
LAUNCHES = {
    "book": 29,  # 784-30-10, sigmoid, half squared error, SGD: forward 12, loss 4, backward 11, update 2
    "benchmark": 45,  # 784-256-128-10, ReLU, softmax cross-entropy, Adam: forward 8, loss 15, backward 12, update 10
}


def budget_case(name):
    if name == "book":
        net = xn.Sequential(xn.Affine(30), xn.Sigmoid(), xn.Affine(10), xn.Sigmoid())
        return net, xn.HalfSquaredError(), xn.SGD(3.0)
    net = xn.Sequential(xn.Affine(256), xn.ReLU(), xn.Affine(128), xn.ReLU(), xn.Affine(10))
    return net, xn.SoftmaxCrossEntropy(), xn.Adam(1e-3)


class TestBudgets:
    """Counted on the simulated GPU."""

    def measure(self, name):
        net, loss, optimizer = budget_case(name)
        trainer = xn.Trainer(net, loss=loss, optimizer=optimizer, device="sim").build((784,))
        device, rng = trainer.device, np.random.default_rng(0)
        x, labels = rng.random((32, 784), np.float32), rng.integers(0, 10, 32)
        y = labels if name == "benchmark" else xn.datasets.one_hot(labels, 10)
        x, y = device.put(x), device.put(y)
        for _ in range(2):
            trainer.step(x, y)
        found = []
        for _ in range(4):
            with counters.record() as seen:
                trainer.step(x, y)
            found.append(seen)
        return found

    @pytest.mark.parametrize("name", LAUNCHES)
    def test_nothing_hidden_in_a_step(self, name):
        for seen in self.measure(name):
            assert (seen.syncs, seen.copies, seen.float64, seen.allocations) == (0, 0, 0, 0), seen.causes

    @pytest.mark.parametrize("name", LAUNCHES)
    def test_launches(self, name):
        assert [seen.launches for seen in self.measure(name)] == [LAUNCHES[name]] * 4

    def test_reading_the_loss_is_one_copy(self):
        trainer = make("sim").build((4,))
        value = trainer.step(*(trainer.device.put(a) for a in classes_data(9)))
        with counters.record() as seen:
            trainer.device.get(value)
        assert (seen.d2h, seen.h2d) == (1, 0)

    def test_an_epoch_copies_its_order_there_and_its_losses_back(self):
        """Two copies an epoch of a set that lives on the device, whatever the number of steps; none of them float64."""
        trainer = make("sim")
        x, y = (trainer.device.put(a) for a in classes_data(60))
        trainer.fit(x, y, batch_size=6)
        counts = []
        for epochs in (1, 3):
            with counters.record() as seen:
                trainer.fit(x, y, epochs=epochs, batch_size=6)
            counts.append((seen.h2d, seen.d2h, seen.syncs, seen.float64))
        assert tuple(np.subtract(counts[1], counts[0])) == (2, 2, 2, 0)
        assert counts[0][3] == 0

    def test_host_data_go_there_once(self):
        trainer = make("sim")
        x, y = classes_data(60)
        trainer.fit(x, y, batch_size=6)
        with counters.record() as seen:
            trainer.fit(x, y, epochs=3, batch_size=6)
        assert seen.h2d == 2 + 3  # rows and labels, and the order of each epoch
        assert seen.h2d_bytes == x.nbytes + y.nbytes + 3 * 60 * 8
        assert seen.d2h == 3
        assert seen.float64 == 0


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


class TestSmallMercies:
    def test_the_learning_rate_can_be_assigned(self, device):
        trainer = make(device)
        trainer.fit(*classes_data(20))
        trainer.optimizer.learning_rate = 1e-5
        assert trainer.fit(*classes_data(20))["learning_rate"][1] == 1e-5
        with pytest.raises(ValueError, match="learning_rate=-1"):
            trainer.optimizer.learning_rate = -1

    def test_monitoring_an_accuracy_waits_for_a_larger_one(self, device):
        data = classes_data(30)
        stopping = xn.EarlyStopping(2, monitor="validation_accuracy")
        history = make(device).fit(*data, epochs=12, validation=data, early_stopping=stopping)
        assert stopping.best_epoch == 1 + int(np.argmax(history["validation_accuracy"]))

    def test_a_validation_score_that_will_not_come_is_refused_before_training(self, device):
        trainer = make(device)
        with pytest.raises(ValueError, match="there is no 'val_loss' to watch; an epoch's record has epoch, loss"):
            trainer.fit(*classes_data(20), early_stopping=xn.EarlyStopping(monitor="val_loss"))
        assert trainer.epoch == 0

    def test_history_stays_rectangular(self, device):
        trainer, data = make(device), classes_data(20)
        trainer.fit(*data, epochs=2)
        trainer.fit(*data, validation=data)
        history = trainer.fit(*data)
        assert {len(column) for column in history.values()} == {4}
        assert np.isnan(history["validation_loss"]).tolist() == [True, True, False, True]

    def test_divergence_is_said(self, device):
        net = xn.Sequential(xn.Affine(1))
        trainer = xn.Trainer(net, loss=xn.MeanSquaredError(), optimizer=xn.SGD(1e30), device=device)
        x = np.ones((4, 2), np.float32)
        with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="diverged, try a smaller learning rate"):
            trainer.fit(x, x[:, 0], epochs=4, batch_size=None)

    def test_class_weights_as_a_list(self, device):
        data = classes_data(20)
        ends = [make(device).fit(*data, class_weight=w)["loss"] for w in ({0: 1, 1: 2, 2: 3}, [1, 2, 3])]
        assert ends[0] == ends[1]


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
        with pytest.raises(ValueError, match="sample_weight times class_weight: weights are not negative and not all 0"):
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
            with counters.record() as seen:
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
