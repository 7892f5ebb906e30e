"""Parity over many steps: what differences are relative to, statistics between the steps, errors on one device."""

from __future__ import annotations

import numpy as np
import pytest
from contract_layers import BatchNorm, Branches
from core_helpers import classes_data
from parity_helpers import assert_clean, blamed, compared

import xpnet as xn


class TestScales:
    def test_a_wrong_sign_is_found_soon_after_a_far_larger_gradient(self):
        class WrongSign(xn.Affine):
            def backward(self, dy, x, step):
                dx = super().backward(dy, x, step)
                self.W.grad *= 1e-6 if step.number else 1
                if step.device.kind == "sim" and step.number:
                    self.W.grad *= -1
                return dx

        result = compared(xn.Affine(6), xn.ReLU(), WrongSign(3), steps=8)
        assert (result.first.path, result.first.quantity) == ("2", "gradient W")
        assert 2 < result.first.step <= 6
        assert blamed(result) == [("2", "gradients")]
        assert not compared(WrongSign(3), steps=8)

    @pytest.mark.parametrize("steps", [3, 40])
    def test_a_fade_counts_steps_and_not_calls(self, steps):
        """A layer that is called many times in a step, each time with a smaller output."""

        class Shrinking(Branches):
            def forward(self, x, step):
                found = super().forward(x, step)
                for n in range(1, 30):
                    self.left.forward(x * 2.0**-n, step)
                return found

        class Rounded(xn.Affine):
            def forward(self, x, step):
                y, cache = super().forward(x, step)
                y += 1e-7 if step.device.kind == "sim" else 0
                return y, cache

        assert compared(xn.Affine(6), Shrinking(Rounded(4), xn.Affine(2)), xn.Affine(3), steps=steps)

    def rounding_loss(self, size):
        class Rounded(xn.SoftmaxCrossEntropy):
            def compute(self, y, targets, step, weights, count):
                value, dy = super().compute(y, targets, step, weights, count)
                dy *= 1e-6 if step.number else 1
                if step.device.kind == "sim":
                    dy += size / len(dy)
                return value, dy

        return compared(xn.Affine(3), loss=Rounded(), steps=40)

    def test_a_memorised_batch_leaves_the_rounding_of_probabilities(self):
        assert self.rounding_loss(3e-7).ok
        result = self.rounding_loss(3e-5)
        assert (result.first.path, result.first.quantity) == ("loss", "gradient")

    def test_the_gradient_of_a_loss_without_probabilities(self):
        """Wrong in sign after a first step whose error is a million times as large."""

        class WrongSign(xn.MeanSquaredError):
            def compute(self, y, targets, step, weights, count):
                value, dy = super().compute(y, targets, step, weights, count)
                dy *= 1e6 if not step.number else -1 if step.device.kind == "sim" else 1
                return value, dy

        x = np.linspace(-1, 1, 20, dtype=np.float32)[:, None]
        result = compared(xn.Affine(1), loss=WrongSign(), optimizer=xn.SGD(1e-9), data=(x, 3 * x), steps=8)
        assert (result.first.path, result.first.quantity) == ("loss", "gradient")

    def test_both_forms_of_gelu_are_right_to_a_few_roundings(self, device):
        """Else two devices that round otherwise are further apart than parity tolerates."""
        x = np.linspace(-12, 12, 4801)[:, None]
        x = np.concatenate([x, [[-1e30], [1e30]]]).astype(np.float32)
        for form in ("none", "tanh"):
            found = []
            for dtype in ("float32", "float64"):
                net = xn.Sequential(xn.GELU(form)).build(1, device=device, dtype=dtype)
                step = net.step(training=True, needs_dx=True)
                y, cache = net.forward(device.put(x, dtype), step)
                dx = net.backward(device.put(np.ones_like(x), dtype), cache, step)
                found.append((device.get(y), device.get(dx)))
            (y, dx), (exact_y, exact_dx) = found
            assert (np.abs(y - exact_y) <= 6e-7 * np.maximum(1, np.abs(exact_y))).all()
            assert np.abs(dx - exact_dx).max() < 5e-7


class TestStatistics:
    """Running statistics that are written after their layer's forward."""

    def wrong(self, since, **options):
        class Late(BatchNorm):
            def backward(self, dy, cache, step):
                if step.device.kind == "sim" and step.number >= since - 1:
                    self.var.value *= 1.001
                return super().backward(dy, cache, step)

        return compared(xn.Affine(6), xn.Residual(xn.Tanh(), Late()), xn.Affine(3), steps=4, **options)

    @pytest.mark.parametrize("since", [1, 3, 4])
    def test_written_in_a_backward_pass(self, since):
        result = self.wrong(since)
        first = result.first
        assert (first.path, first.quantity, first.step, first.stage) == ("1.1", "state var", since, "update")
        assert f"part at step {since} in the update of layer 1.1: Late(): state var differs by" in result.verdict()
        assert blamed(result) == [("1.1", "parameters")]

    def test_written_by_another_layer(self):
        class Meddling(xn.Sequential):
            def forward(self, x, step):
                found = super().forward(x, step)
                if step.device.kind == "sim":
                    self.layers[1].mean.value += 1
                return found

        trainer = xn.Trainer(
            Meddling(xn.Affine(6), BatchNorm(), xn.Affine(3)),
            loss=xn.SoftmaxCrossEntropy(),
            optimizer=xn.SGD(0.1),
            device="cpu",
        )
        result = xn.parity((trainer, *classes_data(20)), steps=1)
        assert (result.first.quantity, result.first.stage, result.first.step) == ("state 1.mean", "forward", 1)
        assert "in the forward of the network: state 1.mean" in result.verdict()

    def test_the_same_everywhere(self):
        assert_clean(compared(xn.Affine(6), BatchNorm(), xn.Affine(3), steps=3))


class TestErrors:
    def notes(self, *layers, **options):
        with pytest.raises(ZeroDivisionError) as raised:
            compared(*layers, **options)
        return raised.value.__notes__

    @pytest.mark.parametrize("where", ["forward", "backward"])
    @pytest.mark.parametrize("kind", ["cpu", "sim"])
    def test_in_a_layer(self, where, kind):
        class Failing(xn.Affine):
            def forward(self, x, step):
                return self.fail("forward", step) or super().forward(x, step)

            def backward(self, dy, x, step):
                return self.fail("backward", step) or super().backward(dy, x, step)

            def fail(self, here, step):
                return 1 / 0 if here == where and step.device.kind == kind and step.number == 2 else None

        inside = self.notes(xn.Affine(4), xn.Residual(Failing(4)), xn.Affine(3))
        assert inside == [f"xpnet.parity: step 3, layer 1.0: Failing(n_out=4), {where}, on {kind}"]

    def test_in_a_loss(self):
        class Failing(xn.SoftmaxCrossEntropy):
            def compute(self, y, targets, step, weights, count):
                return 1 / 0 if step.device.kind == "sim" else super().compute(y, targets, step, weights, count)

        assert self.notes(xn.Affine(3), loss=Failing()) == ["xpnet.parity: step 1, the loss, Failing(), on sim"]

    def test_in_an_optimizer(self):
        class Failing(xn.SGD):
            def rule(self, xp, rate, w, g, tmp):
                return 1 / 0 if self.steps > 1 else super().rule(xp, rate, w, g, tmp)

        assert self.notes(xn.Affine(3), optimizer=Failing(0.1)) == ["xpnet.parity: step 2, on cpu"]

    def test_in_the_network_itself(self):
        class Failing(xn.Sequential):
            def forward(self, x, step):
                return 1 / 0

        trainer = xn.Trainer(Failing(xn.Affine(3)), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="cpu")
        with pytest.raises(ZeroDivisionError) as raised:
            xn.parity((trainer, *classes_data(20)))
        assert raised.value.__notes__ == ["xpnet.parity: step 1, the network, forward, on cpu"]


def test_the_vectors_of_an_optimizer(device):
    x, y = classes_data(20)
    trainer = xn.Trainer(xn.Sequential(xn.Affine(3)), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(0.1), device=device)
    assert trainer.optimizer.vectors == {}
    trainer.partial_fit(x, y)
    vectors = trainer.optimizer.vectors
    assert list(vectors) == ["mean", "squares"]
    for a in vectors.values():
        assert device.owns(a)
        assert a.shape == trainer.net.parameters.value.shape
    np.testing.assert_array_equal(device.get(vectors["mean"]), device.get(trainer.net.parameters.grad))
    vectors.clear()
    assert trainer.optimizer.vectors
