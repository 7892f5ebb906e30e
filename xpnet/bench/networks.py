"""The networks that are timed, as data, with random inputs of any number of rows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xpnet import architectures
from xpnet.backends import Device
from xpnet.datasets import one_hot
from xpnet.layers import Affine, Layer, ReLU, Sigmoid
from xpnet.losses import HalfSquaredError, Loss, SoftmaxCrossEntropy
from xpnet.network import Sequential
from xpnet.optimizers import SGD, Adam, Momentum, Optimizer
from xpnet.training import Trainer

#: So small that thousands of steps on one batch leave the numbers in their usual range: denormal ones would be slow.
LEARNING_RATE = 1e-12
SEED = 0


@dataclass(frozen=True)
class Network:
    """How to make one: ``make()`` gives it unbuilt, ``shape`` is a sample's. ``sizes`` are those of a multilayer perceptron."""

    name: str
    shape: tuple[int, ...]
    classes: int
    make: Callable[[], Sequential]
    optimizer: Callable[[float], Optimizer]
    sizes: tuple[int, ...] = ()
    books: bool = False  # sigmoids and the quadratic cost, as in the book

    @property
    def loss(self) -> Loss:
        return HalfSquaredError() if self.books else SoftmaxCrossEntropy()

    def trainer(self, device: str | Device = "cpu", dtype: str = "float32") -> Trainer:
        """Built, with initial values that depend on the seed alone."""
        return self.unbuilt(device, dtype).build(self.shape)

    def unbuilt(self, device: str | Device = "cpu", dtype: str = "float32") -> Trainer:
        """With a network that takes its values when it is built."""
        optimizer = self.optimizer(LEARNING_RATE)
        return Trainer(self.make(), loss=self.loss, optimizer=optimizer, device=device, seed=SEED, dtype=dtype)

    def data(self, n: int, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
        """Random rows (n, *shape), and labels (n,) or, for the book's cost, their one-hot rows."""
        rng = np.random.default_rng([SEED, n])
        x, labels = rng.random((n, *self.shape), np.float32).astype(dtype), rng.integers(0, self.classes, n)
        return x, one_hot(labels, self.classes).astype(dtype) if self.books else labels


def perceptron(sizes: tuple[int, ...], optimizer: Callable[[float], Optimizer], *, books: bool = False) -> Network:
    """A multilayer perceptron: sigmoids and the quadratic cost as in the book, or ReLU and softmax cross-entropy."""

    def make() -> Sequential:
        hidden: list[Layer] = [f for n in sizes[1:-1] for f in (Affine(n), Sigmoid() if books else ReLU())]
        return Sequential(*hidden, Affine(sizes[-1]), *([Sigmoid()] if books else []))

    return Network("-".join(map(str, sizes)), sizes[:1], sizes[-1], make, optimizer, sizes, books)


def _images(name: str, shape: tuple[int, ...], make: Callable[[], Sequential], classes: int = 10) -> Network:
    return Network(name, shape, classes, make, Momentum)


NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        perceptron((784, 30, 10), SGD, books=True),
        perceptron((784, 100, 10), SGD, books=True),
        perceptron((784, 30, 30, 30, 10), SGD, books=True),
        perceptron((784, 256, 128, 10), Adam),
        perceptron((1024, 2048, 2048, 1000), SGD),
        _images("lenet", (28, 28, 1), architectures.lenet),
        _images("vgg", (32, 32, 3), architectures.vgg),
        _images("resnet", (32, 32, 3), functools.partial(architectures.resnet, widths=(64,), blocks=3)),
        _images("vgg16", (224, 224, 3), architectures.vgg16, 1000),
    )
}
