"""Affine map and reshaping."""

from __future__ import annotations

import math

from xpnet.backends.device import Array
from xpnet.checks import check_count, check_flag
from xpnet.initializers import Initializer, he_normal, zeros
from xpnet.layers.base import Layer, Shape
from xpnet.parameters import Maker
from xpnet.step import Pass

#: Weights with few outputs and many inputs are kept as their transpose, which OpenBLAS multiplies up to twice as quickly.
THIN, LONG = 32, 4


class Affine(Layer):
    """Affine map of each row, ``y = x @ W + b``.  (Linear in PyTorch, Dense in Keras.)

    x (N, ..., n_in) -> y (N, ..., n_out);  W (n_in, n_out);  b (n_out,).
    Backward: ``dW = x.T @ dy``, ``db = sum of dy's rows``, ``dx = dy @ W.T``, leading axes as rows.
    """

    owns_output = owns_dx = True

    def __init__(self, n_out: int, *, bias: bool = True, init: Initializer = he_normal, bias_init: Initializer = zeros):
        self.n_out, self.bias = check_count("Affine(n_out", n_out), check_flag("Affine(bias", bias)
        self.init, self.bias_init = init, bias_init

    def build(self, shape: Shape, make: Maker) -> Shape:
        if not shape:
            raise ValueError(
                f"Affine({self.n_out}) needs inputs of shape (N, ..., n_in), the samples here are single "
                f"numbers of shape (N,): reshape them to (N, 1)"
            )
        thin = self.n_out <= THIN and self.n_out * LONG <= shape[-1]
        self.W = make.parameter("W", (shape[-1], self.n_out), self.init, transposed=thin)
        self.b = make.parameter("b", (self.n_out,), self.bias_init, decay=False) if self.bias else None
        return (*shape[:-1], self.n_out)

    def forward(self, x: Array, step: Pass) -> tuple[Array, Array]:
        return step.affine(x, self.W.value, self.b.value if self.b else None), x

    def backward(self, dy: Array, x: Array, step: Pass) -> Array | None:
        x_rows, dy_rows = step.rows(x), step.rows(dy)
        if self.W.transposed:
            step.matmul(dy_rows.T, x_rows, out=self.W.grad.T)
        else:
            step.matmul(x_rows.T, dy_rows, out=self.W.grad)
        if self.b:
            step.sum_rows(dy_rows, out=self.b.grad)
        if not step.needs_dx:
            return None
        dx = step.matmul(dy_rows, self.W.value.T)
        return dx if x.ndim == 2 else dx.reshape(x.shape)

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        return math.prod(output_shape) * (2 * shape[-1] + self.bias)


class Flatten(Layer):
    """All axes of a sample in one: x (N, ...) -> y (N, D), row-major (channels last)."""

    blockwise = True

    def build(self, shape: Shape, make: Maker) -> Shape:
        return (math.prod(shape),)

    def forward(self, x: Array, step: Pass) -> tuple[Array, Shape]:
        return x.reshape(x.shape[0], math.prod(x.shape[1:])), x.shape

    def backward(self, dy: Array, shape: Shape, step: Pass) -> Array:
        return dy.reshape(shape)

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        return 0


class Reshape(Layer):
    """Each sample in another shape, row-major: x (N, ...) -> y (N, *shape). One number of ``shape`` may be -1: what is left."""

    blockwise = True

    def __init__(self, shape: tuple[int, ...]):
        sizes = (shape,) if isinstance(shape, int) else tuple(shape)
        if not all(type(n) is int and (n >= 1 or n == -1) for n in sizes) or sizes.count(-1) > 1:
            raise ValueError(f"Reshape({shape!r}): whole numbers from 1 on, of which one may be -1")
        self.shape = sizes

    def build(self, shape: Shape, make: Maker) -> Shape:
        size, known = math.prod(shape), math.prod(n for n in self.shape if n != -1)
        if size % known or (-1 not in self.shape and size != known):
            raise ValueError(f"{self!r}: samples of shape {shape} have {size} elements, which do not make that shape")
        return tuple(size // known if n == -1 else n for n in self.shape)

    def forward(self, x: Array, step: Pass) -> tuple[Array, Shape]:
        size, known = math.prod(x.shape[1:]), math.prod(n for n in self.shape if n != -1)
        return x.reshape(len(x), *(size // known if n == -1 else n for n in self.shape)), x.shape

    def backward(self, dy: Array, shape: Shape, step: Pass) -> Array:
        return dy.reshape(shape)

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        return 0


class Identity(Layer):
    """``y = x``: the output activation of regression, or a place holder."""

    blockwise = True

    def forward(self, x: Array, step: Pass) -> tuple[Array, None]:
        return x, None

    def backward(self, dy: Array, cache: None, step: Pass) -> Array:
        return dy

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        return 0
