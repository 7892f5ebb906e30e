"""Where tensors meet: branches that are added or concatenated, and constants that belong to the layer before."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet import layers
from xpnet.layers.base import Layer, Shape
from xpnet.network import Sequential
from xpnet.onnx.read.graph import Graph, Node, Operator, Step, Value, check_size
from xpnet.onnx.read.order import Order
from xpnet.parameters import Maker

SCALED = (layers.BatchNorm, layers.GroupNorm, layers.LayerNorm)


def add(node: Node, graph: Graph) -> Value:
    """Two branches, or a constant."""
    if any(name not in graph.values for name in node.inputs):
        return with_constant(node, graph)
    return added(node, graph)


def added(node: Node, graph: Graph) -> Value:
    """Residual where there are two branches, Add where there are more or both are the same."""
    first, *others = (graph.value(node, i) for i in range(len(node.inputs)))
    if any(x.dims != first.dims for x in others):
        node.refuse(f"samples {[x.dims for x in (first, *others)]} differ: they are not added by broadcasting")
    if any(x.order != first.order for x in others):
        node.refuse(
            f"samples {first.dims} have their numbers in two orders: one is of an image that was flattened or transposed"
        )
    values = [first, *(x.reshaped(first.shape) for x in others)]
    start, branches = parted([x.step for x in values])
    if len(branches) == 2 and any(branches):
        body, around = sorted(branches, key=lambda branch: not branch)
        layer: Layer = layers.Residual(*layers_of(body), shortcut=as_layer(around) if around else None)
    elif len(branches) > 1:
        layer = layers.Add(*map(as_layer, branches))
    else:
        return first
    return first._replace(step=joined(start, layer, branches, first.shape, node))


def concat(node: Node, graph: Graph) -> Value:
    """Branches, joined along the channels."""
    values = [graph.value(node, i) for i in range(len(node.inputs))]
    axis = node.axis(node.get("axis", 0), values[0])
    first = axis == 1 and len(values[0].dims) > 1
    if axis not in (1, len(values[0].dims)) or any(len(x.dims) != len(values[0].dims) for x in values):
        node.refuse(f"attribute axis={node.get('axis')} of {[x.dims for x in values]}: xpnet joins channels")
    values = [x.channels_first(node) if first else x.as_it_is(node) for x in values]
    if not first and not all(x.order.is_same for x in values):
        node.refuse("rows behind a Flatten have their numbers in another order than xpnet: concatenate before it")
    if any(x.shape[:-1] != values[0].shape[:-1] for x in values):
        node.refuse(f"samples {[x.dims for x in values]} differ in another axis than the channels")
    if len(values) == 1:
        return values[0]
    start, branches = parted([x.step for x in values])
    shape = (*values[0].shape[:-1], sum(x.shape[-1] for x in values))
    dims, order = ((shape[-1], *shape[:-1]), Order.first(shape)) if first else (shape, Order.same(math.prod(shape)))
    step = joined(start, layers.Concatenate(*map(as_layer, branches)), branches, shape, node)
    return Value(step, dims, order, first)


def parted(steps: list[Step]) -> tuple[Step, list[list[Step]]]:
    """The last step that all come from, and for each those that follow it."""
    branches: list[list[Step]] = [[] for _ in steps]
    while any(step is not steps[0] for step in steps):
        deepest = max(step.depth for step in steps)
        for i, step in enumerate(steps):
            if step.depth == deepest and step.before is not None:
                branches[i].insert(0, step)
                steps[i] = step.before
    return steps[0], branches


def layers_of(branch: list[Step]) -> list[Layer]:
    return [step.layer for step in branch if step.layer is not None]


def as_layer(branch: list[Step]) -> Layer:
    found = layers_of(branch)
    return found[0] if len(found) == 1 else Sequential(*found) if found else layers.Identity()


def joined(start: Step, layer: Layer, branches: list[list[Step]], shape: Shape, node: Node) -> Step:
    """A layer made of branches; refused where two of them hold the same node."""
    inside = tuple(step for branch in branches for step in branch)
    nodes = frozenset((node.outputs[0],)).union(*(step.nodes for step in inside))
    if len(nodes) != 1 + sum(len(step.nodes) for step in inside):
        node.refuse("two branches share a node that neither begins with: xpnet has chains and branches, no other graphs")
    return Step(start, layer, check_size(shape), nodes, inside=inside)


def with_constant(node: Node, graph: Graph) -> Value:
    """Add, Sub, Mul or Div with numbers per channel: a bias or a scale of the layer before."""
    i = next((i for i, name in enumerate(node.inputs) if name in graph.values), 0)
    x = graph.value(node, i)
    if len(node.inputs) != 2 or (i == 1 and node.op in ("Sub", "Div")):
        node.refuse("of a constant and a tensor xpnet has the sum and the product")
    number = graph.weights(node, 1 - i)
    if number.ndim > len(x.dims) + 1:
        node.refuse(f"{node.inputs[1 - i]!r}, of the shape {number.shape}, gives samples of {x.dims} an axis more")
    if (number == (node.op in ("Mul", "Div"))).all() and number.size == 1:
        return x  # adds 0 or multiplies by 1
    of, other = x.step, per_channel(x, number, node)
    if node.op == "Div" and not other.all():
        node.refuse(f"{node.inputs[1]!r} has a 0")
    change = {"Sub": np.negative, "Div": np.reciprocal}.get(node.op, np.positive)(other)
    arrays = scaled(of, change) if node.op in ("Mul", "Div") else shifted(of, change)
    if not all(np.isfinite(array).all() for array in arrays.values()):
        node.refuse(f"{node.inputs[1 - i]!r} makes parameters that are not finite")
    step = Step(of.before, remade(of.layer), of.shape, of.nodes | {node.outputs[0]}, arrays)
    step.layer.build(of.before.shape, Maker())  # type: ignore[union-attr]
    return x._replace(step=step)


def per_channel(x: Value, number: np.ndarray, node: Node) -> np.ndarray:
    """A constant in the shape of the last layer's bias or scale; refused where it has none, or of another shape."""
    layer, rank = x.step.layer, len(x.dims)
    first = rank > 1 and x.order == Order.first((*x.dims[1:], *x.dims[:1])) and x.shape == (*x.dims[1:], *x.dims[:1])
    axes = layer.axes if isinstance(layer, layers.LayerNorm) else 1
    alike = axes in (1, rank) if first else x.shape == x.dims and (x.order.is_same or rank == 1)
    if not isinstance(layer, (layers.Affine, layers.Conv2d, *SCALED)) or not alike:
        node.refuse(
            "xpnet has no layer for a constant alone: it is read as bias or scale of the affine map, convolution or "
            "normalisation before it"
        )
    needed = (x.dims if axes == rank else x.dims[:1]) if first else x.dims[rank - axes :]
    spread = (*needed, *(1,) * (rank - axes)) if first else needed
    shape = number.shape
    while len(shape) > len(spread) and shape[0] == 1:
        shape = shape[1:]
    single = number.size == 1 and not isinstance(layer, (layers.GroupNorm, layers.LayerNorm))
    if shape != spread and not single:
        node.refuse(f"the constant has the shape {number.shape}, {spread} is needed, a number for each channel")
    found = np.broadcast_to(number.reshape(-1), needed) if single else number.reshape(needed)
    return np.moveaxis(found, 0, -1) if first and axes > 1 else x.of_features(found) if rank == 1 else found


def scaled(step: Step, factor: np.ndarray) -> dict[str, np.ndarray]:
    """The layer's parameters so that its outputs are so many times as large."""
    if isinstance(step.layer, SCALED):
        gamma, beta = step.arrays.get("gamma", np.ones_like(factor)), step.arrays.get("beta", np.zeros_like(factor))
        return {**step.arrays, "gamma": gamma * factor, "beta": beta * factor}
    bias = step.arrays.get("b", np.zeros_like(factor))
    return {"W": step.arrays["W"] * factor, "b": bias * factor}


def shifted(step: Step, term: np.ndarray) -> dict[str, np.ndarray]:
    """The layer's parameters so that its outputs are larger by so much."""
    if isinstance(step.layer, SCALED):
        gamma, beta = step.arrays.get("gamma", np.ones_like(term)), step.arrays.get("beta", np.zeros_like(term))
        return {**step.arrays, "gamma": gamma, "beta": beta + term}
    return {**step.arrays, "b": step.arrays["b"] + term if "b" in step.arrays else term}


def remade(layer: Any) -> Layer:
    """The layer again, with a bias or with gamma and beta."""
    return type(layer)(**{**layer.config(), "affine" if isinstance(layer, SCALED) else "bias": True})


TABLE: dict[str, Operator] = {
    "Add": add,
    "Sum": added,
    "Concat": concat,
    "Sub": with_constant,
    "Mul": with_constant,
    "Div": with_constant,
}
