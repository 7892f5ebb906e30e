"""Convolution by Winograd's minimal filtering: fewer multiplications, for a few more additions.

Tiles of 4x4 outputs come from windows of t x t inputs, t = r + 3 for a kernel r x r: ``y = A ((G w G') * (B x B')) A'``, where
the products over channels are t * t matrix products. Lavin and Gray, CVPR 2016; the matrices are Toom's and Cook's. A
transform is a thin matrix product along each axis. The backward pass is the adjoint of every step.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

from xpnet.backends.device import Array, Device, DTypeLike
from xpnet.layers.convolution.geometry import Axis, Geometry
from xpnet.parameters import Parameter
from xpnet.step import Pass

TILE = 4  # outputs along a side
POINTS = {  # for each size of kernel where polynomials are evaluated, infinity aside: of many tried those of the smallest error
    2: (0, Fraction(3, 4), Fraction(-3, 4), -2),
    3: (0, Fraction(5, 8), Fraction(-5, 8), Fraction(3, 2), Fraction(-3, 2)),
    4: (0, Fraction(1, 2), Fraction(-1, 2), Fraction(9, 8), Fraction(-9, 8), Fraction(5, 2)),
    5: (0, 1, -1, 2, -2, Fraction(1, 2), Fraction(-1, 2)),
}
Matrix = tuple[tuple[float, ...], ...]


class Winograd:
    """Kernels r x r of stride 1. ``budget`` bounds the bytes of one array of the workspace.

    Arrays of the transformed domain are (t, t, n, tiles down, tiles across, channels).
    """

    name = "winograd"

    def __init__(self, geometry: Geometry, budget: int):
        self.geometry, self.r = geometry, geometry.rows.kernel
        self.t = self.r + TILE - 1
        self.weight_size = self.t * self.t * geometry.channels * geometry.n_out
        self.budget = max(budget, self.weight_size)  # bytes: a fourth of the kernel's, which every product reads
        self.down, self.across = (-(-axis.windows // TILE) for axis in geometry[:2])

    def forward(self, x: Array, W: Parameter, y: Array, step: Pass) -> None:
        """``y`` = the convolution of ``x`` with ``W`` (r, r, C, O)."""
        t, (_, _, c, o) = self.t, W.shape
        A, _, B = matrices(self.r, step.device, step.dtype)
        U = step.once((W, "U"), functools.partial(self._kernel, W))
        for images, first, last in self._chunks(len(x)):
            taken = step.arena.scratch.taken
            V = self._windows(x[images], B, first, last, self._before, step)
            M = step.scratch((*V.shape[:5], o))
            step.xp.matmul(V.reshape(t * t, -1, c), U, out=M.reshape(t * t, -1, o))
            self._tiles(M, A, y[images, TILE * first : TILE * last], step)
            step.arena.scratch.taken = taken

    def backward(self, x: Array, dy: Array, W: Parameter, dx: Array | None, step: Pass) -> None:
        """Assign ``W.grad``, which is summed over tiles before it is transformed back, and ``dx`` if there is one."""
        t, (_, _, c, o) = self.t, W.shape
        A, _, B = matrices(self.r, step.device, step.dtype)
        with step.total(W, (t * t, c, o), functools.partial(self._kernel_gradient, W)) as total:
            for images, first, last in self._chunks(len(x)):
                taken = step.arena.scratch.taken
                Q = self._windows(dy[images], A.T, first, last, (0, 0), step)
                begun = step.arena.scratch.taken
                V = self._windows(x[images], B, first, last, self._before, step)
                total.add_product(V.reshape(t * t, -1, c).transpose(0, 2, 1), Q.reshape(t * t, -1, o), step)
                step.arena.scratch.taken = begun
                if dx is not None:
                    dV = step.scratch((*Q.shape[:5], c))
                    UT = step.once((W, "U transposed"), functools.partial(self._transposed_kernel, W))
                    step.xp.matmul(Q.reshape(t * t, -1, o), UT, out=dV.reshape(t * t, -1, c))
                    self._add_windows(dV, B, first, dx[images], step)
                step.arena.scratch.taken = taken

    def workspace(self, n: int) -> int:
        """Elements that a pass over ``n`` images works in."""
        images, first, last = next(self._chunks(n))
        tiles = (images.stop - images.start) * (last - first) * self.across
        windows = 2 * self.t * (TILE + self.t) * tiles * self.geometry.channels
        return self.t * self.t * tiles * (self.geometry.channels + self.geometry.n_out) + windows

    @property
    def _before(self) -> tuple[int, int]:
        return self.geometry.rows.before, self.geometry.columns.before

    def _chunks(self, n: int) -> Iterator[tuple[slice, int, int]]:
        """Images and rows of tiles to be taken at a time."""
        row_bytes = self.t * self.t * self.across * (self.geometry.channels + self.geometry.n_out) * 2
        images = max(1, min(n, self.budget // (row_bytes * self.down)))
        rows = self.down if images > 1 else max(1, min(self.down, self.budget // row_bytes))
        for i, first in itertools.product(range(0, n, images), range(0, self.down, rows)):
            yield slice(i, min(i + images, n)), first, min(first + rows, self.down)

    def _windows(self, x: Array, matrix: Array, first: int, last: int, before: tuple[int, int], step: Pass) -> Array:
        """Windows of images ``x``, one every 4 pixels from ``before`` the image on, transformed by ``matrix`` on both axes."""
        xp, (t, length), (n, height, width, c) = step.xp, matrix.shape, x.shape
        down, across = last - first, self.across
        found = step.scratch((t, t, n, down, across, c))
        taken = step.arena.scratch.taken
        rows = Axis(height, TILE * (down - 1) + length, 1, before[0] - TILE * first)
        shape = (length, n, rows.kernel, across, c)
        apart = step.lasting((rows.within, width, before[1], shape), shape)  # what lies outside the image stays zero
        self._take_apart(x, apart, rows, before[1], step)
        half = step.scratch((t, n, rows.kernel, across * c))
        xp.matmul(matrix, apart.reshape(length, -1), out=half.reshape(t, -1))
        s = half.strides
        windows = xp.lib.stride_tricks.as_strided(half, (t, n, down, length, across * c), (s[0], s[1], TILE * s[2], s[2], s[3]))
        xp.matmul(matrix, windows, out=found.reshape(t, t, n, down, across * c).transpose(1, 2, 3, 0, 4))
        step.arena.scratch.taken = taken  # the memory of what led here may serve what follows
        return found

    def _take_apart(self, x: Array, apart: Array, rows: Axis, left: int, step: Pass) -> None:
        """``apart[k]`` (n, rows, across, C) = element k of the windows along the width; they begin ``left`` pixels before."""
        xp, (low, high) = step.xp, rows.within
        inside, image = apart[:, :, low:high], x[:, low - rows.before : high - rows.before]
        n, height, width, c = image.shape
        s = image.strides
        starts = [TILE * tile - left for tile in range(self.across)]
        for (begin, end), alike in itertools.groupby(starts, lambda start: (max(0, -start), min(len(apart), width - start))):
            first, *others = alike
            if begin < end and n:
                shape = (end - begin, n, height, 1 + len(others), c)
                strides = (s[2], s[0], s[1], TILE * s[2], s[3])
                windows = xp.lib.stride_tricks.as_strided(image[:, :, first + begin :], shape, strides)
                tile = (first + left) // TILE
                xp.copyto(inside[begin:end, :, :, tile : tile + 1 + len(others)], windows)

    def _put_together(self, apart: Array, dx: Array, rows: Axis, left: int, overlap: int, step: Pass) -> None:
        """The adjoint of :meth:`_take_apart`; the first ``overlap`` rows are added to what is there."""
        add, (low, high) = step.xp.add, rows.within
        inside, image = apart[:, :, low:high], dx[:, low - rows.before : high - rows.before]
        add(inside[TILE : left + TILE, :, :, :-1], inside[:left, :, :, 1:], out=inside[TILE : left + TILE, :, :, :-1])
        own = inside[left : len(apart) - TILE, :, :, 1:]
        add(own, inside[left + TILE :, :, :, :-1], out=own)
        for own, pixels in self._own_pixels(inside, image, left):
            add(pixels[:, :, :overlap], own[:, :, :overlap], out=pixels[:, :, :overlap])
            step.xp.copyto(pixels[:, :, overlap:], own[:, :, overlap:])

    def _own_pixels(self, apart: Array, x: Array, left: int) -> Iterator[tuple[Array, Array]]:
        """Parts of ``apart`` that hold every pixel of ``x`` once, and those pixels, both (4 or fewer, n, rows, tiles, C).

        Of a tile's window these are the 4 elements from ``left`` on; what is left of the image is the last tile's.
        """
        n, height, width, c = x.shape
        whole = min(self.across, width // TILE)
        yield (
            apart[left : left + TILE, :, :, :whole],
            x[:, :, : TILE * whole].reshape(n, height, whole, TILE, c).transpose(3, 0, 1, 2, 4),
        )
        if rest := width - TILE * whole:
            tile = min(whole, self.across - 1)
            start = left + TILE * (whole - tile)
            yield apart[start : start + rest, :, :, tile : tile + 1], x[:, :, TILE * whole :, None].transpose(2, 0, 1, 3, 4)

    def _add_windows(self, dV: Array, B: Array, first: int, dx: Array, step: Pass) -> None:
        """The adjoint of :meth:`_windows`: give every pixel of images ``dx`` the sum of what its windows got."""
        xp, (t, _, n, down, across, c) = step.xp, dV.shape
        rows = Axis(dx.shape[1], TILE * (down - 1) + t, 1, self._before[0] - TILE * first)
        half = step.scratch((t, n, rows.kernel, across * c))
        own = half[:, :, : TILE * down].reshape(t, n, down, TILE, across * c)
        over = step.scratch((t, n, down, t - TILE, across * c))  # rows that belong to the next tiles too
        gradients = dV.reshape(t, t, n, down, across * c).transpose(1, 2, 3, 0, 4)
        xp.matmul(B.T[:TILE], gradients, out=own)
        xp.matmul(B.T[TILE:], gradients, out=over)
        xp.add(own[:, :, 1:, : t - TILE], over[:, :, :-1], out=own[:, :, 1:, : t - TILE])
        xp.copyto(half[:, :, TILE * down :], over[:, :, -1])
        apart = step.scratch((t, n, rows.kernel, across, c))
        xp.matmul(B.T, half.reshape(t, -1), out=apart.reshape(t, -1))
        self._put_together(apart, dx, rows, self._before[1], t - TILE if first else 0, step)

    def _tiles(self, M: Array, A: Array, y: Array, step: Pass) -> None:
        """The inverse transform into ``y`` (n, H, W, O); what sticks out of it is dropped."""
        xp, (t, _, n, down, across, o), (height, width) = step.xp, M.shape, y.shape[1:3]
        apart, lines = step.scratch((t, TILE, n, down, across, o)), step.scratch((n, down, t, across, TILE, o))
        xp.matmul(A, M.reshape(t, t, -1), out=apart.reshape(t, TILE, -1))
        xp.copyto(lines.transpose(2, 4, 0, 1, 3, 5), apart)
        lines = lines.reshape(n, down, t, across * TILE * o)[..., : width * o]
        whole, rest = divmod(height, TILE)
        xp.matmul(A, lines[:, :whole], out=y[:, : TILE * whole].reshape(n, whole, TILE, width * o))
        if rest:
            xp.matmul(A[:rest], lines[:, whole], out=y[:, TILE * whole :].reshape(n, rest, width * o))

    def _kernel(self, W: Parameter, step: Pass) -> Array:
        """``G w G'`` for every pair of channels: (r, r, C, O) -> (t * t, C, O)."""
        return self._transformed(W.value, step)

    def _transposed_kernel(self, W: Parameter, step: Pass) -> Array:
        return self._transformed(W.value.transpose(0, 1, 3, 2), step)

    def _transformed(self, w: Array, step: Pass) -> Array:
        r, t, (c, o) = self.r, self.t, w.shape[2:]
        G = matrices(r, step.device, step.dtype)[1]
        flat, half, whole = step.scratch(w.shape), step.scratch((t, r * c * o)), step.keep((t, t, c * o))
        step.xp.copyto(flat, w)
        step.xp.matmul(G, flat.reshape(r, -1), out=half)
        step.xp.matmul(G, half.reshape(t, r, c * o), out=whole)
        return whole.reshape(t * t, c, o)

    def _kernel_gradient(self, W: Parameter, total: Array, step: Pass) -> None:
        """The adjoint of :meth:`_kernel`: (t * t, C, O) -> ``W.grad``."""
        r, t = self.r, self.t
        G = matrices(r, step.device, step.dtype)[1]
        half = step.scratch((t, r, W.size // (r * r)))
        step.xp.matmul(G.T, total.reshape(t, t, -1), out=half)
        step.xp.matmul(G.T, half.reshape(t, -1), out=W.grad.reshape(r, -1))


def matrices(r: int, device: Device, dtype: DTypeLike) -> tuple[Array, Array, Array]:
    """A (4, t), G (t, r) and B (t, t) on a device: shared, not to be written to."""
    return tuple(device.constant(sum(m, ()), dtype).reshape(len(m), len(m[0])) for m in toom_cook(r))


@functools.cache
def toom_cook(r: int) -> tuple[Matrix, Matrix, Matrix]:
    """A, G and B of F(4, r), exact fractions rounded once.

    The rows of B are divided by powers of two to entries of about 1, by which those of G grow: products of numbers alike
    in size lose the fewest digits.
    """
    points = POINTS[r]
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
        found = [a - root * b for a, b in zip([Fraction(0), *found], [*found, Fraction(0)], strict=True)]
    return found
