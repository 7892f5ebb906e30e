"""Activations, and what does nothing in inference."""

from __future__ import annotations

from collections.abc import Callable

from xpnet import layers
from xpnet.layers.base import Layer
from xpnet.onnx.read.graph import Graph, Node, Operator, Value


def pointwise(make: Callable[[Node], Layer]) -> Operator:
    """An operator that is a layer whatever the shape."""
    return lambda node, graph: graph.value(node).then(make(node), node)


def swish(node: Node) -> Layer:
    node.only(alpha=1.0)
    return layers.SiLU()


def softmax(node: Node, graph: Graph) -> Value:
    """Over the channels or the last axis."""
    x = graph.value(node)
    axis = node.axis(node.get("axis", -1), x)
    if axis == 1:
        return x.channels_first(node).then(layers.Softmax(), node)
    if axis != len(x.dims):
        node.refuse(f"attribute axis={node.get('axis')}: xpnet's is over the channels or the last axis")
    return x.as_it_is(node).then(layers.Softmax(), node)


def nothing(node: Node, graph: Graph) -> Value:
    return graph.value(node)


def dropout(node: Node, graph: Graph) -> Value:
    """Nothing, unless it is told to drop."""
    if graph.has(node, 2) and graph.fixed(node, 2).any():
        node.refuse("training_mode is on: export the model in inference mode")
    return graph.value(node)


def cast(node: Node, graph: Graph) -> Value:
    """To the dtype that it has."""
    expected = {"float32": 1, "float64": 11}[graph.dtype.name]
    node.only(to=expected)
    return graph.value(node)


TABLE: dict[str, Operator] = {
    "Relu": pointwise(lambda node: layers.ReLU()),
    "LeakyRelu": pointwise(lambda node: layers.LeakyReLU(node.get("alpha", 0.01))),
    "Sigmoid": pointwise(lambda node: layers.Sigmoid()),
    "Tanh": pointwise(lambda node: layers.Tanh()),
    "Elu": pointwise(lambda node: layers.ELU(node.get("alpha", 1.0))),
    "Gelu": pointwise(lambda node: layers.GELU(node.get("approximate", "none"))),
    "Swish": pointwise(swish),
    "Softplus": pointwise(lambda node: layers.Softplus()),
    "Softmax": softmax,
    "Identity": nothing,
    "Dropout": dropout,
    "Cast": cast,
}
