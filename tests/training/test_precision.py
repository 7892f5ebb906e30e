"""Steps in half precision: what they change, what they must not, how overflow is got over, and mistakes in either precision."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from core_helpers import classes_data, regression_data
from trainer_helpers import LOSS_IDS, LOSSES, make, targets_for

import xpnet as xn
from xpnet.layers.fused import Body
from xpnet.pointwise.cuda import elementwise
from xpnet.training import half as half_module
from xpnet.training.half import MOST, LossScale


def conv_net():
    """No biases before normalisations: their gradients are but rounding, of which Adam makes whole steps."""
    convolutions = [xn.Conv2d(4, 3, padding="same", bias=False) for _ in range(2)]
    block = xn.Residual(convolutions[1], xn.GroupNorm(2), xn.GELU())
    head = [xn.GlobalAvgPool2d(), xn.Affine(2)]
    return xn.Sequential(convolutions[0], xn.BatchNorm(), xn.ReLU(), xn.MaxPool2d(2), block, *head)


def stripes(n=40):
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, n)
    rows = np.where(labels[:, None, None] == 1, np.arange(8)[:, None] % 2, np.arange(8) % 2)
    return (rows + 0.1 * rng.standard_normal((n, 8, 8)))[..., None].astype("float32"), labels


def on(device, *arrays):
    return [device.put(a) for a in arrays]


def state(trainer):
    """Bytes of the parameters and of the optimizer's vectors."""
    get, parameters = trainer.net.device.get, trainer.net.parameters
    return [get(a).tobytes() for a in (parameters.value, *trainer.optimizer.vectors.values())]


class TestHalf:
    def test_mlp_learns_as_in_float32(self, device):
        x, y = classes_data(120)
        found = {}
        for precision in (None, "float16"):
            trainer = make(device, precision=precision)
            trainer.fit(x, y, epochs=3, validation=(x, y))
            found[precision] = trainer
        losses = [t.history["loss"] for t in found.values()]
        np.testing.assert_allclose(*losses, rtol=5e-3)
        half = found["float16"]
        assert half.history["skipped"] == [0, 0, 0]
        assert half.history["loss_scale"] == [2**16] * 3
        assert half.predict(x).dtype == half.net.parameters.snapshot()["0.W"].dtype == np.float32

    def test_images_and_normalisations(self, device):
        x, y = stripes()
        parts = {"loss": xn.SoftmaxCrossEntropy(), "device": device}
        trainers = [
            xn.Trainer(conv_net(), optimizer=xn.Adam(0.02), **parts, **options)
            for options in ({}, {"precision": "float16", "loss_scale": 256})
        ]
        for trainer in trainers:
            trainer.fit(x, y, epochs=5, batch_size=10)
        a, b = (t.history["loss"] for t in trainers)
        np.testing.assert_allclose(b, a, rtol=0.1, atol=0.02)
        assert b[-1] < b[0] / 2
        seen = [t.net.parameters.snapshot()["1.variance"] for t in trainers]
        assert np.abs(seen[0] - 1).max() > 0.1
        np.testing.assert_allclose(*seen, rtol=0.02)

    @pytest.mark.parametrize(("loss", "kind"), LOSSES, ids=LOSS_IDS)
    def test_gradient_of_every_loss(self, device, loss, kind):
        x, labels = classes_data(20)
        y = targets_for(kind, labels)
        gradients = []
        for options in ({}, {"precision": "float16", "loss_scale": 1024}):
            trainer = make(device, loss=copy.deepcopy(loss), dropout=0, **options).build(4)
            trainer.partial_fit(x, y, sample_weight=np.linspace(0, 2, 20))
            gradients.append(device.get(trainer.net.parameters.grad))
        assert np.abs(gradients[0] - gradients[1]).max() < 0.01 * np.abs(gradients[0]).max()

    def test_large_numbers_inside_a_normalisation(self, device):
        """Their squares are above what half can hold."""
        x = 300 * np.random.default_rng(0).standard_normal((32, 4)).astype("float32") + 2000
        net = xn.Sequential(xn.BatchNorm(), xn.Affine(2))
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=device, precision="float16")
        trainer.fit(x, np.arange(32) % 2, batch_size=32)
        assert trainer.half.skipped == 0
        assert np.isfinite(trainer.evaluate(x, np.arange(32) % 2)["loss"])

    def test_no_winograd(self):
        net = xn.Sequential(xn.Conv2d(8, 3, padding=1), xn.Flatten(), xn.Affine(2))
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="cpu", precision="float16")
        trainer.fit(np.ones((4, 8, 8, 8), "float32"), np.arange(4) % 2)
        methods = [layers[0].plan(trainer.device).name for layers in (net.layers, trainer.half._twin.net.layers)]
        assert methods == ["winograd", "im2col"]

    def test_changed_layers_are_followed(self):
        x, y = classes_data(10)
        trainer = make(dropout=0.5, precision="float16").build(4)
        trainer.step(x, y)
        trainer.net.layers[2].rate = 0.0
        trainer.net.parameters.fill("0.b", np.full(8, 0.5))
        found = trainer.step(x, y)
        exact = trainer.loss(trainer.net.forward(x, step := trainer.net.step(training=False))[0], y, step)[0]
        assert found != exact
        trainer.net.freeze(0, 3)
        before = trainer.net.parameters.value.copy()
        found = trainer.step(x, y)
        np.testing.assert_array_equal(before, trainer.net.parameters.value)
        exact = trainer.loss(trainer.net.forward(x, step := trainer.net.step(training=False))[0], y, step)[0]
        np.testing.assert_allclose(found, exact, rtol=1e-3)


class TestLossScale:
    @pytest.mark.parametrize("optimizer", [xn.SGD(0.1), xn.AdamW(0.01, clip_norm=1.0), xn.Momentum(0.1, l2=0.1)], ids=repr)
    def test_an_overflow_changes_nothing_but_the_scale(self, device, optimizer):
        x, y = on(device, *classes_data(30))
        trainer = make(device, optimizer=copy.deepcopy(optimizer), precision="float16", dropout=0).build(4)
        trainer.step(x, y)
        trainer.half._scale.of["scale"].fill(2.0**22)
        trainer.half._scale.of["inverse"].fill(2.0**-22)
        before = state(trainer)
        loss = trainer.step(x, y)
        assert state(trainer) == before
        assert (trainer.half.scale, trainer.half.skipped) == (2**21, 1)
        while trainer.half.scale > 2**16:
            trainer.step(x, y)
        steps = [float(device.get(trainer.step(x, y))) for _ in range(20)]
        assert np.isfinite(float(device.get(loss)))
        assert steps[-1] < steps[0]
        assert state(trainer) != before

    def test_a_rule_that_is_no_kernel_is_skipped_too(self, device):
        class Odd(xn.SGD):
            slots = ("seen",)

            def rule(self, xp, rate, w, g, tmp, seen):
                seen += 1
                w -= xp.cumsum(g) * rate

        x, y = on(device, *classes_data(30))
        trainer = make(device, optimizer=Odd(0.1), precision="float16", loss_scale=2.0**40).build(4)
        before = state(trainer)
        trainer.step(x, y)
        assert state(trainer)[0] == before[0]
        assert not device.get(trainer.optimizer.vectors["seen"]).any()
        assert trainer.half.scale == 2.0**40

    def test_running_statistics_stay_too(self, device):
        x, y = classes_data(12)
        net = xn.Sequential(xn.BatchNorm(), xn.Affine(3))
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=device, precision="float16")
        trainer.partial_fit(x, y)
        before = device.get(net.parameters.state).copy()
        x[0] = 70_000
        for _ in range(2):
            trainer.partial_fit(x, y)
            assert (device.get(net.parameters.state) == before).all()
        trainer.partial_fit(x / 70_000, y)
        found = device.get(net.parameters.state)
        assert (found != before).any()
        assert np.isfinite(found).all()

    def test_an_epoch_in_vain_is_told(self, device):
        x, y = classes_data(12)
        trainer = make(device, precision="float16", loss_scale=np.float32(1e8))
        with pytest.warns(RuntimeWarning, match=r"every step of the epoch overflowed.*65504.*'dynamic'"):
            trainer.fit(x, y, batch_size=4)
        assert trainer.history["skipped"] == [3]

    def test_tiny_gradients_survive_by_it(self, device):
        """Half has nothing below 6e-8."""

        class Tiny(xn.MeanSquaredError):
            def compute(self, *args):
                value, dy = super().compute(*args)
                dy *= 1e-8
                return value, dy

        x, y = on(device, *regression_data(32, features=6))
        gradients = []
        for options in ({"precision": None}, *({"precision": "float16", "loss_scale": scale} for scale in (2.0**20, 1))):
            net = xn.Sequential(xn.Affine(1))
            trainer = xn.Trainer(net, loss=Tiny(), optimizer=xn.SGD(0.1), device=device, **options).build(6)
            trainer.step(x, y.reshape(-1, 1))
            gradients.append(device.get(net.parameters.grad))
        exact, scaled, unscaled = gradients
        np.testing.assert_allclose(scaled, exact, rtol=0.01)
        assert not unscaled.any()

    def test_updates_below_the_precision_of_half_add_up(self, device):
        """1 - 1e-4 is 1 in half: after a hundred of them it is not."""
        x, y = on(device, np.ones((1, 1), "float32"), np.zeros((1, 1), "float32"))
        net = xn.Sequential(xn.Affine(1, bias=False, init=xn.initializers.ones))
        options = {"loss": xn.HalfSquaredError(), "optimizer": xn.SGD(1e-4), "device": device}
        trainer = xn.Trainer(net, **options, precision="float16", loss_scale=64).build(1)
        for _ in range(100):
            trainer.step(x, y)
        np.testing.assert_allclose(net.parameters.snapshot()["0.W"], (1 - 1e-4) ** 100, rtol=1e-4)

    def test_growth_and_its_bounds(self, device, monkeypatch):
        monkeypatch.setattr(half_module, "PATIENCE", 3)
        half_module.scale_kernel.cache_clear()
        scale = LossScale("dynamic").on(device)
        gradient, scaled = device.put(np.zeros(2, "float32")), device.put(np.ones(2, "float16"))
        found = []
        for _ in range(7):
            scale.unscale(scaled, gradient)
            found.append(scale.read()["scale"])
        assert found == [2**16, 2**16, 2**17, 2**17, 2**17, 2**18, 2**18]
        np.testing.assert_array_equal(device.get(gradient), np.full(2, 2.0**-18, "float32"))
        for _ in range(30):
            scale.unscale(scaled, gradient)
        assert scale.read()["scale"] == MOST
        scaled.fill(np.nan)
        for _ in range(30):
            scale.unscale(scaled, gradient)
        assert scale.read() == {"scale": 1, "inverse": 1, "good": 0, "skip": 1, "skipped": 30}
        half_module.scale_kernel.cache_clear()

    def test_copies_go_on_as_they_were(self, device):
        x, y = on(device, *classes_data(30))
        trainer = make(device, precision="float16").build(4)
        trainer.half._scale.of["scale"].fill(2.0**10)
        trainer.half._scale.of["inverse"].fill(2.0**-10)
        trainer.step(x, y)
        others = [copy.deepcopy(trainer), pickle.loads(pickle.dumps(trainer))]
        for other in others:
            assert other.half.scale == 2**10
            other.step(x, y)
        trainer.step(x, y)
        assert state(trainer) == state(others[0]) == state(others[1])


class TestOfTheDevice:
    def test_a_step_waits_for_nothing(self):
        sim = xn.device("sim")
        (x, y), trainer = on(sim, *classes_data(30)), make(sim, precision="float16", dropout=0.2).build(4)
        with sim.use():
            for _ in range(3):
                trainer.step(x, y)
            with xn.ledger() as half, xn.forbid_sync(), xn.forbid_transfer():
                for _ in range(4):
                    trainer.step(x, y)
            plain = make(sim, dropout=0.2).build(4)
            for _ in range(3):
                plain.step(x, y)
            with xn.ledger() as whole:
                for _ in range(4):
                    plain.step(x, y)
        assert not half.events
        assert half.allocations == whole.allocations
        assert half.launches / 4 == whole.launches / 4 + 7  # weights, x, outputs, scaled, unscaled, their squares, the scale

    def test_half_kernels_compute_in_float(self):
        body = Body(xn.ELU(), "float16", bias=True)
        source = elementwise(body._forward._variant(True, True).kernel)
        assert "float16 a0" in source["in_params"]
        assert "const float x0 = a0" in source["operation"]
        assert "float16(" in source["operation"]

    def test_a_forgotten_gradient_is_found(self):
        class Forgetful(xn.LayerNorm):
            def backward(self, dy, cache, step):
                return dy

        net = xn.Sequential(xn.Affine(4), Forgetful(), xn.Affine(3))
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="sim", precision="float16")
        with pytest.raises(xn.GradientMissing, match=r"1\.gamma"):
            trainer.fit(*classes_data(30))

    def test_reports_are_of_the_float32_network(self, device):
        statistics = xn.LayerStatistics()
        trainer = make(device, precision="float16", callbacks=[statistics])
        trainer.fit(*classes_data(40))
        assert statistics.reports
        assert trainer.half is not None


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"precision": "half"}, "choose 'tf32', 'float16', or None"),
            ({"precision": "bfloat16"}, "choose"),
            ({"precision": "tf32"}, "cpu has no TF32, only a GPU's tensor cores have it"),
            ({"precision": "tf32", "device": "sim", "dtype": "float64"}, "the network is float64"),
            ({"precision": "float16", "dtype": "float64"}, "the network is float64"),
            ({"loss_scale": 8.0}, "with precision='float16' only"),
            ({"precision": "float16", "loss_scale": 0}, "a number above 0, or 'dynamic'"),
            ({"precision": "float16", "loss_scale": "static"}, "a number above 0, or 'dynamic'"),
        ],
    )
    def test_options(self, options, text):
        with pytest.raises(ValueError, match=text):
            make(**options)

    def test_networks(self):
        net = xn.Sequential(xn.Affine(3)).build(4, dtype="float64")
        with pytest.raises(ValueError, match="the network is float64"):
            xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), precision="float16")
        with pytest.raises(ValueError, match="precision='float16'"):
            net.build(4, dtype="float16")
        winograd = xn.Sequential(xn.Conv2d(4, 3, method="winograd"), xn.Flatten(), xn.Affine(3))
        with pytest.raises(ValueError, match="Winograd"):
            xn.Trainer(winograd, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), precision="float16")

    def test_arrays_and_forms(self):
        x, y = classes_data(10)
        trainer = make(precision="float16").build(4)
        with pytest.raises(TypeError, match="the network computes in float32"):
            trainer.step(x.astype("float16"), y)
        with pytest.raises(ValueError, match="per_sample"):
            trainer.step(x, y, per_sample=True)
        with pytest.raises(ValueError, match="per_sample"):
            trainer.fit(x, y, per_sample=True)

    def test_not_recorded_and_says_so(self):
        x, y = classes_data(10)
        trainer = make(precision="float16").build(4)
        trainer.step(x, y)
        assert list(trainer.records.reasons.values()) == ["precision='float16' has steps of its own"]
