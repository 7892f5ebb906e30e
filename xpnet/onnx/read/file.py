"""The bytes of an ONNX file, made into messages and distrusted: nothing is opened besides, nothing allocated on its word."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import extras

LARGEST = 2**31 - 1  # bytes, protobuf's limit
MOST_NODES = 10_000
OLDEST = 13  # operator set; Softmax and others meant something else before
DOMAINS = ("", "ai.onnx")
TENSOR, GRAPH, SPARSE, TENSORS, GRAPHS, SPARSES = 4, 5, 11, 9, 10, 12  # AttributeProto.AttributeType
KINDS = {  # TensorProto.DataType: the dtype, and the field where numbers are that are not raw bytes
    1: ("<f4", "float_data"),
    6: ("<i4", "int32_data"),
    7: ("<i8", "int64_data"),
    9: ("?", "int32_data"),
    11: ("<f8", "double_data"),
}


class Refused(ValueError):
    """What the file holds cannot be made into a network; the message says what and where."""


def parsed(path: str | os.PathLike) -> Any:
    """The ``onnx.ModelProto`` in a file, seen by onnx's checker; Refused where it is none, or needs other files."""
    onnx, message = extras.load("onnx", "onnx"), extras.load("google.protobuf.message", "onnx")
    if (size := Path(path).stat().st_size) > LARGEST:
        raise Refused(f"it has {size:,} bytes, an ONNX file holds at most 2 GB")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(Path(path).read_bytes())
    except message.DecodeError as error:
        raise Refused(f"it is no ONNX file, or damaged ({error})") from error
    _check_parts(model)
    for output in model.graph.output:
        if output.type.HasField("tensor_type"):
            output.type.tensor_type.shape.SetInParent()  # it is worked out here; the checker asks that it be there
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # the checker, in C++, has errors of several classes
        raise Refused(f"onnx's checker refuses it: {str(error).strip().splitlines()[0]}") from error
    return model


def opset(model: Any) -> int:
    """The version of ONNX's operators that the file was written for."""
    return max((i.version for i in model.opset_import if i.domain in DOMAINS), default=0)


def as_array(tensor: Any) -> np.ndarray:
    """The numbers of a ``TensorProto``, read only; as many as it has, whatever it says."""
    if tensor.data_type not in KINDS:
        raise Refused(f"tensor {tensor.name!r} has data type {_type_name(tensor)}: float32 and float64 are read, and integers")
    dtype, field = KINDS[tensor.data_type]
    dims, raw = tuple(tensor.dims), tensor.raw_data
    count = len(raw) / np.dtype(dtype).itemsize if raw else len(getattr(tensor, field))
    if any(n < 0 for n in dims) or math.prod(dims) != count:
        raise Refused(f"tensor {tensor.name!r} is said to have the shape {dims}, it has {count:g} numbers: the file is damaged")
    values = np.frombuffer(raw, dtype) if raw else np.array(getattr(tensor, field), dtype)
    return values.reshape(dims)


def _type_name(tensor: Any) -> str:
    names = {number: name for name, number in tensor.DataType.items()}
    return names.get(tensor.data_type, str(tensor.data_type))


def _check_parts(model: Any) -> None:
    """Refuse what the checker need not see: it follows names of files, and functions into one another."""
    if len(model.graph.node) > MOST_NODES:
        raise Refused(f"it has {len(model.graph.node):,} nodes, {MOST_NODES:,} are read at most")
    if model.functions:
        raise Refused(f"it defines the function {model.functions[0].name!r}: functions are not read; inline them first")
    if foreign := [i.domain for i in model.opset_import if i.domain not in DOMAINS]:
        raise Refused(f"it needs operators of {foreign[0]!r}: ONNX's own are read alone")
    if model.graph.sparse_initializer:
        raise Refused("it has sparse initializers, which are not read")
    if opset(model) < OLDEST:
        raise Refused(f"it was written for operator set {opset(model)}, {OLDEST} and later are read: export it anew")
    for node in model.graph.node:
        if inner := [a.name for a in node.attribute if a.type in (GRAPH, GRAPHS, SPARSE, SPARSES) or a.HasField("g")]:
            raise Refused(f"node {node.name!r} ({node.op_type}): attribute {inner[0]!r} holds a graph or sparse tensor")
    for tensor in _tensors(model.graph):
        if tensor.external_data or tensor.data_location:
            where = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
            raise Refused(
                f"tensor {tensor.name!r} lies in another file, {where!r}, which is not opened: save the model as one file, "
                f"torch.onnx.export(..., external_data=False) or onnx.save(onnx.load(...), path)"
            )


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
