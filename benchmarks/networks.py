"""What every library is given: the layers of a case as data, its rows, and the same initial weights.

A layer is a tuple of its kind and its numbers: ``conv`` (outputs, kernel, padding, bias), ``affine`` (outputs), ``dropout``
(rate), ``residual`` (layers); ``relu``, ``sigmoid``, ``norm``, ``pool`` (2x2), ``average`` (over the image), ``flatten``.
Shapes are (height, width, channels) or (width,), weights ``(..., n_in, n_out)``; rows of a layer behind ``flatten`` are in
the order of channels last.
"""

import math

import numpy as np
from cases import Case

SEED = 0
VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")
VGG = (32, 32, "pool", 64, 64, "pool")
RELU, NORM, POOL, FLATTEN = ("relu",), ("norm",), ("pool",), ("flatten",)


def rows(case):
    """Random rows and targets, resident in memory."""
    rng = np.random.default_rng(SEED)
    if not isinstance(case, Case):
        return rng.standard_normal((case.batch, *case.shape), np.float32), rng.integers(0, case.classes, case.batch)
    x = rng.random((case.batch, case.sizes[0]), dtype=np.float32)
    if case.loss == "half-squared-error":
        return x, rng.random((case.batch, case.sizes[-1]), dtype=np.float32)
    return x, rng.integers(0, case.sizes[-1], case.batch)


def layers(case):
    """The case's network."""
    if isinstance(case, Case):
        hidden = [layer for n in case.sizes[1:-1] for layer in (("affine", n), (case.activation,))]
        return [*hidden, ("affine", case.sizes[-1]), *([("sigmoid",)] if case.output == "sigmoid" else [])]
    return {"lenet": lenet, "vgg": vgg, "vgg16": vgg16, "resnet": resnet}[case.network](case.classes)


def lenet(classes):
    convolutions = [("conv", 20, 5, 0, True), POOL, RELU, ("conv", 50, 5, 0, True), POOL, RELU]
    return [*convolutions, FLATTEN, ("affine", 500), RELU, ("affine", classes)]


def vgg(classes):
    stages = [layer for n in VGG for layer in ([POOL] if n == "pool" else normed(n))]
    return [*stages, FLATTEN, ("affine", 128), RELU, ("affine", classes)]


def vgg16(classes):
    stages = [layer for n in VGG16 for layer in ([POOL] if n == "pool" else [("conv", n, 3, 1, True), RELU])]
    return [*stages, FLATTEN, *(("affine", 4096), RELU, ("dropout", 0.5)) * 2, ("affine", classes)]


def resnet(classes):
    block = ("residual", [*normed(64), *normed(64)[:-1]])
    return [*normed(64), *(block, RELU) * 3, ("average",), ("affine", classes)]


def normed(n):
    """Convolution of 3x3, batch norm, ReLU."""
    return [("conv", n, 3, 1, False), NORM, RELU]


def after(layer, shape):
    """Shape of a row behind the layer."""
    kind, *of = layer
    if kind == "conv":
        smaller = of[1] - 1 - 2 * of[2]
        return shape[0] - smaller, shape[1] - smaller, of[0]
    if kind == "pool":
        return shape[0] // 2, shape[1] // 2, shape[2]
    return {"affine": lambda: (of[0],), "flatten": lambda: (math.prod(shape),), "average": lambda: shape[-1:]}.get(
        kind, lambda: shape
    )()


def weights(case):
    """One after another in the order of the network: normal, of variance 2 / fan-in. Biases start at 0, scales at 1."""
    for seed, shape in enumerate(weight_shapes(layers(case), case.shape)):
        rng = np.random.default_rng([SEED + 1, seed])
        yield rng.standard_normal(shape, np.float32) * np.float32((2 / math.prod(shape[:-1])) ** 0.5)


def weight_shapes(network, shape):
    for layer in network:
        kind, *of = layer
        if kind == "conv":
            yield of[1], of[1], shape[-1], of[0]
        elif kind == "affine":
            yield shape[-1], of[0]
        elif kind == "residual":
            yield from weight_shapes(of[0], shape)
        shape = after(layer, shape)
