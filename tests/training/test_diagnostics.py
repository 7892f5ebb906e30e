"""Layer statistics and the search for the first number that is not finite."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from core_helpers import bits, classes_data

import xpnet as xn

ROWS, BATCH = 48, 12


def image_net():
    return xn.Sequential(
        xn.Reshape((2, 2, 1)),
        xn.Conv2d(4, 1),
        xn.BatchNorm(),
        xn.ReLU(),
        xn.Flatten(),
        xn.Residual(xn.Affine(16), xn.Dropout(0.2), xn.ReLU()),
        xn.Affine(3),
    )


def trainer(device, callbacks=(), net=None, optimizer=None):
    return xn.Trainer(
        net or image_net(),
        loss=xn.SoftmaxCrossEntropy(),
        optimizer=optimizer or xn.Momentum(0.1),
        device=device,
        callbacks=callbacks,
    )


def fit(made, epochs=2, **options):
    return made.fit(*classes_data(ROWS), epochs=epochs, batch_size=BATCH, progress=False, **options)


class Snapshots(xn.Callback):
    """Copies of the trainer and of the minibatch after each step."""

    def begin(self, trainer):
        self.trainers, self.batches, self.losses = [], [], []

    def end_step(self, trainer, batch, loss):
        self.trainers.append(copy.deepcopy(trainer, {id(trainer.callbacks): ()}))
        self.batches.append([None if a is None else trainer.device.get(a).copy() for a in batch])
        self.losses.append(float(trainer.device.get(loss)))


class TestHooks:
    def test_steps_and_epochs_in_order(self, device):
        class Diary(xn.Callback):
            def begin_epoch(self, trainer, steps, batches):
                self.expected, self.at = [trainer.device.get(x).copy() for x, _, _ in batches()], 0
                assert len(self.expected) == steps == 4

            def end_step(self, trainer, batch, loss):
                assert np.array_equal(trainer.device.get(batch[0]), self.expected[self.at])
                assert loss.shape == ()
                assert trainer.device.owns(loss)
                self.at += 1

            def __call__(self, trainer, record):
                assert self.at == 4
                seen.append(record["epoch"])

        seen = []
        fit(trainer(device, Diary()))
        assert seen == [1, 2]

    def test_a_copy_of_a_trainer_goes_on_as_the_trainer_does(self, device):
        seen = Snapshots()
        made = trainer(device, seen, optimizer=xn.Adam(0.01, clip_norm=1.0))
        fit(made)
        again = seen.trainers[2]
        for batch in seen.batches[3:]:
            again.step(*(None if a is None else made.device.put(a) for a in batch))
        assert bits(again.net) == bits(made.net)

    def test_copying_an_optimizer_waits_for_nothing(self, device):
        made = trainer(device, optimizer=xn.Adam(0.01))
        fit(made)
        with xn.ledger() as counted:
            copy.deepcopy(made)
        assert (counted.syncs, counted.copies) == (0, 0)


class TestLayerStatistics:
    def test_a_report_is_what_one_more_step_would_be(self, device):
        seen, statistics = Snapshots(), xn.LayerStatistics()
        made = trainer(device, [seen, statistics])
        fit(made)
        assert [(r.epoch, r.step) for r in statistics.reports] == [(1, 4), (2, 4)]
        report, after, batch = statistics.reports[-1], seen.trainers[-1], seen.batches[-1]
        before = after.net.parameters.snapshot()
        loss = after.step(*(None if a is None else made.device.put(a) for a in batch))
        assert report.loss == float(made.device.get(loss))
        changed = after.net.parameters.snapshot()
        for path in ("1", "2", "5.0", "6"):
            own = [entry for name, entry in after.net.parameters.items() if name.startswith(f"{path}.") and entry.trainable]
            gradient = math.hypot(*(np.linalg.norm(made.device.get(entry.grad)) for entry in own))
            update = math.hypot(*(np.linalg.norm(changed[entry.name] - before[entry.name]) for entry in own))
            weight = math.hypot(*(np.linalg.norm(before[entry.name]) for entry in own))
            assert report.layers[path].gradient == pytest.approx(gradient, rel=1e-5)
            assert report.layers[path].update_ratio == pytest.approx(update / weight, rel=1e-3)
        assert math.isnan(report.layers["3"].gradient)
        assert math.isnan(report.layers["6"].dead)

    def test_activations_deltas_and_dead_units(self, device):
        """A dense net whose pass is computed by hand."""
        net = xn.Sequential(xn.Affine(3), xn.ReLU(), xn.Affine(3))
        statistics = xn.LayerStatistics()
        made = trainer(device, statistics, net, xn.SGD(1e-9)).build(4)
        W, V = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
        made.net.parameters.restore({**made.net.parameters.snapshot(), "0.W": W, "0.b": np.float32([0, 0, -99]), "2.W": V[:3]})
        x, y = classes_data(12)
        made.fit(x, y, batch_size=None, progress=False, shuffle=False)
        z = x @ W + [0, 0, -99]
        logits = np.maximum(z, 0) @ V[:3]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        d = (p - np.eye(3)[y]) / 12
        rows = statistics.reports[0].layers
        assert rows["0"].activation == pytest.approx(np.linalg.norm(z), rel=1e-4)
        assert rows["1"].activation == pytest.approx(np.linalg.norm(np.maximum(z, 0)), rel=1e-4)
        assert rows["2"].delta == pytest.approx(np.linalg.norm(d), rel=1e-4)
        assert rows["1"].delta == pytest.approx(np.linalg.norm(d @ V[:3].T), rel=1e-4)
        assert rows["0"].delta == pytest.approx(np.linalg.norm(d @ V[:3].T * (z > 0)), rel=1e-4)
        assert rows["1"].dead == pytest.approx(((z <= 0).all(axis=0)).mean())
        assert rows["1"].dead >= 1 / 3 - 1e-6

    def test_the_training_is_the_same_with_it(self, device):
        plain, watched = trainer(device), trainer(device, [xn.LayerStatistics(every=2), xn.StopOnNonFinite(3)])
        assert fit(plain)["loss"] == fit(watched)["loss"]
        assert bits(plain.net) == bits(watched.net)

    def test_every_so_many_steps(self, device):
        statistics = xn.LayerStatistics(every=3)
        fit(trainer(device, statistics), epochs=2)
        assert [(r.epoch, r.step) for r in statistics.reports] == [(1, 3), (2, 2)]

    def test_one_synchronisation_a_report(self):
        def syncs(*callbacks):
            made = trainer("sim", callbacks)
            fit(made)
            with xn.ledger() as seen:
                fit(made, epochs=3)
            return seen.syncs

        plain = syncs()
        assert syncs(xn.LayerStatistics()) == plain + 3
        assert syncs(xn.LayerStatistics(every=2)) == plain + 6
        assert syncs(xn.StopOnNonFinite()) == plain + 3
        assert syncs(xn.StopOnNonFinite(2)) == plain + 6

    def test_a_table(self):
        statistics = xn.LayerStatistics()
        fit(trainer("cpu", statistics))
        lines = str(statistics.reports[-1]).splitlines()
        assert lines[0].startswith("epoch 2, step 4: loss ")
        assert lines[1].split() == ["layer", "activation", "delta", "gradient", "update", "ratio", "dead"]
        assert lines[4].split()[:2] == ["2:", "BatchNorm"]
        assert lines[5].split()[4:6] == ["-", "-"]
        assert len({len(line) for line in lines[1:]}) == 1

    @pytest.mark.parametrize("callback", [xn.LayerStatistics, xn.StopOnNonFinite])
    @pytest.mark.parametrize("every", [0, -1, 2.5, True])
    def test_every_is_checked(self, callback, every):
        with pytest.raises((ValueError, TypeError), match=rf"{callback.__name__}: every"):
            callback(every=every)


class Planted(xn.Layer):
    """The identity until its ``step``-th training pass, from 1 on, where it puts a value into the output or the gradient."""

    def __init__(self, step, value, where):
        self.step, self.value, self.where = step, value, where

    def forward(self, x, step):
        x = x.copy()
        if step.training and step.number == self.step - 1 and self.where == "forward":
            x[0, 0] = self.value
        return x, step.number

    def backward(self, dy, number, step):
        dy = dy.copy()
        if number == self.step - 1 and self.where == "backward":
            dy[0, 0] = self.value
        return dy


@pytest.fixture
def quiet():
    """NumPy's warnings of infinities are no errors."""
    with np.errstate(all="ignore"):
        yield


@pytest.mark.usefixtures("quiet")
class TestStopOnNonFinite:
    @pytest.mark.parametrize("every", [1, 3, 100])
    @pytest.mark.parametrize("bad", [1, 3, 4, 6])
    @pytest.mark.parametrize(
        ("value", "where", "found"),
        [
            (np.nan, "forward", r"layer 1\.1, Planted\(.*\), forward: output of shape \(12, 8\) has 1 NaN\."),
            (-np.inf, "backward", r"layer 1\.1, Planted\(.*\), backward: dx of shape \(12, 8\) has 1 infinite\."),
        ],
    )
    def test_layer_and_step_are_named(self, every, bad, value, where, found, device):
        def net(step):
            return xn.Sequential(xn.Affine(8), xn.Residual(xn.Affine(8), Planted(step, value, where), xn.Tanh()), xn.Affine(3))

        made = trainer(device, xn.StopOnNonFinite(every), net(bad))
        with pytest.raises(FloatingPointError, match=rf"epoch {1 + bad // 5}, step {1 + (bad - 1) % 4}: {found} The param"):
            fit(made)
        before = Snapshots()
        fit(trainer(device, before, net(99)))
        expected = before.trainers[bad - 2].net if bad > 1 else trainer(device, net=net(99)).build(4).net
        assert bits(made.net) == bits(expected)
        assert made.epoch == bad // 5

    @pytest.mark.parametrize("steps", [1, 2, 4])
    @pytest.mark.parametrize("every", [1, 2, 100])
    def test_an_update_that_overflows_is_named(self, steps, every, device):
        """Also one after which there is no step."""

        class Leap(xn.Schedule):
            def __call__(self, step):
                return 1e39 if step == steps - 1 else 0.1

        made = trainer(device, xn.StopOnNonFinite(every), xn.Sequential(xn.Affine(3)), xn.SGD(Leap()))
        with pytest.raises(
            FloatingPointError, match=rf"epoch 1, step {steps}: the update made the parameter 0\.W: \d+ infinite\. The par"
        ):
            fit(made, epochs=1)
        assert np.isfinite(made.device.get(made.net.parameters.value)).all()
        assert made.optimizer.steps == made.net.steps_begun == steps - 1

    def test_a_step_that_cannot_be_taken_again(self, device):
        class Leap(xn.Callback):
            def end_step(self, trainer, batch, loss):
                trainer.optimizer.learning_rate = 1e39

        made = trainer(device, [xn.StopOnNonFinite(), Leap()], xn.Sequential(xn.Affine(3)), xn.SGD(0.1))
        with pytest.raises(FloatingPointError, match=r"step 3: the step could not be taken again: .* what a callback changed"):
            fit(made)

    def test_training_goes_on_from_where_it_was(self, device):
        net = xn.Sequential(xn.Affine(8), Planted(6, np.nan, "backward"), xn.Affine(3))
        made = trainer(device, xn.StopOnNonFinite(3), net, xn.Adam(0.01))
        with pytest.raises(FloatingPointError, match="epoch 2, step 2"):
            fit(made)
        assert made.optimizer.steps == made.net.steps_begun == 5
        net.layers[1].step = 99
        assert np.isfinite(fit(made)["loss"]).all()

    def test_gradients_too_large_to_add_up(self, device):
        net = xn.Sequential(xn.Affine(3), Planted(2, 1e25, "backward"), xn.Affine(3))
        with pytest.raises(FloatingPointError, match=r"step 2: the sum of .* infinite; the largest gradient is one of 0\.W"):
            fit(trainer(device, xn.StopOnNonFinite(), net))

    def test_a_loss_that_is_not_finite(self, device):
        class Broken(xn.SoftmaxCrossEntropy):
            def __call__(self, z, targets, step, weights=None):
                value, dy = super().__call__(z, targets, step, weights)
                return value * np.float32(np.inf), dy

        made = xn.Trainer(
            xn.Sequential(xn.Affine(3)), loss=Broken(), optimizer=xn.SGD(0.1), device=device, callbacks=xn.StopOnNonFinite()
        )
        with pytest.raises(FloatingPointError, match=r"step 1: the loss forward: loss of shape \(\) has 1 infinite"):
            fit(made)

    def test_finite_training_is_left_alone_and_nothing_is_kept(self, device):
        guard = xn.StopOnNonFinite(3)
        fit(trainer(device, guard))
        assert guard._before is guard._batches is guard._sums is None

    def test_earlier_epochs_stay_in_the_history(self, device):
        net = xn.Sequential(xn.Affine(8), Planted(6, np.nan, "forward"), xn.Affine(3))
        made = trainer(device, xn.StopOnNonFinite(), net)
        with pytest.raises(FloatingPointError, match="epoch 2, step 2"):
            fit(made)
        assert len(made.history["loss"]) == 1
