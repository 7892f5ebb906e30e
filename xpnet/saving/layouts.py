"""Parameters under PyTorch's names and in its layouts, and back.

``Affine.W`` (in, out) is ``Linear.weight`` (out, in); ``Conv2d.W`` (kh, kw, in, out) is ``weight`` (out, in, kh, kw);
``gamma``, ``beta``, ``mean`` and ``variance`` are ``weight``, ``bias``, ``running_mean`` and ``running_var``; features of
flattened images change their order (:mod:`xpnet.saving.orders`). Numbers are moved, never changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from xpnet import layers
from xpnet.checks import listed
from xpnet.layers.base import Layer, Shape
from xpnet.parameters import Parameter
from xpnet.saving.orders import IMAGE, Used, trace

Arrays = dict[str, np.ndarray]
NORM = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
NAMES: dict[type[Layer], dict[str, str]] = {
    layers.Affine: {"W": "weight", "b": "bias"},
    layers.Conv2d: {"W": "weight", "b": "bias"},
    layers.BatchNorm: NORM,
    layers.LayerNorm: NORM,
    layers.GroupNorm: NORM,
}
ORDER = ("weight", "bias", "running_mean", "running_var")  # PyTorch's, within a layer
IGNORED = "num_batches_tracked"  # BatchNorm2d counts; nothing depends on it


class Place(NamedTuple):
    """Where a parameter is in PyTorch: its name, the axes in their order (None: the same), and features to be permuted."""

    name: str
    axes: tuple[int, ...] | None
    used: Used

    def shape(self, shape: Shape) -> Shape:
        return shape if self.axes is None else tuple(shape[a] for a in self.axes)

    def to_torch(self, a: np.ndarray) -> np.ndarray:
        for axis, edge in ((-1, self.used.gives), (0, self.used.takes)):
            if edge is not None and edge.order is not None:
                a = np.take(a, edge.order.indices(), axis)
        return a if self.axes is None else a.transpose(self.axes)

    def from_torch(self, a: np.ndarray) -> np.ndarray:
        a = a if self.axes is None else a.transpose(np.argsort(self.axes))
        for axis, edge in ((-1, self.used.gives), (0, self.used.takes)):
            if edge is not None and edge.order is not None:
                a = np.take(a, np.argsort(edge.order.indices()), axis)
        return a


class Layout:
    """Of the parameters of a network that has been built for samples of ``shape``, where each is in PyTorch.

    Raises :class:`xpnet.saving.orders.NoPyTorchOrder`, unless ``permutes`` is False: then features stay in their order.
    """

    def __init__(self, net: Any, shape: Shape, parameters: Iterable[Parameter], *, permutes: bool = True):
        used = trace(net, shape) if permutes else {}
        owners = {p.name: layer for layer in net.walk() for p in vars(layer).values() if isinstance(p, Parameter)}
        self._shapes = {p.name: p.shape for p in parameters}
        self._places = {name: _place(name, owners.get(name), shape, used) for name, shape in self._shapes.items()}
        taken = [place.name for place in self._places.values()]
        if twice := [name for name in taken if taken.count(name) > 1]:
            raise ValueError(f"two parameters would be called {twice[0]} in the file: give the layer's own another name")

    def to_torch(self, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """Some or all of the parameters, or arrays of their shapes such as an optimizer's, by xpnet's names."""
        found = {self._places[name].name: self._places[name].to_torch(a) for name, a in arrays.items()}
        return {name: found[name] for name in self._ranked() if name in found}

    def from_torch(self, arrays: Mapping[str, np.ndarray], what: str, *, names: Iterable[str] | None = None) -> Arrays:
        """The inverse, by xpnet's names, all or ``names``; ValueError where one is missing, unknown or of another shape."""
        wanted = {self._places[name].name: name for name in (self._shapes if names is None else names)}
        given = {name: a for name, a in arrays.items() if name.rpartition(".")[2] != IGNORED}
        if missing := [name for name in wanted if name not in given]:
            raise ValueError(f"{what} has no {listed(missing)}; it has {listed(list(given))}")
        if unknown := [name for name in given if name not in wanted]:
            raise ValueError(f"{what} has {listed(unknown)}, which the network has not; it has {listed(list(wanted))}")
        for theirs, ours in wanted.items():
            needed = self._places[ours].shape(self._shapes[ours])
            if given[theirs].shape != needed:
                raise ValueError(f"{what}: {theirs} has shape {given[theirs].shape}, the network needs {needed}")
            if given[theirs].dtype.kind not in "fiub":
                raise ValueError(f"{what}: {theirs} is of type {given[theirs].dtype}, numbers are needed")
        return {ours: self._places[ours].from_torch(given[theirs]) for theirs, ours in wanted.items()}

    def in_order(self, arrays: Mapping[str, np.ndarray], what: str) -> Arrays:
        """The same arrays under the network's names, given one after another in the order of the layers."""
        values = [a for name, a in arrays.items() if name.rpartition(".")[2] != IGNORED]
        names = self._ranked()
        if len(values) != len(names):
            raise ValueError(f"{what} has {len(values)} arrays, the network {len(names)}: {listed(names)}")
        leaves = [name.rpartition(".")[2] for name in arrays if name.rpartition(".")[2] != IGNORED]
        for given, wanted in zip(leaves, (name.rpartition(".")[2] for name in names), strict=True):
            if given in ORDER and given != wanted:
                raise ValueError(
                    f"{what} has {listed(leaves)} one after another, the network {listed(names)}: give them as "
                    f"module.state_dict() does (files of safetensors have them sorted by name)"
                )
        return dict(zip(names, values, strict=True))

    def _ranked(self) -> list[str]:
        """PyTorch's names: layers as they come, within one in PyTorch's order."""
        split = [place.name.rpartition(".") for place in self._places.values()]
        ranks = {path: i for i, path in enumerate(dict.fromkeys(path for path, _, _ in split))}
        leaves = {leaf: i for i, leaf in enumerate(ORDER)}
        return ["".join(name) for name in sorted(split, key=lambda name: (ranks[name[0]], leaves.get(name[2], len(ORDER))))]


def _place(name: str, layer: Layer | None, shape: Shape, used: Mapping[str, Used]) -> Place:
    path, _, leaf = name.rpartition(".")
    names = next((NAMES[kind] for kind in type(layer).__mro__ if kind in NAMES), {})
    axes: tuple[int, ...] | None = None
    if isinstance(layer, layers.Affine) and leaf == "W":
        axes = (1, 0)
    elif isinstance(layer, layers.Conv2d) and leaf == "W":
        axes = (3, 2, 0, 1)
    elif isinstance(layer, layers.LayerNorm) and len(shape) == IMAGE:
        axes = (2, 0, 1)
    return Place(f"{path}.{names.get(leaf, leaf)}" if path else names.get(leaf, leaf), axes, used.get(name, Used()))
