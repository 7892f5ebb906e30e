"""Deep copies and pickles of networks and trainers."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from core_helpers import bits, classes_data, mlp, run_step
from network_helpers import COPIES, ROWS, make_trainer

import xpnet as xn


class TestCopies:
    @COPIES
    def test_a_network_not_built(self, device, copying):
        net = xn.Sequential(xn.Affine(3), xn.Residual(xn.Affine(3)), xn.Dropout(0.5))
        other = copying(net)
        assert not other.built
        assert repr(other) == repr(net)
        assert bits(other.build((4,), device=device, seed=1)) == bits(net.build((4,), device=device, seed=1))

    @COPIES
    def test_a_network(self, device, copying):
        net = mlp(device=device, seed=5)
        net.freeze("0.b")
        net.step(training=True)
        other = copying(net)
        assert other.device == device
        assert (other.seed, other.steps_begun, other.input_shape, other.output_shape) == (5, 1, (4,), (3,))
        assert [p.name for p in other.parameters.trainable if p.frozen] == ["0.b"]
        assert bits(other) == bits(net)
        np.testing.assert_array_equal(other.predict(ROWS), net.predict(ROWS))
        assert not {id(layer) for layer in net.layers} & {id(layer) for layer in other.layers}

    @COPIES
    def test_copies_train_apart(self, device, copying):
        net = mlp(device=device)
        other = copying(net)
        before = bits(net)
        run_step(other, xn.SoftmaxCrossEntropy(), xn.SGD(0.1), *(device.put(a) for a in classes_data(9)))
        assert bits(net) == before
        run_step(net, xn.SoftmaxCrossEntropy(), xn.SGD(0.1), *(device.put(a) for a in classes_data(9)))
        assert bits(net) == bits(other) != before

    @COPIES
    def test_in_the_middle_of_a_pass(self, device, copying):
        """The pass under way belongs to the original, which goes on."""
        net, loss = mlp(device=device), xn.SoftmaxCrossEntropy()
        x, y = (device.put(a) for a in classes_data(9))
        step = net.step(training=True)
        logits, cache = net.forward(x, step)
        other = copying(net)
        other.predict(ROWS)
        net.backward(loss(logits, y, step)[1], cache, step)
        expected = mlp(device=device)
        run_step(expected, loss, xn.SGD(0.1), x, y)
        np.testing.assert_array_equal(device.get(net.parameters.grad), device.get(expected.parameters.grad))

    @COPIES
    def test_a_trainer_not_begun(self, device, copying):
        trainer = make_trainer(device)
        other = copying(trainer)
        x, y = classes_data(40)
        for t in (trainer, other):
            t.fit(x, y, epochs=2, batch_size=8)
        assert bits(other) == bits(trainer)

    @COPIES
    @pytest.mark.parametrize(
        "optimizer",
        [
            xn.SGD(0.1),
            xn.Momentum(0.1),
            xn.Nesterov(0.1),
            xn.AdaGrad(0.1),
            xn.RMSProp(),
            xn.Adam(),
            xn.AdamW(clip_norm=0.1),
            xn.SGD(xn.LinearWarmup(xn.Exponential(0.1, 0.9), steps=20)),
            xn.SGD(xn.ReduceOnPlateau(0.5, 0.5, patience=0)),
        ],
        ids=repr,
    )
    def test_a_trainer_in_the_middle_goes_on_as_the_original(self, device, copying, optimizer):
        trainer = make_trainer(device, copy.deepcopy(optimizer))
        x, y = classes_data(40)
        trainer.fit(x, y, epochs=3, batch_size=8, validation=(x[:9], y[:9]))
        trainer.net.freeze("3.b")
        other = copying(trainer)
        assert other.net is not trainer.net
        assert other.optimizer is not trainer.optimizer
        middle = bits(trainer)
        assert bits(other) == middle
        histories = [t.fit(x, y, epochs=3, batch_size=7, validation=(x[:9], y[:9])) for t in (trainer, other)]
        assert bits(other) == bits(trainer) != middle
        for h in histories:
            h.pop("seconds")
        assert histories[0] == histories[1]
        assert len(histories[0]["loss"]) == 6
        assert histories[0] is not histories[1]
        assert (other.epoch, other.optimizer.steps) == (trainer.epoch, trainer.optimizer.steps) == (6, 33)

    @COPIES
    def test_a_trainer_with_its_callbacks_and_metrics(self, device, copying):
        trainer = make_trainer(device, metrics=["accuracy"], callbacks=[xn.EarlyStopping(2), xn.print_epoch])
        other = copying(trainer)
        assert other.metrics == trainer.metrics
        assert [type(c) for c in other.callbacks] == [type(c) for c in trainer.callbacks]
        assert other.callbacks[0] is not trainer.callbacks[0]
        assert other.device is trainer.device

    def test_a_pickle_of_the_simulated_gpu_holds_host_arrays_only(self):
        trainer = make_trainer("sim")
        trainer.fit(*classes_data(20))
        assert b"xpnet.backends.sim.array" not in pickle.dumps(trainer)

    def test_the_original_trainer_is_left_alone(self, device):
        trainer = make_trainer(device)
        x, y = classes_data(20)
        trainer.fit(x, y)
        before = (bits(trainer), copy.deepcopy(trainer.history), trainer.optimizer.steps)
        copy.deepcopy(trainer).fit(x, y, epochs=2)
        assert (bits(trainer), trainer.history, trainer.optimizer.steps) == before
