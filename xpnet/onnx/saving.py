"""A network as an ONNX file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from xpnet import extras
from xpnet.layers.containers import IMAGE_AXES
from xpnet.network import Sequential
from xpnet.onnx.write import TABLE, Graph, Value
from xpnet.saving.atomic import write_atomically

OPSET, IR_VERSION = 21, 10  # onnx's own defaults are newer than what ONNX Runtime reads
LARGEST = 2**31 - 2**20  # bytes of parameters: protobuf's limit, with room for the nodes
LAYOUT = "xpnet.layout"  # a key of metadata_props
FIRST, LAST = "channels first", "channels last"


def export(net: Sequential, path: str | os.PathLike, *, channels_first: bool = False) -> None:
    """Write a built network as an ONNX file, as it is in inference: operator set 21, float32 or float64 as the network.

    ``input`` (N, *input_shape) -> ``output`` (N, *output_shape), what ``predict`` takes and gives; N is open.
    ``channels_first=True``: images are (N, C, H, W) on both sides, as PyTorch has them. Inside they are so in any case.
    Weights are named as in PyTorch, "0.weight", "0.running_mean".

    Raises TypeError for a layer of one's own, ValueError above 2 GB, MissingExtra without the library ``onnx``, OSError.
    The file is written whole or not at all.
    """
    write_atomically(path, as_model(net, channels_first).SerializeToString())


def as_model(net: Sequential, channels_first: bool = False) -> Any:
    """The ``onnx.ModelProto`` of a built network."""
    onnx = extras.load("onnx", "onnx")
    if not isinstance(net, Sequential):
        raise TypeError(f"export: a Sequential is needed, this is a {type(net).__name__}")
    parameters = net.parameters
    if (size := parameters.value.nbytes + parameters.state.nbytes) > LARGEST:
        raise ValueError(f"export: the parameters take {size:,} bytes, an ONNX file holds at most 2 GB; nothing was written")
    graph = Graph(onnx, TABLE, parameters.snapshot(), parameters.dtype)
    given, found = at_ends(net, channels_first)
    computed = graph.placed(graph.layer(net, given, ""), first=found.first)
    found = named(computed, found.name, graph)
    return _model(onnx, graph, given, found, FIRST if channels_first else LAST)


def at_ends(net: Sequential, channels_first: bool) -> tuple[Value, Value]:
    """What the file takes and gives."""
    ends = (("input", net.input_shape), ("output", net.output_shape))
    given, found = (Value(name, shape, channels_first and len(shape) == IMAGE_AXES) for name, shape in ends)
    return given, found


def named(x: Value, name: str, graph: Graph) -> Value:
    """``x``, which no node takes, by another name."""
    if not graph.nodes or graph.nodes[-1].output[0] != x.name:  # it is the network's input
        x = graph.node("Identity", x, "")
    graph.nodes[-1].output[0] = name
    return x._replace(name=name)


def _model(onnx: Any, graph: Graph, given: Value, found: Value, layout: str) -> Any:
    from xpnet import __version__

    helper = onnx.helper
    ends = [[_declared(helper, value, graph.dtype)] for value in (given, found)]
    model = helper.make_model(
        helper.make_graph(graph.nodes, "xpnet", *ends, list(graph.tensors.values())),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="xpnet",
        producer_version=__version__,
    )
    helper.set_model_props(model, {"producer": "xpnet", "version": __version__, LAYOUT: layout})
    return model


def _declared(helper: Any, value: Value, dtype: np.dtype) -> Any:
    """An input or output, the number of rows open."""
    return helper.make_tensor_value_info(value.name, helper.np_dtype_to_tensor_dtype(dtype), ["N", *value.dims])
