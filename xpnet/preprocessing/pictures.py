"""Pictures of any size in the forms of the data sets, as their authors made them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xpnet.preprocessing.geometry import blurred, fitted, resized, upright
from xpnet.preprocessing.ink import Ink, find_ink


class Form(NamedTuple):
    """How a data set's pictures were made: ``read`` takes one in [0, 1] to (pixels of ``shape``, what was done in words)."""

    name: str
    shape: tuple[int, ...]
    read: Callable[[np.ndarray], tuple[np.ndarray, str]]

    @property
    def channels(self) -> int:
        return self.shape[2] if len(self.shape) == 3 else 1


def mnist_digit(grey: np.ndarray) -> tuple[np.ndarray, str]:
    """A digit ``grey`` (H, W) in [0, 1], dark on light or light on dark, in MNIST's form (28, 28); and what was done.

    "Normalized to fit in a 20x20 pixel box while preserving their aspect ratio", with grey levels from anti-aliasing, "and
    centered in a 28x28 image by computing the center of mass of the pixels" (Y. LeCun, C. Cortes, C. J. C. Burges).
    Raises ValueError for a blank page.
    """
    ink = find_ink(grey)
    height, width = fitted(ink.strength.shape, 20)
    digit = resized(ink.strength, height, width)
    digit /= digit.max()
    rows, columns = np.indices(digit.shape)
    top, left = (
        min(max(round(14 - float((at * digit).sum() / digit.sum())), 0), 28 - n)
        for at, n in zip((rows, columns), digit.shape, strict=True)
    )
    page = np.zeros((28, 28), np.float32)
    page[top : top + height, left : left + width] = digit
    return page, told(ink, "20 pixels")


def uci_digit(grey: np.ndarray) -> tuple[np.ndarray, str]:
    """A digit ``grey`` (H, W) in [0, 1] in the form of the UCI digits (8, 8), counts 0..16 over 16; and what was done.

    NIST's routines made bitmaps of 32x32: the digit upright, 20 wide (a 1 less) and 32 high, strokes as wide as to cover
    three tenths; in blocks of 4x4 the pixels that are on were counted (M. D. Garris et al.: NIST Form-Based Handprint
    Recognition System, NISTIR 5469, 1994; the figures are the data's). Raises ValueError for a blank page.
    """
    if grey.shape == (8, 8) and _is_dark(grey):
        return np.round(np.asarray(grey, np.float32) * 16) / 16, "taken as it is"
    ink = find_ink(grey)
    digit = upright(ink.strength)
    natural = round(32 * digit.shape[1] / digit.shape[0])
    width = 20 if natural > 10 else max(natural, 4)
    bitmap = np.zeros((32, 32))
    left = (32 - width) // 2
    bitmap[:, left : left + width] = resized(digit, 32, width)
    counts = _even_strokes(bitmap).reshape(8, 4, 8, 4).sum((1, 3))
    return counts.astype(np.float32) / 16, told(ink, "32 pixels' height")


def fashion_item(grey: np.ndarray) -> tuple[np.ndarray, str]:
    """A piece of clothing ``grey`` (H, W) in [0, 1], on a plain background, in Fashion-MNIST's form (28, 28).

    Trimmed, its longest side resized to 28 pixels, put in the middle of a black square, negated where the background is
    light (H. Xiao, K. Rasul, R. Vollgraf, 2017; they sharpened it too). Raises ValueError for a blank page.
    """
    if grey.shape == (28, 28) and _is_dark(grey):
        return np.asarray(grey, np.float32), "taken as it is"
    ink = find_ink(grey)
    height, width = fitted(ink.strength.shape, 28)
    top, left = (28 - height) // 2, (28 - width) // 2
    page = np.zeros((28, 28), np.float32)
    page[top : top + height, left : left + width] = resized(ink.strength, height, width)
    return page, told(ink, "28 pixels")


def cifar_photograph(colour: np.ndarray) -> tuple[np.ndarray, str]:
    """The square in the middle of a photograph ``colour`` (H, W, 3) in [0, 1], resized to (32, 32, 3)."""
    height, width = colour.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = colour[top : top + side, left : left + side]
    planes = [resized(square[..., k], 32, 32) for k in range(3)]
    return np.stack(planes, axis=-1).astype(np.float32), f"the middle {side}x{side} of {width}x{height} scaled to 32x32"


FORMS = {  # by what `xpnet train NAME` stores as the data set's name
    "mnist": Form("MNIST", (28, 28), mnist_digit),
    "fashion-mnist": Form("Fashion-MNIST", (28, 28), fashion_item),
    "digits": Form("the UCI digits", (8, 8), uci_digit),
    "cifar10": Form("CIFAR-10", (32, 32, 3), cifar_photograph),
}


def told(ink: Ink, scaled: str) -> str:
    """What was done with a drawing, in words; sizes are width x height."""
    (height, width), (h, w) = ink.page, ink.size
    return f"{'inverted, ' if ink.inverted else ''}ink {w}x{h} of {width}x{height} scaled to {scaled}"


def _even_strokes(bitmap: np.ndarray) -> np.ndarray:
    """A bitmap (32, 32) in black and white with three tenths of its pixels on, its strokes widened or thinned for that."""
    count = round(0.3 * bitmap.size)
    nearness = blurred(bitmap, 2) + 1e-4 * blurred(bitmap, 12)  # the latter decides far from thin strokes
    return nearness >= np.partition(nearness.ravel(), -count)[-count]


def _is_dark(grey: np.ndarray) -> bool:
    """Whether the border of a picture is black for the most part."""
    border = np.concatenate([grey[0], grey[-1], grey[1:-1, 0], grey[1:-1, -1]])
    return bool(np.median(border) <= 0.1)
