"""What is written: onnx's checker takes it, its reference evaluator and ONNX Runtime give what ``predict`` gives."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest
from onnx_cases import LARGE, WHOLE, agree, cases, filled, inputs, whole_network, whole_networks

import xpnet as xn
from xpnet import architectures
from xpnet.onnx import export
from xpnet.onnx.saving import as_model

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
runtime = pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.extras, pytest.mark.filterwarnings("ignore:.*look like .channels")]
CASES = pytest.mark.parametrize(("make", "shape"), [case[1:] for case in cases()], ids=[case[0] for case in cases()])
#: Operators of which ONNX Runtime's CPU provider has no kernel for float64.
FLOAT32_ONLY = {"Conv", "AveragePool", "GlobalAveragePool", "LeakyRelu", "Gelu", "Elu", "Softplus"}


def is_float32_only(node: onnx.NodeProto) -> bool:
    tanh = any(attribute.s == b"tanh" for attribute in node.attribute)  # Gelu by tanh is made of other operators there
    return node.op_type in FLOAT32_ONLY and not (node.op_type == "Gelu" and tanh)


def session(written: onnx.ModelProto, *, fuse: bool = True) -> runtime.InferenceSession:
    options = runtime.SessionOptions()
    if not fuse:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return runtime.InferenceSession(written.SerializeToString(), options, providers=["CPUExecutionProvider"])


def judge(net: xn.Sequential, x: np.ndarray, *, by_reference: bool = True) -> onnx.ModelProto:
    """The written network, once it was seen to give what ``predict`` gives for one row and for all."""
    written = as_model(net)
    onnx.checker.check_model(written, full_check=True)
    assert {i.domain for i in written.opset_import} == {""}
    running = session(written)
    evaluator = reference.ReferenceEvaluator(written) if by_reference else None
    for rows in (x[:1], x):
        expected = net.predict(rows)
        agree(running.run(None, {"input": rows})[0], expected)
        if evaluator:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the evaluator's own arithmetic
                agree(evaluator.run(None, {"input": rows})[0], expected)
    return written


@CASES
def test_layers(make, shape):
    net = filled(make(), shape)
    judge(net, inputs(net, 5))


@CASES
def test_layers_in_float64(make, shape):
    net = filled(make(), shape, "float64")
    x, written = inputs(net, 3), as_model(net)
    onnx.checker.check_model(written, full_check=True)
    expected = net.predict(x)
    assert expected.dtype == "float64"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        agree(reference.ReferenceEvaluator(written).run(None, {"input": x})[0], expected)
    if any(is_float32_only(node) for node in written.graph.node):
        with pytest.raises(Exception, match="NOT_IMPLEMENTED"):
            session(written, fuse=False)
    else:
        found = session(written, fuse=False).run(None, {"input": x})[0]  # some fusions have no kernel for float64
        agree(found, expected)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in whole_networks()])
def test_models_and_architectures(name):
    net = whole_network(name)
    if net.parameters.dtype == "float32":
        judge(net, inputs(net, 3))
    else:
        agree(session(as_model(net)).run(None, {"input": inputs(net, 3)})[0], net.predict(inputs(net, 3)))


def test_every_layer_is_written():
    classes = {type(layer) for _, make, _ in cases() for top in [make()] for layer in (top, *top.walk())}
    public = {getattr(xn.layers, name) for name in xn.layers.__all__} - {xn.Layer}
    assert public <= classes
    made = {name for name, f in vars(architectures).items() if inspect.isfunction(f) and f.__module__ == architectures.__name__}
    assert {name for name in made if not name.startswith("_")} == set(WHOLE)


def test_no_transpose_but_at_the_border():
    for name in ("lenet", "vgg", "resnet"):
        ops = [node.op_type for node in as_model(whole_network(name)).graph.node]
        assert ops[0] == "Transpose"
        assert ops.count("Transpose") == 1 + (name != "resnet")  # and before the Flatten
        ops = [node.op_type for node in as_model(whole_network(name), channels_first=True).graph.node]
        assert ops.count("Transpose") == (name != "resnet")


@CASES
def test_channels_first(make, shape):
    """Images in PyTorch's layout on both sides, everything else as it is."""
    net = filled(make(), shape)
    x, written = inputs(net, 3), as_model(net, channels_first=True)
    onnx.checker.check_model(written, full_check=True)
    expected = net.predict(x)
    given, expected = (a.transpose(0, 3, 1, 2) if a.ndim == 4 else a for a in (x, expected))
    agree(session(written).run(None, {"input": np.ascontiguousarray(given)})[0], expected)


def test_what_is_in_the_file(tmp_path):
    net = filled(
        xn.Sequential(xn.Conv2d(4, 3), xn.BatchNorm(), xn.Residual(xn.Affine(4)), xn.Flatten(), xn.Affine(2)), (6, 5, 3)
    )
    export(net, tmp_path / "net.onnx")
    written = onnx.load(tmp_path / "net.onnx")
    assert (written.ir_version, [i.version for i in written.opset_import]) == (10, [21])
    assert {entry.key: entry.value for entry in written.metadata_props} == {
        "producer": "xpnet",
        "version": xn.__version__,
        "xpnet.layout": "channels last",
    }
    shapes = {tensor.name: tuple(tensor.dims) for tensor in written.graph.initializer}
    assert shapes == {
        "0.weight": (4, 3, 3, 3),
        "0.bias": (4,),
        **{f"1.{name}": (4,) for name in ("weight", "bias", "running_mean", "running_var")},
        "2.0.weight": (4, 4),
        "2.0.bias": (4,),
        "4.weight": (2, 48),
        "4.bias": (2,),
    }
    for value, shape in ((written.graph.input[0], ["N", 6, 5, 3]), (written.graph.output[0], ["N", 2])):
        assert [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim] == shape
    assert (written.graph.input[0].name, written.graph.output[0].name) == ("input", "output")


def test_the_same_network_makes_the_same_bytes():
    net = whole_network("model images")
    assert as_model(net).SerializeToString() == as_model(net).SerializeToString()


def test_an_empty_batch():
    net = filled(xn.Sequential(xn.Conv2d(2, 3), xn.ReLU(), xn.Reshape((-1, 2)), xn.Affine(2)), (6, 5, 3))
    found = session(as_model(net)).run(None, {"input": inputs(net, 0)})[0]
    assert found.shape == net.predict(inputs(net, 0)).shape


def test_a_network_on_another_device(device, tmp_path):
    net = filled(xn.Sequential(xn.Affine(4), xn.BatchNorm()), (3,))
    export(net, tmp_path / "cpu.onnx")
    export(net.to(device), tmp_path / "there.onnx")
    assert (tmp_path / "cpu.onnx").read_bytes() == (tmp_path / "there.onnx").read_bytes()


class Options(xn.Affine):
    """Adds to its base and changes nothing."""

    def __init__(self):
        super().__init__(3, bias=False)

    def describe(self):
        return "three"


class Doubled(xn.Affine):
    """Computes something else than its base class."""

    def forward(self, x, step):
        return super().forward(2 * x, step)


class Net(xn.Sequential):
    """As users of PyTorch write one."""

    def __init__(self):
        super().__init__(xn.Affine(3), xn.ReLU())


def test_a_layer_of_one_s_own_is_refused_before_anything_is_written(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"the old one")
    net = xn.Sequential(xn.Affine(3), xn.Residual(Doubled(3))).build((2,))
    with pytest.raises(TypeError, match=r"the layer at 1.0, Doubled, computes what xpnet.*nothing was written"):
        export(net, tmp_path / "net.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["net.onnx"]
    assert (tmp_path / "net.onnx").read_bytes() == b"the old one"


def test_a_class_that_changes_nothing_is_written():
    net = Net()
    net.layers += (Options(),)
    net = filled(net, (4,))
    judge(net, inputs(net, 3))


def test_networks_that_cannot_be_written(tmp_path):
    with pytest.raises(xn.NotBuilt, match="not built"):
        export(xn.Sequential(xn.Affine(3)), tmp_path / "net.onnx")
    with pytest.raises(TypeError, match="a Sequential is needed, this is a Affine"):
        export(xn.Affine(3), tmp_path / "net.onnx")
    with pytest.raises(OSError, match="no"):
        export(xn.Sequential(xn.Affine(3)).build(2), tmp_path / "no" / "net.onnx")
    assert not list(tmp_path.iterdir())
