"""Recorded steps: replayed they are the layers' own steps bit for bit, they follow every change, and they know their limits."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from core_helpers import classes_data
from recorded_helpers import STEPS, replays, same_steps
from trainer_helpers import LOSS_IDS, LOSSES, make, targets_for

import xpnet as xn


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


def test_on_every_device(device):
    """A GPU's steps are not recorded; on cpu-fast the compiled loops are."""
    x, y = (device.put(a) for a in classes_data(6))
    trainer = make(device, optimizer=xn.Adam(0.01, l2=0.1, clip_norm=0.5)).build(x.shape[1:])
    eager = make(device, optimizer=xn.Adam(0.01, l2=0.1, clip_norm=0.5)).build(x.shape[1:])
    for _ in range(STEPS):
        assert float(device.get(trainer.step(x, y))) == float(device.get(eager.eager_step(x, y)))
    assert device.get(trainer.net.parameters.value).tobytes() == device.get(eager.net.parameters.value).tobytes()
    assert replays(trainer) == ([STEPS - 2] if device.records else [])
