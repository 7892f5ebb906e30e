"""What an ONNX file says, as it is read: nodes, constants, and for each tensor the layers that compute it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np

from xpnet.layers import Flatten, Layer, Reshape
from xpnet.layers.base import Shape
from xpnet.layers.containers import IMAGE_AXES
from xpnet.onnx.read.file import Refused, as_array
from xpnet.onnx.read.order import Order
from xpnet.parameters import Maker

LARGEST_SAMPLE = 2**28  # numbers between two layers
FLOAT, STRING = 1, 3  # AttributeProto.AttributeType


class Node:
    """A node of the file: ``op``, names of inputs and outputs, attributes by name."""

    def __init__(self, onnx: Any, proto: Any):
        self.op, self.inputs, self.outputs = proto.op_type, list(proto.input), list(proto.output)
        self.name = proto.name or next(iter(self.outputs), "")
        self.attributes = {a.name: _attribute(onnx, a) for a in proto.attribute}

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute."""
        return self.attributes.get(name, default)

    def only(self, **expected: Any) -> None:
        """Refuse other values of attributes than these, which are what is meant where they are absent."""
        for name, value in expected.items():
            if (found := self.get(name, value)) != value:
                self.refuse(f"attribute {name}={found}: {value} is read alone")

    def axis(self, number: int, x: Value) -> int:
        """An axis of a tensor, the batch's being 0, counted from the front."""
        rank = len(x.dims) + 1
        if not -rank <= number < rank:
            self.refuse(f"axis {number} of {('N', *x.dims)}")
        return number % rank

    def refuse(self, why: str) -> NoReturn:
        raise Refused(f"node {self.name!r} ({self.op}): {why}")


class Step:
    """A layer behind others: what it is given is what ``before`` gives.

    ``shape`` is its output's, per sample; ``arrays`` what its parameters are to be, by attribute; ``inside`` the steps
    that it is made of, of which ``nodes`` has the names of all.
    """

    def __init__(
        self,
        before: Step | None,
        layer: Layer | None,
        shape: Shape,
        nodes: frozenset[str] = frozenset(),
        arrays: Mapping[str, np.ndarray] | None = None,
        inside: tuple[Step, ...] = (),
    ):
        self.before, self.layer, self.shape, self.nodes = before, layer, shape, nodes
        self.arrays, self.inside = dict(arrays or {}), inside
        self.depth: int = before.depth + 1 if before else 0


class Value(NamedTuple):
    """A tensor: the step that computes it, its shape in the file without the batch axis, and the order of its elements.

    ``first`` tells whether images have the channels first in the file: where an axis is of length 1, the order does not.
    """

    step: Step
    dims: Shape
    order: Order
    first: bool = False

    @property
    def shape(self) -> Shape:
        return self.step.shape

    def then(
        self,
        layer: Layer,
        node: Node | None = None,
        dims: Shape | None = None,
        order: Order | None = None,
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> Value:
        """With one layer more, its parameters the arrays, by attribute; ``dims`` and ``order`` stay unless given."""
        shape = tuple(layer.build(self.shape, Maker()))
        nodes = frozenset((node.outputs[0],)) if node else frozenset()
        step = Step(self.step, layer, check_size(shape), nodes, arrays)
        return self._replace(step=step, dims=self.dims if dims is None else dims, order=self.order if order is None else order)

    @property
    def is_first(self) -> bool:
        """Whether it is images with the channels first; by the order of its elements, where that tells."""
        fits = len(self.dims) == IMAGE_AXES and self.order == Order.first((*self.dims[1:], *self.dims[:1]))
        return fits and (self.first or not self.order.is_same)

    def reshaped(self, shape: Shape) -> Value:
        """With xpnet's sample in another shape."""
        if shape == self.shape:
            return self
        return self.then(Flatten() if len(shape) == 1 else Reshape(shape))

    def channels_first(self, node: Node) -> Value:
        """As a layer with channels needs it: ONNX has them at axis 1. Rows of numbers may be in any order."""
        if len(self.dims) == 1:
            return self.reshaped(self.dims)
        shape = (*self.dims[1:], *self.dims[:1])
        if self.order != Order.first(shape):
            node.refuse(f"its input, {self.dims} per sample, does not have the channels first that xpnet has last")
        return self.reshaped(shape)

    def as_it_is(self, node: Node) -> Value:
        """As a layer needs it that looks at the last axes. Rows of numbers may be in any order."""
        if len(self.dims) != 1 and not self.order.is_same:
            node.refuse(f"its input, {self.dims} per sample, has its axes in another order than xpnet")
        return self.reshaped(self.dims)

    def of_features(self, array: np.ndarray) -> np.ndarray:
        """An array with a row for each of ONNX's elements, in xpnet's order."""
        if self.order.is_same:
            return array
        found = np.empty_like(array)
        found[self.order.features()] = array
        return found


class Graph:
    """The file's graph: ``nodes``, constants and values by the tensor's name, ``batch`` (None where it is open), ``dtype``.

    ``ours`` tells whether xpnet has written it, ``first`` whether images that are made of rows have the channels first.
    """

    def __init__(self, onnx: Any, proto: Any, batch: int | None, dtype: np.dtype):
        self.batch, self.dtype, self.ours, self.first = batch, dtype, False, False
        self.nodes = [Node(onnx, node) for node in proto.node]
        self.outputs = {value.name for value in proto.output}
        self.users: dict[str, list[Node]] = {}  # of each tensor
        for node in self.nodes:
            for name in set(node.inputs):
                self.users.setdefault(name, []).append(node)
        self.producers = {name: node for node in self.nodes for name in node.outputs if name}
        self.tensors = {tensor.name: tensor for tensor in proto.initializer}
        self.constants: dict[str, np.ndarray] = {}
        self.values: dict[str, Value] = {}
        self.zeros: dict[str, tuple[int, ...]] = {}  # around a value, to be part of the convolution's padding

    def constant(self, name: str) -> np.ndarray | None:
        """The numbers of a tensor that no input changes, or None."""
        if name not in self.constants:
            node = self.producers.get(name)
            if name in self.tensors:
                self.constants[name] = as_array(self.tensors[name])
            elif node is not None and node.op == "Constant":
                self.constants[name] = _of_constant(node)
        return self.constants.get(name)

    def number(self, name: str) -> float | None:
        """A constant that is one number, and gives what it is added to no axis more, or None."""
        found = self.constant(name)
        return float(found.reshape(-1)[0]) if found is not None and found.size == 1 and found.ndim < 2 else None

    def value(self, node: Node, i: int = 0) -> Value:
        """Input ``i`` of a node, which is computed from the graph's input."""
        if i >= len(node.inputs):
            node.refuse(f"it has {len(node.inputs)} inputs")
        return self.value_of(node.inputs[i], node)

    def value_of(self, name: str, node: Node) -> Value:
        """A tensor that ``node`` is given."""
        if name not in self.values:
            node.refuse(f"its input {name!r} is not computed from the graph's input by what xpnet has")
        return self.values[name]

    def has(self, node: Node, i: int) -> bool:
        """Whether a node is given its input ``i``."""
        return i < len(node.inputs) and node.inputs[i] != ""

    def fixed(self, node: Node, i: int) -> np.ndarray:
        """Input ``i`` of a node, which has to be a constant."""
        found = self.constant(node.inputs[i]) if self.has(node, i) else None
        if found is None:
            node.refuse(f"its input {node.inputs[i] if self.has(node, i) else i!r} has to be a constant")
        return found

    def weights(self, node: Node, i: int, shape: Shape | None = None) -> np.ndarray:
        """Input ``i`` of a node as a parameter: in the network's dtype, finite, and of the shape, if given."""
        found = self.fixed(node, i)
        if found.dtype != self.dtype:
            node.refuse(f"{node.inputs[i]!r} is {found.dtype}, the graph's input {self.dtype}")
        if shape is not None and found.shape != shape:
            node.refuse(f"{node.inputs[i]!r} has the shape {found.shape}, its input asks for {shape}")
        if not np.isfinite(found).all():
            node.refuse(f"{node.inputs[i]!r} has values that are not finite")
        return found

    def integers(self, node: Node, name: str, i: int) -> list[int] | None:
        """Whole numbers that are attribute ``name`` in older operator sets and input ``i`` in newer ones."""
        found = self.fixed(node, i) if self.has(node, i) else node.get(name)
        return None if found is None else [int(n) for n in np.asarray(found).reshape(-1)]


Operator = Callable[[Node, Graph], Value]


def check_size(shape: Shape) -> Shape:
    """Refuse samples of a size that no file of 2 GB makes sense with."""
    if math.prod(shape) > LARGEST_SAMPLE:
        raise Refused(f"samples of the shape {shape} have more than {LARGEST_SAMPLE:,} numbers")
    return shape


def _attribute(onnx: Any, proto: Any) -> Any:
    value = onnx.helper.get_attribute_value(proto)
    if proto.type == FLOAT:
        return float(str(np.float32(value)))  # 1e-05, not 9.999999747378752e-06
    return value.decode("utf-8", "replace") if proto.type == STRING else value


def _of_constant(node: Node) -> np.ndarray:
    name, value = next(iter(node.attributes.items()), ("nothing", None))
    if name == "value":
        return as_array(value)
    if name in ("value_int", "value_ints"):
        return np.array(value, np.int64)
    if name not in ("value_float", "value_floats"):
        node.refuse(f"attribute {name} is not read")
    return np.array(value, np.float32)
