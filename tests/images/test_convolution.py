"""Conv2d: its arguments and mistakes, the method that is planned, how exact each is, the memory it works in."""

import math
import re

import numpy as np
import pytest
from helpers import close, frozen, network, run

import xpnet as xn
from xpnet.layers.convolution.plan import METHODS

KINDS = {  # options of a layer that every named method suits, shape of a sample
    "winograd": ({"n_out": 5, "kernel": 3, "padding": 1}, (7, 6, 3)),
    "winograd-5x5": ({"n_out": 3, "kernel": 5}, (9, 8, 2)),
    "product": ({"n_out": 5, "kernel": 1}, (4, 5, 3)),
    "product-strided": ({"n_out": 5, "kernel": 1, "stride": (2, 3)}, (5, 7, 3)),
    "taps": ({"n_out": 4, "kernel": 3, "padding": 1, "groups": 4}, (6, 5, 4)),
    "im2col": ({"n_out": 4, "kernel": (3, 2), "stride": 2, "padding": 1, "dilation": 2, "groups": 2}, (8, 9, 4)),
}
every_kind = pytest.mark.parametrize("kind", KINDS)


def kind_network(kind, device, dtype="float64", **more):
    options, shape = KINDS[kind]
    return network(xn.Conv2d(**options, **more, method=kind.split("-")[0]), shape, device, dtype, seed=3)


def build(shape, *arguments, device="cpu", **options):
    return xn.Sequential(xn.Conv2d(*arguments, **options)).build(shape, device=device)


def planned(shape, *arguments, device="cpu", **options):
    return build(shape, *arguments, device=device, **options).layers[0].plan(xn.device(device)).name


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "options", "message"),
        [
            ((0, 3), {}, r"^Conv2d\(n_out=0\): it is a whole number from 1 on$"),
            ((2.0, 3), {}, r"^Conv2d\(n_out=2.0\): it is a whole number from 1 on$"),
            ((4, 3), {"groups": 0}, r"^Conv2d\(groups=0\): it is a whole number from 1 on$"),
            ((4, 0), {}, r"^Conv2d\(kernel=0\): a whole number from 1 on, or a pair of them \(height, width\)$"),
            ((4, "33"), {}, r"^Conv2d\(kernel='33'\): a whole number from 1 on"),
            ((4, (3, 3, 3)), {}, r"^Conv2d\(kernel=\(3, 3, 3\)\): a whole number from 1 on"),
            ((4, True), {}, r"^Conv2d\(kernel=True\): a whole number from 1 on"),
            ((4, 3), {"stride": (1, 0)}, r"^Conv2d\(stride=\(1, 0\)\): a whole number from 1 on"),
            ((4, 3), {"dilation": 1.5}, r"^Conv2d\(dilation=1.5\): a whole number from 1 on"),
            ((4, 3), {"padding": -1}, r"^Conv2d\(padding=-1\): a whole number from 0 on"),
            ((4, 3), {"padding": (1, -1)}, r"^Conv2d\(padding=\(1, -1\)\): a whole number from 0 on"),
            ((4, 3), {"padding": ("same", 1)}, r"^Conv2d\(padding=\('same', 1\)\): a whole number from 0 on"),
            (
                (4, 3),
                {"groups": 3},
                r"^Conv2d\(n_out=4, groups=3\): every group makes as many outputs: n_out must be a multiple of groups$",
            ),
            (
                (4, 3),
                {"method": "fft"},
                r"^Conv2d\(method='fft'\): choose 'auto', 'product', 'winograd', 'taps', 'im2col'$",
            ),
            (
                (4, 3),
                {"method": "winograd", "exact": True},
                r"^Conv2d\(method='winograd', exact=True\): Winograd's is the one method that is not exact$",
            ),
        ],
    )
    def test_wrong_ones(self, arguments, options, message):
        with pytest.raises(ValueError, match=message):
            xn.Conv2d(*arguments, **options)

    def test_an_unknown_padding_is_told_the_known_names(self):
        with pytest.raises(ValueError, match=r"^Conv2d\(padding='full'\).*'same'.*'valid'"):
            xn.Conv2d(4, 3, padding="full")

    @pytest.mark.parametrize("workspace", [-1, 0, 1.5, "1 MB", True])
    def test_a_wrong_workspace(self, workspace):
        with pytest.raises(ValueError, match=r"^Conv2d\(workspace=.*whole number from 1 on"):
            xn.Conv2d(4, 3, workspace=workspace)

    @pytest.mark.parametrize(
        ("shape", "options", "output"),
        [
            ((8, 9, 2), {}, (6, 7, 4)),
            ((8, 9, 2), {"padding": "valid"}, (6, 7, 4)),
            ((8, 9, 2), {"padding": "same"}, (8, 9, 4)),
            ((8, 9, 2), {"padding": "same", "stride": 2}, (4, 5, 4)),
            ((8, 9, 2), {"padding": "same", "dilation": 3}, (8, 9, 4)),
            ((8, 9, 2), {"padding": 1}, (8, 9, 4)),
            ((8, 9, 2), {"padding": (2, 0)}, (10, 7, 4)),
            ((8, 9, 2), {"padding": [0, 1], "stride": [1, 3]}, (6, 3, 4)),
            ((8, 9, 2), {"stride": 3}, (2, 3, 4)),
            ((8, 9, 2), {"dilation": (1, 3)}, (6, 3, 4)),
        ],
    )
    def test_output_shapes(self, shape, options, output):
        assert build(shape, 4, 3, **options).output_shape == output

    def test_same_padding_puts_what_is_odd_behind(self, device):
        net = network(xn.Conv2d(1, 2, padding="same", bias=False, init=xn.initializers.ones), (2, 2, 1), device)
        found = run(net, np.array([[[[1.0], [2.0]], [[3.0], [4.0]]]]))
        np.testing.assert_array_equal(found.y[0, ..., 0], [[10, 6], [7, 4]])

    def test_parameters(self):
        parameters = build((8, 8, 6), 4, (3, 2), groups=2).parameters
        assert {name: (p.shape, p.decay) for name, p in parameters.items()} == {
            "0.W": ((3, 2, 3, 4), True),
            "0.b": ((4,), False),
        }
        assert list(build((8, 8, 6), 4, 3, bias=False).parameters) == ["0.W"]

    def test_a_cross_correlation_by_hand(self, device):
        net = network(
            xn.Conv2d(1, 2), (2, 3, 1), device, values={"0.W": [[[[1.0]], [[2.0]]], [[[3.0]], [[4.0]]]], "0.b": [0.5]}
        )
        found = run(net, np.arange(6.0).reshape(1, 2, 3, 1))
        np.testing.assert_array_equal(found.y, [[[[0 + 2 + 9 + 16 + 0.5], [1 + 4 + 12 + 20 + 0.5]]]])
        np.testing.assert_array_equal(found.dx[0, ..., 0], [[1, 3, 2], [3, 7, 4]])
        np.testing.assert_array_equal(found.grads["0.W"][..., 0, 0], [[1, 3], [7, 9]])
        np.testing.assert_array_equal(found.grads["0.b"], [2])


class TestSamplesThatDoNotFit:
    def test_a_matrix_needs_an_axis_of_channels(self):
        hint = r"needs images \(N, height, width, channels\), the samples here have shape \(8, 9\); put Reshape\(\(8, 9, 1\)\)"
        with pytest.raises(ValueError, match=r"^Conv2d\(n_out=4, kernel=3\) " + hint):
            build((8, 9), 4, 3)
        assert xn.Sequential(xn.Reshape((8, 9, 1)), xn.Conv2d(4, 3)).build((8, 9)).output_shape == (6, 7, 4)

    @pytest.mark.parametrize(
        ("shape", "hint"), [((8,), "; put Reshape((height, width, channels)) before it"), ((2, 8, 8, 3), "")]
    )
    def test_other_ranks(self, shape, hint):
        with pytest.raises(ValueError, match=re.escape(f"samples here have shape {shape}{hint}") + "$"):
            build(shape, 4, 3)

    def test_channels_first(self):
        with pytest.warns(UserWarning, match=r"shape \(3, 32, 32\) look like \(channels, .*transpose\(0, 2, 3, 1\)"):
            build((3, 32, 32), 4, 3)
        with pytest.raises(ValueError, match=r"too small; if they are \(channels, height, width\): channels come last here"):
            build((1, 7, 7), 4, 3)

    def test_channels_that_groups_do_not_divide(self):
        with pytest.raises(
            ValueError, match=r"^Conv2d\(n_out=4, kernel=3, groups=2\): 3 channels cannot be cut into 2 groups$"
        ):
            build((8, 8, 3), 4, 3, groups=2)

    def test_a_window_larger_than_the_padded_image(self):
        message = (
            r"a window reaches over \(9, 9\) pixels, the image with its padding has \(7, 10\): samples of shape "
            r"\(5, 8, 1\) are too small$"
        )
        with pytest.raises(ValueError, match=message):
            build((5, 8, 1), 4, 5, padding=1, dilation=2)

    @pytest.mark.parametrize(
        ("shape", "options", "why"),
        [
            ((8, 8, 3), {"method": "product"}, "it takes kernels of one pixel without padding, in one group"),
            ((8, 8, 3), {"method": "taps"}, "it takes as many groups as channels, with one output each"),
            ((8, 8, 3), {"method": "winograd", "stride": 2}, "it takes stride 1, dilation 1 and less padding than the kernel"),
            ((8, 8, 3), {"method": "winograd", "padding": 3}, "it takes stride 1, dilation 1 and less padding than the kernel"),
            ((8, 8, 4), {"method": "winograd", "groups": 2}, "it takes kernels from 2x2 to 5x5 in one group"),
        ],
    )
    def test_a_method_that_does_not_suit(self, shape, options, why):
        text = (
            rf"method='{options['method']}'.*the method does not suit samples of shape \({', '.join(map(str, shape))}\): {why}"
        )
        with pytest.raises(ValueError, match=text):
            build(shape, 4, 3, **options)

    def test_a_failed_build_leaves_the_layer_as_it_was(self):
        net = build((8, 8, 4), 4, 3, groups=2)
        before = net.parameters.snapshot()
        with pytest.raises(ValueError, match="cannot be cut"):
            net.build((8, 8, 3))
        close(net.predict(np.ones((1, 8, 8, 4)))[0, 0, 0], before["0.W"].sum((0, 1, 2)), 1e-5)


class TestPlan:
    @pytest.mark.parametrize(
        ("shape", "arguments", "options", "method"),
        [
            ((28, 28, 1), (20, 5), {}, "im2col"),  # Winograd's transforms would be dearer than what they save
            ((12, 12, 20), (50, 5), {}, "winograd"),
            ((32, 32, 3), (32, 3), {"padding": 1}, "im2col"),
            ((32, 32, 32), (32, 3), {"padding": 1}, "winograd"),
            ((16, 16, 64), (64, 3), {"padding": "same"}, "winograd"),
            ((16, 16, 64), (64, 2), {}, "winograd"),
            ((16, 16, 64), (64, 3), {"stride": 2, "padding": 1}, "im2col"),
            ((16, 16, 64), (64, 3), {"dilation": 2}, "im2col"),
            ((16, 16, 64), (64, 3), {"groups": 2}, "im2col"),
            ((16, 16, 64), (64, 7), {"padding": 3}, "im2col"),
            ((16, 16, 64), (64, (3, 5)), {}, "im2col"),
            ((16, 16, 64), (64, 3), {"groups": 64, "padding": 1}, "taps"),
            ((16, 16, 64), (128, 3), {"groups": 64, "padding": 1}, "im2col"),
            ((16, 16, 64), (128, 1), {}, "product"),
            ((16, 16, 64), (128, 1), {"stride": 2}, "product"),
            ((16, 16, 64), (128, 1), {"padding": 1}, "im2col"),
        ],
    )
    def test_on_the_cpu(self, shape, arguments, options, method):
        assert planned(shape, *arguments, **options) == method
        exact = planned(shape, *arguments, **options, exact=True)
        assert exact == ("im2col" if method == "winograd" else method)

    def test_other_devices_leave_winograd_out(self):
        assert planned((32, 32, 32), 32, 3, device="sim") == "im2col"

    def test_the_summary_tells_method_and_workspace(self):
        net = xn.Sequential(
            xn.Conv2d(8, 3, stride=2),
            xn.Residual(xn.Conv2d(8, 3, padding=1)),
            xn.Conv2d(8, 3, padding=1, groups=8),
            xn.Conv2d(4, 1),
        ).build((33, 33, 4))
        lines = net.summary(batch_size=2).splitlines()
        start = lines.index("convolutions: path, method, workspace of a worker") + 1
        assert [line.split()[:2] for line in lines[start : start + 4]] == [
            ["0", "im2col"],
            ["1.0", "winograd"],
            ["2", "taps"],
            ["3", "product"],
        ]
        sizes = [layer.plan(net.device).workspace(2) * 4 for layer in (net.layers[0], net.layers[1].layers[0], *net.layers[2:])]
        assert sizes[2:] == [2 * 16 * 16 * 8 * 4, 0]
        assert [line.split()[2:4] for line in lines[start : start + 4]] == [[f"{size / 1e6:.1f}", "MB"] for size in sizes]


class TestMethodsAgree:
    def same(self, kind, dtype, rtol, device, batch=3):
        options, shape = KINDS[kind]
        rng = np.random.default_rng(7)
        nets = [kind_network(kind, device, dtype)]
        nets.append(network(xn.Conv2d(**options, method="im2col"), shape, device, dtype, nets[0].parameters.snapshot()))
        x, dy = rng.standard_normal((batch, *shape)), rng.standard_normal((batch, *nets[0].output_shape))
        found, expected = (run(net, x, dy) for net in nets)
        close(found.y, expected.y, rtol, np.abs(expected.y).max())
        close(found.dx, expected.dx, rtol, np.abs(expected.dx).max())
        for name, gradient in expected.grads.items():
            close(found.grads[name], gradient, rtol, np.abs(gradient).max())

    @every_kind
    def test_in_float64(self, kind, device):
        self.same(kind, "float64", 1e-12, device)

    @every_kind
    def test_in_float32(self, kind, device):
        self.same(kind, "float32", 2e-5, device)

    def test_every_method_is_among_them(self):
        assert {kind.split("-")[0] for kind in KINDS} == set(METHODS)


class TestWorkspace:
    SHAPE = (11, 10, 6)

    def net(self, workspace, dtype="float32", **options):
        net = network(xn.Conv2d(4, 3, method="im2col", workspace=workspace, **options), self.SHAPE, xn.device("cpu"), dtype)
        net.in_blocks = False
        return net

    @pytest.mark.parametrize("budget", [1, 2_000, 5_000, 20_000, 60_000, 10**7])
    def test_patches_of_no_more_bytes_are_in_memory(self, budget):
        net = self.net(budget)
        step = net.step(training=True)
        net.forward(np.ones((7, *self.SHAPE), "float32"), step)
        method, a_row = net.layers[0].plan(net.device), 8 * 54 * 4
        assert step.arena.scratch.nbytes == 4 * method.workspace(7) <= max(budget, a_row)
        assert method.workspace(7) >= min(budget // 4, 7 * 9 * 8 * 54) / 2  # and it is made use of

    @pytest.mark.parametrize("options", [{}, {"padding": 2, "stride": 2}, {"groups": 2, "dilation": 2}], ids=str)
    @pytest.mark.parametrize("method", ["im2col", "winograd"])
    def test_results_are_the_same_for_any(self, method, options, device, rng):
        if method == "winograd":
            options = {"padding": options.get("padding", 0)}
        x = rng.standard_normal((5, 11, 10, 6))
        nets = [
            network(xn.Conv2d(4, 3, method=method, workspace=size, **options), self.SHAPE, device, seed=1)
            for size in (1, 3_000, 30_000, None)
        ]
        *found, expected = (run(net, x) for net in nets)
        for one in found:
            close(one.y, expected.y, 1e-13, np.abs(expected.y).max())
            close(one.dx, expected.dx, 1e-13, np.abs(expected.dx).max())
            close(one.grads["0.W"], expected.grads["0.W"], 1e-13, np.abs(expected.grads["0.W"]).max())


class TestInputs:
    @every_kind
    def test_an_empty_batch(self, kind, device):
        net = kind_network(kind, device)
        found = run(net, np.zeros((0, *KINDS[kind][1])))
        assert (found.y.shape, found.dx.shape) == ((0, *net.output_shape), (0, *KINDS[kind][1]))
        assert all((gradient == 0).all() for gradient in found.grads.values())

    @every_kind
    def test_rows_do_not_depend_on_their_neighbours(self, kind, device, rng):
        net, x = kind_network(kind, device), rng.standard_normal((4, *KINDS[kind][1]))
        whole = run(net, x)
        for i in range(4):
            one = run(net, x[i : i + 1])
            close(one.y[0], whole.y[i], 1e-12)
            close(one.dx[0], whole.dx[i], 1e-12)

    @every_kind
    def test_memory_in_another_order(self, kind, device, rng):
        net, x = kind_network(kind, device), rng.standard_normal((3, *KINDS[kind][1]))
        dy = rng.standard_normal((3, *net.output_shape))
        expected = run(net, x, dy)
        turned = [device.put(np.ascontiguousarray(a.T)).T for a in (x, dy)]
        assert not turned[0].flags.c_contiguous
        found = run(net, *turned)
        close(found.y, expected.y, 1e-13, 10)
        close(found.dx, expected.dx, 1e-13, 10)
        close(found.grads["0.W"], expected.grads["0.W"], 1e-13, 100)

    @every_kind
    def test_read_only_input_is_left_alone(self, kind, rng):
        net, x = kind_network(kind, xn.device("cpu")), rng.standard_normal((3, *KINDS[kind][1]))
        expected = run(net, x.copy())
        x.flags.writeable = False
        found = frozen(lambda: run(net, x), x)
        np.testing.assert_array_equal(found.y, expected.y)
        np.testing.assert_array_equal(found.dx, expected.dx)

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("winograd")])
    def test_nan_reaches_the_windows_that_it_lies_in(self, kind, device, rng):
        net, shape = kind_network(kind, device), KINDS[kind][1]
        place = (1, 2, 3, 1)
        x = rng.standard_normal((3, *shape))
        clean = run(net, x)
        unit = np.zeros_like(x)
        unit[place] = 1
        touched = run(net, x + unit).y != clean.y
        x[place] = math.nan
        found = run(net, x)
        np.testing.assert_array_equal(np.isnan(found.y), touched)
        np.testing.assert_array_equal(found.dx, clean.dx)

    @pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("winograd")])
    def test_nan_stays_in_its_image_by_winograd(self, kind, device, rng):
        net, x = kind_network(kind, device), rng.standard_normal((3, *KINDS[kind][1]))
        x[1, 2, 3, 1] = math.nan
        found = run(net, x)
        assert np.isnan(found.y[1]).any()
        assert not np.isnan(found.y[[0, 2]]).any()

    @pytest.mark.parametrize("kind", ["im2col", "taps", "product"])
    def test_nan_gradients_reach_the_pixels_of_their_window(self, kind, device, rng):
        net, shape = kind_network(kind, device), KINDS[kind][1]
        x = rng.standard_normal((2, *shape))
        dy = np.zeros((2, *net.output_shape))
        dy[1, 1, 2, 0] = 1
        touched = run(net, x, dy).dx != 0
        dy[1, 1, 2, 0] = math.nan
        np.testing.assert_array_equal(np.isnan(run(net, x, dy).dx), touched)

    def test_of_the_wrong_shape(self, device):
        net = network(xn.Conv2d(4, 3), (8, 8, 3), device, "float32")
        with pytest.raises(ValueError, match=r"^x has shape \(2, 8, 3, 8\), the network was built for \(N, 8, 8, 3\)$"):
            net.forward(device.put(np.ones((2, 8, 3, 8)), "float32"), net.step(training=True))
        with pytest.raises(ValueError, match=r"one sample is a batch of one: x\[None\]$"):
            net.forward(device.put(np.ones((8, 8, 3)), "float32"), net.step(training=True))

    def test_of_the_wrong_dtype(self, device):
        net = network(xn.Conv2d(4, 3), (8, 8, 3), device, "float32")
        text = r"^forward: x is float64, the network computes in float32: pass device.put\(x, dtype='float32'\)$"
        with pytest.raises(TypeError, match=text):
            net.forward(device.put(np.ones((2, 8, 8, 3))), net.step(training=True))


class TestCosts:
    @pytest.mark.parametrize(("bias", "flops"), [(True, 4 * 4 * 6 * 25), (False, 4 * 4 * 6 * 24)])
    def test_flops_of_a_sample(self, bias, flops):
        """Outputs 4 x 4 x 6, each of 3 x 2 pixels of 2 channels: 12 products and as many additions."""
        net = build((9, 8, 4), 6, (3, 2), stride=2, groups=2, bias=bias)
        assert net.output_shape == (4, 4, 6)
        assert net.layers[0].flops((9, 8, 4), (4, 4, 6)) == flops == net.flops(net.input_shape, net.output_shape)

    @pytest.mark.parametrize("kind", [xn.Momentum, xn.Adam, xn.RMSProp])
    def test_float32_stays_float32(self, kind, device, rng):
        optimizer = kind(1e-3)
        net = xn.Sequential(
            *(xn.Conv2d(5, 3, padding=1), xn.BatchNorm(), xn.ReLU(), xn.MaxPool2d(2), xn.Conv2d(6, 3, stride=2)),
            *(xn.GroupNorm(2), xn.GlobalAvgPool2d(), xn.Affine(3)),
        )
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=optimizer, device=device).build((8, 8, 2))
        x, y = device.put(rng.standard_normal((4, 8, 8, 2)), "float32"), device.put(rng.integers(0, 3, 4))
        for _ in range(3):
            assert trainer.step(x, y).dtype == "float32"
        step = net.step(training=True, needs_dx=True)
        logits, cache = net.forward(x, step)
        dx = net.backward(device.put(np.ones((4, 3)), "float32"), cache, step)
        vectors = (net.parameters.value, net.parameters.grad, net.parameters.state)
        assert optimizer.vectors
        assert {a.dtype.name for a in (logits, dx, *vectors, *optimizer.vectors.values())} == {"float32"}
        assert trainer.predict(x).dtype == "float32"
