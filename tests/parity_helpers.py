"""What the tests of parity share: small comparisons, what they blame, and a layer that is wrong on the simulated GPU."""

from __future__ import annotations

import numpy as np
from core_helpers import classes_data

import xpnet as xn

EXACT = np.lib.NumpyVersion(np.__version__) >= "2.4.0"  # before, products of strided slices depend on where the memory lies


def trainer_of(*layers, loss=None, optimizer=None, **options):
    loss = xn.SoftmaxCrossEntropy() if loss is None else loss
    return xn.Trainer(xn.Sequential(*layers), loss=loss, optimizer=optimizer or xn.SGD(0.1), device="cpu", **options)


def compared(*layers, steps=4, data=None, devices=("cpu", "sim"), rtol=None, **options):
    """Parity of a small classifier on 20 rows of 4 features."""
    return xn.parity((trainer_of(*layers, **options), *(data or classes_data(20))), steps=steps, devices=devices, rtol=rtol)


def blamed(result):
    """Path and column of everything beyond the tolerance."""
    columns = ("output", "dx", "gradients", "parameters")
    rows = [(row.path, column, getattr(row, column)) for row in result.layers for column in columns]
    return [(path, column) for path, column, extent in rows if extent and extent.relative > result.rtol]


def assert_clean(result):
    assert result.ok
    assert result
    assert result.first is None
    assert blamed(result) == []
    if EXACT:
        assert result.identical
        assert result.largest is None
        assert result.verdict().endswith("byte-equal.")


class Wrong(xn.Affine):
    """An affine layer that is wrong by a factor in one place, on the simulated GPU only, from one step on."""

    def __init__(self, n_out, where="", since=1, factor=1.001):
        super().__init__(n_out)
        self.where, self.since, self.factor = where, since, factor

    def wrong(self, where, step):
        return self.where == where and step.device.kind == "sim" and step.number >= self.since - 1

    def forward(self, x, step):
        y, cache = super().forward(x, step)
        if self.wrong("output", step):
            y *= self.factor
        return y, cache

    def backward(self, dy, x, step):
        dx = super().backward(dy, x, step)
        for name, p in (("W", self.W), ("b", self.b)):
            if self.wrong(f"gradient {name}", step):
                p.grad *= self.factor
        if self.wrong("dx", step):
            dx *= self.factor
        return dx
