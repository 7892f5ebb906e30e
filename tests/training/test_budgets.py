"""What a training step costs a GPU, counted on the simulated one."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from core_helpers import bits, classes_data
from trainer_helpers import make

import xpnet as xn
from xpnet import architectures


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

    @pytest.mark.parametrize("where", ["sim", "debug"])
    @pytest.mark.parametrize("how", ["left out", "added", "half of it"])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_a_gradient_not_assigned_is_named_before_the_update(self, where, how, dtype):
        class Forgetful(xn.Affine):
            def backward(self, dy, x, step):
                step.matmul(x.T, dy, out=self.W.grad)
                if how == "added":
                    self.b.grad += dy.sum(axis=0)
                elif how == "half of it":
                    self.b.grad[1:] = dy.sum(axis=0)[1:]
                return step.matmul(dy, self.W.value.T)

        net = xn.Sequential(xn.Affine(4), xn.Residual(Forgetful(4)), xn.Affine(3))
        trainer = xn.Trainer(
            net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=where.replace("debug", "cpu"), dtype=dtype
        ).build(4)
        net.debug = where == "debug"
        before = bits(net)
        line = Forgetful.backward.__code__.co_firstlineno
        x, y = (trainer.device.put(a) for a in classes_data(20))
        with pytest.raises(xn.GradientMissing, match=rf"test_budgets.py:{line}: backward of Forgetful\(.*gradient of 1.0.b"):
            trainer.step(x.astype(dtype), y)
        assert bits(net) == before

    def test_gradients_of_a_diverged_network_are_nan_and_not_missing(self):
        trainer = make("sim").build((4,))
        x, y = classes_data(9)
        x[0] = np.nan
        trainer.step(*(trainer.device.put(a) for a in (x, y)))
        trainer.step(*(trainer.device.put(a) for a in (x, y)))


STEPS = 2
# Launches of one training step, measured: a change here is a change of speed on a GPU and wants a reason.
LAUNCHES = {
    "book": 13,  # 784-30-10, sigmoid, half squared error, SGD
    "benchmark": 18,  # 784-256-128-10, ReLU, softmax cross-entropy, Adam
    # batches of images (N, height, width, channels), softmax cross-entropy, Momentum
    "lenet": 80,  # (64, 28, 28, 1), 431,080 parameters
    "vgg": 134,  # (32, 32, 32, 3), 591,466 parameters, batch norm: 3 forward and 3 backward each
    "resnet": 195,  # (8, 32, 32, 3), 3 blocks of 64 channels, batch norm
}
IMAGES = {
    "lenet": (architectures.lenet, (64, 28, 28, 1)),
    "vgg": (architectures.vgg, (32, 32, 32, 3)),
    "resnet": (functools.partial(architectures.resnet, widths=(64,), blocks=3), (8, 32, 32, 3)),
}


def budget_case(name):
    """Network, loss, optimizer, and a minibatch."""
    rng = np.random.default_rng(0)
    if name in IMAGES:
        make, shape = IMAGES[name]
        minibatch = rng.random(shape, np.float32), rng.integers(0, 10, shape[0])
        return make(10), xn.SoftmaxCrossEntropy(), xn.Momentum(0.01), minibatch
    x, labels = rng.random((32, 784), np.float32), rng.integers(0, 10, 32)
    if name == "book":
        net = xn.Sequential(xn.Affine(30), xn.Sigmoid(), xn.Affine(10), xn.Sigmoid())
        return net, xn.HalfSquaredError(), xn.SGD(3.0), (x, xn.datasets.one_hot(labels, 10))
    net = xn.Sequential(xn.Affine(256), xn.ReLU(), xn.Affine(128), xn.ReLU(), xn.Affine(10))
    return net, xn.SoftmaxCrossEntropy(), xn.Adam(1e-3), (x, labels)


class TestBudgets:
    """Counted on the simulated GPU."""

    @staticmethod
    @functools.cache
    def measure(name):
        net, loss, optimizer, minibatch = budget_case(name)
        trainer = xn.Trainer(net, loss=loss, optimizer=optimizer, device="sim").build(minibatch[0].shape[1:])
        x, y = map(trainer.device.put, minibatch)
        for _ in range(2):
            trainer.step(x, y)
        found = []
        for _ in range(STEPS):
            with xn.ledger() as seen:
                trainer.step(x, y)
            found.append(seen)
        return found

    @pytest.mark.parametrize("name", LAUNCHES)
    def test_launches_and_nothing_hidden_in_a_step(self, name):
        found = self.measure(name)
        for seen in found:
            assert (seen.syncs, seen.copies, seen.float64, seen.allocations) == (0, 0, 0, 0), seen.causes
        assert [seen.launches for seen in found] == [LAUNCHES[name]] * STEPS

    def test_reading_the_loss_is_one_copy(self):
        trainer = make("sim").build((4,))
        value = trainer.step(*(trainer.device.put(a) for a in classes_data(9)))
        with xn.ledger() as seen:
            trainer.device.get(value)
        assert (seen.d2h, seen.h2d) == (1, 0)

    def test_an_epoch_copies_its_order_there_and_its_losses_back(self):
        """Two copies an epoch of a set that lives on the device, whatever the number of steps; none of them float64."""
        trainer = make("sim")
        x, y = (trainer.device.put(a) for a in classes_data(60))
        trainer.fit(x, y, batch_size=6)
        counts = []
        for epochs in (1, 3):
            with xn.ledger() as seen:
                trainer.fit(x, y, epochs=epochs, batch_size=6)
            counts.append((seen.h2d, seen.d2h, seen.syncs, seen.float64))
        assert tuple(np.subtract(counts[1], counts[0])) == (2, 2, 2, 0)
        assert counts[0][3] == 0

    def test_host_data_go_there_once(self):
        trainer = make("sim")
        x, y = classes_data(60)
        trainer.fit(x, y, batch_size=6)
        with xn.ledger() as seen:
            trainer.fit(x, y, epochs=3, batch_size=6)
        assert seen.h2d == 2 + 3  # rows and labels, and the order of each epoch
        assert seen.h2d_bytes == x.nbytes + y.nbytes + 3 * 60 * 8
        assert seen.d2h == 3
        assert seen.float64 == 0
