"""The layer contract, proved by layers that are not in the library: gradients and running statistics."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from contract_layers import BatchNorm, Bend, Branches, Recurrent, custom
from core_helpers import bits, classes_data

import xpnet as xn


class TestGradients:
    @custom
    @pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
    def test_right_on_every_device(self, device, make, shape, training):
        report = xn.gradcheck(make(), shape, device=device, batch=4, training=training)
        assert report
        assert len(report.arrays) > 1

    @custom
    def test_in_a_network_with_a_loss(self, device, make, shape):
        net = xn.Sequential(xn.Affine(shape[-1]), make(), xn.Flatten(), xn.Affine(3))
        assert xn.gradcheck(net, shape, loss=xn.SoftmaxCrossEntropy(), device=device, batch=4)

    @pytest.mark.parametrize(
        ("make", "shape"),
        [(Bend, (5,)), (lambda: Recurrent(4), (6, 3)), (lambda: Branches(xn.Affine(2), Recurrent(2)), (3, 2))],
        ids=["plain xp", "recurrent", "branches"],
    )
    def test_minibatch_is_the_mean_of_samples(self, device, make, shape, rng):
        net = xn.Sequential(make(), xn.Flatten(), xn.Affine(2)).build(shape, device=device, dtype="float64")
        x, y = device.put(rng.standard_normal((5, *shape))), device.put(rng.standard_normal((5, 2)))
        loss = xn.MeanSquaredError()
        step = net.step(training=True)
        outputs, cache = net.forward(x, step)
        net.backward(loss(outputs, y, step)[1], cache, step)
        whole = device.get(net.parameters.grad)
        xn.backward_per_sample(net, loss, x, y)
        np.testing.assert_allclose(device.get(net.parameters.grad), whole, rtol=1e-12, atol=1e-14)

    def test_recurrent_by_hand(self, device):
        """One unit, U = 2, V = 0.5, b = 0.1, x = (1, -1): h1 = tanh(2.1), h2 = tanh(-1.9 + 0.5 h1)."""
        net = xn.Sequential(Recurrent(1)).build((2, 1), device=device, dtype="float64")
        net.parameters.restore({"0.U": np.array([[2.0]]), "0.V": np.array([[0.5]]), "0.b": np.array([0.1])})
        h1 = np.tanh(2.1)
        h2 = np.tanh(-1.9 + 0.5 * h1)
        np.testing.assert_allclose(net.predict(np.array([[[1.0], [-1.0]]])), [[[h1], [h2]]], rtol=1e-15)
        step = net.step(training=True)
        _, cache = net.forward(device.put(np.array([[[1.0], [-1.0]]])), step)
        net.backward(device.put(np.array([[[0.0], [1.0]]])), cache, step)
        dz2 = 1 - h2**2
        dz1 = dz2 * 0.5 * (1 - h1**2)
        found = {name: device.get(p.grad).item() for name, p in net.parameters.items()}
        assert found == pytest.approx({"0.U": dz1 - dz2, "0.V": dz2 * h1, "0.b": dz1 + dz2}, rel=1e-12)

    @custom
    def test_a_users_layer_trains(self, device, make, shape):
        net = xn.Sequential(make(), xn.Flatten(), xn.Affine(3))
        x, y = classes_data(40, int(np.prod(shape)))
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(0.02), device=device)
        losses = trainer.fit(x.reshape(-1, *shape), y, epochs=10, batch_size=10)["loss"]
        assert losses[-1] < 0.6 * losses[0]

    @custom
    def test_cpu_and_simulated_gpu_give_the_same_bytes(self, make, shape):
        ends = []
        for name in ("cpu", "sim"):
            net = xn.Sequential(make(), xn.Flatten(), xn.Affine(3))
            x, y = classes_data(20, int(np.prod(shape)))
            trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(0.01), device=name)
            trainer.fit(x.reshape(-1, *shape), y, epochs=2, batch_size=8)
            ends.append(net.parameters.snapshot())
        for first, second in zip(*(end.values() for end in ends), strict=True):
            if np.lib.NumpyVersion(np.__version__) >= "2.4.0":
                assert first.tobytes() == second.tobytes()
            else:  # products of strided slices, which these layers make, depend on where the memory lies
                np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)


def restored_into_another(net):
    other = xn.Sequential(xn.Affine(3), BatchNorm(momentum=0.5), xn.Affine(2)).build((4,), device=net.device, seed=9)
    other.parameters.restore(net.parameters.snapshot())
    return other


class TestRunningStatistics:
    def make(self, device="cpu"):
        return xn.Sequential(xn.Affine(3), BatchNorm(momentum=0.5), xn.Affine(2)).build((4,), device=device)

    def fit(self, net, **options):
        x, y = classes_data(30, classes=2)
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=net.device)
        trainer.fit(x, y, batch_size=10, **options)
        return net

    def state(self, net):
        return {name: net.parameters.snapshot()[name] for name in ("1.mean", "1.var")}

    def test_they_follow_the_batches(self, device):
        """Two steps with momentum 1/2 from (0, 1): m1 / 4 + m2 / 2, and 1/4 + v1 / 4 + v2 / 2."""
        net = self.make(device)
        batches = [classes_data(20, seed=seed)[0] for seed in (1, 2)]
        hidden = [x @ net.parameters.snapshot()["0.W"] for x in batches]
        for x in batches:
            net.forward(device.put(x), net.step(training=True))
        found = self.state(net)
        np.testing.assert_allclose(found["1.mean"], hidden[0].mean(0) / 4 + hidden[1].mean(0) / 2, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(found["1.var"], 0.25 + hidden[0].var(0) / 4 + hidden[1].var(0) / 2, rtol=1e-4)

    @pytest.mark.parametrize(
        "act",
        [
            lambda net, x, y: net.predict(x),
            lambda net, x, y: net.forward(net.device.put(x), net.step(training=False)),
            lambda net, x, y: xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(1), device=net.device).evaluate(
                x, y
            ),
            lambda net, x, y: xn.gradcheck(net, x=x),
        ],
        ids=["predict", "forward in inference", "evaluate", "gradcheck"],
    )
    def test_only_training_writes_them(self, device, act):
        net = self.fit(self.make(device))
        before = bits(net)
        act(net, *classes_data(10, classes=2))
        assert bits(net) == before

    def test_inference_uses_them(self, device):
        net = self.make(device)
        x, _ = classes_data(10)
        before = net.predict(x)
        p = net.parameters.snapshot()
        net.parameters.restore(p | {"1.mean": p["1.mean"] + 5})
        after = net.predict(x)
        shift = -5 / np.sqrt(1 + 1e-5) * p["2.W"].sum(axis=0)
        np.testing.assert_allclose(after - before, np.broadcast_to(shift, before.shape), rtol=1e-4)
        np.testing.assert_allclose(net.predict(x[:1])[0], after[0], rtol=1e-5)  # a row does not depend on its batch

    def test_they_are_not_trained(self, device):
        net = self.make(device)
        assert [p.name for p in net.parameters.trainable] == ["0.W", "0.b", "1.gamma", "1.beta", "2.W", "2.b"]
        assert net.parameters.value.size == net.parameters.grad.size == 15 + 6 + 8
        assert not hasattr(net.parameters["1.mean"], "grad")
        x, y = (device.put(a) for a in classes_data(10, classes=2))
        for optimizer in (xn.SGD(1e-9, weight_decay=1e8, decay_all=True), xn.Adam(clip_norm=1.0, l2=1.0, decay_all=True)):
            step = net.step(training=True)
            step.updates_state = False
            logits, cache = net.forward(x, step)
            net.backward(xn.SoftmaxCrossEntropy()(logits, y, step)[1], cache, step)
            before = self.state(net)
            optimizer.update(net.parameters)
            for name, a in self.state(net).items():
                np.testing.assert_array_equal(a, before[name])

    @pytest.mark.parametrize(
        "copying",
        [
            copy.deepcopy,
            lambda net: pickle.loads(pickle.dumps(net)),
            lambda net: net.to("sim:1").to("cpu"),
            lambda net: restored_into_another(net),
        ],
        ids=["deepcopy", "pickle", "to", "snapshot and restore"],
    )
    def test_they_travel_with_the_network(self, device, copying):
        net = self.fit(self.make(device))
        before, x = self.state(net), classes_data(10)[0]
        expected = net.predict(x)
        assert (before["1.mean"] != 0).all()
        other = copying(net)
        for name, a in self.state(other).items():
            np.testing.assert_array_equal(a, before[name])
        np.testing.assert_array_equal(other.predict(x), expected)
        self.fit(other)
        assert (self.state(other)["1.mean"] != before["1.mean"]).all()

    def test_early_stopping_restores_them(self, device):
        seen = []

        def watch(trainer, record):
            seen.append(self.state(trainer.net)["1.mean"])
            record["watched"] = [3.0, 1.0, 2.0, 2.0][record["epoch"] - 1]

        net, stopping = self.make(device), xn.EarlyStopping(2, monitor="watched")
        x, y = classes_data(30, classes=2)
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=device, callbacks=[watch])
        trainer.fit(x, y, epochs=9, early_stopping=stopping)
        assert (len(seen), stopping.best_epoch) == (4, 2)
        np.testing.assert_array_equal(self.state(net)["1.mean"], seen[1])

    def test_the_summary_counts_them_apart(self, device):
        text = self.make(device).summary()
        assert "6 running statistics" in text
        assert [line.split()[-2:] for line in text.splitlines() if line.startswith("1 ")] == [["3", "24"]]  # FLOPs: 3
