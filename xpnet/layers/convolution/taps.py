"""Convolution of every channel with a kernel of its own (depthwise), tap by tap: sums of shifted images."""

from __future__ import annotations

from collections.abc import Iterator

from xpnet.backends.device import Array
from xpnet.layers.convolution.geometry import Geometry
from xpnet.parameters import Parameter
from xpnet.step import Pass


class Taps:
    """As many groups as channels, one output each: products would be too thin."""

    name = "taps"

    def __init__(self, geometry: Geometry, budget: int):
        self.geometry, self.weight_size = geometry, geometry.weights

    def workspace(self, n: int) -> int:
        """Elements that a pass over ``n`` images works in: one tap's products."""
        return n * self.geometry.pixels * self.geometry.channels

    def forward(self, x: Array, W: Parameter, y: Array, step: Pass) -> None:
        y.fill(0)
        for i, j, pixels, windows in self._taps():
            self._add(y[windows], x[pixels], W.value[i, j, 0], step)

    def backward(self, x: Array, dy: Array, W: Parameter, dx: Array | None, step: Pass) -> None:
        def sums(out: Array) -> None:
            for i, j, pixels, windows in self._taps():
                taken = step.arena.scratch.taken
                product = step.scratch(dy[windows].shape)
                step.xp.multiply(x[pixels], dy[windows], out=product)
                step.sum_rows(step.rows(product), out=out[i, j, 0])
                step.arena.scratch.taken = taken

        with step.total(W) as total:
            total.add(sums, step)
        if dx is not None:
            dx.fill(0)
            for i, j, pixels, windows in self._taps():
                self._add(dx[pixels], dy[windows], W.value[i, j, 0], step)

    def _add(self, target: Array, source: Array, vector: Array, step: Pass) -> None:
        taken = step.arena.scratch.taken
        product = step.scratch(source.shape)
        step.xp.multiply(source, vector, out=product)
        step.xp.add(target, product, out=target)
        step.arena.scratch.taken = taken

    def _taps(self) -> Iterator[tuple[int, int, tuple, tuple]]:
        """Every element of the kernel, the pixels it meets and the outputs they go to."""
        rows, columns = self.geometry[:2]
        for i in range(rows.kernel):
            down, image_rows = rows.inside(i)
            for j in range(columns.kernel):
                across, image_columns = columns.inside(j)
                yield i, j, (slice(None), image_rows, image_columns), (slice(None), down, across)
