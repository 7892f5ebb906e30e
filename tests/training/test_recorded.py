"""Recorded steps: replayed they are the layers' own steps bit for bit, they follow every change, and they know their limits."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from core_helpers import classes_data
from trainer_helpers import LOSS_IDS, LOSSES, make, targets_for

import xpnet as xn

STEPS = 6


def replays(trainer):
    """How many steps each record of the trainer has replayed."""
    return [record._plan.replays if record._plan else None for record in trainer.records._of_kind.values()]


def same_steps(made, x, y, weights=None, steps=STEPS, between=lambda trainer, i: None):
    """Train one trainer by steps, its equal by the layers' code alone; both end in the same bytes. The first is returned."""
    trainer, eager = made(), made()
    for one in (trainer, eager):
        one.build(x.shape[1:])
    for i in range(steps):
        between(trainer, i)
        between(eager, i)
        losses = trainer.step(x, y, weights), eager.eager_step(x, y, weights)
        assert losses[0].tobytes() == losses[1].tobytes(), f"step {i}"
    for name in ("value", "grad", "state"):
        assert getattr(trainer.net.parameters, name).tobytes() == getattr(eager.net.parameters, name).tobytes()
    for name, vector in trainer.optimizer.vectors.items():
        assert vector.tobytes() == eager.optimizer.vectors[name].tobytes()
    return trainer


def images(n=5, size=8, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, size, size, 2)).astype("float32"), rng.integers(0, 3, n)


def blocks():
    body = [xn.Conv2d(4, 3, padding=1), xn.BatchNorm(), xn.ReLU(), xn.MaxPool2d(2), xn.Dropout(0.3)]
    return [*body, xn.Residual(xn.Conv2d(4, 3, padding=1)), xn.Flatten(), xn.Affine(3)]


OPTIMIZERS = [
    xn.SGD(0.1, l2=0.01),
    xn.Momentum(xn.CosineDecay(0.1, 10)) if hasattr(xn, "CosineDecay") else xn.Momentum(0.1),
    xn.Nesterov(0.1, clip_norm=0.1),
    xn.AdaGrad(0.1),
    xn.RMSProp(0.01, weight_decay=0.1),
    xn.Adam(0.01, l2=0.1, clip_norm=0.5, decay_all=True),
    xn.AdamW(0.01),
]


class TestSameBytes:
    @pytest.mark.parametrize(("loss", "kind"), LOSSES, ids=LOSS_IDS)
    @pytest.mark.parametrize("weighted", [False, True])
    def test_losses_and_weights(self, loss, kind, weighted):
        x, labels = classes_data(10)
        y = targets_for(kind, labels).astype("int64" if kind == "labels" else "float32")
        weights = np.linspace(0, 2, 10, dtype="float32") if weighted else None
        trainer = same_steps(lambda: make(loss=copy.deepcopy(loss)), x, y, weights)
        assert replays(trainer) == [STEPS - 2]

    @pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_optimizers(self, optimizer, dtype):
        x, y = classes_data(7)
        trainer = same_steps(lambda: make(optimizer=copy.deepcopy(optimizer), dtype=dtype), x.astype(dtype), y)
        assert replays(trainer) == [STEPS - 2]

    @pytest.mark.parametrize("threads", [1, 2])
    def test_images_in_blocks(self, threads):
        x, y = images()

        def made():
            trainer = xn.Trainer(xn.Sequential(*blocks()), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(0.01))
            trainer.device.threads = threads
            return trainer

        before = xn.device("cpu").threads
        try:
            assert replays(same_steps(made, x, y, steps=8))[0] >= 4
        finally:
            xn.device("cpu").threads = before

    def test_the_layers_that_a_step_is_made_of(self):
        x, y = classes_data(6)
        layers = [xn.LayerNorm(), xn.GELU(), xn.ELU(), xn.SiLU(), xn.Softplus(), xn.LeakyReLU()]
        layers += [xn.BatchNorm(), xn.GaussianNoise(0.1)]

        def made():
            net = xn.Sequential(*(part for layer in layers for part in (xn.Affine(5), copy.deepcopy(layer))), xn.Affine(3))
            return xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1))

        assert replays(same_steps(made, x, y)) == [STEPS - 2]

    def test_odd_batches(self):
        x, y = classes_data(12)
        locked = x[::2]
        locked.flags.writeable = False
        for rows, labels in [(locked, y[::2]), (np.asfortranarray(x), y), (x[:1], y[:1])]:
            same_steps(make, rows, labels)

    def test_fit(self):
        """The last batch is smaller: a record of its own."""
        x, y = classes_data(20)
        trainer = make()
        trainer.fit(x, y, epochs=4, batch_size=6)
        assert replays(trainer) == [10, 2]
        again = make()
        again.records.wanted = False
        again.fit(x, y, epochs=4, batch_size=6)
        assert trainer.history["loss"] == again.history["loss"]


class TestBatches:
    def test_other_arrays_after_the_same_ones(self):
        """The record reads the arrays that it was given twice; for others it is made anew, and copies them."""
        x, y = classes_data(12)
        trainer, eager = make().build(x.shape[1:]), make().build(x.shape[1:])
        same = x[:6], y[:6]
        for batch in [same] * 5 + [(x[k : k + 6].copy(), y[k : k + 6].copy()) for k in range(6)] + [same] * 2:
            assert float(trainer.step(*batch)) == float(eager.eager_step(*batch))
        assert trainer.net.parameters.value.tobytes() == eager.net.parameters.value.tobytes()
        assert replays(trainer) == [6]

    def test_what_is_written_into_the_same_arrays_counts(self):
        x, y = classes_data(6)
        trainer, eager = make().build(x.shape[1:]), make().build(x.shape[1:])
        for i in range(6):
            x *= 1 + i / 10
            y[:] = (y + 1) % 3
            assert float(trainer.step(x, y)) == float(eager.eager_step(x, y))

    def test_fit_reads_its_buffers_where_they_are(self):
        x, y = classes_data(24)
        trainer = make()
        trainer.fit(x, y, epochs=6, batch_size=6)
        (record,) = trainer.records._of_kind.values()
        assert [a is not None for a in record._plan._given] == [True, True, False]
        trainer.fit(x, y, epochs=2, batch_size=6)  # has buffers of its own; so many steps before are worth another record
        assert [a is not None for a in record._plan._given] == [True, True, False]


class TestChanges:
    """What is changed between steps has its effect in the next one."""

    def test_the_learning_rate_needs_no_new_record(self):
        def halve(trainer, i):
            trainer.optimizer.learning_rate = 0.1 / (i + 1)

        assert replays(same_steps(make, *classes_data(6), between=halve)) == [STEPS - 2]

    @pytest.mark.parametrize(
        "change",
        [
            lambda t: setattr(t.optimizer, "beta1", 0.5),
            lambda t: setattr(t.optimizer, "weight_decay", 0.1),
            lambda t: setattr(t.net.layers[2], "rate", 0.9),
            lambda t: setattr(t.loss, "label_smoothing", 0.3),
            lambda t: t.net.freeze(0),
            lambda t: t.net.parameters.restore({k: v + 1 for k, v in t.net.parameters.snapshot().items()}),
            lambda t: setattr(t, "loss", xn.SoftmaxCrossEntropy(label_smoothing=0.2)),
            lambda t: setattr(t, "optimizer", xn.SGD(0.3)),
        ],
        ids=["hyper-parameter", "decay", "layer", "loss", "freeze", "weights", "another loss", "another optimizer"],
    )
    def test_whatever_else(self, change):
        same_steps(make, *classes_data(6), steps=9, between=lambda trainer, i: change(trainer) if i == 4 else None)

    def test_debugging(self):
        trainer = make()
        x, y = classes_data(6)
        for i in range(6):
            trainer.step(x, y) if i else trainer.build(x.shape[1:])
        trainer.net.debug = True
        trainer.step(x, y)
        assert trainer.records.reasons == {x.shape: "net.debug looks at every gradient"}
        trainer.net.debug = False
        for _ in range(3):
            trainer.step(x, y)
        assert trainer.records.reasons == {x.shape: ""}
        assert replays(trainer) == [1]

    def test_a_method_that_is_put_back(self):
        def exchange(trainer, i):
            layer = trainer.net.layers[0]
            if i == 3:
                layer.forward = lambda x, step: type(layer).forward(layer, -x, step)
            elif i == 6:
                del layer.forward

        same_steps(make, *classes_data(6), steps=10, between=exchange)

    def test_many_changes_of_a_network_in_blocks(self):
        def change(trainer, i):
            if i % 8 == 7:
                trainer.optimizer.weight_decay = i / 100

        made = lambda: xn.Trainer(xn.Sequential(*blocks()), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(0.01))  # noqa: E731
        assert replays(same_steps(made, *images(), steps=46, between=change))[0] > 0

    def test_threads(self):
        cpu, (x, y) = xn.device("cpu"), classes_data(6)
        trainer, before = same_steps(make, x, y), cpu.threads
        plan = next(iter(trainer.records._of_kind.values()))._plan
        try:
            cpu.threads = 3 - min(before, 2)
            trainer.step(x, y)
            assert next(iter(trainer.records._of_kind.values()))._plan is not plan
        finally:
            cpu.threads = before

    def test_few_kinds_are_kept(self):
        x, y = classes_data(12)
        trainer = make().build(x.shape[1:])
        for n in (*range(1, 9), 1):
            trainer.step(x[:n], y[:n])
        assert [shape[0] for shape in trainer.records.reasons] == [6, 7, 8, 1]

    def test_a_copy_has_no_records(self):
        x, y = classes_data(6)
        trainer = same_steps(make, x, y)
        trainer.records.wanted = False
        for other in (copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))):
            assert other.records.reasons == {}
            assert not other.records.wanted
            before = trainer.net.parameters.value.copy()
            other.step(x, y)
            assert (trainer.net.parameters.value == before).all()


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


def test_on_every_device(device):
    """A GPU's steps are not recorded; on cpu-fast the compiled loops are."""
    x, y = (device.put(a) for a in classes_data(6))
    trainer = make(device, optimizer=xn.Adam(0.01, l2=0.1, clip_norm=0.5)).build(x.shape[1:])
    eager = make(device, optimizer=xn.Adam(0.01, l2=0.1, clip_norm=0.5)).build(x.shape[1:])
    for _ in range(STEPS):
        assert float(device.get(trainer.step(x, y))) == float(device.get(eager.eager_step(x, y)))
    assert device.get(trainer.net.parameters.value).tobytes() == device.get(eager.net.parameters.value).tobytes()
    assert replays(trainer) == ([STEPS - 2] if device.records else [])
