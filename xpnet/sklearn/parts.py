"""From an estimator's parameters to what a trainer takes. What users gave is a template: it is copied, never trained."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xpnet.architectures import mlp
from xpnet.checks import check_count, check_number, closest
from xpnet.initializers import glorot_uniform
from xpnet.layers import Flatten, Layer
from xpnet.layers.base import Shape
from xpnet.network import Sequential
from xpnet.optimizers import OPTIMIZERS, Optimizer
from xpnet.schedules import Schedule
from xpnet.sklearn.targets import Target
from xpnet.training import EarlyStopping

Build = Callable[[Any, int], Sequential]
Layers = Sequence[int] | Sequence[Layer] | Sequential | Build

#: Learning rates where none is given, for inputs of unit size. Squared errors, whose curvature grows with the width, diverge
#: with the larger ones that suit classes.
RATES = {"sgd": 0.02, "momentum": 5e-3, "nesterov": 5e-3, "adagrad": 0.02, "rmsprop": 1e-3, "adam": 1e-3, "adamw": 1e-3}
PATIENCE = 10  # epochs, of early_stopping=True; as scikit-learn's n_iter_no_change


def make_network(layers: Layers, activation: str, shape: Shape, outputs: int) -> Sequential:
    """The network for samples of this shape, not built unless the template is, whose parameters it then begins with."""
    if isinstance(layers, Sequential):
        return copy.deepcopy(layers)
    if isinstance(layers, list | tuple):
        if all(isinstance(n, Layer) for n in layers) and layers:
            return Sequential(*copy.deepcopy(list(layers)))
        widths = [check_count("layers: a width", n) for n in layers]
        return fully_connected(widths, activation, shape, outputs)
    if not callable(layers) or isinstance(layers, type):
        raise TypeError(
            f"layers={layers!r}: widths of hidden layers, (100,); layers of xpnet in a list; a Sequential; or a function "
            f"of the number of features and of outputs that returns a Sequential"
        )
    made = layers(shape[0] if len(shape) == 1 else shape, outputs)
    if not isinstance(made, Sequential):
        raise TypeError(f"layers: the function returned a {type(made).__name__}, a Sequential is needed")
    return copy.deepcopy(made)  # it may return the same one each time


def fully_connected(widths: Sequence[int], activation: str, shape: Shape, outputs: int) -> Sequential:
    """Affine layers of these widths with the activation between them, and one that makes the outputs.

    They start as scikit-learn's do (Glorot), ReLU too: the smaller first layer generalises better on tables than He's.
    """
    rows = mlp(widths, activation, outputs, init=glorot_uniform)
    return Sequential(Flatten(), *rows.layers) if len(shape) > 1 else rows


def check_outputs(net: Sequential, target: Target) -> None:
    """Refuse a built network whose outputs are not the row of numbers that the target needs."""
    found, wanted = net.output_shape, (target.outputs,)
    if found != wanted:
        flat = "Flatten() and " if len(found) > 1 else ""
        raise ValueError(
            f"layers: the network gives {found} for each sample, {target.what} need {wanted}: "
            f"end it in {flat}Affine({target.outputs})"
        )


def make_optimizer(optimizer: str | Optimizer, learning_rate: float | Schedule | None, l2: float | None) -> Optimizer:
    """A new optimizer; a learning rate and an L2 penalty that are given take the place of its own."""
    if isinstance(optimizer, Optimizer):
        made = copy.deepcopy(optimizer)
        made.reset()
    elif isinstance(optimizer, str) and optimizer in OPTIMIZERS:
        made = OPTIMIZERS[optimizer](RATES[optimizer])
    else:
        hint = closest(optimizer, OPTIMIZERS) if isinstance(optimizer, str) else ""
        raise ValueError(f"optimizer={optimizer!r}: one of {', '.join(OPTIMIZERS)}, or an optimizer of xpnet, Adam(1e-3){hint}")
    if learning_rate is not None:
        made.learning_rate = copy.deepcopy(learning_rate)
    if l2 is not None:
        made.l2 = check_number("l2", l2)
    return made


def make_early_stopping(early_stopping: bool | int | EarlyStopping) -> EarlyStopping | None:
    """False: None; True: a patience of 10 epochs; a number: that patience."""
    if isinstance(early_stopping, EarlyStopping):
        return copy.deepcopy(early_stopping)
    if isinstance(early_stopping, bool | np.bool_):
        return EarlyStopping(PATIENCE) if early_stopping else None
    if not isinstance(early_stopping, int | np.integer) or early_stopping < 1:
        raise ValueError(
            f"early_stopping={early_stopping!r}: False, True ({PATIENCE} epochs without a smaller loss), a number of epochs "
            f"from 1 on, or an EarlyStopping"
        )
    return EarlyStopping(int(early_stopping))
