"""What is read: our own files give the same predictions; graphs as other programs write them; what is refused, and how."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_cases import LARGE, agree, cases, filled, inputs, means, whole_network, whole_networks, written

import xpnet as xn
from xpnet.onnx import export, load

onnx = pytest.importorskip("onnx")
pytestmark = [pytest.mark.extras, pytest.mark.filterwarnings("ignore:.*look like .channels")]
CASES = pytest.mark.parametrize(("make", "shape"), [case[1:] for case in cases()], ids=[case[0] for case in cases()])


# --- our own files ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels_first", [False, True], ids=["last", "first"])
@CASES
def test_round_trip(make, shape, channels_first, tmp_path):
    net = filled(make(), shape)
    export(net, tmp_path / "net.onnx", channels_first=channels_first)
    twin = load(tmp_path / "net.onnx")
    assert (twin.input_shape, twin.output_shape) == (net.input_shape, net.output_shape)
    for n in (1, 5):
        agree(twin.predict(inputs(net, n)), net.predict(inputs(net, n)))


@CASES
def test_round_trip_in_float64(make, shape, tmp_path):
    net = filled(make(), shape, "float64")
    export(net, tmp_path / "net.onnx")
    agree(load(tmp_path / "net.onnx").predict(inputs(net, 3)), net.predict(inputs(net, 3)), 1e-7)  # epsilon is float32 in it


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in whole_networks()])
def test_models_and_architectures(name, tmp_path):
    net = whole_network(name)
    export(net, tmp_path / "net.onnx")
    agree(load(tmp_path / "net.onnx").predict(inputs(net, 3)), net.predict(inputs(net, 3)))


def test_a_chain_comes_back_as_it_was(tmp_path):
    net = filled(xn.Sequential(xn.Conv2d(4, 3, padding="same"), xn.BatchNorm(), xn.ELU(0.7), xn.MaxPool2d(2)), (6, 5, 3))
    export(net, tmp_path / "net.onnx")
    twin = load(tmp_path / "net.onnx")
    assert repr(twin) == "Sequential(Conv2d(n_out=4, kernel=3, padding=1), BatchNorm(), ELU(alpha=0.7), MaxPool2d(kernel=2))"
    assert list(twin.parameters) == list(net.parameters)
    for name, values in net.parameters.snapshot().items():
        np.testing.assert_array_equal(twin.parameters.snapshot()[name], values)


def test_what_was_read_can_be_trained(device, tmp_path, rng):
    net = filled(xn.Sequential(xn.Conv2d(4, 3), xn.BatchNorm(), xn.ReLU(), xn.GlobalAvgPool2d(), xn.Affine(3)), (6, 5, 3))
    export(net, tmp_path / "net.onnx")
    twin = load(tmp_path / "net.onnx", device)
    assert twin.device == device
    trainer = xn.Trainer(twin, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Momentum(0.05), device=device)
    x, y = rng.standard_normal((12, 6, 5, 3)).astype("float32"), np.arange(12) % 3
    before = trainer.evaluate(x, y)["loss"]
    trainer.fit(x, y, epochs=5, batch_size=6, progress=False)
    assert trainer.evaluate(x, y)["loss"] < before


# --- graphs as others write them -----------------------------------------------------------------------------------


def judged(nodes, tensors, shape, path, rng, **options):
    """The network that was read, seen to give what onnx's evaluator gives for a channels-first graph."""
    reference = pytest.importorskip("onnx.reference")
    model = written(nodes, tensors, shape, path, **options)
    net, x = load(path), rng.standard_normal((2, *shape)).astype(np.float32)
    expected = reference.ReferenceEvaluator(model).run(None, {"x": x})[0]
    last = [a.transpose(0, 2, 3, 1) if a.ndim == 4 else a for a in (x, expected)]
    agree(net.predict(np.ascontiguousarray(last[0])), last[1])
    return net


def floats(rng, *shape):
    return rng.standard_normal(shape).astype(np.float32)


def test_rows_behind_a_flatten_are_rearranged_through_what_is_between(tmp_path, rng):
    nodes = [
        ("Reshape", ["x", "shape"], "a", {}),
        ("Relu", ["a"], "b", {}),
        ("BatchNormalization", ["b", "s", "o", "m", "v"], "c", {}),
        ("Mul", ["c", "s"], "d", {}),
        ("Softmax", ["d"], "e", {"axis": 1}),
        ("LayerNormalization", ["e", "s", "o"], "f", {"axis": 1}),
        ("MatMul", ["f", "w"], "g", {}),
        ("Add", ["o5", "g"], "y", {}),
    ]
    constants = {name: floats(rng, 60) for name in "som"} | {"v": abs(floats(rng, 60)) + 1, "shape": np.array([-1, 60])}
    net = judged(nodes, {**constants, "w": floats(rng, 60, 5), "o5": floats(rng, 1, 5)}, (3, 4, 5), tmp_path / "n.onnx", rng)
    assert [type(layer).__name__ for layer in net.layers] == [
        *("ReLU", "Flatten", "BatchNorm", "Softmax", "LayerNorm", "Affine"),
    ]


def test_channels_last_in_a_graph_of_other_makers(tmp_path, rng):
    """Transpose at the borders: images are last in the file too."""
    nodes = [
        ("Transpose", ["x"], "a", {"perm": [0, 3, 1, 2]}),
        ("Conv", ["a", "w"], "b", {}),
        ("Transpose", ["b"], "c", {"perm": [0, 2, 3, 1]}),
        ("Add", ["c", "o"], "d", {}),
        ("ReduceMean", ["d", "axes"], "y", {"keepdims": 0}),
    ]
    tensors = {"w": floats(rng, 2, 3, 2, 2), "o": floats(rng, 2), "axes": np.array([1, 2])}
    model = written(nodes, tensors, (6, 5, 3), tmp_path / "n.onnx")
    net, x = load(tmp_path / "n.onnx"), floats(rng, 2, 6, 5, 3)
    assert net.input_shape == (6, 5, 3)
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator(model)
    agree(net.predict(x), evaluator.run(None, {"x": x})[0])


def test_a_shape_that_is_computed(tmp_path, rng):
    """As tracing writes x.view(x.size(0), -1)."""
    nodes = [
        ("Shape", ["x"], "s", {}),
        ("Gather", ["s", "zero"], "n", {"axis": 0}),
        ("Unsqueeze", ["n", "axis"], "u", {}),
        ("Concat", ["u", "rest"], "t", {"axis": 0}),
        ("Reshape", ["x", "t"], "a", {}),
        ("Gemm", ["a", "w", "o"], "y", {"transB": 0}),
    ]
    tensors = {"zero": np.array(0), "axis": np.array([0]), "rest": np.array([-1]), "w": floats(rng, 12, 2), "o": floats(rng, 2)}
    judged(nodes, tensors, (3, 2, 2), tmp_path / "n.onnx", rng)


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("before", ["Conv", "BatchNormalization", "InstanceNormalization"])
def test_constants_belong_to_the_layer_before(op, before, tmp_path, rng):
    inputs = {"Conv": ["x", "w"], "BatchNormalization": ["x", "s", "s", "s", "v"], "InstanceNormalization": ["x", "s", "s"]}
    nodes = [(before, inputs[before], "a", {}), (op, ["a", "c"], "y", {})]
    tensors = {"w": floats(rng, 3, 3, 2, 2), "s": floats(rng, 3), "v": abs(floats(rng, 3)) + 1, "c": floats(rng, 3, 1, 1) + 3}
    assert len(judged(nodes, tensors, (3, 4, 5), tmp_path / "n.onnx", rng).layers) == 1


def test_branches_of_the_same_and_of_nothing(tmp_path, rng):
    nodes = [
        ("Identity", ["x"], "i", {}),
        ("Relu", ["i"], "a", {}),
        ("Concat", ["x", "a"], "b", {"axis": 1}),
        ("Sum", ["b", "b"], "c", {}),
        ("Tanh", ["c"], "d", {}),
        ("Add", ["c", "d"], "e", {}),
        ("Dropout", ["e"], "y", {}),
    ]
    judged(nodes, {}, (3, 4, 5), tmp_path / "n.onnx", rng)


def test_weights_through_transposes_and_dead_ends(tmp_path, rng):
    nodes = [
        ("Transpose", ["w"], "t", {"perm": [1, 0]}),
        ("Identity", ["t"], "u", {}),
        ("MatMul", ["x", "u"], "y0", {}),
        ("NonZero", ["x"], "dead", {}),
        ("Squeeze", ["y0"], "dead2", {}),
        ("Identity", ["y0"], "y", {}),
    ]
    judged(nodes, {"w": floats(rng, 3, 5)}, (5,), tmp_path / "n.onnx", rng)


def test_a_fixed_number_of_rows_is_read_as_any(tmp_path, rng):
    nodes = [("Reshape", ["x", "s"], "a", {}), ("MatMul", ["a", "w"], "y", {})]
    written(nodes, {"s": np.array([2, 12]), "w": floats(rng, 12, 3)}, (3, 4), tmp_path / "n.onnx", batch=2)
    assert load(tmp_path / "n.onnx").predict(floats(rng, 7, 3, 4)).shape == (7, 3)


NUMBERS = {"e": np.float32(1e-3), "square": np.float32(2)}


@pytest.mark.parametrize("shape", [(3, 4, 5), (4, 4, 4)])
@pytest.mark.parametrize("scaled", [False, True])
def test_layer_norm_by_its_means(shape, scaled, tmp_path, rng):
    """Of an image as a whole, then of the row that it was flattened to."""
    nodes = [*means(-3, -2, -1, output="n"), *([("Mul", ["n", "g"], "m", {}), ("Add", ["m", "g"], "o", {})] if scaled else [])]
    nodes += [("Flatten", ["o" if scaled else "n"], "row", {})]
    again = means(-1, x="row", output="z")
    names = {name: f"{name}2" for _, _, name, _ in again if name != "z"}
    nodes += [(op, [names.get(i, i) for i in inputs], names.get(o, o), a) for op, inputs, o, a in again]
    nodes += [("MatMul", ["z", "w"], "y", {})]
    tensors = NUMBERS | {"w": floats(rng, 60 if 3 in shape else 64, 3)} | ({"g": floats(rng, *shape)} if scaled else {})
    net = judged(nodes, tensors, shape, tmp_path / "n.onnx", rng, opset=16)
    assert [type(layer).__name__ for layer in net.layers] == ["LayerNorm", "Flatten", "LayerNorm", "Affine"]


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 1, 5), (3, 4, 1), (4, 1, 1), (1, 1, 6)])
def test_images_with_an_axis_of_length_1(shape, tmp_path, rng):
    """They are channels first at the output, whatever made them."""
    judged([("Relu", ["x"], "y", {})], {}, shape, tmp_path / "n.onnx", rng)
    nodes = [("GlobalAveragePool", ["x"], "a", {}), ("Tanh", ["a"], "y", {})]
    judged(nodes, {}, shape, tmp_path / "n.onnx", rng)


@pytest.mark.parametrize("before", [(20,), (4, 5), (1, 4, 5)])
def test_rows_made_an_image_of_one_channel(before, tmp_path, rng):
    """A decoder and an autoencoder."""
    nodes = [("Flatten", ["x"], "a", {}), ("MatMul", ["a", "w"], "b", {}), ("Reshape", ["b", "s"], "y", {})]
    judged(nodes, {"w": floats(rng, 20, 20), "s": np.array([-1, 1, 4, 5])}, before, tmp_path / "n.onnx", rng)


def test_shapes_are_worked_out(tmp_path, rng):
    """As tracing writes x.view(n, c * h, w) and more, in a roundabout way."""
    nodes = [
        ("Shape", ["x"], "s", {}),
        ("Slice", ["s", "0", "1"], "n", {}),
        *((("Slice", ["s", f"{i}", f"{i + 1}"], f"d{i}", {})) for i in (1, 2, 3)),
        ("Mul", ["d1", "d2"], "ch", {}),
        ("Add", ["ch", "2"], "more", {}),
        ("Sub", ["more", "2"], "less", {}),
        ("Div", ["less", "3"], "third", {}),
        ("Mod", ["d3", "4"], "one", {}),
        ("Cast", ["one"], "whole", {"to": 7}),
        ("ConstantOfShape", ["1"], "zero", {}),
        ("Cast", ["zero"], "keep", {"to": 7}),
        ("Concat", ["n", "third", "3", "d3"], "target", {"axis": 0}),
        ("Reshape", ["x", "target"], "a", {}),
        ("Concat", ["keep", "third", "whole", "rest"], "back", {"axis": 0}),
        ("Reshape", ["a", "back"], "b", {}),
        ("Flatten", ["b"], "c", {}),
        ("MatMul", ["c", "w"], "y", {}),
    ]
    tensors = {str(i): np.array([i]) for i in range(5)} | {"rest": np.array([-1]), "w": floats(rng, 60, 2)}
    judged(nodes, tensors, (3, 4, 5), tmp_path / "n.onnx", rng)


def test_zeros_before_a_convolution_are_its_padding(tmp_path, rng):
    """With every kind of padding of its own: right where it is read, and most is."""
    read, right = 0, set()
    for number in range(120):
        auto = ["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"][number % 4]
        kernel, stride = (int(n) for n in rng.integers(1, 4, 2))
        pads = rng.integers(0, 3, 4) if number % 3 else np.repeat(rng.integers(0, 2, 2)[None], 2, 0).reshape(-1)
        attributes = {"strides": [stride] * 2, "auto_pad": auto}
        if auto == "NOTSET":
            attributes["pads"] = [int(n) for n in np.tile(rng.integers(0, 2, 2), 2)]
        nodes = [("Pad", ["x", "pads"], "a", {}), ("Conv", ["a", "w"], "y", attributes)]
        tensors = {"pads": np.array([0, 0, *pads[:2], 0, 0, *pads[2:]]), "w": floats(rng, 2, 3, kernel, kernel)}
        try:
            net = judged(nodes, tensors, (3, 6, 7), tmp_path / "n.onnx", rng)
        except ValueError as error:
            right.add("the two sides differ, otherwise than with padding='same'" in str(error))
        else:
            right.add([type(layer) for layer in net.layers] == [xn.Conv2d])
            read += 1
    assert right == {True}
    assert read > 30


def test_zeros_that_others_see_too_stay_a_layer(tmp_path, rng):
    nodes = [("Pad", ["x", "pads"], "a", {}), ("Conv", ["a", "w"], "c", {}), ("Relu", ["a"], "b", {})]
    tensors = {"pads": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": floats(rng, 3, 3, 1, 1)}
    net = judged([*nodes, ("Add", ["b", "c"], "y", {})], tensors, (3, 4, 5), tmp_path / "n.onnx", rng)
    assert type(net.layers[0]) is xn.RandomCrop
    model = written(nodes[:2], tensors, (3, 4, 5), tmp_path / "n.onnx")
    model.graph.output[0].name = "a"  # what the convolution is given, not what it gives
    onnx.save(model, tmp_path / "n.onnx")
    assert load(tmp_path / "n.onnx").output_shape == (6, 7, 3)


def test_padding_comes_back_as_the_pool_s(tmp_path):
    net = filled(xn.Sequential(xn.AvgPool2d((3, 2), padding=(0, 1), ceil_mode=True)), (7, 6, 2))
    export(net, tmp_path / "net.onnx")
    assert "Pad" in [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node]
    assert repr(load(tmp_path / "net.onnx")) == repr(net)


def test_an_output_whose_shape_is_not_declared(tmp_path):
    net = filled(xn.Sequential(xn.Affine(3)), (4,))
    export(net, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    model.graph.output[0].type.tensor_type.ClearField("shape")
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    agree(load(tmp_path / "net.onnx").predict(inputs(net, 3)), net.predict(inputs(net, 3)))
