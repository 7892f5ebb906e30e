"""Affine maps and changes of shape as ONNX nodes: they take channels last."""

from __future__ import annotations

import math

from xpnet import layers
from xpnet.onnx.write.graph import Emitter, Graph, Value


def affine(layer: layers.Affine, x: Value, graph: Graph, path: str) -> Value:
    """Gemm with the weight as PyTorch has it, (out, in); where samples have more axes MatMul with (in, out), and Add."""
    x, shape = graph.placed(x, first=False), (*x.shape[:-1], layer.n_out)
    rows, weight = len(shape) == 1, graph.array(layer.W)
    tensor = graph.tensor(f"{path}.weight", weight.T if rows else weight)
    bias = [graph.tensor(f"{path}.bias", graph.array(layer.b))] if layer.b else []
    if rows:
        return graph.node("Gemm", x, path, tensor, *bias, shape=shape, transB=1)
    y = graph.node("MatMul", x, path, tensor, shape=shape)
    return graph.node("Add", y, path, *bias) if bias else y


def flatten(layer: layers.Flatten, x: Value, graph: Graph, path: str) -> Value:
    return graph.node("Flatten", graph.placed(x, first=False), path, shape=(math.prod(x.shape),), axis=1)


def reshape(layer: layers.Reshape, x: Value, graph: Graph, path: str) -> Value:
    size, known = math.prod(x.shape), math.prod(n for n in layer.shape if n != -1)
    shape = tuple(size // known if n == -1 else n for n in layer.shape)
    target = graph.tensor(f"{path}.shape", (0, *shape))  # 0: as many rows as there are
    return graph.node("Reshape", graph.placed(x, first=False), path, target, shape=shape)


TABLE: dict[type, Emitter] = {layers.Affine: affine, layers.Flatten: flatten, layers.Reshape: reshape}
