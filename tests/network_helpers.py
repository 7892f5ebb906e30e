"""What the tests of networks share."""

from __future__ import annotations

import copy
import pickle

import pytest
from core_helpers import classes_data

import xpnet as xn


def pickled(thing):
    return pickle.loads(pickle.dumps(thing))


COPIES = pytest.mark.parametrize("copying", [copy.deepcopy, pickled], ids=["deepcopy", "pickle"])


def make_trainer(device, optimizer=None, **options):
    """A network with dropout and a trainer with every kind of thing that a copy must carry."""
    net = xn.Sequential(xn.Affine(8), xn.ReLU(), xn.Dropout(0.2), xn.Affine(3))
    optimizer = optimizer or xn.Adam(xn.Cosine(0.01, steps=100), clip_norm=1.0, l2=1e-3)
    loss = xn.SoftmaxCrossEntropy(label_smoothing=0.1)
    return xn.Trainer(net, loss=loss, optimizer=optimizer, device=device, seed=3, **options)


ROWS = classes_data(50)[0]
