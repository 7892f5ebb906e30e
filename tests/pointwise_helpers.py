"""Every kernel that xpnet's own rules and activations give, and numbers for it."""

from __future__ import annotations

import functools

import numpy as np

import xpnet as xn
from xpnet.layers.fused import Body
from xpnet.pointwise import MASK, ROW

RULES = [xn.SGD, xn.Momentum, xn.Nesterov, xn.AdaGrad, xn.RMSProp, xn.Adam, xn.AdamW]
OPTIONS = [{}, {"l2": 0.1}, {"weight_decay": 0.1, "clip_norm": 0.5}, {"l2": 0.1, "clip_norm": 0.5, "decay_all": True}]
ACTIVATIONS = {
    "ReLU": xn.ReLU(),
    "LeakyReLU": xn.LeakyReLU(0.2),
    "Sigmoid": xn.Sigmoid(),
    "Tanh": xn.Tanh(),
    "ELU": xn.ELU(0.7),
    "SiLU": xn.SiLU(),
    "Softplus": xn.Softplus(),
    "GELU": xn.GELU(),
    "GELU-tanh": xn.GELU("tanh"),
    "Step": xn.Step(),
}


class HeavyBall(xn.Optimizer):
    """Momentum by the weights of the step before: an output that holds what another one is about to change."""

    slots = ("last",)
    recordable = True

    def rule(self, xp, rate, w, g, tmp, last):
        xp.subtract(w, last, out=tmp)
        tmp *= 0.9
        last[...] = w
        w += tmp
        xp.multiply(g, rate, out=tmp)
        w -= tmp


@functools.cache
def kernels(dtype):
    """All of them, each once."""
    found = {}
    for rule in [*RULES, HeavyBall]:
        for options in OPTIONS:
            for kernel in update_kernels(rule(0.1, **options), dtype):
                found[kernel] = None
    for layer in ACTIVATIONS.values():
        for bias in (False, True):
            body = Body(layer, dtype, bias)
            loops = [body._forward] + ([body._backward] if body._backward else [])
            for loop in loops:
                for over in (False, True):
                    found[loop._variant(over, True).kernel] = None
    return list(found)


def update_kernels(optimizer, dtype="float32"):
    net = xn.Sequential(xn.Affine(3)).build((2,), dtype=dtype)
    optimizer.prepare(net.parameters)
    assert optimizer._has_loops(len(optimizer.advance())), optimizer.not_fused
    return [traced.kernel for traced, _ in optimizer._loops]


def arguments(kernel, rows=7, width=5, seed=0):
    """Arrays and numbers for a kernel: of every magnitude, with NaN and infinity where rules do not take a root."""
    rng = np.random.default_rng(seed)
    shape = (rows, width) if ROW in kernel.arrays else (rows * width,)
    arrays = []
    for kind in kernel.arrays:
        a = rng.standard_normal(width if kind == ROW else shape) * rng.choice([1e-3, 1, 30], width if kind == ROW else shape)
        arrays.append(a > 0 if kind == MASK else a.astype(kernel.dtype))
    if kernel.numbers:
        arrays = [np.abs(a) if i not in (0, 1) else a for i, a in enumerate(arrays)]  # sums of squares
    else:
        odd = [np.nan, np.inf, -np.inf][: arrays[0].size]
        arrays[0].reshape(-1)[: len(odd)] = odd
    return arrays, [float(n) for n in rng.uniform(0.1, 1, kernel.numbers)]


def close(found, expected, dtype):
    eps = np.finfo(dtype).eps
    for a, b in zip(found, expected, strict=True):
        if a.dtype == bool:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=40 * eps, atol=20 * eps)
