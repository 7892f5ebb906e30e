"""BatchNorm, LayerNorm, GroupNorm: running statistics, modes, batches that have no variance, large means, mistakes."""

import copy
import pickle

import numpy as np
import pytest
from core_helpers import bits
from helpers import close, network, run

import xpnet as xn
from xpnet.persample import backward_per_sample


def normal(x, axes, epsilon=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


def states(net):
    return {name: value for name, value in net.parameters.snapshot().items() if name.endswith(("mean", "variance"))}


class TestRunningStatistics:
    @pytest.mark.parametrize("shape", [(3,), (2, 3), (4, 2, 3)])
    @pytest.mark.parametrize("momentum", [0.1, 1.0, 0.0])
    def test_follow_mean_and_unbiased_variance_of_each_batch(self, shape, momentum, device, rng):
        net = network(xn.BatchNorm(momentum=momentum), shape, device)
        mean, variance, axes = np.zeros(3), np.ones(3), tuple(range(len(shape)))
        for i in range(3):
            x = 2 * rng.standard_normal((5, *shape)) + i
            run(net, x)
            mean += momentum * (x.mean(axes) - mean)
            variance += momentum * (x.var(axes, ddof=1) - variance)
            close(states(net)["0.mean"], mean, 1e-13)
            close(states(net)["0.variance"], variance, 1e-13)

    def test_begin_with_mean_0_and_variance_1(self, device):
        net = network(xn.BatchNorm(), (4,), device)
        np.testing.assert_array_equal(states(net)["0.mean"], np.zeros(4))
        np.testing.assert_array_equal(states(net)["0.variance"], np.ones(4))
        assert [p.name for p in net.parameters.trainable] == ["0.gamma", "0.beta"]
        assert not any(p.decay for p in net.parameters.values())

    def test_evaluation_uses_them_and_leaves_them(self, device, rng):
        net = network(xn.BatchNorm(), (4, 3), device)
        for _ in range(3):
            run(net, 3 * rng.standard_normal((6, 4, 3)) + 1)
        before, x = states(net), rng.standard_normal((5, 4, 3))
        found = run(net, x, training=False)
        scale = 1 / np.sqrt(before["0.variance"] + 1e-5)
        close(found.y, (x - before["0.mean"]) * scale, 1e-12, 10)
        close(found.dx, np.broadcast_to(scale, x.shape), 1e-13)
        close(net.predict(x), found.y, 1e-13, 10)
        for name, value in states(net).items():
            np.testing.assert_array_equal(value, before[name])

    def test_evaluation_of_a_row_does_not_depend_on_the_others(self, device, rng):
        net = network(xn.BatchNorm(), (4, 3), device)
        run(net, rng.standard_normal((6, 4, 3)))
        x = rng.standard_normal((5, 4, 3))
        close(run(net, x[:1], training=False).y[0], run(net, x, training=False).y[0], 1e-14)

    def test_gradcheck_leaves_them(self, device, rng):
        net = network(xn.Sequential(xn.BatchNorm()), (3,), device)
        before = bits(net)
        assert xn.gradcheck(net, x=rng.standard_normal((4, 3)), device=device)
        assert bits(net) == before

    @pytest.mark.parametrize("rows", [1, 4])
    def test_an_empty_batch_leaves_them(self, rows, device):
        net = network(xn.BatchNorm(), (rows, 3), device)
        before = bits(net)
        found = run(net, np.zeros((0, rows, 3)))
        assert (found.y.shape, found.dx.shape) == ((0, rows, 3), (0, rows, 3))
        assert all((gradient == 0).all() for gradient in found.grads.values())
        assert bits(net) == before

    @pytest.mark.parametrize("copying", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
    def test_go_along_with_copies_and_to_other_devices(self, copying, device, rng):
        net = network(xn.BatchNorm(), (3,), device)
        run(net, rng.standard_normal((6, 3)) + 2)
        before, again = bits(net), copying(net)
        assert bits(again) == before == bits(copying(net).to("sim"))
        run(again, np.eye(3))
        assert bits(net) == before != bits(again)


class TestBatchNorm:
    def test_vectors(self, device, rng):
        x, dy = 3 * rng.standard_normal((7, 4)) + 2, rng.standard_normal((7, 4))
        gamma, beta = rng.standard_normal(4), rng.standard_normal(4)
        values = {"0.gamma": gamma, "0.beta": beta, "0.mean": np.zeros(4), "0.variance": np.ones(4)}
        found = run(network(xn.BatchNorm(), (4,), device, values=values), x, dy)
        close(found.y, gamma * normal(x, 0) + beta, 1e-12)
        close(found.grads["0.beta"], dy.sum(0), 1e-13)
        close(found.grads["0.gamma"], (dy * normal(x, 0)).sum(0), 1e-12)
        close(found.dx.sum(0), np.zeros(4), 1e-13)  # a shift of all rows changes nothing

    def test_channels_that_do_not_vary_become_beta(self, device):
        found = run(network(xn.BatchNorm(), (2, 2), device), np.full((3, 2, 2), 7.0))
        close(found.y, np.zeros((3, 2, 2)), 1e-12)
        close(found.dx, np.zeros((3, 2, 2)), 1e-10)

    def test_two_values_of_a_channel_are_enough(self, device):
        found = run(network(xn.BatchNorm(epsilon=1e-12), (1,), device), np.array([[1.0], [3.0]]))
        close(found.y, np.array([[-1.0], [1.0]]), 1e-9)

    @pytest.mark.parametrize(("shape", "n"), [((3,), 4000), ((4, 5, 3), 200)])
    def test_large_means_cost_few_digits(self, shape, n, device, rng):
        """Means of 1e4 that vary by 1, in float32: of the input's last digit, 1e-3, some ten, as in PyTorch (channels last)."""
        x = (1e4 + rng.standard_normal((n, *shape))).astype("float32")
        axes = tuple(range(len(shape)))
        net = network(xn.BatchNorm(momentum=1.0), shape, device, "float32")
        found, exact = run(net, x), x.astype("float64")
        close(found.y, normal(exact, axes), 2e-2)
        close(found.y - found.y.mean(axes, dtype="float64"), normal(exact, axes), 2e-3)
        close(states(net)["0.variance"], exact.var(axes, ddof=1), 1e-3)
        close(states(net)["0.mean"], exact.mean(axes), 2e-6)

    def test_weight_decay_passes_it_by(self, device):
        net = network(xn.BatchNorm(), (3,), device)
        trainer = xn.Trainer(net, loss=xn.MeanSquaredError(), optimizer=xn.SGD(0.1, weight_decay=0.5), device=device)
        x = device.put(np.eye(3))
        trainer.step(x, device.put(np.asarray(run(net, x).y)))
        close(net.parameters.snapshot()["0.gamma"], np.ones(3), 1e-12)

    @pytest.mark.parametrize("options", [{}, {"affine": False}, {"epsilon": 0.1, "momentum": 0.5}], ids=str)
    def test_gradients(self, options, device):
        assert xn.gradcheck(xn.BatchNorm(**options), (2, 2, 3), batch=3, device=device, tolerance=1e-5)


REASON = (
    r"^BatchNorm: a training batch of one row has one value per channel, and so no variance: choose a batch_size that leaves"
)


class TestSingleRows:
    def net(self, device):
        return xn.Sequential(xn.Affine(3), xn.BatchNorm(), xn.ReLU(), xn.Affine(2)).build((4,), device=device)

    def test_in_training_are_refused_with_the_reason(self, device):
        net = self.net(device)
        before = bits(net)
        with pytest.raises(ValueError, match=REASON):
            run(net, np.ones((1, 4)))
        assert bits(net) == before
        assert run(net, np.ones((1, 4)), training=False).y.shape == (1, 2)

    def test_an_image_of_several_pixels_is_enough(self, device, rng):
        x = rng.standard_normal((1, 2, 1, 3))
        close(run(network(xn.BatchNorm(), (2, 1, 3), device), x).y, normal(x, (0, 1, 2)), 1e-12)
        with pytest.raises(ValueError, match=REASON):
            run(network(xn.BatchNorm(), (1, 1, 3), device), x[:, :1])

    @pytest.mark.parametrize(("n", "batch_size"), [(9, 4), (33, 32), (5, 1), (1, 32), (1, None)])
    def test_fit_refuses_sizes_that_leave_one_before_it_begins(self, n, batch_size, device, rng):
        trainer = xn.Trainer(self.net(device), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=device)
        before = bits(trainer)
        x, y = rng.standard_normal((n, 4)), rng.integers(0, 2, n)
        with pytest.raises(ValueError, match=REASON):
            trainer.fit(x, y, batch_size=batch_size, epochs=2, progress=False)
        assert bits(trainer) == before
        assert not any(trainer.history.values())

    @pytest.mark.parametrize(("n", "batch_size"), [(8, 4), (10, 4), (33, None), (2, 32)])
    def test_fit_takes_the_others(self, n, batch_size, device, rng):
        trainer = xn.Trainer(self.net(device), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=device)
        history = trainer.fit(
            rng.standard_normal((n, 4)), rng.integers(0, 2, n), batch_size=batch_size, epochs=2, progress=False
        )
        assert np.isfinite(history["loss"]).all()

    def test_nested_ones_are_found(self, device, rng):
        net = xn.Sequential(xn.Residual(xn.Affine(4), xn.Sequential(xn.BatchNorm())), xn.Affine(2))
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=device)
        with pytest.raises(ValueError, match=REASON):
            trainer.fit(rng.standard_normal((9, 4)), rng.integers(0, 2, 9), batch_size=4, progress=False)


class TestPerSample:
    REFUSED = (
        r"^BatchNorm\(\): a sample's output depends on the others of its batch, so that one sample at a time is another "
        r"computation; train with per_sample=False$"
    )

    def test_is_refused_where_samples_meet(self, device, rng):
        net = xn.Sequential(xn.Residual(xn.BatchNorm()), xn.Affine(2)).build((4,), device=device, dtype="float64")
        x, y = device.put(rng.standard_normal((6, 4))), device.put(rng.integers(0, 2, 6))
        before = bits(net)
        with pytest.raises(ValueError, match=self.REFUSED):
            backward_per_sample(net, xn.SoftmaxCrossEntropy(), x, y)
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=device)
        with pytest.raises(ValueError, match=self.REFUSED):
            trainer.fit(device.get(x), device.get(y), batch_size=3, per_sample=True, progress=False)
        assert bits(net) == before

    @pytest.mark.parametrize("layer", [lambda: xn.LayerNorm(), lambda: xn.GroupNorm(2)], ids=["LayerNorm", "GroupNorm"])
    def test_is_the_minibatch_elsewhere(self, layer, device, rng):
        net = xn.Sequential(xn.Conv2d(4, 3), layer(), xn.ReLU(), xn.GlobalAvgPool2d(), xn.Affine(2))
        net.build((5, 5, 2), device=device, dtype="float64")
        x, y = device.put(rng.standard_normal((3, 5, 5, 2))), device.put(rng.integers(0, 2, 3))
        backward_per_sample(net, xn.SoftmaxCrossEntropy(), x, y)
        one_by_one = device.get(net.parameters.grad)
        step = net.step(training=True)
        logits, cache = net.forward(x, step)
        net.backward(xn.SoftmaxCrossEntropy()(logits, y, step)[1], cache, step)
        close(one_by_one, device.get(net.parameters.grad), 1e-12)


class TestWithinSamples:
    @pytest.mark.parametrize("axes", [1, 2, 3])
    def test_layer_norm_over_its_last_axes(self, axes, device, rng):
        x = 2 * rng.standard_normal((3, 4, 2, 5)) + 1
        net = network(xn.LayerNorm(axes), (4, 2, 5), device)
        close(run(net, x).y, normal(x, tuple(range(4 - axes, 4))), 1e-12)
        assert {p.shape for p in net.parameters.values()} == {(4, 2, 5)[3 - axes :]}

    @pytest.mark.parametrize("groups", [1, 2, 3, 6])
    def test_group_norm_over_neighbouring_channels(self, groups, device, rng):
        x = 2 * rng.standard_normal((3, 4, 2, 6)) + 1
        apart = x.reshape(3, 8, groups, 6 // groups)
        found = run(network(xn.GroupNorm(groups), (4, 2, 6), device), x)
        close(found.y, normal(apart, (1, 3)).reshape(x.shape), 1e-12)

    def test_group_norm_of_vectors(self, device, rng):
        x = rng.standard_normal((3, 6))
        found = run(network(xn.GroupNorm(2), (6,), device), x)
        close(found.y, normal(x.reshape(3, 2, 3), 2).reshape(3, 6), 1e-12)

    @pytest.mark.parametrize(
        "layer", [xn.LayerNorm(), xn.LayerNorm(3), xn.GroupNorm(3), xn.LayerNorm(2, affine=False)], ids=repr
    )
    def test_training_and_evaluation_are_one(self, layer, device, rng):
        net, x = network(layer, (4, 2, 6), device, seed=1), rng.standard_normal((3, 4, 2, 6))
        np.testing.assert_array_equal(run(net, x, training=False).y, run(net, x).y)
        close(run(net, x[:1]).y[0], run(net, x).y[0], 1e-13)

    @pytest.mark.parametrize("layer", [xn.LayerNorm(), xn.GroupNorm(1)], ids=repr)
    def test_large_means_cost_few_digits(self, layer, device, rng):
        x = (1e4 + rng.standard_normal((50, 512))).astype("float32")
        found = run(network(layer, (512,), device, "float32"), x)
        close(found.y, normal(x.astype("float64"), 1), 3e-3)


class TestArguments:
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: xn.BatchNorm(epsilon=0), r"^BatchNorm\(epsilon=0\): it is a finite number greater than 0$"),
            (lambda: xn.BatchNorm(momentum=-0.1), r"^BatchNorm\(momentum=-0.1\): it is a finite number from 0 on$"),
            (lambda: xn.BatchNorm(momentum="0.1"), r"^BatchNorm\(momentum='0.1'\): it is a finite number from 0 on$"),
            (lambda: xn.LayerNorm(0), r"^LayerNorm\(axes=0\): it is a whole number from 1 on$"),
            (lambda: xn.LayerNorm((4, 3)), r"^LayerNorm\(axes=\(4, 3\)\): it is a whole number from 1 on$"),
            (lambda: xn.LayerNorm(epsilon=-1), r"^LayerNorm\(epsilon=-1\): it is a finite number greater than 0$"),
            (lambda: xn.GroupNorm(0), r"^GroupNorm\(groups=0\): it is a whole number from 1 on$"),
            (lambda: xn.GroupNorm(2, epsilon=0.0), r"^GroupNorm\(epsilon=0.0\): it is a finite number greater than 0$"),
        ],
    )
    def test_wrong_ones(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()

    def test_groups_that_do_not_divide_the_channels(self):
        with pytest.raises(ValueError, match=r"^GroupNorm\(groups=4\): 6 channels cannot be cut into 4 groups$"):
            xn.Sequential(xn.GroupNorm(4)).build((3, 3, 6))

    def test_more_axes_than_there_are(self):
        message = r"^LayerNorm\(axes=3\): samples of shape \(4, 3\) have fewer axes than it normalises over$"
        with pytest.raises(ValueError, match=message):
            xn.Sequential(xn.LayerNorm(3)).build((4, 3))

    @pytest.mark.parametrize("layer", [xn.BatchNorm(), xn.GroupNorm(1)], ids=repr)
    def test_samples_that_are_single_numbers(self, layer):
        message = r"needs inputs of shape \(N, ..., channels\), the samples here are single numbers$"
        with pytest.raises(ValueError, match=message):
            xn.Sequential(layer).build(())
