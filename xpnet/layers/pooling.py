"""Pooling: the maximum or the mean of windows, channel by channel.

A window is taken along the width first and then along the height, which gives the same with fewer operations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from xpnet.backends.device import Array
from xpnet.layers.base import Layer, Shape
from xpnet.layers.convolution.geometry import Axis, axis, check_image, check_windows, pair
from xpnet.parameters import Maker
from xpnet.step import Pass

HEIGHT, WIDTH = 1, 2  # axes of images (N, H, W, C)


class Pool2d(Layer):
    """What maximum and mean have in common: ``kernel``, ``stride`` (the kernel's if None), ``padding``, ``ceil_mode``."""

    blockwise = owns_output = owns_dx = True

    def __init__(
        self,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
        ceil_mode: bool = False,
    ):
        self.kernel, self.stride, self.padding, self.ceil_mode = kernel, stride, padding, ceil_mode
        name = type(self).__name__
        kernels = pair(f"{name}(kernel", kernel)
        pair(f"{name}(stride", kernel if stride is None else stride)
        if any(2 * p > k for p, k in zip(pair(f"{name}(padding", padding, 0), kernels, strict=True)):
            raise ValueError(f"{name}(kernel={kernel!r}, padding={padding!r}): padding is at most half of the kernel")

    def build(self, shape: Shape, make: Maker) -> Shape:
        check_image(self, shape)
        kernels, paddings = pair("", self.kernel), pair("", self.padding, 0)
        strides = kernels if self.stride is None else pair("", self.stride)
        axes = [self._rounded(axis(*numbers)) for numbers in zip(shape[:2], kernels, strides, paddings, strict=True)]
        check_windows(self, shape, *axes)
        self.rows, self.columns = axes
        return self.rows.windows, self.columns.windows, shape[2]

    def _rounded(self, a: Axis) -> Axis:
        """With ``ceil_mode`` there is room for a last window that sticks out, if it begins before the padding behind."""
        over = (a.length + a.before + a.after - a.kernel) % a.stride
        if not self.ceil_mode or not over:
            return a
        longer = a._replace(after=a.after + a.stride - over)
        return longer if (longer.windows - 1) * a.stride < a.length + a.before else a

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        return math.prod(output_shape) * (self.rows.kernel + self.columns.kernel)


class MaxPool2d(Pool2d):
    """The maximum of each window. x (N, H, W, C) -> y (N, H', W', C), H' = (H + 2 padding - kernel) // stride + 1.

    ``MaxPool2d(kernel, stride=None, padding=0, ceil_mode=False)``: numbers or pairs (height, width); the stride is the kernel's
    if None; with ``ceil_mode`` the division rounds up. Padding never wins. The gradient goes to the maximum, of equal ones
    to the first in row-major order, as in PyTorch.
    """

    def forward(self, x: Array, step: Pass) -> tuple[Array, Any]:
        across, columns = _maxima(x, WIDTH, self.columns, step.scratch, step)
        y, rows = _maxima(across, HEIGHT, self.rows, step.keep, step)
        return y, (x.shape, columns, rows)

    def backward(self, dy: Array, cache: Any, step: Pass) -> Array:
        shape, columns, rows = cache
        across = step.scratch((*shape[:2], *dy.shape[2:]))
        _give_to_maxima(dy, rows, across, HEIGHT, self.rows, step)
        dx = step.keep(shape)
        _give_to_maxima(across, columns, dx, WIDTH, self.columns, step)
        return dx


class AvgPool2d(Pool2d):
    """The mean of each window. x (N, H, W, C) -> y (N, H', W', C), sizes as in :class:`MaxPool2d`.

    Padding counts as zeros or, with ``count_include_pad=False``, not at all; what sticks out with ``ceil_mode`` never counts.
    """

    def __init__(
        self,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):
        super().__init__(kernel, stride=stride, padding=padding, ceil_mode=ceil_mode)
        self.count_include_pad = count_include_pad

    def build(self, shape: Shape, make: Maker) -> Shape:
        found = super().build(shape, make)
        paddings = pair("", self.padding, 0)
        self.weights = [self._weights(a, p) for a, p in zip((self.rows, self.columns), paddings, strict=True)]
        return found

    def _weights(self, a: Axis, padding: int) -> tuple[float, ...]:
        """1 / the number of elements that count in each window."""
        low, high = (-padding, a.length + padding) if self.count_include_pad else (0, a.length)
        starts = [i * a.stride - a.before for i in range(a.windows)]
        return tuple(1 / (min(start + a.kernel, high) - max(start, low)) for start in starts)

    def forward(self, x: Array, step: Pass) -> tuple[Array, Shape]:
        across = step.scratch((*x.shape[:2], self.columns.windows, x.shape[3]))
        _sums(x, across, WIDTH, self.columns, step)
        y = step.keep((len(x), self.rows.windows, *across.shape[2:]))
        _sums(across, y, HEIGHT, self.rows, step)
        return self._weighted(y, y, step), x.shape

    def backward(self, dy: Array, shape: Shape, step: Pass) -> Array:
        weighted = self._weighted(dy, step.scratch(dy.shape), step)
        across, dx = step.scratch((*shape[:2], *dy.shape[2:])), step.keep(shape)
        _give_to_all(weighted, across, HEIGHT, self.rows, step)
        _give_to_all(across, dx, WIDTH, self.columns, step)
        return dx

    def _weighted(self, a: Array, out: Array, step: Pass) -> Array:
        rows, columns = (step.device.constant(weights, step.dtype) for weights in self.weights)
        step.xp.multiply(a, rows.reshape(-1, 1, 1), out=out)
        return step.xp.multiply(out, columns.reshape(-1, 1), out=out)


class GlobalAvgPool2d(Layer):
    """The mean of each channel over all pixels: x (N, H, W, C) -> y (N, C). Lin, Chen and Yan, ICLR 2014."""

    blockwise = owns_output = owns_dx = wide = True

    def build(self, shape: Shape, make: Maker) -> Shape:
        check_image(self, shape)
        return shape[2:]

    def forward(self, x: Array, step: Pass) -> tuple[Array, Shape]:
        n, height, width, c = x.shape
        y = step.keep((n, c))
        step.xp.matmul(step.arena.ones(height * width), x.reshape(n, height * width, c), out=y)
        return step.xp.multiply(y, 1 / (height * width), out=y), x.shape

    def backward(self, dy: Array, shape: Shape, step: Pass) -> Array:
        n, height, width, c = shape
        share, dx = step.scratch((n, 1, 1, c)), step.keep(shape)
        step.xp.multiply(dy.reshape(share.shape), 1 / (height * width), out=share)
        step.xp.copyto(dx, share)
        return dx

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        return math.prod(shape)


def _at(axis_number: int, where: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * axis_number, where)


def _taps(number: int, a: Axis) -> tuple[list[tuple], bool]:
    """For each element of a window which windows and which elements of the image those are, and whether none is padding."""
    taps = [a.inside(k) for k in range(a.kernel)]
    whole = all(windows == slice(0, a.windows) for windows, _ in taps)
    return [(_at(number, windows), _at(number, pixels)) for windows, pixels in taps], whole


def _maxima(x: Array, number: int, a: Axis, buffer: Callable[..., Array], step: Pass) -> tuple[Array, list[Array]]:
    """Maxima along an axis, and for every element of a window but the last whether it is one."""
    xp, (taps, whole) = step.xp, _taps(number, a)
    found = buffer((*x.shape[:number], a.windows, *x.shape[number + 1 :]))
    if whole:
        xp.maximum(x[taps[0][1]], x[taps[-1][1]], out=found)
    else:
        found.fill(-math.inf)
    for windows, pixels in taps[1:-1] if whole else taps:
        xp.maximum(found[windows], x[pixels], out=found[windows])
    masks: list[Array] = []
    for windows, pixels in () if step.forward_only else taps[:-1]:
        masks.append(step.keep(found.shape, "bool"))
        if not whole:
            masks[-1].fill(False)
        xp.equal(x[pixels], found[windows], out=masks[-1][windows])
    return found, masks


def _give_to_maxima(d: Array, masks: list[Array], dx: Array, number: int, a: Axis, step: Pass) -> None:
    """The gradient of each window to its first maximum along the axis; to the last element where no other is one.

    Computed without gaps and then put in its place: twice as quick in NumPy as to compute with gaps.
    """
    xp, (taps, whole) = step.xp, _taps(number, a)
    apart = whole and a.stride >= a.kernel  # so that a gradient is assigned and not added
    if not (apart and a.windows * a.kernel == a.length):
        dx.fill(0)
    rest = d
    for k, (windows, pixels) in enumerate(taps):
        given = rest
        if k < len(masks):
            given = xp.multiply(rest, masks[k], out=step.scratch(d.shape))
            rest = xp.subtract(rest, given, out=step.scratch(d.shape))
        if apart:
            xp.copyto(dx[pixels], given)
        else:
            xp.add(dx[pixels], given[windows], out=dx[pixels])


def _sums(x: Array, out: Array, number: int, a: Axis, step: Pass) -> None:
    """Sums of windows along an axis."""
    taps, _ = _taps(number, a)
    out.fill(0)
    for windows, pixels in taps:
        step.xp.add(out[windows], x[pixels], out=out[windows])


def _give_to_all(d: Array, dx: Array, number: int, a: Axis, step: Pass) -> None:
    """The gradient of each window to all its elements along the axis."""
    taps, _ = _taps(number, a)
    dx.fill(0)
    for windows, pixels in taps:
        step.xp.add(dx[pixels], d[windows], out=dx[pixels])
