"""Pooling: where gradients of ties and overlaps go, what padding counts, odd sizes, NaN, mistakes."""

import math

import numpy as np
import pytest
from helpers import close, network, run

import xpnet as xn


def image(rows):
    """One image of one channel."""
    return np.array(rows, float)[None, ..., None]


def pooled(layer, x, device, dy=None):
    """Output and input gradient of one image of one channel, as matrices."""
    found = run(network(layer, x.shape[1:], device), x, None if dy is None else image(dy))
    return found.y[0, ..., 0], found.dx[0, ..., 0]


class TestMaximum:
    def test_of_equal_ones_the_first_in_row_major_order_gets_the_gradient(self, device):
        y, dx = pooled(
            xn.MaxPool2d(2), image([[1, 1, 0, 2], [1, 1, 2, 2], [0, 0, 0, 5], [0, 3, 5, 0]]), device, [[1, 2], [3, 4]]
        )
        np.testing.assert_array_equal(y, [[1, 2], [3, 5]])
        np.testing.assert_array_equal(dx, [[1, 0, 0, 2], [0, 0, 0, 0], [0, 0, 0, 4], [0, 3, 0, 0]])

    def test_the_row_counts_before_the_column(self, device):
        _, dx = pooled(xn.MaxPool2d(3), image([[0, 0, 7], [7, 0, 0], [0, 7, 0]]), device)
        np.testing.assert_array_equal(dx, [[0, 0, 1], [0, 0, 0], [0, 0, 0]])

    def test_gradients_of_overlapping_windows_add_up(self, device):
        y, dx = pooled(xn.MaxPool2d(2, stride=1), image([[1, 2, 3], [4, 9, 5], [6, 7, 8]]), device, [[1, 2], [4, 8]])
        np.testing.assert_array_equal(y, [[9, 9], [9, 9]])
        np.testing.assert_array_equal(dx, [[0, 0, 0], [0, 15, 0], [0, 0, 0]])

    def test_ties_in_overlapping_windows(self, device):
        _, dx = pooled(xn.MaxPool2d((1, 2), stride=1), image([[3, 3, 3, 1]]), device, [[1, 2, 4]])
        np.testing.assert_array_equal(dx, [[1, 2, 4, 0]])

    def test_pixels_between_windows_get_nothing(self, device):
        y, dx = pooled(xn.MaxPool2d(1, stride=2), image([[1, 2, 3], [4, 5, 6], [7, 8, 9]]), device)
        np.testing.assert_array_equal(y, [[1, 3], [7, 9]])
        np.testing.assert_array_equal(dx, [[1, 0, 1], [0, 0, 0], [1, 0, 1]])

    def test_padding_never_wins(self, device):
        y, dx = pooled(xn.MaxPool2d(3, stride=2, padding=1), image([[-5, -1], [-3, -2]]), device)
        np.testing.assert_array_equal(y, [[-1]])
        np.testing.assert_array_equal(dx, [[0, 1], [0, 0]])

    def test_minus_infinity_wins_over_padding(self, device):
        y, dx = pooled(xn.MaxPool2d(2, padding=1, stride=3), image([[-math.inf, 1], [1, 1]]), device)
        assert y[0, 0] == -math.inf
        np.testing.assert_array_equal(dx, [[1, 0], [0, 0]])

    @pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1)])
    def test_nan_wins_as_in_pytorch(self, place, device):
        x = image([[1, 2, 8, 1], [3, 4, 1, 1]])
        x[0, *place, 0] = math.nan
        y, dx = pooled(xn.MaxPool2d(2), x, device, [[1, 2]])
        np.testing.assert_array_equal(y, [[math.nan, 8]])
        np.testing.assert_array_equal(dx[:, 2:], [[2, 0], [0, 0]])
        assert dx[:, :2].sum() == 1

    def test_channels_are_apart(self, device, rng):
        x = rng.standard_normal((2, 4, 4, 3))
        layer = xn.MaxPool2d(2)
        whole = run(network(layer, (4, 4, 3), device), x)
        for c in range(3):
            one = run(network(xn.MaxPool2d(2), (4, 4, 1), device), x[..., c : c + 1])
            np.testing.assert_array_equal(one.y, whole.y[..., c : c + 1])
            np.testing.assert_array_equal(one.dx, whole.dx[..., c : c + 1])

    def test_evaluation_and_prediction_give_what_training_does(self, device, rng):
        net, x = network(xn.MaxPool2d(3, stride=2, padding=1), (7, 6, 2), device), rng.standard_normal((3, 7, 6, 2))
        y = run(net, x).y
        np.testing.assert_array_equal(run(net, x, training=False).y, y)
        np.testing.assert_array_equal(net.predict(x), y)


class TestSizes:
    @pytest.mark.parametrize(
        ("length", "kernel", "stride", "padding", "floor", "ceiling"),
        [
            (7, 2, None, 0, 3, 4),
            (8, 2, None, 0, 4, 4),
            (7, 3, 2, 0, 3, 3),
            (8, 3, 2, 0, 3, 4),
            (8, 3, 2, 1, 4, 5),
            (5, 2, 2, 1, 3, 3),  # a third window would begin in the padding behind
            (5, 3, 3, 1, 2, 2),
            (6, 2, 3, 1, 3, 3),
            (5, 2, 4, 0, 1, 2),
            (4, 1, 2, 0, 2, 2),
            (3, 3, 1, 0, 1, 1),
        ],
    )
    @pytest.mark.parametrize("kind", [xn.MaxPool2d, xn.AvgPool2d])
    def test_of_outputs(self, kind, length, kernel, stride, padding, floor, ceiling):
        for ceil_mode, expected in ((False, floor), (True, ceiling)):
            layer = kind(kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
            assert xn.Sequential(layer).build((length, length, 3)).output_shape == (expected, expected, 3)

    def test_the_ceiling_on_images_of_odd_size(self, device):
        x = image([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
        y, dx = pooled(xn.MaxPool2d(2, ceil_mode=True), x, device, [[1, 2], [3, 4]])
        np.testing.assert_array_equal(y, [[5, 6], [8, 9]])
        np.testing.assert_array_equal(dx, [[0, 0, 0], [0, 1, 2], [0, 3, 4]])
        y, dx = pooled(xn.AvgPool2d(2, ceil_mode=True), x, device, [[4, 2], [2, 1]])
        np.testing.assert_array_equal(y, [[3, 4.5], [7.5, 9]])
        np.testing.assert_array_equal(dx, [[1, 1, 1], [1, 1, 1], [1, 1, 1]])

    def test_pairs_are_height_and_width(self):
        layer = xn.MaxPool2d((2, 3), stride=(1, 2), padding=(1, 0))
        assert xn.Sequential(layer).build((5, 9, 1)).output_shape == (6, 4, 1)

    def test_flops_of_a_sample(self):
        net = xn.Sequential(xn.MaxPool2d((2, 3)), xn.GlobalAvgPool2d()).build((4, 9, 5))
        assert net.layers[0].flops((4, 9, 5), (2, 3, 5)) == 2 * 3 * 5 * (2 + 3)
        assert net.layers[1].flops((2, 3, 5), (5,)) == 2 * 3 * 5


class TestMean:
    def test_padding_counts_as_zeros_unless_told_otherwise(self, device):
        x, dy = image([[4, 8], [12, 16]]), [[4, 8], [12, 16]]
        y, dx = pooled(xn.AvgPool2d(2, padding=1), x, device, dy)
        np.testing.assert_array_equal(y, [[1, 2], [3, 4]])
        np.testing.assert_array_equal(dx, [[1, 2], [3, 4]])
        y, dx = pooled(xn.AvgPool2d(2, padding=1, count_include_pad=False), x, device, dy)
        np.testing.assert_array_equal(y, [[4, 8], [12, 16]])
        np.testing.assert_array_equal(dx, dy)

    def test_what_sticks_out_by_the_ceiling_never_counts(self, device):
        """Length 4, padding 1, windows of 3 every 2: the last one covers a pixel, the padding and one element beyond."""
        x = image([[6, 6, 6, 6]])
        y, _ = pooled(xn.AvgPool2d((1, 3), stride=2, padding=(0, 1), ceil_mode=True), x, device)
        np.testing.assert_allclose(y, [[4, 6, 3]])
        y, _ = pooled(xn.AvgPool2d((1, 3), stride=2, padding=(0, 1), ceil_mode=True, count_include_pad=False), x, device)
        np.testing.assert_allclose(y, [[6, 6, 6]])

    def test_overlapping_windows(self, device):
        y, dx = pooled(xn.AvgPool2d((1, 2), stride=1), image([[2, 4, 8]]), device, [[2, 4]])
        np.testing.assert_array_equal(y, [[3, 6]])
        np.testing.assert_array_equal(dx, [[1, 3, 2]])

    def test_of_all_pixels(self, device, rng):
        x, dy = rng.standard_normal((3, 5, 4, 2)), rng.standard_normal((3, 2))
        found = run(network(xn.GlobalAvgPool2d(), (5, 4, 2), device), x, dy)
        close(found.y, x.mean((1, 2)), 1e-14)
        close(found.dx, np.broadcast_to(dy[:, None, None] / 20, x.shape), 1e-15)

    def test_of_all_pixels_is_one_large_window(self, device, rng):
        x = rng.standard_normal((2, 5, 4, 3))
        expected = run(network(xn.Sequential(xn.AvgPool2d((5, 4)), xn.Flatten()), (5, 4, 3), device), x)
        found = run(network(xn.GlobalAvgPool2d(), (5, 4, 3), device), x)
        close(found.y, expected.y, 1e-14)
        close(found.dx, expected.dx, 1e-15)

    def test_nan_reaches_the_windows_that_it_lies_in(self, device):
        x = image(np.ones((4, 4)))
        x[0, 1, 2, 0] = math.nan
        y, dx = pooled(xn.AvgPool2d(2), x, device)
        np.testing.assert_array_equal(np.isnan(y), [[False, True], [False, False]])
        assert (dx == 1 / 4).all()


KINDS = {
    "MaxPool2d": lambda: xn.MaxPool2d((3, 2), stride=2, padding=1, ceil_mode=True),
    "AvgPool2d": lambda: xn.AvgPool2d((3, 2), stride=2, padding=1, ceil_mode=True),
    "GlobalAvgPool2d": xn.GlobalAvgPool2d,
}
every_kind = pytest.mark.parametrize("kind", KINDS)


class TestEach:
    @every_kind
    def test_gradients(self, kind, device):
        assert xn.gradcheck(KINDS[kind](), (7, 6, 2), batch=2, device=device)

    @every_kind
    def test_an_empty_batch(self, kind, device):
        net = network(KINDS[kind](), (7, 6, 2), device)
        found = run(net, np.zeros((0, 7, 6, 2)))
        assert (found.y.shape, found.dx.shape) == ((0, *net.output_shape), (0, 7, 6, 2))

    @every_kind
    def test_float32_stays_float32(self, kind, device, rng):
        found = run(network(KINDS[kind](), (7, 6, 2), device, "float32"), rng.standard_normal((2, 7, 6, 2)))
        assert (found.y.dtype, found.dx.dtype) == ("float32", "float32")

    @every_kind
    @pytest.mark.parametrize(
        ("shape", "hint"),
        [
            ((6,), r"; put Reshape\(\(height, width, channels\)\) before it$"),
            ((7, 6), r"; put Reshape\(\(7, 6, 1\)\) before it$"),
        ],
    )
    def test_samples_that_are_no_images(self, kind, shape, hint):
        found = r"needs images \(N, height, width, channels\), the samples here have shape \(" + ", ".join(map(str, shape))
        with pytest.raises(ValueError, match=rf"^{kind}\(.*{found},?\){hint}"):
            xn.Sequential(KINDS[kind]()).build(shape)


class TestArguments:
    @pytest.mark.parametrize("kind", [xn.MaxPool2d, xn.AvgPool2d])
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"kernel": 0}, r"\(kernel=0\): a whole number from 1 on, or a pair of them \(height, width\)$"),
            ({"kernel": (2, 2, 2)}, r"\(kernel=\(2, 2, 2\)\): a whole number from 1 on"),
            ({"kernel": 2, "stride": 0}, r"\(stride=0\): a whole number from 1 on"),
            ({"kernel": 2, "stride": (1, "2")}, r"\(stride=\(1, '2'\)\): a whole number from 1 on"),
            ({"kernel": 2, "padding": -1}, r"\(padding=-1\): a whole number from 0 on"),
            ({"kernel": 2, "padding": "same"}, r"\(padding='same'\): a whole number from 0 on"),
            ({"kernel": 2, "padding": 2}, r"\(kernel=2, padding=2\): padding is at most half of the kernel$"),
            ({"kernel": (3, 1), "padding": (1, 1)}, r"\(kernel=\(3, 1\), padding=\(1, 1\)\): padding is at most half"),
        ],
    )
    def test_wrong_ones(self, kind, options, message):
        with pytest.raises(ValueError, match=f"^{kind.__name__}{message}"):
            kind(**options)

    def test_a_window_larger_than_the_padded_image(self):
        message = (
            r"^MaxPool2d\(kernel=4, padding=\(0, 1\)\): a window reaches over \(4, 4\) pixels, the image with its padding has "
            r"\(3, 10\): samples of shape \(3, 8, 1\) are too small$"
        )
        with pytest.raises(ValueError, match=message):
            xn.Sequential(xn.MaxPool2d(4, padding=(0, 1))).build((3, 8, 1))
