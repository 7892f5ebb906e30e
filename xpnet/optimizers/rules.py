"""Update rules on the flat parameter vector, each written once for a block of elements."""

from __future__ import annotations

import math
from typing import Any

from xpnet.backends.device import Array
from xpnet.optimizers.base import Optimizer
from xpnet.schedules import Schedule


class SGD(Optimizer):
    """``w -= learning_rate * g``."""

    def rule(self, xp: Any, rate: Any, w: Array, g: Array, tmp: Array) -> None:
        xp.multiply(g, rate, out=tmp)
        w -= tmp


class Momentum(Optimizer):
    """``v = momentum * v + g;  w -= learning_rate * v``. Polyak, 1964; Sutskever et al., ICML 2013, in PyTorch's form."""

    slots = ("velocity",)

    def __init__(self, learning_rate: float | Schedule, momentum: float = 0.9, **options: Any):
        super().__init__(learning_rate, **options)
        self.momentum = self._number("momentum", momentum, below=1)

    def rule(self, xp: Any, rate: Any, w: Array, g: Array, tmp: Array, velocity: Array) -> None:
        velocity *= self.momentum
        velocity += g
        xp.multiply(velocity, rate, out=tmp)
        w -= tmp


class Nesterov(Momentum):
    """``v = momentum * v + g;  w -= learning_rate * (g + momentum * v)``, PyTorch's form. Nesterov, 1983."""

    def rule(self, xp: Any, rate: Any, w: Array, g: Array, tmp: Array, velocity: Array) -> None:
        velocity *= self.momentum
        velocity += g
        xp.multiply(velocity, self.momentum, out=tmp)
        tmp += g
        tmp *= rate
        w -= tmp


class AdaGrad(Optimizer):
    """``s += g**2;  w -= learning_rate * g / (sqrt(s) + epsilon)``. Duchi et al., JMLR 2011."""

    slots = ("squares",)

    def __init__(self, learning_rate: float | Schedule = 1e-2, epsilon: float = 1e-10, **options: Any):
        super().__init__(learning_rate, **options)
        self.epsilon = self._number("epsilon", epsilon)

    def rule(self, xp: Any, rate: Any, w: Array, g: Array, tmp: Array, squares: Array) -> None:
        xp.multiply(g, g, out=tmp)
        squares += tmp
        descend(xp, rate, w, g, squares, self.epsilon, tmp)


class RMSProp(Optimizer):
    """``s = decay * s + (1 - decay) * g**2;  w -= learning_rate * g / (sqrt(s) + epsilon)``. Tieleman and Hinton, 2012."""

    slots = ("squares",)

    def __init__(self, learning_rate: float | Schedule = 1e-2, decay: float = 0.99, epsilon: float = 1e-8, **options: Any):
        super().__init__(learning_rate, **options)
        self.decay, self.epsilon = self._number("decay", decay, below=1), self._number("epsilon", epsilon)

    def rule(self, xp: Any, rate: Any, w: Array, g: Array, tmp: Array, squares: Array) -> None:
        squares *= self.decay
        xp.multiply(g, g, out=tmp)
        tmp *= 1 - self.decay
        squares += tmp
        descend(xp, rate, w, g, squares, self.epsilon, tmp)


class Adam(Optimizer):
    """``m``, ``v``: running means of ``g`` and ``g**2``, bias-corrected; ``w -= learning_rate * m / (sqrt(v) + epsilon)``.

    Kingma and Ba, ICLR 2015. The vectors ``mean`` and ``squares`` hold ``m / (1 - beta1)`` and
    ``v / (1 - beta2)``: the scale goes into two numbers, which saves two of twelve passes.
    """

    slots = ("mean", "squares")

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        **options: Any,
    ):
        super().__init__(learning_rate, **options)
        self.beta1, self.beta2 = self._number("beta1", beta1, below=1), self._number("beta2", beta2, below=1)
        self.epsilon = self._number("epsilon", epsilon)

    def numbers(self, rate: float) -> tuple[float, ...]:
        root = math.sqrt((1 - self.beta2) / (1 - self.beta2**self.steps))
        return rate * (1 - self.beta1) / (1 - self.beta1**self.steps) / root, self.epsilon / root

    def rule(self, xp: Any, rate: Any, epsilon: Any, w: Array, g: Array, tmp: Array, mean: Array, squares: Array) -> None:
        mean *= self.beta1
        mean += g
        squares *= self.beta2
        xp.multiply(g, g, out=tmp)
        squares += tmp
        descend(xp, rate, w, mean, squares, epsilon, tmp)


class AdamW(Adam):
    """:class:`Adam` with decoupled weight decay, 0.01 unless given. Loshchilov and Hutter, ICLR 2019."""

    def __init__(
        self,
        learning_rate: float | Schedule = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        **options: Any,
    ):
        super().__init__(learning_rate, beta1, beta2, epsilon, weight_decay=weight_decay, **options)


def descend(xp: Any, rate: Any, w: Array, g: Array, squares: Array, epsilon: Any, tmp: Array) -> None:
    """``w -= rate * g / (sqrt(squares) + epsilon)``, the last line of every rule with a rate of its own per element."""
    xp.sqrt(squares, out=tmp)
    tmp += epsilon
    xp.divide(g, tmp, out=tmp)
    tmp *= rate
    w -= tmp
