"""Drawings of any size in the forms of the data sets: what is found on a page, and what becomes of it."""

from __future__ import annotations

import numpy as np
import pytest

import xpnet as xn
from xpnet.preprocessing.geometry import fitted, resized, shrunk, upright
from xpnet.preprocessing.ink import find_ink
from xpnet.preprocessing.pictures import cifar_photograph, fashion_item, mnist_digit, uci_digit


def seven(height: int, width: int) -> np.ndarray:
    """A 7 in strokes a sixth of its width, 0 and 1."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return ((y < width / 6 / height) | (np.abs(x - (1 - 0.6 * y)) < 1 / 12)).astype(float)


def page(drawing: np.ndarray, shape: tuple[int, int], top: int, left: int) -> np.ndarray:
    """A drawing, light on black, somewhere on a page."""
    found = np.zeros(shape)
    found[top : top + drawing.shape[0], left : left + drawing.shape[1]] = drawing
    return found


def as_a_photo(ink: np.ndarray, rng) -> np.ndarray:
    """Dark on grey paper, with a lamp at one corner, noise, and dirt."""
    y, x = (np.linspace(-1, 1, n) for n in ink.shape)
    paper = 0.65 + 0.15 * y[:, None] - 0.1 * x - 0.05 * x * x
    grey = paper - 0.4 * ink + rng.normal(0, 0.03, ink.shape)
    grey[5:8, 5:8] -= 0.4
    return np.clip(np.round(grey * 255) / 255, 0, 1)


def read_or_blank(grey: np.ndarray) -> np.ndarray | None:
    """A picture in MNIST's form, None where it is said to be blank; any other error passes."""
    try:
        return mnist_digit(grey)[0]
    except ValueError as error:
        if "nothing drawn" in str(error):
            return None
        raise


class TestInk:
    def test_a_box_around_what_is_drawn(self):
        grey = page(seven(60, 40), (200, 300), 33, 70)
        ink = find_ink(grey)
        assert (ink.inverted, ink.page, ink.size) == (False, (200, 300), (60, 40))
        np.testing.assert_allclose(ink.strength, seven(60, 40))
        dark = find_ink(1 - grey)
        assert dark.inverted
        np.testing.assert_allclose(dark.strength, ink.strength, atol=1e-12)

    def test_faint_ink_is_stretched(self):
        ink = find_ink(0.7 - 0.15 * page(seven(60, 40), (200, 300), 33, 70))
        np.testing.assert_allclose(ink.strength, seven(60, 40), atol=1e-9)

    def test_paper_under_a_lamp_noise_and_dirt(self, rng):
        drawing = seven(120, 80)
        ink = find_ink(as_a_photo(page(drawing, (400, 500), 150, 300), rng))
        assert ink.inverted
        assert np.abs(np.subtract(ink.size, (120, 80))).max() <= 2
        again = resized(ink.strength, 120, 80)
        assert np.abs(again - drawing).mean() < 0.1

    def test_a_large_page_is_worked_on_in_small(self):
        ink = find_ink(page(seven(600, 400), (3000, 4000), 1000, 2000))
        assert ink.page == (3000, 4000)
        assert np.abs(np.subtract(ink.size, (600, 400))).max() <= 8
        assert max(ink.strength.shape) <= 160

    @pytest.mark.parametrize("level", [0, 0.5, 1])
    def test_a_blank_page(self, level, rng):
        for noise in (0, 0.03):
            grey = np.clip(level + rng.normal(0, 1, (200, 150)) * noise, 0, 1)
            with pytest.raises(ValueError, match="there is nothing drawn on it"):
                find_ink(grey)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2), (28, 28), (5000, 3)])
    def test_odd_sizes_are_read_or_blank(self, shape, rng):
        for grey in (rng.random(shape), np.zeros(shape), np.eye(*shape)):
            if (found := read_or_blank(grey)) is not None:
                assert (found.shape, found.dtype) == ((28, 28), np.float32)
                assert found.min() >= 0
                assert found.max() == 1

    def test_what_is_no_page_is_refused(self):
        for a in (np.zeros((0, 5)), np.zeros(5), np.zeros((2, 2, 3))):
            with pytest.raises(ValueError, match="a grey picture"):
                find_ink(a)

    def test_parts_near_each_other_are_one_drawing(self):
        """The bar of a 5 often stands apart."""
        drawing = page(np.ones((30, 20)), (60, 60), 25, 20) + page(np.ones((4, 20)), (60, 60), 18, 22)
        assert find_ink(drawing).size == (37, 22)


class TestMNIST:
    def test_twenty_pixels_and_the_centre_of_mass(self):
        found, said = mnist_digit(1 - page(seven(300, 200), (800, 600), 100, 350))
        rows, columns = (np.flatnonzero((found > 0.05).any(axis)) for axis in (1, 0))
        assert rows[-1] - rows[0] + 1 == 20
        assert 12 <= columns[-1] - columns[0] + 1 <= 14
        centre = [(at * found).sum() / found.sum() for at in np.indices((28, 28))]
        np.testing.assert_allclose(centre, 14, atol=0.5)
        assert said == "inverted, ink 200x300 of 600x800 scaled to 20 pixels"

    def test_its_own_pictures_come_through_unchanged(self, mnist):
        x = mnist.x_test[:200].reshape(-1, 28, 28)
        for found in ([mnist_digit(a)[0] for a in x], [mnist_digit(1 - a)[0] for a in x]):
            apart = np.abs(np.array(found) - x)
            assert apart.mean() < 0.002
            assert np.mean(apart.max(axis=(1, 2)) < 0.1) > 0.9


class TestOtherForms:
    def test_uci_digits_pass_as_they_are(self):
        data = xn.datasets.digits()
        for a in data.x_test[:20].reshape(-1, 8, 8):
            found, said = uci_digit(np.round(a * 255) / 255)
            np.testing.assert_array_equal(found, a)
            assert said == "taken as it is"

    def test_uci_counts_cover_three_tenths_and_the_full_height(self):
        for height, width in ((300, 200), (100, 90), (60, 10)):
            found, said = uci_digit(1 - page(seven(height, width), (400, 400), 50, 100))
            counts = found * 16
            np.testing.assert_array_equal(counts, np.round(counts))
            assert counts.max() <= 16
            assert 300 <= counts.sum() <= 320
            assert found[0].any()
            assert found[7].any()
            assert said.endswith("scaled to 32 pixels' height")

    def test_clothes(self):
        shirt = page(np.full((80, 60), 0.6), (200, 200), 20, 100)
        found, said = fashion_item(1 - shirt)
        assert found.shape == (28, 28)
        assert (found[:, 3:24] > 0.9).all()
        assert not found[:, :3].any()
        assert said.startswith("inverted, ink 60x80")
        own = np.zeros((28, 28))
        own[2:20, 5:20] = 0.4
        np.testing.assert_allclose(fashion_item(own)[0], own, atol=1e-7)

    def test_photographs_keep_the_middle_square(self, rng):
        photo = rng.random((64, 100, 3))
        found, said = cifar_photograph(photo)
        np.testing.assert_allclose(found, photo[:, 18:82].reshape(32, 2, 32, 2, 3).mean((1, 3)), atol=1e-6)
        assert said == "the middle 64x64 of 100x64 scaled to 32x32"


class TestGeometry:
    def test_sizes(self, rng):
        a = rng.random((12, 9))
        np.testing.assert_allclose(resized(a, 12, 9), a)
        np.testing.assert_allclose(resized(a, 4, 3), a.reshape(4, 3, 3, 3).mean((1, 3)))
        np.testing.assert_allclose(resized(resized(a, 24, 18), 12, 9).mean(), a.mean(), rtol=0.02)
        np.testing.assert_allclose(resized(np.ones((7, 5)), 3, 11), np.ones((3, 11)))
        np.testing.assert_allclose(shrunk(a, 3), resized(a, 4, 3))
        assert shrunk(a, 20).shape == (1, 1)
        assert fitted((100, 3), 20) == (20, 1)

    def test_a_slanted_stroke_is_put_upright(self):
        slanted = np.array([[float(abs(j - 30 + 0.5 * i) < 2) for j in range(40)] for i in range(40)])
        found = upright(slanted)
        assert found.shape[0] == 40
        assert found.shape[1] <= 8
        np.testing.assert_allclose(upright(np.ones((5, 1))), np.ones((5, 1)))
        np.testing.assert_allclose(upright(np.ones((1, 5))), np.ones((1, 5)))
