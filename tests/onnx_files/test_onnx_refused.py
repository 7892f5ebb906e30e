"""What xpnet has no layer for is refused by file, node, operator and attribute, and so is what would open other files."""

from __future__ import annotations

import os
import re
import sys

import numpy as np
import pytest
from onnx_cases import filled, means, written

import xpnet as xn
from xpnet.onnx import export, load

onnx = pytest.importorskip("onnx")
pytestmark = pytest.mark.extras
IMAGE, CUBE = (3, 6, 5), (4, 4, 4)
GRAPHS = {
    "an operator": (
        [("Sin", ["x"], "y", {})],
        IMAGE,
        r"node 'n0' \(Sin\): xpnet has no layer for it; docs/onnx.md lists",
    ),
    "behind others": ([("Relu", ["x"], "a", {}), ("Clip", ["a"], "y", {})], IMAGE, r"node 'n1' \(Clip\): xpnet has no layer"),
    "an attribute": (
        [("Gemm", ["x", "m"], "y", {"alpha": 0.5})],
        (3,),
        r"node 'n0' \(Gemm\): attribute alpha=0.5: 1.0 is read",
    ),
    "transA": ([("Gemm", ["x", "m"], "y", {"transA": 1})], (3,), "attribute transA=1: 0 is read alone"),
    "pads": (
        [("Conv", ["x", "w"], "y", {"pads": [0, 0, 1, 1], "strides": [2, 2]})],
        IMAGE,
        r"attribute pads=\[0, 0, 1, 1\]: the two sides differ, otherwise than with padding='same'",
    ),
    "auto_pad": (
        [("Conv", ["x", "w"], "y", {"auto_pad": "SAME_LOWER"})],
        IMAGE,
        "attribute auto_pad=SAME_LOWER: the two sides differ, otherwise than with padding='same', where more is behind",
    ),
    "huge pads": (
        [("Conv", ["x", "w"], "y", {"pads": [10**9] * 4})],
        IMAGE,
        r"attribute pads=\[1000000000.* to 65,536 are read",
    ),
    "dilated pooling": (
        [("MaxPool", ["x"], "y", {"kernel_shape": [2, 2], "dilations": [2, 2]})],
        IMAGE,
        r"attribute dilations=\[2, 2\]: \[1, 1\] is read alone",
    ),
    "padding of half a kernel": (
        [("MaxPool", ["x"], "y", {"kernel_shape": [2, 2], "pads": [2, 2, 2, 2]})],
        IMAGE,
        "padding is at most half of the kernel",
    ),
    "convolution of one axis": ([("Conv", ["x", "w1"], "y", {})], (3, 6), r"it takes images \(N, channels, height, width\)"),
    "softmax over rows": ([("Softmax", ["x"], "y", {"axis": 2})], IMAGE, "attribute axis=2: xpnet's is over the channels"),
    "flatten from axis 2": ([("Flatten", ["x"], "y", {"axis": 2})], IMAGE, "attribute axis=2: 1 is read alone"),
    "rows mixed with features": ([("Reshape", ["x", "r"], "y", {})], IMAGE, r"from \('N', 3, 6, 5\) to \[-1, 45\]: only each"),
    "transposed batch": ([("Transpose", ["x"], "y", {"perm": [1, 0, 2, 3]})], IMAGE, "the batch axis stays the first"),
    "transposed image": (
        [("Transpose", ["x"], "a", {"perm": [0, 1, 3, 2]}), ("Conv", ["a", "w"], "y", {})],
        IMAGE,
        "does not have the channels first that xpnet has last",
    ),
    "ends in Flatten": (
        [("Relu", ["x"], "a", {}), ("Flatten", ["a"], "y", {})],
        IMAGE,
        "its output 'y' has the numbers of an image",
    ),
    "a constant alone": ([("Relu", ["x"], "a", {}), ("Add", ["a", "c"], "y", {})], IMAGE, "no layer for a constant alone"),
    "a constant per pixel": (
        [("Conv", ["x", "w"], "a", {}), ("Add", ["a", "pixels"], "y", {})],
        IMAGE,
        r"the constant has the shape \(5, 4\), \(2, 1, 1\) is needed",
    ),
    "constant minus": ([("Sub", ["c", "x"], "y", {})], (3,), "of a constant and a tensor xpnet has the sum"),
    "product of branches": (
        [("Relu", ["x"], "a", {}), ("Mul", ["x", "a"], "y", {})],
        IMAGE,
        r"\(Mul\): its input '\w' has to be a con",
    ),
    "weights that are computed": ([("MatMul", ["x", "x"], "y", {})], (3,), "its input 'x' has to be a constant"),
    "broadcasting": (
        [("GlobalAveragePool", ["x"], "a", {}), ("Add", ["x", "a"], "y", {})],
        IMAGE,
        r"samples \[\(3, 6, 5\), \(3, 1, 1\)\] differ: they are not added by broadcasting",
    ),
    "sums of two orders": (
        [("Transpose", ["x"], "a", {"perm": [0, 1, 3, 2]}), ("Add", ["x", "a"], "y", {})],
        CUBE,
        r"samples \(4, 4, 4\) have their numbers in two orders",
    ),
    "a constant along a transposed axis": (
        [
            *(("Conv", ["x", "k"], "a", {}), ("Transpose", ["a"], "b", {"perm": [0, 1, 3, 2]}), ("Add", ["b", "c4"], "q", {})),
            ("Transpose", ["q"], "y", {"perm": [0, 1, 3, 2]}),
        ],
        CUBE,
        r"\(Add\): xpnet has no layer for a constant alone",
    ),
    "a constant along one of two normalised axes": (
        [
            *(("Transpose", ["x"], "a", {"perm": [0, 2, 3, 1]}), ("LayerNormalization", ["a", "g"], "b", {"axis": -2})),
            *(("Transpose", ["b"], "q", {"perm": [0, 3, 1, 2]}), ("Mul", ["q", "c41"], "y", {})),
        ],
        CUBE,
        r"\(Mul\): xpnet has no layer for a constant alone",
    ),
    "a constant with more axes": (
        [("MatMul", ["x", "m"], "a", {}), ("Add", ["a", "c112"], "y", {})],
        (3,),
        r"'c112', of the shape \(1, 1, 2\), gives samples of \(2,\) an axis more",
    ),
    "nothing with more axes": ([("Mul", ["x", "c111"], "y", {})], (3,), r"'c111', of the shape \(1, 1, 1\), gives samples"),
    "a bias with more axes": ([("Gemm", ["x", "m", "c112"], "y", {})], (3,), r"'c112' has the shape \(1, 1, 2\), one number"),
    "a threshold with more axes": (
        [("Greater", ["x", "c111"], "a", {}), ("Cast", ["a"], "y", {"to": 1})],
        (3,),
        r"\(Greater\): xpnet has no layer",
    ),
    "rows made images": (
        [("Reshape", ["x", "image"], "y", {})],
        (12,),
        r"its output 'y', \(3, 2, 2\) per sample, is made of rows and taken for images with the channels first",
    ),
    "the rows of the example": (
        [("Reshape", ["x", "two_rows"], "y", {})],
        IMAGE,
        r"to \[2, -1\]: .*if 2 was the number of rows at export, x.size\(0\)",
    ),
    "arithmetic with rows": (
        [("Shape", ["x"], "all", {}), ("Mod", ["all", "two"], "t", {}), ("Reshape", ["x", "t"], "y", {})],
        IMAGE,
        r"\(Mod\): it computes with the number of rows",
    ),
    "division by 0": (
        [("Div", ["two", "zero"], "t", {}), ("Reshape", ["x", "t"], "y", {})],
        IMAGE,
        r"\(Div\): 'zero' has a 0",
    ),
    "arithmetic with weights": (
        [("Add", ["m", "m"], "t", {}), ("MatMul", ["x", "t"], "y", {})],
        (3,),
        "that is not of whole numbers",
    ),
    "infinity as a whole number": (
        [("Cast", ["inf"], "t", {"to": 7}), ("Reshape", ["x", "t"], "y", {})],
        IMAGE,
        r"\(Cast\): its numbers are no int64",
    ),
    "rows as another type": (
        [("Shape", ["x"], "all", {}), ("Cast", ["all"], "t", {"to": 6}), ("Reshape", ["x", "t"], "y", {})],
        IMAGE,
        r"\(Cast\): its numbers are no int32",
    ),
    "layer norm over one axis of an image": (means(-1), CUBE, r"\(Div\): its input, \(4, 4, 4\) .* another order than xpnet"),
    "layer norm over two axes of an image": (means(-2, -1), CUBE, r"\(Div\): its input, \(4, 4, 4\) .* another order"),
    "concatenated pixels": ([("Concat", ["x", "x"], "y", {"axis": 2})], IMAGE, "attribute axis=2 .*xpnet joins channels"),
    "concatenated behind a Flatten": (
        [("Flatten", ["x"], "a", {}), ("Relu", ["a"], "b", {}), ("Concat", ["a", "b"], "y", {"axis": 1})],
        IMAGE,
        "concatenate before it",
    ),
    "no branches": (
        [
            *(("Relu", ["x"], "a", {}), ("Tanh", ["x"], "b", {}), ("Add", ["a", "b"], "sum", {})),
            *(("Sigmoid", ["a"], "d", {}), ("Add", ["sum", "d"], "y", {})),
        ],
        IMAGE,
        "two branches share a node",
    ),
    "a crop that is not the middle": (
        [("Slice", ["x", "zero", "two", "two"], "y", {})],
        IMAGE,
        r"from \[0, 0, 0\] on \[3, 2, 5\] of \(3, 6, 5\): xpnet's RandomCrop shows the middle",
    ),
    "a middle that RandomCrop moves": (
        [("Slice", ["x", "one", "five", "two"], "y", {})],
        IMAGE,
        r"node 'n0' \(Slice\): xpnet's RandomCrop would move in training what this has in one place",
    ),
    "padded by reflection": (
        [("Pad", ["x", "p"], "y", {"mode": "reflect"})],
        IMAGE,
        "attribute mode=reflect: constant is read",
    ),
    "a mean over rows": (
        [("ReduceMean", ["x"], "y", {"axes": [2]})],
        IMAGE,
        r"axes \[2\] of .* over an image's height and width",
    ),
    "training": (
        [("BatchNormalization", ["x", "s", "s", "s", "s"], "y", {"training_mode": 1})],
        IMAGE,
        "attribute training_mode=1: 0 is read alone",
    ),
    "statistics of the batch": (
        [("BatchNormalization", ["x", "s", "s", "s", "s"], ["y", "mean", "var", "mean2", "var2"], {})],
        IMAGE,
        "it gives the statistics of the batch: export the model in inference mode",
    ),
    "a negative variance": (
        [("BatchNormalization", ["x", "s", "s", "s", "neg"], "y", {})],
        IMAGE,
        "a running variance is negative",
    ),
    "weights of another dtype": ([("Add", ["x", "double"], "y", {})], (3,), "'double' is float64, the graph's input float32"),
    "weights that are not finite": ([("MatMul", ["x", "nan"], "y", {})], (3,), "'nan' has values that are not finite"),
    "weights of another size": ([("MatMul", ["x", "m"], "y", {})], (4,), r"the weight has 3 rows, samples are \(4,\)"),
    "a constant made by size": (
        [("ConstantOfShape", ["big"], "made", {}), ("Add", ["x", "made"], "y", {})],
        (3,),
        r"\(ConstantOfShape\): it makes a constant of the shape \[1000000000, 1000000000\], at most 64",
    ),
    "no dependence": ([("Identity", ["s"], "y", {})], (3,), "its output 'y' does not depend on its input"),
    "huge samples": ([("Relu", ["x"], "y", {})], (2**30, 2**30), "have more than 268,435,456 numbers"),
}
FLOATS = {"w": np.ones((2, 3, 2, 2)), "w1": np.ones((2, 3, 2)), "s": np.ones(3), "m": np.ones((3, 2)), "neg": -np.ones(3)}
FLOATS |= {
    "k": np.ones((4, 4, 1, 1)),
    "g": np.ones((4, 4)),
    "c4": np.ones(4),
    "c41": np.full((4, 1), 2),
    "e": 1e-3,
    "square": 2,
}
FLOATS |= {"inf": [np.inf, 1], "c112": np.ones((1, 1, 2)), "c111": np.ones((1, 1, 1))}
FLOATS |= {"c": np.full((3, 1, 1), 2), "pixels": np.ones((5, 4)), "nan": np.full((3, 2), np.nan)}
OPSETS = {"a mean over rows": 17, "statistics of the batch": 13} | dict.fromkeys([n for n in GRAPHS if "layer norm" in n], 16)
WHOLE = {
    "image": [-1, 3, 2, 2],
    "two_rows": [2, -1],
    "r": [-1, 45],
    "zero": [0],
    "one": [1],
    "five": [5],
    "two": [2],
    "p": [0, 0, 1, 1, 0, 0, 1, 1],
    "big": [10**9, 10**9],
}
CONSTANTS = {name: np.float32(value) for name, value in FLOATS.items()} | {name: np.array(n) for name, n in WHOLE.items()}
CONSTANTS["double"] = np.ones(3)


@pytest.mark.parametrize("name", GRAPHS)
def test_refused(name, tmp_path):
    nodes, shape, said = GRAPHS[name]
    used = {i for _, inputs, _, _ in nodes for i in inputs}
    tensors = {name: value for name, value in CONSTANTS.items() if name in used}
    written(nodes, tensors, shape, tmp_path / "n.onnx", opset=OPSETS.get(name, 18))
    with pytest.raises(ValueError, match=said) as refused:
        load(tmp_path / "n.onnx")
    assert str(refused.value).startswith(f"{tmp_path / 'n.onnx'}: ")


@pytest.fixture
def model(tmp_path):
    """A good file's message, and where to save it."""
    export(filled(xn.Sequential(xn.Affine(3), xn.ReLU()), (4,)), tmp_path / "n.onnx")
    return onnx.load(tmp_path / "n.onnx")


def refused(model, tmp_path):
    (tmp_path / "n.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'n.onnx'}: ")) as found:
        load(tmp_path / "n.onnx")
    return str(found.value)


@pytest.mark.parametrize("location", ["../../etc/passwd", "/etc/passwd", "weights.bin", ""])
def test_data_in_other_files_is_refused_and_not_opened(location, model, tmp_path, monkeypatch):
    (tmp_path / "weights.bin").write_bytes(bytes(48))
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = 1
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    monkeypatch.setattr(onnx.checker, "check_model", lambda *a: pytest.fail("the checker, which follows paths, was asked"))
    opened, watching = [], [True]  # a hook cannot be taken away again
    sys.addaudithook(lambda event, about: opened.append(str(about[0])) if watching and event == "open" else None)
    said = refused(model, tmp_path)
    watching.clear()
    assert f"tensor '0.weight' lies in another file, {location!r}, which is not opened: save the model as one file" in said
    assert set(opened) == {str(tmp_path / "n.onnx")}


def test_data_in_another_file_in_an_attribute(model, tmp_path):
    node = model.graph.node.add(op_type="Constant", output=["unused"])
    attribute = node.attribute.add(name="value", type=4)
    attribute.t.name, attribute.t.data_location = "hidden", 1
    assert "tensor 'hidden' lies in another file" in refused(model, tmp_path)


def test_files_that_are_none(tmp_path):
    for data in (b"", b"no", bytes(1000), b"\x08\x08" * 500, os.urandom(64)):
        (tmp_path / "n.onnx").write_bytes(data)
        with pytest.raises(ValueError, match=re.escape(f"{tmp_path / 'n.onnx'}: ")):
            load(tmp_path / "n.onnx")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent.onnx")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


def test_a_file_larger_than_any(tmp_path):
    with (tmp_path / "n.onnx").open("wb") as file:
        file.truncate(2**31)  # with no blocks of its own
    with pytest.raises(ValueError, match="an ONNX file holds at most 2 GB"):
        load(tmp_path / "n.onnx")


def test_old_and_foreign_operators(model, tmp_path):
    model.opset_import[0].version = 12
    assert "it was written for operator set 12, 13 and later are read" in refused(model, tmp_path)
    model.opset_import[0].version = 21
    model.opset_import.add().domain = "com.microsoft"
    assert "it needs operators of 'com.microsoft'" in refused(model, tmp_path)


def test_functions_and_graphs_within(model, tmp_path):
    model.graph.node[0].attribute.add(name="body", type=5)
    assert "attribute 'body' holds a graph or sparse tensor" in refused(model, tmp_path)
    model.functions.add().name = "f"
    assert "it defines the function 'f'" in refused(model, tmp_path)


def test_inputs_and_outputs(model, tmp_path):
    value = model.graph.input[0]
    value.type.tensor_type.shape.dim[1].dim_param = "D"
    assert "its input 'input' has the shape ['N', 'D']: all axes but the first need their lengths" in refused(model, tmp_path)
    value.type.tensor_type.elem_type = 10
    assert "has data type 10: float32 and float64 are read" in refused(model, tmp_path)
    model.graph.input.add().CopyFrom(value)
    model.graph.input[1].name = "second"
    assert "it has 2 inputs and 1 outputs" in refused(model, tmp_path)


def test_lies_of_sizes(model, tmp_path):
    tensor = model.graph.initializer[0]
    tensor.dims[0] = 2**40
    assert "the file is damaged" in refused(model, tmp_path) or "checker" in refused(model, tmp_path)
    del tensor.dims[:]
    tensor.dims.extend([4, 3])
    tensor.data_type = 10
    assert "tensor '0.weight' has data type FLOAT16" in refused(model, tmp_path) or "checker" in refused(model, tmp_path)


def test_more_nodes_than_are_read(model, tmp_path):
    model.graph.node.extend([model.graph.node[0]] * 10_001)
    assert "it has 10,003 nodes, 10,000 are read at most" in refused(model, tmp_path)


def test_too_deep_a_nest(tmp_path):
    nodes = [("Relu", ["x"], "a0", {})]
    for i in range(1000):  # every branch begins at x, and holds the one before
        nodes += [("Add", ["x", f"a{2 * i}"], f"a{2 * i + 1}", {}), ("Relu", [f"a{2 * i + 1}"], f"a{2 * i + 2}", {})]
    written(nodes, {}, (3,), tmp_path / "n.onnx")
    with pytest.raises(ValueError, match="RecursionError"):
        load(tmp_path / "n.onnx")
