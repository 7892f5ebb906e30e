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
        self.strides = geometry.rows.stride, geometry.columns.stride

    def forward(self, x: Array, W: Parameter, y: Array, step: Pass) -> None:
        step.xp.matmul(self._pixels(x, step), self._kernel(W.value), out=step.rows(y))

    def weight_gradient(self, x: Array, dy: Array, W: Parameter, step: Pass) -> None:
        pixels = self._pixels(x, step)
        with step.total(W) as total:
            total.add(lambda out: step.xp.matmul(pixels.T, step.rows(dy), out=self._kernel(out)), step)

    def input_gradient(self, dy: Array, W: Parameter, dx: Array, step: Pass) -> None:
        if self.strides == (1, 1):
            step.xp.matmul(step.rows(dy), self._kernel(W.value).T, out=step.rows(dx))
            return
        apart = self._seen(dx)
        pixels = step.scratch(apart.shape)
        step.xp.matmul(step.rows(dy), self._kernel(W.value).T, out=step.rows(pixels))
        dx.fill(0)
        step.xp.copyto(apart, pixels)

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
