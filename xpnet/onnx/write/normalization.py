"""Normalisation as ONNX nodes; gamma and beta are called weight and bias, as PyTorch calls them."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet import layers
from xpnet.layers.base import Shape
from xpnet.onnx.write.graph import Emitter, Graph, Value


def batch_norm(layer: layers.BatchNorm, x: Value, graph: Graph, path: str) -> Value:
    """With the running statistics. ONNX's momentum is the share that stays."""
    tensors = weight_and_bias(layer, x.shape[-1:], graph, path)
    for name, statistic in (("running_mean", layer.mean), ("running_var", layer.variance)):
        tensors.append(graph.tensor(f"{path}.{name}", graph.array(statistic)))
    x = graph.placed(x, first=True)
    return graph.node("BatchNormalization", x, path, *tensors, epsilon=layer.epsilon, momentum=1 - layer.momentum)


def group_norm(layer: layers.GroupNorm, x: Value, graph: Graph, path: str) -> Value:
    tensors = weight_and_bias(layer, x.shape[-1:], graph, path)
    dtype = int(graph.onnx.helper.np_dtype_to_tensor_dtype(graph.dtype))  # in which means are taken; float32 unless told
    x, epsilon = graph.placed(x, first=True), layer.epsilon
    return graph.node("GroupNormalization", x, path, *tensors, num_groups=layer.groups, epsilon=epsilon, stash_type=dtype)


def layer_norm(layer: layers.LayerNorm, x: Value, graph: Graph, path: str) -> Value:
    """Over all axes of a sample it takes either layout, with weight and bias in the same; else channels last."""
    x = x if layer.axes == len(x.shape) else graph.placed(x, first=False)
    shape = x.shape[len(x.shape) - layer.axes :]
    tensors = weight_and_bias(layer, shape, graph, path, first=x.first)
    return graph.node("LayerNormalization", x, path, *tensors, axis=-layer.axes, epsilon=layer.epsilon)


def weight_and_bias(layer: Any, shape: Shape, graph: Graph, path: str, first: bool = False) -> list[str]:
    """gamma and beta, or ones and zeros where there are none; ``first`` brings the channels to the front."""
    found = []
    for name, parameter, default in (("weight", layer.gamma, np.ones), ("bias", layer.beta, np.zeros)):
        array = default(shape, graph.dtype) if parameter is None else graph.array(parameter)
        found.append(graph.tensor(f"{path}.{name}", np.moveaxis(array, -1, 0) if first else array))
    return found


TABLE: dict[type, Emitter] = {
    layers.BatchNorm: batch_norm,
    layers.GroupNorm: group_norm,
    layers.LayerNorm: layer_norm,
}
