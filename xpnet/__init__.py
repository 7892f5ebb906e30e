"""Neural networks for NumPy and CuPy: written once, in matrix form, with explicit forward and backward."""

import importlib
from types import ModuleType

from xpnet import architectures, datasets, initializers, models
from xpnet.backends import Device, DeviceMismatch, DeviceUnavailable, device
from xpnet.backends.ledger import HiddenCrossing, Ledger, forbid_sync, forbid_transfer, ledger
from xpnet.diagnostics import LayerStatistics, StopOnNonFinite
from xpnet.explain import Explanation, explain
from xpnet.gradcheck import GradientError, gradcheck
from xpnet.layers import (
    ELU,
    GELU,
    Add,
    Affine,
    AvgPool2d,
    BatchNorm,
    Concatenate,
    Conv2d,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAvgPool2d,
    GroupNorm,
    Identity,
    Layer,
    LayerNorm,
    LeakyReLU,
    MaxPool2d,
    RandomCrop,
    RandomFlip,
    RandomShift,
    ReLU,
    Reshape,
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
from xpnet.saving.networks import load
from xpnet.schedules import Constant, Cosine, Exponential, LinearWarmup, ReduceOnPlateau, Schedule, StepDecay
from xpnet.training import (
    BestModel,
    Callback,
    Checkpoints,
    EarlyStopping,
    Interrupted,
    JSONLog,
    TensorBoardLog,
    Trainer,
    minibatches,
    print_epoch,
)

__version__ = "0.1.0"

ON_DEMAND = ("onnx", "plots", "sklearn")  # packages for which optional libraries are needed


def __getattr__(name: str) -> ModuleType:
    """``xn.plots`` and the like, imported where they are first asked for."""
    if name in ON_DEMAND:
        return importlib.import_module(f"xpnet.{name}")
    raise AttributeError(f"module 'xpnet' has no attribute {name!r}")


__all__ = [
    "ELU",
    "GELU",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Add",
    "Affine",
    "AvgPool2d",
    "BatchNorm",
    "BestModel",
    "Callback",
    "Checkpoints",
    "Concatenate",
    "Constant",
    "Conv2d",
    "Cosine",
    "Device",
    "DeviceMismatch",
    "DeviceUnavailable",
    "Dropout",
    "EarlyStopping",
    "Explanation",
    "Exponential",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool2d",
    "GradientError",
    "GradientMissing",
    "GroupNorm",
    "HalfSquaredError",
    "HiddenCrossing",
    "Identity",
    "Interrupted",
    "JSONLog",
    "Layer",
    "LayerNorm",
    "LayerStatistics",
    "LeakyReLU",
    "Ledger",
    "LinearWarmup",
    "Loss",
    "MaxPool2d",
    "MeanSquaredError",
    "Momentum",
    "Nesterov",
    "NotBuilt",
    "Optimizer",
    "Parity",
    "RMSProp",
    "RandomCrop",
    "RandomFlip",
    "RandomShift",
    "ReLU",
    "ReduceOnPlateau",
    "Reshape",
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
    "StopOnNonFinite",
    "Tanh",
    "TensorBoardLog",
    "Trainer",
    "accuracy",
    "architectures",
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
    "load",
    "minibatches",
    "models",
    "parity",
    "print_epoch",
    "r2",
    "rmse",
]
