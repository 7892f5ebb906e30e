"""Losses, one file per topic."""

from xpnet.losses.base import Loss
from xpnet.losses.sigmoid_cross_entropy import SigmoidCrossEntropy
from xpnet.losses.softmax_cross_entropy import SoftmaxCrossEntropy
from xpnet.losses.squared_error import HalfSquaredError, MeanSquaredError

__all__ = ["HalfSquaredError", "Loss", "MeanSquaredError", "SigmoidCrossEntropy", "SoftmaxCrossEntropy"]
