"""What is written: onnx's checker takes it, its reference evaluator and ONNX Runtime give what ``predict`` gives."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from onnx_cases import ARCHITECTURES, LARGE, agree, cases, filled, inputs, model

import xpnet as xn
from xpnet import models
from xpnet.onnx.saving import as_model

onnx = pytest.importorskip("onnx")
reference = pytest.importorskip("onnx.reference")
runtime = pytest.importorskip("onnxruntime")
pytestmark = [pytest.mark.extras, pytest.mark.filterwarnings("ignore:.*look like .channels")]
CASES = pytest.mark.parametrize(("make", "shape"), [case[1:] for case in cases()], ids=[case[0] for case in cases()])
#: Operators of which ONNX Runtime's CPU provider has no kernel for float64.
FLOAT32_ONLY = {"Conv", "AveragePool", "GlobalAveragePool", "LeakyRelu", "Gelu", "Elu", "Softplus"}


def session(written: onnx.ModelProto) -> runtime.InferenceSession:
    options = runtime.SessionOptions()
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
    if not FLOAT32_ONLY & {node.op_type for node in written.graph.node}:
        agree(session(written).run(None, {"input": x})[0], expected)
