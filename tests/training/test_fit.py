"""The loop of ``fit``: epochs, batches, history, progress; partial_fit and the per-sample form."""

from __future__ import annotations

import copy
import time

import numpy as np
import pytest
from core_helpers import bits, classes_data, mlp, run_step
from trainer_helpers import LOSS_IDS, LOSSES, make, targets_for, timeless

import xpnet as xn


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


def test_held_out_rows_may_have_weights(device) -> None:
    x, y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1])
    weights = np.array([1, 0, 2, 1, 0, 3.0])
    net = xn.Sequential(xn.Affine(2))
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(1e-3), device=device)
    history = trainer.fit(x, y, validation=(x, y, weights))
    found = trainer.evaluate(x, y, sample_weight=weights)
    assert history["validation_loss"][-1] == found["loss"]
    assert history["validation_accuracy"][-1] == found["accuracy"]
    with pytest.raises(ValueError, match="sample_weight has shape"):
        trainer.fit(x, y, validation=(x, y, weights[:2]))
    with pytest.raises(TypeError, match=r"a pair of arrays, \(x, y\), or three"):
        trainer.fit(x, y, validation=(x, y, weights, 1))
