"""The golden cases of losses, and what a loss is called with."""

import pytest
from helpers import build, golden, network

import xpnet as xn

CASES = golden("losses")


GENTLE = [name for name in CASES if "1e4" not in name]


WEIGHTED = [name for name in GENTLE if "-weights" in name]


LOSSES = {
    "MeanSquaredError": xn.MeanSquaredError,
    "HalfSquaredError": xn.HalfSquaredError,
    "SigmoidCrossEntropy": xn.SigmoidCrossEntropy,
    "SoftmaxCrossEntropy": xn.SoftmaxCrossEntropy,
}


CPU = xn.device("cpu")


every_case = pytest.mark.parametrize("case", CASES)


gentle_case = pytest.mark.parametrize("case", GENTLE)


every_dtype = pytest.mark.parametrize("dtype", ["float32", "float64"])


def arguments(case):
    """The loss of a golden case, and its outputs, targets and weights (None without)."""
    data = CASES[case]
    return build(case, data["options"]), data["y"], data["targets"], data.get("weights")


def forwarded(y, device, dtype="float64", **options):
    """Device outputs of a network that hands them on, and the step: what a loss is called with."""
    net = network(xn.Identity(), y.shape[1:], device, dtype)
    step = net.step(training=True, **options)
    return net.forward(device.put(y, dtype), step)[0], step
