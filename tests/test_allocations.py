"""No new memory after the second step: by hand, in the trainer, for every layer, loss and optimizer."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from core_helpers import allocations, bits, classes_data, mlp, run_step
from step_helpers import STEPS, on_device

import xpnet as xn
from xpnet.arenas import ArenaPool


class TestAllocations:
    def by_hand(self, device, optimizer, hold):
        """Allocations of each step of a loop by hand."""
        net, loss = mlp(device=device), xn.SoftmaxCrossEntropy()
        x, y = on_device(device)
        counts = []
        for _ in range(STEPS + 2):
            with allocations(device) as made:
                step = net.step(training=True)
                logits, cache = net.forward(x, step)
                value, dlogits = loss(logits, y, step)
                net.backward(dlogits, cache, step)
                optimizer.update(net.parameters)
                if not hold:
                    del step, logits, cache, value, dlogits
            counts.append(made.count)
        return counts

    @pytest.mark.parametrize("hold", [True, False], ids=["names kept as in the docs", "names deleted"])
    @pytest.mark.parametrize(
        "optimizer",
        [
            xn.SGD(0.1),
            xn.Momentum(0.1),
            xn.Nesterov(0.1),
            xn.AdaGrad(),
            xn.RMSProp(),
            xn.Adam(),
            xn.AdamW(),
            xn.Adam(clip_norm=1.0, l2=0.1),
            xn.SGD(0.1, weight_decay=0.1),
            xn.Adam(xn.Cosine(0.1, steps=9)),
        ],
        ids=repr,
    )
    def test_loop_by_hand(self, device, optimizer, hold):
        optimizer.reset()
        counts = self.by_hand(device, optimizer, hold)
        assert counts[0] > 5  # the counter counts
        assert counts[2:] == [0] * STEPS

    @pytest.mark.parametrize(
        ("layers", "loss", "targets"),
        [
            ([xn.Affine(5), layer, xn.Affine(3)], xn.SoftmaxCrossEntropy(), "labels")
            for layer in (
                xn.Sigmoid(),
                xn.Tanh(),
                xn.ReLU(),
                xn.LeakyReLU(),
                xn.ELU(),
                xn.GELU(),
                xn.GELU("tanh"),
                xn.SiLU(),
                xn.Softplus(),
                xn.Softmax(),
                xn.Identity(),
                xn.Dropout(0.5),
                xn.Residual(xn.Affine(5), xn.ReLU()),
                xn.Residual(xn.Affine(7), shortcut=xn.Affine(7)),
                xn.Sequential(xn.Affine(4), xn.Tanh()),
            )
        ]
        + [
            ([xn.Affine(3)], xn.MeanSquaredError(), "numbers"),
            ([xn.Affine(3)], xn.HalfSquaredError(), "numbers"),
            ([xn.Affine(3)], xn.SigmoidCrossEntropy(), "numbers"),
            ([xn.Affine(3)], xn.SoftmaxCrossEntropy(), "numbers"),
            ([xn.Affine(3)], xn.SoftmaxCrossEntropy(label_smoothing=0.1, class_weights=[1, 2, 3], ignore_index=2), "labels"),
        ],
        ids=lambda a: repr(a[1] if len(a) > 1 else a[0]) if isinstance(a, list) else repr(a) if isinstance(a, xn.Loss) else a,
    )
    @pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
    def test_every_layer_and_loss(self, device, layers, loss, targets, weighted):
        net = xn.Sequential(*layers).build((4,), device=device)
        trainer = xn.Trainer(net, loss=loss, optimizer=xn.SGD(0.1), device=device)
        x, y = on_device(device)
        if targets == "numbers":
            y = device.put(np.eye(3, dtype=np.float32)[device.get(y)])
        weights = device.put(np.linspace(0.5, 2, len(x)).astype(np.float32)) if weighted else None
        counts = []
        for _ in range(STEPS):
            with allocations(device) as made:
                trainer.step(x, y, weights)
            counts.append(made.count)
        assert counts[2:] == [0] * (STEPS - 2)

    def test_trainer_step_with_values_held(self, device):
        trainer = xn.Trainer(mlp(device=device), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(), device=device)
        x, y = on_device(device)
        counts, values = [], []
        for _ in range(STEPS + 2):
            with allocations(device) as made:
                values.append(trainer.step(x, y))
            counts.append(made.count)
        assert counts[2:] == [0] * STEPS

    @pytest.mark.parametrize("between", ["predict", "evaluate", "snapshot", "summary", "freeze"])
    def test_what_is_done_between_steps_evicts_nothing(self, device, between):
        trainer = xn.Trainer(mlp(device=device), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=device)
        x, y = on_device(device)
        rows, labels = classes_data(30)
        trainer.step(x, y)
        trainer.step(x, y)
        counts = []
        for n in range(STEPS):
            {
                "predict": lambda n: [trainer.predict(rows[: n + k + 1]) for k in range(6)],
                "evaluate": lambda n: [trainer.evaluate(rows[: n + k + 1], labels[: n + k + 1]) for k in range(6)],
                "snapshot": lambda n: trainer.net.parameters.snapshot(),
                "summary": lambda n: trainer.net.summary(),
                "freeze": lambda n: None,
            }[between](n)
            with allocations(device) as made:
                trainer.step(x, y)
            counts.append(made.count)
        assert counts == [0] * STEPS

    def test_partial_fit_of_one_row_after_another(self, device):
        """On the simulated GPU the row and its label are copied there: two arrays a call, and nothing else."""
        trainer = xn.Trainer(mlp(device=device), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=device)
        x, y = classes_data(STEPS + 2)
        counts = []
        for n in range(STEPS + 2):
            with allocations(device) as made:
                trainer.partial_fit(x[n : n + 1], y[n : n + 1])
            counts.append(made.count)
        assert counts[2:] == [2 if device.kind == "sim" else 0] * STEPS

    def test_last_partial_batches_have_buffers_of_their_own(self, device):
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.1)
        x, y = on_device(device, 10)
        batches = [(x[a : a + 4], y[a : a + 4]) for a in (0, 4, 8)]
        for _ in range(2):
            for batch in batches:
                run_step(net, loss, optimizer, *batch)
        with allocations(device) as made:
            for batch in batches * 3:
                run_step(net, loss, optimizer, *batch)
        assert made.count == 0

    def test_of_many_shapes_few_arenas_are_kept(self, device):
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.1)
        buffers = []
        for n in range(1, 30):
            x, y = on_device(device, n + 3)
            logits = run_step(net, loss, optimizer, x[:n], y[:n]).logits
            buffers.append(weakref.ref(logits))
            net.predict(np.zeros((n, 4), np.float32))
            del logits
        gc.collect()
        alive = [n for n, ref in enumerate(buffers, 1) if ref() is not None]
        assert alive == [26, 27, 28, 29]
        assert ArenaPool.SHAPES_PER_MODE == 4

    def test_a_shape_that_comes_back_after_eviction_is_right(self, device):
        ends = []
        for sizes in ([3, *range(4, 12), 3], [3, 3]):
            net, loss = mlp(device=device), xn.SoftmaxCrossEntropy()
            for n in sizes:
                x, y = on_device(device, 12)
                frozen = xn.SGD(0.1) if n == 3 else None
                step = net.step(training=True, number=n)
                logits, cache = net.forward(x[:n], step)
                net.backward(loss(logits, y[:n], step)[1], cache, step)
                if frozen:
                    frozen.update(net.parameters)
            ends.append(bits(net))
        assert ends[0] == ends[1]
