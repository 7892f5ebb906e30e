"""Numerical differentiation: right gradients pass, wrong ones are found and named, kinks are counted, nothing is changed."""

from __future__ import annotations

import re

import numpy as np
import pytest
from core_helpers import bits, mlp

import xpnet as xn

LAYERS = [
    xn.Affine(4),
    xn.Affine(4, bias=False),
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
    xn.Flatten(),
    xn.Dropout(0.4),
    xn.Residual(xn.Affine(5), xn.Tanh()),
    xn.Residual(xn.Affine(3), shortcut=xn.Affine(3)),
    xn.Sequential(xn.Affine(4), xn.Tanh(), xn.Affine(2)),
]
LOSSES = [
    xn.MeanSquaredError(),
    xn.HalfSquaredError(),
    xn.SigmoidCrossEntropy(),
    xn.SoftmaxCrossEntropy(),
    xn.SoftmaxCrossEntropy(label_smoothing=0.2),
    xn.SoftmaxCrossEntropy(class_weights=[1, 2, 0, 4], ignore_index=3),
]


def wrong(base, change):
    """A layer whose backward differs from that of ``base`` by ``change(layer, dx, dy, cache, step)``."""

    class Wrong(base):
        def backward(self, dy, cache, step):
            return change(self, super().backward(dy, cache, step), dy, cache, step)

    return Wrong


def double(layer, dx, dy, cache, step):
    return 2 * dx


def a_little(layer, dx, dy, cache, step):
    return dx * (1 + 1e-4)


def one_element(layer, dx, dy, cache, step):
    dx[1, 2] += 1e-3
    return dx


def bias_forgotten(layer, dx, dy, cache, step):
    layer.b.grad[...] = 0
    return dx


def weights_not_transposed(layer, dx, dy, cache, step):
    return dy @ layer.W.value


def gradient_transposed(layer, dx, dy, cache, step):
    layer.W.grad[...] = layer.W.grad.T.copy()
    return dx


def bias_of_the_mean(layer, dx, dy, cache, step):
    layer.b.grad[...] = dy.mean(axis=0)
    return dx


def not_a_number(layer, dx, dy, cache, step):
    layer.W.grad[0, 0] = np.nan
    return dx


def minus(layer, dx, dy, cache, step):
    return -dx


# name: (base class, its arguments, the planted fault, the arrays that must be named)
FAULTS = {
    "a factor of two": (xn.Tanh, (), double, ["input"]),
    "a factor of 1.0001": (xn.Sigmoid, (), a_little, ["input"]),
    "a sign": (xn.GELU, (), minus, ["input"]),
    "one element": (xn.Softmax, (), one_element, ["input"]),
    "a forgotten bias": (xn.Affine, (5,), bias_forgotten, ["0.b"]),
    "a bias averaged instead of summed": (xn.Affine, (5,), bias_of_the_mean, ["0.b"]),
    "no transpose of a square matrix": (xn.Affine, (5,), weights_not_transposed, ["input"]),
    "a square gradient transposed": (xn.Affine, (5,), gradient_transposed, ["0.W"]),
    "NaN": (xn.Affine, (5,), not_a_number, ["0.W"]),
}
faults = pytest.mark.parametrize(("base", "args", "change", "named"), FAULTS.values(), ids=FAULTS)


class TestRight:
    @pytest.mark.parametrize("layer", LAYERS, ids=repr)
    @pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
    def test_layers(self, device, layer, training):
        report = xn.gradcheck(layer, (5,), device=device, training=training)
        assert report
        assert report.arrays[0].name == "input"
        assert report.arrays[0].checked + report.arrays[0].skipped == 15
        assert report.worst.error < 1e-6

    @pytest.mark.parametrize(
        "layer", [xn.Affine(3), xn.Softmax(), xn.Flatten(), xn.Dropout(0.3), xn.Residual(xn.Affine(4))], ids=repr
    )
    def test_samples_of_higher_rank(self, device, layer):
        assert xn.gradcheck(layer, (2, 3, 4), device=device, batch=2)

    @pytest.mark.parametrize("loss", LOSSES, ids=repr)
    def test_losses_alone(self, device, loss):
        report = xn.gradcheck(loss, (4,), device=device, batch=5)
        assert report
        assert [(a.name, a.checked) for a in report.arrays] == [("input", 20)]

    @pytest.mark.parametrize("loss", [xn.SoftmaxCrossEntropy(), xn.SoftmaxCrossEntropy(label_smoothing=0.1)], ids=repr)
    @pytest.mark.parametrize(
        "y", [[0, 3, 1], [[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0.1, 0.2, 0.3, 0.4]]], ids=["labels", "probabilities"]
    )
    def test_losses_with_targets_of_ones_own(self, device, loss, y):
        y = np.asarray(y)
        assert xn.gradcheck(loss, (4,), y=y, device=device)

    @pytest.mark.parametrize("loss", LOSSES, ids=repr)
    def test_a_network_with_a_loss(self, device, loss):
        net = xn.Sequential(xn.Affine(6), xn.Tanh(), xn.Dropout(0.3), xn.Affine(4))
        report = xn.gradcheck(net, (5,), loss=loss, device=device)
        assert report
        assert [a.name for a in report.arrays] == ["input", "0.W", "0.b", "3.W", "3.b"]

    def test_rows_and_targets_given(self, device):
        x, y = np.linspace(-1, 1, 12).reshape(3, 4), [2, 0, 1]
        net = xn.Sequential(xn.Affine(3))
        report = xn.gradcheck(net, x=x, y=y, loss=xn.SoftmaxCrossEntropy(), device=device)
        assert report.arrays[0].checked == 12
        np.testing.assert_array_equal(x, np.linspace(-1, 1, 12).reshape(3, 4))

    def test_a_whole_number_is_a_shape(self):
        assert xn.gradcheck(xn.Tanh(), 7).arrays[0].checked == 21

    def test_a_layer_without_outputs_that_move(self, device):
        """Dropout of nearly everything: zero gradients agree with zero slopes."""
        assert xn.gradcheck(xn.Dropout(0.99), (5,), device=device)


class TestWrong:
    @faults
    @pytest.mark.parametrize("directions", [None, 5], ids=["every element", "directions"])
    def test_is_found_and_named(self, device, base, args, change, named, directions):
        layer = wrong(base, change)(*args)
        with pytest.raises(xn.GradientError) as caught:
            xn.gradcheck(layer, (5,), device=device, directions=directions)
        report = xn.gradcheck(layer, (5,), device=device, directions=directions, raises=False)
        assert not report
        assert [a.name for a in report.arrays if not a.error <= report.tolerance] == named
        assert report.worst.name == named[0]
        assert "Wrong" in str(caught.value)
        line = next(line for line in str(caught.value).splitlines() if line.startswith(named[0]))
        place = r"direction \d" if directions else r"\[\d(, \d)?\]"
        assert re.search(rf"at {place}: (-?[\d.e-]+|nan), numerically -?[\d.e-]+$", line)

    @faults
    def test_inside_a_network_with_a_loss(self, device, base, args, change, named):
        net = xn.Sequential(wrong(base, change)(*args), xn.Affine(3))
        report = xn.gradcheck(net, (5,), loss=xn.SoftmaxCrossEntropy(), device=device, raises=False)
        assert [a.name for a in report.arrays if not a.error <= report.tolerance] == named

    def test_one_fault_among_many_layers_is_named_by_its_path(self):
        inner = xn.Residual(xn.Tanh(), wrong(xn.Affine, bias_forgotten)(4))
        net = xn.Sequential(xn.Affine(4), xn.Sequential(xn.ReLU(), inner), xn.Affine(2))
        report = xn.gradcheck(net, (3,), raises=False)
        assert [a.name for a in report.arrays if a.error > 1e-6] == ["1.1.1.b"]

    def test_the_worst_element_is_shown(self):
        report = xn.gradcheck(wrong(xn.Tanh, one_element)(), (5,), raises=False)
        assert report.worst.worst.startswith(" at [1, 2]: ")
        assert report.worst.error > 5e-4

    def test_a_wrong_loss(self, device):
        class Wrong(xn.MeanSquaredError):
            def compute(self, *args):
                value, dy = super().compute(*args)
                return value, 3 * dy

        with pytest.raises(xn.GradientError, match=r"Wrong\(\) is not that of its forward pass"):
            xn.gradcheck(Wrong(), (4,), device=device)

    def test_a_missing_input_gradient(self, device):
        class NoGradient(xn.Tanh):
            def backward(self, dy, y, step):
                return super().backward(dy, y, step) * 0

        with pytest.raises(xn.GradientError, match="input"):
            xn.gradcheck(NoGradient(), (4,), device=device)

    def test_a_layer_that_writes_into_the_gradient_it_is_given(self, device):
        """The shortcut beside it then gets zeros; what the gradient is compared by must not change with it."""

        class InPlace(xn.ReLU):
            def backward(self, dy, y, step):
                dy[y <= 0] = 0
                return dy

        with pytest.raises(xn.GradientError, match="input"):
            xn.gradcheck(xn.Residual(xn.Affine(4), InPlace()), 4, device=device)

    def test_tolerance(self):
        layer = wrong(xn.Tanh, one_element)()
        assert xn.gradcheck(layer, (5,), tolerance=1e-2)
        assert not xn.gradcheck(layer, (5,), tolerance=1e-4, raises=False)


class TestKinks:
    @pytest.mark.parametrize(
        ("layer", "at"), [(xn.ReLU(), 0.0), (xn.LeakyReLU(), 0.0), (xn.LeakyReLU(0.5), 0.0), (xn.ELU(0.5), 0.0)], ids=repr
    )
    @pytest.mark.parametrize("offset", [0.0, 3e-7, -3e-7])
    def test_are_skipped_and_counted(self, device, layer, at, offset):
        x = np.array([[1.0, -2.0, at + offset, 0.5], [at + offset, 3.0, -1.0, -0.5]])
        report = xn.gradcheck(layer, x=x, device=device)
        assert report
        assert (report.skipped, report.arrays[0].checked) == (2, 6)
        assert "2 at a kink" in str(report)

    def test_smooth_functions_have_none(self):
        x = np.array([[1.0, -2.0, 0.0, 1e-6]])
        assert [xn.gradcheck(layer, x=x).skipped for layer in (xn.Tanh(), xn.GELU(), xn.Softplus(), xn.ELU(1.0))] == [0] * 4

    def test_if_all_are_kinks_nothing_is_proved(self):
        report = xn.gradcheck(xn.ReLU(), x=np.zeros((2, 3)), raises=False)
        assert (report.skipped, report.arrays[0].checked) == (6, 0)
        assert not report

    def test_a_fault_beside_a_kink_is_found(self):
        x = np.array([[0.0, 1.0, -1.0]])
        with pytest.raises(xn.GradientError):
            xn.gradcheck(wrong(xn.ReLU, double)(), x=x)


class TestDirections:
    def test_many_parameters_with_few_evaluations(self, device):
        evaluations = []

        class Counting(xn.Affine):
            def forward(self, x, step):
                evaluations.append(1)
                return super().forward(x, step)

        report = xn.gradcheck(xn.Sequential(Counting(50), xn.Tanh()), (40,), device=device, directions=3)
        assert [(a.name, a.checked) for a in report.arrays] == [("input", 3), ("0.W", 3), ("0.b", 3)]
        assert len(evaluations) < 40

    def test_seeds_give_other_directions_and_rows(self):
        layer = wrong(xn.Tanh, a_little)()
        errors = {xn.gradcheck(layer, (5,), directions=2, seed=seed, raises=False).worst.worst for seed in (1, 2, 3)}
        assert len(errors) == 3
        assert len({xn.gradcheck(layer, (5,), seed=1, raises=False).worst.worst for _ in range(2)}) == 1


class TestReport:
    def test_table(self):
        report = xn.gradcheck(xn.Affine(2), (3,))
        lines = str(report).splitlines()
        assert [line.split()[0] for line in lines[:3]] == ["input", "0.W", "0.b"]
        assert all("checked" in line and "at a kink" in line and "largest relative error" in line for line in lines[:3])
        assert lines[3] == "all agree (tolerance 1e-06)"
        assert "DIFFERENT" in str(xn.gradcheck(wrong(xn.Tanh, double)(), (3,), raises=False))

    def test_the_error_is_an_assertion(self):
        assert issubclass(xn.GradientError, AssertionError)


class TestCallersOwn:
    def state(self, net):
        p = net.parameters
        return bits(net), net.steps_begun, p.version, p.device.get(p.grad).tobytes()

    @pytest.mark.parametrize("built", [True, False], ids=["built", "not built"])
    def test_a_network_is_left_as_it_was(self, device, built):
        net = mlp(device=device) if built else xn.Sequential(xn.Affine(3), xn.Dropout(0.5))
        layers = list(net.layers)
        before = self.state(net) if built else None
        xn.gradcheck(net, (4,), device=device)
        assert net.built == built
        assert [a is b for a, b in zip(net.layers, layers, strict=True)] == [True] * len(layers)
        if built:
            assert self.state(net) == before
            assert net.device == device
            assert net.parameters.dtype == np.float32
        else:
            assert not hasattr(net.layers[0], "W")

    def test_its_own_values_are_the_ones_checked(self, device):
        """A bias at -5 keeps every ReLU shut: the gradients that are compared are all zero."""
        net = xn.Sequential(xn.Affine(3, bias_init=xn.initializers.constant(-50)), xn.ReLU()).build((4,), device=device)
        report = xn.gradcheck(net, (4,), device=device)
        assert report.worst.error == 0
        net.parameters.fill("0.b", np.full(3, 50.0))
        assert xn.gradcheck(net, (4,), device=device).worst.error > 0

    def test_a_network_of_another_device(self):
        assert xn.gradcheck(mlp(device="sim"), (4,), device="cpu")
        assert xn.gradcheck(mlp(device="cpu"), (4,), device="sim")

    def test_a_layer_is_left_unbuilt(self):
        layer = xn.Affine(3)
        xn.gradcheck(layer, (4,))
        assert not hasattr(layer, "W")
        xn.Sequential(layer).build((7,))
        assert layer.W.shape == (7, 3)


class TestRefused:
    @pytest.mark.parametrize(
        ("call", "error", "message"),
        [
            (lambda: xn.gradcheck(xn.Tanh()), ValueError, r"needs the shape of one sample, for instance \(5,\), or the rows"),
            (lambda: xn.gradcheck(xn.Tanh, 3), TypeError, r"class Tanh, not a layer: write Tanh\(\)"),
            (lambda: xn.gradcheck(xn.MeanSquaredError, 3), TypeError, r"class MeanSquaredError"),
            (lambda: xn.gradcheck(xn.Step(), 3), TypeError, "Step cannot be trained through"),
            (lambda: xn.gradcheck(xn.SoftmaxCrossEntropy(), 4, y=[0, 1, 9]), ValueError, "labels reach from 0 to 9"),
            (lambda: xn.gradcheck(xn.Tanh(), 3, device="tpu"), ValueError, "no device is called 'tpu'"),
        ],
        ids=["no shape", "class", "class of a loss", "Step", "targets", "device"],
    )
    def test_mistakes(self, call, error, message):
        with pytest.raises(error, match=message):
            call()


def test_the_callers_rows_are_not_written_to(device):
    """Not even for a moment: they may be read-only."""
    x = np.random.default_rng(0).standard_normal((3, 4))
    x.flags.writeable = False
    assert xn.gradcheck(xn.Tanh(), x=x, device=device)
