"""Tensors that no input changes, computed while the file is read: views of weights, and shapes of a few numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from xpnet.onnx.read.file import KINDS, as_array
from xpnet.onnx.read.graph import Graph, Node

FEW = 64  # numbers; what is larger is looked at differently, not copied
SPREAD = 2**16  # numbers that one may be repeated to
BATCH = -(2**40)  # stands for the number of rows
LARGEST = 2**31 - 1  # of numbers that are computed with, none below 0: so the number of rows is none of them


def folded(node: Node, graph: Graph) -> np.ndarray | None:
    """What a node gives if all its inputs are constants, or if it asks for a shape; else None."""
    if node.op == "Shape":
        return shape(node, graph)
    names = node.inputs[:1] if node.op == "CastLike" else [name for name in node.inputs if name]
    given = [graph.constant(name) for name in names]
    if node.op not in FOLDS or not given or any(a is None for a in given):
        return None
    arrays = [a for a in given if a is not None]
    if node.op in COPIES and any(a.size > FEW for a in arrays):
        node.refuse(f"computes a constant of more than {FEW} numbers: let onnx fold constants before")
    if node.op in ARITHMETIC and not all(np.issubdtype(a.dtype, np.integer) for a in arrays):
        node.refuse("it computes a constant that is not of whole numbers: let onnx fold constants before")
    if node.op in ARITHMETIC and not all(((a >= 0) & (a <= LARGEST)).all() for a in arrays):
        node.refuse(f"it computes with the number of rows, or with another number than 0 to {LARGEST:,}")
    if node.op in ("Div", "Mod") and not arrays[1].all():
        node.refuse(f"{node.inputs[1]!r} has a 0")
    return FOLDS[node.op](node, graph, arrays)


def shape(node: Node, graph: Graph) -> np.ndarray:
    """Of a constant, or of a value with as many rows as there are."""
    known = graph.constant(node.inputs[0])
    found = (BATCH, *graph.value(node).dims) if known is None else known.shape
    return np.array(found)[node.get("start", 0) : node.get("end")]


def spread(node: Node, graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    lengths = [int(n) for n in arrays[1].reshape(-1)]
    if not 0 <= math.prod(lengths) <= SPREAD:
        node.refuse(f"it repeats a constant to the shape {lengths}, more than {SPREAD:,} numbers")
    return np.broadcast_to(arrays[0], np.broadcast_shapes(arrays[0].shape, lengths))


def filled(node: Node, graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    lengths = [int(n) for n in arrays[0].reshape(-1)]
    if any(n < 0 for n in lengths) or math.prod(lengths) > FEW:
        node.refuse(f"it makes a constant of the shape {lengths}, at most {FEW} numbers are made")
    value = node.get("value")
    return np.full(lengths, np.float32(0) if value is None else as_array(value).reshape(()))


def cast(node: Node, graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    if node.get("to") not in KINDS:
        node.refuse(f"attribute to={node.get('to')}: float32 and float64 are read, and integers")
    return converted(arrays[0], np.dtype(KINDS[node.get("to")][0]), node)


def cast_like(node: Node, graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    other = graph.constant(node.inputs[1])
    return converted(arrays[0], graph.dtype if other is None else other.dtype, node)


def converted(array: np.ndarray, dtype: np.dtype, node: Node) -> np.ndarray:
    """In another dtype; refused where that changes a number, as the number of rows."""
    with np.errstate(invalid="ignore"):
        found = array.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(found, array):
        node.refuse(f"its numbers are no {dtype}")
    return found


def sliced(node: Node, graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    starts, ends, axes, steps = (graph.integers(node, "", i) for i in range(1, 5))
    found: list[slice] = [slice(None)] * arrays[0].ndim
    for i, start in enumerate(starts or ()):
        found[axes[i] if axes else i] = slice(start, (ends or [])[i], steps[i] if steps else 1)
    return arrays[0][tuple(found)]


def transposed(node: Node, graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    return arrays[0].transpose(node.get("perm"))


def reshaped(node: Node, graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    node.only(allowzero=0)
    lengths = [arrays[0].shape[i] if n == 0 else int(n) for i, n in enumerate(arrays[1])]
    return arrays[0].reshape(lengths)


def squeezed(node: Node, graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    axes = graph.integers(node, "axes", 1)
    return arrays[0].squeeze(None if axes is None else tuple(axes))


def unsqueezed(node: Node, graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    return np.expand_dims(arrays[0], tuple(graph.integers(node, "axes", 1) or ()))


def gathered(node: Node, graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    return np.take(arrays[0], arrays[1], axis=node.get("axis", 0))


def joined(node: Node, graph: Graph, arrays: list[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays, axis=node.get("axis"))


FOLDS: dict[str, Callable[[Node, Graph, list[np.ndarray]], np.ndarray]] = {
    "Identity": lambda node, graph, arrays: arrays[0],
    "Transpose": transposed,
    "Reshape": reshaped,
    "Squeeze": squeezed,
    "Unsqueeze": unsqueezed,
    "Expand": spread,
    "CastLike": cast_like,
    "Gather": gathered,
    "Concat": joined,
    "Slice": sliced,
    "ConstantOfShape": filled,
    "Cast": cast,
    "Add": lambda node, graph, arrays: arrays[0] + arrays[1],
    "Sub": lambda node, graph, arrays: arrays[0] - arrays[1],
    "Mul": lambda node, graph, arrays: arrays[0] * arrays[1],
    "Div": lambda node, graph, arrays: arrays[0] // arrays[1],
    "Mod": lambda node, graph, arrays: arrays[0] % arrays[1],
}
ARITHMETIC = ("Add", "Sub", "Mul", "Div", "Mod")
COPIES = ("Reshape", "Expand", "CastLike", "Gather", "Concat", "ConstantOfShape", "Cast", *ARITHMETIC)
