"""An ONNX file as a network."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from xpnet import extras
from xpnet.backends import Device, resolve
from xpnet.layers import Identity, RandomCrop
from xpnet.layers.base import Shape
from xpnet.layers.containers import IMAGE_AXES
from xpnet.network import Sequential
from xpnet.onnx.read import TABLE
from xpnet.onnx.read.affine import TO_FIRST
from xpnet.onnx.read.constants import folded
from xpnet.onnx.read.file import Refused, parsed
from xpnet.onnx.read.graph import Graph, Node, Step, Value, check_size
from xpnet.onnx.read.order import Order
from xpnet.onnx.read.patterns import Match, match
from xpnet.onnx.saving import FIRST, LAST, LAYOUT

DTYPES = {1: "float32", 11: "float64"}  # TensorProto.DataType


def load(path: str | os.PathLike, device: str | Device = "cpu") -> Sequential:
    """The network in an ONNX file, built on the device in the dtype of the file's input, its weights filled.

    It takes images with the channels last, (N, H, W, C), and gives them so, also where the file has (N, C, H, W): weights
    behind a Flatten are rearranged. Other samples are as in the file. A fixed number of rows is read as any number.
    Augmentation and dropout are gone; numbers per channel are part of the layer before.

    Raises ValueError, naming the file, the node and the attribute, for what xpnet has no layer for, for a graph that is no
    chain of layers and branches, for data in other files (none is opened), and for a damaged file; MissingExtra without
    the library ``onnx``; OSError.
    """
    target = resolve(device).device
    try:
        return _as_network(parsed(path), target)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{os.fspath(path)}: {kind}{error}") from error


def _as_network(model: Any, device: Device) -> Sequential:
    onnx = extras.load("onnx", "onnx")
    given, (batch, *dims), dtype = _input(model.graph)
    graph = Graph(onnx, model.graph, batch, np.dtype(dtype))
    layout = {entry.key: entry.value for entry in model.metadata_props}.get(LAYOUT)
    graph.values[given] = _given(given, tuple(dims), graph, layout)
    graph.ours = layout in (FIRST, LAST)
    graph.first = not graph.ours and graph.values[given].first
    found = _computed(graph, model.graph)
    steps = _steps(found.step)
    if not graph.ours:
        _refuse_moving(steps, graph)
    net = Sequential(*([step.layer for step in steps if step.layer is not None] or [Identity()]))
    shape = graph.values[given].shape
    return net.build_from(shape, lambda entries: _arrays(steps), device=device, dtype=dtype, seed=0)


def _input(graph: Any) -> tuple[str, list, str]:
    """Name, shape (its rows None where they are open) and dtype of the one input."""
    tensors = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in tensors]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise Refused(f"it has {len(inputs)} inputs and {len(graph.output)} outputs, one of each is read")
    kind = inputs[0].type.tensor_type
    if kind.elem_type not in DTYPES:
        raise Refused(f"its input {inputs[0].name!r} has data type {kind.elem_type}: float32 and float64 are read")
    if not kind.HasField("shape") or not kind.shape.dim:
        raise Refused(f"its input {inputs[0].name!r} has no shape with a batch axis")
    shape = [dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim]
    if any(n is None or n < 1 for n in shape[1:]) or (shape[0] is not None and shape[0] < 1):
        names = [dim.dim_param or dim.dim_value for dim in kind.shape.dim]
        raise Refused(f"its input {inputs[0].name!r} has the shape {names}: all axes but the first need their lengths")
    return inputs[0].name, shape, DTYPES[kind.elem_type]


def _given(name: str, dims: Shape, graph: Graph, layout: str | None) -> Value:
    """The input. Samples of three axes are images, with the channels first unless the file says otherwise."""
    last = layout == LAST or any(node.op == "Transpose" and node.get("perm") == TO_FIRST for node in graph.users.get(name, ()))
    first = layout == FIRST or not last
    if len(dims) == IMAGE_AXES and first:
        shape = (*dims[1:], dims[0])
        return Value(Step(None, None, check_size(shape)), dims, Order.first(shape), first)
    return Value(Step(None, None, check_size(dims)), dims, Order.same(int(np.prod(dims, dtype=object))), first)


def _computed(graph: Graph, proto: Any) -> Value:
    """The output, its sample in xpnet's layout."""
    name = proto.output[0].name
    matches, needed = _needed(name, graph)
    for node in graph.nodes:
        if needed.isdisjoint(node.outputs):
            continue
        try:
            _read(node, graph, matches.get(node.outputs[0]))
        except Refused:
            raise
        except (ValueError, TypeError, LookupError) as error:  # a layer that does not take its options, or what it is given
            node.refuse(str(error))
    if name not in graph.values:
        raise Refused(f"its output {name!r} does not depend on its input")
    return _in_xpnet_s_layout(graph.values[name], name)


def _read(node: Node, graph: Graph, spelt: Match | None) -> None:
    """Enter what a node computes, a value or a constant; ``spelt`` is what it ends the spelling of."""
    name = node.outputs[0]
    if spelt is not None:
        graph.values[name] = spelt.read(graph.value_of(spelt.x, node), node)
    elif (constant := folded(node, graph)) is not None:
        graph.constants[name] = constant
    elif node.op in TABLE:
        graph.values[name] = TABLE[node.op](node, graph)
    elif node.op != "Constant":
        node.refuse("xpnet has no layer for it; docs/onnx.md lists the operators that are read")


def _needed(output: str, graph: Graph) -> tuple[dict[str, Match], set[str]]:
    """Which nodes end the spelling of an activation, and all tensors that the output depends on, what is spelt out apart."""
    matches: dict[str, Match] = {}
    needed, waiting = {output}, [output]
    while waiting:
        node = graph.producers.get(waiting.pop())
        if node is None:
            continue
        found = match(node, graph)
        if found is not None:
            matches[node.outputs[0]] = found
        fresh = {found.x} if found is not None else set(node.inputs)
        waiting += fresh - needed
        needed |= fresh
    return matches, needed


def _in_xpnet_s_layout(x: Value, name: str) -> Value:
    """The output, channels last if it is an image."""
    if x.is_first:
        return x.reshaped((*x.dims[1:], *x.dims[:1]))
    if not x.order.is_same:
        raise Refused(
            f"its output {name!r} has the numbers of an image in an order that xpnet does not have: end before Flatten"
        )
    if len(x.dims) == IMAGE_AXES and x.first and x.shape != x.dims:
        raise Refused(
            f"its output {name!r}, {x.dims} per sample, is made of rows and taken for images with the channels first, "
            f"which xpnet has last: end before they are made, or transpose them"
        )
    return x.reshaped(x.dims)


def _steps(last: Step) -> list[Step]:
    found: list[Step] = []
    step: Step | None = last
    while step is not None:
        found.append(step)
        step = step.before
    return found[::-1]


def _all(steps: Iterable[Step]) -> Iterator[Step]:
    """Those inside branches too."""
    for step in steps:
        yield step
        yield from _all(step.inside)


def _refuse_moving(steps: list[Step], graph: Graph) -> None:
    """What another library crops or pads stays in its place in training; RandomCrop does where it has one place alone."""
    for step in _all(steps):
        if isinstance(step.layer, RandomCrop) and max(step.layer.choices) > 1:
            graph.producers[min(step.nodes)].refuse("xpnet's RandomCrop would move in training what this has in one place")


def _arrays(steps: list[Step]) -> dict[str, np.ndarray]:
    """What the parameters of the built layers are to be, by name."""
    return {getattr(step.layer, name).name: array for step in _all(steps) for name, array in step.arrays.items()}
