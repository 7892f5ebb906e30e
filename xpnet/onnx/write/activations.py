"""Activations as ONNX nodes: they take either layout."""

from __future__ import annotations

from xpnet import layers
from xpnet.onnx.write.graph import Emitter, Graph, Value


def plain(op: str) -> Emitter:
    """A layer that is one operator without attributes."""
    return lambda layer, x, graph, path: graph.node(op, x, path)


def leaky_relu(layer: layers.LeakyReLU, x: Value, graph: Graph, path: str) -> Value:
    return graph.node("LeakyRelu", x, path, alpha=layer.slope)


def elu(layer: layers.ELU, x: Value, graph: Graph, path: str) -> Value:
    return graph.node("Elu", x, path, alpha=layer.alpha)


def gelu(layer: layers.GELU, x: Value, graph: Graph, path: str) -> Value:
    return graph.node("Gelu", x, path, approximate=layer.approximate)


def silu(layer: layers.SiLU, x: Value, graph: Graph, path: str) -> Value:
    return graph.node("Mul", x, path, graph.node("Sigmoid", x, path).name)


def softmax(layer: layers.Softmax, x: Value, graph: Graph, path: str) -> Value:
    return graph.node("Softmax", x, path, axis=1 if x.first else -1)


def step(layer: layers.Step, x: Value, graph: Graph, path: str) -> Value:
    above = graph.node("Greater", x, path, graph.tensor(f"{path}.zero", 0.0))
    return graph.node("Cast", above, path, to=graph.onnx.helper.np_dtype_to_tensor_dtype(graph.dtype))


TABLE: dict[type, Emitter] = {
    layers.ReLU: plain("Relu"),
    layers.LeakyReLU: leaky_relu,
    layers.Sigmoid: plain("Sigmoid"),
    layers.Tanh: plain("Tanh"),
    layers.ELU: elu,
    layers.GELU: gelu,
    layers.SiLU: silu,
    layers.Softplus: plain("Softplus"),
    layers.Softmax: softmax,
    layers.Step: step,
}
