"""Layers that move images at random in training, each sample in its own way: more data than there is.

What is drawn is a function of seed, step, layer and row alone, the same on every device; nothing leaves the device.
"""

from __future__ import annotations

from typing import NamedTuple

from xpnet.backends.device import Array
from xpnet.checks import check_count
from xpnet.layers.base import Layer, Shape
from xpnet.layers.convolution.geometry import check_image, pair
from xpnet.parameters import Maker
from xpnet.step import Pass


class Moves(NamedTuple):
    """Of each sample: output row i is input row ``rows + i``, output column j is input column ``columns + signs * j``.

    int64 (N, 1) each; pixels from outside the input are 0.
    """

    rows: Array
    columns: Array
    signs: Array


class Augmentation(Layer):
    """What moves of images have in common; each makes its own. The gradient is moved back."""

    blockwise = True

    def build(self, shape: Shape, make: Maker) -> Shape:
        check_image(self, shape)
        self.stream = make.random_stream()
        self.seen, self.shown = shape[:2], self.output_size(shape[:2])
        return (*self.shown, shape[2])

    def output_size(self, size: Shape) -> Shape:
        """Height and width of the output for those of the input."""
        return size

    def moves(self, n: int, step: Pass) -> Moves | None:
        """One for each of ``n`` samples; None leaves them where they are."""
        raise NotImplementedError

    def forward(self, x: Array, step: Pass) -> tuple[Array, Moves | None]:
        moves = self.moves(len(x), step)
        return x if moves is None else moved(x, moves, self.shown, step), moves

    def backward(self, dy: Array, moves: Moves | None, step: Pass) -> Array:
        if moves is None:
            return dy
        xp, (rows, columns, signs) = step.xp, moves
        back_rows, back_columns = (step.scratch(rows.shape, "int64") for _ in range(2))
        xp.negative(rows, out=back_rows)
        xp.multiply(columns, signs, out=back_columns)
        xp.negative(back_columns, out=back_columns)
        return moved(dy, Moves(back_rows, back_columns, signs), self.seen, step)

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        return 0


class RandomShift(Augmentation):
    """In training each image is shifted by up to ``pixels`` along both axes; zeros come in. x (N, H, W, C) -> y alike."""

    def __init__(self, pixels: int):
        self.pixels = check_count("RandomShift(pixels", pixels)

    def moves(self, n: int, step: Pass) -> Moves | None:
        if not step.training:
            return None
        choices = 2 * self.pixels + 1
        rows, columns = draw(n, (choices, choices), self.stream, step)
        step.xp.subtract(rows, self.pixels, out=rows)
        step.xp.subtract(columns, self.pixels, out=columns)
        return Moves(rows, columns, same(n, 1, step))


class RandomFlip(Augmentation):
    """In training each image is mirrored left to right with probability 1/2. x (N, H, W, C) -> y of the same shape."""

    def moves(self, n: int, step: Pass) -> Moves | None:
        if not step.training:
            return None
        (mirrored,) = draw(n, (2,), self.stream, step)
        signs = step.xp.multiply(mirrored, -2, out=step.keep((n, 1), "int64"))
        step.xp.add(signs, 1, out=signs)
        step.xp.multiply(mirrored, self.seen[1] - 1, out=mirrored)
        return Moves(same(n, 0, step), mirrored, signs)


class RandomCrop(Augmentation):
    """In training a random part of each image, else its middle. x (N, H, W, C) -> y (N, height, width, C).

    ``size`` is (height, width), or a number for both; with ``padding`` the part may stick out by so many pixels, which are 0.
    """

    def __init__(self, size: int | tuple[int, int], *, padding: int = 0):
        self.size, self.padding = size, padding
        pair("RandomCrop(size", size)
        if type(padding) is not int or padding < 0:
            raise ValueError(f"RandomCrop(padding={padding!r}): it is a whole number from 0 on")

    def output_size(self, size: Shape) -> Shape:
        part = pair("", self.size)
        if any(p > s + 2 * self.padding for p, s in zip(part, size, strict=True)):
            raise ValueError(f"{self!r}: the part is larger than the images, {size[0]}x{size[1]} and their padding")
        return part

    @property
    def choices(self) -> tuple[int, ...]:
        """At how many places the part may begin, along height and width; for a built layer."""
        return tuple(s + 2 * self.padding - p + 1 for s, p in zip(self.seen, self.shown, strict=True))

    def moves(self, n: int, step: Pass) -> Moves | None:
        if not step.training:
            rows, columns = (same(n, (s - p) // 2, step) for s, p in zip(self.seen, self.shown, strict=True))
            return Moves(rows, columns, same(n, 1, step))
        starts = draw(n, self.choices, self.stream, step)
        for start in starts:
            step.xp.subtract(start, self.padding, out=start)
        return Moves(starts[0], starts[1], same(n, 1, step))


def draw(n: int, choices: tuple[int, ...], stream: int, step: Pass) -> list[Array]:
    """For each of ``n`` rows whole numbers from 0 on, below each of ``choices``: int64 (n, 1) each."""
    xp, uniform, found = step.xp, step.uniform((n, len(choices)), stream), []
    for i, count in enumerate(choices):
        scaled = xp.multiply(uniform[:, i : i + 1], count, out=step.scratch((n, 1), "float32"))
        found.append(step.keep((n, 1), "int64"))
        xp.copyto(found[-1], xp.floor(scaled, out=scaled), casting="unsafe")
    return found


def same(n: int, value: int, step: Pass) -> Array:
    """One number for each of ``n`` rows: int64 (n, 1)."""
    found = step.keep((n, 1), "int64")
    found.fill(value)
    return found


def moved(x: Array, moves: Moves, size: Shape, step: Pass) -> Array:
    """Images ``x`` (N, H, W, C) as seen through windows of ``size`` (height, width)."""
    xp, (n, height, width, c) = step.xp, x.shape
    y = step.keep((n, *size, c))
    ones = step.scratch((n, 1), "int64")
    ones.fill(1)
    rows, inside_rows = places(moves.rows, ones, size[0], height, step)
    columns, inside_columns = places(moves.columns, moves.signs, size[1], width, step)
    images = xp.multiply(step.device.arange(n).reshape(n, 1), height, out=ones)
    xp.add(rows, images, out=rows)
    xp.multiply(rows, width, out=rows)
    pixels = xp.add(rows[:, :, None], columns[:, None, :], out=step.scratch((n, *size), "int64"))
    step.device.gather(x.reshape(n * height * width, c), pixels.reshape(-1), y.reshape(-1, c))
    inside = xp.logical_and(inside_rows[:, :, None], inside_columns[:, None, :], out=step.scratch((n, *size), "bool"))
    return xp.multiply(y, inside[..., None], out=y)


def places(starts: Array, signs: Array, count: int, length: int, step: Pass) -> tuple[Array, Array]:
    """``starts + signs * (0, 1, ...)`` (N, count), brought into the length, and which of them lay in it."""
    xp, shape = step.xp, (len(starts), count)
    wanted, found = step.scratch(shape, "int64"), step.scratch(shape, "int64")
    xp.multiply(step.device.arange(count), signs, out=wanted)
    xp.add(wanted, starts, out=wanted)
    xp.maximum(wanted, 0, out=found)
    xp.minimum(found, length - 1, out=found)
    return found, xp.equal(found, wanted, out=step.scratch(shape, "bool"))
