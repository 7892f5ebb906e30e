"""Layers, one file per topic."""

from xpnet.layers.activations import ELU, LeakyReLU, ReLU, Sigmoid, SiLU, Softmax, Softplus, Step, Tanh
from xpnet.layers.affine import Affine, Flatten, Identity, Reshape
from xpnet.layers.augmentation import RandomCrop, RandomFlip, RandomShift
from xpnet.layers.base import Layer
from xpnet.layers.containers import Add, Concatenate, Residual
from xpnet.layers.convolution import Conv2d
from xpnet.layers.gelu import GELU
from xpnet.layers.noise import Dropout, GaussianNoise
from xpnet.layers.normalization import BatchNorm, GroupNorm, LayerNorm
from xpnet.layers.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d

__all__ = [
    "ELU",
    "GELU",
    "Add",
    "Affine",
    "AvgPool2d",
    "BatchNorm",
    "Concatenate",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GaussianNoise",
    "GlobalAvgPool2d",
    "GroupNorm",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "MaxPool2d",
    "RandomCrop",
    "RandomFlip",
    "RandomShift",
    "ReLU",
    "Reshape",
    "Residual",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softplus",
    "Step",
    "Tanh",
]
