"""Layers that draw random numbers in training."""

from __future__ import annotations

import math

from xpnet.backends.device import Array
from xpnet.checks import check_number
from xpnet.layers.base import Layer, Shape
from xpnet.parameters import Maker
from xpnet.step import Pass


class Dropout(Layer):
    """In training each element is 0 with probability ``rate``, else divided by ``1 - rate``; else ``y = x``.

    x (N, ...) -> y of the same shape. The mask is a function of seed, step, layer and position
    alone: the same on every device. Srivastava et al., JMLR 2014 (in the "inverted" form).
    """

    blockwise = True

    def __init__(self, rate: float = 0.5):
        self.rate = check_number("Dropout(rate", rate, below=1)

    def build(self, shape: Shape, make: Maker) -> Shape:
        self.stream = make.random_stream()
        return shape

    def forward(self, x: Array, step: Pass) -> tuple[Array, Array | None]:
        if not step.training or self.rate == 0:
            return x, None
        kept = step.xp.greater_equal(step.uniform(x.shape, self.stream), self.rate, out=step.keep(x.shape, "bool"))
        return self._mask(x, kept, step), kept

    def backward(self, dy: Array, kept: Array | None, step: Pass) -> Array:
        return dy if kept is None else self._mask(dy, kept, step)

    def _mask(self, a: Array, kept: Array, step: Pass) -> Array:
        y = step.xp.multiply(a, kept, out=step.over(a))
        y *= 1 / (1 - self.rate)
        return y


class GaussianNoise(Layer):
    """In training ``y = x + std * n``, n from N(0, 1); else ``y = x``. Bishop, 1995: training with noise is regularisation.

    x (N, ...) -> y of the same shape. The numbers are Box and Muller's (1958), a function of seed, step, layer and position:
    the same on every device but for the rounding of logarithm and cosine.
    """

    blockwise = True

    def __init__(self, std: float = 0.1):
        self.std = check_number("GaussianNoise(std", std)

    def build(self, shape: Shape, make: Maker) -> Shape:
        self.stream = make.random_stream()
        return shape

    def forward(self, x: Array, step: Pass) -> tuple[Array, None]:
        if not step.training or self.std == 0:
            return x, None
        y = step.keep(x.shape)
        size = math.prod(x.shape[1:])
        noise = normal(len(x), size, self.stream, step)
        step.xp.multiply(noise, self.std, out=noise)
        step.xp.add(x.reshape(noise.shape), noise, out=y.reshape(noise.shape))
        return y, None

    def backward(self, dy: Array, cache: None, step: Pass) -> Array:
        return dy


def normal(n: int, size: int, stream: int, step: Pass) -> Array:
    """Scratch float32 numbers (n, size) from N(0, 1), those of a row a function of its place in the batch."""
    xp, half = step.xp, -(-size // 2)
    uniform = step.uniform((n, 2, half), stream)
    radius, angle = uniform[:, 0], uniform[:, 1]
    xp.subtract(1, radius, out=radius)  # in (0, 1]: its logarithm is finite
    xp.log(radius, out=radius)
    xp.multiply(radius, -2, out=radius)
    xp.sqrt(radius, out=radius)
    xp.multiply(angle, 2 * math.pi, out=angle)
    found = step.scratch((n, 2, half), "float32")
    for i, wave in enumerate((xp.cos, xp.sin)):
        wave(angle, out=found[:, i])
        xp.multiply(found[:, i], radius, out=found[:, i])
    return found.reshape(n, 2 * half)[:, :size]
