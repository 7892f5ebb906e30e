"""Neural networks for NumPy and CuPy: written once, in matrix form, with explicit forward and backward."""

from xpnet import datasets, initializers, models
from xpnet.backends import Device, DeviceMismatch, DeviceUnavailable, device
from xpnet.backends.ledger import HiddenCrossing, Ledger, forbid_sync, forbid_transfer, ledger
from xpnet.explain import Explanation, explain
from xpnet.gradcheck import GradientError, gradcheck
from xpnet.layers import (
    ELU,
    GELU,
    Affine,
    Dropout,
    Flatten,
    Identity,
    Layer,
    LeakyReLU,
    ReLU,
    Residual,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Step,
    Tanh,
)
from xpnet.losses import HalfSquaredError, Loss, MeanSquaredError, SigmoidCrossEntropy, SoftmaxCrossEntropy
from xpnet.metrics import accuracy, binary_accuracy, r2, rmse
from xpnet.network import GradientMissing, NotBuilt, Sequential
from xpnet.optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, Optimizer, RMSProp
from xpnet.parity import Parity, parity
from xpnet.persample import backward_per_sample
from xpnet.schedules import Constant, Cosine, Exponential, LinearWarmup, ReduceOnPlateau, Schedule, StepDecay
from xpnet.training import Callback, EarlyStopping, Trainer, minibatches, print_epoch

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Affine",
    "Callback",
    "Constant",
    "Cosine",
    "Device",
    "DeviceMismatch",
    "DeviceUnavailable",
    "Dropout",
    "EarlyStopping",
    "Explanation",
    "Exponential",
    "Flatten",
    "GradientError",
    "GradientMissing",
    "HalfSquaredError",
    "HiddenCrossing",
    "Identity",
    "Layer",
    "LeakyReLU",
    "Ledger",
    "LinearWarmup",
    "Loss",
    "MeanSquaredError",
    "Momentum",
    "Nesterov",
    "NotBuilt",
    "Optimizer",
    "Parity",
    "RMSProp",
    "ReLU",
    "ReduceOnPlateau",
    "Residual",
    "Schedule",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Softplus",
    "Step",
    "StepDecay",
    "Tanh",
    "Trainer",
    "accuracy",
    "backward_per_sample",
    "binary_accuracy",
    "datasets",
    "device",
    "explain",
    "forbid_sync",
    "forbid_transfer",
    "gradcheck",
    "initializers",
    "ledger",
    "minibatches",
    "models",
    "parity",
    "print_epoch",
    "r2",
    "rmse",
]
