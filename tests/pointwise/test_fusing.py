"""Updates and layers on devices that fuse: the numbers of those that do not, in fewer launches."""

import copy
import functools
from types import SimpleNamespace

import numpy as np
import pytest
from pointwise_helpers import ACTIVATIONS, OPTIONS, RULES

import xpnet as xn
from xpnet.layers.fused import Fused

SIM = xn.device("sim")


def network(layers, device, shape=(4,), dtype="float32", fuses=True):
    net = xn.Sequential(*layers)
    net.fuses = fuses
    return net.build(shape, device=device, dtype=dtype, seed=0)


def updated(optimizer, device, dtype="float32", steps=3):
    """Weights and vectors after some updates with gradients of any size."""
    device, rng = xn.device(device), np.random.default_rng(0)
    net = network([xn.Affine(5), xn.Affine(3)], device, dtype=dtype)
    with device.use(), xn.ledger() as seen:
        for _ in range(steps):
            net.parameters.grad[...] = device.put(rng.standard_normal(net.parameters.grad.shape).astype(dtype))
            optimizer.update(net.parameters)
    return [device.get(a) for a in (net.parameters.value, *optimizer.vectors.values())], seen


def passed(net, x, dy):
    """Output, gradient by the input and by parameters."""
    device = net.device
    step = net.step(training=True, needs_dx=True)
    y, cache = net.forward(device.put(x), step)
    dx = net.backward(device.put(dy), cache, step)
    return [device.get(a) for a in (y, dx, net.parameters.grad)]


class Swish(xn.Layer):
    """An activation of the user's own, in plain xp."""

    recordable = True

    def __init__(self, beta=1.5):
        self.beta = beta

    def forward(self, x, step):
        s = 1 / (1 + step.xp.exp(-self.beta * x))
        return x * s, (x, s)

    def backward(self, dy, cache, step):
        x, s = cache
        return dy * (s + self.beta * x * s * (1 - s))


class Cut(xn.Layer):
    """One that keeps a mask."""

    recordable = True

    def forward(self, x, step):
        mask = step.xp.logical_and(x > -1, x < 1)
        return step.xp.where(mask, x, 0.1 * x), mask

    def backward(self, dy, mask, step):
        return step.xp.where(mask, dy, 0.1 * dy)


class KeepsItsOutput(Swish):
    owns_output = True

    def forward(self, x, step):
        y = step.xp.tanh(x)
        return y, y.copy()

    def backward(self, dy, y, step):
        return dy * (1 - y * y)


class KeepsRoom(KeepsItsOutput):
    """Memory that its backward writes to."""

    owns_output = False

    def forward(self, x, step):
        y = step.xp.tanh(x)
        return y, (y, step.keep(x.shape))

    def backward(self, dy, cache, step):
        y, room = cache
        step.xp.multiply(y, y, out=room)
        return dy * (1 - room)


class KeepsNames(KeepsItsOutput):
    owns_output = False

    def forward(self, x, step):
        y = step.xp.tanh(x)
        return y, SimpleNamespace(y=y)

    def backward(self, dy, cache, step):
        return dy * (1 - cache.y * cache.y)


class Centred(xn.Layer):
    """One that is no activation."""

    recordable = True

    def forward(self, x, step):
        return x - step.xp.mean(x, axis=-1, keepdims=True), None

    def backward(self, dy, cache, step):
        return dy - step.xp.mean(dy, axis=-1, keepdims=True)


class Lion(xn.Optimizer):
    slots = ("momentum",)
    recordable = True

    def __init__(self, learning_rate, beta=0.9, **options):
        super().__init__(learning_rate, **options)
        self.beta = beta

    def rule(self, xp, rate, w, g, tmp, momentum):
        momentum *= self.beta
        momentum += (1 - self.beta) * g
        w -= rate * xp.sign(momentum)


class TestUpdates:
    @pytest.mark.parametrize("options", OPTIONS, ids=str)
    @pytest.mark.parametrize("rule", [*RULES, Lion])
    def test_the_bits_of_the_rule_itself(self, rule, options):
        optimizer = rule(0.1, **options)
        expected, _ = updated(copy.deepcopy(optimizer), "cpu")
        found, _ = updated(optimizer, "sim")
        assert not optimizer.not_fused
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)

    @pytest.mark.parametrize(
        ("options", "segments"), [({}, 1), ({"weight_decay": 0.1}, 4), ({"l2": 0.1, "decay_all": True}, 1)]
    )
    def test_one_launch_a_segment(self, options, segments):
        _, seen = updated(xn.AdamW(0.1, **{"weight_decay": 0.0} | options), "sim")
        assert sum(k.times for (name, _), k in seen.kernels.items() if name == "AdamW") == 3 * segments
        assert seen.launches == 3 * segments + 2 + 3  # vectors begin as zeros, gradients are set
        assert seen.allocations <= 5 + 3

    def test_bytes(self):
        _, seen = updated(xn.Adam(0.1), "sim", steps=1)
        size = 4 * 5 + 5 + 5 * 3 + 3
        assert seen.kernels["Adam", size].moved_bytes == 4 * size * (4 + 3)

    def test_float64(self):
        for a, b in zip(updated(xn.Adam(0.1), "sim", "float64")[0], updated(xn.Adam(0.1), "cpu", "float64")[0], strict=True):
            np.testing.assert_array_equal(a, b)

    def test_settings_that_change_are_traced_anew(self):
        net = network([xn.Affine(3)], "sim")
        optimizer = Lion(0.1)
        for beta in (0.9, 0.5):
            optimizer.beta = beta
            net.parameters.grad.fill(1)
            optimizer.update(net.parameters)
            assert not optimizer.not_fused
        momentum = SIM.get(optimizer.vectors["momentum"])
        assert momentum == pytest.approx(0.5 * 0.1 + 0.5)

    def test_one_that_changes_at_every_step_is_left_alone(self):
        net = network([xn.Affine(3)], "sim")
        optimizer = Lion(0.1)
        for i in range(20):
            optimizer.beta = 0.9 - i / 100
            optimizer.update(net.parameters)
        assert "again and again" in optimizer.not_fused

    @pytest.mark.parametrize(
        ("line", "reason", "recordable"),
        [
            ("w -= rate * g / xp.sqrt((g * g).sum())", "array.sum", True),
            ("w -= rate / self.steps * g", "_steps", True),
            ("self.seen = 1; w -= rate * g", "changes the optimizer", True),
            ("w -= float(rate) * g", "float of a value", True),
            ("g *= rate; w -= g", "only read", True),
            ("w -= rate * g", "does not say recordable = True", False),
        ],
    )
    def test_rules_that_are_no_loop_run_as_they_are(self, line, reason, recordable):
        scope = {}
        exec(f"def rule(self, xp, rate, w, g, tmp):\n    {line}", scope)
        optimizer = type("Own", (xn.Optimizer,), {"rule": scope["rule"], "recordable": recordable})(0.1)
        expected, found = (updated(o, d)[0][0] for o, d in ((copy.deepcopy(optimizer), "cpu"), (optimizer, "sim")))
        assert reason in optimizer.not_fused
        np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_a_rule_that_does_nothing(self, device):
        class Still(xn.SGD):
            recordable = True

            def rule(self, xp, rate, w, g, tmp):
                pass

        values = [updated(Still(0.1, weight_decay=0.1), where)[0][0] for where in (device.name, "cpu")]
        np.testing.assert_allclose(*values, rtol=1e-6)

    def test_frozen_parameters_stay(self, device):
        net = network([xn.Affine(5), xn.Affine(3)], device)
        net.freeze(0)
        before = device.get(net.parameters["0.W"].value)
        net.parameters.grad.fill(1)
        optimizer = xn.Adam(0.1)
        optimizer.update(net.parameters)
        net.freeze(1)
        optimizer.update(net.parameters)
        np.testing.assert_array_equal(device.get(net.parameters["0.W"].value), before)


class TestLayers:
    @pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "Step"])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_the_bits_of_the_layers(self, name, dtype, rng):
        own = functools.partial(copy.deepcopy, ACTIVATIONS[name])
        for shape, rows in (((4,), 5), ((3, 4), 2), ((4,), 0)):
            x = rng.standard_normal((rows, *shape)).astype(dtype)
            nets = [network([own(), xn.Affine(6), own(), own()], d, shape, dtype) for d in ("cpu", "sim")]
            dy = rng.standard_normal((rows, *nets[0].output_shape)).astype(dtype)
            for a, b in zip(*(passed(net, x, dy) for net in nets), strict=True):
                np.testing.assert_array_equal(a, b)
            assert all(not part.not_fused for part in nets[1]._fused[0])

    @pytest.mark.parametrize("layer", [Swish(), Cut()])
    def test_one_of_the_user_s_own(self, layer, device, rng):
        net = network([xn.Affine(6), copy.deepcopy(layer), copy.deepcopy(layer)], device, dtype="float64")
        plain = network([xn.Affine(6), copy.deepcopy(layer), copy.deepcopy(layer)], "cpu", dtype="float64", fuses=False)
        x, dy = rng.standard_normal((7, 4)), rng.standard_normal((7, 6))
        for a, b in zip(passed(net, x, dy), passed(plain, x, dy), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(net.predict(x), plain.predict(x), rtol=1e-13, atol=1e-15)
        assert all(not part.not_fused for part in net._fused[0])
        with xn.ledger() as seen:
            passed(net, x, dy)
        assert seen.launches in (0, 4 + 4)  # three products and a sum of rows; each way two kernels

    def test_one_that_is_no_activation(self, device, rng):
        net = network([xn.Affine(6), Centred(), Centred()], device, dtype="float64")
        x, dy = rng.standard_normal((7, 4)), rng.standard_normal((7, 6))
        y, _, _ = passed(net, x, dy)
        np.testing.assert_allclose(y.mean(1), 0, atol=1e-15)
        if device.fuses:
            assert all("xp.mean" in part.not_fused for part in net._fused[0])

    def test_what_a_layer_does_may_change(self, device):
        net = network([xn.Affine(2), xn.LeakyReLU(0.5)], device, (2,))
        net.parameters.value.fill(-1)
        found = []
        for slope in (0.5, 0.25):
            net.layers[1].slope = slope
            found.append(net.predict(np.zeros((1, 2))).tolist())
        assert found == [[[-0.5, -0.5]], [[-0.25, -0.25]]]

    def test_a_method_that_was_replaced_is_called(self):
        net, calls = network([xn.Affine(2), xn.ReLU()], "sim", (2,)), []
        relu = net.layers[1]
        forward = relu.forward
        relu.forward = lambda x, step: calls.append(1) or forward(x, step)
        passed(net, np.zeros((1, 2), "f"), np.zeros((1, 2), "f"))
        assert calls == [1]
        assert "replaced" in net._fused[0][0].not_fused

    def test_a_replaced_method_of_the_affine_layer_is_called(self):
        net, calls = network([xn.Affine(2), xn.ReLU()], "sim", (2,)), []
        affine = net.layers[0]
        passed(net, np.zeros((1, 2), "f"), np.zeros((1, 2), "f"))
        affine.forward = lambda x, step: calls.append(1) or type(affine).forward(affine, x, step)
        passed(net, np.zeros((1, 2), "f"), np.zeros((1, 2), "f"))
        assert calls == [1]

    @pytest.mark.parametrize("layer", [KeepsItsOutput, KeepsRoom, KeepsNames])
    def test_one_whose_cache_is_out_of_the_ordinary(self, layer, device, rng):
        """Its output, which the next layer may overwrite, and memory or objects of its own."""
        nets = [network([layer(), xn.ReLU()], d, dtype="float64", fuses=f) for d, f in ((device, True), ("cpu", False))]
        x, dy = rng.standard_normal((7, 4)), rng.standard_normal((7, 4))
        for a, b in zip(*(passed(net, x, dy) for net in nets), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)
        if device.fuses:
            assert "cache" in nets[0]._fused[0][0].not_fused

    def test_a_layer_that_says_nothing_of_itself_is_not_traced(self):
        class Seen(xn.Layer):
            inputs = []  # noqa: RUF012

            def forward(self, x, step):
                self.inputs.append(x)
                return 2 * x, None

            def backward(self, dy, cache, step):
                return 2 * dy

        net = network([xn.Affine(2), Seen()], "sim", (2,))
        passed(net, np.zeros((1, 2), "f"), np.zeros((1, 2), "f"))
        assert [type(x).__name__ for x in Seen.inputs] == ["ndarray"]

    def test_inputs_of_another_type_go_through_the_layer(self, rng):
        class Double(xn.Layer):
            def forward(self, x, step):
                return x.astype("float64"), None

            def backward(self, dy, cache, step):
                return dy.astype("float32")

        net = network([Double(), xn.Tanh()], "sim", (2,))
        x = rng.standard_normal((3, 2)).astype("f")
        y, _, _ = passed(net, x, x)
        np.testing.assert_allclose(y, np.tanh(x), rtol=1e-6)

    def test_what_cannot_be_trained_through_says_so(self):
        net = network([xn.Affine(2), xn.Step()], "sim", (2,))
        with pytest.raises(TypeError, match="Step cannot be trained through"):
            passed(net, np.zeros((1, 2), "f"), np.zeros((1, 2), "f"))

    def test_launches_of_a_step(self):
        counts = {}
        for fuses in (True, False):
            layers = [xn.Affine(8), xn.ReLU(), xn.Affine(8), xn.ReLU(), xn.Affine(3)]
            net = network(layers, "sim", fuses=fuses)
            trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(), device="sim").build((4,))
            x, y = SIM.put(np.ones((5, 4), "f")), SIM.put(np.zeros(5, int))
            trainer.step(x, y)
            with xn.ledger() as seen:
                trainer.step(x, y)
            counts[fuses] = seen.launches
        assert counts[True] <= 25
        assert counts[True] == counts[False] - 2 * (1 + 1)  # a bias and a maximum, a mask and a product in one each


def test_which_layers_are_joined():
    layers = [xn.Affine(3), xn.ReLU(), xn.Affine(3, bias=False), xn.Tanh(), xn.Affine(3), xn.BatchNorm(), xn.Sigmoid()]
    net = network(layers, "cpu", (4,))
    parts, first = net._fused
    assert [repr(part) for part in parts] == [
        "Affine(n_out=3), ReLU()",
        "Affine(n_out=3, bias=False)",
        "Tanh()",
        "Affine(n_out=3)",
        "BatchNorm()",
        "Sigmoid()",
    ]
    assert [isinstance(part, Fused) for part in parts] == [True, False, True, False, False, True]
    assert first == 0
    assert network([xn.ReLU(), xn.Flatten(), xn.Affine(3), xn.ReLU()], "cpu")._fused[1] == 2


class TestTheSimulatorsRules:
    def kernel(self):
        net = network([xn.Affine(3)], "sim")
        optimizer = xn.SGD(0.1)
        optimizer.update(net.parameters)
        return optimizer._loops[0][0].kernel

    @pytest.mark.parametrize(
        ("w", "g", "error", "message"),
        [
            (SIM.xp.ones(3, "f"), SIM.xp.ones(3), TypeError, "Type is mismatched"),
            (SIM.xp.ones(3, "f"), SIM.xp.ones((2, 3), "f"), ValueError, "Out shape is mismatched"),
            (SIM.xp.ones(3, "f"), np.ones(3, "f"), xn.DeviceMismatch, "a host array"),
        ],
    )
    def test_what_cupy_refuses(self, w, g, error, message):
        with pytest.raises(error, match=message):
            SIM.pointwise(self.kernel(), [w, g], [0.1])
