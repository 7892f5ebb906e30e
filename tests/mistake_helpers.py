"""What the tests of newcomers' mistakes share."""

from __future__ import annotations

import copy
import re

import numpy as np
from core_helpers import bits, classes_data, regression_data

import xpnet as xn

X, LABELS = classes_data(12)
NUMBERS = np.eye(3, dtype=np.float32)[LABELS]
COLUMN = regression_data(12)[1]


MSE, HSE, BCE, CE = xn.MeanSquaredError, xn.HalfSquaredError, xn.SigmoidCrossEntropy, xn.SoftmaxCrossEntropy


def with_value(a, value, place):
    a = np.array(a, np.float64)
    a[place] = value
    return a


def trainer_for(loss=None, device="cpu", outputs=3, **options):
    net = xn.Sequential(xn.Affine(5), xn.ReLU(), xn.Affine(outputs))
    return xn.Trainer(net, loss=loss or xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(), device=device, **options)


def state(trainer):
    """All that a refused call must leave as it was."""
    net = trainer.net
    return (
        net.built,
        bits(net) if net.built else None,
        copy.deepcopy(trainer.history),
        trainer.optimizer.steps,
        trainer.epoch,
        net.steps_begun if net.built else None,
        net.device.name if net.built else None,
    )


def all_in(*parts):
    """A pattern of these texts, each anywhere, in this order."""
    return "(?s)" + ".*".join(map(re.escape, parts))


def by_hand(device, layers, loss, x=X, targets=LABELS, weights=None):
    """Forward and loss as a user writes them; the value, so that its being right can be seen too."""
    net = xn.Sequential(*layers).build(x.shape[1:], device=device)
    step = net.step(training=True)
    outputs, _ = net.forward(device.put(x), step)
    weights = None if weights is None else device.put(weights)
    return float(device.get(loss(outputs, device.put(targets), step, weights)[0]))
