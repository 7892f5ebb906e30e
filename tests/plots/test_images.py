"""Pictures of images: misclassified samples and first-layer filters."""

from __future__ import annotations

import numpy as np
import pytest
from plot_helpers import drawn, tick_names

import xpnet as xn
from xpnet.plots import first_layer_filters, misclassified

pytestmark = pytest.mark.extras
pytest.importorskip("matplotlib")

NAMES = ["cat", "dog", "bird"]


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def pixels(axes):
    return np.asarray(axes.get_images()[0].get_array())


class TestMisclassified:
    CHANCES = np.array([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.05, 0.05, 0.9], [0.1, 0.7, 0.2]])

    def test_the_surest_first(self, rng):
        x = rng.random((4, 5, 6))
        figure = drawn(misclassified(x, [0, 1, 0, 2], self.CHANCES, NAMES))
        assert titles(figure) == [
            "true: cat\npredicted: bird\n90.0%",
            "true: bird\npredicted: dog\n70.0%",
            "true: dog\npredicted: cat\n60.0%",
        ]
        assert figure.get_suptitle() == "3 of 4 rows misclassified, the surest first"
        shown = x[[2, 3, 1]]
        for axes, image in zip(figure.axes, (shown - shown.min()) / np.ptp(shown), strict=True):
            np.testing.assert_allclose(pixels(axes), image)
            assert axes.get_images()[0].get_clim() == (0, 1)

    def test_as_many_as_asked(self, rng):
        figure = drawn(misclassified(rng.random((4, 5, 5)), [0, 1, 0, 2], self.CHANCES, NAMES, count=2))
        assert len(figure.axes) == 2
        assert figure.get_suptitle() == "3 of 4 rows misclassified, the surest 2"

    def test_none_is_wrong(self, rng):
        figure = drawn(misclassified(rng.random((4, 5, 5)), [0, 0, 2, 1], self.CHANCES, NAMES))
        assert [text.get_text() for text in figure.texts] == ["none of 4 rows is misclassified"]

    @pytest.mark.parametrize(
        ("rows", "shape", "drawn_as"),
        [
            ((784,), (28, 28), (28, 28)),
            ((64,), (8, 8), (8, 8)),
            ((48,), (4, 4, 3), (4, 4, 3)),
            ((8, 8, 1), None, (8, 8)),
            ((8, 8, 3), None, (8, 8, 3)),
            ((8, 8, 1), (8, 8), (8, 8)),
        ],
        ids=str,
    )
    def test_grey_and_colour(self, rng, rows, shape, drawn_as):
        x = rng.standard_normal((4, *rows)).astype(np.float32)
        figure = drawn(misclassified(x, [0, 1, 0, 2], self.CHANCES, NAMES, shape))
        assert pixels(figure.axes[0]).shape == drawn_as
        assert 0 <= pixels(figure.axes[0]).min() <= pixels(figure.axes[0]).max() <= 1

    def test_an_image_of_one_value(self):
        figure = drawn(misclassified(np.full((4, 3, 3), 7.0), [0, 1, 0, 2], self.CHANCES, NAMES))
        assert (pixels(figure.axes[0]) == 0).all()

    @pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 3)], ids=str)
    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_pixels_that_are_no_numbers_are_marked(self, rng, shape, value):
        x = rng.random(shape)
        x[2, 1, 1] = value
        first, second, _ = drawn(misclassified(x, [0, 1, 0, 2], self.CHANCES, NAMES)).axes
        finite = x[[2, 3, 1]][np.isfinite(x[[2, 3, 1]])]
        shown = (x[[2, 3]] - finite.min()) / np.ptp(finite)
        np.testing.assert_allclose(pixels(second), shown[1])
        np.testing.assert_allclose(pixels(first)[1, 1], (0xD5 / 255, 0x5E / 255, 0))
        np.testing.assert_allclose(pixels(first)[0, 0], shown[0][0, 0])

    def test_nothing_but_gaps(self):
        figure = drawn(misclassified(np.full((4, 3, 3), np.nan), [0, 1, 0, 2], self.CHANCES, NAMES))
        assert np.ptp(pixels(figure.axes[0]), axis=(0, 1)).max() == 0

    def test_values_whose_difference_is_infinite(self):
        x = np.full((4, 3, 3), -1.7e308)
        x[:, 1] = 1.7e308
        np.testing.assert_allclose(pixels(drawn(misclassified(x, [0, 1, 0, 2], self.CHANCES, NAMES)).axes[0])[:, 0], [0, 1, 0])

    @pytest.mark.parametrize("chances", [CHANCES * np.nan, 30 * CHANCES, CHANCES - 1], ids=["NaN", "logits", "negative"])
    def test_what_is_no_probability_is_refused(self, chances):
        with pytest.raises(ValueError, match=r"misclassified: probabilities lie in \[0, 1\]"):
            misclassified(np.zeros((4, 3, 3)), [0, 1, 0, 2], chances, NAMES)

    @pytest.mark.parametrize(
        ("shape", "options", "message"),
        [
            ((4, 64), {}, r"rows of shape \(64,\) are no images: say what they are, shape=\(height, width\)"),
            ((4, 64), {"shape": (7, 9)}, r"shape=\(7, 9\) has 63 pixels, the rows of shape \(64,\) have 64"),
            ((4, 64), {"shape": (4, 4, 4)}, "an image is"),
            ((3, 8, 8), {}, "4 rows of one axis or more"),
            ((4, 64), {"shape": 64}, r"shape=64: an image is \(height, width\)"),
            ((4, 64), {"shape": (-8, -8)}, "an image is"),
            ((4, 8, 8), {"count": 0}, "misclassified: count=0: it is a whole number from 1 on"),
        ],
        ids=str,
    )
    def test_what_is_no_image_is_refused(self, shape, options, message):
        with pytest.raises(ValueError, match=message):
            misclassified(np.zeros(shape), [0, 1, 0, 2], self.CHANCES, NAMES, **options)

    def test_probabilities_of_other_classes(self):
        with pytest.raises(ValueError, match=r"probabilities of shape \(4, 3\), but 2 names"):
            misclassified(np.zeros((4, 8, 8)), [0, 1, 0, 1], self.CHANCES, NAMES[:2])


def tile(figure, i, high, wide, in_a_row):
    """Filter ``i`` of a sheet of them, each of whose numbers is a square of pixels."""
    times = -(-24 // min(high, wide))
    row, column = divmod(i, in_a_row)
    top, left = row * (high * times + 2), column * (wide * times + 2)
    found = pixels(figure.axes[0])[top : top + high * times, left : left + wide * times]
    assert (found == found[::times, ::times].repeat(times, axis=0).repeat(times, axis=1)).all()
    return found[::times, ::times]


class TestFilters:
    def test_grey_kernels(self, device):
        net = xn.Sequential(xn.Conv2d(6, 3), xn.Flatten(), xn.Affine(2)).build((8, 8, 1), device=device)
        figure = drawn(first_layer_filters(net))
        weights = net.parameters.snapshot()["0.W"]
        for i in range(6):
            np.testing.assert_allclose(tile(figure, i, 3, 3, 6), weights[:, :, 0, i])
        sheet, bar = figure.axes
        assert pixels(sheet).shape == (24, 6 * 24 + 5 * 2)
        assert np.ma.is_masked(sheet.get_images()[0].get_array()[0, 25])  # between two of them
        assert sheet.get_images()[0].get_clim() == pytest.approx((-abs(weights).max(), abs(weights).max()))
        assert bar.get_ylabel() == "weight"

    def test_kernels_in_colour(self):
        net = xn.Sequential(xn.Conv2d(4, 5), xn.Flatten(), xn.Affine(2)).build((8, 8, 3))
        figure = drawn(first_layer_filters(net))
        one = net.parameters.snapshot()["0.W"][..., 2].astype(np.float64)
        np.testing.assert_allclose(tile(figure, 2, 5, 5, 4), (one - one.min()) / np.ptp(one))
        assert figure.axes[0].get_title() == "0.W: 4 kernels of 5 x 5 pixels"

    def test_kernels_of_other_channels_are_their_mean(self):
        net = xn.Sequential(xn.Conv2d(4, 3), xn.Flatten(), xn.Affine(2)).build((8, 8, 2))
        figure = drawn(first_layer_filters(net))
        mean = net.parameters.snapshot()["0.W"][..., 1].mean(axis=2)
        np.testing.assert_allclose(tile(figure, 1, 3, 3, 4), mean, rtol=1e-6)
        assert figure.axes[0].get_title().endswith("mean of 2 channels")

    @pytest.mark.parametrize(
        ("build", "shape"), [((8, 8, 1), None), (64, (8, 8)), ((8, 8, 1), (8, 8))], ids=["images", "flat", "said too"]
    )
    def test_affine_on_images(self, build, shape):
        flatten = [] if build == 64 else [xn.Flatten()]
        net = xn.Sequential(*flatten, xn.Affine(5), xn.ReLU(), xn.Affine(2)).build(build)
        figure = drawn(first_layer_filters(net, shape))
        weights = net.parameters.snapshot()[f"{len(flatten)}.W"]
        np.testing.assert_allclose(tile(figure, 3, 8, 8, 5), weights[:, 3].reshape(8, 8))

    def test_affine_on_columns(self):
        net = xn.Sequential(xn.Affine(7), xn.ReLU(), xn.Affine(2)).build(3)
        axes, bar = drawn(first_layer_filters(net, names=["age", "height", "weight"])).axes
        np.testing.assert_allclose(pixels(axes), net.parameters.snapshot()["0.W"])
        assert tick_names(axes.yaxis) == ["age", "height", "weight"]
        assert (axes.get_xlabel(), axes.get_ylabel(), bar.get_ylabel()) == ("unit", "input", "weight")
        assert axes.get_title() == "0.W: weights of 3 inputs to 7 units"

    def test_sixty_four_at_most(self):
        figure = drawn(first_layer_filters(xn.Sequential(xn.Affine(70)).build(16), (4, 4)))
        assert pixels(figure.axes[0]).shape == (8 * 24 + 7 * 2, 8 * 24 + 7 * 2)
        assert figure.axes[0].get_title().endswith(", the first 64")

    def test_behind_layers_without_filters(self):
        net = xn.Sequential(xn.BatchNorm(), xn.Residual(xn.Conv2d(1, 3, padding="same")), xn.Flatten()).build((8, 8, 1))
        assert first_layer_filters(net).axes[0].get_title() == "1.0.W: 1 kernels of 3 x 3 pixels"

    def test_refused(self):
        with pytest.raises(TypeError, match="neither a Conv2d nor an Affine layer"):
            first_layer_filters(xn.Sequential(xn.BatchNorm()).build(3))
        net = xn.Sequential(xn.Affine(2)).build(12)
        with pytest.raises(ValueError, match=r"shape=\(5, 5\) has 25 pixels, the rows of shape \(12,\) have 12"):
            first_layer_filters(net, (5, 5))
        with pytest.raises(ValueError, match=r"2 names, but the layer Affine\(n_out=2\) has 12 inputs"):
            first_layer_filters(net, names=["a", "b"])
        with pytest.raises(xn.NotBuilt):
            first_layer_filters(xn.Sequential(xn.Affine(2)))

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    @pytest.mark.parametrize("layer", [xn.Affine(4), xn.Conv2d(4, 3)], ids=["columns", "kernels"])
    def test_a_weight_that_is_no_number_does_not_change_the_scale(self, layer, value):
        shape = (8,) if isinstance(layer, xn.Affine) else (6, 6, 1)
        net = xn.Sequential(layer).build(shape)
        (before,) = first_layer_filters(net).axes[0].get_images()
        largest = before.get_clim()
        smallest = int(abs(net.parameters.value).argmin())
        net.parameters.value[smallest] = value
        (after,) = drawn(first_layer_filters(net)).axes[0].get_images()
        assert after.get_clim() == pytest.approx(largest)
