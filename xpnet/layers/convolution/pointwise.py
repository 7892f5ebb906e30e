"""Convolution with a kernel of one pixel: a product of pixels and kernel, no workspace."""

from __future__ import annotations

from xpnet.backends.device import Array
from xpnet.layers.convolution.geometry import Geometry
from xpnet.parameters import Parameter
from xpnet.step import Pass


class Pointwise:
    """Kernels 1x1 without padding, in one group."""

    name = "product"

    def __init__(self, geometry: Geometry, budget: int):
        self.weight_size = geometry.weights
        self.pixels, self.channels = geometry.pixels, geometry.channels
        self.strides = geometry.rows.stride, geometry.columns.stride

    def workspace(self, n: int) -> int:
        """Elements that a pass over ``n`` images works in: the pixels that windows fall on, where those are not all."""
        return 0 if self.strides == (1, 1) else n * self.pixels * self.channels

    def forward(self, x: Array, W: Parameter, y: Array, step: Pass) -> None:
        step.xp.matmul(self._pixels(x, step), self._kernel(W.value), out=step.rows(y))

    def backward(self, x: Array, dy: Array, W: Parameter, dx: Array | None, step: Pass) -> None:
        pixels, gradients = self._pixels(x, step), step.rows(dy)
        with step.total(W) as total:
            total.add(lambda out: step.xp.matmul(pixels.T, gradients, out=self._kernel(out)), step)
        if dx is None:
            return
        if self.strides == (1, 1):
            step.xp.matmul(gradients, self._kernel(W.value).T, out=step.rows(dx))
            return
        apart = step.scratch(self._seen(dx).shape)
        step.xp.matmul(gradients, self._kernel(W.value).T, out=step.rows(apart))
        dx.fill(0)
        step.xp.copyto(self._seen(dx), apart)

    def _seen(self, x: Array) -> Array:
        """The pixels that windows fall on."""
        return x[:, :: self.strides[0], :: self.strides[1]]

    def _pixels(self, x: Array, step: Pass) -> Array:
        if self.strides == (1, 1):
            return step.rows(x)
        pixels = step.scratch(self._seen(x).shape)
        step.xp.copyto(pixels, self._seen(x))
        return step.rows(pixels)

    def _kernel(self, w: Array) -> Array:
        return w.reshape(w.shape[2:])
