"""Parity where results differ in kind, where they alias each other, and what it leaves alone."""

from __future__ import annotations

import contextlib
import copy
import math

import numpy as np
import pytest
from contract_layers import BatchNorm, Branches, Forgetful
from core_helpers import bits, classes_data
from parity_helpers import EXACT, Wrong, assert_clean, blamed, compared, trainer_of

import xpnet as xn
from xpnet.lockstep import Observer, Twin


class TestUnlike:
    """What differs in kind, and is reported instead of a crash."""

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (lambda y: y.astype("float64"), "output is float32 on the first device, float64 on the second"),
            (lambda y: y[:, :2], "output has shape (20, 3) on the first device, (20, 2) on the second"),
            (lambda y: None, "output is None on the second device only"),
            (lambda y: y / (y != y.max()), "output is inf"),
        ],
        ids=["dtype", "shape", "none", "infinity"],
    )
    @pytest.mark.filterwarnings("ignore:divide by zero")
    def test_outputs(self, change, text):
        class Odd(xn.Affine):
            def forward(self, x, step):
                y, cache = super().forward(x, step)
                return (change(y) if step.device.kind == "sim" and step.number == 1 else y), cache

        result = compared(xn.Affine(5), Odd(3))
        assert (result.first.path, result.first.step, result.first.relative) == ("1", 2, math.inf)
        assert blamed(result) == [("1", "output")]
        if "inf" in text:
            assert "output differs by inf (relative, " in result.verdict()
        else:
            assert text in result.verdict()
            assert "unlike" in str(result)

    def test_nan_on_one_side(self):
        class Missing(xn.Affine):
            def forward(self, x, step):
                y, cache = super().forward(x, step)
                if step.device.kind == "sim":
                    y[0, :2] = math.nan
                return y, cache

        result = compared(Missing(6), xn.ReLU(), xn.Affine(3))
        assert (result.first.path, result.first.relative, result.first.ulp) == ("0", math.inf, math.inf)
        assert "output is NaN on the second device only, in 2 of 120 places" in result.verdict()
        assert blamed(result) == [("0", "output")]

    def test_nan_on_both_sides(self):
        class Missing(xn.Affine):
            def forward(self, x, step):
                y, cache = super().forward(x, step)
                y[0, 0] = math.nan
                return y, cache

        assert_clean(compared(Missing(6), xn.Affine(3)))

    def test_a_gradient_that_is_never_assigned(self):
        result = compared(xn.Affine(6), xn.Tanh(), Forgetful(3))
        assert (result.first.path, result.first.quantity) == ("2", "gradient b")
        assert "gradient b is NaN on the second device only" in result.verdict()

    def test_whole_numbers(self):
        class Signs(xn.Layer):
            def forward(self, x, step):
                signs = (x > 0).astype("int8")
                if step.device.kind == "sim":
                    signs[0] = 5
                return signs, None

            def backward(self, dy, cache, step):
                return dy

        class Floats(Signs):
            def forward(self, x, step):
                return x.astype("float32"), None

        result = compared(Signs(), Floats(), xn.Affine(3))
        assert result.first.path == "0"
        assert "output differs in 4 of 80 places" in result.verdict()
        assert blamed(result) == [("0", "output")]

    @pytest.mark.parametrize("where", ["cpu", "sim"])
    def test_a_call_on_one_device_only(self, where):
        class Twice(Branches):
            def forward(self, x, step):
                if step.device.kind == where:
                    self.left.forward(x, step)
                return super().forward(x, step)

        result = compared(xn.Affine(6), Twice(xn.Affine(4), xn.Affine(2)), xn.Affine(3))
        side = "first" if where == "cpu" else "second"
        assert f"the forward of layer 1.left: Affine(n_out=4): output is computed on the {side} device only" in result.verdict()

    def test_an_error_of_one_device_is_raised_as_it_is(self):
        class HostOnly(xn.Layer):
            def forward(self, x, step):
                return x + np.ones(x.shape, np.float32), None

            def backward(self, dy, cache, step):
                return dy

        with pytest.raises(xn.DeviceMismatch, match="a host array"):
            compared(xn.Affine(4), HostOnly(), xn.Affine(3))

    def test_mistakes_of_a_layer_keep_their_message(self):
        class NoCache(xn.Affine):
            def forward(self, x, step):
                return super().forward(x, step)[0]

        with pytest.raises(TypeError, match="forward returns"):
            compared(NoCache(3))


class TestAliasing:
    """Outputs that are views or work in place, whose replacement must neither spread nor get lost."""

    def test_layers_in_place(self):
        class InPlace(xn.Layer):
            def __init__(self, error=0.0):
                self.error = error

            def factor(self, step):
                return 0.5 * (1 + self.error * (step.device.kind == "sim"))

            def forward(self, x, step):
                x *= self.factor(step)
                return x, None

            def backward(self, dy, cache, step):
                dy *= self.factor(step)
                return dy

        assert_clean(compared(xn.Affine(6), InPlace(), xn.Identity(), xn.Affine(3)))
        assert_clean(compared(InPlace(), xn.Affine(3)))  # on the rows themselves
        assert_clean(compared(InPlace(), xn.Affine(3), devices=("cpu", "cpu")))
        result = compared(xn.Affine(6), InPlace(1e-3), xn.Identity(), xn.Affine(3))
        assert blamed(result) == [("1", "output"), ("1", "dx")]

    def test_views(self):
        class WrongView(xn.Flatten):
            def forward(self, x, step):
                y, cache = super().forward(x, step)
                return (y * 1.001 if step.device.kind == "sim" else y), cache

        x, y = classes_data(20, 8)
        data = x.reshape(20, 2, 4), y
        result = compared(xn.Affine(5), WrongView(), xn.Identity(), xn.Flatten(), xn.Affine(3), data=data)
        assert blamed(result) == [("1", "output")]

    def test_an_output_that_cannot_be_written(self):
        class Broadcast(xn.Layer):
            def forward(self, x, step):
                factor = 1.001 if step.device.kind == "sim" else 1.0
                return step.xp.broadcast_to(x[:, :1] * factor, x.shape), None

            def backward(self, dy, cache, step):
                return dy

        for devices in (("cpu", "sim"), ("sim", "cpu")):
            assert blamed(compared(xn.Affine(6), Broadcast(), xn.Affine(3), devices=devices)) == [("1", "output")]

    def test_a_kink_does_not_spread(self):
        """An ULP that turns a unit on changes the gradient below by all of it, unless the layer is given the first's values."""

        class Nudged(xn.Affine):
            def forward(self, x, step):
                y, cache = super().forward(x, step)
                y[0] = -1e-30 if step.device.kind == "cpu" else 1e-30
                return y, cache

        result = compared(xn.Affine(5), Nudged(6), xn.ReLU(), xn.Affine(3))
        assert result.ok
        assert [row.path for row in result.layers if not row.identical] == ["1"] or not EXACT

    def test_small_gradients_are_held_against_what_they_were(self):
        """Where the terms of a gradient cancel, the rounding of the terms is all that is left to compare."""

        class Rounding(xn.MeanSquaredError):
            def compute(self, y, targets, step, weights, count):
                value, dy = super().compute(y, targets, step, weights, count)
                dy *= 1e-6 if step.number else 1
                if step.device.kind == "sim":
                    dy += 1e-8
                return value, dy

        x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
        result = compared(xn.Affine(1), loss=Rounding(), data=(x, 3 * x), steps=3)
        assert not result.identical
        assert result.ok


class TestLeftAlone:
    def test_what_the_user_handed_in(self):
        trainer = trainer_of(xn.Affine(6), xn.Dropout(0.2), BatchNorm(), Wrong(3, "dx"), optimizer=xn.Adam(0.01))
        x, y = classes_data(20)
        trainer.fit(x, y, epochs=2)
        x.flags.writeable = y.flags.writeable = False
        before, vectors = bits(trainer), [v.tobytes() for v in trainer.optimizer.vectors.values()]
        history, attributes = copy.deepcopy(trainer.history), [set(vars(layer)) for layer in trainer.net.walk()]
        gradients = trainer.net.parameters.grad.tobytes()
        assert not xn.parity((trainer, x, y), steps=3)
        assert bits(trainer) == before
        assert trainer.net.parameters.grad.tobytes() == gradients
        assert [v.tobytes() for v in trainer.optimizer.vectors.values()] == vectors
        assert trainer.optimizer.steps == trainer.net.steps_begun == 2
        assert trainer.history == history
        assert [set(vars(layer)) for layer in trainer.net.walk()] == attributes
        assert trainer.net.device == trainer.device == xn.device("cpu")
        trainer.fit(x, y)

    def test_an_unbuilt_network(self):
        trainer = trainer_of(xn.Affine(6), xn.Residual(xn.Affine(6)), xn.Affine(3))
        xn.parity((trainer, *classes_data(20)), steps=1)
        assert not trainer.net.built
        assert not hasattr(trainer.net.layers[0], "W")

    def test_a_network_on_a_device(self):
        trainer = trainer_of(xn.Affine(3))
        trainer.device = xn.device("sim")
        x, y = classes_data(20)
        trainer.fit(x, y)
        x, y = trainer.device.put(x), trainer.device.put(y)
        assert_clean(xn.parity((trainer, x, y), steps=2))
        assert trainer.net.device == xn.device("sim")

    def test_frozen_parameters_and_what_was_trained_before(self):
        trainer = trainer_of(xn.Affine(6), xn.Tanh(), xn.Affine(3), optimizer=xn.Adam(0.01))
        x, y = classes_data(20)
        trainer.fit(x, y, epochs=3)
        trainer.net.freeze("0.W")
        assert_clean(xn.parity((trainer, x, y), steps=3))

    def test_callbacks_are_neither_run_nor_copied(self):
        class Uncopied:
            def __call__(self, trainer, record):
                raise AssertionError

            def __deepcopy__(self, memo):
                raise AssertionError

        assert_clean(compared(xn.Affine(3), callbacks=[Uncopied()]))

    def test_a_users_loss_and_trainer(self):
        class Half(xn.Loss):
            """Nothing of xpnet's base class but its name."""

            def __call__(self, y, targets, step, weights=None):
                difference = y - targets
                return (difference * difference).sum(), 2 * difference

        class Twice(xn.Trainer):
            def step(self, x, y, weights=None, *, per_sample=False):
                super().step(x, y, weights)
                return super().step(x, y, weights)

        x = np.ones((4, 3), np.float32)
        net = xn.Sequential(xn.Affine(2), Wrong(3, "gradient b", since=4))
        trainer = Twice(net, loss=Half(), optimizer=xn.SGD(0.01), device="cpu")
        result = xn.parity((trainer, x, x), steps=3, devices=("cpu", "sim:1"))
        assert (result.first.path, result.first.step) == ("1", 2)  # its second pass
        assert blamed(result) == [("1", "gradients")]

    def test_layers_and_loss_are_unwrapped(self):
        twin = Twin(trainer_of(xn.Affine(6), xn.Residual(xn.Affine(6)), xn.Affine(3)), xn.device("cpu"), (4,))
        loss, attributes = twin.trainer.loss, [set(vars(layer)) for layer in twin.layers.values()]

        with contextlib.suppress(ZeroDivisionError), twin.observed():
            assert "forward" in vars(twin.trainer.net.layers[1].layers[0])
            assert twin.trainer.loss.metrics == loss.metrics
            raise ZeroDivisionError
        assert twin.trainer.loss is loss
        assert [set(vars(layer)) for layer in twin.layers.values()] == attributes
        assert list(twin.layers) == ["", "0", "1", "1.0", "2"]

    def test_an_observer_of_ones_own(self):
        with pytest.raises(NotImplementedError):
            Observer(xn.device("cpu")).see("forward", "0", "output", None)
