"""What is not recorded, with the reason, and what a step that is refused or breaks off leaves behind."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from core_helpers import classes_data
from recorded_helpers import STEPS, replays, same_steps
from trainer_helpers import make

import xpnet as xn


class Doubled(xn.Layer):
    """A layer of a user's own."""

    def forward(self, x, step):
        return x * 2, None

    def backward(self, dy, cache, step):
        return dy * 2


class Said(Doubled):
    recordable = True


class Peeks(Said):
    def forward(self, x, step):
        return (x * 2 if float(x[0, 0]) < 9 else x), None


class Halving(xn.SGD):
    """A rule whose rate depends on the step, read where it must not be."""

    recordable = True

    def rule(self, xp, rate, w, g, tmp):
        xp.multiply(g, rate / self.steps, out=tmp)
        w -= tmp


class Scheduled(Halving):
    def rule(self, xp, rate, w, g, tmp):
        xp.multiply(g, self.learning_rate, out=tmp)
        w -= tmp


class Noisy(Said):
    """Draws what differs from step to step by itself."""

    def forward(self, x, step):
        noise = np.random.default_rng(step.number).standard_normal(x.shape[1:]).astype(x.dtype)
        return x * 2 + noise, None


class Absolute(xn.Loss):
    """A loss as docs/recipes.md has it, which hands out the value that it has computed."""

    recordable = True

    def compute(self, y, targets, step, weights, count):
        difference = y - targets
        return step.xp.mean(step.xp.abs(difference)), step.xp.sign(difference) / y.size


class Hides(Said):
    """NumPy does not tell what becomes of what it copies."""

    def forward(self, x, step):
        return np.array(x) * 2, None


class Counts(Said):
    seen = 0

    def forward(self, x, step):
        self.seen += 1
        return x * (1 + 1 / self.seen), None


class CountsInAList(Said):
    def __init__(self):
        self.seen = [0]

    def forward(self, x, step):
        self.seen[0] += 1
        return x * (1 + 1 / self.seen[0]), None


class Throws(Said):
    """Random numbers that come from elsewhere."""

    def __init__(self):
        self.rng = np.random.default_rng(0)

    def forward(self, x, step):
        return x * self.rng.random(x.shape[1:], dtype="float32"), None


class Plain:
    """What has a layer's methods and is none."""

    differentiable, owns_output, owns_dx, mixes_samples, gathers, wide, meets, blockwise = True, *[False] * 7
    build = xn.Layer.build
    flops = xn.Layer.flops
    check_batch = xn.Layer.check_batch
    walk = xn.Layer.walk
    weight_size = xn.Layer.weight_size
    forward, backward = Doubled.forward, Doubled.backward


def with_layer(layer, optimizer=None):
    net = xn.Sequential(xn.Affine(5), layer, xn.Affine(3))
    return xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=optimizer or xn.SGD(0.1))


class TestLimits:
    def test_a_layer_of_ones_own(self):
        x, y = classes_data(6)
        quiet, said, peeks = (same_steps(lambda k=kind: with_layer(k()), x, y) for kind in (Doubled, Said, Peeks))
        assert quiet.records.reasons[x.shape] == "Doubled() does not say recordable = True"
        assert replays(said) == [STEPS - 2]
        assert "__float__" in peeks.records.reasons[x.shape]

    def test_a_network_of_ones_own(self):
        class Own(xn.Sequential):
            pass

        x, y = classes_data(6)
        trainer = same_steps(lambda: xn.Trainer(Own(xn.Affine(3)), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1)), x, y)
        assert "does not say recordable" in trainer.records.reasons[x.shape]

    def test_a_rule_of_ones_own(self):
        x, y = classes_data(6)
        trainer = same_steps(lambda: with_layer(xn.Tanh(), Halving(0.1)), x, y)
        assert "reads steps, which belongs into numbers(rate)" in trainer.records.reasons[x.shape]

    def test_a_rule_that_reads_its_learning_rate(self):
        x, y = classes_data(6)
        halve = lambda trainer, i: setattr(trainer.optimizer, "learning_rate", 0.1 / (i + 1))  # noqa: E731
        trainer = same_steps(lambda: with_layer(xn.Tanh(), Scheduled(0.1)), x, y, between=halve)
        assert "reads learning_rate" in trainer.records.reasons[x.shape]

    def test_a_layer_that_draws_by_the_number_of_the_step(self):
        x, y = classes_data(6)
        assert "step.uniform" in same_steps(lambda: with_layer(Noisy()), x, y).records.reasons[x.shape]

    def test_a_loss_of_ones_own(self):
        x, _ = classes_data(6)
        made = lambda: xn.Trainer(xn.Sequential(xn.Affine(3)), loss=Absolute(), optimizer=xn.SGD(0.1))  # noqa: E731
        trainer = same_steps(made, x, np.ones((6, 3), "float32"))
        assert replays(trainer) == [STEPS - 2]
        assert float(trainer.step(x, np.ones((6, 3), "float32"))) > 0

    @pytest.mark.parametrize(
        ("layer", "reason"),
        [
            (Hides, "another step"),
            (Counts, "attributes"),
            (CountsInAList, "another step"),
            (Throws, "another step"),
        ],
    )
    def test_what_is_said_of_a_layer_and_is_not_true(self, layer, reason):
        x, y = classes_data(6)
        trainer = same_steps(lambda: with_layer(layer(), xn.Adam(0.1)), x, y)
        assert reason in trainer.records.reasons[x.shape]
        assert trainer.net.steps_begun == trainer.optimizer.steps == STEPS

    def test_what_is_no_layer(self):
        x, y = classes_data(6)
        assert "recordable" in same_steps(lambda: with_layer(Plain()), x, y).records.reasons[x.shape]

    @pytest.mark.parametrize(
        ("targets", "error"),
        [
            (np.array(["cat"] * 6), "not integer labels"),
            (np.ones(6, complex), "not integer labels"),
            (np.array([None] * 6), "not integer labels"),
            (np.zeros(6), "labels are integers"),
            (np.array([256] * 6, ">i2"), "labels reach from 256"),
            (np.zeros(0, int), "0 targets"),
        ],
        ids=str,
    )
    def test_wrong_targets_are_refused_each_time(self, targets, error):
        x, y = classes_data(6)
        trainer = same_steps(make, x, y)
        for _ in range(4):
            with pytest.raises((TypeError, ValueError), match=error):
                trainer.step(x, targets)
        assert trainer.optimizer.steps == STEPS
        trainer.step(x, y)

    def test_a_first_step_that_breaks_off(self, monkeypatch):
        x, y = classes_data(12)
        trainer = same_steps(make, x, y)
        with monkeypatch.context() as patch:
            patch.setattr(type(trainer.net.layers[-1]), "backward", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                trainer.step(x[:4], y[:4])
        twin = copy.deepcopy(trainer)
        for _ in range(4):
            assert float(trainer.step(x[:4], y[:4])) == float(twin.eager_step(x[:4], y[:4]))

    def test_a_replay_that_breaks_off_counts_for_nothing(self):
        x, y = classes_data(6)
        trainer = same_steps(lambda: make(dropout=0), x, y)
        x[:] = np.finfo("float32").max
        with np.errstate(all="raise"), pytest.raises(FloatingPointError):
            trainer.step(x, y)
        assert trainer.optimizer.steps == STEPS

    def test_what_changes_at_every_step(self):
        def change(trainer, i):
            trainer.loss.label_smoothing = i / 10

        trainer = same_steps(make, *classes_data(6), between=change)
        assert "change at every step" in next(iter(trainer.records.reasons.values()))

    def test_wrong_labels_are_refused_before_anything_changes(self):
        x, y = classes_data(6)
        trainer = same_steps(make, x, y)
        before, steps = trainer.net.parameters.value.copy(), trainer.optimizer.steps
        with pytest.raises(ValueError, match="labels reach from 0 to 7"):
            trainer.step(x, np.array([0, 1, 2, 0, 1, 7]))
        assert (trainer.net.parameters.value == before).all()
        assert trainer.optimizer.steps == steps
        trainer.step(x, y)

    @pytest.mark.parametrize("wrong", [np.zeros((6, 5), "float32"), np.zeros((6, 4)), [[0.0] * 4] * 6])
    def test_wrong_inputs(self, wrong):
        x, y = classes_data(6)
        trainer = same_steps(make, x, y)
        with pytest.raises((ValueError, TypeError), match=r"forward: x|x has shape"):
            trainer.step(wrong, y)

    def test_nobody_elses_arrays_are_written_to(self):
        """Neither outputs that a user holds, nor the batch, nor losses handed out before."""
        x, y = classes_data(6)
        trainer = make(dropout=0).build(x.shape[1:])
        step = trainer.net.step(training=True)
        outputs, _ = trainer.net.forward(x, step)
        held, rows, labels = outputs.copy(), x.copy(), y.copy()
        del step
        losses = [trainer.step(x, y) for _ in range(STEPS)]
        first = [float(v) for v in losses]
        trainer.step(x, y)
        assert first == [float(v) for v in losses]
        assert len(set(first)) == STEPS
        assert (outputs == held).all()
        assert (x == rows).all()
        assert (y == labels).all()
