"""Layers made of layers as ONNX nodes, and those that do nothing in inference."""

from __future__ import annotations

from collections.abc import Iterable

from xpnet import layers
from xpnet.layers.base import Layer
from xpnet.network import Sequential
from xpnet.onnx.write.graph import Emitter, Graph, Value


def nothing(layer: Layer, x: Value, graph: Graph, path: str) -> Value:
    return x


def chain(layer: Sequential | layers.Residual, x: Value, graph: Graph, path: str) -> Value:
    for i, child in enumerate(layer.layers):
        x = graph.layer(child, x, inside(path, i))
    return x


def residual(layer: layers.Residual, x: Value, graph: Graph, path: str) -> Value:
    around = graph.layer(layer.shortcut, x, inside(path, "shortcut")) if layer.shortcut else x
    y, around = alike([chain(layer, x, graph, path), around], graph)
    return graph.node("Add", y, path, around.name)


def add(layer: layers.Add, x: Value, graph: Graph, path: str) -> Value:
    y, *others = alike(branches(layer, x, graph, path), graph)
    return graph.node("Sum", y, path, *(other.name for other in others))


def concatenate(layer: layers.Concatenate, x: Value, graph: Graph, path: str) -> Value:
    y, *others = alike(branches(layer, x, graph, path), graph)
    axis, names = 1 if y.first else -1, [other.name for other in others]
    return graph.node("Concat", y, path, *names, shape=layer.joined_shape(), axis=axis)


def branches(layer: layers.Add | layers.Concatenate, x: Value, graph: Graph, path: str) -> list[Value]:
    return [graph.layer(branch, x, inside(path, i)) for i, branch in enumerate(layer.branches)]


def alike(values: Iterable[Value], graph: Graph) -> list[Value]:
    """All in the layout of the first."""
    found = list(values)
    return [graph.placed(value, first=found[0].first) for value in found]


def inside(path: str, name: int | str) -> str:
    """The path of a child, as the network names its parameters."""
    return f"{path}.{name}" if path else str(name)


TABLE: dict[type, Emitter] = {
    Sequential: chain,
    layers.Residual: residual,
    layers.Add: add,
    layers.Concatenate: concatenate,
    **dict.fromkeys(
        (layers.Identity, layers.Dropout, layers.GaussianNoise, layers.RandomFlip, layers.RandomShift),
        nothing,
    ),
}
