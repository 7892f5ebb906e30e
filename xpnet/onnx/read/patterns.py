"""Activations that files spell out in several nodes: how PyTorch writes GELU, SiLU, Softplus and Step, and LayerNorm of old."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from xpnet import layers
from xpnet.layers.base import Layer
from xpnet.layers.gelu import TANH_CUBE, TANH_SCALE
from xpnet.onnx.read.graph import Graph, Node, Value
from xpnet.onnx.read.normalization import normalised

CLOSE = 1e-4  # relative; constants are written in float32 or shorter
DEEP = 4  # factors of factors
FLOATS = (1, 11)  # TensorProto.DataType


class Match(NamedTuple):
    """What several nodes come to: how the value behind them is made, and the tensor that it is made of."""

    read: Callable[[Value, Node], Value]
    x: str

    @classmethod
    def pointwise(cls, layer: Layer, x: str) -> Match:
        """A layer that takes any shape in any order."""
        return cls(lambda value, node: value.then(layer, node), x)


def match(node: Node, graph: Graph) -> Match | None:
    """The layer that a node ends the spelling of, or None."""
    finders = FINDERS.get(node.op, ())
    return next((found for finder in finders if (found := finder(node, graph))), None)


def gelu(node: Node, graph: Graph) -> Match | None:
    """``0.5 x (1 + erf(x / sqrt(2)))``, and the form with tanh, in whatever order the factors stand."""
    name = node.outputs[0]
    for inner in product(name, graph)[1]:
        term, one = plus_number(inner, graph)
        found = half_of_gelu(term, graph) if close(one, 1) else None
        if found is not None and is_product(name, 0.5, {found.x: 1, inner: 1}, graph, found.x):
            return found
    return None


def half_of_gelu(name: str, graph: Graph) -> Match | None:
    """Whether a tensor is ``erf(x / sqrt(2))`` or ``tanh(sqrt(2 / pi) (x + 0.044715 x**3))``."""
    node = graph.producers.get(name)
    if node is None or node.op not in ("Erf", "Tanh"):
        return None
    factor, x = times_number(node.inputs[0], graph)
    if node.op == "Erf":
        return Match.pointwise(layers.GELU(), x) if close(factor, math.sqrt(0.5)) else None
    under = graph.producers.get(x)
    if under is None or under.op != "Add" or not close(factor, TANH_SCALE):
        return None
    pairs = (under.inputs, under.inputs[::-1])
    found = next((x for x, cube in pairs if is_product(cube, TANH_CUBE, {x: 3}, graph, x)), None)
    return Match.pointwise(layers.GELU("tanh"), found) if found is not None else None


def silu(node: Node, graph: Graph) -> Match | None:
    """``x sigmoid(x)``."""
    for x, gate in (node.inputs, node.inputs[::-1]):
        under = graph.producers.get(gate)
        if under is not None and under.op == "Sigmoid" and under.inputs == [x]:
            return Match.pointwise(layers.SiLU(), x)
    return None


def softplus(node: Node, graph: Graph) -> Match | None:
    """``x`` where it is larger than a threshold from 15 on, else ``log(1 + exp(x))``: equal in float32."""
    above, x, below = node.inputs
    test, under = graph.producers.get(above), graph.producers.get(below)
    if test is None or under is None or test.op != "Greater" or under.op != "Softplus":
        return None
    threshold = graph.number(test.inputs[1])
    fits = test.inputs[0] == x and under.inputs == [x] and threshold is not None and threshold >= 15
    return Match.pointwise(layers.Softplus(), x) if fits else None


def step(node: Node, graph: Graph) -> Match | None:
    """1 where ``x > 0``, else 0."""
    test = graph.producers.get(node.inputs[0])
    if test is None or test.op != "Greater" or graph.number(test.inputs[1]) != 0 or node.get("to") not in FLOATS:
        return None
    return Match.pointwise(layers.Step(), test.inputs[0])


def layer_norm(node: Node, graph: Graph) -> Match | None:
    """``(x - mean) / sqrt(mean((x - mean)**2) + epsilon)`` over the last axes."""
    centred, root = (graph.producers.get(name) for name in node.inputs)
    if centred is None or root is None or (centred.op, root.op) != ("Sub", "Sqrt"):
        return None
    x, mean = centred.inputs
    square, epsilon = plus_number(root.inputs[0], graph)
    over, again = last_axes(mean, x, graph), graph.producers.get(square)
    if over is None or again is None or again.op != "ReduceMean" or epsilon is None:
        return None
    fits = (
        is_product(again.inputs[0], 1, {node.inputs[0]: 2}, graph, node.inputs[0])
        and last_axes(square, again.inputs[0], graph) == over
    )
    return Match(lambda value, last: normalised(value, over, last, epsilon), x) if fits else None


def last_axes(name: str, x: str, graph: Graph) -> int | None:
    """Over how many of the last axes a tensor is the mean of ``x``, or None."""
    node = graph.producers.get(name)
    if node is None or node.op != "ReduceMean" or node.inputs[0] != x or not node.get("keepdims", 1):
        return None
    axes = sorted(graph.integers(node, "axes", 1) or ())
    return len(axes) if axes and axes == list(range(-len(axes), 0)) else None


def product(name: str, graph: Graph, whole: str = "", deep: int = DEEP) -> tuple[float, Counter[str]]:
    """A tensor as a number times other tensors, each as often as it is a factor; ``whole`` is not taken apart."""
    node, number = graph.producers.get(name), graph.number(name)
    if number is not None:
        return number, Counter()
    if node is not None and deep and name != whole and node.op in ("Mul", "Div", "Pow") and len(node.inputs) == 2:
        last = graph.number(node.inputs[1])
        if node.op == "Mul":
            (a, of_a), (b, of_b) = (product(factor, graph, whole, deep - 1) for factor in node.inputs)
            return a * b, of_a + of_b
        if node.op == "Div" and last:
            factor, factors = product(node.inputs[0], graph, whole, deep - 1)
            return factor / last, factors
        if node.op == "Pow" and last in (2, 3):
            return 1.0, Counter({node.inputs[0]: int(last)})
    return 1.0, Counter([name])


def is_product(name: str, factor: float, factors: dict[str, int], graph: Graph, whole: str = "") -> bool:
    found, of = product(name, graph, whole)
    return close(found, factor) and of == Counter(factors)


def times_number(name: str, graph: Graph) -> tuple[float, str]:
    """A tensor as a number times another, if it was multiplied or divided by one last."""
    node = graph.producers.get(name)
    if node is not None and node.op == "Mul":
        for term, other in (node.inputs, node.inputs[::-1]):
            if (number := graph.number(other)) is not None:
                return number, term
    if node is not None and node.op == "Div" and (number := graph.number(node.inputs[1])):
        return 1 / number, node.inputs[0]
    return 1.0, name


def plus_number(name: str, graph: Graph) -> tuple[str, float | None]:
    """A tensor and the number that is added to it, if ``name`` is that sum."""
    node = graph.producers.get(name)
    if node is not None and node.op == "Add":
        for term, other in (node.inputs, node.inputs[::-1]):
            if (number := graph.number(other)) is not None:
                return term, number
    return name, None


def close(found: float | None, expected: float) -> bool:
    return found is not None and abs(found - expected) <= CLOSE * abs(expected)


Finder = Callable[[Node, Graph], Match | None]
FINDERS: dict[str, tuple[Finder, ...]] = {
    "Mul": (silu, gelu),
    "Where": (softplus,),
    "Cast": (step,),
    "Div": (layer_norm,),
}
