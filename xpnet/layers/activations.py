"""Activations: one function of each element, and its derivative.

Every layer here maps x (N, ...) to y of the same shape. Where the derivative is a function of the
output it is computed from the output, so that the input need not be kept. All are stable for any finite input.
"""

from __future__ import annotations

from typing import Any

from xpnet.backends.device import Array
from xpnet.checks import check_number
from xpnet.layers.base import Layer
from xpnet.step import Pass


class ReLU(Layer):
    """``y = max(0, x)``; derivative 1 where y > 0, else 0 (0 at the kink). Nair and Hinton, ICML 2010."""

    blockwise = owns_dx = True

    def forward(self, x: Array, step: Pass) -> tuple[Array, Array]:
        y = step.device.relu(x, step.over(x))
        return y, y

    def backward(self, dy: Array, y: Array, step: Pass) -> Array:
        mask = step.xp.greater(y, 0, out=step.scratch(y.shape, "bool"))
        return step.xp.multiply(dy, mask, out=step.over(dy))


class LeakyReLU(Layer):
    """``y = x`` where x > 0, else ``slope * x``; derivative 1 or ``slope`` (``slope`` at 0). Maas et al., 2013.

    ``slope`` lies in [0, 1).
    """

    blockwise = owns_dx = True

    def __init__(self, slope: float = 0.01):
        self.slope = check_number("LeakyReLU(slope", slope, below=1)

    def forward(self, x: Array, step: Pass) -> tuple[Array, Array]:
        y = step.xp.multiply(x, self.slope, out=step.keep(x.shape))
        return step.xp.maximum(x, y, out=y), x

    def backward(self, dy: Array, x: Array, step: Pass) -> Array:
        xp = step.xp
        mask = xp.greater(x, 0, out=step.scratch(x.shape, "bool"))
        slope = xp.multiply(mask, 1 - self.slope, out=step.keep(x.shape), dtype=x.dtype)
        slope += self.slope
        return xp.multiply(dy, slope, out=slope)


class Sigmoid(Layer):
    """``y = 1 / (1 + exp(-x))``, computed as ``(1 + tanh(x / 2)) / 2``; derivative ``y (1 - y)``, at most 1/4."""

    blockwise = owns_dx = True

    def forward(self, x: Array, step: Pass) -> tuple[Array, Array]:
        y = sigmoid(x, step.over(x), step.xp)
        return y, y

    def backward(self, dy: Array, y: Array, step: Pass) -> Array:
        dx = step.xp.subtract(1, y, out=step.keep(y.shape))
        dx *= y
        dx *= dy
        return dx


class Tanh(Layer):
    """``y = tanh(x)``; derivative ``1 - y**2``."""

    blockwise = owns_dx = True

    def forward(self, x: Array, step: Pass) -> tuple[Array, Array]:
        y = step.xp.tanh(x, out=step.over(x))
        return y, y

    def backward(self, dy: Array, y: Array, step: Pass) -> Array:
        dx = step.xp.multiply(y, y, out=step.keep(y.shape))
        step.xp.subtract(1, dx, out=dx)
        dx *= dy
        return dx


class ELU(Layer):
    """``y = x`` where x > 0, else ``alpha * (exp(x) - 1)``; derivative 1 or ``y + alpha``. Clevert et al., ICLR 2016."""

    blockwise = owns_dx = True

    def __init__(self, alpha: float = 1.0):
        self.alpha = check_number("ELU(alpha", alpha, above=0)

    def forward(self, x: Array, step: Pass) -> tuple[Array, Array]:
        xp = step.xp
        y = xp.minimum(x, 0, out=step.keep(x.shape))  # exp of large x is never taken
        xp.expm1(y, out=y)
        y *= self.alpha
        xp.copyto(y, x, where=xp.greater(x, 0, out=step.scratch(x.shape, "bool")))
        return y, y

    def backward(self, dy: Array, y: Array, step: Pass) -> Array:
        dx = step.xp.minimum(y, 0, out=step.keep(y.shape))
        dx += self.alpha
        dx *= dy  # right below 0; above it the derivative is 1
        step.xp.copyto(dx, dy, where=step.xp.greater(y, 0, out=step.scratch(y.shape, "bool")))
        return dx


class SiLU(Layer):
    """``y = x * sigmoid(x)`` (swish); derivative ``s (1 + x (1 - s))``. Elfwing et al., 2018; Hendrycks and Gimpel, 2016."""

    blockwise = owns_dx = True

    def forward(self, x: Array, step: Pass) -> tuple[Array, tuple[Array, Array]]:
        s = sigmoid(x, step.keep(x.shape), step.xp)
        return step.xp.multiply(x, s, out=step.keep(x.shape)), (x, s)

    def backward(self, dy: Array, cache: tuple[Array, Array], step: Pass) -> Array:
        x, s = cache
        dx = step.xp.subtract(1, s, out=step.keep(x.shape))
        dx *= x
        dx += 1
        dx *= s
        dx *= dy
        return dx


class Softplus(Layer):
    """``y = log(1 + exp(x))``, computed as ``max(x, 0) + log1p(exp(-|x|))``; derivative ``sigmoid(x)``."""

    blockwise = owns_dx = True

    def forward(self, x: Array, step: Pass) -> tuple[Array, Array]:
        return softplus(x, step.keep(x.shape), step), x

    def backward(self, dy: Array, x: Array, step: Pass) -> Array:
        dx = sigmoid(x, step.keep(x.shape), step.xp)
        dx *= dy
        return dx


class Softmax(Layer):
    """``y_i = exp(x_i) / sum_j exp(x_j)`` over the last axis; ``dx = y (dy - sum_j dy_j y_j)``.

    Not to be put before ``SoftmaxCrossEntropy``, which takes the logits themselves.
    """

    blockwise = owns_dx = True

    def forward(self, x: Array, step: Pass) -> tuple[Array, Array]:
        xp, y = step.xp, step.keep(x.shape)
        column = step.scratch((*x.shape[:-1], 1))
        xp.subtract(x, xp.max(x, axis=-1, keepdims=True, out=column), out=y)
        xp.exp(y, out=y)
        y /= xp.sum(y, axis=-1, keepdims=True, out=column)
        return y, y

    def backward(self, dy: Array, y: Array, step: Pass) -> Array:
        xp, dx = step.xp, step.keep(y.shape)
        xp.multiply(dy, y, out=dx)
        inner = xp.sum(dx, axis=-1, keepdims=True, out=step.scratch((*y.shape[:-1], 1)))
        xp.subtract(dy, inner, out=dx)
        dx *= y
        return dx


class Step(Layer):
    """``y = 1`` where x > 0, else 0: the perceptron's activation. Forward only: its derivative is 0 wherever it exists."""

    blockwise = True

    differentiable = False

    def forward(self, x: Array, step: Pass) -> tuple[Array, None]:
        mask = step.xp.greater(x, 0, out=step.scratch(x.shape, "bool"))
        return step.xp.multiply(mask, 1, out=step.keep(x.shape), dtype=x.dtype), None

    def backward(self, dy: Array, cache: None, step: Pass) -> Array:
        raise TypeError(
            "Step cannot be trained through: its derivative is 0 wherever it exists, so no gradient "
            "passes; use Sigmoid, its smooth form, or ReLU"
        )


def sigmoid(x: Array, out: Array, xp: Any) -> Array:
    """``1 / (1 + exp(-x))`` by tanh: no overflow at either end, no temporary."""
    xp.multiply(x, 0.5, out=out)
    xp.tanh(out, out=out)
    out += 1
    out *= 0.5
    return out


def softplus(x: Array, out: Array, step: Pass) -> Array:
    """``log(1 + exp(x))`` without overflow."""
    xp = step.xp
    xp.absolute(x, out=out)
    xp.negative(out, out=out)
    xp.exp(out, out=out)
    xp.log1p(out, out=out)
    out += xp.maximum(x, 0, out=step.scratch(x.shape))
    return out
