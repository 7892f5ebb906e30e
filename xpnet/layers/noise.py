"""Layers that draw random numbers in training."""

from __future__ import annotations

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
