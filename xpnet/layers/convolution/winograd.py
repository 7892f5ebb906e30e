"""Convolution by Winograd's minimal filtering: fewer multiplications, for a few more additions.

Tiles of 4x4 outputs come from windows of t x t inputs, t = r + 3 for a kernel r x r: ``Y = A' [(G w G') * (B' x B)] A``,
the products over channels being t * t matrix products. Lavin and Gray, CVPR 2016; the matrices are Toom and Cook's.
Every transform is a thin matrix product, first along the width of the images, then along their height.
"""

from __future__ import annotations

import functools
import math
from fractions import Fraction

from xpnet.backends.device import Array, Device, DTypeLike
from xpnet.layers.convolution.geometry import Axis, Geometry
from xpnet.parameters import Parameter
from xpnet.step import Pass

TILE = 4  # outputs along a side
POINTS = (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2))  # where polynomials are evaluated, infinity aside
Matrix = tuple[tuple[float, ...], ...]


class Winograd:
    """Kernels r x r of stride 1. ``budget`` bounds the bytes of one array of the workspace."""

    name = "winograd"

    def __init__(self, geometry: Geometry, budget: int):
        self.geometry, self.budget = geometry, budget
        self.r = geometry.rows.kernel
        self.t = self.r + TILE - 1

    def forward(self, x: Array, W: Parameter, y: Array, step: Pass) -> None:
        """``y`` = the convolution of ``x`` with ``W`` (r, r, C, O)."""
        U = step.once((W, "kernel"), lambda step: self._kernel(W.value, step))
        self._convolve(x, U, y, self.geometry.rows.before, self.geometry.columns.before, step)

    def input_gradient(self, dy: Array, W: Parameter, dx: Array, step: Pass) -> None:
        """``dx`` = the convolution of ``dy`` with the kernel turned by 180 degrees, its channels exchanged."""
        U = step.once((W, "turned kernel"), lambda step: self._kernel(W.value[::-1, ::-1].transpose(0, 1, 3, 2), step))
        top, left = (self.r - 1 - axis.before for axis in (self.geometry.rows, self.geometry.columns))
        self._convolve(dy, U, dx, top, left, step)

    def weight_gradient(self, x: Array, dy: Array, W: Parameter, step: Pass) -> None:
        """Assign ``W.grad``, which is summed over tiles before it is transformed."""
        t, (_, _, c, o) = self.t, W.shape
        rows, columns = self.geometry.rows, self.geometry.columns
        A, _, B = matrices(self.r, step.device, step.dtype)
        with step.total(W, (t * t, c, o), functools.partial(self._kernel_gradient, W=W)) as total:
            for images, first, last in self._chunks(dy.shape, c):
                taken = step.arena.scratch.taken
                V = self._windows(x[images], B, (rows.before, columns.before), first, last, dy.shape, step)
                Q = self._windows(dy[images], A.T, (0, 0), first, last, dy.shape, step)
                total.add_product(V.reshape(t * t, -1, c).transpose(0, 2, 1), Q.reshape(t * t, -1, o), step)
                step.arena.scratch.taken = taken

    def _convolve(self, x: Array, U: Array, y: Array, top: int, left: int, step: Pass) -> None:
        t, (_, c, o) = self.t, U.shape
        A, _, B = matrices(self.r, step.device, step.dtype)
        for images, first, last in self._chunks(y.shape, c):
            taken = step.arena.scratch.taken
            V = self._windows(x[images], B, (top, left), first, last, y.shape, step)
            M = step.scratch((*V.shape[:5], o))
            step.xp.matmul(V.reshape(t * t, -1, c), U, out=M.reshape(t * t, -1, o))
            self._tiles(M, A, y[images, TILE * first : TILE * last], step)
            step.arena.scratch.taken = taken

    def _chunks(self, shape: tuple[int, ...], c: int) -> list[tuple[slice, int, int]]:
        """Images and rows of tiles to be taken at a time, for an output of this shape."""
        n, height, width, o = shape
        down, across = -(-height // TILE), -(-width // TILE)
        row_bytes = self.t * self.t * across * max(c, o) * 4
        images = max(1, min(n, self.budget // (row_bytes * down)))
        tiles = down if images > 1 else max(1, min(down, self.budget // row_bytes))
        return [
            (slice(i, min(i + images, n)), j, min(j + tiles, down)) for i in range(0, n, images) for j in range(0, down, tiles)
        ]

    def _windows(
        self, x: Array, matrix: Array, before: tuple[int, int], first: int, last: int, shape: tuple[int, ...], step: Pass
    ) -> Array:
        """Windows of ``x`` (n, H, W, C), one every 4 pixels, transformed on both axes: (t, t, n, down, across, C).

        ``matrix`` is (t, length of a window); the first window begins ``before`` the image, ``first`` to ``last`` are its rows.
        """
        xp, (t, length), (n, height, width, c) = step.xp, matrix.shape, x.shape
        down, across = last - first, -(-shape[2] // TILE)
        top, rows = TILE * first - before[0], TILE * (down - 1) + length
        found = step.scratch((t, t, n, down, across * c))
        taken = step.arena.scratch.taken
        apart = step.scratch((length, n, rows, across, c))
        self._gather(x, apart, top, before[1], step)
        half = step.scratch((t, n, rows, across * c))
        xp.matmul(matrix, apart.reshape(length, -1), out=half.reshape(t, -1))
        s = half.strides
        windows = xp.lib.stride_tricks.as_strided(half, (t, n, down, length, across * c), (s[0], s[1], TILE * s[2], s[2], s[3]))
        xp.matmul(matrix, windows, out=found.transpose(1, 2, 3, 0, 4))
        step.arena.scratch.taken = taken  # what follows may have the memory of what led here
        return found.reshape(t, t, n, down, across, c)

    def _gather(self, x: Array, apart: Array, top: int, left: int, step: Pass) -> None:
        """``apart[k]`` (n, rows, across, C) = element k of the windows along the width, zeros where those leave the image.

        The first window begins ``left`` pixels before the image, its row number 0 is row ``top`` of the image.
        """
        length, _, rows, across, _ = apart.shape
        height, width = x.shape[1:3]
        source = slice(max(top, 0), max(min(top + rows, height), 0))
        apart[:, :, : source.start - top] = 0
        apart[:, :, source.stop - top :] = 0
        inside = apart[:, :, source.start - top : source.stop - top]
        first, last = -(-left // TILE), max((width + left - length) // TILE + 1, 0)  # windows wholly inside
        if first < last:
            start = TILE * first - left
            pixels = x[:, source, start : start + TILE * (last - first - 1) + length]
            n, down, _, c = pixels.shape
            s = pixels.strides
            windows = step.xp.lib.stride_tricks.as_strided(
                pixels, (length, n, down, last - first, c), (s[2], s[0], s[1], TILE * s[2], s[3])
            )
            step.xp.copyto(inside[:, :, :, first:last], windows)
        for tile in (*range(min(first, across)), *range(max(first, last), across)):
            start = TILE * tile - left
            low, high = max(-start, 0), max(min(width - start, length), 0)
            inside[:low, :, :, tile] = 0
            inside[high:, :, :, tile] = 0
            step.xp.copyto(inside[low:high, :, :, tile], x[:, source, start + low : start + high].transpose(2, 0, 1, 3))

    def _tiles(self, M: Array, A: Array, y: Array, step: Pass) -> None:
        """The inverse transform into ``y`` (n, H, W, O); what sticks out of it is dropped."""
        xp, (t, _, n, down, across, o) = step.xp, M.shape
        half = step.scratch((t, n, down, TILE, across * o))
        xp.matmul(A, M.reshape(t, t, n, down, -1).transpose(1, 2, 3, 0, 4), out=half)
        apart = step.scratch((TILE, n, TILE * down, across, o))
        xp.matmul(A, half.reshape(t, -1), out=apart.reshape(TILE, -1))
        height, width = y.shape[1:3]
        rows, whole = apart[:, :, :height].transpose(1, 2, 3, 0, 4), width // TILE
        xp.copyto(y[:, :, : TILE * whole].reshape(n, height, whole, TILE, o), rows[:, :, :whole])
        if width % TILE:
            xp.copyto(y[:, :, TILE * whole :], rows[:, :, whole, : width % TILE])

    def _kernel(self, w: Array, step: Pass) -> Array:
        """``G w G'`` for every pair of channels: (r, r, C, O) -> (t * t, C, O)."""
        r, _, c, o = w.shape
        G = matrices(self.r, step.device, step.dtype)[1]
        flat = step.scratch((r, r, c, o))
        step.xp.copyto(flat, w)
        half, whole = step.scratch((self.t, r * c * o)), step.keep((self.t, self.t, c * o))
        step.xp.matmul(G, flat.reshape(r, -1), out=half)
        step.xp.matmul(G, half.reshape(self.t, r, c * o), out=whole)
        return whole.reshape(self.t * self.t, c, o)

    def _kernel_gradient(self, total: Array, step: Pass, W: Parameter) -> None:
        """The adjoint of :meth:`_kernel`: (t * t, C, O) -> ``W.grad``."""
        r, t = self.r, self.t
        G = matrices(r, step.device, step.dtype)[1]
        half = step.scratch((t, r, W.size // (r * r)))
        step.xp.matmul(G.T, total.reshape(t, t, -1), out=half)
        step.xp.matmul(G.T, half.reshape(t, -1), out=W.grad.reshape(r, -1))


def matrices(r: int, device: Device, dtype: DTypeLike) -> tuple[Array, Array, Array]:
    """A' (4, t), G (t, r) and B' (t, t) on a device: shared, not to be written to."""
    return tuple(
        device.constant(sum(m, ()), dtype).reshape(len(m), len(m[0]))  # type: ignore[return-value]
        for m in toom_cook(r)
    )


@functools.cache
def toom_cook(r: int) -> tuple[Matrix, Matrix, Matrix]:
    """A', G and B' of F(4, r), exact fractions rounded once.

    The rows of B' are divided by powers of two to entries of about 1, by which those of G grow: products of numbers alike
    in size lose the fewest digits.
    """
    t = r + TILE - 1
    points = POINTS[: t - 1]
    A = [[Fraction(p) ** i for p in points] + [Fraction(i == TILE - 1)] for i in range(TILE)]
    G, B = [], []
    for p in points:
        others = [q for q in points if q != p]
        coefficients = _polynomial(others)
        size = Fraction(2) ** math.floor(math.log2(max(map(abs, coefficients))))
        G.append([Fraction(p) ** j * size / math.prod((p - q for q in others), start=Fraction(1)) for j in range(r)])
        B.append([c / size for c in coefficients] + [Fraction(0)])
    G.append([Fraction(j == r - 1) for j in range(r)])
    B.append(_polynomial(points))
    return tuple(tuple(tuple(map(float, row)) for row in m) for m in (A, G, B))  # type: ignore[return-value]


def _polynomial(roots: tuple | list) -> list[Fraction]:
    """Coefficients of the product of (x - root), lowest power first."""
    found = [Fraction(1)]
    for root in roots:
        found = [
            (a if i else 0) - root * b
            for i, (a, b) in enumerate(zip([Fraction(0), *found], [*found, Fraction(0)], strict=True))
        ]
    return found
