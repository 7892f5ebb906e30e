"""Affine maps, and changes of shape, which come to a layer only where one is needed."""

from __future__ import annotations

import math

import numpy as np

from xpnet import layers
from xpnet.layers.base import Shape
from xpnet.layers.containers import IMAGE_AXES
from xpnet.onnx.read.constants import BATCH
from xpnet.onnx.read.graph import Graph, Node, Operator, Value
from xpnet.onnx.read.order import Order

TO_LAST, TO_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]  # the axes of images with the channels last, as they were before; and first


def gemm(node: Node, graph: Graph) -> Value:
    node.only(alpha=1.0, beta=1.0, transA=0)
    x, weight = graph.value(node), graph.weights(node, 1)
    if len(x.dims) != 1 or weight.ndim != 2:
        node.refuse(f"it takes rows of numbers and a matrix, here samples are {x.dims} and the weight {weight.shape}")
    weight = weight.T if node.get("transB", 0) else weight
    bias = graph.weights(node, 2) if graph.has(node, 2) else None
    if bias is not None:
        if bias.size not in (1, weight.shape[1]) or bias.ndim > 2 or bias.shape[-1:] != (bias.size,) * bool(bias.ndim):
            node.refuse(f"{node.inputs[2]!r} has the shape {bias.shape}, one number for each of {weight.shape[1]} is needed")
        bias = np.broadcast_to(bias.reshape(-1), weight.shape[1:])
    return affine(x, weight, bias, node)


def matmul(node: Node, graph: Graph) -> Value:
    x, weight = graph.value(node), graph.weights(node, 1)
    if weight.ndim != 2:
        node.refuse(f"{node.inputs[1]!r} has the shape {weight.shape}, a matrix is needed")
    return affine(x, weight, None, node)


def affine(x: Value, weight: np.ndarray, bias: np.ndarray | None, node: Node) -> Value:
    """Weight (in, out), its rows in ONNX's order; behind a Flatten xpnet has them in its own."""
    x = x.as_it_is(node)
    if x.dims[-1:] != weight.shape[:1]:
        node.refuse(f"the weight has {weight.shape[0]} rows, samples are {x.dims}")
    n_out = weight.shape[1]
    arrays = {"W": x.of_features(weight) if len(x.dims) == 1 else weight}
    if bias is not None:
        arrays["b"] = bias
    dims = (*x.dims[:-1], n_out)
    return x.then(layers.Affine(n_out, bias=bias is not None), node, dims, Order.same(math.prod(dims)), arrays)


def flatten(node: Node, graph: Graph) -> Value:
    x = graph.value(node)
    if node.get("axis", 1) not in (1, -len(x.dims)):
        node.refuse(f"attribute axis={node.get('axis')}: 1 is read alone, which leaves the batch axis as it is")
    return x._replace(dims=(math.prod(x.dims),))


def reshape(node: Node, graph: Graph) -> Value:
    """Within each sample."""
    x, target = graph.value(node), [int(n) for n in graph.fixed(node, 1).reshape(-1)]
    size, keeps = math.prod(x.dims), not node.get("allowzero", 0)
    rows, lengths = target[:1], [x.dims[i] if n == 0 and keeps and i < len(x.dims) else n for i, n in enumerate(target[1:])]
    if lengths.count(-1) == 1 and rows != [-1]:
        lengths[lengths.index(-1)] = size // max(-math.prod(lengths), 1)
    same_rows = rows in ([-1], [BATCH], [graph.batch]) or (rows == [0] and keeps)
    if not same_rows or any(n < 1 for n in lengths) or math.prod(lengths) != size:
        shown = ["N" if n == BATCH else n for n in target]
        why = "only each sample by itself is given another shape"
        if not same_rows and graph.batch is None and rows > [0]:
            why += f"; if {rows[0]} was the number of rows at export, x.size(0) or flatten(1) there keeps it open"
        node.refuse(f"from {('N', *x.dims)} to {shown}: {why}")
    return recut(x, tuple(lengths), graph)


def recut(x: Value, dims: Shape, graph: Graph) -> Value:
    """With its axes cut otherwise; what is made an image of something else has the channels where the file has them."""
    return x._replace(dims=dims, first=x.first if len(x.dims) == IMAGE_AXES else graph.first)


def squeeze(node: Node, graph: Graph) -> Value:
    x, axes = graph.value(node), graph.integers(node, "axes", 1)
    dropped = {node.axis(n, x) - 1 for n in axes or ()}
    if not dropped or any(i < 0 or x.dims[i] != 1 for i in dropped):
        node.refuse(f"axes {axes} of {('N', *x.dims)}: axes of length 1 are named, the batch's is none of them")
    return recut(x, tuple(n for i, n in enumerate(x.dims) if i not in dropped), graph)


def unsqueeze(node: Node, graph: Graph) -> Value:
    x, axes = graph.value(node), graph.integers(node, "axes", 1) or []
    rank = len(x.dims) + 1 + len(axes)
    places = {n % rank for n in axes}
    if 0 in places or len(places) != len(axes) or any(not -rank <= n < rank for n in axes):
        node.refuse(f"axes {axes} of {('N', *x.dims)}: the batch axis stays the first")
    rest = iter(x.dims)
    return recut(x, tuple(1 if i in places else next(rest) for i in range(1, rank)), graph)


def transpose(node: Node, graph: Graph) -> Value:
    """No layer: what follows is told in which order the elements are."""
    x, perm = graph.value(node), node.get("perm") or list(range(len(graph.value(node).dims), -1, -1))
    if sorted(perm) != list(range(len(x.dims) + 1)) or perm[0] != 0:
        node.refuse(f"attribute perm={perm} of {('N', *x.dims)}: the batch axis stays the first")
    axes = tuple(n - 1 for n in perm[1:])
    first = perm == TO_FIRST or (x.first and perm != TO_LAST)
    return x._replace(dims=tuple(x.dims[i] for i in axes), order=x.order.transposed(x.dims, axes), first=first)


TABLE: dict[str, Operator] = {
    "Gemm": gemm,
    "MatMul": matmul,
    "Flatten": flatten,
    "Reshape": reshape,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
}
