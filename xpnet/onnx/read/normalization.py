"""Normalisation."""

from __future__ import annotations

import math

import numpy as np

from xpnet import layers
from xpnet.onnx.read.graph import Graph, Node, Operator, Value
from xpnet.onnx.read.order import Order


def batch_normalization(node: Node, graph: Graph) -> Value:
    """ONNX's momentum is the share that stays."""
    node.only(training_mode=0)
    if any(node.outputs[1:]):  # how operator set 13 says that it is training
        node.refuse("it gives the statistics of the batch: export the model in inference mode")
    x = graph.value(node).channels_first(node)
    channels = x.shape[-1:]
    names = ("gamma", "beta", "mean", "variance")
    arrays = {name: graph.weights(node, i + 1, channels) for i, name in enumerate(names)}
    if len(x.dims) == 1:
        arrays = {name: x.of_features(array) for name, array in arrays.items()}
    epsilon = node.get("epsilon", 1e-5)
    if (arrays["variance"] + arrays["variance"].dtype.type(epsilon) <= 0).any():
        node.refuse(f"{node.inputs[4]!r}: a running variance is negative")
    return x.then(layers.BatchNorm(epsilon=epsilon, momentum=round(1 - node.get("momentum", 0.9), 6)), node, arrays=arrays)


def layer_normalization(node: Node, graph: Graph) -> Value:
    x = graph.value(node)
    axes = len(x.dims) + 1 - node.axis(node.get("axis", -1), x)
    if axes > len(x.dims):
        node.refuse(f"attribute axis={node.get('axis')} is the batch's")
    gamma = graph.weights(node, 1, x.dims[len(x.dims) - axes :])
    beta = graph.weights(node, 2, gamma.shape) if graph.has(node, 2) else np.zeros_like(gamma)
    return normalised(x, axes, node, node.get("epsilon", 1e-5), gamma, beta)


def normalised(
    x: Value, axes: int, node: Node, epsilon: float, gamma: np.ndarray | None = None, beta: np.ndarray | None = None
) -> Value:
    """LayerNorm over all axes of a sample in either layout, else with channels last; ``gamma`` and ``beta`` both or neither."""
    images = (*x.dims[1:], *x.dims[:1])
    whole = axes == len(x.dims) > 1 and x.order == Order.first(images) and (x.shape == images or not x.order.is_same)
    x = x.channels_first(node) if whole else x.as_it_is(node)
    if gamma is None or beta is None:
        return x.then(layers.LayerNorm(axes, epsilon=epsilon, affine=False), node)
    if whole:
        gamma, beta = np.moveaxis(gamma, 0, -1), np.moveaxis(beta, 0, -1)
    elif len(x.dims) == 1:
        gamma, beta = x.of_features(gamma), x.of_features(beta)
    return x.then(layers.LayerNorm(axes, epsilon=epsilon), node, arrays={"gamma": gamma, "beta": beta})


def group_normalization(node: Node, graph: Graph) -> Value:
    x = graph.value(node).channels_first(node)
    if len(x.dims) == 1 and not x.order.is_same:
        node.refuse("its input has its numbers in another order than xpnet")
    gamma, beta = (graph.weights(node, i, x.shape[-1:]) for i in (1, 2))
    layer = layers.GroupNorm(node.get("num_groups"), epsilon=node.get("epsilon", 1e-5))
    return x.then(layer, node, arrays={"gamma": gamma, "beta": beta})


def instance_normalization(node: Node, graph: Graph) -> Value:
    """GroupNorm, of as many groups as there are: exporters bring the pixels of a group to one axis for it."""
    x = graph.value(node)
    groups, channels = x.dims[0] if x.dims else 0, x.shape[-1:]
    if len(x.dims) < 2 or x.order != Order.first(x.shape) or math.prod(channels) % groups:
        node.refuse(f"samples {x.dims} are not groups of the channels of {x.shape}")
    gamma, beta = (graph.weights(node, i, (groups,)) for i in (1, 2))
    epsilon, plain = node.get("epsilon", 1e-5), (gamma == 1).all() and (beta == 0).all()
    if (groups,) == channels and not plain:
        return x.then(layers.GroupNorm(groups, epsilon=epsilon), node, arrays={"gamma": gamma, "beta": beta})
    if not plain:
        node.refuse(f"{groups} scales for {channels[0]} channels: xpnet has one for each channel")
    return x.then(layers.GroupNorm(groups, epsilon=epsilon, affine=False), node)


TABLE: dict[str, Operator] = {
    "BatchNormalization": batch_normalization,
    "LayerNormalization": layer_normalization,
    "GroupNormalization": group_normalization,
    "InstanceNormalization": instance_normalization,
}
