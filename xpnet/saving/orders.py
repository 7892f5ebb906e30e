"""The order of features where images have been flattened: xpnet's channels come last, PyTorch's first.

``Flatten`` makes (H, W, C) a row whose element ``(h * W + w) * C + c`` PyTorch has at ``(c * H + h) * W + w``. What follows
works on that order until an ``Affine`` mixes the features. :func:`trace` follows a network once and says, for every
parameter with an axis of such features, in which order PyTorch has them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from xpnet import layers
from xpnet.layers.base import Layer, Shape
from xpnet.layers.containers import IMAGE_AXES, Branches, Chain
from xpnet.parameters import Parameter

IMAGE = IMAGE_AXES


class NoPyTorchOrder(ValueError):
    """No order of features fits the whole network."""


class Image(NamedTuple):
    """Features that were an image of this shape."""

    shape: Shape

    def indices(self) -> np.ndarray:
        """For each of PyTorch's features the index of xpnet's."""
        return np.arange(np.prod(self.shape, dtype=np.int64)).reshape(self.shape).transpose(2, 0, 1).reshape(-1)


def of_image(shape: Shape) -> Image | None:
    """The order of an image's features; None where both are the same: one channel, or one pixel."""
    return None if shape[2] == 1 or shape[:2] == (1, 1) else Image(shape)


class Parts(NamedTuple):
    """Features that are others' side by side: of each its width, and its order (None: the same in both)."""

    parts: tuple[tuple[int, Any], ...]

    def indices(self) -> np.ndarray:
        starts = np.cumsum([0, *(width for width, _ in self.parts)])
        found = [np.arange(width) if order is None else order.indices() for width, order in self.parts]
        return np.concatenate([start + part for start, part in zip(starts, found, strict=False)])


class Edge:
    """What passes from one layer to the next; where its features' order must be one with another's, the two are joined."""

    def __init__(self, order: Image | Parts | None = None, *, fixed: bool = False):
        self._order, self._fixed, self._joined = order, fixed or order is not None, None

    def root(self) -> Any:
        return self if self._joined is None else self._joined.root()

    @property
    def order(self) -> Image | Parts | None:
        return self.root()._order

    def settle(self) -> None:
        """Let nothing that comes later decide the order."""
        self.root()._fixed = True

    def join(self, other: Edge, layer: Layer) -> None:
        """Have one order for both; :class:`NoPyTorchOrder` where they disagree."""
        a, b = self.root(), other.root()
        if a._fixed and b._fixed and a._order != b._order:
            raise NoPyTorchOrder(
                f"{layer!r} takes features of a flattened image in an order that PyTorch, with its channels first, cannot give"
            )
        if a is not b:
            first, second = (a, b) if a._fixed else (b, a)
            second._joined = first


class Used(NamedTuple):
    """The features of a parameter's axes: of those that it takes, the first of a weight's, and of those that it gives."""

    takes: Edge | None = None
    gives: Edge | None = None


def trace(net: Chain, shape: Shape) -> dict[str, Used]:
    """By the name of the parameter: what is to be permuted. ``net`` has been built for samples of ``shape``."""
    found: dict[str, Used] = {}
    _chain(net, shape, Edge(), found)
    return found


def _chain(chain: Chain, shape: Shape, edge: Edge, found: dict[str, Used]) -> Edge:
    for layer, before, after in zip(chain.layers, chain.shapes, chain.shapes[1:], strict=False):
        edge = _through(layer, before, after, edge, found)
    return edge


def _through(layer: Layer, shape: Shape, out: Shape, edge: Edge, found: dict[str, Used]) -> Edge:
    """The edge behind a layer."""
    if isinstance(layer, layers.Residual):
        around = edge if layer.shortcut is None else _through(layer.shortcut, shape, out, edge, found)
        behind = _chain(layer, shape, edge, found)
        behind.join(around, layer)
        return behind
    if isinstance(layer, Chain):
        return _chain(layer, shape, edge, found)
    if isinstance(layer, Branches):
        return _joined(layer, shape, edge, found)
    if isinstance(layer, layers.Flatten | layers.Reshape):
        return _reshaped(layer, shape, out, edge)
    own = [p for p in vars(layer).values() if isinstance(p, Parameter)]
    if isinstance(layer, layers.Affine) and len(shape) == 1:
        behind = Edge()
        found[layer.W.name] = Used(edge, behind)
        if layer.b is not None:
            found[layer.b.name] = Used(gives=behind)
        return behind
    if isinstance(layer, layers.GroupNorm) and len(shape) == 1:
        edge.join(Edge(fixed=True), layer)  # its groups are of neighbours
    elif isinstance(layer, layers.BatchNorm | layers.LayerNorm) and len(shape) == 1:
        found.update({p.name: Used(gives=edge) for p in own})
    elif type(layer).__module__.partition(".")[0] != "xpnet" and (own or any(layer.walk())):
        edge.join(Edge(fixed=True), layer)  # of a user's own nothing is known
    return edge if out == shape and (len(shape) == 1 or not own) else Edge()


def _joined(layer: Branches, shape: Shape, edge: Edge, found: dict[str, Used]) -> Edge:
    ends = [_through(branch, shape, out, edge, found) for branch, out in zip(layer.branches, layer.shapes, strict=True)]
    if not isinstance(layer, layers.Concatenate):
        for end in ends[1:]:
            end.join(ends[0], layer)
        return ends[0]
    if len(layer.joined_shape()) > 1:
        return Edge()
    for end in ends:
        end.settle()
    return Edge(Parts(tuple((out[0], end.order) for out, end in zip(layer.shapes, ends, strict=True))))


def _reshaped(layer: Layer, shape: Shape, out: Shape, edge: Edge) -> Edge:
    """Between images and rows PyTorch's order is that of its channels; other shapes but images are alike in both."""
    if shape == out:
        return edge
    before, after = (of_image(s) if len(s) == IMAGE else None for s in (shape, out))
    if len(shape) == 1:
        edge.join(Edge(after, fixed=True), layer)
    elif len(out) == 1:
        return Edge(before, fixed=True)
    elif before or after:
        raise NoPyTorchOrder(f"{layer!r} takes the numbers of {shape} to {out} in an order that PyTorch does not have")
    return Edge()
