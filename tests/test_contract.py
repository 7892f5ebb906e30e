"""The layer contract, proved with layers that xpnet does not have: statistics, plain xp, time, branches, scopes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from core_helpers import bits, classes_data, run_step

import xpnet as xn
from xpnet.initializers import glorot_uniform, ones, zeros


class BatchNorm(xn.Layer):
    """``y = gamma (x - mean) / sqrt(var + epsilon) + beta`` over the rows; running statistics in inference."""

    def __init__(self, momentum=0.9, epsilon=1e-5):
        self.momentum, self.epsilon = momentum, epsilon

    def build(self, shape, make):
        self.gamma = make.parameter("gamma", shape[-1:], ones, decay=False)
        self.beta = make.parameter("beta", shape[-1:], zeros, decay=False)
        self.mean = make.state("mean", shape[-1:], zeros)
        self.var = make.state("var", shape[-1:], ones)
        return shape

    def forward(self, x, step):
        rows = step.rows(x)
        mean, var = (rows.mean(axis=0), rows.var(axis=0)) if step.training else (self.mean.value, self.var.value)
        if step.updates_state:
            for running, batch in ((self.mean.value, mean), (self.var.value, var)):
                running *= self.momentum
                running += (1 - self.momentum) * batch
        inverse = 1 / step.xp.sqrt(var + self.epsilon)
        normal = (x - mean) * inverse
        return normal * self.gamma.value + self.beta.value, (normal, inverse)

    def backward(self, dy, cache, step):
        normal, inverse = cache
        dy_rows, n_rows = step.rows(dy), step.rows(normal)
        self.gamma.grad[...] = (dy_rows * n_rows).sum(axis=0)
        self.beta.grad[...] = dy_rows.sum(axis=0)
        d = dy_rows * self.gamma.value
        if step.training:
            d = d - d.mean(axis=0) - n_rows * (d * n_rows).mean(axis=0)
        return (d * inverse).reshape(dy.shape)


class Bend(xn.Layer):
    """``y = a x + sin(x)``, elementwise in plain ``xp``: no buffer, no ``step.needs_dx``."""

    def build(self, shape, make):
        self.a = make.parameter("a", shape, ones)
        return shape

    def forward(self, x, step):
        return self.a.value * x + step.xp.sin(x), x

    def backward(self, dy, x, step):
        self.a.grad[...] = (dy * x).sum(axis=0)
        return dy * (self.a.value + step.xp.cos(x))


class Recurrent(xn.Layer):
    """Elman: ``h_t = tanh(x_t U + h_{t-1} V + b)``; x (N, T, D) -> all h (N, T, n), one U, V, b for every t."""

    def __init__(self, n):
        self.n = n

    def build(self, shape, make):
        self.U = make.parameter("U", (shape[-1], self.n), glorot_uniform)
        self.V = make.parameter("V", (self.n, self.n), glorot_uniform)
        self.b = make.parameter("b", (self.n,), zeros, decay=False)
        return (shape[0], self.n)

    def forward(self, x, step):
        xp, (n, steps, _) = step.xp, x.shape
        h = step.keep((n, steps + 1, self.n))  # h[:, t] is the state before x[:, t]
        h[:, 0] = 0
        for t in range(steps):
            h[:, t + 1] = xp.tanh(x[:, t] @ self.U.value + h[:, t] @ self.V.value + self.b.value)
        return h[:, 1:], (x, h)

    def backward(self, dy, cache, step):
        x, h = cache
        for p in (self.U, self.V, self.b):
            p.grad[...] = 0
        dx = step.keep(x.shape)
        later = 0
        for t in reversed(range(x.shape[1])):
            dz = (dy[:, t] + later) * (1 - h[:, t + 1] ** 2)
            self.U.grad += x[:, t].T @ dz
            self.V.grad += h[:, t].T @ dz
            self.b.grad += dz.sum(axis=0)
            later = dz @ self.V.value.T
            dx[:, t] = dz @ self.U.value.T
        return dx


class Branches(xn.Layer):
    """Two chains beside each other, outputs concatenated: a container as a user writes it."""

    def __init__(self, left, right):
        self.left, self.right = left, right

    def build(self, shape, make):
        a = self.left.build(shape, make.child("left", self.left))
        b = self.right.build(shape, make.child("right", self.right))
        self.cut = a[-1]
        return (*a[:-1], a[-1] + b[-1])

    def forward(self, x, step):
        (a, left), (b, right) = self.left.forward(x, step), self.right.forward(x, step)
        return step.xp.concatenate([a, b], axis=-1), (left, right)

    def backward(self, dy, cache, step):
        a = self.left.backward(dy[..., : self.cut], cache[0], step)
        b = self.right.backward(dy[..., self.cut :], cache[1], step)
        return a + b if step.needs_dx else None


class Forgetful(xn.Affine):
    """Assigns no gradient to its bias."""

    def backward(self, dy, x, step):
        step.matmul(step.rows(x).T, step.rows(dy), out=self.W.grad)
        return step.matmul(step.rows(dy), self.W.value.T).reshape(x.shape) if step.needs_dx else None


class Spy(xn.Layer):
    """The identity, which writes down what ``needs_dx`` each backward saw."""

    def __init__(self, parameters=False):
        self.parameters = parameters
        self.seen = []

    def build(self, shape, make):
        self.p = make.parameter("p", (1,), zeros) if self.parameters else None
        return shape

    def forward(self, x, step):
        return x, None

    def backward(self, dy, cache, step):
        self.seen.append(step.needs_dx)
        if self.p:
            self.p.grad[...] = 0
        return dy if step.needs_dx else None


def branches():
    return Branches(xn.Sequential(xn.Affine(3), xn.Tanh()), xn.Sequential(xn.Affine(2), BatchNorm(), xn.Sigmoid()))


CUSTOM = [
    ("batch norm", BatchNorm, (5,)),
    ("batch norm of sequences", BatchNorm, (4, 5)),
    ("plain xp", Bend, (5,)),
    ("plain xp of images", Bend, (3, 2, 2)),
    ("recurrent", lambda: Recurrent(4), (6, 3)),
    ("recurrent, one moment", lambda: Recurrent(4), (1, 3)),
    ("two recurrent", lambda: xn.Sequential(Recurrent(4), xn.Affine(3), Recurrent(2), xn.Flatten()), (5, 3)),
    ("branches", branches, (4,)),
    ("branches of branches", lambda: Branches(branches(), xn.Affine(2)), (4,)),
    ("branches in a residual", lambda: xn.Residual(branches(), xn.Affine(4), BatchNorm()), (4,)),
    ("residual in branches", lambda: Branches(xn.Residual(Bend()), xn.Residual(xn.Affine(2), shortcut=xn.Affine(2))), (4,)),
    ("a whole net", lambda: xn.Sequential(xn.Affine(6), BatchNorm(), xn.Tanh(), xn.Dropout(0.3), branches(), Bend()), (4,)),
]
custom = pytest.mark.parametrize(("make", "shape"), [row[1:] for row in CUSTOM], ids=[row[0] for row in CUSTOM])


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


def restored_into_another(net):
    other = xn.Sequential(xn.Affine(3), BatchNorm(momentum=0.5), xn.Affine(2)).build((4,), device=net.device, seed=9)
    other.parameters.restore(net.parameters.snapshot())
    return other


class TestScopes:
    def test_names_of_nested_containers(self):
        net = xn.Sequential(
            xn.Affine(4),
            xn.Residual(xn.Affine(5), BatchNorm(), shortcut=xn.Affine(5)),
            xn.Sequential(xn.ReLU(), xn.Sequential(xn.Residual(xn.Sequential(xn.Affine(5, bias=False)), xn.Tanh()))),
            Branches(xn.Sequential(xn.Identity(), xn.Affine(1)), xn.Residual(Bend())),
        ).build((3,))
        assert list(net.parameters) == [
            "0.W",
            "0.b",
            "1.0.W",
            "1.0.b",
            "1.1.gamma",
            "1.1.beta",
            "1.1.mean",
            "1.1.var",
            "1.shortcut.W",
            "1.shortcut.b",
            "2.1.0.0.0.W",
            "3.left.1.W",
            "3.left.1.b",
            "3.right.0.a",
        ]
        assert net.output_shape == (6,)
        assert net.shapes == [(3,), (4,), (5,), (5,), (6,)]

    def test_names_of_a_container_in_a_chain(self):
        net = xn.Sequential(xn.Sequential(xn.Residual(xn.Sequential(xn.Affine(3))))).build((3,))
        assert list(net.parameters) == ["0.0.0.0.W", "0.0.0.0.b"]

    def test_freezing_a_container_freezes_all_below(self):
        net = xn.Sequential(xn.Residual(xn.Affine(3), shortcut=xn.Affine(3)), branches()).build((3,))
        net.freeze("0", "1.left")
        assert [name for name, p in net.parameters.items() if not p.frozen and p.trainable] == [
            "1.right.0.W",
            "1.right.0.b",
            "1.right.1.gamma",
            "1.right.1.beta",
        ]

    def test_walk_sees_every_layer_of_containers(self):
        inner = xn.Residual(xn.Affine(3), xn.Sequential(xn.Tanh()), shortcut=xn.Identity())
        names = [type(layer).__name__ for layer in xn.Sequential(xn.ReLU(), inner).walk()]
        assert names == ["ReLU", "Residual", "Affine", "Sequential", "Tanh", "Identity"]

    @pytest.mark.parametrize(
        ("layers", "first", "second"),
        [
            (lambda a: (a, xn.ReLU(), a), "0", "2"),
            (lambda a: (xn.Sequential(xn.ReLU(), a), a), r"0\.1", "1"),
            (lambda a: (a, xn.Residual(xn.Sequential(a))), "0", r"1\.0\.0"),
            (lambda a: (xn.Residual(a, shortcut=a),), r"0\.0", r"0\.shortcut"),
            (lambda a: (Branches(a, a),), r"0\.left", r"0\.right"),
            (lambda a: (Branches(xn.Sequential(a), xn.ReLU()), a), r"0\.left\.0", "1"),
        ],
        ids=["chain", "nested", "residual", "shortcut", "user's container", "below a user's container"],
    )
    def test_a_layer_used_twice_is_refused_with_both_paths(self, layers, first, second):
        net = xn.Sequential(*layers(xn.Affine(4)))
        with pytest.raises(
            ValueError,
            match=rf"same Affine object stands at {first} and at {second} of one network: "
            r"make a second Affine\(\.\.\.\)",
        ):
            net.build((4,))
        assert not net.built

    @pytest.mark.parametrize("layer", [xn.ReLU(), xn.Dropout(0.5), xn.Sequential(xn.ReLU())], ids=repr)
    def test_even_one_without_parameters(self, layer):
        with pytest.raises(ValueError, match="stands at 0 and at 1 of one network"):
            xn.Sequential(layer, layer).build((4,))

    def test_a_network_inside_another_is_a_layer(self, device):
        inner = xn.Sequential(xn.Affine(3), xn.Tanh()).build((4,), device=device, seed=5)
        outer = xn.Sequential(inner, xn.Affine(2))
        with pytest.raises(ValueError, match=r"Sequential at 0 is a network of its own.*unbuild\(\) first"):
            outer.build((4,), device=device)
        assert inner.built
        inner.unbuild()
        outer.build((4,), device=device)
        assert list(outer.parameters) == ["0.0.W", "0.0.b", "1.W", "1.b"]
        with pytest.raises(xn.NotBuilt):
            inner.predict(np.zeros((1, 4)))
        assert outer.predict(np.zeros((2, 4))).shape == (2, 2)


class TestForgottenGradients:
    def test_shows_as_nan_on_the_simulated_gpu(self):
        device = xn.device("sim")
        net = xn.Sequential(Forgetful(3), xn.Affine(2)).build((4,), device=device)
        x, y = (device.put(a) for a in classes_data(6, classes=2))
        for _ in range(2):
            run_step(net, xn.SoftmaxCrossEntropy(), xn.SGD(0.1), x, y)
        found = {name: np.isnan(device.get(p.grad)).all() for name, p in net.parameters.items()}
        assert found["0.b"]
        assert np.isnan(net.parameters.snapshot()["0.b"]).all()
        assert np.isnan(net.predict(np.zeros((1, 4)))).all()

    @pytest.mark.parametrize("debug", [False, True])
    def test_shows_on_the_cpu_in_debug_mode(self, debug):
        net = xn.Sequential(Forgetful(3)).build((4,))
        net.debug = debug
        step = net.step(training=True)
        outputs, cache = net.forward(classes_data(6)[0], step)
        net.backward(outputs, cache, step)
        assert np.isnan(net.parameters["0.b"].grad).all() == debug
        assert np.isfinite(net.parameters["0.W"].grad).all()

    def test_gradcheck_names_it(self, device):
        with pytest.raises(xn.GradientError, match=r"0\.b .*relative error (inf|[0-9.e+-]+) at \[[0-2]\]"):
            xn.gradcheck(Forgetful(3), (4,), device=device)

    def test_reading_a_kept_buffer_before_writing_shows_on_the_simulated_gpu(self):
        class Careless(xn.Layer):
            def forward(self, x, step):
                y = step.keep(x.shape)
                y += x
                return y, None

        net = xn.Sequential(Careless()).build((4,), device="sim")
        for _ in range(3):
            assert np.isnan(net.predict(np.ones((2, 4)))).all()

    def test_a_layer_without_methods_says_which(self, device):
        class Empty(xn.Layer):
            pass

        net = xn.Sequential(Empty()).build((2,), device=device)
        x = device.put(np.ones((1, 2), np.float32))
        with pytest.raises(NotImplementedError, match=r"Empty has no forward\(x, step\)"):
            net.forward(x, net.step(training=True))
        with pytest.raises(NotImplementedError, match=r"Empty has no backward\(dy, cache, step\)"):
            net.layers[0].backward(x, None, net.step(training=True))


class TestNeedsDx:
    @pytest.mark.parametrize(
        ("layers", "expected"),
        [
            (lambda spy: [spy(True), xn.Affine(2)], [[False]]),
            (lambda spy: [spy(), spy(True), spy()], [[], [False], [True]]),
            (lambda spy: [spy(), xn.Affine(3), spy()], [[], [True]]),
            (lambda spy: [xn.Sequential(spy(), spy(True)), spy()], [[], [False], [True]]),
            (lambda spy: [spy(), xn.Residual(spy(), spy(True), shortcut=spy())], [[], [], [False], [False]]),
            (lambda spy: [xn.Affine(4), xn.Residual(spy(), spy(True), shortcut=spy())], [[True], [True], [True]]),
            (lambda spy: [spy(), spy()], [[], []]),
        ],
        ids=[
            "first",
            "above one without parameters",
            "below a real one",
            "nested",
            "residual",
            "residual above",
            "none at all",
        ],
    )
    def test_no_gradient_is_asked_for_that_nobody_uses(self, device, layers, expected):
        spies = []

        def spy(*args):
            spies.append(Spy(*args))
            return spies[-1]

        net = xn.Sequential(*layers(spy)).build((4,), device=device)
        x = device.put(classes_data(5)[0])
        step = net.step(training=True)
        outputs, cache = net.forward(x, step)
        assert net.backward(device.put(np.ones(outputs.shape, np.float32)), cache, step) is None
        assert [s.seen for s in spies] == expected
        for s in spies:
            s.seen.clear()
        step = net.step(training=True, needs_dx=True)
        outputs, cache = net.forward(x, step)
        assert net.backward(device.put(np.ones(outputs.shape, np.float32)), cache, step) is not None
        assert [s.seen for s in spies] == [[True]] * len(spies)

    def test_the_first_layers_product_is_saved(self):
        """One matrix product less on the simulated GPU, where launches are counted."""
        from xpnet.backends.sim import counters

        device = xn.device("sim")
        launches = []
        for needs_dx in (False, True):
            net = xn.Sequential(xn.Affine(3), xn.Affine(2)).build((4,), device=device)
            for _ in range(2):  # the first pass makes the vector of ones
                step = net.step(training=True, needs_dx=needs_dx)
                outputs, cache = net.forward(device.put(classes_data(5)[0]), step)
                with counters.record() as seen:
                    net.backward(outputs, cache, step)
            launches.append(seen.launches)
        assert launches[1] - launches[0] == 1

    @pytest.mark.parametrize(
        "layers",
        [
            lambda: [xn.Tanh()],
            lambda: [xn.Affine(3)],
            lambda: [xn.Flatten(), xn.Affine(2)],
            lambda: [xn.Residual(xn.Affine(4)), xn.Affine(1)],
            lambda: [branches()],
        ],
        ids=["no parameters", "affine", "flatten first", "residual", "branches"],
    )
    def test_the_input_gradient_is_right_when_asked_for(self, device, layers):
        net = xn.Sequential(*layers()).build((4,), device=device, dtype="float64")
        x = np.random.default_rng(3).standard_normal((3, 4))

        def value(rows):
            return device.get(net.forward(device.put(rows), net.step(training=False))[0]).sum()

        step = net.step(training=False, needs_dx=True)
        outputs, cache = net.forward(device.put(x), step)
        dx = device.get(net.backward(device.put(np.ones(outputs.shape)), cache, step))
        for place in np.ndindex(x.shape):
            d = np.zeros(x.shape)
            d[place] = 1e-6
            assert dx[place] == pytest.approx((value(x + d) - value(x - d)) / 2e-6, abs=1e-8)


class TestShapes:
    def test_summary_shows_what_a_users_layer_returns(self):
        net = xn.Sequential(Recurrent(4), Bend(), xn.Flatten(), branches()).build((6, 3))
        lines = net.summary().splitlines()
        columns = [line[lines[0].index("output shape") :].split("  ")[0] for line in lines[2:-3]]
        assert columns == ["(N, 6, 3)", "(N, 6, 4)", "(N, 6, 4)", "(N, 24)", "(N, 5)"]
        counts = [line.split()[-3].replace(",", "") for line in lines[3:-3]]
        assert counts == [str(3 * 4 + 16 + 4), "24", "0", str(24 * 3 + 3 + 24 * 2 + 2 + 4)]

    def test_a_list_returned_by_build_counts_as_a_shape(self):
        class Listing(xn.Layer):
            def build(self, shape, make):
                return list(shape)

            def forward(self, x, step):
                return x, None

        net = xn.Sequential(Listing(), xn.Affine(2)).build((3,))
        assert net.shapes == [(3,), (3,), (2,)]

    def test_a_users_layer_repr_is_its_constructors_arguments(self):
        assert repr(BatchNorm(momentum=0.5)) == "BatchNorm(momentum=0.5)"
        assert repr(BatchNorm()) == "BatchNorm()"
        assert repr(Recurrent(4)) == "Recurrent(n=4)"
        assert BatchNorm(0.8).config() == {"momentum": 0.8, "epsilon": 1e-5}

    @pytest.mark.parametrize(
        ("layers", "shape", "message"),
        [
            (
                lambda: [xn.Residual(xn.Affine(5))],
                (4,),
                r"body gives \(5,\) per sample, the shortcut \(4,\).*shortcut=Affine\(5\)",
            ),
            (lambda: [xn.Residual(xn.Affine(5), shortcut=xn.Affine(6))], (4,), r"gives \(5,\) per sample, the shortcut \(6,\)"),
            (lambda: [xn.Affine(3)], (), r"Affine\(3\) needs inputs of shape \(N, \.\.\., n_in\).*reshape them to \(N, 1\)"),
        ],
        ids=["residual", "shortcut", "scalars"],
    )
    def test_shapes_that_do_not_fit_are_refused_at_build(self, layers, shape, message):
        net = xn.Sequential(*layers())
        with pytest.raises(ValueError, match=message):
            net.build(shape)
        assert not net.built


class TestSharedBetweenNetworks:
    def test_a_layer_of_a_network_in_use_is_refused(self):
        shared = xn.Affine(3)
        first = xn.Sequential(xn.ReLU(), shared).build((4,))
        before = first.predict(np.ones((2, 4)))
        with pytest.raises(ValueError, match=r"Affine object at 0 belongs to another network, as 1\.W.*deepcopy"):
            xn.Sequential(shared).build((4,), seed=1)
        np.testing.assert_array_equal(first.predict(np.ones((2, 4))), before)

    def test_a_network_that_is_gone_or_built_anew_frees_its_layers(self):
        shared = xn.Affine(3)
        first = xn.Sequential(shared).build((4,))
        first.build((5,))
        del first
        assert xn.Sequential(shared).build((4,)).parameters["0.W"].shape == (4, 3)
