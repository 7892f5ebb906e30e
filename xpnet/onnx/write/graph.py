"""The nodes and tensors of an ONNX graph, as layers are added to it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnet.layers.base import Shape
from xpnet.parameters import Parameter


class Value(NamedTuple):
    """A tensor of the graph.

    ``shape`` is a sample's as xpnet has it, channels last; ``first`` tells whether the tensor has the channels at axis 1.
    """

    name: str
    shape: Shape
    first: bool = False

    @property
    def dims(self) -> Shape:
        """The tensor's shape without the batch axis."""
        return (*self.shape[-1:], *self.shape[:-1]) if self.first else self.shape


Emitter = Callable[[Any, Value, "Graph", str], Value]  # of a layer, its input, the graph, and the layer's path


class Graph:
    """What has been written so far.

    ``table`` has the function that writes a layer of each class, ``arrays`` the network's parameters by name.
    """

    def __init__(self, onnx: Any, table: dict[type, Emitter], arrays: dict[str, np.ndarray], dtype: np.dtype):
        self.onnx, self.table, self.arrays, self.dtype = onnx, table, arrays, dtype
        self.nodes: list[Any] = []
        self.tensors: dict[str, Any] = {}
        self.other_layout: dict[str, Value] = {}  # of each tensor that was transposed, and of what came of it

    def layer(self, layer: Any, x: Value, path: str) -> Value:
        """Write a layer; TypeError for a class that there is no function for."""
        return self.table[known(type(layer), self.table, path)](layer, x, self, path)

    def node(self, op: str, x: Value, path: str, *others: str, shape: Shape | None = None, **attributes: Any) -> Value:
        """Add a node whose first input is ``x``; its output has the shape of ``x`` per sample unless told.

        It is named by path and operator: a layer has each operator once.
        """
        name = f"{path}.{op}"
        self.nodes.append(self.onnx.helper.make_node(op, [x.name, *others], [name], name, **attributes))
        return x._replace(name=name, shape=x.shape if shape is None else shape)

    def tensor(self, name: str, array: np.ndarray | Sequence[int] | float) -> str:
        """Add a constant: an array as it is, whole numbers as int64, a number in the network's dtype."""
        dtype = self.dtype if isinstance(array, float) else None if isinstance(array, np.ndarray) else np.int64
        values = np.ascontiguousarray(array, dtype).reshape(np.shape(array))
        self.tensors[name] = self.onnx.numpy_helper.from_array(values, name)
        return name

    def array(self, parameter: Parameter) -> np.ndarray:
        """The values of a parameter."""
        return self.arrays[parameter.name]

    def placed(self, x: Value, *, first: bool) -> Value:
        """``x`` with its channels first or last, transposed where it must be, and once."""
        rank = len(x.shape)
        if x.first == first or rank < 2:
            return x._replace(first=first)
        if x.name not in self.other_layout:
            axes = [0, rank, *range(1, rank)] if first else [0, *range(2, rank + 1), 1]
            found = self.node("Transpose", x, x.name, perm=axes)._replace(first=first)
            self.other_layout |= {x.name: found, found.name: x}
        return self.other_layout[x.name]


def known(layer: type, table: dict[type, Any], path: str) -> type:
    """The class of the table that a layer's class is, or computes as: it may add to it, and has its own constructor."""
    base = next((cls for cls in layer.__mro__ if cls in table), None)
    own = layer.__mro__[: layer.__mro__.index(base)] if base else ()
    changed = [name for cls in own for name in vars(cls) if not name.startswith("__") and hasattr(base, name)]
    if base is None or changed:
        raise TypeError(
            f"{f'the layer at {path}' if path else 'the network'}, {layer.__name__}, computes what xpnet's own layers do not, "
            f"and ONNX has no operator for it: export a network with layers of xpnet in its place; nothing was written"
        )
    return base
