"""The golden problem of optimizers, and walks through it."""

import numpy as np
import pytest
from helpers import golden

import xpnet as xn

CASES = dict(golden("optimizers"))


PROBLEM = CASES.pop("problem")


STEPS, SIZE = PROBLEM["noise"].shape


RULES = {
    "SGD": lambda **options: xn.SGD(0.05, **options),
    "Momentum": lambda **options: xn.Momentum(0.02, **options),
    "Nesterov": lambda **options: xn.Nesterov(0.02, **options),
    "AdaGrad": lambda **options: xn.AdaGrad(0.2, **options),
    "RMSProp": lambda **options: xn.RMSProp(0.05, **options),
    "Adam": lambda **options: xn.Adam(0.1, **options),
    "AdamW": lambda **options: xn.AdamW(0.1, **options),
}


every_case = pytest.mark.parametrize("case", CASES)


OPTIONS = {
    "plain": {},
    "l2": {"l2": 0.1},
    "decay": {"weight_decay": 0.1},
    "clip": {"clip_norm": 0.5},
    "clip-l2": {"clip_norm": 0.5, "l2": 0.1},
}


every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


every_rule = pytest.mark.parametrize("rule", RULES)


def start(device, dtype="float64"):
    """The golden problem's network: W (3, 2) and b (2,), so eight parameters."""
    net = xn.Sequential(xn.Affine(2)).build(3, device=device, dtype=dtype)
    w = PROBLEM["start"]
    net.parameters.restore({"0.W": w[:6].reshape(3, 2), "0.b": w[6:]})
    return net


def give_gradient(net, t):
    """Assign the gradient of step t at the parameters in hand."""
    p = net.parameters
    w = p.device.get(p.value).astype("float64")
    g = PROBLEM["curvature"] * (w - PROBLEM["target"]) + w * w * w / 10 + PROBLEM["noise"][t]
    with p.device.use():
        p.grad[...] = p.device.put(g, p.dtype)


def walk(net, optimizer, steps=range(STEPS), between=lambda net, optimizer, t: (net, optimizer)):
    """The parameters after each step; ``between`` may replace network and optimizer before a step."""
    path = []
    for t in steps:
        net, optimizer = between(net, optimizer, t)
        give_gradient(net, t)
        optimizer.update(net.parameters)
        path.append(net.device.get(net.parameters.value))
    return np.array(path)


def assign(net, gradient):
    p = net.parameters
    p.grad[...] = p.device.put(np.broadcast_to(gradient, p.grad.shape).copy(), p.dtype)


def values(net):
    return net.device.get(net.parameters.value)
