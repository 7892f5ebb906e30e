"""ONNX files damaged in every way: cut, bits flipped, and lies in what they say of shapes, sizes, types, names and paths."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

HUGE = (-1, 0, 1, 3, 2**16, 10**9, 2**31, 2**40, 2**62, 2**63 - 1)
PATHS = ("../../etc/passwd", "/etc/passwd", "/dev/zero", "weights.bin", "..", "", "\0", "//server/share", "/proc/self/mem")
OPERATORS = (
    *("Relu", "Gemm", "MatMul", "Conv", "MaxPool", "AveragePool", "Reshape", "Flatten", "Transpose", "Concat", "Add", "Sum"),
    *("Mul", "Div", "Pad", "Slice", "Squeeze", "Unsqueeze", "ReduceMean", "Softmax", "LayerNormalization", "Identity", "Cast"),
    *("ConstantOfShape", "Expand", "Tile", "Range", "Loop", "If", "Shape", "Gather", "Constant", "Resize", "Nonsense", ""),
)
Mutation = Callable[[Any, np.random.Generator], None]


def mutated(data: bytes, rng: np.random.Generator, onnx: Any) -> bytes:
    """The bytes of a file, damaged once or a few times."""
    kind = rng.integers(10)
    if kind == 0:
        return data[: rng.integers(len(data))]
    if kind <= 3:
        return flipped(data, rng)
    model = onnx.ModelProto()
    model.ParseFromString(data)
    for _ in range(rng.integers(1, 4)):
        MUTATIONS[rng.integers(len(MUTATIONS))](model, rng)
    return model.SerializeToString()


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, half of the time where the structure is likely to be: at either end."""
    found = bytearray(data)
    near = min(len(data), 400) if rng.integers(2) else len(data)
    for _ in range(rng.integers(1, 9)):
        place = int(rng.integers(near))
        found[place if rng.integers(2) else -1 - place] = rng.integers(256)
    if rng.integers(4) == 0:
        start = int(rng.integers(len(data)))
        found[start : start + int(rng.integers(1, 60))] = rng.bytes(int(rng.integers(60)))
    return bytes(found)


def pick(items: Sequence[Any], rng: np.random.Generator) -> Any:
    return items[int(rng.integers(len(items)))] if len(items) else None


def huge(rng: np.random.Generator) -> int:
    return int(pick(HUGE, rng))


def dims(model: Any, rng: np.random.Generator) -> None:
    tensor = pick(model.graph.initializer, rng)
    if tensor is not None and tensor.dims and rng.integers(3):
        tensor.dims[int(rng.integers(len(tensor.dims)))] = huge(rng)
    elif tensor is not None:
        tensor.dims.append(huge(rng))


def raw_data(model: Any, rng: np.random.Generator) -> None:
    if (tensor := pick(model.graph.initializer, rng)) is not None:
        tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data) + 1))] if rng.integers(2) else rng.bytes(12)


def data_type(model: Any, rng: np.random.Generator) -> None:
    if (tensor := pick(model.graph.initializer, rng)) is not None:
        tensor.data_type = int(rng.integers(0, 24))


def numbers(model: Any, rng: np.random.Generator) -> None:
    """NaN, infinite or negative numbers, huge ones where numbers are shapes."""
    tensor = pick(model.graph.initializer, rng)
    if tensor is not None and tensor.data_type == 7:
        tensor.raw_data = np.array([huge(rng) for _ in range(len(tensor.raw_data) // 8)], np.int64).tobytes()
    elif tensor is not None:
        values = np.frombuffer(tensor.raw_data, np.uint8).copy()
        values[-4:] = np.frombuffer(np.float32(pick((np.nan, np.inf, -1e30, -5), rng)).tobytes(), np.uint8)[: len(values)]
        tensor.raw_data = values.tobytes()


def external(model: Any, rng: np.random.Generator) -> None:
    if (tensor := pick(model.graph.initializer, rng)) is not None:
        tensor.data_location = int(rng.integers(2))
        for key in ("location", "offset", "length"):
            entry = tensor.external_data.add()
            entry.key, entry.value = key, pick(PATHS, rng) if key == "location" else str(huge(rng))
        tensor.ClearField("raw_data")


def attributes(model: Any, rng: np.random.Generator) -> None:
    attribute = pick([a for node in model.graph.node for a in node.attribute], rng)
    if attribute is None:
        return
    if rng.integers(5) == 0:
        attribute.type = int(rng.integers(0, 15))
    elif attribute.ints:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = huge(rng)
    elif attribute.HasField("f"):
        attribute.f = float(pick((np.nan, np.inf, -1.0, 0.0, 1e38), rng))
    else:
        attribute.i = huge(rng)


def names(model: Any, rng: np.random.Generator) -> None:
    """An input or output of a node of another name: cycles, unknown tensors, two of the same."""
    known = [*(name for node in model.graph.node for name in node.output), "input", "", *model_tensors(model)]
    if (node := pick(model.graph.node, rng)) is not None:
        ends = node.input if rng.integers(3) and node.input else node.output
        ends[int(rng.integers(len(ends)))] = pick([*known, "unknown"], rng)


def model_tensors(model: Any) -> list[str]:
    return [tensor.name for tensor in model.graph.initializer]


def operators(model: Any, rng: np.random.Generator) -> None:
    if (node := pick(model.graph.node, rng)) is not None:
        node.op_type = pick(OPERATORS, rng)
        if rng.integers(2):
            node.ClearField("attribute")


def nodes(model: Any, rng: np.random.Generator) -> None:
    """One gone, one twice, or in another order."""
    i, kind = int(rng.integers(max(len(model.graph.node), 1))), rng.integers(3)
    if not model.graph.node:
        return
    if kind == 0:
        del model.graph.node[i]
    elif kind == 1:
        model.graph.node.add().CopyFrom(model.graph.node[i])
    else:
        model.graph.node.reverse()


def ends(model: Any, rng: np.random.Generator) -> None:
    """What the graph says of its input or output."""
    value = pick([*model.graph.input, *model.graph.output], rng)
    if value is None:
        return
    kind, shape = rng.integers(4), value.type.tensor_type.shape
    if kind == 0:
        value.type.tensor_type.elem_type = int(rng.integers(0, 24))
    elif kind == 1 and shape.dim:
        shape.dim[int(rng.integers(len(shape.dim)))].dim_value = huge(rng)
    elif kind == 2:
        shape.dim.add().dim_value = huge(rng)
    else:
        value.name = pick(("input", "output", "", "x"), rng)


def header(model: Any, rng: np.random.Generator) -> None:
    kind = rng.integers(4)
    if kind == 0:
        model.ir_version = huge(rng)
    elif kind == 1:
        model.opset_import[0].version = int(pick((-1, 0, 7, 13, 18, 26, 99, 2**40), rng))
    elif kind == 2:
        model.opset_import.add().domain = str(pick(("ai.onnx.ml", "com.microsoft", "x"), rng))
    else:
        model.functions.add().name = "f"


def many(model: Any, rng: np.random.Generator) -> None:
    """A graph that doubles, or is deep: every node takes what the last one gave, twice."""
    last, op = model.graph.output[0].name, str(pick(("Add", "Mul", "Concat", "Relu", "Sum"), rng))
    for i in range(int(pick((30, 300, 3000), rng))):
        node = model.graph.node.add(op_type=op, name=f"m{i}", output=[f"m{i}"])
        node.input.extend([last] if op == "Relu" else [last, last])
        if op == "Concat":
            attribute = node.attribute.add(name="axis", i=1)
            attribute.type = 2
        last = f"m{i}"
    model.graph.output[0].name = last


MUTATIONS: tuple[Mutation, ...] = (
    *(dims, raw_data, data_type, numbers, external, attributes, attributes, names, names, operators, nodes, ends, header, many),
)
