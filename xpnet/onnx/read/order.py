"""In which order a tensor of ONNX has the elements of a sample that xpnet has with the channels last."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from xpnet.layers.base import Shape


class Order(NamedTuple):
    """ONNX's elements, one after another, are those of ``x.reshape(dims).transpose(axes)``, x being xpnet's.

    Neighbouring axes that stay neighbours are one, axes of length 1 none: equal orders are equal tuples. How either side
    cuts its elements into axes does not count, so a Reshape, there or here, changes no order.
    """

    dims: Shape
    axes: Shape

    @classmethod
    def same(cls, size: int) -> Order:
        """That of xpnet."""
        return cls((size,), (0,)) if size > 1 else cls((), ())

    @classmethod
    def first(cls, shape: Shape) -> Order:
        """That of a sample of this shape with its channels, the last axis, brought to the front."""
        return cls.same(math.prod(shape)).transposed(shape, (len(shape) - 1, *range(len(shape) - 1)))

    @property
    def is_same(self) -> bool:
        return len(self.axes) < 2

    def transposed(self, shape: Shape, axes: Shape) -> Order:
        """After ONNX has transposed a tensor, which it had in this shape.

        Raises ValueError where its axes cut through those of before, so that no transposition expresses both.
        """
        pieces = self._pieces(shape)
        moved = [piece for axis in axes for piece in pieces[axis]]
        places = {piece: i for i, piece in enumerate(sorted(moved))}
        sizes = [size for _, _, size in sorted(moved)]
        return _joined(sizes, [places[piece] for piece in moved])

    def features(self) -> np.ndarray:
        """Of each of ONNX's elements, in its order, the number of the element that xpnet has."""
        return np.arange(math.prod(self.dims)).reshape(self.dims).transpose(self.axes).reshape(-1)

    def _pieces(self, shape: Shape) -> list[list[tuple[int, int, int]]]:
        """For each axis of ``shape`` the parts of ``dims`` that make it: which axis, which part of that, how long."""
        rest, found = [(axis, 0, self.dims[axis]) for axis in self.axes], []
        for length in shape:
            parts: list[tuple[int, int, int]] = []
            while length > 1:
                axis, part, size = rest.pop(0)
                taken = min(size, length)
                if size % taken or length % taken:
                    raise ValueError("its axes cannot be traced back to those of an image or a row")
                parts.append((axis, part, taken))
                if size > taken:
                    rest.insert(0, (axis, part + 1, size // taken))
                length //= taken
            found.append(parts)
        return found


def _joined(sizes: list[int], axes: list[int]) -> Order:
    """An order in its only form: of axes longer than 1, neighbours that stayed together joined."""
    groups: list[list[int]] = []
    for axis in axes:
        if groups and axis == groups[-1][-1] + 1:
            groups[-1].append(axis)
        else:
            groups.append([axis])
    ranked = sorted(groups)
    return Order(
        tuple(math.prod(sizes[axis] for axis in group) for group in ranked), tuple(ranked.index(group) for group in groups)
    )
