"""Optimizers: update rules on the flat parameter vector.

Each rule is written once for a block of elements: the whole vector on a GPU, cache-sized pieces of it on a CPU.
"""

from xpnet.optimizers.base import Optimizer
from xpnet.optimizers.rules import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, RMSProp

#: By the names that the command line and the estimators take.
OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum,
    "nesterov": Nesterov,
    "adagrad": AdaGrad,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
}

__all__ = ["OPTIMIZERS", "SGD", "AdaGrad", "Adam", "AdamW", "Momentum", "Nesterov", "Optimizer", "RMSProp"]
