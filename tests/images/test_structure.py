"""Layers that reshape and join: Reshape, Flatten, Residual, Concatenate and Add around layers of images."""

import numpy as np
import pytest
from helpers import close, frozen, network, run

import xpnet as xn

SHAPE = (5, 4, 3)


def conv(n_out, **options):
    return xn.Conv2d(n_out, 3, padding=1, **options)


def built_shape(layer, shape=SHAPE):
    return xn.Sequential(layer).build(shape).output_shape


class TestReshape:
    @pytest.mark.parametrize(
        ("shape", "given", "output"),
        [
            ((12,), (3, 4), (3, 4)),
            ((12,), (2, -1, 3), (2, 2, 3)),
            ((28, 28), (28, 28, 1), (28, 28, 1)),
            ((5, 4, 3), -1, (60,)),
            ((5, 4, 3), 60, (60,)),
            ((5, 4, 3), [20, 3], (20, 3)),
            ((), (1, 1), (1, 1)),
        ],
    )
    def test_output_shapes(self, shape, given, output):
        assert built_shape(xn.Reshape(given), shape) == output

    def test_rows_are_read_in_order(self, device):
        x = np.arange(24.0).reshape(2, 12)
        found = run(network(xn.Reshape((2, 3, 2)), (12,), device), x, x.reshape(2, 2, 3, 2))
        np.testing.assert_array_equal(found.y, x.reshape(2, 2, 3, 2))
        np.testing.assert_array_equal(found.dx, x)

    @pytest.mark.parametrize(
        ("given", "text"),
        [((0, 3), r"\(0, 3\)"), ((-1, -1), r"\(-1, -1\)"), ((2.0, 6), r"\(2.0, 6\)"), ((-2, 6), r"\(-2, 6\)"), ("12", "'12'")],
    )
    def test_wrong_arguments(self, given, text):
        with pytest.raises(ValueError, match=rf"^Reshape\({text}\): whole numbers from 1 on, of which one may be -1$"):
            xn.Reshape(given)

    @pytest.mark.parametrize("given", [(5, 2), (5, -1), (13,)])
    def test_numbers_of_elements_that_differ(self, given):
        message = r"^Reshape\(shape=\(.*\)\): samples of shape \(3, 4\) have 12 elements, which do not make that shape$"
        with pytest.raises(ValueError, match=message):
            built_shape(xn.Reshape(given), (3, 4))

    @pytest.mark.parametrize("layer", [xn.Reshape((12, 5)), xn.Flatten()], ids=repr)
    def test_an_empty_batch(self, layer, device):
        found = run(network(layer, SHAPE, device), np.zeros((0, *SHAPE)))
        assert (found.y.shape[0], found.dx.shape) == (0, (0, *SHAPE))

    def test_flatten_reads_images_row_by_row_channels_last(self, device):
        x = np.arange(120.0).reshape(2, *SHAPE)
        found = run(network(xn.Flatten(), SHAPE, device), x, x.reshape(2, 60))
        np.testing.assert_array_equal(found.y, x.reshape(2, 60))
        np.testing.assert_array_equal(found.dx, x)
        assert built_shape(xn.Flatten()) == (60,)

    def test_flatten_of_what_a_convolution_gives(self, device):
        net = xn.Sequential(conv(2), xn.Flatten(), xn.Affine(3), xn.Reshape((1, 1, 3)), xn.Conv2d(2, 1), xn.Flatten())
        assert net.build(SHAPE, device=device).shapes[1:] == [(5, 4, 2), (40,), (3,), (1, 1, 3), (1, 1, 2), (2,)]
        assert xn.gradcheck(net, SHAPE, batch=2, directions=3, device=device)


class TestResidual:
    def test_adds_the_input(self, device, rng):
        x, dy = rng.standard_normal((2, *SHAPE)), rng.standard_normal((2, *SHAPE))
        body = network(conv(3), SHAPE, device)
        plain = run(body, x, dy)
        values = {f"0.{name}": value for name, value in body.parameters.snapshot().items()}
        found = run(network(xn.Residual(conv(3)), SHAPE, device, values=values), x, dy)
        close(found.y, plain.y + x, 1e-14)
        close(found.dx, plain.dx + dy, 1e-14)
        close(found.grads["0.0.W"], plain.grads["0.W"], 1e-14)

    def test_with_a_shortcut_of_its_own(self, device):
        layer = xn.Residual(conv(4, stride=2), xn.ReLU(), shortcut=xn.Conv2d(4, 1, stride=2))
        net = network(layer, SHAPE, device)
        assert net.output_shape == (3, 2, 4)
        assert list(net.parameters) == ["0.0.W", "0.0.b", "0.shortcut.W", "0.shortcut.b"]
        assert xn.gradcheck(net, SHAPE, batch=2, directions=8, device=device)

    def test_shapes_that_differ(self):
        message = (
            r"^Residual: the body gives \(5, 4, 4\) per sample, the shortcut \(5, 4, 3\); add a shortcut layer that gives "
            r"\(5, 4, 4\)"
        )
        with pytest.raises(ValueError, match=message):
            built_shape(xn.Residual(conv(4)))
        with pytest.raises(ValueError, match=r"the body gives \(3, 2, 4\) per sample, the shortcut \(5, 4, 4\)"):
            built_shape(xn.Residual(conv(4, stride=2), shortcut=xn.Conv2d(4, 1)))

    @pytest.mark.parametrize("options", [{}, {"stride": 2}, {"stride": (1, 2)}], ids=str)
    def test_the_shortcut_that_the_error_names_fits(self, options):
        with pytest.raises(ValueError, match=r"shortcut=") as caught:
            built_shape(xn.Residual(conv(4, **options)))
        shortcut = eval(str(caught.value).rpartition("for instance shortcut=")[2], {**vars(xn)})
        assert built_shape(xn.Residual(conv(4, **options), shortcut=shortcut)) == built_shape(conv(4, **options))

    def test_what_is_no_shortcut(self):
        with pytest.raises(TypeError, match=r"^Residual\(shortcut=\.\.\.\): argument 0 is the class Flatten, not a layer"):
            xn.Residual(conv(3), shortcut=xn.Flatten)


class TestConcatenate:
    def test_joins_channels_in_order(self, device, rng):
        x, dy = rng.standard_normal((2, *SHAPE)), rng.standard_normal((2, 5, 4, 9))
        net = network(xn.Concatenate(xn.Identity(), conv(4), xn.Conv2d(2, 1)), SHAPE, device)
        found = run(net, x, dy)
        assert net.output_shape == (5, 4, 9)
        parts, dxs = [x], [dy[..., :3]]
        for layer, name, start, stop in ((conv(4), "1", 3, 7), (xn.Conv2d(2, 1), "2", 7, 9)):
            values = {f"0.{key}": net.parameters.snapshot()[f"0.{name}.{key}"] for key in ("W", "b")}
            alone = run(network(layer, SHAPE, device, values=values), x, dy[..., start:stop])
            parts.append(alone.y)
            dxs.append(alone.dx)
            close(found.grads[f"0.{name}.W"], alone.grads["0.W"], 1e-13, 10)
        close(found.y, np.concatenate(parts, axis=-1), 1e-14)
        close(found.dx, sum(dxs), 1e-13)

    def test_vectors(self, device, rng):
        x = rng.standard_normal((3, 4))
        found = run(network(xn.Concatenate(xn.Identity(), xn.Identity()), (4,), device), x)
        np.testing.assert_array_equal(found.y, np.concatenate([x, x], axis=1))
        np.testing.assert_array_equal(found.dx, np.full((3, 4), 2))

    @pytest.mark.parametrize("other", [xn.Flatten(), xn.Conv2d(4, 3), xn.MaxPool2d(2)], ids=repr)
    def test_shapes_that_do_not_fit(self, other):
        message = r"^Concatenate: the branches give \[\(5, 4, 2\), \(.*\)\] per sample; all but the last axis must agree$"
        with pytest.raises(ValueError, match=message):
            built_shape(xn.Concatenate(conv(2), other))


class TestAdd:
    def test_sums_its_branches(self, device, rng):
        x, dy = rng.standard_normal((2, *SHAPE)), rng.standard_normal((2, *SHAPE))
        found = run(network(xn.Add(xn.Identity(), xn.Tanh(), xn.Identity()), SHAPE, device), x, dy)
        close(found.y, 2 * x + np.tanh(x), 1e-14)
        close(found.dx, (3 - np.tanh(x) ** 2) * dy, 1e-13)

    def test_of_a_body_and_the_identity_is_a_residual(self, device, rng):
        x = rng.standard_normal((2, *SHAPE))
        one = network(xn.Add(conv(3), xn.Identity()), SHAPE, device)
        two = network(xn.Residual(conv(3)), SHAPE, device, values=one.parameters.snapshot())
        first, second = run(one, x), run(two, x)
        close(first.y, second.y, 1e-15)
        close(first.dx, second.dx, 1e-14)

    def test_shapes_that_differ(self):
        with pytest.raises(
            ValueError, match=r"^Add: the branches give \[\(5, 4, 2\), \(5, 4, 3\)\] per sample; they must agree$"
        ):
            built_shape(xn.Add(conv(2), xn.Identity()))

    def test_flops_count_the_sum(self):
        net = xn.Sequential(xn.Add(xn.Conv2d(2, 1), xn.Conv2d(2, 1, bias=False), xn.Conv2d(2, 1))).build(SHAPE)
        assert net.flops(SHAPE, (5, 4, 2)) == 5 * 4 * 2 * (7 + 6 + 7 + 2)


class TestBranches:
    @pytest.mark.parametrize("kind", [xn.Add, xn.Concatenate])
    def test_one_is_too_few(self, kind):
        with pytest.raises(ValueError, match=rf"^{kind.__name__} joins the outputs of two layers or more, 1 given$"):
            kind(conv(2))

    @pytest.mark.parametrize("kind", [xn.Add, xn.Concatenate])
    def test_they_are_given_one_by_one(self, kind):
        message = rf"^{kind.__name__} takes the layers one by one: {kind.__name__}\(\*layers\) instead of"
        with pytest.raises(TypeError, match=message):
            kind([conv(2), conv(2)])
        with pytest.raises(TypeError, match=rf"^{kind.__name__}: argument 1 is 3, which has no forward and backward"):
            kind(conv(2), 3)

    def test_one_layer_twice_is_refused_by_its_places(self):
        layer = conv(3)
        with pytest.raises(ValueError, match=r"^the same Conv2d object stands at 0.0 and at 0.1 of one network"):
            built_shape(xn.Add(layer, layer))

    def test_repr_rebuilds_them(self):
        layer = xn.Concatenate(xn.Add(xn.Conv2d(2, 1), xn.Identity()), xn.Residual(xn.Tanh(), shortcut=xn.Identity()))
        assert repr(eval(repr(layer), {**vars(xn)})) == repr(layer)


NESTED = {
    "identities": lambda: xn.Residual(xn.Identity(), xn.Add(xn.Identity(), xn.Residual(xn.Identity()))),
    "inception": lambda: xn.Concatenate(
        xn.Conv2d(2, 1), xn.Sequential(xn.Conv2d(2, 1), xn.Tanh(), conv(3)), xn.Sequential(xn.AvgPool2d(3, stride=1, padding=1))
    ),
    "add in concatenate": lambda: xn.Concatenate(xn.Add(conv(2), xn.Conv2d(2, 1)), xn.Identity(), xn.Add(conv(1), conv(1))),
    "concatenate in add": lambda: xn.Add(xn.Concatenate(conv(1), conv(2)), xn.Residual(conv(3), xn.Tanh())),
    "residual in residual": lambda: xn.Residual(
        xn.Residual(conv(3), xn.Tanh()), conv(2), shortcut=xn.Residual(conv(2), shortcut=conv(2))
    ),
    "normalised": lambda: xn.Add(xn.Sequential(conv(4), xn.BatchNorm()), xn.Sequential(xn.Conv2d(4, 1), xn.GroupNorm(2))),
}


class TestNested:
    @pytest.mark.parametrize("name", NESTED)
    def test_gradients(self, name, device):
        assert xn.gradcheck(NESTED[name](), SHAPE, batch=2, directions=4, device=device)

    @pytest.mark.parametrize("name", NESTED)
    def test_input_and_gradient_are_not_overwritten(self, name, rng):
        net = network(NESTED[name](), SHAPE, xn.device("cpu"))
        x, dy = rng.standard_normal((2, *SHAPE)), rng.standard_normal((2, *net.output_shape))
        first = frozen(lambda: run(net, x, dy), x, dy)
        x.flags.writeable = dy.flags.writeable = False
        again = run(net, x, dy)
        np.testing.assert_array_equal(again.y, first.y)
        np.testing.assert_array_equal(again.dx, first.dx)

    @pytest.mark.parametrize("name", NESTED)
    def test_activations_side_by_side_do_not_disturb_one_another(self, name, device, rng):
        """Layers that compute in place, on both sides of every branch."""
        net = network(xn.Sequential(xn.ReLU(), NESTED[name](), xn.ReLU()), SHAPE, device)
        values = net.parameters.snapshot()
        net.parameters.restore({key: value + rng.uniform(0.1, 0.2, value.shape) for key, value in values.items()})
        assert xn.gradcheck(net, x=rng.standard_normal((2, *SHAPE)), directions=4, device=device)

    @pytest.mark.parametrize("name", [name for name in NESTED if name != "normalised"])
    def test_no_input_gradient_unless_asked(self, name, device, rng):
        net = network(NESTED[name](), SHAPE, device)
        x = rng.standard_normal((2, *SHAPE))
        expected = run(net, x).grads
        step = net.step(training=True)
        y, cache = net.forward(device.put(x), step)
        assert net.backward(device.put(np.ones(y.shape)), cache, step) is None
        for parameter in net.parameters.trainable:
            np.testing.assert_array_equal(device.get(parameter.grad), expected[parameter.name])
