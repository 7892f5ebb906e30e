"""The matrix form with every line exchangeable, so that each known mistake is one of its variants.

As it stands it computes what :mod:`xpnet.book` does. Where shapes do not fit it stops, as a learner's program does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from xpnet.book import sigmoid, sigmoid_prime

Layer = tuple[np.ndarray, np.ndarray]  # weights (n_out, n_in), biases (n_out, 1)
Batch = tuple[np.ndarray, np.ndarray]  # x (n_in, N), y (n_out, N)
Two = Callable[[np.ndarray, np.ndarray], np.ndarray]


def of_z(z: np.ndarray, a: np.ndarray) -> np.ndarray:
    return sigmoid_prime(z)


def left_out(z: np.ndarray, a: np.ndarray) -> np.ndarray:
    return np.ones_like(z)


def of_activation(z: np.ndarray, a: np.ndarray) -> np.ndarray:
    return sigmoid_prime(a)


def product_of_z(z: np.ndarray, a: np.ndarray) -> np.ndarray:
    return z * (1 - z)


@dataclass(frozen=True)
class Program:
    """The program that is meant, a line a field; samples are columns. ``output_prime=left_out`` is the cross-entropy cost."""

    add: Two = lambda product, b: product + b
    output_prime: Two = of_z
    hidden_prime: Two = of_z
    back: Two = lambda w, delta: w.T @ delta
    nabla_w: Two = lambda delta, a: delta @ a.T
    nabla_b: Callable[[np.ndarray], np.ndarray] = lambda delta: delta.sum(axis=1, keepdims=True)
    count: Callable[[np.ndarray], int] = lambda x: x.shape[1]
    factor_w: Callable[[int, float], float] = lambda n, eta: eta / n
    factor_b: Callable[[int, float], float] = lambda n, eta: eta / n
    scale: float = 1.0  # of every delta
    updates_first: bool = False
    remembers: str = ""  # of the call before: "sum", "first"

    def run(self, layers: Sequence[Layer], batches: Sequence[Batch], eta: float) -> list[list[Layer]]:
        """The layers after each of the calls that follow one another, up to where shapes stop it."""
        states = list[list[Layer]]()
        now, memory = list(layers), list[list[Layer]]()
        for x, y in batches:
            try:
                now = self.update(now, x, y, eta, memory)
            except ValueError:
                break
            states.append(now)
        return states

    def update(self, layers: list[Layer], x: np.ndarray, y: np.ndarray, eta: float, memory: list[list[Layer]]) -> list[Layer]:
        zs, activations = self._forward(layers, x)
        n = self.count(x)
        new = list(layers)
        nablas = list[Layer]()
        delta = self.scale * (activations[-1] - y) * self.output_prime(zs[-1], activations[-1])
        for i in reversed(range(len(layers))):
            if i < len(layers) - 1:
                above = new if self.updates_first else layers
                delta = self.back(above[i + 1][0], delta) * self.hidden_prime(zs[i], activations[i + 1])
            nablas.insert(0, (self.nabla_w(delta, activations[i]), self.nabla_b(delta)))
            new[i] = self._moved(layers[i], nablas[0], n, eta)
        memory.append(nablas)
        if not self.remembers or len(memory) == 1:
            return new
        used = memory[:1] if self.remembers == "first" else memory
        totals = [(sum(n[i][0] for n in used), sum(n[i][1] for n in used)) for i in range(len(layers))]
        return [self._moved(layer, total, n, eta) for layer, total in zip(layers, totals, strict=True)]

    def _forward(self, layers: list[Layer], x: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        zs, activations = list[np.ndarray](), [x]
        for w, b in layers:
            zs.append(self.add(w @ activations[-1], b))
            activations.append(sigmoid(zs[-1]))
        return zs, activations

    def _moved(self, layer: Layer, nabla: tuple, n: int, eta: float) -> Layer:
        return layer[0] - self.factor_w(n, eta) * nabla[0], layer[1] - self.factor_b(n, eta) * nabla[1]
