"""Random networks come back as they were written, in either layout; random graphs are read as they are meant, or refused."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_cases import agree, filled, inputs, written
from onnx_random import graph, network

from xpnet.onnx import export, load

onnx = pytest.importorskip("onnx")
pytestmark = [pytest.mark.extras, pytest.mark.filterwarnings("ignore:.*look like .channels")]


def seeds(few, many):
    """A few, and many more where time does not matter."""
    return pytest.mark.parametrize("seeds", [range(few), pytest.param(range(few, many), marks=pytest.mark.slow)])


@seeds(60, 1000)
def test_networks(seeds, tmp_path):
    for seed in seeds:
        layer, shape = network(np.random.default_rng(seed))
        net = filled(layer, shape, seed=seed)
        x = inputs(net, 3)
        for first in (False, True):
            export(net, tmp_path / "net.onnx", channels_first=first)
            agree(load(tmp_path / "net.onnx").predict(x), net.predict(x))


@seeds(300, 10_000)
def test_graphs(seeds, tmp_path):
    reference, read = pytest.importorskip("onnx.reference"), 0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        nodes, tensors, shape = graph(rng)
        try:
            model = written(nodes, tensors, shape, tmp_path / "n.onnx")
            net = load(tmp_path / "n.onnx")
        except ValueError as error:
            assert "n.onnx: node '" in str(error)  # noqa: PT017 - most are refused, by the node
            continue
        x = rng.standard_normal((2, *shape)).astype(np.float32)
        expected = reference.ReferenceEvaluator(model).run(None, {"x": x})[0]
        agree(net.predict(np.ascontiguousarray(x.transpose(0, 2, 3, 1))), expected)
        read += 1
    assert read > len(seeds) // 10
