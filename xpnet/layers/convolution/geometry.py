"""Shapes of windows that slide over images: kernel, stride, padding, dilation."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

from xpnet.layers.base import Shape

Pair = tuple[int, int]
CHANNELS_LAST = "channels come last here: x.transpose(0, 2, 3, 1)"
LEAST_SIDE = 7  # of what may be an image


class Axis(NamedTuple):
    """One axis of an image and of the windows on it: ``length`` elements, ``before`` and ``after`` of padding."""

    length: int
    kernel: int
    stride: int = 1
    before: int = 0
    after: int = 0
    dilation: int = 1

    @property
    def reach(self) -> int:
        """Elements from the first to the last of a window."""
        return self.dilation * (self.kernel - 1) + 1

    @property
    def windows(self) -> int:
        """Windows."""
        return (self.length + self.before + self.after - self.reach) // self.stride + 1

    @property
    def within(self) -> Pair:
        """From which of its elements on the first window lies in the image, and up to which."""
        return max(self.before, 0), min(self.before + self.length, self.kernel)

    def inside(self, tap: int, first: int = 0, last: int | None = None) -> tuple[slice, slice]:
        """Of windows ``first`` to ``last``: those whose element number ``tap`` is no padding, and which elements they are."""
        last = self.windows if last is None else last
        offset = tap * self.dilation - self.before
        begin = max(first, -(offset // self.stride))
        end = min(last, (self.length - 1 - offset) // self.stride + 1)
        if begin >= end:
            return slice(0, 0), slice(0, 0)
        start = begin * self.stride + offset
        return slice(begin - first, end - first), slice(start, start + (end - begin - 1) * self.stride + 1, self.stride)


class Geometry(NamedTuple):
    """A convolution of images (height, width, channels) to ``n_out`` channels, in ``groups``."""

    rows: Axis
    columns: Axis
    channels: int
    n_out: int
    groups: int = 1

    @property
    def output(self) -> Shape:
        return self.rows.windows, self.columns.windows, self.n_out

    @property
    def pixels(self) -> int:
        """Output pixels of one sample."""
        return self.rows.windows * self.columns.windows

    @property
    def weights(self) -> int:
        """Elements of the kernel."""
        return self.patch * self.n_out

    @property
    def patch(self) -> int:
        """Input elements that an output element is computed from."""
        return self.rows.kernel * self.columns.kernel * self.channels // self.groups


def pair(name: str, value: Any, least: int = 1) -> Pair:
    """A whole number for both axes, or one for each."""
    both = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value, value)
    if len(both) != 2 or not all(type(n) is int and n >= least for n in both):
        raise ValueError(f"{name}={value!r}): a whole number from {least} on, or a pair of them (height, width)")
    return both


def axis(length: int, kernel: int, stride: int, padding: int | str, dilation: int = 1) -> Axis:
    """An axis with its padding in numbers. "same": ceil(length / stride) windows, the odd element after (as TensorFlow)."""
    if padding == "same":
        windows = -(-length // stride)
        total = max((windows - 1) * stride + dilation * (kernel - 1) + 1 - length, 0)
        return Axis(length, kernel, stride, total // 2, total - total // 2, dilation)
    both = 0 if isinstance(padding, str) else padding
    return Axis(length, kernel, stride, both, both, dilation)


def check_image(layer: Any, shape: Shape) -> None:
    """Refuse samples that are no images."""
    if len(shape) == 3 and shape[0] in (1, 3) and shape[1] == shape[2] > LEAST_SIDE:
        warnings.warn(f"{layer!r}: samples of shape {shape} look like (channels, height, width); {CHANNELS_LAST}", stacklevel=2)
    if len(shape) != 3:
        image = {1: "(height, width, channels)", 2: str((*shape, 1))}.get(len(shape))
        hint = f"; put Reshape({image}) before it" if image else ""
        raise ValueError(f"{layer!r} needs images (N, height, width, channels), the samples here have shape {shape}{hint}")


def check_windows(layer: Any, shape: Shape, *axes: Axis) -> None:
    """Refuse windows that are larger than the padded image."""
    for a in axes:
        if a.windows < 1:
            padded = [b.length + b.before + b.after for b in axes]
            hint = f"; if they are (channels, height, width): {CHANNELS_LAST}" if shape[0] < min(shape[1:]) else ""
            raise ValueError(
                f"{layer!r}: a window reaches over {tuple(b.reach for b in axes)} pixels, the image with its padding has "
                f"{tuple(padded)}: samples of shape {shape} are too small{hint}"
            )
