"""Layers, one file per topic."""

from xpnet.layers.activations import ELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Step, Tanh
from xpnet.layers.affine import Affine, Flatten, Identity
from xpnet.layers.base import Layer
from xpnet.layers.containers import Residual
from xpnet.layers.gelu import GELU
from xpnet.layers.noise import Dropout

__all__ = [
    "ELU",
    "GELU",
    "Affine",
    "Dropout",
    "Flatten",
    "Identity",
    "Layer",
    "LeakyReLU",
    "ReLU",
    "Residual",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Step",
    "Tanh",
]
