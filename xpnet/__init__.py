"""Neural networks for NumPy and CuPy: written once, in matrix form, with explicit forward and backward."""

from xpnet import datasets, initializers
from xpnet.backends import Device, DeviceMismatch, DeviceUnavailable, device
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
from xpnet.network import NotBuilt, Sequential
from xpnet.optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, Optimizer, RMSProp
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
    "Exponential",
    "Flatten",
    "GradientError",
    "HalfSquaredError",
    "Identity",
    "Layer",
    "LeakyReLU",
    "LinearWarmup",
    "Loss",
    "MeanSquaredError",
    "Momentum",
    "Nesterov",
    "NotBuilt",
    "Optimizer",
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
    "gradcheck",
    "initializers",
    "minibatches",
    "print_epoch",
    "r2",
    "rmse",
]
