"""Convolution as products of patches and kernel, for any kernel, stride, padding, dilation and groups.

Patches are gathered for a few rows of output at a time: never all of them, which would take kernel-size times the memory.
"""

from __future__ import annotations

import functools

from xpnet.backends.device import Array
from xpnet.layers.convolution.geometry import Geometry
from xpnet.parameters import Parameter
from xpnet.step import Pass

FEW_CHANNELS = 8  # below it patches are stored tap after tap, each for all pixels: longer runs of memory are copied


class Im2col:
    """The general method. ``budget`` bounds the bytes of the patches that are in memory at once."""

    name = "im2col"

    def __init__(self, geometry: Geometry, budget: int):
        self.geometry, self.budget, self.weight_size = geometry, budget, geometry.weights

    def forward(self, x: Array, W: Parameter, y: Array, step: Pass) -> None:
        kernel = self._kernel(W, step)
        for images, first, last in self._chunks(len(x)):
            taken = step.arena.scratch.taken
            out = y[images, first:last].reshape(-1, y.shape[-1])
            self._products(self._patches(x[images], first, last, step), kernel, out, step)
            step.arena.scratch.taken = taken

    def backward(self, x: Array, dy: Array, W: Parameter, dx: Array | None, step: Pass) -> None:
        groups, o = self.geometry.groups, W.shape[-1]
        shape = (groups, W.size // o, o // groups)

        def ungroup(total: Array, step: Pass) -> None:
            step.xp.copyto(W.grad.reshape(shape[1], groups, shape[2]), total.transpose(1, 0, 2))

        def product(patches: Array, gradients: Array, out: Array) -> None:
            self._each(patches, gradients, out.reshape(shape), step)

        with step.total(W, *((shape, ungroup) if groups > 1 else ())) as total:
            for images, first, last in self._chunks(len(x)):
                taken = step.arena.scratch.taken
                gradients = self._by_group(dy[images, first:last].reshape(-1, o), step)
                begun = step.arena.scratch.taken
                patches = self._patches(x[images], first, last, step).transpose(0, 2, 1)
                total.add(functools.partial(product, patches, gradients), step)
                step.arena.scratch.taken = begun
                if dx is not None:
                    if first == 0:
                        dx[images].fill(0)
                    patches = step.scratch((groups, gradients.shape[1], shape[1]))
                    self._each(gradients, self._kernel(W, step).transpose(0, 2, 1), patches, step)
                    self._scatter(patches, first, last, dx[images], step)
                step.arena.scratch.taken = taken

    def workspace(self, n: int) -> int:
        """Elements that a pass over ``n`` images works in: the patches."""
        images, first, last = self._chunks(n)[0]
        g = self.geometry
        return (images.stop - images.start) * (last - first) * g.columns.windows * g.patch * g.groups

    def _chunks(self, n: int) -> list[tuple[slice, int, int]]:
        """Images and rows of output to be taken at a time."""
        height, width, _ = self.geometry.output
        row_bytes = width * self.geometry.patch * self.geometry.groups * 4
        images = max(1, min(n, self.budget // (row_bytes * height)))
        rows = height if images > 1 else max(1, min(height, self.budget // row_bytes))
        return [
            (slice(i, min(i + images, n)), j, min(j + rows, height))
            for i in range(0, n, images)
            for j in range(0, height, rows)
        ]

    def _patches(self, x: Array, first: int, last: int, step: Pass) -> Array:
        """(groups, pixels, elements of a patch) for the rows of output from ``first`` to ``last`` of images ``x``."""
        g, xp = self.geometry, step.xp
        across, c = g.columns, x.shape[-1]
        padded = self._padded(x, first, last, step)
        n, s = len(x), padded.strides
        down, kernels, channels = last - first, (g.rows.kernel, g.columns.kernel), (g.groups, c // g.groups)
        shape = (n, down, across.windows, *kernels, *channels)
        strides = (s[0], g.rows.stride * s[1], across.stride * s[2], g.rows.dilation * s[1], across.dilation * s[2])
        source = xp.lib.stride_tricks.as_strided(padded, shape, (*strides, channels[1] * s[3], s[3]))
        pixels = n * down * across.windows
        if channels[1] < FEW_CHANNELS:
            found = step.scratch((g.groups, *kernels, channels[1], n, down, across.windows))
            xp.copyto(found, source.transpose(5, 3, 4, 6, 0, 1, 2))
            return found.reshape(g.groups, g.patch, pixels).transpose(0, 2, 1)
        found = step.scratch((g.groups, n, down, across.windows, *kernels, channels[1]))
        xp.copyto(found, source.transpose(5, 0, 1, 2, 3, 4, 6))
        return found.reshape(g.groups, pixels, g.patch)

    def _padded(self, x: Array, first: int, last: int, step: Pass) -> Array:
        """The rows that are needed of the images, with their padding; a part of ``x`` itself where there is none."""
        (rows, columns), (n, height, width, c) = self.geometry[:2], x.shape
        top = first * rows.stride - rows.before
        bottom = (last - 1) * rows.stride - rows.before + rows.reach
        inside = slice(max(top, 0), max(min(bottom, height), 0))
        if top >= 0 and bottom <= height and not columns.before and columns.after <= 0:
            return x[:, inside]
        padded = step.scratch((n, bottom - top, columns.before + width + max(columns.after, 0), c))
        padded.fill(0)
        step.xp.copyto(padded[:, inside.start - top : inside.stop - top, columns.before : columns.before + width], x[:, inside])
        return padded

    def _scatter(self, patches: Array, first: int, last: int, dx: Array, step: Pass) -> None:
        """Add every element of the patches to the pixel that it was taken from."""
        rows, columns, c, _, groups = self.geometry
        c //= groups
        taps = patches.reshape(groups, len(dx), last - first, columns.windows, rows.kernel, columns.kernel, c)
        for i in range(rows.kernel):
            down, image_rows = rows.inside(i, first, last)
            for j in range(columns.kernel):
                across, image_columns = columns.inside(j)
                for k in range(groups):
                    target = dx[:, image_rows, image_columns, k * c : (k + 1) * c]
                    step.xp.add(target, taps[k, :, down, across, i, j], out=target)

    def _kernel(self, W: Parameter, step: Pass) -> Array:
        """(groups, elements of a patch, n_out / groups)."""
        groups, o = self.geometry.groups, W.shape[-1]
        return step.once((W, "groups"), lambda step: self._by_group(W.value.reshape(W.size // o, o), step, keep=groups > 1))

    def _by_group(self, matrix: Array, step: Pass, keep: bool = False) -> Array:
        """(rows, columns) as (groups, rows, columns / groups)."""
        groups, (n, columns) = self.geometry.groups, matrix.shape
        apart = matrix.reshape(n, groups, columns // groups).transpose(1, 0, 2)
        if groups == 1:
            return apart
        found = (step.keep if keep else step.scratch)(apart.shape)
        step.xp.copyto(found, apart)
        return found

    def _products(self, a: Array, b: Array, out: Array, step: Pass) -> None:
        """The groups' products side by side in ``out`` (pixels, n_out)."""
        groups, n, columns = len(a), out.shape[0], b.shape[2]
        if groups == 1:
            step.xp.matmul(a[0], b[0], out=out)
            return
        apart = step.scratch((groups, n, columns))
        self._each(a, b, apart, step)
        step.xp.copyto(out.reshape(n, groups, columns), apart.transpose(1, 0, 2))

    def _each(self, a: Array, b: Array, out: Array, step: Pass) -> None:
        """One product for each group: of two dimensions, the quickest everywhere."""
        for k in range(len(a)):
            step.xp.matmul(a[k], b[k], out=out[k])
