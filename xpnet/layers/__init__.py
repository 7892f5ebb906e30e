"""Layers, one file per topic."""

from xpnet.layers.activations import ELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Step, Tanh
from xpnet.layers.affine import Affine, Flatten, Identity
from xpnet.layers.base import Layer
from xpnet.layers.containers import Residual
from xpnet.layers.convolution import Conv2d
from xpnet.layers.gelu import GELU
from xpnet.layers.noise import Dropout
from xpnet.layers.normalization import BatchNorm, GroupNorm, LayerNorm
from xpnet.layers.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d

__all__ = [
    "ELU",
    "GELU",
    "Affine",
    "AvgPool2d",
    "BatchNorm",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool2d",
    "GroupNorm",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "MaxPool2d",
    "ReLU",
    "Residual",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Step",
    "Tanh",
]
